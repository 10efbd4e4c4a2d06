//! OffsetCommit: by members of a group under their generation, or by anybody while the group is empty.

use std::time::Instant;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use kafka_protocol::messages::{OffsetCommitRequest, OffsetCommitResponse};

use super::{Call, code};
use crate::group::{Claim, Group};
use crate::state::{CommittedOffset, State};

pub(crate) fn answer(call: &Call<'_>, request: &OffsetCommitRequest) -> OffsetCommitResponse {
    let mut state = call.shared.lock();
    let refused = check(&mut state, call.node, request).err();
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|asked| {
            let known =
                state.topics.get(topic.name.as_str()).is_some_and(|t| t.partition(asked.partition_index).is_some());
            let error = refused.or((!known).then_some(ResponseError::UnknownTopicOrPartition));
            if error.is_none() {
                let committed = CommittedOffset {
                    offset: asked.committed_offset,
                    leader_epoch: asked.committed_leader_epoch,
                    metadata: asked.committed_metadata.as_ref().map(ToString::to_string).unwrap_or_default(),
                };
                let of_group = state.committed.entry(request.group_id.to_string()).or_default();
                of_group.insert((topic.name.to_string(), asked.partition_index), committed);
            }
            OffsetCommitResponsePartition::default()
                .with_partition_index(asked.partition_index)
                .with_error_code(code(error))
        });
        OffsetCommitResponseTopic::default().with_partitions(partitions.collect()).with_name(topic.name.clone())
    });
    let topics = topics.collect();
    drop(state);
    call.shared.group_deadlines.notify_one();
    OffsetCommitResponse::default().with_topics(topics)
}

fn check(state: &mut State, node: i32, request: &OffsetCommitRequest) -> Result<(), ResponseError> {
    state.check_coordinator(node, &request.group_id)?;
    let generation = request.generation_id_or_member_epoch;
    match state.groups.get_mut(request.group_id.as_str()) {
        None if generation < 0 => Ok(()),
        None => Err(ResponseError::IllegalGeneration),
        Some(group) => check_member(group, generation, request),
    }
}

fn check_member(group: &mut Group, generation: i32, request: &OffsetCommitRequest) -> Result<(), ResponseError> {
    if generation < 0 && group.is_empty() {
        return Ok(());
    }
    let claim = Claim {
        member_id: &request.member_id,
        instance_id: request.group_instance_id.as_ref().map(kafka_protocol::protocol::StrBytes::as_str),
        generation,
    };
    group.check_commit(&claim, Instant::now())
}
