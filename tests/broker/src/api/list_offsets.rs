//! ListOffsets: earliest, latest, newest time, and by time.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::list_offsets_request::ListOffsetsPartition;
use kafka_protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use kafka_protocol::messages::{ListOffsetsRequest, ListOffsetsResponse};

use super::{Call, led};
use crate::log::Isolation;
use crate::state::State;
use crate::topic::Partition;

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;

/// Offset, time and epoch; all -1 where there is no such record.
const NONE: (i64, i64, i32) = (-1, -1, -1);

pub(crate) fn answer(call: &Call<'_>, request: &ListOffsetsRequest) -> ListOffsetsResponse {
    let state = call.shared.lock();
    let isolation = Isolation::from(request.isolation_level);
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|asked| of_partition(call, &state, &topic.name, asked, isolation));
        ListOffsetsTopicResponse::default().with_name(topic.name.clone()).with_partitions(partitions.collect())
    });
    ListOffsetsResponse::default().with_topics(topics.collect())
}

fn of_partition(
    call: &Call<'_>,
    state: &State,
    topic: &str,
    asked: &ListOffsetsPartition,
    isolation: Isolation,
) -> ListOffsetsPartitionResponse {
    let answer = ListOffsetsPartitionResponse::default().with_partition_index(asked.partition_index);
    let found = led(state, call.node, topic, asked.partition_index, asked.current_leader_epoch)
        .and_then(|partition| look_up(partition, asked.timestamp, isolation));
    match found {
        Err(error) => answer.with_error_code(error.code()).with_offset(-1).with_timestamp(-1),
        Ok((offset, time, epoch)) => answer
            .with_offset(offset)
            .with_timestamp(time)
            .with_leader_epoch(if call.version >= 4 { epoch } else { -1 }),
    }
}

fn look_up(partition: &Partition, timestamp: i64, isolation: Isolation) -> Result<(i64, i64, i32), ResponseError> {
    let log = &partition.log;
    let until = log.readable_until(isolation);
    match timestamp {
        LATEST => Ok((until, -1, partition.leader_epoch)),
        EARLIEST | EARLIEST_LOCAL => Ok((log.start(), -1, log.epoch_of(log.start()))),
        MAX_TIMESTAMP => Ok(log.max_timestamp().unwrap_or(NONE)),
        unknown if unknown < 0 => Err(ResponseError::UnsupportedVersion),
        time => Ok(log.offset_for_time(time).filter(|(offset, ..)| *offset < until).unwrap_or(NONE)),
    }
}
