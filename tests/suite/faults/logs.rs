//! O: positions, and answers of leaders and followers that are late, wrong or hostile.

use std::time::Duration;

use bytes::Bytes;
use kafka_broker_double::messages::BrokerId as WireBrokerId;
use kafka_broker_double::messages::fetch_response::PartitionData;
use kafka_broker_double::{ApiKey, Batch, Cluster, Request, Response, ResponseError};
use kafka_consumer::client::{ParkCause, TopicPartition};

use super::park_cause;
use crate::client_consumer::{Reader, builder, numbers, texts};

fn committed_at_five() -> Cluster {
    let cluster = Cluster::builder().topic("t", 1).start();
    cluster.produce("t", 0, numbers(0, 10));
    cluster.commit("g", "t", 0, 5, 0);
    cluster
}

/// Changes every partition of a fetch response.
fn each_partition(change: impl Fn(&mut PartitionData)) -> impl Fn(&mut Response) {
    move |response| {
        if let Response::Fetch(fetch) = response {
            fetch.responses.iter_mut().flat_map(|topic| &mut topic.partitions).for_each(&change);
        }
    }
}

#[tokio::test]
async fn g12_a_partition_left_out_of_the_answer_is_not_one_without_a_commit() {
    let cluster = committed_at_five();
    let fault = cluster.on(ApiKey::OffsetFetch).times(2).edit(|response| {
        if let Response::OffsetFetch(offsets) = response {
            offsets.topics.clear();
            offsets.groups.iter_mut().for_each(|group| group.topics.clear());
        }
    });
    let mut reader = Reader::of(&cluster);
    reader.until_read(5).await;
    assert_eq!((fault.hits(), &reader.values[&0]), (2, &texts(5, 5)));
    assert!(!reader.has_event(&["OffsetReset"]), "{:?}", reader.events);
    reader.close().await;
}

#[tokio::test]
async fn o03_a_validation_that_fails_is_repeated_and_resets_nothing() {
    let cluster = committed_at_five();
    let lost = cluster.on(ApiKey::OffsetForLeaderEpoch).times(2).disconnect();
    let refused =
        [ResponseError::FencedLeaderEpoch, ResponseError::UnknownLeaderEpoch, ResponseError::NotLeaderOrFollower]
            .map(|error| cluster.on(ApiKey::OffsetForLeaderEpoch).error(error));
    let mut reader = Reader::of(&cluster);
    reader.until_read(5).await;
    assert_eq!(reader.values[&0], texts(5, 5));
    assert!(lost.hits() == 2 && refused.iter().all(|fault| fault.hits() == 1));
    assert!(!reader.has_event(&["OffsetReset"]) && !reader.has_event(&["Truncated"]), "{:?}", reader.events);
    reader.close().await;
}

#[tokio::test]
async fn o03_leaders_that_change_faster_than_they_are_asked_end_in_reading() {
    let cluster = Cluster::builder().brokers(2).topic("t", 1).start();
    cluster.produce("t", 0, numbers(0, 5));
    let mut reader = Reader::of(&cluster);
    reader.until_read(5).await;
    cluster.clear_requests();
    for _ in 0..10 {
        let leader = cluster.leader("t", 0).0.expect("a leader");
        cluster.move_leader("t", 0, 3 - leader);
        cluster.bump_leader_epoch("t", 0);
    }
    cluster.produce("t", 0, numbers(5, 5));
    reader.until_read(10).await;
    assert_eq!(reader.values[&0], texts(0, 10));
    let asked = cluster.request_count(ApiKey::OffsetForLeaderEpoch);
    assert!(asked <= 10, "{asked} questions");
    reader.close().await;
}

#[tokio::test]
async fn o07_a_batch_larger_than_the_fetch_size_comes_whole() {
    let cluster = Cluster::builder().topic("t", 1).start();
    cluster.append("t", 0, &Batch::of(["x".repeat(200_000)]));
    cluster.produce("t", 0, numbers(1, 1));
    let small = builder(&cluster).configure(|config| {
        config.max_partition_fetch_bytes = 1_000;
        config.fetch_max_bytes = 1_000;
    });
    let mut reader = Reader::from(small);
    reader.until_read(2).await;
    assert_eq!(reader.values[&0][0].len(), 200_000);
    reader.close().await;
}

#[tokio::test]
async fn o07_a_batch_beyond_every_bound_parks_its_partition_by_name_and_the_others_go_on() {
    let cluster = Cluster::builder().topic("t", 2).start();
    cluster.produce("t", 0, numbers(0, 3));
    cluster.append("t", 0, &Batch::of(["x".repeat(200_000)]));
    cluster.produce("t", 1, numbers(0, 3));
    let small = builder(&cluster).configure(|config| {
        config.client.receive_message_max_bytes = 100_000;
        config.max_partition_fetch_bytes = 10_000;
        config.fetch_max_bytes = 50_000;
    });
    let mut reader = Reader::from(small);
    reader.until_read(6).await;
    reader.until("the partition is parked", |reader| park_cause(reader, 0).is_some()).await;
    let cause = park_cause(&reader, 0);
    assert!(matches!(cause, Some(ParkCause::TooLarge { offset, .. }) if offset.get() == 3), "{cause:?}");
    cluster.produce("t", 1, numbers(3, 3));
    reader.until_read(9).await;
    assert_eq!(reader.values[&1], texts(0, 6));
    assert_eq!(park_cause(&reader, 1), None);
    reader.close().await;
}

#[tokio::test]
async fn o11_partitions_that_are_missing_doubled_or_foreign_in_an_answer_do_no_harm() {
    let cluster = Cluster::builder().topic("t", 2).start();
    let mut reader = Reader::of(&cluster);
    reader.until("both are assigned", |reader| reader.owned.len() == 2).await;
    let missing = cluster.on(ApiKey::Fetch).edit(|response| {
        if let Response::Fetch(fetch) = response {
            fetch.responses.iter_mut().for_each(|topic| topic.partitions.clear());
        }
    });
    let doubled = cluster.on(ApiKey::Fetch).times(6).edit(|response| {
        if let Response::Fetch(fetch) = response {
            for topic in &mut fetch.responses {
                let mut again = topic.partitions.clone();
                topic.partitions.append(&mut again);
                let foreign = topic.partitions.first().cloned().map(|one| one.with_partition_index(-7));
                topic.partitions.extend(foreign);
            }
        }
    });
    for round in 0..3 {
        for partition in 0..2 {
            cluster.produce("t", partition, numbers(round * 5, 5));
        }
        reader.until_read((round + 1) * 10).await;
    }
    reader.until("the faults were met", |_| missing.hits() == 1 && doubled.hits() == 6).await;
    for partition in 0..2 {
        assert_eq!(reader.values[&partition], texts(0, 15));
    }
    reader.close().await;
}

#[tokio::test]
async fn o11_offsets_below_zero_in_an_answer_are_unknown_and_move_nothing() {
    let cluster = Cluster::builder().topic("t", 1).start();
    cluster.produce("t", 0, numbers(0, 5));
    let fault = cluster.on(ApiKey::Fetch).times(4).edit(each_partition(|partition| {
        partition.high_watermark = i64::MIN;
        partition.last_stable_offset = -5;
        partition.log_start_offset = -9;
    }));
    let mut reader = Reader::of(&cluster);
    reader.until_read(5).await;
    reader.until("the fault was met", |_| fault.hits() == 4).await;
    cluster.produce("t", 0, numbers(5, 5));
    reader.until_read(10).await;
    assert_eq!(reader.values[&0], texts(0, 10));
    reader.close().await;
}

#[tokio::test]
async fn o11_lengths_that_lie_in_front_of_a_batch_cost_that_partition_and_no_memory() {
    for length in [-1, i32::MAX, 0] {
        let cluster = Cluster::builder().topic("t", 2).start();
        let hostile = move |partition: &mut PartitionData| {
            let records = partition.records.clone().unwrap_or_default();
            if partition.partition_index == 0 && records.len() > 12 {
                let mut bytes = records.to_vec();
                bytes[8..12].copy_from_slice(&i32::to_be_bytes(length));
                partition.records = Some(Bytes::from(bytes));
            }
        };
        cluster.on(ApiKey::Fetch).always().edit(each_partition(hostile));
        let mut reader = Reader::of(&cluster);
        reader.until("both are assigned", |reader| reader.owned.len() == 2).await;
        cluster.produce("t", 0, numbers(0, 5));
        cluster.produce("t", 1, numbers(0, 5));
        reader.until_read(5).await;
        reader.until("the partition is parked", |reader| park_cause(reader, 0).is_some()).await;
        cluster.produce("t", 1, numbers(5, 5));
        reader.until_read(10).await;
        assert_eq!(reader.values[&1], texts(0, 10), "{length}");
        assert!(reader.handle.snapshot().buffered_bytes < 1 << 20);
        reader.close().await;
    }
}

fn two_racks() -> Cluster {
    let cluster = Cluster::builder().brokers(2).replication(2).rack(1, "a").rack(2, "b").topic("t", 1).start();
    cluster.move_leader("t", 0, 1);
    cluster
}

/// Reads in rack b, where the leader is not.
fn near_two(cluster: &Cluster) -> Reader {
    Reader::from(builder(cluster).configure(|config| config.client_rack = Some("b".to_owned())))
}

fn fetches_at(cluster: &Cluster, broker: i32) -> usize {
    cluster.requests(ApiKey::Fetch).iter().filter(|seen| seen.broker == broker).count()
}

#[tokio::test]
async fn o13_a_replica_nearby_is_read_and_when_it_dies_the_leader_is() {
    let cluster = two_racks();
    cluster.produce("t", 0, numbers(0, 5));
    let mut reader = near_two(&cluster);
    reader.until_read(5).await;
    reader.until("the replica is read", |_| fetches_at(&cluster, 2) > 1).await;
    cluster.produce("t", 0, numbers(5, 5));
    reader.until_read(10).await;
    if cluster.coordinator("g") == Some(2) {
        cluster.move_coordinator("g", Some(1));
    }
    cluster.stop_broker(2);
    cluster.produce("t", 0, numbers(10, 5));
    reader.until_read(15).await;
    assert_eq!(reader.values[&0], texts(0, 15));
    reader.close().await;
}

#[tokio::test]
async fn o13_a_replica_that_refuses_the_offset_is_no_reason_to_reset() {
    let cluster = two_racks();
    cluster.produce("t", 0, numbers(0, 5));
    let refused = cluster.on(ApiKey::Fetch).at_broker(2).times(1).error(ResponseError::OffsetOutOfRange);
    let mut reader = near_two(&cluster);
    reader.until_read(5).await;
    reader.until("the replica refused", |_| refused.hits() == 1).await;
    cluster.produce("t", 0, numbers(5, 5));
    reader.until_read(10).await;
    assert_eq!(reader.values[&0], texts(0, 10));
    assert!(!reader.has_event(&["BelowLogStart"]) && !reader.has_event(&["AboveLogEnd"]), "{:?}", reader.events);
    reader.close().await;
}

#[tokio::test]
async fn o13_a_leader_that_prefers_a_broker_nobody_knows_is_read_itself() {
    let cluster = two_racks();
    cluster.produce("t", 0, numbers(0, 5));
    let told = |request: &Request| matches!(request, Request::Fetch(fetch) if !fetch.rack_id.is_empty());
    let fault =
        cluster.on(ApiKey::Fetch).always().when(move |seen| told(&seen.request)).edit(each_partition(|partition| {
            partition.preferred_read_replica = WireBrokerId(99);
            partition.records = Some(Bytes::new());
        }));
    let mut reader = near_two(&cluster);
    reader.until_read(5).await;
    assert!(fault.hits() >= 1);
    assert_eq!(reader.values[&0], texts(0, 5));
    reader.close().await;
}

#[tokio::test]
async fn o15_a_pause_while_an_answer_is_on_its_way_keeps_it_for_later() {
    let cluster = Cluster::builder().topic("t", 1).start();
    cluster.produce("t", 0, numbers(0, 5));
    let mut reader = Reader::of(&cluster);
    reader.until_read(5).await;
    let late = cluster.on(ApiKey::Fetch).delay_response(Duration::from_millis(300));
    reader.until("a fetch is under way", |_| late.hits() == 1).await;
    cluster.produce("t", 0, numbers(5, 5));
    let paused = [TopicPartition::new("t", 0)];
    reader.handle.pause(&paused);
    reader.until("the answer is kept", |reader| reader.handle.snapshot().buffered_bytes > 0).await;
    let fetched = cluster.request_count(ApiKey::Fetch);
    reader.for_a_while().await;
    assert_eq!(
        (reader.count(), cluster.request_count(ApiKey::Fetch) - fetched),
        (5, 0),
        "a paused partition is not asked for"
    );
    reader.handle.resume(&paused);
    reader.until_read(10).await;
    assert_eq!(reader.values[&0], texts(0, 10));
    reader.close().await;
}
