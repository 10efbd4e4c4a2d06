//! A changed configuration in the running service: taken over whole, or refused with the rules of before in force.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use kafka_broker_double::incidents::{IncidentSpec, Seed};
use kafka_broker_double::target::Target;
use kafka_broker_double::{Cluster, Record};
use rustix::process::Signal;
use serde_json::Value;

use crate::world::port;
use crate::world::process::{Service, wait_for};
use crate::world::produce::now_ms;
use crate::world::settings::{self, Brokers};

const TOPIC: &str = "incidents";
const GROUP: &str = "reload";
const PATIENCE: Duration = Duration::from_secs(45);

fn incident(id: &str, kind: &'static str) -> Record {
    let spec = IncidentSpec::new(id, kind, now_ms() / 1000);
    Record::from(spec.to_json(&mut Seed::new(1)))
}

fn last_reload(service: &Service) -> Value {
    let (_, health) = service.get("/api/v1/health").expect("an answer");
    let mut health: Value = serde_json::from_str(&health).expect("JSON");
    health["last_reload"].take()
}

/// Waits for a reload that comes out like this, after the one of `before`.
fn reloaded(service: &Service, before: &Value, result: &str) -> Value {
    let words = || format!("a reload that is {result}\n{}", service.last_words());
    wait_for(words, PATIENCE, || {
        let now = last_reload(service);
        (now["at_ms"] != before["at_ms"] && now["result"] == result).then_some(now)
    })
}

fn committed(service: &Service, cluster: &Cluster, next: i64) {
    let words = || format!("the offset {next}\n{}", service.last_words());
    wait_for(words, PATIENCE, || (cluster.committed(GROUP, TOPIC, 0) == Some(next)).then_some(()));
}

/// As the platform does it: a folder for each version of the files, a symbolic link to the one that counts, and the file
/// itself a link through that one, which never changes.
fn mount(folder: &Path, version: &str, config: &str) {
    let of = folder.join(version);
    std::fs::create_dir(&of).expect("a folder");
    std::fs::write(of.join("config.yaml"), config).expect("written");
    symlink(version, folder.join("..data_tmp")).expect("a link");
    std::fs::rename(folder.join("..data_tmp"), folder.join("..data")).expect("swapped");
    let file = folder.join("config.yaml");
    if !file.is_symlink() {
        let _ = std::fs::remove_file(&file);
        symlink("..data/config.yaml", file).expect("a link");
    }
}

#[test]
fn a_hang_up_takes_over_valid_rules_and_refuses_others_whole() {
    let cluster = Cluster::builder().topic(TOPIC, 1).security(settings::double_security()).start();
    let target = Target::start();
    let folder = tempfile::tempdir().expect("a folder");
    let (port, file) = (port::free(), folder.path().join("config.yaml"));
    let hook = settings::hook(&target.url("/{{incident.id}}"));
    let config = settings::config(&Brokers::double(&cluster), folder.path(), GROUP, TOPIC, port, &hook);
    let mut service = Service::start(folder.path(), &config, port);
    service.wait_ready(PATIENCE);
    cluster.produce(TOPIC, 0, [incident("one", "oozie"), incident("two", "hive")]);
    committed(&service, &cluster, 2);
    assert_eq!(last_reload(&service), Value::Null);

    // Rules that are taken over, and a setting that cannot be.
    let hive = "  - {name: hive, tags: {alert_type: hive}, incident_actions: [hook]}\nincident_actions:\n";
    let second = config
        .replace("incident_actions:\n  - name: hook", &format!("{hive}  - name: hook"))
        .replace("topics: [incidents]", "topics: [incidents, others]");
    assert!(second.contains("others") && second.contains("name: hive"));
    std::fs::write(&file, &second).expect("written");
    service.signal(Signal::HUP);
    let first = reloaded(&service, &Value::Null, "taken_over");
    assert_eq!(first["difference"]["incident_conditions"]["added"], serde_json::json!(["hive"]), "{first}");
    assert_eq!(first["difference"]["needs_restart"], serde_json::json!(["kafka.topics"]), "{first}");
    cluster.produce(TOPIC, 0, [incident("three", "hive")]);
    committed(&service, &cluster, 3);
    // Different incidents are not in order.
    let asked = |target: &Target| {
        let mut paths: Vec<_> = target.requests().iter().map(|request| request.path.clone()).collect();
        paths.sort();
        paths
    };
    assert_eq!(asked(&target), ["/one", "/three"]);

    // One mistake in one action, and a condition that is gone: nothing of it is taken over.
    let third = config.replace("method: POST", "methode: POST").replace("name: oozie", "name: other");
    std::fs::write(&file, third).expect("written");
    service.signal(Signal::HUP);
    let refused = reloaded(&service, &first, "refused");
    let why = refused["why"].as_str().expect("a reason");
    assert!(why.contains("unknown key (did you mean `method`?)") && why.contains("config.yaml:"), "{why}");
    cluster.produce(TOPIC, 0, [incident("four", "hive"), incident("five", "oozie")]);
    committed(&service, &cluster, 5);
    assert_eq!(asked(&target), ["/five", "/four", "/one", "/three"]);

    // A secret that this process does not have cannot be used by a rule, however valid the file is.
    let fourth = config
        .replace(
            "secrets:\n",
            &format!("secrets:\n  - {{name: late, file: {}}}\n", folder.path().join("late").display()),
        )
        .replace("X-Attempt: ", "X-Late: $secret:late, X-Attempt: ");
    std::fs::write(&file, fourth).expect("written");
    service.signal(Signal::HUP);
    let refused = reloaded(&service, &refused, "refused");
    let why = refused["why"].as_str().expect("a reason");
    assert!(why.contains("late") && why.contains("needs a restart first"), "{why}");

    let (_, page) = service.get("/status.html").expect("a page");
    assert!(page.contains("Last reload") && page.contains("the rules of before are in force"), "{page}");
    let (_, metrics) = service.get("/metrics").expect("metrics");
    for line in [
        "kafka_consumer_reloads_total{result=\"taken_over\"} 1.0",
        "kafka_consumer_reloads_total{result=\"refused\"} 2.0",
        "kafka_consumer_last_reload_taken_over 0.0",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    service.wait_ready(PATIENCE);
    assert!(service.stop(PATIENCE).success());
    let log = service.log();
    for line in
        ["rules: condition `hive` added", "settings have changed that only a restart takes over", "SIGHUP received"]
    {
        assert!(log.contains(line), "{line}\n{log}");
    }
}

#[test]
fn a_mounted_file_that_is_swapped_by_a_link_is_taken_over_without_a_signal() {
    let cluster = Cluster::builder().topic(TOPIC, 1).security(settings::double_security()).start();
    let target = Target::start();
    let folder = tempfile::tempdir().expect("a folder");
    let port = port::free();
    let hook = settings::hook(&target.url("/{{incident.id}}"));
    let config = settings::config(&Brokers::double(&cluster), folder.path(), GROUP, TOPIC, port, &hook);
    mount(folder.path(), "..first", &config);
    let mut service = Service::start_as_it_is(folder.path(), port);
    service.wait_ready(PATIENCE);
    mount(folder.path(), "..second", &config.replace("alert_type: oozie", "alert_type: hive"));
    let reload = reloaded(&service, &Value::Null, "taken_over");
    let changed = &reload["difference"]["incident_conditions"]["changed"];
    assert_eq!(changed, &serde_json::json!([{"name": "oozie", "settings": ["tags.alert_type"]}]));
    cluster.produce(TOPIC, 0, [incident("one", "oozie"), incident("two", "hive")]);
    committed(&service, &cluster, 2);
    assert_eq!(target.requests().iter().map(|request| request.path.clone()).collect::<Vec<_>>(), ["/two"]);
    assert!(service.stop(PATIENCE).success());
}

#[test]
fn a_standby_takes_over_by_the_rules_of_then_and_not_by_those_of_its_start() {
    let cluster = Cluster::builder().topic(TOPIC, 1).security(settings::double_security()).start();
    let target = Target::start();
    let volume = tempfile::tempdir().expect("a folder");
    let hook = settings::hook(&target.url("/{{incident.id}}"));
    let pod = |name: &str| {
        let (folder, port) = (volume.path().join(name), port::free());
        std::fs::create_dir(&folder).expect("a folder");
        let config = settings::config(&Brokers::double(&cluster), &folder, GROUP, TOPIC, port, &hook);
        let (own, shared) = (folder.join("ledger.redb"), volume.path().join("ledger.redb"));
        let config = config.replace(&own.display().to_string(), &shared.display().to_string());
        (Service::start(&folder, &config, port), folder, config)
    };
    let (mut first, ..) = pod("first");
    first.wait_ready(PATIENCE);
    let (mut second, folder, config) = pod("second");
    second.wait_readyz("standing by", PATIENCE, |code, body| code == 200 && body.contains("standby"));
    std::fs::write(folder.join("config.yaml"), config.replace("name: oozie", "name: renamed")).expect("written");
    first.kill();
    second.wait_readyz("taking over", PATIENCE, |code, body| code == 200 && body.contains("partition"));
    let log = second.log();
    let (taken_over, assigned) = (log.find("rules: condition `renamed` added"), log.find("partition assigned"));
    assert!(taken_over.is_some() && taken_over < assigned, "before anything could be decided:\n{log}");
    assert!(second.stop(PATIENCE).success());
}
