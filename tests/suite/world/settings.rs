//! Configurations for the service as a process.

use std::fmt::Write as _;
use std::path::Path;

use super::kafka::Cluster;

/// A configuration that reads `topic` from the cluster over SASL_SSL with SCRAM, keeping its state in `folder`.
///
/// The password goes through a secret file; whatever `more` holds comes after.
pub(crate) fn on_cluster(cluster: &Cluster, folder: &Path, group: &str, topic: &str, port: u16, more: &str) -> String {
    let password = folder.join("password");
    std::fs::write(&password, &cluster.password).expect("a secret file");
    let brokers: Vec<String> = cluster.sasl_ssl.split(',').map(|broker| format!("{broker:?}")).collect();
    let mut yaml = String::new();
    let _ = write!(
        yaml,
        "secrets:\n  - {{name: kafka-password, file: {password}}}\n\
         kafka:\n  brokers: [{brokers}]\n  consumer_group_id: {group}\n  topics: [{topic}]\n\
         \x20 msk_auth: {{auth_method: scram, username: {user}, password: $secret:kafka-password}}\n\
         \x20 ssl.ca.location: {ca}\n  session.timeout.ms: 6000\n  heartbeat.interval.ms: 1000\n  auto.offset.reset: earliest\n\
         storage: {{backend: file, path: {ledger}, ttl_days: 7}}\n\
         dead_letter: {{file: {letters}}}\n\
         http: {{listen: \"127.0.0.1:{port}\"}}\n\
         mode: live\n{more}",
        password = password.display(),
        brokers = brokers.join(", "),
        user = cluster.username,
        ca = cluster.ca_file.display(),
        ledger = folder.join("ledger.redb").display(),
        letters = folder.join("dead_letter.jsonl").display(),
    );
    yaml
}
