//! ApiVersions, Metadata, Produce, Fetch and its sessions, ListOffsets, epochs.

use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use kafka_broker_double::{ApiKey, Batch, Cluster, ResponseError};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, BrokerId, FetchRequest, FetchResponse, ListOffsetsRequest,
    MetadataRequest, OffsetForLeaderEpochRequest, ProduceRequest, TopicName,
};
use kafka_protocol::protocol::{Decodable, StrBytes};

use crate::raw::Raw;

fn name(topic: &'static str) -> TopicName {
    TopicName(StrBytes::from_static_str(topic))
}

fn fetch(topic: &'static str, asked: FetchPartition) -> FetchRequest {
    FetchRequest::default()
        .with_max_wait_ms(0)
        .with_min_bytes(1)
        .with_max_bytes(1 << 20)
        .with_isolation_level(1)
        .with_topics(vec![FetchTopic::default().with_topic(name(topic)).with_partitions(vec![asked])])
}

fn from(offset: i64) -> FetchPartition {
    FetchPartition::default().with_partition(0).with_fetch_offset(offset).with_partition_max_bytes(1 << 20)
}

fn only(response: &FetchResponse) -> &PartitionData {
    &response.responses[0].partitions[0]
}

#[test]
fn api_versions_name_every_api_and_a_version_too_new_is_answered_as_version_0() {
    let cluster = Cluster::builder().max_version(ApiKey::Fetch, 12).start();
    let mut raw = Raw::connect(cluster.address(1));
    let response = raw.ask(4, &ApiVersionsRequest::default()).unwrap();
    let fetch = response.api_keys.iter().find(|range| range.api_key == ApiKey::Fetch as i16).unwrap();
    assert_eq!((fetch.min_version, fetch.max_version), (4, 12));
    let mut frame = BytesMut::new();
    frame.put_slice(&[0, 18, 0, 99, 0, 0, 0, 9, 0xff, 0xff, 0]);
    raw.send_frame(&frame).unwrap();
    let mut answer = raw.receive_frame().unwrap().split_off(4);
    let response = ApiVersionsResponse::decode(&mut answer, 0).unwrap();
    assert_eq!(response.error_code, ResponseError::UnsupportedVersion.code());
}

#[test]
fn metadata_describes_brokers_and_topics_in_every_version() {
    let cluster = Cluster::builder().brokers(3).topic("t", 4).rack(2, "b").start();
    for version in 0..=13 {
        let mut raw = Raw::connect(cluster.address(1));
        let topics = ["t", "missing"].map(|topic| MetadataRequestTopic::default().with_name(Some(name(topic))));
        let response = raw.ask(version, &MetadataRequest::default().with_topics(Some(topics.to_vec()))).unwrap();
        assert_eq!(response.brokers.len(), 3, "version {version}");
        let leaders: Vec<i32> = response.topics[0].partitions.iter().map(|partition| partition.leader_id.0).collect();
        assert_eq!(leaders, [1, 2, 3, 1]);
        assert_eq!(response.topics[1].error_code, ResponseError::UnknownTopicOrPartition.code());
    }
}

#[test]
fn what_is_produced_is_fetched_in_every_version() {
    let cluster = Cluster::builder().topic("t", 1).start();
    let mut raw = Raw::connect(cluster.address(1));
    let id = raw.ask(12, &MetadataRequest::default().with_topics(None)).unwrap().topics[0].topic_id;
    for version in 3..=13 {
        let records = PartitionProduceData::default().with_records(Some(Batch::of(["x"]).encode()));
        let topic = TopicProduceData::default().with_partition_data(vec![records]);
        let topic = if version >= 13 { topic.with_topic_id(id) } else { topic.with_name(name("t")) };
        let response = raw.ask(version, &ProduceRequest::default().with_acks(-1).with_topic_data(vec![topic])).unwrap();
        assert_eq!(response.responses[0].partition_responses[0].base_offset, i64::from(version) - 3);
    }
    for version in 4..=18 {
        let mut request = fetch("t", from(0));
        if version >= 13 {
            request.topics[0].topic_id = id;
            request.topics[0].topic = TopicName::default();
        }
        let response = raw.ask(version, &request).unwrap();
        let data = only(&response);
        assert_eq!((data.error_code, data.high_watermark, data.last_stable_offset), (0, 11, 11), "version {version}");
        assert!(data.records.as_ref().unwrap().len() > 11 * 61);
    }
}

#[test]
fn a_long_poll_ends_with_new_records_and_otherwise_with_its_time() {
    let cluster = Cluster::builder().topic("t", 1).start();
    let mut raw = Raw::connect(cluster.address(1));
    let begun = Instant::now();
    let empty = raw.ask(11, &fetch("t", from(0)).with_max_wait_ms(100)).unwrap();
    assert!(only(&empty).records.as_ref().is_none_or(Bytes::is_empty));
    assert!(begun.elapsed() >= Duration::from_millis(100));
    raw.send(11, &fetch("t", from(0)).with_max_wait_ms(60_000)).unwrap();
    cluster.produce("t", 0, ["late"]);
    let response = raw.receive::<FetchRequest>(11).unwrap();
    assert!(!only(&response).records.as_ref().unwrap().is_empty());
}

#[test]
fn an_incremental_session_tells_only_news_and_its_epochs_are_checked() {
    let cluster = Cluster::builder().topic("t", 1).start();
    let mut raw = Raw::connect(cluster.address(1));
    let opened = raw.ask(12, &fetch("t", from(0)).with_session_epoch(0)).unwrap();
    assert_ne!(opened.session_id, 0);
    let next = |epoch| {
        FetchRequest::default()
            .with_min_bytes(1)
            .with_max_bytes(1 << 20)
            .with_session_id(opened.session_id)
            .with_session_epoch(epoch)
    };
    assert!(raw.ask(12, &next(1)).unwrap().responses.is_empty());
    cluster.produce("t", 0, ["news"]);
    assert_eq!(raw.ask(12, &next(2)).unwrap().responses.len(), 1);
    assert_eq!(raw.ask(12, &next(2)).unwrap().error_code, ResponseError::InvalidFetchSessionEpoch.code());
    cluster.expire_fetch_sessions(1);
    assert_eq!(raw.ask(12, &next(3)).unwrap().error_code, ResponseError::FetchSessionIdNotFound.code());
}

#[test]
fn an_aborted_transaction_is_listed_and_an_open_one_hides_what_follows() {
    let cluster = Cluster::builder().topic("t", 1).start();
    let mut aborted = cluster.begin_transaction();
    aborted.produce("t", 0, ["never"]);
    let producer_id = aborted.producer_id();
    aborted.abort();
    let mut open = cluster.begin_transaction();
    open.produce("t", 0, ["not yet"]);
    let mut raw = Raw::connect(cluster.address(1));
    let response = raw.ask(12, &fetch("t", from(0))).unwrap();
    let data = only(&response);
    assert_eq!((data.high_watermark, data.last_stable_offset), (3, 2));
    let listed = data.aborted_transactions.as_ref().unwrap();
    assert_eq!((listed.len(), listed[0].producer_id.0, listed[0].first_offset), (1, producer_id, 0));
    open.commit();
    assert_eq!(only(&raw.ask(12, &fetch("t", from(0))).unwrap()).last_stable_offset, 4);
}

#[test]
fn another_broker_than_the_leader_is_refused_and_a_hint_names_the_leader() {
    let cluster = Cluster::builder().brokers(2).topic("t", 1).start();
    cluster.move_leader("t", 0, 2);
    let mut raw = Raw::connect(cluster.address(1));
    assert_eq!(only(&raw.ask(12, &fetch("t", from(0))).unwrap()).error_code, ResponseError::NotLeaderOrFollower.code());
    let id = raw.ask(12, &MetadataRequest::default().with_topics(None)).unwrap().topics[0].topic_id;
    let mut by_id = fetch("t", from(0));
    by_id.topics[0].topic_id = id;
    by_id.topics[0].topic = TopicName::default();
    let response = raw.ask(16, &by_id).unwrap();
    assert_eq!(only(&response).current_leader.leader_id, BrokerId(2));
    assert_eq!(response.node_endpoints[0].port, i32::from(cluster.address(2).port()));
    let mut leader = Raw::connect(cluster.address(2));
    let stale = leader.ask(12, &fetch("t", from(0).with_current_leader_epoch(0))).unwrap();
    assert_eq!(only(&stale).error_code, ResponseError::FencedLeaderEpoch.code());
    let ahead = leader.ask(12, &fetch("t", from(0).with_current_leader_epoch(9))).unwrap();
    assert_eq!(only(&ahead).error_code, ResponseError::UnknownLeaderEpoch.code());
}

#[test]
fn a_truncated_log_diverges_in_fetch_and_in_offset_for_leader_epoch() {
    let cluster = Cluster::builder().topic("t", 1).start();
    for _ in 0..4 {
        cluster.produce("t", 0, ["x"]);
    }
    cluster.truncate("t", 0, 2);
    cluster.produce("t", 0, ["y"]);
    let mut raw = Raw::connect(cluster.address(1));
    let asked = from(4).with_current_leader_epoch(1).with_last_fetched_epoch(0);
    let response = raw.ask(12, &fetch("t", asked)).unwrap();
    let diverged = &only(&response).diverging_epoch;
    assert_eq!((diverged.epoch, diverged.end_offset), (0, 2));
    let partition = OffsetForLeaderPartition::default().with_current_leader_epoch(1).with_leader_epoch(0);
    let topic = OffsetForLeaderTopic::default().with_topic(name("t")).with_partitions(vec![partition]);
    for version in 2..=4 {
        let request = OffsetForLeaderEpochRequest::default().with_topics(vec![topic.clone()]);
        let request = if version >= 3 { request.with_replica_id(BrokerId(-1)) } else { request };
        let response = raw.ask(version, &request).unwrap();
        let end = &response.topics[0].partitions[0];
        assert_eq!((end.error_code, end.leader_epoch, end.end_offset), (0, 0, 2));
    }
}

#[test]
fn offsets_are_listed_in_every_version_and_out_of_range_is_an_error() {
    let cluster = Cluster::builder().topic("t", 1).start();
    cluster.produce("t", 0, ["a"]);
    cluster.produce("t", 0, ["b"]);
    cluster.delete_records("t", 0, 1);
    let mut raw = Raw::connect(cluster.address(1));
    for version in 1..=10 {
        for (timestamp, offset) in [(-1, 2), (-2, 1), (0, 1), (i64::MAX, -1)] {
            let partition = ListOffsetsPartition::default().with_timestamp(timestamp);
            let topic = ListOffsetsTopic::default().with_name(name("t")).with_partitions(vec![partition]);
            let request = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic]);
            let response = raw.ask(version, &request).unwrap();
            assert_eq!(response.topics[0].partitions[0].offset, offset, "version {version}, {timestamp}");
        }
    }
    for offset in [0, 3] {
        let response = raw.ask(12, &fetch("t", from(offset))).unwrap();
        assert_eq!(only(&response).error_code, ResponseError::OffsetOutOfRange.code());
    }
}
