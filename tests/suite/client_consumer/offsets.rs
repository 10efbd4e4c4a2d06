//! Committed offsets and resets.

use std::time::Duration;

use kafka_broker_double::{ApiKey, Cluster, ResponseError};
use kafka_consumer::client::{AutoOffsetReset, Commit, DropCause, FetchState, LeaderEpoch, Offset, ParkCause};

use super::{Reader, builder, numbers, texts};

fn committed_at_five() -> Cluster {
    let cluster = Cluster::builder().topic("t", 1).start();
    cluster.produce("t", 0, numbers(0, 10));
    cluster.commit("g", "t", 0, 5, 0);
    cluster
}

#[tokio::test]
async fn reading_goes_on_at_the_committed_offset() {
    let cluster = committed_at_five();
    let mut reader = Reader::of(&cluster);
    reader.until_read(5).await;
    assert_eq!(reader.values[&0], texts(5, 5));
    assert!(!reader.has_event(&["OffsetReset"]), "{:?}", reader.events);
    reader.close().await;
}

#[tokio::test]
async fn g11_g12_g13_errors_of_offset_fetch_are_never_taken_for_no_offset() {
    let errors = [
        ResponseError::CoordinatorLoadInProgress,
        ResponseError::UnstableOffsetCommit,
        ResponseError::NotCoordinator,
        ResponseError::UnknownTopicOrPartition,
    ];
    for error in errors {
        let cluster = committed_at_five();
        let fault = cluster.on(ApiKey::OffsetFetch).times(2).error(error);
        let mut reader = Reader::of(&cluster);
        reader.until_read(5).await;
        assert_eq!((fault.hits(), &reader.values[&0]), (2, &texts(5, 5)), "{error:?}");
        assert!(!reader.has_event(&["OffsetReset"]), "{error:?}: {:?}", reader.events);
        reader.close().await;
    }
}

#[tokio::test]
async fn g13_an_unstable_commit_is_waited_for() {
    let cluster = committed_at_five();
    cluster.unstable_commit("g", "t", 0, true);
    let mut reader = Reader::of(&cluster);
    reader.until("it was asked three times", |_| cluster.request_count(ApiKey::OffsetFetch) >= 3).await;
    assert_eq!(reader.count(), 0);
    cluster.unstable_commit("g", "t", 0, false);
    reader.until_read(5).await;
    assert_eq!(reader.values[&0], texts(5, 5));
    reader.close().await;
}

#[tokio::test]
async fn without_a_commit_latest_skips_what_was_there_and_says_so() {
    let cluster = Cluster::builder().topic("t", 1).start();
    cluster.produce("t", 0, numbers(0, 10));
    let mut reader = Reader::from(builder(&cluster).auto_offset_reset(AutoOffsetReset::Latest));
    reader.until_event(&["OffsetReset", "from: None, to: Offset(10)", "NoCommittedOffset"]).await;
    cluster.produce("t", 0, numbers(10, 3));
    reader.until_read(3).await;
    assert_eq!(reader.values[&0], texts(10, 3));
    reader.close().await;
}

#[tokio::test]
async fn o16_an_expired_commit_is_a_reset_event() {
    let cluster = committed_at_five();
    cluster.forget_commits("g");
    let mut reader = Reader::of(&cluster);
    reader.until_event(&["OffsetReset", "to: Offset(0)", "NoCommittedOffset"]).await;
    reader.close().await;
}

#[tokio::test]
async fn without_a_reset_policy_the_partition_is_parked_by_name() {
    let cluster = Cluster::builder().topic("t", 1).start();
    let mut reader = Reader::from(builder(&cluster).auto_offset_reset(AutoOffsetReset::None));
    let parked = FetchState::Parked(ParkCause::NoResetPolicy { from: None });
    reader
        .until("the partition is parked", |reader| {
            reader.handle.snapshot().partitions.first().is_some_and(|partition| partition.state == parked)
        })
        .await;
    reader.close().await;
}

#[tokio::test]
async fn g19_a_partition_added_later_is_read_from_its_start_even_with_latest() {
    let cluster = Cluster::builder().topic("t", 1).start();
    let config = builder(&cluster).auto_offset_reset(AutoOffsetReset::Latest);
    let mut reader =
        Reader::from(config.configure(|config| config.client.metadata_max_age = Duration::from_millis(200)));
    reader.until_event(&["OffsetReset"]).await;
    cluster.add_partitions("t", 2);
    cluster.produce("t", 1, numbers(0, 5));
    reader.until_read(5).await;
    assert!(reader.has_event(&["OffsetReset", "NewPartition"]), "{:?}", reader.events);
    reader.close().await;
}

#[tokio::test]
async fn g11_a_commit_is_tried_again_until_the_coordinator_takes_it() {
    for error in
        [ResponseError::CoordinatorLoadInProgress, ResponseError::NotCoordinator, ResponseError::RequestTimedOut]
    {
        let cluster = committed_at_five();
        let mut reader = Reader::of(&cluster);
        reader.until_read(5).await;
        let fault = cluster.on(ApiKey::OffsetCommit).times(2).error(error);
        let report = reader.commit().await;
        assert_eq!((report.committed.len(), fault.hits()), (1, 2), "{error:?}");
        assert_eq!(cluster.committed("g", "t", 0), Some(10));
        reader.close().await;
    }
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_sent_again() {
    let cluster = committed_at_five();
    let mut reader = Reader::of(&cluster);
    reader.until_read(5).await;
    let fault = cluster.on(ApiKey::OffsetCommit).apply_then_disconnect();
    assert_eq!(reader.commit().await.committed.len(), 1);
    assert_eq!(fault.hits(), 1);
    reader.close().await;
}

#[tokio::test]
async fn o04_a_commit_carries_the_leader_epoch_of_the_batch() {
    let cluster = Cluster::builder().topic("t", 1).start();
    cluster.bump_leader_epoch("t", 0);
    cluster.produce("t", 0, numbers(0, 5));
    let mut reader = Reader::of(&cluster);
    reader.until_read(5).await;
    reader.commit().await;
    let epoch = cluster.leader("t", 0).1;
    assert_eq!(cluster.committed_offset("g", "t", 0).unwrap().leader_epoch, epoch);
    reader.close().await;
}

#[tokio::test]
async fn g16_offsets_never_go_back_under_one_assignment() {
    let cluster = committed_at_five();
    let mut reader = Reader::of(&cluster);
    reader.until_read(5).await;
    reader.commit().await;
    let mut older = Commit::new();
    older.add(&reader.owned[&0], Offset(7), LeaderEpoch(0));
    let report = reader.handle.commit(older).await.unwrap();
    assert_eq!(report.dropped[0].cause, DropCause::Behind { committed: Offset(10) });
    assert_eq!(cluster.committed("g", "t", 0), Some(10));
    reader.close().await;
}
