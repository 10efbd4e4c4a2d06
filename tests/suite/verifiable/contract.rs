//! Flags, lines and exit codes, against the broker double.

use std::time::Duration;

use kafka_broker_double::{Cluster, Record};
use serde_json::{Value, json};

use super::{PATIENCE, Subject};

fn cluster(records: usize) -> Cluster {
    let cluster = Cluster::builder().topic("t", 1).start();
    cluster.produce("t", 0, (0..records).map(|number| Record::new(number.to_string())));
    cluster
}

fn start(cluster: &Cluster, more: &[&str]) -> Subject {
    let servers = cluster.bootstrap();
    let flags = ["--bootstrap-server", &servers, "--topic", "t", "--group-id", "g"];
    Subject::start(flags.iter().chain(more))
}

/// A properties file for `--command-config`.
fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), text).expect("written");
    file
}

fn without_timestamp(mut event: Value) -> Value {
    assert!(event["timestamp"].as_u64().is_some_and(|millis| millis > 1_600_000_000_000), "{event}");
    event.as_object_mut().expect("an object").remove("timestamp");
    event
}

#[test]
fn the_lines_are_those_of_apaches_tool() {
    let cluster = cluster(3);
    let mut subject = start(&cluster, &["--verbose", "--max-messages", "2"]);
    assert_eq!(subject.wait_end(PATIENCE).code(), Some(0), "{}", subject.words());
    let all = json!([{"topic": "t", "partition": 0}]);
    let data = |offset: i64| json!({"name": "record_data", "key": null, "value": offset.to_string(), "topic": "t", "partition": 0, "offset": offset});
    let consumed = json!([{"topic": "t", "partition": 0, "count": 2, "minOffset": 0, "maxOffset": 1}]);
    let events: Vec<_> = subject.events().into_iter().map(without_timestamp).collect();
    assert_eq!(
        events,
        [
            json!({"name": "startup_complete"}),
            json!({"name": "partitions_assigned", "partitions": all}),
            data(0),
            data(1),
            json!({"name": "records_consumed", "count": 2, "partitions": consumed}),
            json!({"name": "offsets_committed", "offsets": [{"topic": "t", "partition": 0, "offset": 2}], "success": true}),
            json!({"name": "partitions_revoked", "partitions": all}),
            json!({"name": "shutdown_complete"}),
        ]
    );
    assert!(subject.lines()[0].starts_with("{\"timestamp\":"), "{}", subject.lines()[0]);
    assert_eq!(cluster.committed("g", "t", 0), Some(2));
}

#[test]
fn max_poll_records_cuts_batches_and_each_cut_is_committed() {
    let cluster = cluster(7);
    let file = file("max.poll.records=3\nsome.thing=1\n");
    let mut subject = start(&cluster, &["--consumer.config", file.path().to_str().expect("a path")]);
    subject.wait_named("offsets_committed", 3);
    let counts: Vec<_> = subject.named("records_consumed").iter().map(|event| event["count"].clone()).collect();
    assert_eq!(counts, [3, 3, 1]);
    let offsets: Vec<_> =
        subject.named("offsets_committed").iter().map(|event| event["offsets"][0]["offset"].clone()).collect();
    assert_eq!(offsets, [3, 6, 7]);
    subject.stop();
    assert_eq!(subject.named("shutdown_requested").len(), 1);
    assert!(subject.stderr().contains("line 2: some.thing: is not known"), "{}", subject.stderr());
}

#[test]
fn autocommit_commits_what_was_reported_in_its_interval_and_at_the_end() {
    let cluster = cluster(4);
    let file = file("auto.commit.interval.ms=50\n");
    let path = file.path().to_str().expect("a path");
    let mut subject = start(&cluster, &["--enable-autocommit", "--command-config", path]);
    subject.wait("the periodic commit", |_| cluster.committed("g", "t", 0) == Some(4));
    subject.stop();

    let mut subject = start(&cluster, &["--enable-autocommit"]);
    subject.wait_named("partitions_assigned", 1);
    cluster.produce("t", 0, [Record::new("4")]);
    subject.wait_named("records_consumed", 1);
    subject.stop();
    assert_eq!(cluster.committed("g", "t", 0), Some(5));
    assert_eq!(subject.named("offsets_committed"), Vec::<Value>::new());
}

#[test]
fn without_a_broker_it_still_ends_when_asked_to() {
    let mut subject = Subject::start([
        "--bootstrap-server",
        "127.0.0.1:1",
        "--topic",
        "t",
        "--group-id",
        "g",
        "--session-timeout",
        "6000",
    ]);
    subject.wait_named("startup_complete", 1);
    subject.stop();
}

#[test]
fn usage_mistakes_say_what_is_wrong_and_print_no_event() {
    let wrong = |args: &[&str], expected: &str| {
        let mut subject = Subject::start(args);
        assert_eq!(subject.wait_end(Duration::from_secs(10)).code(), Some(1));
        subject.wait(expected, |subject| subject.stderr().contains(expected));
        assert_eq!(subject.lines(), Vec::<String>::new());
    };
    let base = ["--broker-list", "b:1", "--topic=t", "--group-id", "g"];
    let with = |more: &[&'static str]| base.iter().chain(more).copied().collect::<Vec<_>>();
    wrong(&with(&["--group-protocol", "consumer"]), "(KIP-848) is not possible");
    wrong(&with(&["--bootstrap-server", "c:1"]), "exclude each other");
    wrong(&with(&["--session-timeout", "long"]), "session.timeout.ms: `long` is not a whole number");
    wrong(&with(&["--assignment-strategy", "a.b.RoundRobinAssignor"]), "names none of range");
    wrong(&with(&["--command-config", "/nowhere"]), "/nowhere");
    wrong(&with(&["--max"]), "--max is not an option");
    wrong(&["--topic", "t"], "--bootstrap-server is missing");
}
