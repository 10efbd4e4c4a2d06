//! The image's life in the root that the Dockerfile describes: user 1000, read-only root, nothing else in it.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kafka_broker_double::Cluster;
use rustix::process::Signal;

use super::root::{Container, Image, possible};
use crate::world::port;
use crate::world::process::wait_for;
use crate::world::settings::{self, PASSWORD, USER};

const PATIENCE: Duration = Duration::from_mins(1);
/// What a probe may take.
const PROBE: Duration = Duration::from_millis(10);

fn configuration(cluster: &Cluster, port: u16) -> String {
    format!(
        "athenz: {{certificate: /var/run/athenz/service.cert.pem, key: /var/run/athenz/service.key.pem}}\n\
         global: {{logfile: /app/logs/consumer.log}}\n\
         secrets:\n  - {{name: scram, file: /app/config/password}}\n\
         \x20 - {{name: unused, ckms_key_group: bigpanda.keys.sre, ckms_key_name: k, ckms_environment: aws}}\n\
         kafka:\n  brokers: [{broker}]\n  consumer_group_id: image\n  topics: [incidents]\n\
         \x20 msk_auth: {{auth_method: scram, username: {USER}, password: $secret:scram}}\n\
         \x20 ssl.ca.location: /app/config/ca.pem\n\
         storage: {{backend: file, path: /data/automation_consumer/ledger.redb}}\n\
         dead_letter: {{file: /data/automation_consumer/dead_letter.jsonl}}\n\
         http: {{listen: \"127.0.0.1:{port}\"}}\nincident_conditions: []\n",
        broker = serde_json::Value::from(cluster.bootstrap().split(',').next().expect("a broker")),
    )
}

fn prepared(folder: &Path, cluster: &Cluster) -> Image {
    let image = Image::build(folder);
    image.put("/app/config/config.yaml", &configuration(cluster, port::free()));
    image.put("/app/config/password", PASSWORD);
    image.put("/app/config/ca.pem", &std::fs::read_to_string(cluster.ca_file()).expect("an authority"));
    image
}

fn ready(container: &Container<'_>) {
    let said = || container.exec("/scripts/app_readiness");
    let words = || format!("readiness: {:?}\n{}", said(), container.log());
    wait_for(words, PATIENCE, || said().status.success().then_some(()));
}

/// Asks until one answer took no longer than it may: on a busy machine a slow one tells of the machine. What enters the
/// container counts too.
fn answers_in_time(container: &Container<'_>, program: &str) {
    let quickest = std::cell::Cell::new(Duration::MAX);
    let words = || format!("{program} within {PROBE:?}; the quickest took {:?}", quickest.get());
    wait_for(words, PATIENCE, || {
        let begun = Instant::now();
        assert!(container.exec(program).status.success(), "{program}");
        quickest.set(quickest.get().min(begun.elapsed()));
        (quickest.get() <= PROBE).then_some(())
    });
}

#[test]
fn the_dockerfile_says_what_the_platform_was_told() {
    let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/scratch-root");
    let output = std::process::Command::new(tool).arg("--settings").output().expect("it runs");
    let settings: serde_json::Value = serde_json::from_slice(&output.stdout).expect("settings");
    assert_eq!(settings["user"], "1000:1000");
    assert_eq!(settings["ports"], serde_json::json!([4080]));
    assert_eq!(settings["entrypoint"], serde_json::json!(["/scripts/app_start"]));
}

#[test]
fn the_image_waits_for_its_certificate_starts_answers_its_probes_and_stops() {
    if !possible() {
        return;
    }
    let cluster = Cluster::builder().topic("incidents", 1).security(settings::double_security()).start();
    let folder = tempfile::tempdir().expect("a folder");
    let image = prepared(folder.path(), &cluster);
    assert_eq!(image.setting("user"), "1000:1000");
    let mut container = image.start(&["START_LOOK_EVERY=1"]);

    wait_for(
        || container.log(),
        PATIENCE,
        || container.log().contains("app_start: waiting for /var/run/athenz/service.cert.pem").then_some(()),
    );
    assert_eq!(container.exec("/scripts/app_liveness").status.code(), Some(1), "nothing runs yet");
    // Key first, as the platform does it.
    image.put("/var/run/athenz/service.key.pem", "a key");
    image.put("/var/run/athenz/service.cert.pem", "a certificate");
    ready(&container);

    let first = container.first_process();
    let status = std::fs::read_to_string(format!("/proc/{first}/status")).expect("its status");
    assert!(status.contains("Uid:\t1000\t1000\t1000\t1000"), "{status}");
    let mounts = std::fs::read_to_string(format!("/proc/{first}/mountinfo")).expect("its mounts");
    let root = mounts.lines().find(|line| line.split(' ').nth(4) == Some("/")).expect("a root");
    assert!(root.split(' ').nth(5).is_some_and(|options| options.starts_with("ro")), "{root}");

    let alive = container.exec("/scripts/app_liveness");
    let line = String::from_utf8_lossy(&alive.stdout).into_owned();
    assert!(line.starts_with("kafka_consumer process (PID: ") && line.ends_with(") is running.\n"), "{line}");

    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        });
        for program in ["/scripts/app_liveness", "/scripts/app_readiness"] {
            answers_in_time(&container, program);
        }
        stop.store(true, Ordering::Relaxed);
    });

    drop(cluster);
    assert!(container.exec("/scripts/app_liveness").status.success(), "it lives whatever its brokers do");
    let stopped = container.exec("/scripts/app_prestop");
    let line = String::from_utf8_lossy(&stopped.stdout).into_owned();
    assert!(
        stopped.status.success() && line.starts_with("kafka_consumer process ended after "),
        "{line}\n{}",
        container.log()
    );
    assert_eq!(container.wait_end(PATIENCE), Some(0), "{}", container.log());
    assert!(!container.log().contains(PASSWORD));
}

#[test]
fn sigterm_to_process_1_drains_the_service() {
    if !possible() {
        return;
    }
    let cluster = Cluster::builder().topic("incidents", 1).security(settings::double_security()).start();
    let folder = tempfile::tempdir().expect("a folder");
    let image = prepared(folder.path(), &cluster);
    image.put("/var/run/athenz/service.key.pem", "a key");
    image.put("/var/run/athenz/service.cert.pem", "a certificate");
    let mut container = image.start(&[]);
    ready(&container);
    container.signal(Signal::TERM);
    assert_eq!(container.wait_end(PATIENCE), Some(0), "{}", container.log());
    assert!(container.log().contains("SIGTERM received"), "{}", container.log());
    assert!(image.root().join("scripts/app_start").is_symlink());
    assert_eq!(cluster.group("image").map(|group| group.members.len()), Some(0), "it left the group");
}
