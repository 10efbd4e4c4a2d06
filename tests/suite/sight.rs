//! What an operator knows of the client at any time, item by item: in `ConsumerHandle::snapshot` and in `/metrics`.
//!
//! [`SIGHT`] is the whole list. An item that one of the two does not show fails its test.

use std::time::Duration;

use kafka_broker_double::{ApiKey, Cluster, ResponseError, Security as Demand};
use kafka_consumer::client::{
    ConnectionState, FetchState, FlightStep, PartitionSnapshot, PasswordSource, SaslMechanism, SaslSettings, Security,
    Snapshot, TopicPartition,
};
use kafka_consumer::telemetry::metrics::TABLE;

use crate::client_consumer::{Reader, builder, numbers};
use crate::world::port;
use crate::world::process::{Service, wait_for};
use crate::world::settings::{self, Brokers};

const PATIENCE: Duration = Duration::from_secs(45);

/// One thing to be known.
struct Item {
    what: &'static str,
    metric: &'static str,
    /// Whether a snapshot of the scene of these tests shows it.
    shown: fn(&Snapshot) -> bool,
}

const fn item(what: &'static str, metric: &'static str, shown: fn(&Snapshot) -> bool) -> Item {
    Item { what, metric, shown }
}

fn first(snapshot: &Snapshot, shown: impl Fn(&PartitionSnapshot) -> bool) -> bool {
    snapshot.partitions.first().is_some_and(shown)
}

fn connected(snapshot: &Snapshot, shown: impl Fn(Option<Duration>, u64) -> bool) -> bool {
    snapshot.connections.iter().any(|connection| match &connection.state {
        ConnectionState::Connected { session_left, throttles, .. } => shown(*session_left, *throttles),
        _ => false,
    })
}

const SIGHT: [Item; 23] = [
    item("whether a partition is fetched", "kafka_consumer_partition_fetching", |all| {
        first(all, |one| one.state == FetchState::Fetching)
    }),
    item("and why not", "kafka_consumer_partition_state", |all| {
        all.partitions.iter().any(|one| one.state == FetchState::Paused)
    }),
    item("position", "kafka_consumer_partition_position_offset", |all| first(all, |one| one.position.is_some())),
    item("committed", "kafka_consumer_partition_committed_offset", |all| first(all, |one| one.committed.is_some())),
    item("high watermark", "kafka_consumer_partition_high_watermark_offset", |all| {
        first(all, |one| one.high_watermark.is_some())
    }),
    item("last stable offset", "kafka_consumer_partition_last_stable_offset", |all| {
        first(all, |one| one.last_stable_offset.is_some())
    }),
    item("lag in records", "kafka_consumer_partition_lag_records", |all| first(all, |one| one.lag_records.is_some())),
    item("lag in seconds", "kafka_consumer_partition_lag_seconds", |all| {
        all.partitions.iter().any(|one| one.lag.is_some())
    }),
    item("buffered bytes of a partition", "kafka_consumer_partition_buffered_bytes", |all| {
        all.partitions.iter().any(|one| one.buffered_bytes > 0)
    }),
    item("buffered bytes of all", "kafka_consumer_buffered_bytes", |all| all.buffered_bytes > 0),
    item("state of a connection", "kafka_consumer_connection_state", |all| connected(all, |_, _| true)),
    item("last error of a connection", "kafka_consumer_broker_failing", |all| {
        all.connections.iter().any(|one| one.last_error.is_some() && one.failed_layer == Some("kafka"))
    }),
    item("session lifetime left", "kafka_consumer_connection_session_left_seconds", |all| {
        connected(all, |left, _| left.is_some())
    }),
    item("resolved addresses", "kafka_consumer_broker_address_info", |all| {
        all.connections.iter().all(|one| !one.resolved.is_empty())
    }),
    item("throttle of a connection", "kafka_consumer_connection_throttled_seconds", |all| {
        connected(all, |_, throttles| throttles > 0)
    }),
    item("group state", "kafka_consumer_group_state", |all| all.group.state == "Stable"),
    item("generation", "kafka_consumer_group_generation", |all| all.group.generation.is_some()),
    item("rebalances", "kafka_consumer_group_rebalances_total", |all| all.counters.assignments > 0),
    item("their reasons", "kafka_consumer_group_joins_total", |all| {
        all.group.joins.get("first_join") == Some(&1) && all.group.last_join.is_some()
    }),
    item("batches skipped", "kafka_consumer_skipped_batches_total", |all| all.counters.skipped_batches == 0),
    item("fenced commits", "kafka_consumer_fenced_commits_total", |all| all.counters.fenced_commits == 1),
    item("throttles", "kafka_consumer_throttles_total", |all| all.counters.throttles > 0),
    item("steps of the flight recorder", "kafka_consumer_protocol_steps_total", |all| {
        all.steps.get(&FlightStep::Throttled).is_some_and(|count| *count > 0)
    }),
];

#[tokio::test]
async fn a_snapshot_shows_every_item() {
    let cluster = Cluster::builder()
        .brokers(2)
        .topic("t", 3)
        .security(Demand::sasl_plaintext("sre", "secret"))
        .session_lifetime(Duration::from_mins(10))
        .start();
    let password = PasswordSource::from("secret");
    let login = SaslSettings { mechanism: SaslMechanism::ScramSha512, username: "sre".to_owned(), password };
    let mut reader = Reader::from(builder(&cluster).security(Security::SaslPlaintext(login)));
    // On one broker, because the other one will be in trouble.
    for partition in 0..3 {
        cluster.move_leader("t", partition, 1);
        cluster.produce("t", partition, numbers(0, 5));
    }
    cluster.move_coordinator("g", Some(1));
    reader.until_read(15).await;
    cluster.on(ApiKey::OffsetCommit).error(ResponseError::UnknownMemberId);
    assert!(reader.handle.commit(std::mem::take(&mut reader.read)).await.is_err());
    reader.until_event(&["Lost"]).await;
    reader.until_read(30).await;
    reader.commit().await;
    // Nobody calls `next` from here on, so what is fetched stays in the queues: there is a lag.
    cluster.produce("t", 0, numbers(5, 5));
    reader.handle.pause(&[TopicPartition::new("t", 1)]);
    cluster.move_leader("t", 2, 2);
    cluster.hang_up(2, true);
    cluster.disconnect_all(2);
    let missing = || {
        let snapshot = reader.handle.snapshot();
        let all = SIGHT.iter().filter(|item| !(item.shown)(&snapshot));
        all.map(|item| item.what).collect::<Vec<_>>()
    };
    // A throttled answer is an empty one: what the broker has to say besides must have been heard before.
    let trouble = ["last error of a connection", "buffered bytes of a partition"];
    let seen = |_: &Cluster| missing().iter().all(|what| !trouble.contains(what));
    cluster.wait_until("the records and the trouble are seen", PATIENCE, seen).await;
    cluster.throttle(ApiKey::Fetch, Duration::from_millis(200));
    let shown = tokio::time::timeout(
        PATIENCE,
        cluster.wait_until("every item is shown", PATIENCE * 2, |_| missing().is_empty()),
    );
    assert!(shown.await.is_ok(), "a snapshot with {:?}: {:#?}", missing(), reader.handle.snapshot());
}

#[test]
fn the_metrics_of_a_running_service_show_every_item() {
    for item in &SIGHT {
        assert!(TABLE.iter().any(|metric| metric.name == item.metric), "{} is not documented", item.metric);
    }
    let cluster = Cluster::builder()
        .topic("incidents", 1)
        .security(settings::double_security())
        .session_lifetime(Duration::from_mins(10))
        .start();
    let folder = tempfile::tempdir().expect("a folder");
    let port = port::free();
    // No incidents, so they become dead letters, and are committed.
    cluster.produce("incidents", 0, numbers(0, 3));
    let brokers = Brokers::double(&cluster);
    let mut service =
        Service::start(folder.path(), &settings::config(&brokers, folder.path(), "sight", "incidents", port, ""), port);
    service.wait_ready(PATIENCE);
    // An age is shown only while there is a lag, which here passes at once.
    let transient = "kafka_consumer_partition_lag_seconds";
    let missing = || {
        let text = service.get("/metrics").map(|(_, text)| text).unwrap_or_default();
        let absent = |item: &&Item| {
            let starts = |line: &str| line.strip_prefix(item.metric).is_some_and(|rest| rest.starts_with(['{', ' ']));
            item.metric != transient && !text.lines().any(starts)
        };
        SIGHT.iter().filter(absent).map(|item| item.metric).collect::<Vec<_>>()
    };
    wait_for(|| format!("{:?}\n{}", missing(), service.last_words()), PATIENCE, || missing().is_empty().then_some(()));
    let lines = [
        "kafka_consumer_partition_state{topic=\"incidents\",partition=\"0\",state=\"fetching\"} 1.0",
        "kafka_consumer_partition_state{topic=\"incidents\",partition=\"0\",state=\"parked\"} 0.0",
        // The first heartbeat opens it.
        "kafka_consumer_connection_state{broker=\"1\",purpose=\"heartbeat\",state=\"connected\"} 1.0",
        "kafka_consumer_broker_failing{broker=\"1\",layer=\"sasl\"} 0.0",
        "kafka_consumer_group_state{state=\"Stable\"} 1.0",
        "kafka_consumer_group_joins_total{reason=\"first_join\"} 1.0",
        "kafka_consumer_partition_position_offset{topic=\"incidents\",partition=\"0\"} 3.0",
        "kafka_consumer_partition_last_stable_offset{topic=\"incidents\",partition=\"0\"} 3.0",
    ];
    let text = || service.get("/metrics").map(|(_, text)| text).unwrap_or_default();
    wait_for(text, PATIENCE, || {
        let text = text();
        lines.iter().all(|line| text.contains(line)).then_some(())
    });
    let text = text();
    let address = text.lines().find(|line| line.starts_with("kafka_consumer_broker_address_info{broker=\"1\""));
    assert!(address.is_some_and(|line| line.contains("address=\"127.0.0.1\"")), "{address:?}");
}
