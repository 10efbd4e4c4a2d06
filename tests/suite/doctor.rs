//! `kafka_consumer doctor`: a healthy world, and one broken world for each layer.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use kafka_broker_double::target::Target;
use kafka_broker_double::{ApiKey, Authority, Certificate, Cluster, ResponseError};
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

/// Every layer with what is wrong in its world, in the words of the page.
const ILL: [(i32, &str); 12] = [
    (2, "two mistakes in the configuration"),
    (10, "half of a certificate"),
    (11, "a secret whose file is not there"),
    (12, "a name of a broker that does not exist"),
    (13, "a port at which nobody listens"),
    (14, "a broker whose certificate has expired"),
    (15, "a port that speaks TLS, and `security.protocol: SASL_PLAINTEXT`"),
    (16, "a password that was changed"),
    (17, "a topic that does not exist"),
    (18, "a group that the user may not read"),
    (19, "a folder of the ledger that is not there"),
    (20, "an action whose target does not listen"),
];

/// A world in which the layer of this exit code is the first that is wrong, and its configuration.
fn ill(code: i32) -> (World, String) {
    let world = if code == 14 { World::with(Certificate::Expired) } else { World::healthy() };
    let config = world.config();
    let at = |addresses: String| {
        let brokers = Brokers::double(&world.cluster).at(addresses);
        settings::config(&brokers, world.folder.path(), GROUP, TOPIC, port::free(), "")
    };
    let config = match code {
        2 => "kafka: {brokerz: 1}\nmode: lve\n".to_owned(),
        10 => {
            let at = |name: &str| world.folder.path().join(name);
            let pair = Authority::new().client("sre.service", 0, 4_102_444_800);
            std::fs::write(at("key.pem"), &pair.key).expect("written");
            std::fs::write(at("cert.pem"), &pair.certificate[..pair.certificate.len() / 2]).expect("torn");
            format!("{config}athenz: {{certificate: {}, key: {}}}\n", at("cert.pem").display(), at("key.pem").display())
        }
        11 => {
            std::fs::remove_file(world.folder.path().join("password")).expect("gone");
            config
        }
        12 => at("broker.invalid:9092".to_owned()),
        13 => at(format!("127.0.0.1:{}", port::free())),
        15 => config.replace("  session.timeout.ms", "  security.protocol: SASL_PLAINTEXT\n  session.timeout.ms"),
        16 => {
            world.cluster.set_user("sre", "another");
            config
        }
        17 => config.replace("topics: [incidents]", "topics: [absent]"),
        18 => {
            world.cluster.on(ApiKey::FindCoordinator).error(ResponseError::GroupAuthorizationFailed);
            config
        }
        19 => config.replace("/ledger.redb", "/absent/ledger.redb"),
        20 => {
            let closed = format!("http://127.0.0.1:{}/x", port::free());
            config.replace(&world.target.url("/{{incident.id}}"), &closed)
        }
        _ => config,
    };
    (world, config)
}

/// The doctor ends with this code and tells this.
#[track_caller]
fn is_told(code: i32, line: &str) {
    let (world, config) = ill(code);
    world.is_ill(&config, code, line);
}

#[test]
fn a_wrong_configuration_is_2_with_every_mistake() {
    is_told(2, "config.yaml (named by --config)");
}

#[test]
fn a_torn_certificate_is_10() {
    is_told(10, "cert.pem");
}

#[test]
fn a_missing_secret_is_11() {
    is_told(11, "secret `kafka-password`: cannot read the file");
}

#[test]
fn an_unknown_name_is_12() {
    is_told(12, "broker.invalid");
}

#[test]
fn a_closed_port_is_13() {
    is_told(13, "refused");
}

#[test]
fn an_expired_certificate_of_a_broker_is_14() {
    is_told(14, "is not valid now");
}

#[test]
fn another_protocol_at_the_port_is_15() {
    is_told(15, "does security.protocol fit this port?");
}

#[test]
fn a_wrong_password_is_16() {
    is_told(16, "sasl");
}

#[test]
fn a_missing_topic_is_17() {
    is_told(17, "absent: UNKNOWN_TOPIC_OR_PARTITION");
}

#[test]
fn a_group_that_may_not_be_read_is_18() {
    is_told(18, "GROUP_AUTHORIZATION_FAILED");
}

#[test]
fn a_ledger_without_a_place_is_19() {
    is_told(19, "absent");
}

#[test]
fn an_action_target_that_does_not_listen_is_20() {
    is_told(20, "refused");
}

/// What differs from run to run, in one form.
fn steady(text: &str, world: &World) -> String {
    let mut text = text.replace(&world.folder.path().display().to_string(), "/folder");
    for (pattern, put) in [
        (r"\b\d+ ms\b", "5 ms"),
        (r"127\.0\.0\.1:\d+", "127.0.0.1:9093"),
        (r"\d+(?:\.\d+)? (?:[KMGT]i)?B free", "100 GiB free"),
        (r"\d{4}-\d\d-\d\dT[\d:.]+Z", "2026-03-14T15:30:00Z"),
        (r"\d+ days left", "30 days left"),
        (r"verification time \d+", "verification time 1773502200"),
        (r"\d+ seconds ago", "795000000 seconds ago"),
    ] {
        text = regex::Regex::new(pattern).expect("valid").replace_all(&text, put).into_owned();
    }
    text
}

#[test]
fn the_page_on_the_doctor_quotes_what_it_prints() {
    let mut page = "# `kafka_consumer doctor`\n\n\
        What it prints, in a world where nothing is wrong and in twelve worlds with one fault each, one for every layer. A test makes these worlds\n\
        and holds this page against what is printed; only times, ports, folders, dates and free space are always the same here. `✓` is as it should be, `!` works\n\
        and somebody should know, `✗` does not work. The advice stands under the first `✗`, and the exit code is that of its layer: what comes after it often is\n\
        its consequence. Nothing is changed, no secret is shown, and it ends within 30 s whatever hangs. `--json` has the same for programs.\n"
        .to_owned();
    for (code, what) in std::iter::once((0, "nothing is wrong")).chain(ILL) {
        let (world, config) = ill(code);
        let (exit, text) = world.says(&config);
        assert_eq!(exit, code, "{what}: {text}");
        let _ = write!(page, "\n## {code}: {what}\n\n```text\n{}```\n", steady(&text, &world));
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/doctor.md");
    let written = std::fs::read_to_string(&file).unwrap_or_default();
    if written != page {
        // Writing it is the remedy; the failure makes sure that somebody looks at the difference.
        std::fs::write(&file, &page).expect("the page");
    }
    assert!(written == page, "docs/doctor.md was out of date and has been written anew: look at it and commit it");
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
