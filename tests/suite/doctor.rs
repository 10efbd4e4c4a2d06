//! `kafka_consumer doctor`: a healthy world, and one broken world for each layer.

use std::path::Path;
use std::time::{Duration, Instant};

use kafka_broker_double::target::Target;
use kafka_broker_double::{ApiKey, Certificate, Cluster, ResponseError};
use serde_json::Value;

use crate::world::port;
use crate::world::process::binary;
use crate::world::settings::{self, Brokers, PASSWORD};

const TOPIC: &str = "incidents";
const GROUP: &str = "looked-at";

struct World {
    cluster: Cluster,
    target: Target,
    folder: tempfile::TempDir,
}

impl World {
    fn healthy() -> Self {
        Self::with(Certificate::Valid)
    }

    fn with(certificate: Certificate) -> Self {
        let cluster =
            Cluster::builder().topic(TOPIC, 2).security(settings::double_security()).certificate(certificate).start();
        cluster.produce(TOPIC, 0, ["one", "two", "three"]);
        cluster.commit(GROUP, TOPIC, 0, 1, 0);
        Self { cluster, target: Target::start(), folder: tempfile::tempdir().expect("a folder") }
    }

    fn config(&self) -> String {
        let hook = settings::hook(&self.target.url("/{{incident.id}}"));
        settings::config(&Brokers::double(&self.cluster), self.folder.path(), GROUP, TOPIC, port::free(), &hook)
    }

    /// Exit code and lines.
    #[track_caller]
    fn says(&self, config: &str) -> (i32, String) {
        doctor(self.folder.path(), config, &[])
    }

    /// What is wrong is told with its advice, by this layer's line and this exit code, and nothing before it is wrong.
    #[track_caller]
    fn is_ill(&self, config: &str, code: i32, line: &str) {
        let (exit, text) = self.says(config);
        assert_eq!(exit, code, "{text}");
        let wrong = text.lines().position(|have| have.starts_with('✗')).expect("a cross");
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines[wrong..].iter().take_while(|have| !have.starts_with("  →")).any(|have| have.contains(line)),
            "{line}\n{text}"
        );
        assert!(text.contains("\n  → "), "{text}");
        assert!(lines.last().expect("a sum").starts_with("the first thing that is wrong: "), "{text}");
        assert!(!text.contains(PASSWORD), "{text}");
    }
}

fn doctor(folder: &Path, config: &str, more: &[&str]) -> (i32, String) {
    let file = folder.join("config.yaml");
    std::fs::write(&file, config).expect("a configuration");
    let output = binary().arg("doctor").arg("--config").arg(&file).args(more).output().expect("it runs");
    (output.status.code().expect("a code"), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn a_healthy_world_is_told_layer_by_layer_and_nothing_in_it_is_changed() {
    let world = World::healthy();
    let (code, text) = world.says(&world.config());
    assert_eq!(code, 0, "{text}");
    for line in [
        "✓ configuration",
        "✓ secrets       kafka-password: fetched from file, not shown",
        "✓ dns           127.0.0.1",
        "accepts",
        "✓ tls           127.0.0.1",
        "TLSv1_3, for ",
        "✓ api versions  127.0.0.1",
        "✓ sasl          127.0.0.1",
        "✓ topics        incidents: 2 partitions, leaders ",
        "incidents-0 at 1, lag 2, incidents-1 nothing committed",
        "! group         looked-at: some partitions have no committed offset",
        "✓ ledger",
        "not made yet, held by nobody, ",
        "✓ targets       http://127.0.0.1:",
        "nothing is wrong",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    assert!(!text.contains(PASSWORD), "{text}");
    assert_eq!(world.target.request_count(), 0, "no action was sent");
    for changes in [ApiKey::JoinGroup, ApiKey::OffsetCommit, ApiKey::CreateTopics] {
        assert_eq!(world.cluster.request_count(changes), 0, "{changes:?}");
    }
    let mut left: Vec<_> = std::fs::read_dir(world.folder.path())
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("text"))
        .collect();
    left.sort();
    assert_eq!(left, ["config.yaml", "password"]);
}

#[test]
fn programs_get_the_same_as_json() {
    let world = World::healthy();
    let (code, text) = doctor(world.folder.path(), &world.config(), &["--json"]);
    let found: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((code, &found["healthy"], &found["exit_code"]), (0, &Value::from(true), &Value::from(0)), "{text}");
    let findings = found["findings"].as_array().expect("findings");
    assert!(findings.iter().all(|finding| finding["took_ms"].is_u64() && finding["layer"].is_string()), "{text}");
}

#[test]
fn a_wrong_configuration_is_2_with_every_mistake() {
    let world = World::healthy();
    world.is_ill("kafka: {brokerz: 1}\nmode: lve\n", 2, "config.yaml (named by --config)");
}

#[test]
fn a_torn_certificate_is_10() {
    let world = World::healthy();
    let at = |name: &str| world.folder.path().join(name);
    std::fs::write(at("cert.pem"), "-----BEGIN CERTIFICATE-----\nMIIB").expect("written");
    let athenz = format!("athenz: {{certificate: {}, key: {}}}\n", at("cert.pem").display(), at("key.pem").display());
    world.is_ill(&(world.config() + &athenz), 10, "cert.pem");
}

#[test]
fn a_missing_secret_is_11() {
    let world = World::healthy();
    let config = world.config();
    std::fs::remove_file(world.folder.path().join("password")).expect("gone");
    world.is_ill(&config, 11, "secret `kafka-password`: cannot read the file");
}

#[test]
fn an_unknown_name_is_12() {
    let world = World::healthy();
    let brokers = Brokers::double(&world.cluster).at("broker.invalid:9092");
    let config = settings::config(&brokers, world.folder.path(), GROUP, TOPIC, port::free(), "");
    world.is_ill(&config, 12, "broker.invalid");
}

#[test]
fn a_closed_port_is_13() {
    let world = World::healthy();
    let brokers = Brokers::double(&world.cluster).at(format!("127.0.0.1:{}", port::free()));
    let config = settings::config(&brokers, world.folder.path(), GROUP, TOPIC, port::free(), "");
    world.is_ill(&config, 13, "refused");
}

#[test]
fn an_expired_certificate_of_a_broker_is_14() {
    let world = World::with(Certificate::Expired);
    world.is_ill(&world.config(), 14, "is not valid now");
}

#[test]
fn another_protocol_at_the_port_is_15() {
    let world = World::healthy();
    let plain = "  security.protocol: SASL_PLAINTEXT\n  session.timeout.ms";
    world.is_ill(&world.config().replace("  session.timeout.ms", plain), 15, "does security.protocol fit this port?");
}

#[test]
fn a_wrong_password_is_16() {
    let world = World::healthy();
    world.cluster.set_user("sre", "another");
    world.is_ill(&world.config(), 16, "sasl");
}

#[test]
fn a_missing_topic_is_17() {
    let world = World::healthy();
    let config = world.config().replace("topics: [incidents]", "topics: [absent]");
    world.is_ill(&config, 17, "absent: UNKNOWN_TOPIC_OR_PARTITION");
}

#[test]
fn a_group_that_may_not_be_read_is_18() {
    let world = World::healthy();
    world.cluster.on(ApiKey::FindCoordinator).error(ResponseError::GroupAuthorizationFailed);
    world.is_ill(&world.config(), 18, "GROUP_AUTHORIZATION_FAILED");
}

#[test]
fn a_ledger_without_a_place_is_19() {
    let world = World::healthy();
    world.is_ill(&world.config().replace("/ledger.redb", "/absent/ledger.redb"), 19, "absent");
}

#[test]
fn an_action_target_that_does_not_listen_is_20() {
    let world = World::healthy();
    let closed = format!("http://127.0.0.1:{}/x", port::free());
    let open = world.target.url("/{{incident.id}}");
    world.is_ill(&world.config().replace(&open, &closed), 20, "refused");
}

#[test]
fn a_broker_that_hangs_does_not_hang_the_doctor() {
    let world = World::healthy();
    for broker in world.cluster.brokers() {
        world.cluster.freeze_broker(broker);
    }
    let begun = Instant::now();
    let (code, text) = world.says(&world.config());
    assert!(begun.elapsed() < Duration::from_secs(30), "{text}");
    assert!((13..=15).contains(&code), "{code}\n{text}");
}
