//! Brokers that cannot be reached, believed, or logged in to; topics that are not there.

use std::net::TcpListener;

use kafka_broker_double::{Certificate, Cluster};

use super::{GROUP, PATIENCE, TOPIC, broker, not_ready, start};
use crate::world::port;
use crate::world::settings::{self, Brokers, PASSWORD};

#[test]
fn a_name_that_does_not_resolve_is_named_and_asked_for_again() {
    let cluster = broker();
    let folder = tempfile::tempdir().expect("a folder");
    let brokers = Brokers::double(&cluster).at("no-such-broker.invalid:9093");
    let mut service = start(&brokers, folder.path(), "");
    not_ready(&mut service, &["kafka", "no-such-broker.invalid"]);
}

#[test]
fn a_refused_port_is_named_and_dialled_again_until_it_answers() {
    let folder = tempfile::tempdir().expect("a folder");
    let port = port::free();
    // Its authority must be known before it is there: it starts, and stops again.
    let cluster = Cluster::builder().topic(TOPIC, 1).security(settings::double_security());
    let cluster = cluster.listen(1, [127, 0, 0, 1].into(), port).start();
    cluster.stop_broker(1);
    let mut service = start(&Brokers::double(&cluster), folder.path(), "");
    not_ready(&mut service, &["kafka", &format!("127.0.0.1:{port}"), "refused"]);
    cluster.start_broker(1);
    service.wait_ready(PATIENCE);
}

#[test]
fn a_silent_port_is_given_up_in_time_and_named() {
    let cluster = broker();
    let folder = tempfile::tempdir().expect("a folder");
    let silent = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let address = silent.local_addr().expect("an address").to_string();
    let brokers = Brokers::double(&cluster).at(address.clone());
    let mut service = start(&brokers, folder.path(), "");
    not_ready(&mut service, &["kafka", "did not finish within"]);
}

#[test]
fn a_certificate_of_an_unknown_authority_is_refused_with_the_remedy() {
    let (cluster, other) = (broker(), broker());
    let folder = tempfile::tempdir().expect("a folder");
    let brokers = Brokers { ca_file: other.ca_file().to_owned(), ..Brokers::double(&cluster) };
    let mut service = start(&brokers, folder.path(), "");
    not_ready(&mut service, &["certificate", "ssl.ca.location"]);
}

#[test]
fn an_expired_certificate_and_one_for_another_name_are_told_apart() {
    for (certificate, words) in [(Certificate::Expired, "not valid now"), (Certificate::WrongName, "for other names")] {
        let cluster = Cluster::builder().topic(TOPIC, 1).security(settings::double_security());
        let cluster = cluster.certificate(certificate).start();
        let folder = tempfile::tempdir().expect("a folder");
        let mut service = start(&Brokers::double(&cluster), folder.path(), "");
        not_ready(&mut service, &["certificate", words]);
        cluster.rotate_certificate(Certificate::Valid);
        service.wait_ready(PATIENCE);
    }
}

#[test]
fn a_wrong_password_is_said_never_shown_and_read_again() {
    let cluster = broker();
    let folder = tempfile::tempdir().expect("a folder");
    let wrong = Brokers { password: "canary-WRONG-0815".to_owned(), ..Brokers::double(&cluster) };
    let mut service = start(&wrong, folder.path(), "");
    not_ready(&mut service, &["kafka", "the broker refuses user `sre`"]);
    // The secret is read at each login: repairing the file is enough.
    std::fs::write(folder.path().join("password"), PASSWORD).expect("the repaired secret");
    service.wait_ready(PATIENCE);
    let log = service.log();
    assert!(!log.contains("canary-"), "{log}");
}

#[test]
fn a_missing_topic_is_named_and_found_once_it_is_there() {
    let cluster = Cluster::builder().security(settings::double_security()).start();
    let folder = tempfile::tempdir().expect("a folder");
    let mut service = start(&Brokers::double(&cluster), folder.path(), "");
    not_ready(&mut service, &[&format!("topic {TOPIC}"), "UNKNOWN_TOPIC_OR_PARTITION"]);
    cluster.create_topic(TOPIC, 1);
    service.wait_ready(PATIENCE);
    assert!(cluster.group(GROUP).is_some());
}
