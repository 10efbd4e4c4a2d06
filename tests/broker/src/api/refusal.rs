//! A request answered with one error, in every place where its API has room for it.

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult};
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::describe_configs_response::DescribeConfigsResult;
use kafka_protocol::messages::describe_groups_response::DescribedGroup;
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use kafka_protocol::messages::metadata_response::MetadataResponseTopic;
use kafka_protocol::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponseTopic,
};
use kafka_protocol::messages::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsResponse, BrokerId, CreatePartitionsResponse, CreateTopicsResponse, DeleteRecordsResponse,
    DeleteTopicsResponse, DescribeConfigsResponse, DescribeGroupsResponse, FetchRequest, FetchResponse,
    FindCoordinatorRequest, FindCoordinatorResponse, HeartbeatResponse, InitProducerIdResponse, JoinGroupResponse,
    LeaveGroupResponse, ListGroupsResponse, ListOffsetsRequest, ListOffsetsResponse, MetadataRequest, MetadataResponse,
    OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse, OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse, ProduceRequest, ProduceResponse, ProducerId, SaslAuthenticateResponse,
    SaslHandshakeResponse, SyncGroupResponse,
};

use super::{text, topic_name};
use crate::wire::{Request, Response};

/// The error codes that stand at the top of a Fetch answer, not at its partitions.
const OF_FETCH_SESSIONS: [ResponseError; 3] = [
    ResponseError::FetchSessionIdNotFound,
    ResponseError::InvalidFetchSessionEpoch,
    ResponseError::FetchSessionTopicIdError,
];

/// The answer.
pub(crate) fn refuse(request: &Request, version: i16, error: ResponseError) -> Response {
    let code = error.code();
    match request {
        Request::Produce(request) => produce(request, code).into(),
        Request::Fetch(request) => fetch(request, version, error).into(),
        Request::ListOffsets(request) => list_offsets(request, code).into(),
        Request::Metadata(request) => metadata(request, code).into(),
        Request::OffsetCommit(request) => offset_commit(request, code).into(),
        Request::OffsetFetch(request) => offset_fetch(request, version, code).into(),
        Request::FindCoordinator(request) => find_coordinator(request, version, error).into(),
        Request::JoinGroup(request) => JoinGroupResponse::default()
            .with_error_code(code)
            .with_generation_id(-1)
            .with_member_id(request.member_id.clone())
            .with_protocol_name((version < 7).then(|| text("")))
            .into(),
        Request::Heartbeat(_) => HeartbeatResponse::default().with_error_code(code).into(),
        Request::LeaveGroup(_) => LeaveGroupResponse::default().with_error_code(code).into(),
        Request::SyncGroup(_) => SyncGroupResponse::default().with_error_code(code).into(),
        Request::DescribeGroups(request) => {
            let groups = request.groups.iter();
            let described = groups.map(|id| DescribedGroup::default().with_group_id(id.clone()).with_error_code(code));
            DescribeGroupsResponse::default().with_groups(described.collect()).into()
        }
        Request::ListGroups(_) => ListGroupsResponse::default().with_error_code(code).into(),
        Request::SaslHandshake(_) => SaslHandshakeResponse::default().with_error_code(code).into(),
        Request::SaslAuthenticate(_) => SaslAuthenticateResponse::default()
            .with_error_code(code)
            .with_error_message(Some(text(error.to_string())))
            .into(),
        Request::ApiVersions(_) => {
            let own = ApiVersion::default().with_api_key(ApiKey::ApiVersions as i16).with_max_version(4);
            ApiVersionsResponse::default().with_error_code(code).with_api_keys(vec![own]).into()
        }
        Request::InitProducerId(_) => {
            InitProducerIdResponse::default().with_error_code(code).with_producer_id(ProducerId(-1)).into()
        }
        Request::OffsetForLeaderEpoch(request) => offset_for_leader_epoch(request, code).into(),
        Request::DescribeConfigs(request) => {
            let results = request.resources.iter().map(|asked| {
                DescribeConfigsResult::default()
                    .with_error_code(code)
                    .with_resource_type(asked.resource_type)
                    .with_resource_name(asked.resource_name.clone())
            });
            DescribeConfigsResponse::default().with_results(results.collect()).into()
        }
        Request::CreateTopics(_)
        | Request::DeleteTopics(_)
        | Request::DeleteRecords(_)
        | Request::CreatePartitions(_) => topic_changes(request, code),
    }
}

fn produce(request: &ProduceRequest, code: i16) -> ProduceResponse {
    let topics = request.topic_data.iter().map(|topic| {
        let partitions = topic.partition_data.iter().map(|data| {
            let answer = PartitionProduceResponse::default().with_index(data.index);
            answer.with_error_code(code).with_base_offset(-1).with_log_append_time_ms(-1)
        });
        TopicProduceResponse::default()
            .with_partition_responses(partitions.collect())
            .with_name(topic.name.clone())
            .with_topic_id(topic.topic_id)
    });
    ProduceResponse::default().with_responses(topics.collect())
}

/// At the partitions named by the request; an incremental request that names none is refused at the top.
fn fetch(request: &FetchRequest, version: i16, error: ResponseError) -> FetchResponse {
    if version >= 7 && (OF_FETCH_SESSIONS.contains(&error) || request.topics.is_empty()) {
        return FetchResponse::default().with_error_code(error.code());
    }
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|asked| {
            PartitionData::default()
                .with_partition_index(asked.partition)
                .with_error_code(error.code())
                .with_high_watermark(-1)
                .with_records(Some(Bytes::new()))
        });
        FetchableTopicResponse::default()
            .with_topic(topic.topic.clone())
            .with_topic_id(topic.topic_id)
            .with_partitions(partitions.collect())
    });
    FetchResponse::default().with_responses(topics.collect()).with_session_id(if request.session_epoch > 0 {
        request.session_id
    } else {
        0
    })
}

fn list_offsets(request: &ListOffsetsRequest, code: i16) -> ListOffsetsResponse {
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|asked| {
            let answer = ListOffsetsPartitionResponse::default().with_partition_index(asked.partition_index);
            answer.with_error_code(code).with_offset(-1).with_timestamp(-1)
        });
        ListOffsetsTopicResponse::default().with_name(topic.name.clone()).with_partitions(partitions.collect())
    });
    ListOffsetsResponse::default().with_topics(topics.collect())
}

fn metadata(request: &MetadataRequest, code: i16) -> MetadataResponse {
    let topics = request.topics.iter().flatten().map(|asked| {
        let name = asked.name.clone().unwrap_or_else(|| topic_name(""));
        MetadataResponseTopic::default().with_name(Some(name)).with_topic_id(asked.topic_id).with_error_code(code)
    });
    MetadataResponse::default().with_topics(topics.collect()).with_controller_id(BrokerId(-1))
}

fn offset_commit(request: &OffsetCommitRequest, code: i16) -> OffsetCommitResponse {
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|asked| {
            OffsetCommitResponsePartition::default().with_partition_index(asked.partition_index).with_error_code(code)
        });
        OffsetCommitResponseTopic::default().with_partitions(partitions.collect()).with_name(topic.name.clone())
    });
    OffsetCommitResponse::default().with_topics(topics.collect())
}

fn offset_fetch(request: &OffsetFetchRequest, version: i16, code: i16) -> OffsetFetchResponse {
    if version >= 8 {
        let groups = request.groups.iter().map(|group| {
            OffsetFetchResponseGroup::default().with_group_id(group.group_id.clone()).with_error_code(code)
        });
        return OffsetFetchResponse::default().with_groups(groups.collect());
    }
    if version >= 2 {
        return OffsetFetchResponse::default().with_error_code(code);
    }
    let topics = request.topics.iter().flatten().map(|topic| {
        let partitions = topic.partition_indexes.iter().map(|index| {
            let answer = OffsetFetchResponsePartition::default().with_partition_index(*index);
            answer.with_committed_offset(-1).with_error_code(code)
        });
        OffsetFetchResponseTopic::default().with_name(topic.name.clone()).with_partitions(partitions.collect())
    });
    OffsetFetchResponse::default().with_topics(topics.collect())
}

fn find_coordinator(request: &FindCoordinatorRequest, version: i16, error: ResponseError) -> FindCoordinatorResponse {
    if version < 4 {
        let answer = FindCoordinatorResponse::default().with_error_code(error.code());
        return answer.with_node_id(BrokerId(-1)).with_port(-1);
    }
    let coordinators = request.coordinator_keys.iter().map(|key| {
        let answer = Coordinator::default().with_key(key.clone()).with_node_id(BrokerId(-1)).with_port(-1);
        answer.with_error_code(error.code()).with_error_message(Some(text(error.to_string())))
    });
    FindCoordinatorResponse::default().with_coordinators(coordinators.collect())
}

fn offset_for_leader_epoch(request: &OffsetForLeaderEpochRequest, code: i16) -> OffsetForLeaderEpochResponse {
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|asked| {
            let answer = EpochEndOffset::default().with_partition(asked.partition).with_error_code(code);
            answer.with_leader_epoch(-1).with_end_offset(-1)
        });
        OffsetForLeaderTopicResult::default().with_topic(topic.topic.clone()).with_partitions(partitions.collect())
    });
    OffsetForLeaderEpochResponse::default().with_topics(topics.collect())
}

fn topic_changes(request: &Request, code: i16) -> Response {
    match request {
        Request::CreateTopics(request) => {
            let names = request.topics.iter().map(|topic| topic.name.clone());
            let results = names.map(|name| CreatableTopicResult::default().with_name(name).with_error_code(code));
            CreateTopicsResponse::default().with_topics(results.collect()).into()
        }
        Request::DeleteTopics(request) => {
            let named = request.topics.iter().map(|topic| topic.name.clone());
            let names = named.chain(request.topic_names.iter().cloned().map(Some));
            let results = names.map(|name| DeletableTopicResult::default().with_name(name).with_error_code(code));
            DeleteTopicsResponse::default().with_responses(results.collect()).into()
        }
        Request::DeleteRecords(request) => {
            let topics = request.topics.iter().map(|topic| {
                let partitions = topic.partitions.iter().map(|asked| {
                    let answer = DeleteRecordsPartitionResult::default().with_partition_index(asked.partition_index);
                    answer.with_low_watermark(-1).with_error_code(code)
                });
                DeleteRecordsTopicResult::default().with_name(topic.name.clone()).with_partitions(partitions.collect())
            });
            DeleteRecordsResponse::default().with_topics(topics.collect()).into()
        }
        Request::CreatePartitions(request) => {
            let names = request.topics.iter().map(|topic| topic.name.clone());
            let results =
                names.map(|name| CreatePartitionsTopicResult::default().with_name(name).with_error_code(code));
            CreatePartitionsResponse::default().with_results(results.collect()).into()
        }
        _ => HeartbeatResponse::default().with_error_code(code).into(),
    }
}
