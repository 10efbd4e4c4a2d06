//! G: membership, commits and what they may not do to each other.

use std::time::Duration;

use kafka_broker_double::{ApiKey, Cluster, ResponseError};
use kafka_consumer::client::{AssignorKind, Offset};

use super::partition;
use crate::client_consumer::{PATIENCE, Reader, builder, numbers, texts};

/// A member that has read and committed five records of one partition.
async fn settled(cluster: &Cluster) -> Reader {
    cluster.produce("t", 0, numbers(0, 5));
    let mut reader = Reader::of(cluster);
    reader.until_read(5).await;
    assert_eq!(reader.commit().await.committed.len(), 1);
    reader
}

#[tokio::test]
async fn g04_a_commit_amid_a_cooperative_rebalance_waits_for_the_generation_that_comes() {
    let cluster = Cluster::builder().topic("t", 1).start();
    let cooperative = || builder(&cluster).partition_assignment_strategy([AssignorKind::CooperativeSticky]);
    cluster.produce("t", 0, numbers(0, 5));
    let mut reader = Reader::from(cooperative());
    reader.until_read(5).await;
    // The new generation has begun, and nobody has an assignment of it yet.
    let held_back = cluster.on(ApiKey::SyncGroup).times(2).delay(Duration::from_secs(1));
    let other = cooperative().build().expect("a valid configuration");
    reader.until("the new generation has begun", |_| held_back.hits() == 2).await;
    let report = reader.commit().await;
    assert_eq!((report.committed.len(), report.dropped.len(), report.rejected.len()), (1, 0, 0), "{report:?}");
    assert_eq!(cluster.committed("g", "t", 0), Some(5));
    let refused = cluster.request_count(ApiKey::OffsetCommit);
    assert!((2..=20).contains(&refused), "asked {refused} times");
    assert!(!reader.has_event(&["Lost"]) && !reader.has_event(&["Revoking"]), "{:?}", reader.events);
    other.close(Duration::from_secs(10)).await.expect("a clean end");
    reader.close().await;
}

#[tokio::test]
async fn g06_a_fetch_that_comes_back_after_a_reassignment_is_discarded() {
    let cluster = Cluster::builder().topic("t", 1).start();
    let mut reader = settled(&cluster).await;
    let before = reader.owned[&0].clone();
    let late = cluster.on(ApiKey::Fetch).delay_response(Duration::from_millis(700));
    reader.until("a fetch is under way", |_| late.hits() == 1).await;
    cluster.produce("t", 0, numbers(5, 5));
    cluster.forget_group("g");
    reader.until("it is assigned anew", |reader| reader.owned.get(&0).is_some_and(|now| *now != before)).await;
    assert_eq!(reader.count(), 5, "the answer is still on its way");
    reader.until_read(10).await;
    reader.for_a_while().await;
    assert_eq!(reader.values[&0], texts(0, 10), "nothing twice, nothing lost");
    assert!(reader.handle.snapshot().counters.stale_fetches >= 1);
    reader.close().await;
}

#[tokio::test]
async fn g10_a_coordinator_that_keeps_refusing_is_named_and_asked_slowly_and_records_still_flow() {
    let cluster = Cluster::builder().topic("t", 1).start();
    let mut reader = settled(&cluster).await;
    cluster.on(ApiKey::Heartbeat).always().error(ResponseError::NotCoordinator);
    cluster.on(ApiKey::FindCoordinator).always().error(ResponseError::CoordinatorNotAvailable);
    reader.until("the trouble is named", |reader| reader.handle.snapshot().group.last_error.is_some()).await;
    cluster.clear_requests();
    cluster.produce("t", 0, numbers(5, 5));
    reader.until_read(10).await;
    reader.for_a_while().await;
    let asked = cluster.request_count(ApiKey::FindCoordinator);
    assert!(asked <= 20, "{asked} in half a second");
    cluster.clear_faults();
    reader.until("it is settled", |reader| reader.handle.snapshot().group.last_error.is_none()).await;
    assert!(!reader.has_event(&["Lost"]), "{:?}", reader.events);
    reader.close().await;
}

#[tokio::test]
async fn g17_a_commit_that_was_refused_leaves_no_error_behind() {
    let cluster = Cluster::builder().topic("t", 1).start();
    cluster.produce("t", 0, numbers(0, 5));
    let mut reader = Reader::of(&cluster);
    reader.until_read(5).await;
    let read = reader.read.clone();
    let fault = cluster.on(ApiKey::OffsetCommit).error(ResponseError::OffsetMetadataTooLarge);
    let refused = reader.handle.commit(read.clone()).await;
    assert!(refused.as_ref().map_or(true, |report| report.committed.is_empty()), "{refused:?}");
    assert_eq!((fault.hits(), cluster.committed("g", "t", 0)), (1, None));
    let report = reader.handle.commit(read).await.expect("a commit");
    assert_eq!((report.committed.len(), cluster.committed("g", "t", 0)), (1, Some(5)));
    assert_eq!(reader.handle.snapshot().group.last_error, None);
    reader.close().await;
}

#[tokio::test]
async fn g17_an_error_in_place_of_records_never_moves_the_position() {
    let cluster = Cluster::builder().topic("t", 1).start();
    let mut reader = settled(&cluster).await;
    for error in [ResponseError::UnknownServerError, ResponseError::TopicAuthorizationFailed] {
        let fault = cluster.on(ApiKey::Fetch).times(2).error(error);
        reader.until("the fault was met", |_| fault.hits() == 2).await;
        assert_eq!(reader.position(0), Some(Offset(5)), "{error:?}");
    }
    cluster.produce("t", 0, numbers(5, 5));
    reader.until_read(10).await;
    assert_eq!(reader.values[&0], texts(0, 10));
    reader.close().await;
}

#[tokio::test]
async fn g20_a_partition_that_is_assigned_before_the_metadata_knows_it_is_read() {
    let cluster = Cluster::builder().topic("t", 1).start();
    let mut reader = settled(&cluster).await;
    cluster.add_partitions("t", 2);
    cluster.produce("t", 1, numbers(0, 5));
    // Joining again makes the leader look; the metadata itself is good for five minutes.
    cluster.forget_group("g");
    reader.until("both are assigned", |reader| reader.owned.len() == 2).await;
    reader.until_read(10).await;
    assert_eq!(reader.values[&1], texts(0, 5));
    reader.close().await;
}

#[tokio::test]
async fn g18_metadata_without_the_topic_for_a_moment_takes_no_partition_away() {
    let cluster = Cluster::builder().topic("t", 1).start();
    let config = builder(&cluster).configure(|config| config.client.metadata_max_age = Duration::from_millis(100));
    cluster.produce("t", 0, numbers(0, 5));
    let mut reader = Reader::from(config);
    reader.until_read(5).await;
    for error in [ResponseError::LeaderNotAvailable, ResponseError::UnknownTopicOrPartition] {
        cluster.metadata_error("t", Some(error));
        cluster.clear_requests();
        reader.until("it was seen twice", |_| cluster.request_count(ApiKey::Metadata) >= 2).await;
        cluster.produce("t", 0, numbers(5, 1));
        let wanted = reader.count() + 1;
        reader.until_read(wanted).await;
        cluster.metadata_error("t", None);
    }
    assert!(partition(&reader, 0).is_some() && !reader.has_event(&["Lost"]), "{:?}", reader.events);
    assert!(!reader.has_event(&["Revoking"]), "{:?}", reader.events);
    reader.close().await;
}

#[tokio::test]
async fn g16_a_join_that_was_given_up_never_becomes_a_second_member() {
    let cluster = Cluster::builder().topic("t", 1).start();
    let fault = cluster.on(ApiKey::JoinGroup).times(2).silence();
    let mut reader = Reader::from(builder(&cluster).configure(|config| {
        config.client.request_timeout = Duration::from_millis(300);
    }));
    reader.until("it is assigned", |reader| reader.owned.len() == 1).await;
    assert!(fault.hits() >= 1);
    cluster
        .wait_until("there is one member", PATIENCE, |cluster| {
            cluster.group("g").is_some_and(|group| group.members.len() == 1)
        })
        .await;
    reader.close().await;
}
