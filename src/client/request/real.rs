//! Holds our answers against what a real broker sent: `tests/golden/answers`, whose provenance stands beside them. Tests
//! only.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use kafka_proto::compression::Decompressor;
use kafka_proto::error_code::ErrorCode;
use kafka_proto::id::{BrokerId, Offset, TopicPartition};
use kafka_proto::record::Batches;

use crate::client::request::api_versions::ApiVersions;
use crate::client::request::create_topics::CreateTopic;
use crate::client::request::fetch::Fetch;
use crate::client::request::find_coordinator::FindCoordinator;
use crate::client::request::heartbeat::Heartbeat;
use crate::client::request::init_producer_id::InitProducerId;
use crate::client::request::join_group::JoinGroup;
use crate::client::request::leave_group::LeaveGroup;
use crate::client::request::list_offsets::ListOffsets;
use crate::client::request::metadata::GetMetadata;
use crate::client::request::offset_commit::OffsetCommit;
use crate::client::request::offset_fetch::OffsetFetch;
use crate::client::request::offset_for_leader_epoch::OffsetForLeaderEpoch;
use crate::client::request::produce::Produce;
use crate::client::request::sasl_authenticate::SaslAuthenticate;
use crate::client::request::sasl_handshake::SaslHandshake;
use crate::client::request::sync_group::SyncGroup;
use crate::client::request::{Exchange, Reader};

/// Reads every answer of `E` that was recorded, to the last byte, and hands each to `check` with its version. All of them
/// are answers without an error in versions that `E` speaks, unless a client of Kafka's own asked in a newer one.
fn every_answer<E: Exchange>(name: &str, check: impl Fn(i16, E::Response)) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/answers");
    let mut read = Vec::new();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let Some((_, version)) = stem.rsplit_once("-v").filter(|(api, _)| *api == name) else { continue };
        let version: i16 = version.parse().unwrap();
        if !(E::VERSIONS.min..=E::VERSIONS.max).contains(&version) {
            continue;
        }
        let bytes = Bytes::from(std::fs::read(&path).unwrap());
        let mut reader = Reader::new(bytes, version, version >= E::FIRST_FLEXIBLE);
        let answer = E::read(&mut reader).unwrap_or_else(|error| panic!("{stem}: {error}"));
        assert_eq!(reader.finish(), Ok(()), "{stem}");
        check(version, answer);
        read.push(version);
    }
    assert!(!read.is_empty(), "no answer of {name} was recorded in a version that is spoken here");
}

fn golden(partition: i32) -> TopicPartition {
    TopicPartition::new("golden", partition)
}

#[test]
fn the_broker_names_its_versions() {
    every_answer::<ApiVersions>("api-versions", |_, answer| {
        assert_eq!(answer.error, ErrorCode::None);
        let newest = |code: i16| answer.ranges.get(&code).map(|range| range.max);
        assert_eq!((newest(1), newest(3), newest(11)), (Some(18), Some(13), Some(9)));
        assert!(answer.ranges.len() > 50, "{:?}", answer.ranges);
    });
}

#[test]
fn the_broker_names_itself_and_the_partitions() {
    every_answer::<GetMetadata>("metadata", |_, answer| {
        assert_eq!(answer.error, ErrorCode::None);
        let ids: Vec<BrokerId> = answer.brokers.iter().map(|broker| broker.id).collect();
        assert_eq!((ids, answer.controller), (vec![BrokerId(1)], Some(BrokerId(1))));
        for topic in answer.topics.iter().filter(|topic| &*topic.name == "golden") {
            assert!(!topic.id.is_zero());
            assert_eq!(topic.partitions.len(), 2);
            for partition in &topic.partitions {
                assert_eq!((partition.error, partition.leader), (ErrorCode::None, Some(BrokerId(1))));
                assert_eq!((partition.leader_epoch.get(), &partition.in_sync[..]), (0, &[BrokerId(1)][..]));
            }
        }
    });
}

#[test]
fn the_coordinator_is_the_broker() {
    every_answer::<FindCoordinator>("find-coordinator", |_, answer| {
        assert_eq!((answer.error, answer.coordinator.id), (ErrorCode::None, BrokerId(1)));
        assert_eq!(&*answer.coordinator.host, "127.0.0.1");
    });
}

#[test]
fn the_one_member_leads_and_is_given_everything() {
    every_answer::<JoinGroup>("join-group", |_, answer| {
        assert_eq!(answer.error, ErrorCode::None);
        assert_eq!(answer.protocol_name.as_deref(), Some("range"));
        assert_eq!(answer.leader, answer.member_id);
        let members: Vec<&String> = answer.members.iter().map(|member| &member.member_id).collect();
        assert_eq!(members, [&answer.member_id]);
        let said = kafka_proto::assignor::protocol::Subscription::decode(&answer.members[0].metadata).unwrap();
        assert_eq!(said.topics, [Arc::from("golden")]);
    });
    every_answer::<SyncGroup>("sync-group", |_, answer| {
        assert_eq!(answer.error, ErrorCode::None);
        let assigned = kafka_proto::assignor::protocol::decode_assignment(&answer.assignment).unwrap();
        assert_eq!(assigned, [golden(0), golden(1)]);
    });
}

#[test]
fn heartbeats_and_farewells_are_answered_without_an_error() {
    every_answer::<Heartbeat>("heartbeat", |_, answer| assert_eq!(answer.error, ErrorCode::None));
    every_answer::<LeaveGroup>("leave-group", |_, answer| assert_eq!(answer.error, ErrorCode::None));
}

#[test]
fn offsets_are_committed_and_asked_for() {
    every_answer::<OffsetCommit>("offset-commit", |_, answer| {
        assert!(!answer.partitions.is_empty());
        assert!(answer.partitions.iter().all(|(_, error)| *error == ErrorCode::None), "{answer:?}");
    });
    every_answer::<OffsetFetch>("offset-fetch", |_, answer| {
        assert_eq!((answer.error, answer.partitions.len()), (ErrorCode::None, 2), "{answer:?}");
    });
    every_answer::<ListOffsets>("list-offsets", |_, answer| {
        assert!(answer.partitions.iter().all(|listed| listed.error == ErrorCode::None), "{answer:?}");
    });
    every_answer::<OffsetForLeaderEpoch>("offset-for-leader-epoch", |_, answer| {
        let end = answer.partitions.first().unwrap();
        assert_eq!((&end.partition, end.error), (&golden(0), ErrorCode::None));
        assert_eq!(end.leader_epoch.get(), 0);
    });
}

#[test]
fn fetched_records_are_those_of_the_console_producer() {
    every_answer::<Fetch>("fetch", |version, answer| {
        assert_eq!(answer.error, ErrorCode::None);
        let mut values = BTreeMap::new();
        for partition in &answer.partitions {
            assert_eq!(partition.error, ErrorCode::None);
            assert_eq!(partition.high_watermark, partition.last_stable_offset);
            let mut decompressor = Decompressor::new(1 << 20);
            for batch in Batches::new(partition.records.clone()) {
                let batch = batch.unwrap().open(&mut decompressor).unwrap();
                for record in batch.records().map(Result::unwrap) {
                    let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap().to_vec()).unwrap();
                    values.insert(text(record.key), text(record.value));
                }
            }
            assert!(partition.log_start_offset == Offset(0), "v{version}: {partition:?}");
        }
        assert!(!values.is_empty(), "v{version}");
        for (key, value) in values {
            assert_eq!(value, format!("value {}", key.trim_start_matches("key")));
        }
    });
}

#[test]
fn a_topic_is_created_and_records_are_appended_under_an_id() {
    every_answer::<CreateTopic>("create-topics", |_, answer| {
        let created = answer.unwrap();
        assert_eq!((created.error, created.message), (ErrorCode::None, None));
    });
    every_answer::<InitProducerId>("init-producer-id", |_, answer| {
        assert_eq!((answer.error, answer.producer_epoch), (ErrorCode::None, 0));
        assert!(answer.producer_id >= 0, "{answer:?}");
    });
    every_answer::<Produce>("produce", |_, answer| {
        let appended = answer.unwrap();
        assert_eq!((appended.error, appended.base_offset), (ErrorCode::None, Offset(0)));
        assert_eq!((appended.log_append_time_ms, appended.current_leader), (None, None));
    });
}

#[test]
fn logging_in_is_answered_with_mechanisms_and_a_signature() {
    every_answer::<SaslHandshake>("sasl-handshake", |_, answer| {
        assert_eq!(answer.error, ErrorCode::None);
        assert!(answer.mechanisms.iter().any(|name| name == "SCRAM-SHA-512"), "{:?}", answer.mechanisms);
    });
    every_answer::<SaslAuthenticate>("sasl-authenticate", |_, answer| {
        assert_eq!((answer.error, answer.session_lifetime), (ErrorCode::None, None));
        assert!(answer.token.starts_with(b"r=") || answer.token.starts_with(b"v="), "{:?}", answer.token);
    });
}
