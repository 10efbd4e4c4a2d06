//! `replay --source topic`: what is in Kafka, read without a group, on a double and on a real one.

use std::path::Path;

use kafka_broker_double::target::Target;
use kafka_broker_double::{ApiKey, Cluster, Record};
use serde_json::Value;

use crate::world::process::binary;
use crate::world::settings::{self, Brokers, PASSWORD};
use crate::world::wire::Wire;
use crate::world::{kafka, port, produce};

const TOPIC: &str = "replayed";

fn incident(id: u32, kind: &str) -> String {
    let at = 1_000 + 60 * i64::from(id);
    format!(
        r#"{{"id": "i{id}", "startedOn": {at}, "updatedOn": {at}, "tags": [{{"id": "alert_type", "value": "{kind}"}}]}}"#
    )
}

/// Exit code and JSON, or what was said instead.
fn replay(folder: &Path, config: &str, more: &[&str]) -> (Option<i32>, Result<Value, String>) {
    let file = folder.join("config.yaml");
    std::fs::write(&file, config).expect("a configuration");
    let mut command = binary();
    command.arg("--config").arg(&file).args(["replay", "--source", "topic", "--no-ledger", "--output", "json"]);
    let output = command.args(more).output().expect("the binary runs");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(!out.contains(PASSWORD) && !err.contains(PASSWORD), "{out}{err}");
    (output.status.code(), serde_json::from_str(&out).map_err(|_| err.into_owned()))
}

#[test]
fn a_topic_is_read_between_two_times_without_a_group_and_nothing_is_begun() {
    let cluster = Cluster::builder().brokers(2).topic(TOPIC, 2).security(settings::double_security()).start();
    for (partition, ids) in [(0, 0..5), (1, 5..10)] {
        for id in ids {
            let value =
                if id == 7 { "no incident".to_owned() } else { incident(id, if id < 9 { "oozie" } else { "spark" }) };
            cluster.produce(TOPIC, partition, [Record::new(value).at(i64::from(id) * 60_000 + 1_000_000)]);
        }
    }
    let (target, folder) = (Target::start(), tempfile::tempdir().expect("a folder"));
    let hook = settings::hook(&target.url("/hook"));
    let config = settings::config(&Brokers::double(&cluster), folder.path(), "g", TOPIC, port::free(), &hook);

    let (code, told) = replay(folder.path(), &config, &[]);
    let told = told.expect("JSON");
    assert_eq!((code, &told["source"]), (Some(0), &"replayed, 2 partitions".into()));
    assert_eq!((&told["records"], &told["malformed"], &told["outside"]), (&10.into(), &1.into(), &0.into()));
    assert_eq!(told["malformed_examples"][0]["place"], "replayed/1@2");
    assert_eq!(told["would_fire"]["conditions"][0]["episodes"], 8);
    assert_eq!(told["would_fire"]["unmatched"], 1);

    // From the third minute, before the sixth: what lies before is not even read, what lies behind is counted.
    let (_, told) = replay(folder.path(), &config, &["--from", "1180", "--to", "1360"]);
    let told = told.expect("JSON");
    assert_eq!((&told["records"], &told["outside"]), (&7.into(), &4.into()), "{told}");
    assert_eq!((&told["would_fire"]["conditions"][0]["episodes"], &told["first_ms"]), (&3.into(), &1_180_000.into()));

    assert_eq!(target.request_count(), 0, "nothing is begun");
    for changes in
        [ApiKey::JoinGroup, ApiKey::FindCoordinator, ApiKey::OffsetCommit, ApiKey::Produce, ApiKey::CreateTopics]
    {
        assert_eq!(cluster.request_count(changes), 0, "{changes:?}");
    }
}

#[test]
fn a_topic_that_cannot_be_read_is_said_to_be_so() {
    let cluster = Cluster::builder().topic("another", 1).security(settings::double_security()).start();
    let folder = tempfile::tempdir().expect("a folder");
    let config = |brokers: &Brokers| {
        settings::config(brokers, folder.path(), "g", TOPIC, port::free(), &settings::hook("http://t/"))
    };
    let (code, told) = replay(folder.path(), &config(&Brokers::double(&cluster)), &[]);
    let why = told.expect_err("no such topic");
    assert!(code == Some(1) && why.contains("the topic replayed: UNKNOWN_TOPIC_OR_PARTITION"), "{why}");
    let nobody = Brokers::double(&cluster).at(format!("127.0.0.1:{}", port::free()));
    let (code, told) = replay(folder.path(), &config(&nobody), &[]);
    let why = told.expect_err("nobody there");
    assert!(code == Some(1) && why.contains("no broker tells the partitions"), "{why}");
}

#[test]
fn a_topic_of_a_real_kafka_is_read_to_its_end_with_what_conditions_remember() {
    let Some(cluster) = kafka::cluster() else { return };
    let mut wire = Wire::connect(&cluster.plaintext);
    let topic = "replayed-by-hand";
    wire.create_topic(topic, 1, &[]);
    for (number, codec) in (0..).zip(produce::CODECS) {
        let records: Vec<(String, String)> =
            (0..4).map(|n| (String::new(), incident(number * 4 + n, "oozie"))).collect();
        wire.produce(topic, 0, produce::batch(codec, &records));
    }
    let folder = tempfile::tempdir().expect("a folder");
    let hook =
        settings::hook("http://t/").replace("    tags:", "    occurrences: {at_least: 3, within: 10m}\n    tags:");
    let config = settings::config(&Brokers::real(cluster), folder.path(), "g-replay", topic, port::free(), &hook);
    let (code, told) = replay(folder.path(), &config, &["--from", "1h"]);
    let told = told.expect("JSON");
    assert_eq!((code, &told["records"], &told["malformed"]), (Some(0), &20.into(), &0.into()));
    assert_eq!(told["would_fire"]["conditions"][0]["records"], 18, "the first two are not three: {told}");
}
