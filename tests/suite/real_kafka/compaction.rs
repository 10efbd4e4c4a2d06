//! The log cleaner of a real broker goes over the ledger topic: what was forgotten is gone from it, and who reads it later
//! comes to the same as who followed it.

use std::path::Path;
use std::time::Duration;

use kafka_consumer::client::{ClientConfig, ReadEvent, Reader, StartAt, TopicPartition};

use crate::real_kafka::replicas::export;
use crate::world::kafka::cluster;
use crate::world::process::{Service, wait_for};
use crate::world::settings::{self, Brokers};
use crate::world::wire::Wire;
use crate::world::{port, produce};

const TOPIC: &str = "compacted";
const LEDGER: &str = "compacted-ledger";
const PATIENCE: Duration = Duration::from_mins(1);
const EPISODES: i64 = 50;
const DAY_MS: i64 = 24 * 3_600_000;
/// Each append begins a new segment, all others may be cleaned at once, and what was removed leaves no trace.
const CLEANED_AT_ONCE: [(&str, &str); 5] = [
    ("cleanup.policy", "compact"),
    ("min.cleanable.dirty.ratio", "0.01"),
    ("segment.ms", "1"),
    ("delete.retention.ms", "0"),
    ("min.compaction.lag.ms", "0"),
];

/// The lines of an episode that failed so many days ago.
fn failed(number: i64, days: i64) -> [(String, String); 2] {
    let at = produce::now_ms() - days * DAY_MS;
    let age = if days > 1 { "old" } else { "new" };
    let origin = r#"{"topic":"t","partition":0,"offset":1,"generation":1}"#;
    let intent = format!(r#"{{"intent":{{"action_type":"webhook","request":"POST","origin":{origin},"by":"p"}}}}"#);
    let outcome = r#"{"outcome":{"failed":{"reason":"it was not there"}}}"#.to_owned();
    let line = |line: i64, after: i64, said: &str| {
        let key = format!("line/{line}/earlier-{age}/{age}-{number}/-/5/oozie/hook");
        (key, format!(r#"{{"v":1,"after":{after},"at":{at},"said":{{"entry":{said}}}}}"#))
    };
    [line(2 * number, 0, &intent), line(2 * number + 1, 1, &outcome)]
}

/// The keys that are in the ledger topic.
fn keys(address: &str) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let partition = TopicPartition::new(LEDGER, 0);
        let reader = Reader::builder().client(ClientConfig::new([address]));
        let mut reader = reader.partition(partition.clone(), StartAt::Earliest).build().expect("a reader");
        let end = reader.end_offsets(PATIENCE).await.expect("the end")[&partition];
        let mut keys = Vec::new();
        while reader.position(&partition).is_none_or(|at| at < end) {
            if let ReadEvent::Records(records) = reader.next().await.expect("a record") {
                let text = |key: Option<&[u8]>| String::from_utf8_lossy(key.unwrap_or_default()).into_owned();
                records.batch().for_each(|record| keys.push(text(record.key)));
            }
        }
        keys
    })
}

fn start(brokers: &Brokers, folder: &Path, group: &str) -> Service {
    let port = port::free();
    let config = settings::config(brokers, folder, group, TOPIC, port, "");
    let config = config.replace("{backend: file,", &format!("{{backend: kafka, topic: {LEDGER}, lease: 15s,"));
    Service::start(folder, &config.replace("ttl_days: 7", "ttl_days: 1"), port)
}

#[test]
fn a_ledger_topic_that_the_brokers_have_cleaned_opens_to_the_same() {
    let Some(cluster) = cluster() else { return };
    let mut wire = Wire::connect(&cluster.plaintext);
    wire.create_topic(TOPIC, 1, &[]);
    wire.create_topic(LEDGER, 1, &CLEANED_AT_ONCE);
    let lines: Vec<_> = (0..EPISODES).flat_map(|number| [failed(number, 3), failed(number, 0)]).flatten().collect();
    produce::spread(&mut wire, LEDGER, 1, 10, &lines);

    let brokers = Brokers::real(cluster);
    let folders = [tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder")];
    let mut followed = start(&brokers, folders[0].path(), "compacted-followed");
    followed.wait_ready(PATIENCE);
    let words = || format!("the old episodes to be forgotten\n{}", followed.last_words());
    wait_for(words, PATIENCE, || followed.log().contains("old episodes were forgotten").then_some(()));
    // Signs of life go on, so that what was removed comes to lie in a segment that may be cleaned.
    let gone = || {
        let keys = keys(&cluster.plaintext);
        (!keys.iter().any(|key| key.contains("/old-"))).then_some(keys.len())
    };
    let left = wait_for(|| "the log cleaner".to_owned(), PATIENCE, gone);
    let written = wire.log_ends(LEDGER, 1)[&0];
    println!("{left} records are left of {written}");

    let mut read = start(&brokers, folders[1].path(), "compacted-read");
    read.wait_ready(PATIENCE);
    let (one, other) = (export(folders[0].path()), export(folders[1].path()));
    assert_eq!(one, other, "who read it after the cleaner tells the same as who followed it");
    assert_eq!(one.matches("it was not there").count(), usize::try_from(EPISODES).expect("few"), "{one}");
    for service in [&mut followed, &mut read] {
        assert!(service.stop(PATIENCE).success(), "{}", service.last_words());
    }
}
