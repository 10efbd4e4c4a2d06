//! TLS and SASL.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_broker_double::{ApiKey, Certificate, Cluster, Mechanism, ResponseError, Security};
use kafka_protocol::messages::{
    ApiVersionsRequest, MetadataRequest, SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest,
};
use kafka_protocol::protocol::StrBytes;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::raw::Raw;

fn shake_hands<S: Read + Write>(raw: &mut Raw<S>, mechanism: &'static str) -> io::Result<i16> {
    let request = SaslHandshakeRequest::default().with_mechanism(StrBytes::from_static_str(mechanism));
    raw.ask(1, &request).map(|answer| answer.error_code)
}

fn plain<S: Read + Write>(raw: &mut Raw<S>, user: &str, password: &str) -> io::Result<SaslAuthenticateResponse> {
    let bytes = Bytes::from(format!("\0{user}\0{password}"));
    raw.ask(2, &SaslAuthenticateRequest::default().with_auth_bytes(bytes))
}

fn login<S: Read + Write>(raw: &mut Raw<S>) -> SaslAuthenticateResponse {
    assert_eq!(shake_hands(raw, "PLAIN").expect("an answer"), 0);
    plain(raw, "ann", "secret").expect("an answer")
}

fn works<S: Read + Write>(raw: &mut Raw<S>) -> bool {
    raw.ask(12, &MetadataRequest::default()).is_ok()
}

fn with_login() -> Cluster {
    Cluster::builder().security(Security::sasl_plaintext("ann", "secret")).start()
}

#[test]
fn a_request_before_the_login_closes_the_connection_but_api_versions_is_answered() {
    let cluster = with_login();
    let mut raw = Raw::connect(cluster.address(1));
    assert!(raw.ask(3, &ApiVersionsRequest::default()).is_ok());
    assert!(!works(&mut raw));
    let mut raw = Raw::connect(cluster.address(1));
    assert_eq!(login(&mut raw).error_code, 0);
    assert!(works(&mut raw));
}

#[test]
fn a_wrong_password_is_answered_and_closed_and_a_changed_one_is_taken() {
    let cluster = with_login();
    cluster.set_user("ann", "other");
    let mut raw = Raw::connect(cluster.address(1));
    let refused = login(&mut raw);
    assert_eq!(refused.error_code, ResponseError::SaslAuthenticationFailed.code());
    assert!(refused.error_message.unwrap().contains("PLAIN"));
    assert!(!works(&mut raw));
    cluster.set_user("ann", "secret");
    assert_eq!(login(&mut Raw::connect(cluster.address(1))).error_code, 0);
}

#[test]
fn a_mechanism_that_is_not_offered_is_refused_with_those_that_are() {
    let security = Security::sasl_plaintext("ann", "secret");
    let cluster = Cluster::builder().security(security).mechanisms(&[Mechanism::ScramSha512]).start();
    let mut raw = Raw::connect(cluster.address(1));
    let request = SaslHandshakeRequest::default().with_mechanism(StrBytes::from_static_str("PLAIN"));
    let answer = raw.ask(1, &request).unwrap();
    assert_eq!(answer.error_code, ResponseError::UnsupportedSaslMechanism.code());
    assert_eq!(answer.mechanisms[0].as_str(), "SCRAM-SHA-512");
}

#[test]
fn a_session_that_is_over_closes_the_connection_unless_it_is_renewed() {
    let security = Security::sasl_plaintext("ann", "secret");
    let cluster = Cluster::builder().security(security).session_lifetime(Duration::from_hours(1)).start();
    let (mut renewed, mut left) = (Raw::connect(cluster.address(1)), Raw::connect(cluster.address(1)));
    assert_eq!(login(&mut renewed).session_lifetime_ms, 3_600_000);
    login(&mut left);
    cluster.expire_logins();
    assert_eq!(login(&mut renewed).error_code, 0);
    assert!(works(&mut renewed));
    assert!(!works(&mut left));
}

#[test]
fn renewing_twice_within_a_second_or_under_another_name_is_refused() {
    let cluster = with_login();
    cluster.set_user("bob", "secret");
    let mut raw = Raw::connect(cluster.address(1));
    login(&mut raw);
    login(&mut raw);
    assert_eq!(shake_hands(&mut raw, "PLAIN").unwrap(), ResponseError::IllegalSaslState.code());
    assert!(works(&mut raw));
    let mut raw = Raw::connect(cluster.address(1));
    login(&mut raw);
    shake_hands(&mut raw, "PLAIN").unwrap();
    assert_eq!(plain(&mut raw, "bob", "secret").unwrap().error_code, ResponseError::SaslAuthenticationFailed.code());
}

#[test]
fn another_request_in_the_middle_of_an_exchange_is_illegal_and_the_end() {
    let cluster = Cluster::builder().topic("t", 1).security(Security::sasl_plaintext("ann", "secret")).start();
    let mut raw = Raw::connect(cluster.address(1));
    login(&mut raw);
    shake_hands(&mut raw, "PLAIN").unwrap();
    let answer = raw.ask(3, &ApiVersionsRequest::default()).unwrap();
    assert_eq!(answer.error_code, ResponseError::IllegalSaslState.code());
    assert!(!works(&mut raw));
}

fn tls(cluster: &Cluster, ca_pem: &str) -> io::Result<Raw<StreamOwned<ClientConnection, TcpStream>>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca_pem.as_bytes()).expect("a certificate")).expect("an authority");
    let config = ClientConfig::builder_with_provider(Arc::new(rustls_graviola::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("protocol versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("a name");
    let session = ClientConnection::new(Arc::new(config), name).expect("a session");
    let mut stream = StreamOwned::new(session, TcpStream::connect(cluster.address(1))?);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(Raw::over(stream))
}

#[test]
fn tls_and_login_work_together_and_the_authority_lies_in_a_file() {
    let cluster = Cluster::builder().security(Security::sasl_ssl("ann", "secret")).start();
    let pem = std::fs::read_to_string(cluster.ca_file()).unwrap();
    assert_eq!(pem, cluster.ca_pem());
    let mut raw = tls(&cluster, &pem).unwrap();
    login(&mut raw);
    assert!(works(&mut raw));
    assert_eq!(cluster.request_count(ApiKey::SaslHandshake), 1);
}

#[test]
fn certificates_that_are_expired_misnamed_or_of_another_authority_are_refused() {
    let cluster = Cluster::builder().security(Security::Ssl).start();
    assert!(tls(&cluster, cluster.ca_pem()).is_ok());
    for wrong in [Certificate::Expired, Certificate::WrongName] {
        cluster.rotate_certificate(wrong);
        assert!(tls(&cluster, cluster.ca_pem()).is_err(), "{wrong:?}");
    }
    let other = cluster.rotate_authority();
    assert!(tls(&cluster, cluster.ca_pem()).is_err());
    assert!(tls(&cluster, &other).is_ok());
}
