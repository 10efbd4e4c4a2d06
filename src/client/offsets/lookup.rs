//! Questions about offsets: what is committed, where a log begins and ends, where an epoch ends.
//!
//! Each asks about many partitions at once and gives each its own answer. Absent: retries and consequences; those belong
//! to the partition that asked.

use std::collections::BTreeMap;
use std::time::Duration;

use kafka_proto::error_code::ErrorCode;
use kafka_proto::id::{BrokerId, LeaderEpoch, TopicPartition};

use crate::client::cluster::{Cluster, Purpose};
use crate::client::fetcher::Position;
use crate::client::offsets::coordinator::Coordinator;
use crate::client::request::list_offsets::{ListOffsets, OffsetSpec, WantedOffset};
use crate::client::request::offset_fetch::OffsetFetch;
use crate::client::request::offset_for_leader_epoch::{EpochQuestion, OffsetForLeaderEpoch};
use crate::client::request::{Exchange, IsolationLevel};

/// For each partition that the broker named: a position, explicitly none, or an error. A partition that is missing was
/// left out by the broker, which says nothing about it.
pub(crate) type Found = BTreeMap<TopicPartition, Result<Option<Position>, ErrorCode>>;

/// Partition, leader epoch as it is known, and what is wanted.
pub(crate) type OffsetQuestion = (TopicPartition, LeaderEpoch, OffsetSpec);

/// Partition, leader epoch as it is known, and the epoch whose end is wanted.
pub(crate) type EndQuestion = (TopicPartition, LeaderEpoch, LeaderEpoch);

/// A leader, and over which of its connections it is asked.
pub(crate) type Leader = (BrokerId, Purpose);

/// The offsets that the group has committed, stable ones only (KIP-447, fault G13).
pub(crate) async fn ask_committed(
    coordinator: &Coordinator,
    partitions: Vec<TopicPartition>,
    limit: Duration,
) -> Result<Found, String> {
    let request = OffsetFetch { group_id: coordinator.group_id().to_owned(), partitions, require_stable: true };
    let answer = coordinator.request(request, limit).await?;
    if let Err(error) = answer.error.check() {
        coordinator.heed(error);
        return Err(error.name().to_owned());
    }
    let found = answer.partitions.into_iter().map(|entry| {
        coordinator.heed(entry.error);
        let position = entry.offset.map(|offset| Position { offset, leader_epoch: entry.leader_epoch });
        (entry.partition, entry.error.check().map(|()| position))
    });
    Ok(found.collect())
}

/// The start or the end of logs, or the first offset at a time, as their leader says.
pub(crate) async fn ask_offsets(
    cluster: &Cluster,
    leader: Leader,
    wanted: Vec<OffsetQuestion>,
    isolation_level: IsolationLevel,
    limit: Duration,
) -> Result<Found, String> {
    let partitions = wanted
        .into_iter()
        .map(|(partition, current_leader_epoch, spec)| WantedOffset { partition, current_leader_epoch, spec })
        .collect();
    let answer = ask(cluster, leader, ListOffsets { isolation_level, partitions, timeout: limit }, limit).await?;
    let found = answer.partitions.into_iter().map(|entry| {
        let position = entry.offset.map(|offset| Position { offset, leader_epoch: entry.leader_epoch });
        (entry.partition, entry.error.check().map(|()| position))
    });
    Ok(found.collect())
}

/// Where epochs end in the log of the leader (KIP-320). `None`: the leader does not know the epoch.
pub(crate) async fn ask_epoch_ends(
    cluster: &Cluster,
    leader: Leader,
    wanted: Vec<EndQuestion>,
    limit: Duration,
) -> Result<Found, String> {
    let partitions = wanted
        .into_iter()
        .map(|(partition, current_leader_epoch, leader_epoch)| EpochQuestion {
            partition,
            current_leader_epoch,
            leader_epoch,
        })
        .collect();
    let answer = ask(cluster, leader, OffsetForLeaderEpoch { partitions }, limit).await?;
    let found = answer.partitions.into_iter().map(|entry| {
        let known = entry.leader_epoch != LeaderEpoch::UNKNOWN;
        let end = entry.end_offset.filter(|_| known);
        let position = end.map(|offset| Position { offset, leader_epoch: entry.leader_epoch });
        (entry.partition, entry.error.check().map(|()| position))
    });
    Ok(found.collect())
}

async fn ask<R: Exchange>(
    cluster: &Cluster,
    leader: Leader,
    request: R,
    limit: Duration,
) -> Result<R::Response, String> {
    let (id, over) = leader;
    let connection = cluster.connect(id, over).await.map_err(|error| error.to_string())?;
    connection.request(request, limit).await.map_err(|error| error.to_string())
}
