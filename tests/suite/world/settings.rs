//! Configurations for the service as a process.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use kafka_broker_double as double;

use super::kafka;

/// Where the brokers are and how to log in.
#[derive(Debug, Clone)]
pub(crate) struct Brokers {
    pub(crate) addresses: String,
    pub(crate) ca_file: PathBuf,
    pub(crate) user: String,
    pub(crate) password: String,
}

/// The user of the broker doubles made here.
pub(crate) const USER: &str = "sre";
/// Its password, easy to find where it should not be.
pub(crate) const PASSWORD: &str = "canary-PASSWORD-4711";

impl Brokers {
    /// A real cluster.
    pub(crate) fn real(cluster: &kafka::Cluster) -> Self {
        Self {
            addresses: cluster.sasl_ssl.clone(),
            ca_file: cluster.ca_file.clone(),
            user: cluster.username.clone(),
            password: cluster.password.clone(),
        }
    }

    /// A cluster double made with [`double_security`].
    pub(crate) fn double(cluster: &double::Cluster) -> Self {
        Self {
            addresses: cluster.bootstrap(),
            ca_file: cluster.ca_file().to_owned(),
            user: USER.to_owned(),
            password: PASSWORD.to_owned(),
        }
    }

    /// The same brokers under other addresses.
    pub(crate) fn at(mut self, addresses: impl Into<String>) -> Self {
        self.addresses = addresses.into();
        self
    }
}

/// TLS and SCRAM, as in production.
pub(crate) fn double_security() -> double::Security {
    double::Security::SaslSsl { users: [(USER.to_owned(), PASSWORD.to_owned())].into() }
}

/// A configuration that reads `topic` over `SASL_SSL` with SCRAM and keeps its state in `folder`.
///
/// The password goes through a secret file; whatever `more` holds comes after.
pub(crate) fn config(brokers: &Brokers, folder: &Path, group: &str, topic: &str, port: u16, more: &str) -> String {
    let password = folder.join("password");
    std::fs::write(&password, &brokers.password).expect("a secret file");
    let addresses: Vec<String> = brokers.addresses.split(',').map(|broker| format!("{broker:?}")).collect();
    let mut yaml = String::new();
    let _ = write!(
        yaml,
        "secrets:\n  - {{name: kafka-password, file: {password}}}\n\
         kafka:\n  brokers: [{brokers}]\n  consumer_group_id: {group}\n  topics: [{topic}]\n\
         \x20 msk_auth: {{auth_method: scram, username: {user}, password: $secret:kafka-password}}\n\
         \x20 ssl.ca.location: {ca}\n  session.timeout.ms: 6000\n  heartbeat.interval.ms: 1000\n  auto.offset.reset: earliest\n\
         storage: {{backend: file, path: {ledger}, ttl_days: 7}}\n\
         dead_letter: {{file: {letters}}}\n\
         http: {{listen: \"127.0.0.1:{port}\"}}\n{more}",
        password = password.display(),
        brokers = addresses.join(", "),
        user = brokers.user,
        ca = brokers.ca_file.display(),
        ledger = folder.join("ledger.redb").display(),
        letters = folder.join("dead_letter.jsonl").display(),
    );
    yaml
}

/// One condition on `alert_type: oozie` whose action posts to `url`.
pub(crate) fn hook(url: &str) -> String {
    format!(
        "incident_conditions:\n  - name: oozie\n    tags: {{alert_type: oozie}}\n    incident_actions: [hook]\n\
         incident_actions:\n  - name: hook\n    type: webhook\n    method: POST\n    url: \"{url}\"\n\
         \x20   headers: {{X-Episode: \"{{{{episode.key}}}}\", X-Attempt: \"{{{{attempt}}}}\"}}\n\
         \x20   body: '{{\"incident\": \"{{{{incident.id}}}}\"}}'\n    timeout: 10s\n    idempotent: true\n\
         \x20   retries: {{attempts: 2, backoff: 10ms, max_backoff: 20ms}}\n"
    )
}
