//! The section `kafka`: the predecessor's keys, and Kafka's own setting names with Kafka's units and defaults.

mod security;

use std::time::Duration;

pub use crate::config::kafka::security::{Sasl, SaslMechanism, Security, SecurityProtocol};

use crate::config::Overrides;
use crate::yaml::{Node, Reader, units};

/// The source of incidents.
#[derive(Clone, Debug, PartialEq)]
pub struct Kafka {
    /// `brokers` or `bootstrap.servers`: `host:port` each.
    pub brokers: Vec<String>,
    /// `consumer_group_id` or `group.id`.
    pub group_id: String,
    /// `topics`.
    pub topics: Vec<String>,
    /// `client.id`; the host name when not given.
    pub client_id: Option<String>,
    /// `client.rack`: fetch from a replica in this rack.
    pub client_rack: Option<String>,
    /// `group.instance.id`: static membership.
    pub group_instance_id: Option<String>,
    /// `session.timeout.ms`, 45 s.
    pub session_timeout: Duration,
    /// `heartbeat.interval.ms`, 3 s.
    pub heartbeat_interval: Duration,
    /// `max.poll.interval.ms`, 5 min.
    pub max_poll_interval: Duration,
    /// `partition.assignment.strategy`, in order of preference; not given: the client's choice.
    pub assignors: Option<Vec<Assignor>>,
    /// `auto.offset.reset`.
    pub auto_offset_reset: OffsetReset,
    /// `isolation.level`.
    pub isolation_level: IsolationLevel,
    /// `fetch.min.bytes`, 1.
    pub fetch_min_bytes: u32,
    /// `fetch.max.bytes`, 2 MiB: what a response may hold is what each of a few buffers may grow to.
    pub fetch_max_bytes: u32,
    /// `max.partition.fetch.bytes` (also `fetch.message.max.bytes`), 1 MiB.
    pub max_partition_fetch_bytes: u32,
    /// `fetch.max.wait.ms` (also `fetch.wait.max.ms`), 500 ms.
    pub fetch_max_wait: Duration,
    /// `security.protocol` with what belongs to it.
    pub security: Security,
    /// `request.timeout.ms`, 30 s.
    pub request_timeout: Duration,
    /// `socket.connection.setup.timeout.ms`, 10 s.
    pub socket_connection_setup_timeout: Duration,
    /// `reconnect.backoff.ms`, 50 ms.
    pub reconnect_backoff: Duration,
    /// `reconnect.backoff.max.ms`, 1 s.
    pub reconnect_backoff_max: Duration,
    /// `retry.backoff.ms`, 100 ms.
    pub retry_backoff: Duration,
    /// `retry.backoff.max.ms`, 1 s.
    pub retry_backoff_max: Duration,
    /// `metadata.max.age.ms`, 5 min.
    pub metadata_max_age: Duration,
    /// `connections.max.idle.ms`, 4 min: below what networks between here and the brokers forget.
    pub connections_max_idle: Duration,
    /// `receive.message.max.bytes`, 100 MB.
    pub receive_message_max_bytes: u32,
}

/// `auto.offset.reset`: where to begin without a committed offset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OffsetReset {
    /// At the end.
    #[default]
    Latest,
    /// At the beginning.
    Earliest,
    /// Nowhere: it is an error.
    None,
    /// So long before now (`by_duration:PT15M`, KIP-1106).
    ByDuration(Duration),
}

/// `isolation.level`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IsolationLevel {
    /// Records of aborted transactions are left out.
    #[default]
    ReadCommitted,
    /// They are not.
    ReadUncommitted,
}

/// `partition.assignment.strategy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assignor {
    /// Consecutive partitions of each topic.
    Range,
    /// As little movement as possible, all at once.
    Sticky,
    /// As little movement as possible, without stopping the rest.
    CooperativeSticky,
}

/// Settings of Kafka clients that change nothing here, with the reason.
const WITHOUT_EFFECT: [(&str, &str); 9] = [
    ("enable.auto.commit", "an offset is committed when the work on its record is recorded, never by a timer"),
    ("auto.commit.interval.ms", "offsets are committed when work is recorded, never by a timer"),
    ("enable.auto.offset.store", "offsets are committed when work is recorded"),
    ("check.crcs", "checksums are always checked"),
    ("api.version.request", "versions are always agreed on"),
    ("socket.keepalive.enable", "connections are kept alive by their heartbeats"),
    ("enable.partition.eof", "nothing here waits for the end of a partition"),
    ("max.poll.records", "records are handed on in the batches in which they were written"),
    ("statistics.interval.ms", "metrics are at /metrics"),
];

/// Reads the section.
pub(super) fn read(root: &Reader<'_, '_>, overrides: &Overrides) -> Kafka {
    let empty = Node::new(root.at(), crate::yaml::Kind::Map(Vec::new()));
    if root.required("kafka").is_none() {
        // Its own keys would only repeat the same complaint.
        let unheard = crate::yaml::Mistakes::default();
        return section(&Reader::new(&empty, "kafka", &unheard), overrides);
    }
    match root.child("kafka") {
        Some(reader) => {
            let kafka = section(&reader, overrides);
            reader.close();
            kafka
        }
        None => section(&Reader::new(&empty, "kafka", root.mistakes()), overrides),
    }
}

fn section(r: &Reader<'_, '_>, overrides: &Overrides) -> Kafka {
    let millis = |key: &str, otherwise: u64| r.millis(key).unwrap_or(Duration::from_millis(otherwise));
    let size = |keys: &[&str], otherwise: u32| bytes(r, keys).unwrap_or(otherwise);
    let kafka = Kafka {
        brokers: brokers(r),
        group_id: required(r, &["consumer_group_id", "group.id"]),
        topics: topics(r),
        client_id: overrides.consumer_name.clone().or(r.string("client.id")).filter(|name| !name.is_empty()),
        client_rack: r.string("client.rack"),
        group_instance_id: r.string("group.instance.id"),
        session_timeout: millis("session.timeout.ms", 45_000),
        heartbeat_interval: millis("heartbeat.interval.ms", 3_000),
        max_poll_interval: millis("max.poll.interval.ms", 300_000),
        assignors: assignors(r),
        auto_offset_reset: offset_reset(r),
        isolation_level: isolation_level(r),
        fetch_min_bytes: size(&["fetch.min.bytes"], 1),
        fetch_max_bytes: size(&["fetch.max.bytes"], 2 << 20),
        max_partition_fetch_bytes: size(&["max.partition.fetch.bytes", "fetch.message.max.bytes"], 1 << 20),
        fetch_max_wait: either_millis(r, ["fetch.max.wait.ms", "fetch.wait.max.ms"], 500),
        security: security::read(r),
        request_timeout: millis("request.timeout.ms", 30_000),
        socket_connection_setup_timeout: millis("socket.connection.setup.timeout.ms", 10_000),
        reconnect_backoff: millis("reconnect.backoff.ms", 50),
        reconnect_backoff_max: millis("reconnect.backoff.max.ms", 1_000),
        retry_backoff: millis("retry.backoff.ms", 100),
        retry_backoff_max: millis("retry.backoff.max.ms", 1_000),
        metadata_max_age: millis("metadata.max.age.ms", 300_000),
        connections_max_idle: millis("connections.max.idle.ms", 240_000),
        receive_message_max_bytes: size(&["receive.message.max.bytes"], 100_000_000),
    };
    for (key, why) in WITHOUT_EFFECT {
        r.ignored(key, why);
    }
    fixed(r);
    together(r, &kafka);
    kafka
}

fn required(r: &Reader<'_, '_>, keys: &[&str]) -> String {
    let first = keys.first().copied().unwrap_or_default();
    if let Some((key, _)) = r.node_of(keys) {
        r.required_string(&key).unwrap_or_default()
    } else {
        r.wrong(first, "is required and missing");
        String::new()
    }
}

/// A list, or one text with commas.
fn texts(node: &Node) -> Option<Vec<(String, &Node)>> {
    let split = |node: &'_ Node| -> Option<Vec<String>> {
        Some(node.text()?.split(',').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect())
    };
    match node.as_list() {
        Some(items) => {
            let each =
                items.iter().map(|item| Some(split(item)?.into_iter().map(|text| (text, item)).collect::<Vec<_>>()));
            Some(each.collect::<Option<Vec<_>>>()?.concat())
        }
        None => Some(split(node)?.into_iter().map(|text| (text, node)).collect()),
    }
}

fn brokers(r: &Reader<'_, '_>) -> Vec<String> {
    let Some((key, _)) = r.node_of(&["brokers", "bootstrap.servers"]) else {
        r.wrong("brokers", "is required and missing");
        return Vec::new();
    };
    let found = r.read(&key, "a list of host:port", texts).unwrap_or_default();
    if found.is_empty() {
        r.wrong(&key, "names no broker");
    }
    for (broker, node) in &found {
        if let Some(what) = wrong_broker(broker) {
            r.mistakes().add(r.path_of(&key), node.at(), what);
        }
    }
    found.into_iter().map(|(broker, _)| broker).collect()
}

fn wrong_broker(broker: &str) -> Option<String> {
    if broker.starts_with('[') || broker.matches(':').count() > 1 {
        return Some(format!("`{broker}` is an IPv6 address; brokers are dialled by IPv4 only"));
    }
    let port = broker.split_once(':').map(|(_, port)| port);
    match port.map(str::parse::<u16>) {
        Some(Ok(1..)) if !broker.starts_with(':') => None,
        _ => Some(format!("expected host:port, found `{broker}`")),
    }
}

fn topics(r: &Reader<'_, '_>) -> Vec<String> {
    let Some(node) = r.required("topics") else { return Vec::new() };
    let found = r.read("topics", "a list of topics", texts).unwrap_or_default();
    if found.is_empty() {
        r.mistakes().add(r.path_of("topics"), node.at(), "names no topic");
    }
    for (topic, node) in &found {
        let legal = topic.len() <= 249 && topic.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
        if !legal || topic == "." || topic == ".." {
            let what =
                format!("`{topic}` cannot be the name of a topic: letters, digits, `.`, `_` and `-`, at most 249");
            r.mistakes().add(r.path_of("topics"), node.at(), what);
        }
    }
    found.into_iter().map(|(topic, _)| topic).collect()
}

fn bytes(r: &Reader<'_, '_>, keys: &[&str]) -> Option<u32> {
    let (key, _) = r.node_of(keys)?;
    let limit = u64::from(i32::MAX.unsigned_abs());
    r.read(&key, "a number of bytes below 2 GiB, such as 1048576 or 1MiB", |node| {
        u32::try_from(units::bytes(node.text()?).filter(|bytes| *bytes <= limit)?).ok()
    })
}

fn either_millis(r: &Reader<'_, '_>, keys: [&str; 2], otherwise: u64) -> Duration {
    let found = r.node_of(&keys).and_then(|(key, _)| r.millis(&key));
    found.unwrap_or(Duration::from_millis(otherwise))
}

fn assignors(r: &Reader<'_, '_>) -> Option<Vec<Assignor>> {
    r.read("partition.assignment.strategy", "some of range, sticky, cooperative-sticky", |node| {
        let names = texts(node)?;
        let each = names.iter().map(|(name, _)| match name.rsplit('.').next()? {
            "range" | "RangeAssignor" => Some(Assignor::Range),
            "sticky" | "StickyAssignor" => Some(Assignor::Sticky),
            "cooperative-sticky" | "CooperativeStickyAssignor" => Some(Assignor::CooperativeSticky),
            _ => None,
        });
        each.collect::<Option<Vec<_>>>().filter(|assignors| !assignors.is_empty())
    })
}

fn offset_reset(r: &Reader<'_, '_>) -> OffsetReset {
    let expected = "latest, earliest, none or by_duration:PT15M";
    let read = r.read("auto.offset.reset", expected, |node| match node.text()? {
        "latest" | "largest" | "end" => Some(OffsetReset::Latest),
        "earliest" | "smallest" | "beginning" => Some(OffsetReset::Earliest),
        "none" | "error" => Some(OffsetReset::None),
        other => units::iso_duration(other.strip_prefix("by_duration:")?).map(OffsetReset::ByDuration),
    });
    read.unwrap_or_default()
}

fn isolation_level(r: &Reader<'_, '_>) -> IsolationLevel {
    let levels =
        [("read_committed", IsolationLevel::ReadCommitted), ("read_uncommitted", IsolationLevel::ReadUncommitted)];
    r.choice("isolation.level", &levels).unwrap_or_default()
}

/// Settings with one value that is right here, and others that would be dangerous to pass over in silence.
fn fixed(r: &Reader<'_, '_>) {
    match r.string("broker.address.family").as_deref() {
        None | Some("v4" | "V4") => {}
        Some("any") => {
            r.mistakes().warn(r.path_of("broker.address.family"), r.at(), "has no effect: IPv4 only, as with v4");
        }
        Some(_) => r.wrong("broker.address.family", "brokers are dialled by IPv4 only; use v4"),
    }
    match r.string("group.protocol").as_deref() {
        None | Some("classic" | "CLASSIC") => {}
        Some(_) => r.wrong("group.protocol", "only the classic protocol is supported by this version"),
    }
    if r.boolean("enable.ssl.certificate.verification") == Some(false) {
        r.wrong(
            "enable.ssl.certificate.verification",
            "certificates are always verified; name a private authority in ssl.ca.location",
        );
    }
    let algorithm =
        r.entry("ssl.endpoint.identification.algorithm").map(|entry| entry.value.text().unwrap_or_default());
    if algorithm.is_some_and(|algorithm| !algorithm.eq_ignore_ascii_case("https")) {
        r.wrong("ssl.endpoint.identification.algorithm", "the host name is always verified; use https");
    }
}

/// What must hold between settings.
fn together(r: &Reader<'_, '_>, kafka: &Kafka) {
    if kafka.heartbeat_interval.is_zero() || kafka.heartbeat_interval.saturating_mul(3) > kafka.session_timeout {
        let what = "must be above 0 and at most a third of session.timeout.ms, so that two heartbeats may be lost";
        r.wrong("heartbeat.interval.ms", what);
    }
    if kafka.max_poll_interval < kafka.session_timeout {
        r.wrong("max.poll.interval.ms", "must be at least session.timeout.ms");
    }
    if kafka.reconnect_backoff > kafka.reconnect_backoff_max {
        r.wrong("reconnect.backoff.max.ms", "is below reconnect.backoff.ms");
    }
    if kafka.retry_backoff > kafka.retry_backoff_max {
        r.wrong("retry.backoff.max.ms", "is below retry.backoff.ms");
    }
    if kafka.fetch_max_bytes.max(kafka.max_partition_fetch_bytes) > kafka.receive_message_max_bytes {
        r.wrong("receive.message.max.bytes", "is below what one fetch may return (fetch.max.bytes)");
    }
}
