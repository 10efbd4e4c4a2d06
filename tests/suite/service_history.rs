//! `history` while the service runs: it asks the service, and what a person says takes effect at once.

use std::path::Path;
use std::time::Duration;

use kafka_broker_double::incidents::{IncidentSpec, Seed};
use kafka_broker_double::target::{Reply, Target};
use kafka_broker_double::{Cluster, Record};

use crate::world::port;
use crate::world::process::{Service, binary, wait_for};
use crate::world::settings::{self, Brokers};

const TOPIC: &str = "incidents";
const GROUP: &str = "history";
const PATIENCE: Duration = Duration::from_mins(1);

fn incident(id: &str, updated_on: i64) -> Record {
    let spec = IncidentSpec { updated_on, ..IncidentSpec::new(id, "oozie", 1_769_755_513) };
    Record::from(spec.to_json(&mut Seed::new(1)))
}

/// Exit code and everything said.
fn history(folder: &Path, words: &[&str]) -> (Option<i32>, String) {
    let mut command = binary();
    command.arg("history").args(words).arg("--config").arg(folder.join("config.yaml"));
    let output = command.output().expect("the binary runs");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn what_is_held_is_listed_shown_and_tried_again_through_the_running_service() {
    let cluster = Cluster::builder().topic(TOPIC, 1).security(settings::double_security()).start();
    let target = Target::start();
    // Taken and never answered: nobody knows whether it was done.
    target.queue(Reply::disconnect());
    let folder = tempfile::tempdir().expect("a folder");
    let token = folder.path().join("token");
    let port = port::free();
    let hook = settings::hook(&target.url("/{{incident.id}}")).replace("idempotent: true", "idempotent: false");
    let config = settings::config(&Brokers::double(&cluster), folder.path(), GROUP, TOPIC, port, &hook)
        .replace("http: {", &format!("http: {{admin_token_file: {}, ", token.display()));
    let mut service = Service::start(folder.path(), &config, port);
    service.wait_ready(PATIENCE);
    cluster.produce(TOPIC, 0, [incident("one", 1_769_755_540)]);
    let held = || {
        history(folder.path(), &["list", "--outcome", "held"]).1.contains("one/-/1769755513/oozie/hook").then_some(())
    };
    wait_for(|| service.last_words(), PATIENCE, held);

    let key = "one/-/1769755513/oozie/hook";
    let (code, shown) = history(folder.path(), &["show", key]);
    assert_eq!(code, Some(0), "{shown}");
    for said in
        ["INTENT: webhook POST", "because true tags.alert_type equals \"oozie\": found \"oozie\"", "OUTCOME held"]
    {
        assert!(shown.contains(said), "{said}\n{shown}");
    }
    let words = ["settle", key, "--retry", "--who", "ann", "--why", "the target says: not done"];
    let (code, said) = history(folder.path(), &words);
    assert!(code == Some(1) && said.contains("the token of the running service cannot be read"), "{said}");
    std::fs::write(&token, "canary-TOKEN-0815\n").expect("a token");
    let (code, said) = history(folder.path(), &words);
    assert!(code == Some(0) && said.contains("is tried again at the next snapshot"), "{said}");
    let (code, said) = history(folder.path(), &words);
    assert!(code == Some(1) && said.contains("it is intended; only what is held"), "{said}");

    assert_eq!(target.request_count(), 1);
    cluster.produce(TOPIC, 0, [incident("one", 1_769_755_600)]);
    let done = || history(folder.path(), &["list", "--outcome", "succeeded"]).1.contains(key).then_some(());
    wait_for(|| service.last_words(), PATIENCE, done);
    assert_eq!(target.request_count(), 2);
    let (_, export) = history(folder.path(), &["export", "--incident", "one"]);
    assert!(export.contains("settled by ann: the target says: not done"), "{export}");
    std::fs::write(folder.path().join("export.jsonl"), export).expect("an export");
    let file = folder.path().join("export.jsonl");
    assert_eq!(history(folder.path(), &["verify", &file.display().to_string()]).0, Some(0));
    assert!(history(folder.path(), &["show", "absent/-/1/oozie/hook"]).1.contains("has no episode"));
    assert!(!service.log().contains("canary-TOKEN"));
}
