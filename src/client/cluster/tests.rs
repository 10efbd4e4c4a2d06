//! A cluster of the broker double: who is asked, how often, and what is known afterwards.

use std::sync::atomic::Ordering;

use kafka_broker_double as double;
use tokio::time::Instant;

use super::*;
use crate::client::config::{PasswordSource, SaslMechanism, SaslSettings, Secret, Security};
use crate::client::request::heartbeat::Heartbeat;

/// A condition that does not come true within this fails its test.
const PATIENCE: Duration = Duration::from_secs(20);

fn config(cluster: &double::Cluster) -> ClientConfig {
    let mut config = ClientConfig::new(cluster.bootstrap().split(','));
    config.request_timeout = Duration::from_secs(2);
    config.retry_backoff = Duration::from_millis(20);
    config.retry_backoff_max = Duration::from_millis(100);
    config
}

fn start(config: ClientConfig) -> Cluster {
    Cluster::new(Arc::new(config), vec!["t".into()]).unwrap()
}

async fn until(cluster: &Cluster, what: &str, holds: impl FnMut(&Arc<Metadata>) -> bool) -> Arc<Metadata> {
    let mut metadata = cluster.metadata();
    let reached = tokio::time::timeout(PATIENCE, metadata.wait_for(holds)).await;
    let reached = reached.unwrap_or_else(|_| panic!("never: {what}; {:?}", cluster.refresh_error()));
    Arc::clone(&reached.unwrap())
}

async fn known(cluster: &Cluster) -> Arc<Metadata> {
    until(cluster, "metadata", |metadata| !metadata.topics.is_empty()).await
}

fn partition(index: i32) -> TopicPartition {
    TopicPartition { topic: "t".into(), partition: index }
}

fn scram(password: PasswordSource) -> Security {
    Security::SaslPlaintext(SaslSettings { mechanism: SaslMechanism::ScramSha512, username: "sre".into(), password })
}

fn heartbeat() -> Heartbeat {
    let generation = kafka_proto::id::Generation(1);
    Heartbeat { group_id: "g".into(), generation, member_id: "m".into(), group_instance_id: None }
}

#[tokio::test]
async fn metadata_comes_by_itself_and_names_leaders() {
    let double = double::Cluster::builder().brokers(3).topic("t", 6).start();
    let cluster = start(config(&double));
    let metadata = known(&cluster).await;
    assert_eq!(metadata.brokers.len(), 3);
    for index in 0..6 {
        let (leader, epoch) = double.leader("t", index);
        let expected = (BrokerId(leader.unwrap()), LeaderEpoch(epoch));
        assert_eq!(cluster.leader_of(&partition(index)), Some(expected));
    }
    let id = metadata.topics["t"].id.unwrap();
    assert_eq!(metadata.topic_name(id).map(AsRef::as_ref), Some("t"));
}

#[tokio::test]
async fn each_purpose_has_its_own_socket_and_callers_share_it() {
    let double = double::Cluster::builder().topic("t", 1).start();
    let cluster = start(config(&double));
    known(&cluster).await;
    for purpose in [Purpose::Coordinator, Purpose::Heartbeat, Purpose::Fetch] {
        let (one, two) = tokio::join!(cluster.connect(BrokerId(1), purpose), cluster.connect(BrokerId(1), purpose));
        for connection in [one.unwrap(), two.unwrap()] {
            connection.request(heartbeat(), PATIENCE).await.unwrap();
        }
    }
    let sockets: std::collections::BTreeSet<_> =
        double.requests(double::ApiKey::Heartbeat).iter().map(|seen| seen.connection).collect();
    assert_eq!(sockets.len(), 3);
}

#[tokio::test]
async fn a_dead_broker_does_not_wedge_the_refreshes() {
    let double = double::Cluster::builder().brokers(3).topic("t", 3).start();
    let cluster = start(config(&double));
    let first = known(&cluster).await;
    for broker in 1..=2 {
        double.freeze_broker(broker);
    }
    for _ in 0..4 {
        cluster.request_refresh();
    }
    until(&cluster, "a refresh by the broker that is left", |metadata| metadata.revision > first.revision).await;
}

#[tokio::test]
async fn a_broker_at_another_port_is_found_under_its_id() {
    let double = double::Cluster::builder().brokers(2).topic("t", 2).start();
    let cluster = start(config(&double));
    known(&cluster).await;
    let before = cluster.connect(BrokerId(2), Purpose::Fetch).await.unwrap().peer().address;
    double.change_port(2);
    cluster.request_refresh();
    let port = double.address(2).port();
    let moved = |metadata: &Arc<Metadata>| metadata.brokers.get(&BrokerId(2)).is_some_and(|b| b.address.port == port);
    until(&cluster, "the new port", moved).await;
    let after = cluster.connect(BrokerId(2), Purpose::Fetch).await.unwrap().peer().address;
    assert_ne!(before, after);
}

#[tokio::test]
async fn a_removed_broker_is_forgotten_with_its_connections() {
    let double = double::Cluster::builder().brokers(2).topic("t", 2).start();
    let cluster = start(config(&double));
    known(&cluster).await;
    let connection = cluster.connect(BrokerId(2), Purpose::Fetch).await.unwrap();
    double.remove_broker(2);
    cluster.request_refresh();
    until(&cluster, "one broker", |metadata| metadata.brokers.len() == 1).await;
    tokio::time::timeout(PATIENCE, connection.closed()).await.unwrap();
    let gone = cluster.connect(BrokerId(2), Purpose::Fetch).await.unwrap_err();
    assert!(matches!(gone, ConnectError::UnknownBroker(BrokerId(2))));
}

#[tokio::test]
async fn with_every_known_broker_gone_the_bootstrap_servers_are_asked() {
    let double = double::Cluster::builder().brokers(2).topic("t", 2).start();
    let cluster = start(config(&double));
    known(&cluster).await;
    for broker in 1..=2 {
        double.advertise_port(broker, Some(1));
    }
    cluster.request_refresh();
    until(&cluster, "the wrong ports", |metadata| metadata.brokers.values().all(|b| b.address.port == 1)).await;
    for broker in 1..=2 {
        double.disconnect_all(broker);
        double.advertise_port(broker, None);
    }
    cluster.request_refresh();
    until(&cluster, "the right ports", |metadata| metadata.brokers.values().all(|b| b.address.port != 1)).await;
}

#[tokio::test]
async fn nobody_asks_a_broken_cluster_in_a_hot_loop() {
    let double = double::Cluster::builder().topic("t", 1).start();
    double.on(double::ApiKey::Metadata).always().disconnect();
    let mut config = config(&double);
    config.retry_backoff = Duration::from_millis(100);
    config.retry_backoff_max = Duration::from_secs(1);
    let cluster = start(config);
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(3) {
        cluster.request_refresh();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let asked = double.request_count(double::ApiKey::Metadata);
    assert!((2..=12).contains(&asked), "{asked} requests in 3 s");
    assert!(cluster.refresh_error().unwrap().contains("closed the connection"));
}

#[tokio::test]
async fn a_wrong_password_is_tried_slowly_and_shown() {
    let double =
        double::Cluster::builder().topic("t", 1).security(double::Security::sasl_plaintext("sre", "secret")).start();
    let reads = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&reads);
    let password = PasswordSource::from_fn(move || {
        counted.fetch_add(1, Ordering::SeqCst);
        Ok(Secret::new("wrong"))
    });
    let mut config = config(&double);
    config.security = scram(password);
    let cluster = start(config);
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(2) {
        cluster.request_refresh();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(reads.load(Ordering::SeqCst), 1, "the next attempt is seconds away");
    let shown = cluster.connections();
    assert!(shown[0].last_error.as_ref().unwrap().contains("refuses user `sre`"), "{shown:?}");
    let ConnectionState::BackingOff { retry_in } = shown[0].state else { panic!("{shown:?}") };
    assert!(retry_in > Duration::from_secs(4), "{retry_in:?}");
}

#[tokio::test]
async fn a_password_set_right_is_used_without_a_restart() {
    let double =
        double::Cluster::builder().topic("t", 1).security(double::Security::sasl_plaintext("sre", "new")).start();
    let reads = Arc::new(AtomicUsize::new(0));
    let password = PasswordSource::from_fn(move || {
        Ok(Secret::new(if reads.fetch_add(1, Ordering::SeqCst) < 2 { "old" } else { "new" }))
    });
    let mut config = config(&double);
    config.security = scram(password);
    config.authentication_backoff = Duration::from_millis(50);
    known(&start(config)).await;
}

#[tokio::test]
async fn a_session_that_ends_is_followed_by_a_new_connection_without_an_error() {
    let double = double::Cluster::builder()
        .topic("t", 1)
        .security(double::Security::sasl_plaintext("sre", "secret"))
        .session_lifetime(Duration::from_secs(1))
        .start();
    let mut config = config(&double);
    config.security = scram(PasswordSource::from("secret"));
    let cluster = start(config);
    known(&cluster).await;
    let started = Instant::now();
    let mut planned = 0;
    while started.elapsed() < Duration::from_secs(4) {
        let connection = cluster.connect(BrokerId(1), Purpose::Heartbeat).await.unwrap();
        match connection.request(heartbeat(), PATIENCE).await {
            Ok(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            Err(error) if error.is_planned() => planned += 1,
            Err(error) => panic!("{error}"),
        }
    }
    let sockets: std::collections::BTreeSet<_> =
        double.requests(double::ApiKey::Heartbeat).iter().map(|seen| seen.connection).collect();
    assert!((4..=6).contains(&sockets.len()), "{} connections in 4 s of 1 s sessions", sockets.len());
    assert!(planned <= sockets.len());
    let logins = double.request_count(double::ApiKey::SaslHandshake);
    assert!(logins <= 12, "{logins} logins");
}

#[tokio::test]
async fn a01_a_session_counts_from_when_it_was_asked_for_however_late_the_answer_is() {
    let lifetime = Duration::from_secs(10);
    let double = double::Cluster::builder()
        .topic("t", 1)
        .security(double::Security::sasl_plaintext("sre", "secret"))
        .session_lifetime(lifetime)
        .start();
    double.on(double::ApiKey::SaslAuthenticate).always().delay_response(Duration::from_millis(1_500));
    let mut config = config(&double);
    config.security = scram(PasswordSource::from("secret"));
    let cluster = start(config);
    known(&cluster).await;
    let left = cluster.any().await.unwrap().session_left().unwrap();
    let usable_until = std::time::Instant::now() + left;
    let granted = double.requests(double::ApiKey::SaslAuthenticate).last().unwrap().at;
    assert!(usable_until <= granted + lifetime * 95 / 100, "{:?}", usable_until - granted);
}

#[tokio::test]
async fn a_coordinator_is_found_and_another_broker_asked_after_an_error() {
    let double = double::Cluster::builder().brokers(3).topic("t", 3).start();
    let cluster = start(config(&double));
    known(&cluster).await;
    let found = cluster.find_coordinator("g").await.unwrap();
    assert_eq!(Some(found.get()), double.coordinator("g"));
    double.on(double::ApiKey::FindCoordinator).times(2).error(double::ResponseError::CoordinatorNotAvailable);
    double.clear_requests();
    for _ in 0..2 {
        let error = cluster.find_coordinator("g").await.unwrap_err();
        assert!(error.to_string().contains("COORDINATOR_NOT_AVAILABLE"), "{error}");
    }
    let asked: Vec<_> = double.requests(double::ApiKey::FindCoordinator).iter().map(|seen| seen.broker).collect();
    assert_ne!(asked[0], asked[1]);
}

#[tokio::test]
async fn a_bootstrap_server_that_turns_out_to_coordinate_keeps_its_connection() {
    let double = double::Cluster::builder().topic("t", 1).start();
    double.on(double::ApiKey::Metadata).delay(Duration::from_millis(100));
    let cluster = start(config(&double));
    // Known as the coordinator, and in use as one, before the metadata names it.
    let id = cluster.find_coordinator("g").await.unwrap();
    cluster.connect(id, Purpose::Rebalance).await.unwrap();
    known(&cluster).await;
    cluster.connect(id, Purpose::Control).await.unwrap();
    assert_eq!(double.dials(id.get()).len(), 2, "control and rebalance");
}

#[tokio::test]
async fn a_connection_that_is_taken_over_is_not_its_former_holders_any_more() {
    let double = double::Cluster::builder().topic("t", 1).start();
    let cluster = start(config(&double));
    known(&cluster).await;
    let control = cluster.connect(BrokerId(1), Purpose::Control).await.unwrap();
    let rebalance = cluster.connect_or_take_over(BrokerId(1), Purpose::Rebalance, Purpose::Control).await.unwrap();
    assert_eq!(double.dials(1).len(), 1);
    let refused = control.request(heartbeat(), PATIENCE).await.unwrap_err();
    assert!(refused.is_planned(), "{refused}");
    control.close();
    rebalance.request(heartbeat(), PATIENCE).await.unwrap();
    cluster.connect(BrokerId(1), Purpose::Control).await.unwrap().request(heartbeat(), PATIENCE).await.unwrap();
    assert_eq!(double.dials(1).len(), 2, "what is asked next of a broker has a connection of its own");
    // It is there, so none is taken.
    let again = cluster.connect_or_take_over(BrokerId(1), Purpose::Rebalance, Purpose::Control).await.unwrap();
    again.request(heartbeat(), PATIENCE).await.unwrap();
    let used: Vec<_> = double.requests(double::ApiKey::Heartbeat).iter().map(|seen| seen.connection).collect();
    assert_eq!((used.len(), used[0] == used[1], used[0] == used[2]), (3, false, true));
}

#[tokio::test]
async fn what_is_under_way_on_a_connection_is_answered_before_it_is_taken_over() {
    let double = double::Cluster::builder().topic("t", 1).start();
    let cluster = start(config(&double));
    known(&cluster).await;
    let control = cluster.connect(BrokerId(1), Purpose::Control).await.unwrap();
    let slow = double.on(double::ApiKey::Heartbeat).times(1).delay(Duration::from_millis(20));
    let asked = tokio::spawn(async move { control.request(heartbeat(), PATIENCE).await });
    double.wait_until("it is asked", PATIENCE, |_| slow.hits() == 1).await;
    cluster.connect_or_take_over(BrokerId(1), Purpose::Rebalance, Purpose::Control).await.unwrap();
    assert!(asked.is_finished());
    asked.await.unwrap().unwrap();
    assert_eq!(double.dials(1).len(), 1);
}

#[tokio::test]
async fn a_connection_on_which_a_join_is_held_back_stays_where_it_is() {
    let double = double::Cluster::builder().topic("t", 1).start();
    let cluster = start(config(&double));
    known(&cluster).await;
    let rebalance = cluster.connect(BrokerId(1), Purpose::Rebalance).await.unwrap();
    let held_back = double.on(double::ApiKey::Heartbeat).times(1).delay(PATIENCE);
    let asked = tokio::spawn(async move { rebalance.request(heartbeat(), PATIENCE).await });
    double.wait_until("it is asked", PATIENCE, |_| held_back.hits() == 1).await;
    let commits = cluster.connect_or_take_over(BrokerId(1), Purpose::Coordinator, Purpose::Rebalance).await.unwrap();
    commits.request(heartbeat(), PATIENCE).await.unwrap();
    assert!(!asked.is_finished(), "nobody waited for it");
    let used: Vec<_> = double.requests(double::ApiKey::Heartbeat).iter().map(|seen| seen.connection).collect();
    assert_ne!(used[0], used[1]);
}

#[tokio::test]
async fn leaders_are_connected_to_ahead_of_need_also_when_nothing_is_known_yet() {
    let double = double::Cluster::builder().brokers(2).topic("t", 2).start();
    let cluster = start(config(&double));
    assert_eq!(cluster.current().revision, 0, "nobody has answered yet");
    tokio::time::timeout(PATIENCE, cluster.warm_leaders()).await.unwrap();
    let fetching = cluster.connections().into_iter().filter(|connection| connection.purpose == Purpose::Fetch);
    let brokers: Vec<_> = fetching.filter_map(|connection| connection.broker).collect();
    assert_eq!(brokers, [BrokerId(1), BrokerId(2)]);
}

#[tokio::test]
async fn waiting_for_leaders_ends_with_the_cluster() {
    let double = double::Cluster::builder().topic("t", 1).start();
    double.on(double::ApiKey::Metadata).always().silence();
    let cluster = start(config(&double));
    let waiting = tokio::spawn({
        let cluster = cluster.clone();
        async move { cluster.warm_leaders().await }
    });
    double.wait_until("the question", PATIENCE, |double| double.request_count(double::ApiKey::Metadata) > 0).await;
    assert!(!waiting.is_finished());
    cluster.close();
    tokio::time::timeout(PATIENCE, waiting).await.unwrap().unwrap();
}

#[tokio::test]
async fn every_version_of_find_coordinator_finds_it() {
    for version in [0, 3, 4, 6] {
        let double =
            double::Cluster::builder().topic("t", 1).max_version(double::ApiKey::FindCoordinator, version).start();
        let cluster = start(config(&double));
        known(&cluster).await;
        assert_eq!(cluster.find_coordinator("g").await.unwrap(), BrokerId(1));
    }
}

#[tokio::test]
async fn closing_ends_every_connection_and_refuses_new_ones() {
    let double = double::Cluster::builder().topic("t", 1).start();
    let cluster = start(config(&double));
    known(&cluster).await;
    let connection = cluster.connect(BrokerId(1), Purpose::Fetch).await.unwrap();
    cluster.close();
    assert_eq!(connection.closed().await, crate::client::connection::CloseCause::ClosedByUs);
    let refused = cluster.connect(BrokerId(1), Purpose::Fetch).await.unwrap_err();
    assert!(matches!(refused, ConnectError::Closing), "{refused:?}");
    let gone = async {
        while double.connection_count(1) > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.unwrap();
}
