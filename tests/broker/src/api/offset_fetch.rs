//! OffsetFetch: one group up to version 7, many from version 8 on; `require_stable` (KIP-447).

use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{OffsetFetchRequest, OffsetFetchResponse};

use super::{Call, text, topic_name};
use crate::state::{CommittedOffset, State};

/// Topics with the partitions asked for; `None` is all that the group has committed.
type Asked = Option<Vec<(String, Vec<i32>)>>;
/// Topics with what is committed for each partition.
type Found = Vec<(String, Vec<(i32, Result<Option<CommittedOffset>, ResponseError>)>)>;

pub(crate) fn answer(call: &Call<'_>, request: &OffsetFetchRequest) -> OffsetFetchResponse {
    let state = call.shared.lock();
    if call.version >= 8 {
        let groups = request.groups.iter().map(|group| of_group(call, &state, group, request.require_stable));
        return OffsetFetchResponse::default().with_groups(groups.collect());
    }
    let asked: Asked = request
        .topics
        .as_ref()
        .map(|topics| topics.iter().map(|topic| (topic.name.to_string(), topic.partition_indexes.clone())).collect());
    match look_up(&state, call.node, &request.group_id, asked, request.require_stable) {
        Ok(found) => OffsetFetchResponse::default().with_topics(older_topics(call, found)),
        Err(error) if call.version >= 2 => OffsetFetchResponse::default().with_error_code(error.code()),
        // Version 1 has no place for an error but the partitions, and they were asked for by name.
        Err(_) => OffsetFetchResponse::default(),
    }
}

fn of_group(
    call: &Call<'_>,
    state: &State,
    group: &OffsetFetchRequestGroup,
    require_stable: bool,
) -> OffsetFetchResponseGroup {
    let asked: Asked = group
        .topics
        .as_ref()
        .map(|topics| topics.iter().map(|topic| (topic.name.to_string(), topic.partition_indexes.clone())).collect());
    let answer = OffsetFetchResponseGroup::default().with_group_id(group.group_id.clone());
    match look_up(state, call.node, &group.group_id, asked, require_stable) {
        Ok(found) => answer.with_topics(newer_topics(found)),
        Err(error) => answer.with_error_code(error.code()),
    }
}

fn look_up(state: &State, node: i32, group: &str, asked: Asked, require_stable: bool) -> Result<Found, ResponseError> {
    state.check_coordinator(node, group)?;
    let committed = state.committed.get(group);
    let asked = asked.unwrap_or_else(|| {
        let all = committed.into_iter().flatten();
        all.map(|((topic, partition), _)| (topic.clone(), vec![*partition])).collect()
    });
    let of_partition = |topic: &String, partition: i32| {
        let unstable = (group.to_owned(), topic.clone(), partition);
        if require_stable && state.unstable.contains(&unstable) {
            return Err(ResponseError::UnstableOffsetCommit);
        }
        Ok(committed.and_then(|committed| committed.get(&(topic.clone(), partition))).cloned())
    };
    let found = asked.into_iter().map(|(topic, partitions)| {
        let of_topic = partitions.into_iter().map(|partition| (partition, of_partition(&topic, partition))).collect();
        (topic, of_topic)
    });
    Ok(found.collect())
}

/// Offset, epoch, metadata and error as they are written; no offset is -1 without an error.
fn written(found: Result<Option<CommittedOffset>, ResponseError>) -> (i64, i32, String, i16) {
    match found {
        Ok(Some(committed)) => (committed.offset, committed.leader_epoch, committed.metadata, 0),
        Ok(None) => (-1, -1, String::new(), 0),
        Err(error) => (-1, -1, String::new(), error.code()),
    }
}

fn older_topics(call: &Call<'_>, found: Found) -> Vec<OffsetFetchResponseTopic> {
    let of_partition = |(index, found)| {
        let (offset, epoch, metadata, error) = written(found);
        let answer = OffsetFetchResponsePartition::default()
            .with_partition_index(index)
            .with_committed_offset(offset)
            .with_metadata(Some(text(metadata)))
            .with_error_code(error);
        if call.version >= 5 { answer.with_committed_leader_epoch(epoch) } else { answer }
    };
    let topics = found.into_iter().map(|(topic, partitions)| {
        OffsetFetchResponseTopic::default()
            .with_name(topic_name(&topic))
            .with_partitions(partitions.into_iter().map(of_partition).collect())
    });
    topics.collect()
}

fn newer_topics(found: Found) -> Vec<OffsetFetchResponseTopics> {
    let of_partition = |(index, found)| {
        let (offset, epoch, metadata, error) = written(found);
        OffsetFetchResponsePartitions::default()
            .with_partition_index(index)
            .with_committed_offset(offset)
            .with_committed_leader_epoch(epoch)
            .with_metadata(Some(text(metadata)))
            .with_error_code(error)
    };
    let topics = found.into_iter().map(|(topic, partitions)| {
        OffsetFetchResponseTopics::default()
            .with_partitions(partitions.into_iter().map(of_partition).collect())
            .with_name(topic_name(&topic))
    });
    topics.collect()
}
