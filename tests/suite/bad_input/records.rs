//! Records that are no incidents, and targets that fail: both are recorded, and the stream goes on.

use std::collections::BTreeMap;

use kafka_broker_double::incidents::{IncidentSpec, Seed};
use kafka_broker_double::target::{Reply, Target};
use kafka_broker_double::{ApiKey, Cluster, Record};
use kafka_consumer::client;

use super::{GROUP, PATIENCE, TOPIC, broker, start};
use crate::world::process::{Service, wait_for};
use crate::world::produce::{self, now_ms};
use crate::world::settings::{self, Brokers};
use crate::world::wire::Wire;
use crate::world::{kafka, port};

fn incident(id: &str) -> Record {
    let spec = IncidentSpec::new(id, "oozie", now_ms() / 1000);
    Record::from(spec.to_json(&mut Seed::new(1)))
}

#[test]
fn a_record_that_is_no_incident_becomes_a_dead_letter_and_the_next_one_is_done() {
    let (cluster, target) = (broker(), Target::start());
    cluster.produce(TOPIC, 0, ["not json at all", "{\"incident\": {\"no\": \"id\"}}"]);
    cluster.produce(TOPIC, 0, [incident("after-the-bad-ones")]);
    let folder = tempfile::tempdir().expect("a folder");
    let service = start(&Brokers::double(&cluster), folder.path(), &settings::hook(&target.url("/{{incident.id}}")));
    let words = || format!("the log end to be committed\n{}", service.last_words());
    wait_for(words, PATIENCE, || (cluster.committed(GROUP, TOPIC, 0) == Some(3)).then_some(()));

    let letters = std::fs::read_to_string(folder.path().join("dead_letter.jsonl")).expect("dead letters");
    let letters: Vec<serde_json::Value> =
        letters.lines().map(|line| serde_json::from_str(line).expect("a JSON line")).collect();
    assert_eq!(letters.len(), 2, "{letters:?}");
    assert_eq!((&letters[0]["topic"], &letters[0]["offset"]), (&TOPIC.into(), &0.into()));
    // base64 of `not json at all`.
    assert_eq!(letters[0]["value_base64"], "bm90IGpzb24gYXQgYWxs");
    assert!(letters[1]["reason"].as_str().expect("a reason").contains("id"), "{letters:?}");
    assert_eq!(target.requests().iter().map(|call| call.path.as_str()).collect::<Vec<_>>(), ["/after-the-bad-ones"]);
}

#[test]
fn a_failing_webhook_is_tried_as_often_as_configured_recorded_and_left_behind() {
    let (cluster, target) = (broker(), Target::start());
    target.default_reply(Reply::status(503));
    cluster.produce(TOPIC, 0, [incident("unlucky")]);
    let folder = tempfile::tempdir().expect("a folder");
    let service = start(&Brokers::double(&cluster), folder.path(), &settings::hook(&target.url("/hook")));
    let words = || format!("the log end to be committed\n{}", service.last_words());
    wait_for(words, PATIENCE, || (cluster.committed(GROUP, TOPIC, 0) == Some(1)).then_some(()));
    assert_eq!(target.request_count(), 2);
    let log = service.log();
    let told = log.lines().any(|line| line.contains("503") && line.contains("unlucky"));
    assert!(told, "a line names the incident and the answer\n{log}");
    let (_, metrics) = service.get("/metrics").expect("metrics");
    let failed = "kafka_consumer_incidents_total{condition=\"oozie\",end=\"failed\"} 1.0";
    assert!(metrics.contains(failed), "{metrics}");
}

/// A record of the letters' topic: offset, value, headers.
type Read = (i64, String, Vec<(String, String)>);

/// What the record at an offset of the dead letter topic holds: value, and its headers as text.
fn letter(records: &[Read], offset: i64) -> (String, Vec<(String, String)>) {
    let found = records.iter().find(|(at, ..)| *at == offset).unwrap_or_else(|| panic!("{offset} in {records:?}"));
    (found.1.clone(), found.2.clone())
}

/// Every record of partition 0 of the dead letter topic.
fn letters_in(client: client::ClientConfig) -> Vec<Read> {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async move {
        let partition = client::TopicPartition::new(LETTERS, 0);
        let builder = client::Reader::builder().client(client).partition(partition.clone(), client::StartAt::Earliest);
        let mut reader = builder.build().expect("valid settings");
        let ends = reader.end_offsets(PATIENCE).await.expect("the end");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut letters = Vec::new();
        while reader.position(&partition) < ends.get(&partition).copied() {
            let event = tokio::time::timeout(PATIENCE, reader.next()).await.expect("in time").expect("no fatal error");
            let client::ReadEvent::Records(records) = event else { continue };
            letters.extend(records.batch().map(|record| {
                let headers = record.headers().map(|header| header.expect("a header"));
                let headers = headers.map(|h| (text(h.key), text(h.value.unwrap_or_default()))).collect();
                (record.offset.get(), text(record.value.unwrap_or_default()), headers)
            }));
        }
        letters
    })
}

const LETTERS: &str = "dead-letters";

/// The same configuration, with a topic in place of the file.
fn to_the_topic(config: &str) -> String {
    let line = |line: &str| {
        if line.starts_with("dead_letter:") {
            format!("dead_letter: {{topic: {LETTERS}}}\n")
        } else {
            format!("{line}\n")
        }
    };
    config.lines().map(line).collect()
}

#[test]
fn a_dead_letter_is_acknowledged_by_its_topic_before_its_offset_is_committed() {
    let cluster = Cluster::builder().topic(TOPIC, 1).topic(LETTERS, 1).start();
    let header = Record::new("not json at all").key("k").header("trace", Some("abc".into())).at(1_700_000_000_000);
    let fault = cluster.on(ApiKey::Produce).always().apply_then_disconnect();
    cluster.produce(TOPIC, 0, [header, Record::new("{}")]);
    let folder = tempfile::tempdir().expect("a folder");
    let config = format!(
        "kafka: {{brokers: [{:?}], consumer_group_id: {GROUP}, topics: [{TOPIC}], auto.offset.reset: earliest, \
         security.protocol: PLAINTEXT}}\nstorage: {{backend: file, path: {}}}\ndead_letter: {{topic: {LETTERS}}}\n\
         http: {{listen: \"127.0.0.1:PORT\"}}\n",
        cluster.bootstrap(),
        folder.path().join("ledger.redb").display()
    );
    let port = port::free();
    let service = Service::start(folder.path(), &config.replace("PORT", &port.to_string()), port);
    let words = || format!("a dead letter to be sent\n{}", service.last_words());
    wait_for(words, PATIENCE, || (fault.hits() > 2).then_some(()));
    assert_eq!(cluster.committed(GROUP, TOPIC, 0), None, "nothing was acknowledged");
    fault.remove();
    let words = || format!("the log end to be committed\n{}", service.last_words());
    wait_for(words, PATIENCE, || (cluster.committed(GROUP, TOPIC, 0) == Some(2)).then_some(()));
    let letters = letters_in(client::ClientConfig::new([cluster.bootstrap()]));
    assert_eq!(letters.len(), 2, "each once, however often it was sent: {letters:?}");
    let (value, headers) = letter(&letters, 0);
    assert_eq!(value, "not json at all");
    let text = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let origin = [("topic", TOPIC), ("partition", "0"), ("offset", "0"), ("timestamp_ms", "1700000000000")];
    assert_eq!(headers[0], text("trace", "abc"), "its own headers stay");
    assert_eq!(headers[1..5], origin.map(|(name, value)| text(name, value)));
    assert!(headers[5].0 == "reason" && headers[5].1.contains("not JSON"), "{headers:?}");
}

#[test]
fn dead_letters_wait_for_their_topic_and_readyz_says_so() {
    let cluster = broker();
    cluster.produce(TOPIC, 0, ["not json at all"]);
    let folder = tempfile::tempdir().expect("a folder");
    let port = port::free();
    let config = to_the_topic(&settings::config(&Brokers::double(&cluster), folder.path(), GROUP, TOPIC, port, ""));
    let service = Service::start(folder.path(), &config, port);
    let words = || format!("/readyz to name the topic\n{}", service.last_words());
    let told = wait_for(words, PATIENCE, || {
        let (code, text) = service.get("/readyz")?;
        (code == 503 && text.contains(LETTERS)).then_some(text)
    });
    assert!(told.contains("UNKNOWN_TOPIC_OR_PARTITION"), "{told}");
    assert_eq!(cluster.committed(GROUP, TOPIC, 0), None);
    cluster.create_topic(LETTERS, 1);
    let words = || format!("the log end to be committed\n{}", service.last_words());
    wait_for(words, PATIENCE, || (cluster.committed(GROUP, TOPIC, 0) == Some(1)).then_some(()));
}

#[test]
fn a_real_kafka_keeps_dead_letters_in_a_topic() {
    let Some(kafka) = kafka::cluster() else { return };
    let mut wire = Wire::connect(&kafka.plaintext);
    wire.create_topic("letters-source", 1, &[]);
    wire.create_topic(LETTERS, 1, &[]);
    produce::spread(&mut wire, "letters-source", 1, 10, &[("k".to_owned(), "not json at all".to_owned())]);
    let folder = tempfile::tempdir().expect("a folder");
    let port = port::free();
    let brokers = Brokers::real(kafka);
    let config = to_the_topic(&settings::config(&brokers, folder.path(), "letters", "letters-source", port, ""));
    let service = Service::start(folder.path(), &config, port);
    let words = || format!("the log end to be committed\n{}", service.last_words());
    let ends: BTreeMap<i32, i64> = BTreeMap::from([(0, 1)]);
    wait_for(words, PATIENCE * 2, || (wire.committed("letters", "letters-source", 1) == ends).then_some(()));
    let letters = letters_in(client::ClientConfig::new([kafka.plaintext.clone()]));
    let (value, headers) = letter(&letters, 0);
    assert_eq!(value, "not json at all");
    assert!(headers.contains(&("topic".to_owned(), "letters-source".to_owned())), "{headers:?}");
}
