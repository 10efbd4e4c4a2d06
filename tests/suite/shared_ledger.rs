//! The ledger as a topic, against the broker double: what is refused at the start, and what another replica goes on with.

use std::path::Path;
use std::time::Duration;

use kafka_broker_double::incidents::{IncidentSpec, Seed};
use kafka_broker_double::target::{Reply, Target};
use kafka_broker_double::{ApiKey, Cluster, Record, ResponseError};

use crate::world::port;
use crate::world::process::{Service, binary, wait_for};
use crate::world::produce::now_ms;
use crate::world::settings::{self, Brokers};

const TOPIC: &str = "incidents";
const GROUP: &str = "shared";
const LEDGER: &str = "sre-ledger";
const PATIENCE: Duration = Duration::from_mins(1);

fn broker(ledger_partitions: usize) -> Cluster {
    let builder = Cluster::builder().topic(TOPIC, 2).security(settings::double_security());
    let cluster = builder.topic(LEDGER, ledger_partitions).start();
    cluster.topic_setting(LEDGER, "cleanup.policy", "compact");
    cluster
}

fn start(cluster: &Cluster, folder: &Path, storage: &str, more: &str) -> Service {
    let port = port::free();
    let config = settings::config(&Brokers::double(cluster), folder, GROUP, TOPIC, port, more);
    let config = config.replace("{backend: file,", &format!("{{backend: kafka, lease: 2s, {storage},"));
    Service::start(folder, &config, port)
}

fn incident(id: &str) -> Record {
    Record::from(IncidentSpec::new(id, "oozie", now_ms() / 1000).to_json(&mut Seed::new(1)))
}

fn told(folder: &Path, command: &[&str]) -> String {
    let ran =
        binary().args(command).arg("--config").arg(folder.join("config.yaml")).env("RUNTIME_DIR", folder).output();
    let ran = ran.expect("the binary starts");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).expect("text")
}

#[test]
fn what_a_killed_replica_had_begun_is_taken_over_once_its_lease_is_over() {
    let (cluster, target) = (broker(1), Target::start());
    let folders = [tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder")];
    let storage = format!("topic: {LEDGER}");
    let rules = settings::hook(&target.url("/{{incident.id}}")).replace("timeout: 10s", "timeout: 2s");
    target.queue(Reply::hang());
    let mut first = start(&cluster, folders[0].path(), &storage, &rules);
    first.wait_ready(PATIENCE);
    let one = incident("one");
    cluster.produce(TOPIC, 0, [one.clone()]);
    wait_for(|| format!("the call\n{}", first.last_words()), PATIENCE, || (target.request_count() == 1).then_some(()));
    first.kill();

    let mut second = start(&cluster, folders[1].path(), &storage, &rules);
    second.wait_ready(PATIENCE);
    let words = || format!("the log end to be committed\n{}", second.last_words());
    wait_for(words, PATIENCE, || (cluster.committed(GROUP, TOPIC, 0) == Some(1)).then_some(()));
    assert_eq!(target.request_count(), 2);
    let story = told(folders[1].path(), &["history", "export"]);
    for word in ["the process ended during attempt 1", "\"attempt\":{\"number\":2}", "succeeded"] {
        assert!(story.contains(word), "{word}: {story}");
    }
    let doctor = binary().args(["doctor", "--config"]).arg(folders[1].path().join("config.yaml")).output();
    let doctor = String::from_utf8(doctor.expect("the binary starts").stdout).expect("text");
    assert!(doctor.contains("the ledger, 1 partitions") && doctor.contains("ledger.redb.copy"), "{doctor}");
    // The same incident once more, in another partition.
    cluster.produce(TOPIC, 1, [one]);
    let words = || format!("the log end to be committed\n{}", second.last_words());
    wait_for(words, PATIENCE, || (cluster.committed(GROUP, TOPIC, 1) == Some(1)).then_some(()));
    assert_eq!(target.request_count(), 2, "it was recognised");
    assert!(second.stop(PATIENCE).success(), "{}", second.last_words());
}

#[test]
fn a_topic_of_another_size_ends_the_start_and_a_missing_one_is_waited_for_or_made() {
    let cluster = broker(3);
    let folder = tempfile::tempdir().expect("a folder");
    let mut service = start(&cluster, folder.path(), &format!("topic: {LEDGER}"), "");
    assert_eq!(service.wait_end(PATIENCE).code(), Some(2), "{}", service.last_words());
    assert!(service.log().contains("has 3 partitions, not 1"), "{}", service.log());

    let folder = tempfile::tempdir().expect("a folder");
    let mut service = start(&cluster, folder.path(), "topic: not-there", "");
    let missing = |code, body: &str| {
        code == 503 && body.contains("`not-there` does not exist") && body.contains("storage.create")
    };
    service.wait_readyz("the missing topic", PATIENCE, missing);
    assert!(service.stop(PATIENCE).success(), "{}", service.last_words());

    let folder = tempfile::tempdir().expect("a folder");
    let mut service = start(&cluster, folder.path(), "topic: not-there, create: true, replication_factor: 1", "");
    service.wait_ready(PATIENCE);
    assert!(service.stop(PATIENCE).success(), "{}", service.last_words());
}

#[test]
fn a_topic_from_which_brokers_delete_is_refused_until_it_is_altered_and_what_a_lost_broker_costs_is_told() {
    let cluster = broker(1);
    cluster.topic_setting(LEDGER, "cleanup.policy", "compact,delete");
    let folder = tempfile::tempdir().expect("a folder");
    let mut service = start(&cluster, folder.path(), &format!("topic: {LEDGER}"), "");
    let refused = |code, body: &str| {
        code == 503
            && body.contains("cleanup.policy=compact,delete")
            && body.contains("--add-config cleanup.policy=compact")
    };
    service.wait_readyz("the policy to be refused", PATIENCE, refused);
    let doctor = |expected: &str| {
        let ran = binary().args(["doctor", "--config"]).arg(folder.path().join("config.yaml")).output();
        let said = String::from_utf8(ran.expect("the binary starts").stdout).expect("text");
        assert!(said.contains(expected), "{expected}: {said}");
    };
    doctor("has cleanup.policy=compact,delete");
    cluster.topic_setting(LEDGER, "cleanup.policy", "compact");
    service.wait_ready(PATIENCE);
    assert!(service.log().contains("one replica: what was done is lost with its broker"), "{}", service.log());
    doctor("one replica: what was done is lost with its broker");
    assert!(service.stop(PATIENCE).success(), "{}", service.last_words());
}

#[test]
fn who_may_not_look_at_the_settings_of_the_topic_starts_and_is_told() {
    let cluster = broker(1);
    cluster.on(ApiKey::DescribeConfigs).times(usize::MAX).error(ResponseError::TopicAuthorizationFailed);
    let folder = tempfile::tempdir().expect("a folder");
    let mut service = start(&cluster, folder.path(), &format!("topic: {LEDGER}"), "");
    service.wait_ready(PATIENCE);
    assert!(service.log().contains("cannot be looked at"), "{}", service.log());
    assert!(service.stop(PATIENCE).success(), "{}", service.last_words());
}

#[test]
fn a_ledger_file_of_before_is_left_as_it_is() {
    let cluster = broker(1);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("ledger.redb");
    std::fs::write(&file, "what was done before").expect("a file");
    let mut service = start(&cluster, folder.path(), &format!("topic: {LEDGER}"), "");
    service.wait_ready(PATIENCE);
    assert!(folder.path().join("ledger.redb.copy").exists());
    assert_eq!(std::fs::read_to_string(&file).expect("it is there"), "what was done before");
    assert!(service.stop(PATIENCE).success(), "{}", service.last_words());
}

/// What a fresh replica may take, unoptimised, while it reads [`EPISODES`] from the topic: the copy is on disk.
const START_KIB_MAX: u64 = 128 * 1024;
const EPISODES: usize = 30_000;

#[test]
fn a_long_topic_is_read_at_the_start_in_little_memory_and_says_how_far_it_is() {
    let cluster = broker(1);
    let padding = "x".repeat(1_000);
    let line =
        |said: &str, after: usize| format!(r#"{{"v":1,"after":{after},"at":{},"said":{{"entry":{said}}}}}"#, now_ms());
    let origin = r#""origin":{"topic":"t","partition":0,"offset":1,"generation":1}"#;
    let intent = format!(r#"{{"intent":{{"action_type":"webhook","request":"{padding}",{origin},"by":"p"}}}}"#);
    let failed = r#"{"outcome":{"failed":{"reason":"it was not there"}}}"#;
    for first in (0..EPISODES).step_by(100) {
        let records = (first..first + 100).flat_map(|n| {
            let key = |number: usize| format!("line/{number}/earlier/incident-{n}/-/5/oozie/hook");
            [Record::new(line(&intent, 0)).key(key(2 * n)), Record::new(line(failed, 1)).key(key(2 * n + 1))]
        });
        cluster.produce(LEDGER, 0, records);
    }
    let folder = tempfile::tempdir().expect("a folder");
    let mut service = start(&cluster, folder.path(), &format!("topic: {LEDGER}"), "");
    service.wait_ready(PATIENCE);
    let most = service.memory_kib("VmHWM").expect("a process has memory");
    println!("{EPISODES} episodes read, {most} KiB at most");
    assert!(most < START_KIB_MAX, "{most} KiB");
    let log = service.log();
    assert!(
        log.contains("reading the ledger topic") && log.contains(&format!("\"read\":{}", 2 * EPISODES)),
        "{}",
        service.last_words()
    );
    let last = told(folder.path(), &["history", "list", "--incident", &format!("incident-{}", EPISODES - 1)]);
    assert!(last.contains("failed") && last.contains("it was not there"), "{last}");
    assert!(service.stop(PATIENCE).success(), "{}", service.last_words());
}
