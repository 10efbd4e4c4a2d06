//! Planted faults, and nodes that stop, freeze and move.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use kafka_broker_double::{ApiKey, Cluster, Request, Response, ResponseError};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::{
    ApiVersionsRequest, CreatePartitionsRequest, CreateTopicsRequest, DeleteRecordsRequest, DeleteTopicsRequest,
    DescribeConfigsRequest, DescribeGroupsRequest, FetchRequest, FindCoordinatorRequest, GroupId, HeartbeatRequest,
    InitProducerIdRequest, JoinGroupRequest, LeaveGroupRequest, ListGroupsRequest, ListOffsetsRequest, MetadataRequest,
    MetadataResponse, OffsetCommitRequest, OffsetFetchRequest, OffsetForLeaderEpochRequest, ProduceRequest,
    SaslAuthenticateRequest, SyncGroupRequest, TopicName,
};
use kafka_protocol::protocol::{StrBytes, VersionRange};

use crate::raw::Raw;

fn metadata() -> MetadataRequest {
    let topic = MetadataRequestTopic::default().with_name(Some(TopicName(StrBytes::from_static_str("t"))));
    MetadataRequest::default().with_topics(Some(vec![topic]))
}

fn ask(raw: &mut Raw) -> std::io::Result<MetadataResponse> {
    raw.ask(12, &metadata())
}

fn commit(offset: i64) -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition::default().with_committed_offset(offset);
    let topic = OffsetCommitRequestTopic::default()
        .with_name(TopicName(StrBytes::from_static_str("t")))
        .with_partitions(vec![partition]);
    OffsetCommitRequest::default()
        .with_group_id(GroupId(StrBytes::from_static_str("g")))
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic])
}

#[test]
fn a_fault_takes_the_next_answers_of_its_api_and_broker_and_is_used_up() {
    let cluster = Cluster::builder().brokers(2).topic("t", 1).start();
    let fault = cluster.on(ApiKey::Metadata).at_broker(1).times(2).after(1).error(ResponseError::LeaderNotAvailable);
    let (mut one, mut two) = (Raw::connect(cluster.address(1)), Raw::connect(cluster.address(2)));
    let codes = |raw: &mut Raw, times: usize| -> Vec<i16> {
        (0..times).map(|_| ask(raw).unwrap().topics[0].error_code).collect()
    };
    assert_eq!(codes(&mut two, 2), [0, 0]);
    assert_eq!(codes(&mut one, 4), [0, 5, 5, 0]);
    assert_eq!(fault.hits(), 2);
    let always = cluster.on(ApiKey::Metadata).always().error(ResponseError::LeaderNotAvailable);
    assert_eq!(codes(&mut two, 2), [5, 5]);
    always.remove();
    assert_eq!(codes(&mut two, 1), [0]);
    let seen = cluster.requests(ApiKey::Metadata);
    assert_eq!((seen.len(), seen[0].version, seen[0].client_id.as_deref()), (9, 12, Some("raw")));
}

#[test]
fn an_applied_request_may_lose_its_answer() {
    let cluster = Cluster::builder().topic("t", 1).start();
    cluster.on(ApiKey::OffsetCommit).apply_then_disconnect();
    assert!(Raw::connect(cluster.address(1)).ask(8, &commit(7)).is_err());
    assert_eq!(cluster.committed("g", "t", 0), Some(7));
    cluster.on(ApiKey::OffsetCommit).disconnect();
    assert!(Raw::connect(cluster.address(1)).ask(8, &commit(8)).is_err());
    assert_eq!(cluster.committed("g", "t", 0), Some(7));
}

#[test]
fn frames_are_cut_corrupted_misnumbered_and_mismeasured() {
    let cluster = Cluster::builder().topic("t", 1).start();
    let broken = |cluster: &Cluster| ask(&mut Raw::connect(cluster.address(1))).unwrap_err();
    cluster.on(ApiKey::Metadata).truncate_frame();
    assert_eq!(broken(&cluster).kind(), ErrorKind::UnexpectedEof);
    cluster.on(ApiKey::Metadata).wrong_correlation();
    assert_eq!(broken(&cluster).to_string(), "another correlation id");
    cluster.on(ApiKey::Metadata).corrupt(|frame| frame.truncate(6));
    broken(&cluster);
    let longer = cluster.on(ApiKey::Metadata).frame_length(1 << 20);
    let mut raw = Raw::connect(cluster.address(1));
    raw.send(12, &metadata()).unwrap();
    while longer.hits() == 0 {
        std::thread::yield_now();
    }
    cluster.disconnect_all(1);
    assert!(raw.receive_frame().is_err());
    assert!(ask(&mut Raw::connect(cluster.address(1))).is_ok());
}

#[test]
fn answers_are_made_up_edited_delayed_and_throttled() {
    let cluster = Cluster::builder().topic("t", 1).start();
    let mut raw = Raw::connect(cluster.address(1));
    cluster.on(ApiKey::Metadata).respond_with(|request, version| {
        assert!(matches!(request, Request::Metadata(_)) && version == 12);
        Response::Metadata(MetadataResponse::default().with_cluster_id(Some(StrBytes::from_static_str("made up"))))
    });
    assert_eq!(ask(&mut raw).unwrap().cluster_id.unwrap().as_str(), "made up");
    cluster.on(ApiKey::Metadata).edit(|response| {
        if let Response::Metadata(metadata) = response {
            metadata.brokers.clear();
        }
    });
    assert!(ask(&mut raw).unwrap().brokers.is_empty());
    let delay = Duration::from_millis(80);
    cluster.on(ApiKey::Metadata).delay(delay);
    let begun = Instant::now();
    ask(&mut raw).unwrap();
    assert!(begun.elapsed() >= delay);
    cluster.throttle(ApiKey::Metadata, delay);
    let begun = Instant::now();
    assert_eq!(ask(&mut raw).unwrap().throttle_time_ms, 80);
    assert!(begun.elapsed() < delay);
    ask(&mut raw).unwrap();
    assert!(begun.elapsed() >= delay);
}

#[test]
fn a_stopped_broker_refuses_a_started_one_is_back_on_its_port_and_a_moved_one_is_elsewhere() {
    let cluster = Cluster::builder().brokers(2).topic("t", 2).start();
    let mut raw = Raw::connect(cluster.address(2));
    let address = cluster.address(1);
    cluster.stop_broker(1);
    assert!(TcpStream::connect(address).is_err());
    let response = ask(&mut raw).unwrap();
    assert_eq!(response.brokers.len(), 1);
    assert_eq!(response.topics[0].partitions[0].error_code, ResponseError::LeaderNotAvailable.code());
    cluster.fail_over(1);
    assert_eq!(cluster.leader("t", 0), (Some(2), 1));
    cluster.start_broker(1);
    assert!(ask(&mut Raw::connect(address)).is_ok());
    cluster.change_port(1);
    assert_ne!(cluster.address(1), address);
    cluster.add_broker(9);
    cluster.remove_broker(1);
    assert_eq!(cluster.brokers(), [2, 9]);
    assert!(ask(&mut Raw::connect(cluster.address(9))).is_ok());
}

#[test]
fn a_frozen_broker_accepts_and_is_silent_until_it_thaws() {
    let cluster = Cluster::builder().topic("t", 1).start();
    cluster.freeze_broker(1);
    let mut raw = Raw::connect(cluster.address(1));
    raw.send(12, &metadata()).unwrap();
    assert_eq!(cluster.request_count(ApiKey::Metadata), 0);
    cluster.thaw_broker(1);
    assert!(raw.receive::<MetadataRequest>(12).is_ok());
}

#[test]
fn a_broker_that_hangs_up_is_dialled_in_vain_and_counts_the_dials() {
    let cluster = Cluster::builder().topic("t", 1).start();
    cluster.hang_up(1, true);
    assert!(ask(&mut Raw::connect(cluster.address(1))).is_err());
    assert!(ask(&mut Raw::connect(cluster.address(1))).is_err());
    cluster.hang_up(1, false);
    assert!(ask(&mut Raw::connect(cluster.address(1))).is_ok());
    assert_eq!(cluster.dials(1).len(), 3);
}

/// Asks in every version offered, each answer being an error, and decodes it.
fn refused_in_every_version<R: kafka_protocol::protocol::Request + Default>(cluster: &Cluster) {
    let api = ApiKey::try_from(R::KEY).expect("a known key");
    let mut raw = Raw::connect(cluster.address(1));
    let offered = raw.ask(4, &ApiVersionsRequest::default()).expect("ranges");
    let range = offered.api_keys.iter().find(|range| range.api_key == R::KEY).expect("an API that is offered");
    let range = VersionRange { min: range.min_version, max: range.max_version };
    cluster.on(api).times(usize::MAX).error(ResponseError::UnknownServerError);
    for version in range.min..=range.max {
        raw.ask(version, &R::default()).unwrap_or_else(|cause| panic!("{api:?} v{version}: {cause}"));
    }
}

#[test]
fn every_api_can_be_refused_in_every_version() {
    let cluster = Cluster::builder().start();
    refused_in_every_version::<ProduceRequest>(&cluster);
    refused_in_every_version::<FetchRequest>(&cluster);
    refused_in_every_version::<ListOffsetsRequest>(&cluster);
    refused_in_every_version::<MetadataRequest>(&cluster);
    refused_in_every_version::<OffsetCommitRequest>(&cluster);
    refused_in_every_version::<OffsetFetchRequest>(&cluster);
    refused_in_every_version::<FindCoordinatorRequest>(&cluster);
    refused_in_every_version::<JoinGroupRequest>(&cluster);
    refused_in_every_version::<HeartbeatRequest>(&cluster);
    refused_in_every_version::<LeaveGroupRequest>(&cluster);
    refused_in_every_version::<SyncGroupRequest>(&cluster);
    refused_in_every_version::<DescribeGroupsRequest>(&cluster);
    refused_in_every_version::<ListGroupsRequest>(&cluster);
    refused_in_every_version::<SaslAuthenticateRequest>(&cluster);
    refused_in_every_version::<CreateTopicsRequest>(&cluster);
    refused_in_every_version::<DeleteTopicsRequest>(&cluster);
    refused_in_every_version::<DeleteRecordsRequest>(&cluster);
    refused_in_every_version::<InitProducerIdRequest>(&cluster);
    refused_in_every_version::<OffsetForLeaderEpochRequest>(&cluster);
    refused_in_every_version::<CreatePartitionsRequest>(&cluster);
    refused_in_every_version::<DescribeConfigsRequest>(&cluster);
}
