//! The service from start to drain, against the broker double.

use std::path::Path;
use std::time::Duration;

use kafka_broker_double::incidents::{IncidentSpec, Seed};
use kafka_broker_double::target::{Reply, Target};
use kafka_broker_double::{ApiKey, Cluster, Record, ResponseError};
use rustix::process::Signal;

use crate::world::port;
use crate::world::process::{Service, wait_for};
use crate::world::produce::now_ms;
use crate::world::settings::{self, Brokers, PASSWORD};

const TOPIC: &str = "incidents";
const GROUP: &str = "life";
const PATIENCE: Duration = Duration::from_secs(45);

fn broker(partitions: usize) -> Cluster {
    Cluster::builder().topic(TOPIC, partitions).security(settings::double_security()).start()
}

fn start(cluster: &Cluster, folder: &Path, more: &str) -> Service {
    let port = port::free();
    let config = settings::config(&Brokers::double(cluster), folder, GROUP, TOPIC, port, more);
    Service::start(folder, &config, port)
}

fn incident(id: &str) -> Record {
    let spec = IncidentSpec::new(id, "oozie", now_ms() / 1000);
    Record::from(spec.to_json(&mut Seed::new(1)))
}

#[test]
fn a_matched_incident_is_acted_on_once_committed_and_visible_everywhere() {
    let (cluster, target) = (broker(2), Target::start());
    let folder = tempfile::tempdir().expect("a folder");
    let mut service = start(&cluster, folder.path(), &settings::hook(&target.url("/{{incident.id}}")));
    service.wait_ready(PATIENCE);
    // The same snapshot twice: the second is recognised.
    cluster.produce(TOPIC, 0, [incident("one"), incident("one")]);
    let words = || format!("the log end to be committed\n{}", service.last_words());
    wait_for(words, PATIENCE, || (cluster.committed(GROUP, TOPIC, 0) == Some(2)).then_some(()));
    assert_eq!(target.request_count(), 1);

    assert_eq!(service.get("/livez"), Some((200, "alive\n".to_owned())));
    let (code, ready) = service.get("/readyz").expect("an answer");
    assert_eq!((code, ready.as_str()), (200, "ready: 2 partitions\n"));
    let (code, page) = service.get("/status.html").expect("a page");
    assert_eq!(code, 200);
    for word in ["incidents-0", "oozie", "Ready.", GROUP] {
        assert!(page.contains(word), "{word}\n{page}");
    }
    let (_, metrics) = service.get("/metrics").expect("metrics");
    for line in [
        "kafka_consumer_ready 1.0",
        "kafka_consumer_matched_records_total 2.0",
        "kafka_consumer_partitions_owned 2.0",
        "kafka_consumer_state{state=\"running\"} 1.0",
    ] {
        assert!(metrics.lines().any(|have| have == line), "{line}\n{metrics}");
    }
    assert!(service.stop(PATIENCE).success(), "{}", service.last_words());
}

#[test]
fn sigterm_finishes_what_runs_commits_it_and_leaves_the_group() {
    let (cluster, target) = (broker(1), Target::start());
    target.default_reply(Reply::status(200).after(Duration::from_secs(2)));
    let folder = tempfile::tempdir().expect("a folder");
    let mut service = start(&cluster, folder.path(), &settings::hook(&target.url("/slow")));
    cluster.produce(TOPIC, 0, [incident("slow")]);
    let words = || format!("the call\n{}", service.last_words());
    wait_for(words, PATIENCE, || (target.request_count() == 1).then_some(()));
    service.signal(Signal::TERM);
    service.wait_readyz("draining", PATIENCE, |code, body| code == 503 && body.contains("SIGTERM"));
    assert_eq!(service.wait_end(PATIENCE).code(), Some(0), "{}", service.last_words());
    assert_eq!(cluster.committed(GROUP, TOPIC, 0), Some(1));
    let members = cluster.group(GROUP).map(|group| group.members.len());
    assert_eq!(members, Some(0), "it left the group");
}

#[test]
fn a_second_signal_ends_it_at_once_and_says_what_that_means() {
    let (cluster, target) = (broker(1), Target::start());
    target.default_reply(Reply::hang());
    let folder = tempfile::tempdir().expect("a folder");
    let mut service = start(&cluster, folder.path(), &settings::hook(&target.url("/hangs")));
    cluster.produce(TOPIC, 0, [incident("hangs")]);
    let words = || format!("the call\n{}", service.last_words());
    wait_for(words, PATIENCE, || (target.request_count() == 1).then_some(()));
    service.signal(Signal::TERM);
    service.wait_readyz("draining", PATIENCE, |code, body| code == 503 && body.contains("SIGTERM"));
    service.signal(Signal::INT);
    assert_eq!(service.wait_end(Duration::from_secs(8)).code(), Some(1), "{}", service.last_words());
    let log = service.log();
    assert!(log.lines().last().expect("a line").contains("unknown to the ledger"), "{log}");
    assert_eq!(cluster.committed(GROUP, TOPIC, 0), None, "what was cut off is not committed");
}

#[test]
fn sigterm_before_anything_runs_is_a_clean_end() {
    let cluster = broker(1);
    let folder = tempfile::tempdir().expect("a folder");
    let port = port::free();
    let config = settings::config(&Brokers::double(&cluster), folder.path(), GROUP, TOPIC, port, "");
    std::fs::remove_file(folder.path().join("password")).expect("no secret");
    let mut service = Service::start(folder.path(), &config, port);
    service.wait_readyz("starting", PATIENCE, |code, _| code == 503);
    assert_eq!(service.stop(PATIENCE).code(), Some(0), "{}", service.last_words());
}

#[test]
fn shadow_mode_decides_and_touches_nothing() {
    let (cluster, target) = (broker(1), Target::start());
    let folder = tempfile::tempdir().expect("a folder");
    let more = format!("mode: shadow\n{}", settings::hook(&target.url("/never")));
    let service = start(&cluster, folder.path(), &more);
    cluster.produce(TOPIC, 0, [incident("seen")]);
    let words = || format!("the log end to be committed\n{}", service.last_words());
    wait_for(words, PATIENCE, || (cluster.committed(GROUP, TOPIC, 0) == Some(1)).then_some(()));
    assert_eq!(target.request_count(), 0);
}

#[test]
fn the_kill_switch_holds_actions_back_until_it_is_gone() {
    let (cluster, target) = (broker(1), Target::start());
    let folder = tempfile::tempdir().expect("a folder");
    let switch = folder.path().join("PAUSED");
    std::fs::write(&switch, "maintenance of the grid").expect("a switch");
    let more = format!("kill_switch_file: {}\n{}", switch.display(), settings::hook(&target.url("/later")));
    let mut service = start(&cluster, folder.path(), &more);
    cluster.produce(TOPIC, 0, [incident("waits")]);
    service.wait_readyz("the switch", PATIENCE, |code, body| code == 200 && body.contains("maintenance of the grid"));
    assert_eq!((target.request_count(), cluster.committed(GROUP, TOPIC, 0)), (0, None));
    std::fs::remove_file(&switch).expect("removed");
    let words = || format!("the log end to be committed\n{}", service.last_words());
    wait_for(words, PATIENCE, || (cluster.committed(GROUP, TOPIC, 0) == Some(1)).then_some(()));
    assert_eq!(target.request_count(), 1);
}

#[test]
fn logs_are_json_lines_without_secrets_and_the_probes_have_their_files() {
    let cluster = broker(1);
    let folder = tempfile::tempdir().expect("a folder");
    let mut service = start(&cluster, folder.path(), "global: {log_level: trace}\n");
    service.wait_ready(PATIENCE);
    let pid = std::fs::read_to_string(folder.path().join("consumer.pid")).expect("a PID file");
    assert_eq!(pid.trim(), service.pid().to_string());
    let words = || format!("a heartbeat\n{}", service.last_words());
    wait_for(words, PATIENCE, || {
        let beat = std::fs::read_to_string(folder.path().join("heartbeat.json")).ok()?;
        beat.contains("\"state\":\"ready\"").then_some(())
    });
    assert!(service.stop(PATIENCE).success());
    let log = service.log();
    for line in log.lines() {
        let object: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(object["timestamp"].is_string() && object["message"].is_string(), "{line}");
    }
    assert!(!log.contains(PASSWORD), "the password is in the log");
}

#[test]
fn a_member_that_fences_itself_or_is_refused_for_good_tells_its_last_steps_in_the_log() {
    let cluster = broker(1);
    let folder = tempfile::tempdir().expect("a folder");
    let mut service = start(&cluster, folder.path(), "");
    service.wait_ready(PATIENCE);
    let story = |service: &Service, last: &str| {
        let log = service.log();
        let steps: Vec<&str> = log.lines().filter(|line| line.contains("flight recorder: ")).collect();
        let first = steps.iter().filter(|line| line.contains("flight recorder: first join; as a new member")).count();
        steps.last().is_some_and(|line| line.contains(last)).then_some(first)
    };
    let silence = cluster.on(ApiKey::Heartbeat).always().silence();
    let fenced = "flight recorder: incidents-0: no heartbeat was acknowledged";
    assert_eq!(wait_for(|| service.last_words(), PATIENCE, || story(&service, fenced)), 1);
    silence.remove();
    service.wait_ready(PATIENCE);
    cluster.on(ApiKey::Heartbeat).always().error(ResponseError::FencedInstanceId);
    assert_eq!(service.wait_end(PATIENCE).code(), Some(1));
    let ended = "flight recorder: another member with the same group.instance.id has taken over";
    assert_eq!(story(&service, ended), Some(1), "each step is told once\n{}", service.log());
    assert!(!service.log().contains(PASSWORD));
}

#[test]
fn a_log_file_that_is_full_is_put_aside_and_every_line_is_in_one_of_them() {
    let (cluster, target) = (broker(1), Target::start());
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let path = at("consumer.log").display().to_string();
    let log = format!("global: {{log_level: debug, logfile: {path}, logfile_max_size: 64KiB, logfiles_kept: 10000}}\n");
    let more = log + &settings::hook(&target.url("/{{incident.id}}"));
    let mut service = start(&cluster, folder.path(), &more);
    service.wait_ready(PATIENCE);
    wait_for(
        || service.last_words(),
        PATIENCE,
        || {
            cluster.produce(TOPIC, 0, [incident("noise")]);
            at("consumer.log.3").exists().then_some(())
        },
    );
    assert!(service.stop(PATIENCE).success(), "{}", service.last_words());
    let older = (1..).map(|number| at(&format!("consumer.log.{number}"))).take_while(|file| file.exists());
    let mut files: Vec<_> = older.collect();
    files.reverse();
    files.push(at("consumer.log"));
    let mut kept = String::new();
    for file in files {
        let text = std::fs::read_to_string(file).expect("a file");
        assert!(text.len() <= 64 * 1024, "{} bytes", text.len());
        kept.push_str(&text);
    }
    assert!(kept == service.log(), "the files together are what standard output got");
}
