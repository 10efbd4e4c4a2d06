//! `reset`: guards that have tripped begin anew, in the running service and in the ledger while none runs; who and why are kept.

use std::path::Path;
use std::time::Duration;

use kafka_broker_double::incidents::{IncidentSpec, Seed};
use kafka_broker_double::target::Target;
use kafka_broker_double::{Cluster, Record};

use crate::world::port;
use crate::world::process::{Service, binary, wait_for};
use crate::world::produce::now_ms;
use crate::world::settings::{self, Brokers};

const TOPIC: &str = "incidents";
const GROUP: &str = "reset";
const PATIENCE: Duration = Duration::from_mins(1);

fn incident(id: &str) -> Record {
    Record::from(IncidentSpec::new(id, "oozie", now_ms() / 1000).to_json(&mut Seed::new(1)))
}

/// Exit code and everything said.
fn reset(folder: &Path, words: &[&str]) -> (Option<i32>, String) {
    let mut command = binary();
    command.arg("reset").args(words).args(["--who", "ann"]).arg("--config").arg(folder.join("config.yaml"));
    let output = command.output().expect("the binary runs");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn a_spent_budget_begins_anew_by_the_word_of_a_person_which_is_kept() {
    let cluster = Cluster::builder().topic(TOPIC, 1).security(settings::double_security()).start();
    let target = Target::start();
    let folder = tempfile::tempdir().expect("a folder");
    let (token, port) = (folder.path().join("token"), port::free());
    let hook = settings::hook(&target.url("/{{incident.id}}"));
    let rules = format!("limits: {{budget: {{at_most: 1, within: 1h}}}}\n{hook}");
    let config = settings::config(&Brokers::double(&cluster), folder.path(), GROUP, TOPIC, port, &rules)
        .replace("http: {", &format!("http: {{admin_token_file: {}, ", token.display()));
    let mut service = Service::start(folder.path(), &config, port);
    service.wait_ready(PATIENCE);
    let committed = |service: &Service, next: i64| {
        let done = || (cluster.committed(GROUP, TOPIC, 0) == Some(next)).then_some(());
        wait_for(|| format!("offset {next}\n{}", service.last_words()), PATIENCE, done);
    };
    cluster.produce(TOPIC, 0, [incident("one"), incident("two")]);
    committed(&service, 2);
    assert_eq!(target.request_count(), 1, "the budget allows one");

    let words = ["--budgets", "--why", "it was a drill"];
    let (code, said) = reset(folder.path(), &words);
    assert!(code == Some(1) && said.contains("the token of the running service cannot be read"), "{said}");
    std::fs::write(&token, "canary-TOKEN-0815\n").expect("a token");
    let (code, said) = reset(folder.path(), &words);
    assert!(code == Some(0) && said.contains("ann reset budgets: it was a drill"), "{said}");
    assert_eq!(reset(folder.path(), &["--why", " "]).0, Some(2), "why must be said");
    cluster.produce(TOPIC, 0, [incident("three"), incident("four")]);
    committed(&service, 4);
    assert_eq!(target.request_count(), 2, "one more");
    let resets = |service: &Service| service.get("/api/v1/guards").map_or_else(String::new, |(_, guards)| guards);
    let kept = |service: &Service| resets(service).contains(r#""why":"it was a drill""#).then_some(());
    wait_for(|| resets(&service), PATIENCE, || kept(&service));
    assert!(service.stop(PATIENCE).success(), "{}", service.last_words());

    let (code, said) = reset(folder.path(), &["--why", "a new day"]);
    assert!(code == Some(0) && said.contains("ann reset all: a new day; forgotten: 1 charges"), "{said}");
    let mut service = Service::start(folder.path(), &config, port);
    service.wait_ready(PATIENCE);
    cluster.produce(TOPIC, 0, [incident("five")]);
    committed(&service, 5);
    assert_eq!(target.request_count(), 3);
    wait_for(|| resets(&service), PATIENCE, || kept(&service));
    assert!(!service.log().contains("canary-TOKEN"));
}
