//! A: sessions that end, passwords and authorities that change.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kafka_broker_double::{ApiKey, Cluster, Security as Demand};
use kafka_consumer::client::{PasswordSource, SaslMechanism, SaslSettings, Secret, Security, TlsSettings};

use super::broker_errors;
use crate::client_consumer::{Reader, builder, numbers, texts};

fn scram(password: PasswordSource) -> SaslSettings {
    SaslSettings { mechanism: SaslMechanism::ScramSha512, username: "sre".to_owned(), password }
}

/// The connections that requests of an API came over.
fn sockets(cluster: &Cluster, api: ApiKey) -> BTreeSet<u64> {
    cluster.requests(api).iter().map(|seen| seen.connection).collect()
}

#[tokio::test]
async fn a01_every_socket_is_replaced_before_its_session_ends_and_nothing_is_lost_under_load() {
    let lifetime = Duration::from_secs(4);
    let cluster = Cluster::builder()
        .topic("t", 2)
        .security(Demand::sasl_plaintext("sre", "secret"))
        .session_lifetime(lifetime)
        .start();
    let login = Security::SaslPlaintext(scram(PasswordSource::from("secret")));
    let mut reader = Reader::from(builder(&cluster).security(login));
    let apis = [ApiKey::Fetch, ApiKey::Heartbeat, ApiKey::OffsetCommit];
    let mut round = 0;
    // As long as it takes until each kind of socket was replaced twice.
    while apis.iter().any(|api| sockets(&cluster, *api).len() < 3) {
        for partition in 0..2 {
            cluster.produce("t", partition, numbers(round * 5, 5));
        }
        round += 1;
        reader.until_read(round * 10).await;
        assert!(reader.commit().await.dropped.is_empty());
    }
    for partition in 0..2 {
        assert_eq!(reader.values[&partition], texts(0, round * 5));
    }
    assert_eq!(broker_errors(&reader), Vec::<String>::new());
    assert!(!reader.has_event(&["Lost"]), "{:?}", reader.events);
    // By plan, and before the broker would have had to. That nothing is sent past the usable part of a session is held where
    // the clock stands still: here a busy machine may read late what was sent in time.
    let steps = reader.handle.flight_recorder();
    let planned = steps.iter().filter(|step| step.detail.contains("closed before the SASL session ends"));
    assert!(planned.map(|step| step.times).sum::<u32>() >= 3, "{steps:?}");
    // One login for each connection: none is renewed in the middle of other requests.
    let logins: Vec<_> = cluster.requests(ApiKey::SaslHandshake).iter().map(|seen| seen.connection).collect();
    assert_eq!(logins.len(), logins.iter().collect::<BTreeSet<_>>().len());
    reader.close().await;
}

#[tokio::test]
async fn a03_a_password_that_is_changed_while_reading_is_read_again_and_tried_slowly_until_it_fits() {
    let cluster = Cluster::builder().topic("t", 1).security(Demand::sasl_plaintext("sre", "old")).start();
    let kept = Arc::new(Mutex::new("old"));
    let source = Arc::clone(&kept);
    let password =
        PasswordSource::from_fn(move || Ok(Secret::new(*source.lock().unwrap_or_else(PoisonError::into_inner))));
    let config = builder(&cluster).security(Security::SaslPlaintext(scram(password))).configure(|config| {
        config.client.authentication_backoff = Duration::from_millis(300);
        config.client.authentication_backoff_max = Duration::from_millis(600);
    });
    let mut reader = Reader::from(config);
    cluster.produce("t", 0, numbers(0, 5));
    reader.until_read(5).await;
    cluster.set_user("sre", "new");
    cluster.disconnect_all(1);
    cluster.clear_requests();
    cluster.produce("t", 0, numbers(5, 5));
    let is_told = |reader: &Reader| broker_errors(reader).iter().any(|error| error.contains("refuses user `sre`"));
    reader.until("the refusal is told", is_told).await;
    reader.for_a_while().await;
    let tries = cluster.request_count(ApiKey::SaslHandshake);
    // Each of the five sockets may have been on its way when the first refusal came; after it one try per back-off.
    assert!(tries <= 7, "{tries} logins");
    *kept.lock().unwrap_or_else(PoisonError::into_inner) = "new";
    reader.until_read(10).await;
    assert_eq!(reader.values[&0], texts(0, 10));
    reader.close().await;
}

#[tokio::test]
async fn a04_a_new_authority_is_trusted_as_soon_as_its_file_says_so_and_a_new_leaf_without_it() {
    let cluster = Cluster::builder().topic("t", 1).security(Demand::Ssl).start();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, cluster.ca_pem()).expect("a file");
    let mut reader = Reader::from(builder(&cluster).security(Security::Ssl(TlsSettings::with_ca(&file))));
    cluster.produce("t", 0, numbers(0, 5));
    reader.until_read(5).await;
    let before = std::fs::read_to_string(&file).expect("a file");
    let authority = cluster.rotate_authority();
    cluster.disconnect_all(1);
    let is_told = |reader: &Reader| broker_errors(reader).iter().any(|error| error.contains("ssl.ca.location"));
    reader.until("the refusal is told", is_told).await;
    let dials = cluster.dials(1).len();
    reader.for_a_while().await;
    assert!(cluster.dials(1).len() - dials <= 20, "no hot loop");
    // A file that turns bad changes nothing, the right one does.
    std::fs::write(&file, "half a certif").expect("a file");
    reader.for_a_while().await;
    std::fs::write(&file, format!("{before}\n{authority}")).expect("a file");
    cluster.produce("t", 0, numbers(5, 5));
    reader.until_read(10).await;
    assert_eq!(reader.values[&0], texts(0, 10));
    reader.close().await;
}
