//! The whole deployment in the image's root: a mounted configuration, certificates that arrive late, names with A and AAAA
//! records, brokers with TLS and SCRAM, a key server that asks for the service's certificate; from the start over a renewed
//! certificate, a lost broker and changed rules to SIGTERM.

use std::net::SocketAddr;
use std::time::Duration;

use kafka_broker_double::dns::{DnsAnswer, DnsServer, QueryType};
use kafka_broker_double::incidents::{IncidentSpec, Seed};
use kafka_broker_double::target::Target;
use kafka_broker_double::{Authority, Certificate, Cluster, Record};
use rustix::process::Signal;

use super::root::{Container, Image, possible};
use crate::secrets::certificate::{NAME, issue};
use crate::secrets::ckms::gives;
use crate::world::port;
use crate::world::process::{get, wait_for};
use crate::world::produce::now_ms;
use crate::world::settings::{self, PASSWORD, USER};

const PATIENCE: Duration = Duration::from_secs(90);
const TOPIC: &str = "incidents";
const GROUP: &str = "deployment";
/// As the edge network has them: the names of the brokers lead to another name, and that to addresses of both kinds.
const BROKER: &str = "broker1-public-bpimskprod-c21.yahooinc.com";
const EDGE: &str = "e1.ycpi.vip.dca.yahoo.com";
const KEY_SERVER: &str = "dek.ckms.ouroath.com";
const HOOKS: &str = "hooks.example";

/// What is outside of the pod.
struct Outside {
    dns: DnsServer,
    cluster: Cluster,
    authority: Authority,
    key_server: Target,
    hooks: Target,
    port: u16,
}

impl Outside {
    fn new() -> Self {
        // A name server's port is 53; each process of this machine that runs this has an address of its own.
        let [_, _, high, low] = std::process::id().to_be_bytes();
        let dns = DnsServer::start_at(SocketAddr::from(([127, 53, high, low.max(1)], 53))).expect("port 53");
        for name in [BROKER, KEY_SERVER, HOOKS] {
            dns.set(name, DnsAnswer::Cname(EDGE.to_owned()));
        }
        // Nothing listens at the second kind, nor could it be reached: the pod has IPv4 only.
        dns.set(EDGE, DnsAnswer::addresses(["2001:4998:14:800::1000", "127.0.0.1"]));
        let security = settings::double_security();
        let cluster = Cluster::builder().host(1, BROKER).topic(TOPIC, 2).security(security).start();
        let authority = Authority::new();
        let names = [KEY_SERVER.to_owned()];
        let key_server = Target::start_tls(&authority.identity(&names, Certificate::Valid).for_clients_of(&authority));
        key_server.default_reply(gives(PASSWORD));
        let hooks = Target::start_tls(&authority.identity(&[HOOKS.to_owned()], Certificate::Valid));
        Self { dns, cluster, authority, key_server, hooks, port: port::free() }
    }

    fn configuration(&self, kind: &str) -> String {
        format!(
            "athenz: {{certificate: /var/run/athenz/service.cert.pem, key: /var/run/athenz/service.key.pem, common_name: {NAME}}}\n\
             global: {{logfile: /app/logs/consumer.log}}\n\
             secrets:\n  - {{name: scram, ckms_key_group: bigpanda.keys.sre, ckms_key_name: bigpanda.prod.msk.sre, ckms_environment: aws}}\n\
             ckms: {{url: \"https://{KEY_SERVER}:{keys}/rksd/v1/access\"}}\n\
             tls: {{ca_file: /app/config/authority.pem}}\n\
             kafka:\n  brokers: [\"{BROKER}:{broker}\"]\n  consumer_group_id: {GROUP}\n  topics: [{TOPIC}]\n\
             \x20 msk_auth: {{auth_method: scram, username: {USER}, password: $secret:scram}}\n\
             \x20 ssl.ca.location: /app/config/ca.pem\n  auto.offset.reset: earliest\n\
             \x20 session.timeout.ms: 6000\n  heartbeat.interval.ms: 1000\n  reconnect.backoff.max.ms: 1000\n\
             storage: {{backend: file, path: /data/automation_consumer/ledger.redb}}\n\
             dead_letter: {{file: /data/automation_consumer/dead_letter.jsonl}}\n\
             http: {{listen: \"127.0.0.1:{http}\"}}\n\
             incident_conditions:\n- {{name: {kind}, tags: {{alert_type: {kind}}}, incident_actions: [hook]}}\n\
             incident_actions:\n- {{name: hook, type: webhook, url: \"https://{HOOKS}:{hooks}/{{{{incident.id}}}}\"}}\n",
            keys = self.key_server.address().port(),
            broker = self.cluster.address(1).port(),
            hooks = self.hooks.address().port(),
            http = self.port,
        )
    }

    fn mount(&self, image: &Image) {
        image.put("/app/config/config.yaml", &self.configuration("oozie"));
        image.put("/app/config/ca.pem", self.cluster.ca_pem());
        image.put("/app/config/authority.pem", self.authority.pem());
        image.put("/etc/resolv.conf", &format!("nameserver {}\noptions timeout:1\n", self.dns.address().ip()));
    }

    /// Key first, as the platform does it, each by a rename.
    fn renew(&self, image: &Image, day: u64) {
        let pair = issue(&self.authority, day);
        image.replace("/var/run/athenz/service.key.pem", &pair.key);
        image.replace("/var/run/athenz/service.cert.pem", &pair.certificate);
    }

    fn incident(&self, id: &str, kind: &'static str) {
        let spec = IncidentSpec::new(id, kind, now_ms() / 1000);
        self.cluster.produce(TOPIC, 0, [Record::from(spec.to_json(&mut Seed::new(1)))]);
    }

    /// Waits until everything that was produced is committed.
    fn dealt_with(&self, container: &Container<'_>) {
        let end = self.cluster.log_end(TOPIC, 0);
        let committed = || self.cluster.committed(GROUP, TOPIC, 0);
        let words = || format!("offset {end}, at {:?}\n{}", committed(), container.log());
        wait_for(words, PATIENCE, || (committed() == Some(end)).then_some(()));
    }

    fn metric(&self, name: &str) -> Option<f64> {
        let (_, metrics) = get(self.port, "/metrics")?;
        metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
    }

    fn ipv6_queries(&self) -> usize {
        self.dns.queries().iter().filter(|query| query.kind == QueryType::Aaaa).count()
    }

    fn paths(&self) -> Vec<String> {
        self.hooks.requests().iter().map(|request| request.path.clone()).collect()
    }
}

fn said(container: &Container<'_>, what: &str) {
    wait_for(|| format!("`{what}`\n{}", container.log()), PATIENCE, || container.log().contains(what).then_some(()));
}

fn readiness(container: &Container<'_>, ready: bool) {
    let asked = || container.exec("/scripts/app_readiness");
    let words = || format!("readiness to be {ready}: {:?}\n{}", asked(), container.log());
    wait_for(words, PATIENCE, || (asked().status.success() == ready).then_some(()));
}

#[test]
fn from_a_late_certificate_over_a_lost_broker_to_sigterm() {
    if !possible() {
        return;
    }
    let outside = Outside::new();
    let folder = tempfile::tempdir().expect("a folder");
    let image = Image::build(folder.path());
    outside.mount(&image);
    let mut container = image.start(&["START_LOOK_EVERY=1", "CKMS_ENV=aws"]);

    said(
        &container,
        "app_start: waiting for /var/run/athenz/service.cert.pem, /var/run/athenz/service.key.pem (0 of 300 s)",
    );
    assert_eq!(container.exec("/scripts/app_liveness").status.code(), Some(1), "nothing runs yet");
    assert_eq!(outside.key_server.request_count(), 0);
    outside.renew(&image, 1);
    readiness(&container, true);
    let first = outside.key_server.requests();
    assert_eq!(first.len(), 1, "{first:?}");
    assert!(first[0].text().contains("bigpanda.prod.msk.sre"), "{first:?}");
    outside.incident("one", "oozie");
    outside.dealt_with(&container);

    assert_eq!(outside.ipv6_queries(), 0);
    let doctor = container.exec_with("/opt/y/1.0/bin/kafka_consumer", &["doctor"]);
    let text = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert_eq!(doctor.status.code(), Some(0), "{text}");
    assert!(text.contains("2001:4998:14:800::1000"), "what is dropped is shown: {text}");
    let dropped = outside.ipv6_queries();

    // A day later. The key server is asked again when the brokers refuse the old password, under the new certificate.
    outside.renew(&image, 2);
    let renewals = || outside.metric("kafka_consumer_certificate_renewals_total");
    wait_for(|| format!("{:?}\n{}", renewals(), container.log()), PATIENCE, || (renewals() == Some(1.0)).then_some(()));
    let asked = outside.key_server.request_count();
    outside.key_server.default_reply(gives("canary-PASSWORD-4712"));
    outside.cluster.set_user(USER, "canary-PASSWORD-4712");
    outside.cluster.disconnect_all(1);
    wait_for(|| container.log(), PATIENCE, || (outside.key_server.request_count() > asked).then_some(()));
    let certificates: Vec<_> =
        outside.key_server.requests().into_iter().map(|request| request.client_certificate).collect();
    let (first, last) = (certificates.first().expect("the first"), certificates.last().expect("the last"));
    assert!(first.is_some() && last.is_some() && first != last, "under another certificate");
    readiness(&container, true);

    // The broker goes for longer than a session, and comes back.
    outside.cluster.stop_broker(1);
    readiness(&container, false);
    outside.incident("two", "oozie");
    assert!(container.exec("/scripts/app_liveness").status.success(), "it lives without its brokers");
    outside.cluster.start_broker(1);
    readiness(&container, true);
    outside.dealt_with(&container);

    // Rules are changed in the mounted file, and process 1 passes the signal on.
    image.put("/app/config/config.yaml", &outside.configuration("hive"));
    container.signal(Signal::HUP);
    said(&container, "rules: condition `hive` added");
    said(&container, "rules: condition `oozie` removed");
    outside.incident("three", "oozie");
    outside.incident("four", "hive");
    outside.dealt_with(&container);

    container.signal(Signal::TERM);
    assert_eq!(container.wait_end(PATIENCE), Some(0), "{}", container.log());
    assert_eq!(outside.paths(), ["/one", "/two", "/four"], "each once");
    assert_eq!(outside.cluster.group(GROUP).map(|group| group.members.len()), Some(0), "it left the group");
    assert_eq!(outside.ipv6_queries(), dropped, "only the doctor asks for what it then shows as dropped");
    let log = container.log();
    assert!(!log.contains("PASSWORD-47"), "a password is in the log");
    assert_eq!(
        image.written("/app/logs/consumer.log").lines().last(),
        log.lines().rev().find(|line| line.starts_with('{'))
    );
}
