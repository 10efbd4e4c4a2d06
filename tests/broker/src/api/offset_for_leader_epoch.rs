//! OffsetForLeaderEpoch (KIP-320): where an epoch ended, so that a client sees that its position was truncated.

use kafka_protocol::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use kafka_protocol::messages::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use kafka_protocol::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};

use super::{Call, led};
use crate::state::State;

pub(crate) fn answer(call: &Call<'_>, request: &OffsetForLeaderEpochRequest) -> OffsetForLeaderEpochResponse {
    let state = call.shared.lock();
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|asked| of_partition(call, &state, &topic.topic, asked));
        OffsetForLeaderTopicResult::default().with_topic(topic.topic.clone()).with_partitions(partitions.collect())
    });
    OffsetForLeaderEpochResponse::default().with_topics(topics.collect())
}

fn of_partition(call: &Call<'_>, state: &State, topic: &str, asked: &OffsetForLeaderPartition) -> EpochEndOffset {
    let answer = EpochEndOffset::default().with_partition(asked.partition).with_leader_epoch(-1).with_end_offset(-1);
    match led(state, call.node, topic, asked.partition, asked.current_leader_epoch) {
        Err(error) => answer.with_error_code(error.code()),
        Ok(partition) => match partition.log.end_of_epoch(asked.leader_epoch) {
            None => answer,
            Some((epoch, end)) => answer.with_leader_epoch(epoch).with_end_offset(end),
        },
    }
}
