//! One file per API: what a broker answers to it.
//!
//! Promised: handlers hold the lock only while they look or change, never across an await.

pub(crate) mod api_versions;
mod describe_configs;
pub(crate) mod fetch;
pub(crate) mod fetch_session;
mod find_coordinator;
mod group_admin;
mod groups;
mod init_producer_id;
mod list_offsets;
mod metadata;
mod offset_commit;
mod offset_fetch;
mod offset_for_leader_epoch;
mod produce;
pub(crate) mod refusal;
pub(crate) mod throttle;
mod topics;

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::TopicName;
use kafka_protocol::protocol::StrBytes;

use crate::state::{Shared, State};
use crate::topic::Partition;
use crate::wire::{Request, Response};

/// Where and how a request came in.
pub(crate) struct Call<'a> {
    pub(crate) shared: &'a Arc<Shared>,
    pub(crate) node: i32,
    pub(crate) version: i16,
    pub(crate) client_id: String,
}

/// The answer to a request; `None` where the protocol has none (Produce with acks 0).
pub(crate) async fn answer(call: &Call<'_>, request: Request) -> Option<Response> {
    Some(match request {
        Request::ApiVersions(_) => api_versions::answer(call).into(),
        Request::Metadata(request) => metadata::answer(call, &request).into(),
        Request::Fetch(request) => fetch::answer(call, &request).await.into(),
        Request::Produce(request) => return produce::answer(call, &request).map(Into::into),
        Request::ListOffsets(request) => list_offsets::answer(call, &request).into(),
        Request::OffsetForLeaderEpoch(request) => offset_for_leader_epoch::answer(call, &request).into(),
        Request::InitProducerId(request) => init_producer_id::answer(call, &request).into(),
        Request::FindCoordinator(request) => find_coordinator::answer(call, &request).into(),
        Request::JoinGroup(request) => groups::join(call, request).await.into(),
        Request::SyncGroup(request) => groups::sync(call, request).await.into(),
        Request::Heartbeat(request) => groups::heartbeat(call, &request).into(),
        Request::LeaveGroup(request) => groups::leave(call, &request).into(),
        Request::DescribeGroups(request) => group_admin::describe(call, &request).into(),
        Request::ListGroups(_) => group_admin::list(call).into(),
        Request::OffsetCommit(request) => offset_commit::answer(call, &request).into(),
        Request::OffsetFetch(request) => offset_fetch::answer(call, &request).into(),
        Request::CreateTopics(request) => topics::create(call, &request).into(),
        Request::DeleteTopics(request) => topics::delete(call, &request).into(),
        Request::CreatePartitions(request) => topics::create_partitions(call, &request).into(),
        Request::DeleteRecords(request) => topics::delete_records(call, &request).into(),
        Request::DescribeConfigs(request) => describe_configs::answer(call, &request).into(),
        // Those that log in never get here; on a listener without login, or after it, this is the answer (KafkaApis).
        request @ (Request::SaslHandshake(_) | Request::SaslAuthenticate(_)) => {
            refusal::refuse(&request, call.version, ResponseError::IllegalSaslState)
        }
    })
}

/// A name on the wire.
pub(crate) fn text(text: impl Into<String>) -> StrBytes {
    StrBytes::from_string(text.into())
}

/// A topic name on the wire.
pub(crate) fn topic_name(name: &str) -> TopicName {
    TopicName(text(name))
}

/// The partition, if the node leads it and the client's epoch is the leader's.
pub(crate) fn led<'a>(
    state: &'a State,
    node: i32,
    topic: &str,
    partition: i32,
    believed_epoch: i32,
) -> Result<&'a Partition, ResponseError> {
    let partition = state
        .topics
        .get(topic)
        .and_then(|topic| topic.partition(partition))
        .ok_or(ResponseError::UnknownTopicOrPartition)?;
    check_epoch_and_leader(partition, node, believed_epoch)?;
    Ok(partition)
}

/// Epoch first, leader second, in Kafka's order for a replica; one that is no replica knows no epoch.
pub(crate) fn check_epoch_and_leader(partition: &Partition, node: i32, believed: i32) -> Result<(), ResponseError> {
    if !partition.replicas.contains(&node) {
        return Err(ResponseError::NotLeaderOrFollower);
    }
    partition.check_epoch(believed)?;
    if partition.leader == Some(node) { Ok(()) } else { Err(ResponseError::NotLeaderOrFollower) }
}

/// The code on the wire.
pub(crate) fn code(error: Option<ResponseError>) -> i16 {
    error.map_or(0, |error| error.code())
}
