//! From the predecessor to this program: its history is imported, and nothing that it did is done again.

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
const GROUP: &str = "migration";
const PATIENCE: Duration = Duration::from_mins(1);
/// 2026-03-14T15:00:00Z, half an hour before the predecessor acted.
const STARTED: i64 = 1_773_500_400;
const HISTORY: &str = r#"{
    "done-a0": {"time_actioned": "2026-03-14 15:30:00", "last_action_executed": "fix", "all_alert_actions_succeeded": true, "sd_failed_build_urls": []},
    "done-a1": {"time_actioned": "2026-03-14 15:30:07", "last_action_executed": "fix", "all_alert_actions_succeeded": true, "sd_failed_build_urls": []},
    "half-a0": {"time_actioned": "2026-03-14 15:30:00", "last_action_executed": "fix", "all_alert_actions_succeeded": false, "sd_failed_build_urls": ["https://b/7"]},
    "new-a0": {"time_actioned": "2026-03-14 15:30:00", "last_action_executed": "fix", "all_alert_actions_succeeded": true, "sd_failed_build_urls": []}
}"#;

fn incident(id: &str, started_on: i64, alerts: usize) -> Record {
    let spec = IncidentSpec { alerts, ..IncidentSpec::new(id, "oozie", started_on) };
    Record::from(spec.to_json(&mut Seed::new(1)))
}

fn rules(target: &Target) -> String {
    format!(
        "incident_conditions:\n  - {{name: oozie, tags: {{alert_type: oozie}}, incident_actions: [tell], alert_actions: [fix]}}\n\
         incident_actions:\n  - {{name: tell, type: webhook, url: \"{}\"}}\n\
         alert_actions:\n  - {{name: fix, type: webhook, url: \"{}\"}}\n",
        target.url("/tell/{{incident.id}}"),
        target.url("/fix/{{alert.id}}"),
    )
}

fn history(folder: &Path, words: &[&str]) -> (Option<i32>, String) {
    let mut command = binary();
    command.arg("history").args(words).arg("--config").arg(folder.join("config.yaml"));
    let output = command.output().expect("the binary runs");
    (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

#[test]
fn what_the_predecessor_did_is_not_done_again_and_a_re_fire_is() {
    let cluster = Cluster::builder().topic(TOPIC, 1).security(settings::double_security()).start();
    let target = Target::start();
    let folder = tempfile::tempdir().expect("a folder");
    let port = port::free();
    let config = settings::config(&Brokers::double(&cluster), folder.path(), GROUP, TOPIC, port, &rules(&target));
    std::fs::write(folder.path().join("config.yaml"), &config).expect("a configuration");
    let file = folder.path().join("action_history.json");
    std::fs::write(&file, HISTORY).expect("a history");
    let file = file.display().to_string();
    let (code, said) = history(folder.path(), &["import", &file]);
    assert!(code == Some(0) && said.contains("4 alerts: 4 added, 0 with a later time, 0 known already"), "{said}");
    let (code, said) = history(folder.path(), &["import", &file]);
    assert!(code == Some(0) && said.contains("4 alerts: 0 added, 0 with a later time, 4 known already"), "{said}");

    let mut service = Service::start(folder.path(), &config, port);
    service.wait_ready(PATIENCE);
    let done = |offset| {
        wait_for(
            || service.last_words(),
            PATIENCE,
            || (cluster.committed(GROUP, TOPIC, 0) == Some(offset)).then_some(()),
        );
    };
    // Of the last one only one alert was acted upon; the other is new.
    cluster.produce(
        TOPIC,
        0,
        [incident("done", STARTED, 2), incident("half", STARTED, 1), incident("new", STARTED, 2)],
    );
    done(3);
    // A re-fire: it started after the predecessor had acted.
    cluster.produce(TOPIC, 0, [incident("done", STARTED + 3_600, 1)]);
    done(4);
    let mut asked: Vec<String> = target.requests().into_iter().map(|request| request.path).collect();
    asked.sort_unstable();
    assert_eq!(asked, ["/fix/done-a0", "/fix/new-a1", "/tell/done", "/tell/new"]);
    let (_, listed) = history(folder.path(), &["list"]);
    let line = |key: &str| listed.lines().find(|line| line.contains(key)).unwrap_or_else(|| panic!("{key}\n{listed}"));
    assert!(line("done/done-a0/1773500400/oozie/fix").contains("skipped"), "{listed}");
    assert!(
        line("done/-/1773500400/oozie/tell").contains("done before: the predecessor acted on alert done-a1"),
        "{listed}"
    );
    assert!(line("half/half-a0/1773500400/oozie/fix").contains("did not finish"), "{listed}");
    let (code, said) = history(folder.path(), &["import", &file]);
    assert!(code == Some(1) && said.contains("restart the service with ACTION_HISTORY_FILE="), "{said}");
}

#[test]
fn a_service_does_not_start_on_a_history_that_it_cannot_read() {
    let cluster = Cluster::builder().topic(TOPIC, 1).security(settings::double_security()).start();
    let target = Target::start();
    let folder = tempfile::tempdir().expect("a folder");
    let run = |file: &Path| {
        let config =
            settings::config(&Brokers::double(&cluster), folder.path(), GROUP, TOPIC, port::free(), &rules(&target));
        std::fs::write(folder.path().join("config.yaml"), config).expect("a configuration");
        let mut command = binary();
        command.arg("--config").arg(folder.path().join("config.yaml")).env("RUNTIME_DIR", folder.path());
        let output = command.env("ACTION_HISTORY_FILE", file).output().expect("the binary runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let torn = folder.path().join("torn.json");
    std::fs::write(&torn, HISTORY.split_at(200).0).expect("a history");
    let (code, said) = run(&torn);
    assert!(code == Some(2) && said.contains("torn by a crash"), "{said}");
    let (code, said) = run(&folder.path().join("absent.json"));
    assert!(code == Some(2) && said.contains("unset the variable if there is nothing to import"), "{said}");
    assert_eq!(target.request_count(), 0);
}

#[test]
fn a_malformed_history_makes_no_ledger() {
    let desk = crate::world::desk::Desk::new();
    desk.write("history.json", &HISTORY.replace("2026-03-14 15:30:07", &format!("{} 15:30:07", 9999)));
    let (code, _, err) = desk.run(&["history", "import", "@history.json"]);
    assert!(code == Some(1) && err.contains("alert done-a1") && err.contains("nothing was imported"), "{err}");
    assert!(!desk.path("ledger.redb").exists());
    assert!(now_ms() > STARTED * 1000, "the clock of this machine");
}
