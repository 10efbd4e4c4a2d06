//! Produce: appends at the leader, recognises repetitions of an idempotent producer; no answer with acks 0.

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::produce_request::TopicProduceData;
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{ProduceRequest, ProduceResponse};

use super::Call;
use crate::batch::{now_ms, stamp_append_time};
use crate::state::State;

pub(crate) fn answer(call: &Call<'_>, request: &ProduceRequest) -> Option<ProduceResponse> {
    let responses = request.topic_data.iter().map(|topic| of_topic(call, topic)).collect();
    call.shared.logs_changed();
    (request.acks != 0).then(|| ProduceResponse::default().with_responses(responses))
}

fn of_topic(call: &Call<'_>, topic: &TopicProduceData) -> TopicProduceResponse {
    let mut state = call.shared.lock();
    let name = if call.version >= 13 {
        state.topic_name(topic.topic_id).map(str::to_owned).ok_or(ResponseError::UnknownTopicId)
    } else {
        Ok(topic.name.to_string())
    };
    let partitions = topic.partition_data.iter().map(|data| {
        let records = data.records.clone().unwrap_or_default();
        let appended = name.clone().and_then(|name| append(&mut state, call.node, &name, data.index, &records));
        let answer = PartitionProduceResponse::default().with_index(data.index).with_log_append_time_ms(-1);
        match appended {
            Err(error) => answer.with_error_code(error.code()).with_base_offset(-1),
            Ok((offset, stamped)) => {
                let answer = answer.with_base_offset(offset).with_log_append_time_ms(stamped.unwrap_or(-1));
                if call.version >= 5 { answer.with_log_start_offset(0) } else { answer }
            }
        }
    });
    TopicProduceResponse::default()
        .with_partition_responses(partitions.collect())
        .with_name(topic.name.clone())
        .with_topic_id(topic.topic_id)
}

/// Offset of the first record, and the broker's time where the topic is stamped with it.
fn append(
    state: &mut State,
    node: i32,
    name: &str,
    index: i32,
    records: &Bytes,
) -> Result<(i64, Option<i64>), ResponseError> {
    let topic = state.topics.get_mut(name).ok_or(ResponseError::UnknownTopicOrPartition)?;
    let stamped = topic.log_append_time.then(now_ms);
    let partition = topic.partition_mut(index).ok_or(ResponseError::UnknownTopicOrPartition)?;
    super::check_epoch_and_leader(partition, node, -1)?;
    let epoch = partition.leader_epoch;
    let offset = match stamped {
        // Each produce request holds one batch per partition, as Kafka demands from version 3 on.
        Some(now) => partition.log.append(&stamp_append_time(records, now), epoch),
        None => partition.log.append(records, epoch),
    };
    let offset = offset.map_err(crate::log::AppendError::code)?;
    // A repetition is answered with the time of the append that it repeats.
    Ok((offset, stamped.and_then(|_| partition.log.timestamp_at(offset))))
}
