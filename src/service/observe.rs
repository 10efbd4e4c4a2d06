//! From what the parts know of themselves to metrics and to the page. Pure.

use std::time::Duration;

use crate::client::{ConnectionState, FetchState, PartitionSnapshot, Snapshot};
use crate::http::{Fact, Table};
use crate::telemetry::metrics::{self as m, Sample};

/// Metrics of the consumer.
pub(super) fn consumer_samples(consumer: &Snapshot) -> Vec<Sample> {
    let group = &consumer.group;
    let counters = &consumer.counters;
    let mut samples = vec![
        m::GROUP_STABLE.sample([], f64::from(u8::from(group.state == "Stable"))),
        m::REBALANCES.sample([], float(counters.assignments)),
        m::SESSION_LEFT.sample([], group.session_left.unwrap_or_default().as_secs_f64()),
        m::BUFFERED.sample([], size(consumer.buffered_bytes)),
        m::FETCHES.sample([], float(counters.fetches)),
        m::FETCHED.sample([], float(counters.fetched_bytes)),
        m::RECORDS.sample([], float(counters.records)),
        m::STALE_FETCHES.sample([], float(counters.stale_fetches)),
        m::SKIPPED_BATCHES.sample([], float(counters.skipped_batches)),
        m::COMMITTED.sample([], float(counters.committed_offsets)),
        m::DROPPED.sample([], float(counters.dropped_offsets)),
        m::FENCED.sample([], float(counters.fenced_commits)),
        m::RESETS.sample([], float(counters.resets)),
    ];
    for partition in &consumer.partitions {
        partition_samples(partition, &mut samples);
    }
    samples
}

fn partition_samples(partition: &PartitionSnapshot, samples: &mut Vec<Sample>) {
    let number = partition.partition.partition.to_string();
    let labels = [&*partition.partition.topic, number.as_str()];
    let fetching = matches!(partition.state, FetchState::Fetching);
    samples.push(m::PARTITION_FETCHING.sample(labels, f64::from(u8::from(fetching))));
    samples.push(m::PARTITION_BUFFERED.sample(labels, size(partition.buffered_bytes)));
    let offsets = [
        (&m::PARTITION_DELIVERED, partition.delivered),
        (&m::PARTITION_COMMITTED, partition.committed),
        (&m::PARTITION_HIGH_WATERMARK, partition.high_watermark),
    ];
    for (metric, offset) in offsets {
        samples.extend(offset.map(|offset| metric.sample(labels, signed(offset.get()))));
    }
    samples.extend(partition.lag_records.map(|lag| m::PARTITION_LAG.sample(labels, float(lag))));
    samples.extend(partition.lag.map(|lag| m::PARTITION_LAG_SECONDS.sample(labels, lag.as_secs_f64())));
}

/// The group, for the page.
pub(super) fn group_facts(consumer: &Snapshot) -> Vec<Fact> {
    let group = &consumer.group;
    let mut facts = vec![
        Fact { name: "Group", value: group.state.clone() },
        Fact { name: "Rebalances", value: consumer.counters.assignments.to_string() },
    ];
    facts.extend(group.generation.map(|generation| Fact { name: "Generation", value: generation.to_string() }));
    facts.extend(group.coordinator.map(|broker| Fact { name: "Coordinator", value: format!("broker {broker}") }));
    facts.extend(group.session_left.map(|left| Fact { name: "Session left", value: seconds(left) }));
    facts.extend(group.last_error.clone().map(|error| Fact { name: "Last error", value: error }));
    facts
}

/// The partitions, for the page.
pub(super) fn partition_table(consumer: &Snapshot) -> Table {
    let offset = |offset: Option<crate::client::Offset>| offset.map_or_else(|| "–".to_owned(), |o| o.get().to_string());
    let rows = consumer.partitions.iter().map(|partition| {
        vec![
            partition.partition.to_string(),
            fetch_state(&partition.state),
            offset(partition.delivered),
            offset(partition.committed),
            offset(partition.high_watermark),
            partition.lag_records.map_or_else(|| "–".to_owned(), |lag| lag.to_string()),
            partition.lag.map_or_else(|| "–".to_owned(), seconds),
        ]
    });
    Table {
        title: "Partitions",
        columns: &["Partition", "Fetching", "Delivered", "Committed", "High watermark", "Lag, records", "Lag, time"],
        rows: rows.collect(),
        empty: "none assigned",
    }
}

/// The connections, for the page.
pub(super) fn connection_table(consumer: &Snapshot) -> Table {
    let rows = consumer.connections.iter().map(|connection| {
        vec![
            connection.broker.map_or_else(|| "bootstrap".to_owned(), |broker| broker.to_string()),
            connection.address.as_ref().map_or_else(|| "–".to_owned(), ToString::to_string),
            format!("{:?}", connection.purpose).to_lowercase(),
            connection_state(&connection.state),
            connection.last_error.clone().unwrap_or_default(),
        ]
    });
    Table {
        title: "Connections",
        columns: &["Broker", "Address", "For", "State", "Last error"],
        rows: rows.collect(),
        empty: "none yet",
    }
}

fn connection_state(state: &ConnectionState) -> String {
    match state {
        ConnectionState::Connected { to, age, .. } => format!("connected to {to} for {}", seconds(*age)),
        ConnectionState::Closed => "closed".to_owned(),
        ConnectionState::BackingOff { retry_in } => format!("failed; again in {}", seconds(*retry_in)),
    }
}

fn fetch_state(state: &FetchState) -> String {
    match state {
        FetchState::Fetching => "yes".to_owned(),
        FetchState::AwaitingCommittedOffset => "no: asking for the committed offset".to_owned(),
        FetchState::Resetting => "no: asking for a new position".to_owned(),
        FetchState::CheckingRange => "no: the position was out of range; asking for the bounds of the log".to_owned(),
        FetchState::Validating => "no: the leader changed; comparing logs".to_owned(),
        FetchState::AwaitingLeader => "no: there is no leader".to_owned(),
        FetchState::Paused => "no: paused".to_owned(),
        FetchState::QueueFull => "no: enough is fetched".to_owned(),
        FetchState::BackingOff { error, retry_in } => format!("no: {error}; again in {}", seconds(*retry_in)),
        FetchState::Parked(cause) => format!("no, given up: {cause:?}"),
    }
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

/// Counts beyond 2^53 lose their last digits, which no dashboard shows.
#[expect(clippy::cast_precision_loss, reason = "metrics are floating point")]
pub(super) fn float(count: u64) -> f64 {
    count as f64
}

#[expect(clippy::cast_precision_loss, reason = "metrics are floating point")]
fn signed(number: i64) -> f64 {
    number as f64
}

#[expect(clippy::cast_precision_loss, reason = "metrics are floating point")]
pub(super) fn size(bytes: usize) -> f64 {
    bytes as f64
}
