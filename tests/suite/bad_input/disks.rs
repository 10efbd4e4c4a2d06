//! Disks, secrets, ports and a ledger that is damaged or somebody else's.

use std::net::TcpListener;

use super::{PATIENCE, broker, not_ready, start};
use crate::world::port;
use crate::world::process::Service;
use crate::world::settings::{self, Brokers};

#[test]
fn a_ledger_whose_folder_is_not_there_yet_is_waited_for() {
    let cluster = broker();
    let folder = tempfile::tempdir().expect("a folder");
    let volume = folder.path().join("volume");
    let port = port::free();
    let config = settings::config(&Brokers::double(&cluster), folder.path(), "g", "incidents", port, "");
    let here = folder.path().join("ledger.redb").display().to_string();
    let config = config.replace(&here, &volume.join("ledger.redb").display().to_string());
    let mut service = Service::start(folder.path(), &config, port);
    not_ready(&mut service, &["opening the ledger", "volume/ledger.redb", "is the volume mounted?"]);
    std::fs::create_dir(&volume).expect("the volume");
    service.wait_ready(PATIENCE);
}

#[test]
fn a_ledger_that_cannot_be_written_is_named_with_the_remedy() {
    let cluster = broker();
    let folder = tempfile::tempdir().expect("a folder");
    let port = port::free();
    let config = settings::config(&Brokers::double(&cluster), folder.path(), "g", "incidents", port, "");
    let here = folder.path().join("ledger.redb").display().to_string();
    // Nobody may create files there, not even root.
    let mut service = Service::start(folder.path(), &config.replace(&here, "/proc/self/ledger.redb"), port);
    not_ready(&mut service, &["opening the ledger", "/proc/self/ledger.redb"]);
}

#[test]
fn a_damaged_ledger_ends_the_service_with_one_line_and_is_left_as_it_is() {
    let cluster = broker();
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = folder.path().join("ledger.redb");
    let damaged = vec![0x5a; 64 * 1024];
    std::fs::write(&ledger, &damaged).expect("a damaged ledger");
    let mut service = start(&Brokers::double(&cluster), folder.path(), "");
    assert_eq!(service.wait_end(PATIENCE).code(), Some(1), "{}", service.last_words());
    let log = service.log();
    let last = log.lines().last().expect("a last line");
    assert!(last.starts_with("kafka_consumer: the ledger ") && last.contains("is damaged"), "{last}");
    assert!(last.contains("Restore it from a backup"), "{last}");
    assert_eq!(std::fs::read(&ledger).expect("the ledger"), damaged);
}

#[test]
fn a_ledger_held_by_another_process_makes_this_one_a_standby_that_takes_over() {
    let cluster = broker();
    let folder = tempfile::tempdir().expect("a folder");
    let brokers = Brokers::double(&cluster);
    let mut first = start(&brokers, folder.path(), "");
    first.wait_ready(PATIENCE);
    let mut second = start(&brokers, folder.path(), "");
    let standby = |code, body: &str| code == 200 && body.starts_with("ready: standby: the ledger ");
    let body = second.wait_readyz("standing by", PATIENCE, standby);
    assert!(body.contains(&format!("(PID {})", first.pid())), "{body}");
    first.kill();
    second.wait_readyz("taking over", PATIENCE, |code, body| code == 200 && body.contains("partition"));
}

#[test]
fn a_missing_secret_file_is_named_and_waited_for() {
    let cluster = broker();
    let folder = tempfile::tempdir().expect("a folder");
    let brokers = Brokers::double(&cluster);
    let port = port::free();
    let config = settings::config(&brokers, folder.path(), "g", "incidents", port, "");
    let secret = folder.path().join("password");
    std::fs::remove_file(&secret).expect("no secret");
    let mut service = Service::start(folder.path(), &config, port);
    not_ready(&mut service, &["fetching the secrets", "kafka-password", &secret.display().to_string()]);
    std::fs::write(&secret, &brokers.password).expect("the secret");
    service.wait_ready(PATIENCE);
}

#[test]
fn a_taken_http_port_ends_the_service_with_one_line() {
    let cluster = broker();
    let folder = tempfile::tempdir().expect("a folder");
    let taken = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = taken.local_addr().expect("an address").port();
    let config = settings::config(&Brokers::double(&cluster), folder.path(), "g", "incidents", port, "");
    let mut service = Service::start(folder.path(), &config, port);
    assert_eq!(service.wait_end(PATIENCE).code(), Some(1));
    let log = service.log();
    let last = log.lines().last().expect("a last line");
    assert!(last.starts_with(&format!("kafka_consumer: cannot listen on 127.0.0.1:{port} (http.listen)")), "{last}");
}

#[test]
fn a_full_log_disk_costs_lines_and_nothing_else() {
    let cluster = broker();
    let folder = tempfile::tempdir().expect("a folder");
    let mut service = start(&Brokers::double(&cluster), folder.path(), "global: {logfile: /dev/full}\n");
    service.wait_ready(PATIENCE);
    let (_, metrics) = service.get("/metrics").expect("metrics");
    let lost = metrics.lines().find_map(|line| line.strip_prefix("kafka_consumer_log_lines_lost_total "));
    let lost: f64 = lost.and_then(|count| count.parse().ok()).expect("a count");
    assert!(lost > 0.0, "{metrics}");
}
