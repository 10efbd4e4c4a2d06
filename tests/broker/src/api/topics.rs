//! CreateTopics, DeleteTopics, CreatePartitions, DeleteRecords: enough for tools and for setting up a test over the wire.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::delete_records_request::DeleteRecordsPartition;
use kafka_protocol::messages::delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult};
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse, DeleteRecordsRequest,
    DeleteRecordsResponse, DeleteTopicsRequest, DeleteTopicsResponse,
};
use uuid::Uuid;

use super::{Call, code, topic_name};
use crate::state::State;
use crate::topic::Partition;

pub(crate) fn create(call: &Call<'_>, request: &CreateTopicsRequest) -> CreateTopicsResponse {
    let mut state = call.shared.lock();
    let results = request.topics.iter().map(|topic| {
        let created = create_one(&mut state, topic, request.validate_only);
        let answer = CreatableTopicResult::default().with_name(topic.name.clone());
        match created {
            Err(error) => answer.with_error_code(error.code()),
            Ok(id) if call.version >= 7 => answer.with_topic_id(id),
            Ok(_) => answer,
        }
    });
    CreateTopicsResponse::default().with_topics(results.collect())
}

fn create_one(state: &mut State, topic: &CreatableTopic, validate_only: bool) -> Result<Uuid, ResponseError> {
    if state.topics.contains_key(topic.name.as_str()) {
        return Err(ResponseError::TopicAlreadyExists);
    }
    let partitions = if topic.num_partitions == -1 { 1 } else { topic.num_partitions };
    let partitions = usize::try_from(partitions).map_err(|_| ResponseError::InvalidPartitions)?;
    let replication = usize::try_from(topic.replication_factor).unwrap_or(state.replication);
    if validate_only {
        return Ok(Uuid::nil());
    }
    let id = state.create_topic(&topic.name, partitions, replication);
    // Of a topic's settings, only whose clock its records go by makes a difference here; the others are told when asked for.
    let by_append_time = topic.configs.iter().any(|config| {
        config.name.as_str() == "message.timestamp.type" && config.value.as_deref() == Some("LogAppendTime")
    });
    if let Some(created) = state.topics.get_mut(topic.name.as_str()) {
        created.log_append_time = by_append_time;
        let value = |given: &CreatableTopicConfig| given.value.as_deref().unwrap_or_default().to_owned();
        created.settings = topic.configs.iter().map(|given| (given.name.to_string(), value(given))).collect();
    }
    Ok(id)
}

pub(crate) fn delete(call: &Call<'_>, request: &DeleteTopicsRequest) -> DeleteTopicsResponse {
    let mut state = call.shared.lock();
    let by_name = request.topic_names.iter().map(|name| (Some(name.to_string()), Uuid::nil()));
    let named = request.topics.iter().map(|topic| (topic.name.as_ref().map(|name| name.to_string()), topic.topic_id));
    let asked: Vec<_> = by_name.chain(named).collect();
    let responses = asked.into_iter().map(|(name, id)| {
        let name = name.or_else(|| state.topic_name(id).map(str::to_owned));
        let gone = name.as_ref().and_then(|name| state.topics.remove(name));
        let error = gone.is_none().then_some(ResponseError::UnknownTopicOrPartition);
        DeletableTopicResult::default().with_name(name.as_deref().map(topic_name)).with_error_code(code(error))
    });
    let responses = responses.collect();
    drop(state);
    call.shared.logs_changed();
    DeleteTopicsResponse::default().with_responses(responses)
}

pub(crate) fn create_partitions(call: &Call<'_>, request: &CreatePartitionsRequest) -> CreatePartitionsResponse {
    let mut state = call.shared.lock();
    let results = request.topics.iter().map(|topic| {
        let wanted = usize::try_from(topic.count).unwrap_or(0);
        let error = state.add_partitions(&topic.name, wanted).err();
        CreatePartitionsTopicResult::default().with_name(topic.name.clone()).with_error_code(code(error))
    });
    CreatePartitionsResponse::default().with_results(results.collect())
}

pub(crate) fn delete_records(call: &Call<'_>, request: &DeleteRecordsRequest) -> DeleteRecordsResponse {
    let mut state = call.shared.lock();
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|asked| delete_before(&mut state, call.node, &topic.name, asked));
        DeleteRecordsTopicResult::default().with_name(topic.name.clone()).with_partitions(partitions.collect())
    });
    DeleteRecordsResponse::default().with_topics(topics.collect())
}

fn delete_before(
    state: &mut State,
    node: i32,
    topic: &str,
    asked: &DeleteRecordsPartition,
) -> DeleteRecordsPartitionResult {
    let answer = DeleteRecordsPartitionResult::default().with_partition_index(asked.partition_index);
    let partition = state.topics.get_mut(topic).and_then(|topic| topic.partition_mut(asked.partition_index));
    match partition.ok_or(ResponseError::UnknownTopicOrPartition).and_then(|found| delete_in(found, node, asked.offset))
    {
        Ok(low_watermark) => answer.with_low_watermark(low_watermark),
        Err(error) => answer.with_low_watermark(-1).with_error_code(error.code()),
    }
}

fn delete_in(partition: &mut Partition, node: i32, before: i64) -> Result<i64, ResponseError> {
    super::check_epoch_and_leader(partition, node, -1)?;
    let end = partition.log.high_watermark();
    let before = if before == -1 { end } else { before };
    if before > end {
        return Err(ResponseError::OffsetOutOfRange);
    }
    partition.log.delete_before(before);
    Ok(partition.log.start())
}
