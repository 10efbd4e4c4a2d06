//! From what the parts know of themselves to metrics. Pure.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use crate::certificate::Shown;
use crate::client::{BrokerConnection, ConnectError, ConnectionState, FetchState, PartitionSnapshot, Snapshot};
use crate::http::Fact;
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
        m::THROTTLES.sample([], float(counters.throttles)),
    ];
    samples.push(m::GROUP_STATE.sample([&group.state], 1.0));
    samples.push(m::GROUP_TROUBLE.sample([], f64::from(u8::from(group.last_error.is_some()))));
    samples.extend(group.generation.map(|of| m::GROUP_GENERATION.sample([], f64::from(of.get()))));
    samples.extend(group.joins.iter().map(|(reason, count)| m::GROUP_JOINS.sample([reason], float(*count))));
    samples.extend(consumer.steps.iter().map(|(step, count)| m::STEPS.sample([step.name()], float(*count))));
    for partition in &consumer.partitions {
        partition_samples(partition, &mut samples);
    }
    connection_samples(&consumer.connections, &mut samples);
    samples
}

fn partition_samples(partition: &PartitionSnapshot, samples: &mut Vec<Sample>) {
    let number = partition.partition.partition.to_string();
    let labels = [&*partition.partition.topic, number.as_str()];
    let fetching = matches!(partition.state, FetchState::Fetching);
    samples.push(m::PARTITION_FETCHING.sample(labels, f64::from(u8::from(fetching))));
    samples.push(m::PARTITION_BUFFERED.sample(labels, size(partition.buffered_bytes)));
    let now = partition.state.name();
    let [topic, number] = labels;
    let state = |name: &str| m::PARTITION_STATE.sample([topic, number, name], f64::from(u8::from(name == now)));
    samples.extend(FetchState::NAMES.map(state));
    let offsets = [
        (&m::PARTITION_POSITION, partition.position),
        (&m::PARTITION_LAST_STABLE, partition.last_stable_offset),
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

/// A broker is labelled with its id, a bootstrap server with its name.
fn connection_samples(connections: &[BrokerConnection], samples: &mut Vec<Sample>) {
    let mut described = BTreeSet::new();
    for connection in connections {
        let name = connection.address.as_ref().map(ToString::to_string).unwrap_or_default();
        let server = &*connection.broker.map_or_else(|| name.clone(), |broker| broker.to_string());
        let purpose = connection.purpose.name();
        let now = connection.state.name();
        let state = |of: &str| m::CONNECTION_STATE.sample([server, purpose, of], f64::from(u8::from(of == now)));
        samples.extend(ConnectionState::NAMES.map(state));
        if let ConnectionState::Connected { session_left, throttled_for, .. } = &connection.state {
            let left = session_left.map(|left| left.as_secs_f64());
            samples.extend(left.map(|left| m::CONNECTION_SESSION_LEFT.sample([server, purpose], left)));
            let throttled = throttled_for.unwrap_or_default().as_secs_f64();
            samples.push(m::CONNECTION_THROTTLED.sample([server, purpose], throttled));
        }
        // What follows is the broker's, and the same for each of its connections.
        if described.insert(server.to_owned()) {
            let failed = connection.failed_layer;
            let layer = |of: &str| m::BROKER_FAILING.sample([server, of], f64::from(u8::from(Some(of) == failed)));
            samples.extend(ConnectError::LAYERS.map(layer));
            let address = |of: &Ipv4Addr| m::BROKER_ADDRESS.sample([server, &name, &of.to_string()], 1.0);
            samples.extend(connection.resolved.iter().map(address));
        }
    }
}

/// The certificate, for metrics.
pub(super) fn certificate_samples(shown: &Shown) -> Vec<Sample> {
    let now = shown.now();
    let mut samples = vec![
        m::CERTIFICATE_RENEWALS.sample([], float(shown.renewals())),
        m::CERTIFICATE_TROUBLE.sample([], f64::from(u8::from(now.trouble.is_some()))),
    ];
    let end = now.pair.and_then(|pair| u64::try_from(pair.certificate.not_after).ok());
    samples.extend(end.map(|end| m::CERTIFICATE_NOT_AFTER.sample([], float(end))));
    samples
}

/// The certificate, for the page.
pub(super) fn certificate_facts(shown: &Shown) -> Option<Fact> {
    let described = shown.described();
    Some(Fact { name: "Certificate", value: described.into() }).filter(|_| shown.now().pair.is_some())
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
