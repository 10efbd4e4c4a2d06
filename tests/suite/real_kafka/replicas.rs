//! Two replicas share a ledger topic: one is killed, one is stopped for longer than its session and its lease and goes on.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use kafka_broker_double::target::{Reply, Target};
use kafka_consumer::ledger::Record;
use rustix::process::Signal;
use serde_json::Value;

use crate::real_kafka::crash::{Story, incident, judge};
use crate::world::kafka::cluster;
use crate::world::process::{Service, binary, wait_for};
use crate::world::settings::{self, Brokers};
use crate::world::wire::Wire;
use crate::world::{port, produce};

pub(super) const EPISODES: usize = 2_000;
pub(super) const PARTITIONS: i32 = 4;
const TOPIC: &str = "shared";
const GROUP: &str = "shared-group";
const LEDGER: &str = "shared-ledger";
pub(super) const PATIENCE: Duration = Duration::from_mins(3);

/// How long the target takes, so that a fault finds attempts on the network.
pub(super) const TARGET_TAKES: Duration = Duration::from_millis(40);

pub(super) struct Replica {
    folder: tempfile::TempDir,
    config: String,
    port: u16,
}

impl Replica {
    /// One that reads a topic in a group and has a ledger topic: `[topic, group, ledger]`.
    pub(super) fn new(brokers: &Brokers, target: &Target, [topic, group, ledger]: [&str; 3]) -> Self {
        let (folder, port) = (tempfile::tempdir().expect("a folder"), port::free());
        let rules =
            format!("limits: {{max_concurrent_actions: 4}}\n{}", settings::hook(&target.url("/{{incident.id}}")));
        let config = settings::config(brokers, folder.path(), group, topic, port, &rules);
        let storage = format!(
            "{{backend: kafka, topic: {ledger}, partitions: 3, create: true, replication_factor: 1, lease: 4s,"
        );
        let config = config.replace("{backend: file,", &storage);
        Self { folder, config, port }
    }

    /// The same over PLAINTEXT, for a listener where nobody logs in.
    pub(super) fn without_login(mut self) -> Self {
        let of_login = |line: &&str| !line.contains("msk_auth") && !line.contains("ssl.ca.location");
        self.config = self.config.lines().filter(of_login).flat_map(|line| [line, "\n"]).collect();
        self
    }

    pub(super) fn start(&self) -> Service {
        Service::start(self.folder.path(), &self.config, self.port)
    }
}

#[test]
fn every_episode_succeeds_once_while_replicas_are_killed_and_stopped() {
    let Some(cluster) = cluster() else { return };
    let mut wire = Wire::connect(&cluster.plaintext);
    wire.create_topic(TOPIC, PARTITIONS, &[]);
    let target = Target::start();
    target.default_reply(Reply::status(200).after(TARGET_TAKES));
    let (brokers, names) = (Brokers::real(cluster), [TOPIC, GROUP, LEDGER]);
    let (one, other) = (Replica::new(&brokers, &target, names), Replica::new(&brokers, &target, names));

    let (mut killed, mut stopped) = (one.start(), other.start());
    let log_ends = both_get_work(&mut wire, TOPIC, [&mut killed, &mut stopped]);

    calls(&target, EPISODES / 10, &killed);
    killed.kill();
    calls(&target, EPISODES / 5, &stopped);
    let mut started_again = one.start();
    started_again
        .wait_readyz("half of the partitions", PATIENCE, |code, body| code == 200 && body.contains("2 partitions"));
    calls(&target, EPISODES * 2 / 5, &stopped);

    stopped.signal(Signal::STOP);
    started_again.wait_readyz("all partitions", PATIENCE, |code, body| code == 200 && body.contains("4 partitions"));
    let words = || format!("the work of the stopped one to be taken over\n{}", started_again.last_words());
    wait_for(words, PATIENCE, || started_again.log().contains("episode taken over").then_some(()));
    calls(&target, EPISODES * 3 / 5, &started_again);
    stopped.signal(Signal::CONT);

    let words = || format!("{log_ends:?} to be committed\n{}\n{}", started_again.last_words(), stopped.last_words());
    wait_for(words, PATIENCE, || (wire.committed(GROUP, TOPIC, PARTITIONS) == log_ends).then_some(()));
    let story = exported(&one);
    assert_eq!(story, exported(&other), "both replicas tell the same");
    println!("{}", judge(&story, EPISODES, &target.requests()));
    for service in [&mut started_again, &mut stopped] {
        assert!(service.stop(Duration::from_secs(30)).success(), "{}", service.last_words());
    }
}

/// Waits until each has half of the partitions, then hands out all incidents: how far that goes.
pub(super) fn both_get_work(wire: &mut Wire, topic: &str, replicas: [&mut Service; 2]) -> BTreeMap<i32, i64> {
    for service in replicas {
        service
            .wait_readyz("half of the partitions", PATIENCE, |code, body| code == 200 && body.contains("2 partitions"));
    }
    let incidents: Vec<(String, String)> = (0..EPISODES).map(|n| incident(n, "oozie")).collect();
    produce::spread(wire, topic, PARTITIONS, 100, &incidents);
    // The same incidents a second time, each in another partition: only the ledger knows that they are the same.
    produce::spread(wire, topic, PARTITIONS, 100, &incidents[100..]);
    wire.log_ends(topic, PARTITIONS)
}

pub(super) fn calls(target: &Target, many: usize, service: &Service) {
    let words = || format!("{many} calls, there were {}\n{}", target.request_count(), service.last_words());
    wait_for(words, PATIENCE, || (target.request_count() >= many).then_some(()));
}

/// What a replica tells of all episodes.
pub(super) fn exported(replica: &Replica) -> Story {
    let out = export(replica.folder.path());
    let mut story = Story::new();
    for line in out.lines() {
        let line: Value = serde_json::from_str(line).expect("JSON");
        if let Some(record) = line.get("record") {
            let record: Record = serde_json::from_value(record.clone()).expect("a record");
            story.entry(record.key.to_string()).or_default().push(record);
        }
    }
    story
}

/// The ledger as the program itself tells it.
pub(super) fn export(folder: &Path) -> String {
    let ran = binary()
        .args(["history", "export", "--config"])
        .arg(folder.join("config.yaml"))
        .env("RUNTIME_DIR", folder)
        .output()
        .expect("the binary starts");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).expect("text")
}
