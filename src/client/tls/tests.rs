//! Files and names; handshakes are in the suite, against the broker double.

use super::*;

#[test]
fn a_trailing_dot_is_not_part_of_the_certificates_name() {
    assert_eq!(server_name("broker1.example.").unwrap().to_str(), "broker1.example");
    assert!(matches!(server_name("127.0.0.1").unwrap(), ServerName::IpAddress(_)));
    assert_eq!(server_name("not a name"), Err(TlsError::ServerName("not a name".into())));
}

#[test]
fn a_missing_authority_file_is_named() {
    let error = Tls::new(TlsSettings::with_ca("/nonexistent/ca.pem")).err().unwrap();
    assert!(error.to_string().starts_with("/nonexistent/ca.pem: "), "{error}");
}

#[test]
fn a_file_without_a_certificate_is_a_mistake() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ca.pem");
    std::fs::write(&path, "no PEM in here\n").unwrap();
    let error = Tls::new(TlsSettings::with_ca(&path)).err().unwrap();
    assert_eq!(error, TlsError::File { path, what: "holds no PEM certificate".into() });
}

#[test]
fn a_file_that_turned_bad_keeps_the_certificates_loaded_before() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ca.pem");
    std::fs::write(&path, kafka_broker_double::Authority::new().pem()).unwrap();
    let tls = Tls::new(TlsSettings::with_ca(&path)).unwrap();
    let first = tls.config();
    assert!(Arc::ptr_eq(&first, &tls.config()), "an unchanged file is not read again");
    std::fs::write(&path, "torn").unwrap();
    assert!(Arc::ptr_eq(&first, &tls.config()));
    let both = [kafka_broker_double::Authority::new(), kafka_broker_double::Authority::new()];
    std::fs::write(&path, [both[0].pem(), both[1].pem()].concat()).unwrap();
    assert!(!Arc::ptr_eq(&first, &tls.config()), "a good file is taken");
}

#[test]
fn this_machines_processor_is_enough() {
    assert_eq!(check_processor(), Ok(()));
}
