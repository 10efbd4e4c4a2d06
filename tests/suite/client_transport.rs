//! Resolver, TLS, SASL and connections against the broker double, through the public API.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use kafka_broker_double::{ApiKey, Certificate, Cluster, Mechanism, ResponseError, Security as Demand};
use kafka_consumer::client::{
    ClientConfig, CloseCause, ConnectError, DialFailure, PasswordSource, Reached, RequestError, ResolveError,
    SaslError, SaslMechanism, SaslSettings, Secret, Security, TlsError, TlsSettings, probe,
};

fn scram(password: &str) -> SaslSettings {
    SaslSettings {
        mechanism: SaslMechanism::ScramSha512,
        username: "sre".into(),
        password: PasswordSource::from(password),
    }
}

fn config(cluster: &Cluster, security: Security) -> ClientConfig {
    let mut config = ClientConfig::new(cluster.bootstrap().split(','));
    config.security = security;
    config.request_timeout = Duration::from_secs(5);
    config
}

fn sasl_ssl(cluster: &Cluster, password: &str) -> ClientConfig {
    config(cluster, Security::SaslSsl(scram(password), TlsSettings::with_ca(cluster.ca_file())))
}

async fn look(config: &ClientConfig) -> Result<Reached, ConnectError> {
    probe(config).await.expect("valid settings").remove(0).reached
}

fn secure_cluster() -> Cluster {
    Cluster::builder().security(Demand::sasl_ssl("sre", "secret")).start()
}

#[tokio::test]
async fn tls_and_scram_lead_to_the_cluster() {
    let cluster = Cluster::builder().brokers(3).security(Demand::sasl_ssl("sre", "secret")).start();
    for probe in probe(&sasl_ssl(&cluster, "secret")).await.unwrap() {
        let reached = probe.reached.unwrap();
        assert_eq!(reached.brokers.len(), 3);
        assert_eq!(reached.address.to_string(), probe.broker.to_string());
        assert_eq!(reached.session_left, None);
    }
    let handshakes = cluster.requests(ApiKey::SaslHandshake);
    assert!(handshakes.iter().all(|seen| seen.version == 1 && seen.client_id.as_deref() == Some("kafka_consumer")));
}

#[tokio::test]
async fn plain_text_plain_password_and_tls_alone_work_too() {
    let open = Cluster::builder().start();
    look(&config(&open, Security::Plaintext)).await.unwrap();
    let plain = Cluster::builder().security(Demand::sasl_plaintext("sre", "secret")).start();
    let settings = SaslSettings { mechanism: SaslMechanism::Plain, ..scram("secret") };
    look(&config(&plain, Security::SaslPlaintext(settings))).await.unwrap();
    let tls = Cluster::builder().security(Demand::Ssl).start();
    look(&config(&tls, Security::Ssl(TlsSettings::with_ca(tls.ca_file())))).await.unwrap();
}

#[tokio::test]
async fn a_wrong_password_is_refused_and_is_an_authentication_error() {
    let cluster = secure_cluster();
    let error = look(&sasl_ssl(&cluster, "wrong")).await.unwrap_err();
    assert!(error.is_authentication());
    assert!(matches!(&error, ConnectError::Sasl { source: SaslError::Refused { .. }, .. }), "{error:?}");
    assert!(error.to_string().contains("refuses user `sre`"), "{error}");
    assert!(!error.to_string().contains("wrong"), "{error}");
    let settings = SaslSettings { mechanism: SaslMechanism::Plain, ..scram("wrong") };
    let plain = config(&cluster, Security::SaslSsl(settings, TlsSettings::with_ca(cluster.ca_file())));
    assert!(look(&plain).await.unwrap_err().is_authentication());
}

#[tokio::test]
async fn the_password_is_read_at_every_attempt() {
    let cluster = secure_cluster();
    let reads = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&reads);
    let rotated = move || Ok(Secret::new(if counted.fetch_add(1, Ordering::SeqCst) == 0 { "old" } else { "secret" }));
    let settings = SaslSettings { password: PasswordSource::from_fn(rotated), ..scram("") };
    let config = config(&cluster, Security::SaslSsl(settings, TlsSettings::with_ca(cluster.ca_file())));
    assert!(look(&config).await.is_err());
    look(&config).await.unwrap();
}

#[tokio::test]
async fn a_mechanism_that_is_not_offered_is_named_with_those_that_are() {
    let cluster =
        Cluster::builder().security(Demand::sasl_plaintext("sre", "secret")).mechanisms(&[Mechanism::Plain]).start();
    let error = look(&config(&cluster, Security::SaslPlaintext(scram("secret")))).await.unwrap_err();
    assert!(error.to_string().ends_with("the broker does not offer SCRAM-SHA-512; it offers PLAIN"), "{error}");
}

#[tokio::test]
async fn a_broker_that_cannot_prove_the_password_is_not_trusted() {
    let cluster = Cluster::builder().security(Demand::sasl_plaintext("sre", "secret")).scram_iterations(1000).start();
    let error = look(&config(&cluster, Security::SaslPlaintext(scram("secret")))).await.unwrap_err();
    assert!(matches!(&error, ConnectError::Sasl { source: SaslError::Untrusted { .. }, .. }), "{error:?}");
    assert!(error.to_string().contains("1000 iterations are fewer than 4096"), "{error}");
}

#[tokio::test]
async fn the_session_ends_between_85_and_95_percent_of_its_lifetime() {
    let cluster = Cluster::builder()
        .security(Demand::sasl_plaintext("sre", "secret"))
        .session_lifetime(Duration::from_secs(1000))
        .start();
    let reached = look(&config(&cluster, Security::SaslPlaintext(scram("secret")))).await.unwrap();
    let left = reached.session_left.unwrap().as_secs();
    assert!((840..=950).contains(&left), "{left}");
}

#[tokio::test]
async fn an_unknown_authority_an_old_certificate_and_a_foreign_name_are_told_apart() {
    let tls_error = async |cluster: &Cluster, trusted: &Cluster| {
        let settings = Security::Ssl(TlsSettings::with_ca(trusted.ca_file()));
        match look(&config(cluster, settings)).await.unwrap_err() {
            ConnectError::Tls { source, .. } => source,
            other => panic!("{other}"),
        }
    };
    let cluster = Cluster::builder().security(Demand::Ssl).start();
    let stranger = Cluster::builder().security(Demand::Ssl).start();
    // Both authorities have the same name, so what is noticed is the key.
    assert!(matches!(tls_error(&cluster, &stranger).await, TlsError::WrongSignature(_)));
    let old = Cluster::builder().security(Demand::Ssl).certificate(Certificate::Expired).start();
    assert!(matches!(tls_error(&old, &old).await, TlsError::NotValidNow { .. }));
    let foreign = Cluster::builder().security(Demand::Ssl).certificate(Certificate::WrongName).start();
    assert!(matches!(tls_error(&foreign, &foreign).await, TlsError::WrongName { .. }));
}

#[tokio::test]
async fn a_private_authority_without_its_file_is_an_unknown_one() {
    let cluster = secure_cluster();
    let config = config(&cluster, Security::SaslSsl(scram("secret"), TlsSettings::default()));
    let error = look(&config).await.unwrap_err();
    let ConnectError::Tls { source, .. } = &error else { panic!("{error:?}") };
    assert!(matches!(source, TlsError::UnknownAuthority(_)), "{source:?}");
    assert!(error.to_string().contains("ssl.ca.location"), "{error}");
}

#[tokio::test]
async fn the_wrong_security_protocol_is_hinted_at() {
    let tls = Cluster::builder().security(Demand::Ssl).start();
    let mut as_plain = config(&tls, Security::Plaintext);
    as_plain.request_timeout = Duration::from_secs(2);
    let error = look(&as_plain).await.unwrap_err();
    assert!(matches!(error, ConnectError::Negotiate { .. }), "{error:?}");
    let plain = Cluster::builder().start();
    let mut as_tls = config(&plain, Security::Ssl(TlsSettings::default()));
    as_tls.tls_handshake_timeout = Duration::from_secs(2);
    let error = look(&as_tls).await.unwrap_err();
    assert!(matches!(error, ConnectError::Tls { .. }), "{error:?}");
}

#[tokio::test]
async fn a_refused_port_names_the_address() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = look(&ClientConfig::new([format!("127.0.0.1:{port}")])).await.unwrap_err();
    let ConnectError::Dial { source, .. } = &error else { panic!("{error:?}") };
    assert!(matches!(source.attempts[0].1, DialFailure::Io { kind: std::io::ErrorKind::ConnectionRefused, .. }));
    assert!(error.to_string().contains(&format!("127.0.0.1:{port}: ")), "{error}");
}

#[tokio::test]
async fn a_silent_port_runs_into_its_deadline_by_layer() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut plain = ClientConfig::new([silent.local_addr().unwrap().to_string()]);
    plain.request_timeout = Duration::from_millis(300);
    plain.tls_handshake_timeout = Duration::from_millis(200);
    let error = look(&plain).await.unwrap_err();
    let expected = Duration::from_millis(300);
    assert!(
        matches!(
            &error,
            ConnectError::Negotiate { source: RequestError::Closed(CloseCause::TimedOut { after, .. }), .. }
                if *after == expected
        ),
        "{error:?}"
    );
    plain.security = Security::Ssl(TlsSettings::default());
    let error = look(&plain).await.unwrap_err();
    assert!(matches!(&error, ConnectError::Tls { source: TlsError::Timeout { .. }, .. }), "{error:?}");
}

#[tokio::test]
async fn a_name_server_that_is_not_there_is_a_resolver_error() {
    let mut config = ClientConfig::new(["broker1.example:9092"]);
    config.name_servers = Some(vec!["127.0.0.1:1".parse().unwrap()]);
    config.dns_timeout = Duration::from_millis(300);
    let probes = probe(&config).await.unwrap();
    let error = probes[0].addresses.clone().unwrap_err();
    assert!(matches!(error, ResolveError::Timeout { .. } | ResolveError::ServerFailure { .. }), "{error:?}");
    assert!(matches!(probes[0].reached, Err(ConnectError::Resolve { .. })));
}

#[tokio::test]
async fn a_broker_too_old_for_our_api_versions_is_asked_again() {
    let cluster = Cluster::builder().max_version(ApiKey::ApiVersions, 0).start();
    look(&config(&cluster, Security::Plaintext)).await.unwrap();
    let versions: Vec<_> = cluster.requests(ApiKey::ApiVersions).iter().map(|seen| seen.version).collect();
    assert_eq!(versions.last(), Some(&0));
}

#[tokio::test]
async fn an_old_metadata_version_is_enough() {
    for version in [1, 5, 8, 12] {
        let cluster = Cluster::builder().max_version(ApiKey::Metadata, version).start();
        look(&config(&cluster, Security::Plaintext)).await.unwrap();
        assert_eq!(cluster.requests(ApiKey::Metadata)[0].version, version);
    }
}

#[tokio::test]
async fn damaged_answers_end_the_connection_at_once_and_by_name() {
    let cluster = Cluster::builder().start();
    let config = config(&cluster, Security::Plaintext);
    let closed = async || match look(&config).await.unwrap_err() {
        ConnectError::Negotiate { source: RequestError::Closed(cause), .. } => cause,
        other => panic!("{other}"),
    };
    cluster.on(ApiKey::Metadata).wrong_correlation();
    assert!(matches!(closed().await, CloseCause::Correlation { .. }));
    cluster.on(ApiKey::Metadata).frame_length(i32::MAX);
    assert!(matches!(closed().await, CloseCause::TooLarge { .. }));
    cluster.on(ApiKey::Metadata).frame_length(-2);
    assert_eq!(closed().await, CloseCause::FrameLength(-2));
    cluster.on(ApiKey::Metadata).truncate_frame();
    assert_eq!(closed().await, CloseCause::ClosedByPeer);
    cluster.on(ApiKey::Metadata).disconnect();
    assert_eq!(closed().await, CloseCause::ClosedByPeer);
    cluster.on(ApiKey::Metadata).corrupt(|frame| frame.truncate(frame.len() - 3));
    assert!(matches!(closed().await, CloseCause::Malformed { .. }));
}

#[tokio::test]
async fn an_error_of_the_broker_during_the_login_is_named() {
    let cluster = Cluster::builder().security(Demand::sasl_plaintext("sre", "secret")).start();
    cluster.on(ApiKey::SaslAuthenticate).error(ResponseError::IllegalSaslState);
    let error = look(&config(&cluster, Security::SaslPlaintext(scram("secret")))).await.unwrap_err();
    assert!(error.to_string().contains("ILLEGAL_SASL_STATE"), "{error}");
    assert!(!error.is_authentication());
}

#[tokio::test]
async fn every_mistake_in_the_settings_is_reported_before_anything_is_dialled() {
    let mut config = ClientConfig::new(["nowhere", "b:99999"]);
    config.security = Security::Ssl(TlsSettings::with_ca("/nonexistent/ca.pem"));
    assert_eq!(probe(&config).await.unwrap_err().len(), 2);
    config.bootstrap_servers = vec!["b:9092".into()];
    let mistakes = probe(&config).await.unwrap_err();
    assert!(mistakes[0].to_string().starts_with("ssl.ca.location: /nonexistent/ca.pem: "), "{}", mistakes[0]);
}
