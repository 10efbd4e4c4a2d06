//! A person's desk: a folder with a configuration and a record, and the binary to be called with them.

use std::path::PathBuf;

use super::process::binary;

/// An incident that the second condition takes.
pub(crate) const RECORD: &str = r#"{"id": "60f1", "active": true, "startedOn": 5, "incident_tags": [{"id": "team", "value": "sre"}],
    "alerts": [{"id": "a", "startedOn": 6}]}"#;

/// A folder with a configuration and a record.
pub(crate) struct Desk {
    folder: tempfile::TempDir,
}

impl Desk {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name).display().to_string();
        let configuration = format!(
            r#"
kafka: {{brokers: ["a:9092"], topics: [t], consumer_group_id: g}}
storage: {{path: "{}"}}
http: {{listen: "127.0.0.1:1"}}
kill_switch_file: "{}"
secrets: [{{name: token, env: TOKEN}}]
incident_conditions:
  - {{name: other, tags: {{team: dba}}, incident_actions: [announce]}}
  - {{name: ours, tags: {{team: sre}}, incident_actions: [announce], alert_actions: [fix]}}
incident_actions:
  - {{name: announce, type: webhook, url: "http://t/{{{{team}}}}?key=$secret:token"}}
alert_actions:
  - {{name: fix, type: webhook, url: "http://t/fix/{{{{alert.id}}}}"}}
"#,
            at("ledger.redb"),
            at("PAUSED"),
        );
        let desk = Self { folder };
        desk.write("config.yaml", &configuration);
        desk.write("record.json", RECORD);
        desk
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("a file");
    }

    /// Exit code, standard output, standard error; `@` before a name stands for the folder.
    pub(crate) fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let place = |word: &&str| match word.strip_prefix('@') {
            Some(name) => self.path(name).into_os_string(),
            None => word.into(),
        };
        let mut command = binary();
        command.arg("--config").arg(self.path("config.yaml")).args(arguments.iter().map(place));
        let output = command.output().expect("the binary runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    }
}
