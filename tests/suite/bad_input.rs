//! One clear line for every mistake of the outside world: what, where, what to do. What may heal is tried again.
//!
//! Wrong command lines and configurations are in `cli_checks`.

mod brokers;
mod disks;
mod records;

use std::path::Path;
use std::time::Duration;

use kafka_broker_double::Cluster;

use crate::world::port;
use crate::world::process::Service;
use crate::world::settings::{self, Brokers};

const TOPIC: &str = "incidents";
const GROUP: &str = "bad-input";

/// Long enough for a loaded machine; what is waited for usually takes well under a second.
const PATIENCE: Duration = Duration::from_secs(45);

/// A broker as in production: TLS and SCRAM.
fn broker() -> Cluster {
    Cluster::builder().topic(TOPIC, 1).security(settings::double_security()).start()
}

/// The service on these brokers; its files lie in `folder`.
fn start(brokers: &Brokers, folder: &Path, more: &str) -> Service {
    let port = port::free();
    Service::start(folder, &settings::config(brokers, folder, GROUP, TOPIC, port, more), port)
}

/// Waits until `/readyz` is 503 and a line of it holds every word.
#[track_caller]
fn not_ready(service: &mut Service, words: &[&str]) -> String {
    let body = service.wait_readyz(&format!("{words:?}"), PATIENCE, |code, body| {
        code == 503 && body.lines().any(|line| words.iter().all(|word| line.contains(word)))
    });
    assert!(body.lines().all(|line| line.starts_with("not ready: ")), "{body}");
    body
}
