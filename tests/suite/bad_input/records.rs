//! Records that are no incidents, and targets that fail: both are recorded, and the stream goes on.

use kafka_broker_double::Record;
use kafka_broker_double::incidents::{IncidentSpec, Seed};
use kafka_broker_double::target::{Reply, Target};

use super::{GROUP, PATIENCE, TOPIC, broker, start};
use crate::world::process::wait_for;
use crate::world::produce::now_ms;
use crate::world::settings::{self, Brokers};

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
