//! OpenTelemetry traces against a collector on this machine: what an incident's trace holds, and that a collector which is
//! slow, gone or not configured changes nothing else.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use kafka_broker_double::incidents::{IncidentSpec, Seed};
use kafka_broker_double::target::{Reply, Target};
use kafka_broker_double::{Cluster, Record};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span};
use prost::Message as _;

use crate::world::port;
use crate::world::process::{Service, wait_for};
use crate::world::produce::now_ms;
use crate::world::settings::{self, Brokers};

const TOPIC: &str = "incidents";
const GROUP: &str = "traced";
const PATIENCE: Duration = Duration::from_secs(45);
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

struct World {
    cluster: Cluster,
    /// What the webhooks reach.
    target: Target,
    collector: Target,
    folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let cluster = Cluster::builder().topic(TOPIC, 1).security(settings::double_security()).start();
        let folder = tempfile::tempdir().expect("a folder");
        Self { cluster, target: Target::start(), collector: Target::start(), folder }
    }

    fn start(&self, traces: &str) -> Service {
        let port = port::free();
        let more = format!("{traces}{}", settings::hook(&self.target.url("/{{incident.id}}")));
        let brokers = Brokers::double(&self.cluster);
        let config = settings::config(&brokers, self.folder.path(), GROUP, TOPIC, port, &more);
        let mut service = Service::start(self.folder.path(), &config, port);
        service.wait_ready(PATIENCE);
        service
    }

    fn traced(&self) -> String {
        format!(
            "telemetry:\n  traces:\n    endpoint: \"{}\"\n    headers: {{Authorization: \"Bearer $secret:kafka-password\"}}\n\
             \x20   service_name: remediation\n    resource: {{deployment.environment.name: test}}\n    timeout: 60s\n",
            self.collector.url("/v1/traces")
        )
    }

    fn committed(&self, service: &Service, next: i64) {
        let words = || format!("the offset {next}\n{}", service.last_words());
        wait_for(words, PATIENCE, || (self.cluster.committed(GROUP, TOPIC, 0) == Some(next)).then_some(()));
    }

    /// The resources with all spans that have arrived.
    fn arrived(&self) -> Vec<ResourceSpans> {
        let requests = self.collector.requests().into_iter();
        let decoded = requests.map(|request| ExportTraceServiceRequest::decode(request.body).expect("OTLP"));
        decoded.flat_map(|request| request.resource_spans).collect()
    }

    fn spans(&self) -> Vec<Span> {
        let scopes = self.arrived().into_iter().flat_map(|resource| resource.scope_spans);
        scopes.flat_map(|scope| scope.spans).collect()
    }

    /// All spans, as soon as the trace of `incident` is whole.
    fn trace_of(&self, service: &Service, incident: &str) -> Vec<Span> {
        let words = || format!("the trace of {incident}\n{}", service.last_words());
        wait_for(words, PATIENCE, || {
            let spans = self.spans();
            let root =
                spans.iter().find(|span| said(&span.attributes).get("incident.id").is_some_and(|id| id == incident))?;
            Some(spans.iter().filter(|span| span.trace_id == root.trace_id).cloned().collect())
        })
    }
}

/// The record of an incident whose sender traces it, and keeps the trace or not.
fn traced_record(id: &str, kept: bool) -> Record {
    let header = format!("00-{TRACE}-{PARENT}-0{}", u8::from(kept));
    record(id).header("traceparent", Some(header.into()))
}

fn record(id: &str) -> Record {
    Record::from(IncidentSpec::new(id, "oozie", now_ms() / 1000).to_json(&mut Seed::new(1)))
}

/// Attributes as text.
fn said(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |value: any_value::Value| match value {
        any_value::Value::StringValue(text) => text,
        any_value::Value::IntValue(number) => number.to_string(),
        other => panic!("{other:?}"),
    };
    let value = |pair: &KeyValue| pair.value.clone().and_then(|any| any.value).map(text).expect("a value");
    attributes.iter().map(|pair| (pair.key.clone(), value(pair))).collect()
}

#[track_caller]
fn holds(span: &Span, expected: &[(&str, &str)]) {
    let said = said(&span.attributes);
    for (key, value) in expected {
        assert_eq!(said.get(*key).map(String::as_str), Some(*value), "{key} of {}: {said:#?}", span.name);
    }
}

fn hex(id: &[u8]) -> String {
    use std::fmt::Write as _;
    id.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[track_caller]
fn named<'s>(spans: &'s [Span], name: &str) -> &'s Span {
    let names: Vec<_> = spans.iter().map(|span| span.name.as_str()).collect();
    spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("no span `{name}` in {names:?}"))
}

fn failed(span: &Span) -> Option<&str> {
    span.status.as_ref().filter(|status| status.code() == StatusCode::Error).map(|status| status.message.as_str())
}

#[test]
fn the_trace_of_an_incident_goes_from_its_record_to_every_attempt_and_on_to_the_target() {
    let world = World::new();
    // The first attempt finds the target busy.
    world.target.queue(Reply::status(503).body("busy"));
    let service = world.start(&world.traced());
    world.cluster.produce(TOPIC, 0, [traced_record("one", true)]);
    world.committed(&service, 1);
    let spans = world.trace_of(&service, "one");

    let root = named(&spans, "process incidents");
    assert_eq!((hex(&root.trace_id), hex(&root.parent_span_id)), (TRACE.to_owned(), PARENT.to_owned()));
    assert_eq!((root.kind(), failed(root)), (SpanKind::Consumer, None));
    holds(
        root,
        &[
            ("messaging.system", "kafka"),
            ("messaging.operation.type", "process"),
            ("messaging.destination.name", TOPIC),
            ("messaging.destination.partition.id", "0"),
            ("messaging.kafka.offset", "0"),
            ("incident.condition", "oozie"),
            ("incident.end", "succeeded"),
        ],
    );
    let action = named(&spans, "action hook");
    assert_eq!(action.parent_span_id, root.span_id);
    holds(action, &[("action.type", "webhook"), ("action.outcome", "succeeded"), ("action.reason", "HTTP 200")]);
    for name in ["guard", "ledger INTENT", "ledger ATTEMPT", "ledger OUTCOME", "attempt hook"] {
        assert_eq!(named(&spans, name).parent_span_id, action.span_id, "{name}");
    }
    holds(named(&spans, "guard"), &[("guard.verdict", "go")]);
    let attempts: Vec<_> = spans.iter().filter(|span| span.name == "attempt hook").collect();
    let [first, second] = attempts[..] else { panic!("{} attempts", attempts.len()) };
    assert_eq!((first.kind(), failed(first)), (SpanKind::Client, Some("HTTP 503: busy")));
    holds(first, &[("action.attempt", "1"), ("action.report", "retryable")]);
    holds(second, &[("action.attempt", "2"), ("action.report", "succeeded")]);
    assert_eq!(failed(second), None);

    let documented = include_str!("../../docs/traces.md");
    for key in spans.iter().flat_map(|span| said(&span.attributes).into_keys()) {
        assert!(documented.contains(&format!("`{key}`")), "{key} is not documented");
    }

    let sent = world.target.requests();
    for (request, attempt) in sent.iter().zip(attempts) {
        let expected = format!("00-{TRACE}-{}-01", hex(&attempt.span_id));
        assert_eq!(request.header("traceparent"), Some(expected.as_str()), "the target goes on with it");
    }
    let delivered = &world.collector.requests()[0];
    assert_eq!(delivered.header("content-type"), Some("application/x-protobuf"));
    assert_eq!(delivered.header("authorization"), Some(format!("Bearer {}", settings::PASSWORD).as_str()));
    let resource = said(&world.arrived()[0].resource.clone().expect("a resource").attributes);
    assert_eq!(resource["service.name"], "remediation");
    assert_eq!(resource["deployment.environment.name"], "test");
    let (_, metrics) = service.get("/metrics").expect("metrics");
    assert!(metrics.contains("kafka_consumer_trace_spans_dropped_total 0.0"), "{metrics}");
    assert!(!service.log().contains("messaging.system"), "spans of traces are no part of lines");
}

#[test]
fn a_failure_is_the_status_of_its_spans_and_the_last_ones_are_delivered_at_the_end() {
    let world = World::new();
    world.target.default_reply(Reply::status(400).body(format!("refused: {}", settings::PASSWORD)));
    let mut service = world.start(&world.traced());
    world.cluster.produce(TOPIC, 0, [record("bad")]);
    world.committed(&service, 1);
    assert!(service.stop(PATIENCE).success(), "{}", service.last_words());
    let spans = world.spans();
    for name in ["attempt hook", "action hook"] {
        assert_eq!(failed(named(&spans, name)), Some("HTTP 400: refused: ***"), "{name}");
    }
    assert_eq!(failed(named(&spans, "process incidents")), Some("a step failed"));
    assert!(named(&spans, "process incidents").parent_span_id.is_empty(), "it begins its own trace");
}

#[test]
fn what_a_guard_stops_has_its_reason_in_the_trace() {
    let world = World::new();
    let switch = world.folder.path().join("PAUSED.action.hook");
    std::fs::write(&switch, "the hook is repaired").expect("a switch");
    let paused = format!("kill_switch_file: {}\n", world.folder.path().join("PAUSED").display());
    let mut service = world.start(&(paused + &world.traced()));
    world.cluster.produce(TOPIC, 0, [record("stopped")]);
    world.committed(&service, 1);
    assert!(service.stop(PATIENCE).success(), "{}", service.last_words());
    let spans = world.spans();
    let guard = named(&spans, "guard");
    holds(guard, &[("guard.verdict", "refused")]);
    assert!(said(&guard.attributes)["guard.why"].contains("the hook is repaired"), "{guard:?}");
    holds(named(&spans, "action hook"), &[("action.outcome", "skipped")]);
    assert_eq!(world.target.request_count(), 0);
}

#[test]
fn a_trace_that_its_sender_does_not_keep_is_not_kept() {
    let world = World::new();
    let mut service = world.start(&world.traced());
    world.cluster.produce(TOPIC, 0, [traced_record("quiet", false), record("loud")]);
    world.committed(&service, 2);
    assert!(service.stop(PATIENCE).success());
    let spans = world.spans();
    assert!(spans.iter().all(|span| hex(&span.trace_id) != TRACE));
    named(&spans, "process incidents");
}

/// How long the service took to end.
fn ends_within(service: &mut Service, most: Duration) {
    let begun = std::time::Instant::now();
    assert!(service.stop(PATIENCE).success(), "{}", service.last_words());
    let took = begun.elapsed();
    assert!(took < most, "{took:?}\n{}", service.last_words());
}

#[test]
fn a_collector_that_hangs_or_is_gone_holds_nothing_up() {
    // The flush has two seconds; leaving the group and the last commit are quick.
    const ENDS_WITHIN: Duration = Duration::from_secs(5);
    let world = World::new();
    world.collector.default_reply(Reply::hang());
    let mut service = world.start(&world.traced());
    world.cluster.produce(TOPIC, 0, [record("one")]);
    world.committed(&service, 1);
    let hangs = || format!("a delivery\n{}", service.last_words());
    wait_for(hangs, PATIENCE, || (world.collector.request_count() == 1).then_some(()));
    world.cluster.produce(TOPIC, 0, [record("two")]);
    world.committed(&service, 2);
    assert_eq!(service.get("/readyz").map(|(code, _)| code), Some(200));
    ends_within(&mut service, ENDS_WITHIN);
    assert!(service.log().contains("did not take the last spans"), "{}", service.log());

    // Nobody listens there.
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address");
    let gone = format!("telemetry: {{traces: {{endpoint: \"http://{nobody}/v1/traces\"}}}}\n");
    let mut service = world.start(&gone);
    world.cluster.produce(TOPIC, 0, [record("three")]);
    world.committed(&service, 3);
    let told = || service.log().contains("traces cannot be delivered").then_some(());
    wait_for(|| service.last_words(), PATIENCE, told);
    assert_eq!(service.get("/readyz").map(|(code, _)| code), Some(200));
    ends_within(&mut service, ENDS_WITHIN);
    assert_eq!(world.target.request_count(), 3);
}

#[test]
fn a_collector_that_comes_back_gets_what_was_kept_and_what_it_refuses_is_counted() {
    let world = World::new();
    world.collector.queue(Reply::status(503).body("starting"));
    let service = world.start(&world.traced());
    world.cluster.produce(TOPIC, 0, [record("kept")]);
    world.committed(&service, 1);
    named(&world.trace_of(&service, "kept"), "action hook");
    wait_for(|| service.last_words(), PATIENCE, || service.log().contains("traces are delivered again").then_some(()));
    world.collector.default_reply(Reply::status(400).body("no such thing"));
    world.cluster.produce(TOPIC, 0, [record("refused")]);
    world.committed(&service, 2);
    wait_for(
        || service.last_words(),
        PATIENCE,
        || {
            let (_, metrics) = service.get("/metrics")?;
            let line =
                metrics.lines().find_map(|line| line.strip_prefix("kafka_consumer_trace_spans_dropped_total "))?;
            (line.parse::<f64>().ok()? > 0.0).then_some(())
        },
    );
    assert!(service.log().contains("HTTP 400: no such thing"), "{}", service.log());
}

#[test]
fn nothing_is_dialled_or_added_when_no_endpoint_is_configured() {
    let world = World::new();
    // The variables that other programs listen to mean nothing here.
    let mut service = {
        let port = port::free();
        let more = settings::hook(&world.target.url("/{{incident.id}}"));
        let folder: &Path = world.folder.path();
        let config = settings::config(&Brokers::double(&world.cluster), folder, GROUP, TOPIC, port, &more);
        std::fs::write(folder.join("config.yaml"), config).expect("a configuration");
        let endpoint = world.collector.url("");
        Service::start_with(folder, port, &[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)])
    };
    service.wait_ready(PATIENCE);
    world.cluster.produce(TOPIC, 0, [traced_record("one", true)]);
    world.committed(&service, 1);
    let (_, metrics) = service.get("/metrics").expect("metrics");
    assert!(!metrics.contains("trace_spans_delivered_total "), "{metrics}");
    assert!(service.stop(PATIENCE).success());
    assert_eq!(world.collector.request_count(), 0);
    assert_eq!(world.target.requests()[0].header("traceparent"), None);
}
