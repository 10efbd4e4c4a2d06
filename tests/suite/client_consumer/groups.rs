//! Assignments that come and go.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kafka_broker_double::{ApiKey, Cluster, Request, Response, ResponseError};
use kafka_consumer::client::{AssignorKind, CommitError, DropCause, FatalError, NotOwned};

use super::{PATIENCE, Reader, builder, numbers, texts};

#[tokio::test]
async fn two_members_share_the_partitions_and_the_one_that_stays_gets_all_back() {
    for assignor in [AssignorKind::Range, AssignorKind::CooperativeSticky] {
        let cluster = Cluster::builder().topic("t", 4).start();
        let config = || builder(&cluster).partition_assignment_strategy([assignor]);
        let mut first = Reader::from(config());
        first.until("all are assigned", |reader| reader.owned.len() == 4).await;
        let mut second = Reader::from(config());
        let joined = async {
            tokio::join!(
                first.until("two are left", |reader| reader.owned.len() == 2),
                second.until("two came", |reader| reader.owned.len() == 2)
            )
        };
        tokio::time::timeout(PATIENCE, joined).await.unwrap();
        second.close().await;
        first.until("all are back", |reader| reader.owned.len() == 4).await;
        first.close().await;
        assert!(cluster.group("g").is_none_or(|group| group.members.is_empty()));
    }
}

#[tokio::test]
async fn the_coordinator_is_told_why_a_member_joins_and_leaves() {
    let cluster = Cluster::builder().topic("t", 1).start();
    let mut reader = Reader::of(&cluster);
    reader.until("it is assigned", |reader| reader.owned.len() == 1).await;
    reader.close().await;
    let joins = cluster.requests(ApiKey::JoinGroup).into_iter().filter_map(|seen| match seen.request {
        Request::JoinGroup(join) => join.reason,
        _ => None,
    });
    let joins: Vec<_> = joins.map(|reason| reason.to_string()).collect();
    assert_eq!(joins, ["first join", "need to re-join with the given member-id"]);
    let leaves = cluster.requests(ApiKey::LeaveGroup).into_iter().flat_map(|seen| match seen.request {
        Request::LeaveGroup(leave) => leave.members,
        _ => Vec::new(),
    });
    let leaves: Vec<_> = leaves.filter_map(|member| member.reason).map(|reason| reason.to_string()).collect();
    assert_eq!(leaves, ["the consumer was closed"]);
}

/// A reader whose first heartbeat is minutes away.
fn without_heartbeats(cluster: &Cluster) -> Reader {
    Reader::from(builder(cluster).configure(|config| {
        config.session_timeout = Duration::from_mins(10);
        config.heartbeat_interval = Duration::from_mins(3);
    }))
}

#[tokio::test]
async fn two_connections_are_open_before_the_group_has_formed_and_the_first_record_needs_no_other() {
    let cluster = Cluster::builder().topic("t", 2).start();
    cluster.produce("t", 0, numbers(0, 5));
    let held_back = cluster.on(ApiKey::SyncGroup).times(1).delay(Duration::from_millis(500));
    let mut reader = without_heartbeats(&cluster);
    // The one on which the coordinator was found, and the group is joined now; and the one for fetches.
    cluster.wait_until("the sync is held back", PATIENCE, |_| held_back.hits() == 1).await;
    cluster.wait_until("two connections", PATIENCE, |cluster| cluster.connection_count(1) == 2).await;
    assert_eq!(cluster.request_count(ApiKey::OffsetFetch), 0, "nothing is assigned yet");
    reader.until_read(5).await;
    assert_eq!(reader.commit().await.committed.len(), 1);
    let dialled = cluster.dials(1).len();
    assert_eq!(dialled, 2, "not for offsets, nor for where to begin, nor for the commit");
    reader.close().await;
}

#[tokio::test]
async fn leaders_that_become_known_after_the_coordinator_are_connected_to_before_the_group_has_formed() {
    let cluster = Cluster::builder().topic("t", 2).start();
    cluster.on(ApiKey::SyncGroup).silence();
    let known = Arc::new(AtomicBool::new(false));
    let are_known = Arc::clone(&known);
    let metadata = cluster.on(ApiKey::Metadata).when(move |_| !are_known.load(Ordering::Relaxed));
    let _no_leaders = metadata.always().edit(|response| {
        if let Response::Metadata(metadata) = response {
            for topic in &mut metadata.topics {
                topic.error_code = ResponseError::LeaderNotAvailable.code();
                topic.partitions.clear();
            }
        }
    });
    let reader = without_heartbeats(&cluster);
    // The coordinator is found, so whoever looks but once at who leads has looked by the time of the second join.
    cluster.wait_until("both joins", PATIENCE, |cluster| cluster.request_count(ApiKey::JoinGroup) == 2).await;
    // One for the join, and another for the metadata, which is asked again.
    cluster.wait_until("two connections", PATIENCE, |cluster| cluster.connection_count(1) == 2).await;
    known.store(true, Ordering::Relaxed);
    cluster.wait_until("the fetch connection", PATIENCE, |cluster| cluster.connection_count(1) == 3).await;
    assert_eq!(cluster.request_count(ApiKey::Fetch), 0);
    drop(reader);
}

#[tokio::test]
async fn g07_revoked_partitions_commit_before_the_rebalance_goes_on() {
    let cluster = Cluster::builder().topic("t", 2).start();
    for partition in 0..2 {
        cluster.produce("t", partition, numbers(0, 5));
    }
    let mut first = Reader::of(&cluster);
    first.until_read(10).await;
    let mut second = Reader::of(&cluster);
    let ((), ()) = tokio::join!(
        first.until("one is left", |reader| reader.owned.len() == 1),
        second.until("one came", |reader| reader.owned.len() == 1)
    );
    for partition in 0..2 {
        assert_eq!(cluster.committed("g", "t", partition), Some(5));
    }
    second.for_a_while().await;
    assert_eq!(second.count(), 0, "nothing is read twice");
    first.close().await;
    second.close().await;
}

#[tokio::test]
async fn g05_offsets_read_under_an_earlier_assignment_are_reported_and_not_sent() {
    let cluster = Cluster::builder().topic("t", 2).start();
    for partition in 0..2 {
        cluster.produce("t", partition, numbers(0, 5));
    }
    let mut first = Reader::of(&cluster);
    first.commits_on_revocation = false;
    first.until_read(10).await;
    let stale = first.read.clone();
    let mut second = Reader::of(&cluster);
    let ((), ()) = tokio::join!(first.until("one is left", |reader| reader.owned.len() == 1), second.until_read(5));
    let report = first.handle.commit(stale).await.unwrap();
    assert_eq!(report.committed, [], "with an eager assignor both assignments are new");
    assert_eq!(report.dropped.len(), 2);
    assert!(report.dropped.iter().all(|dropped| dropped.cause == DropCause::NotOwned(NotOwned::Revoked)));
    first.close().await;
    second.close().await;
}

#[tokio::test]
async fn g01_a_slow_application_loses_its_partitions_and_gets_them_back_when_it_returns() {
    let cluster = Cluster::builder().topic("t", 1).start();
    cluster.produce("t", 0, numbers(0, 5));
    let mut reader = Reader::from(builder(&cluster).max_poll_interval(Duration::from_millis(700)));
    reader.until_read(5).await;
    let owner = reader.owned[&0].clone();
    cluster
        .wait_until("the member has left", PATIENCE, |cluster| {
            cluster.group("g").is_none_or(|group| group.members.is_empty())
        })
        .await;
    assert!(owner.check().is_err());
    let late = reader.handle.commit(reader.read.clone()).await.unwrap();
    assert_eq!(late.dropped.len(), 1);
    assert_eq!(cluster.committed("g", "t", 0), None);
    reader.until_event(&["Lost", "PollDeadlinePassed"]).await;
    reader.until_read(10).await;
    assert_eq!(reader.values[&0], [texts(0, 5), texts(0, 5)].concat(), "nothing was committed");
    reader.close().await;
}

#[tokio::test]
async fn g04_a_commit_by_a_member_that_is_not_one_any_more_rejoins_at_once() {
    let cluster = Cluster::builder().topic("t", 1).start();
    cluster.produce("t", 0, numbers(0, 5));
    let mut reader = Reader::of(&cluster);
    reader.until_read(5).await;
    cluster.on(ApiKey::OffsetCommit).error(ResponseError::UnknownMemberId);
    let refused = reader.handle.commit(std::mem::take(&mut reader.read)).await;
    assert_eq!(refused, Err(CommitError::Fenced { error: "UNKNOWN_MEMBER_ID" }));
    reader.until_event(&["Lost"]).await;
    reader.until("it is back", |reader| !reader.owned.is_empty()).await;
    reader.until_read(10).await;
    reader.close().await;
}

#[tokio::test]
async fn g14_a_fenced_static_member_stops_for_good() {
    let cluster = Cluster::builder().topic("t", 1).start();
    let mut reader = Reader::from(builder(&cluster).group_instance_id("one"));
    reader.until("it is assigned", |reader| !reader.owned.is_empty()).await;
    let owner = reader.owned[&0].clone();
    cluster.on(ApiKey::Heartbeat).always().error(ResponseError::FencedInstanceId);
    let fatal = tokio::time::timeout(PATIENCE, async {
        loop {
            if let Err(fatal) = reader.consumer.next().await {
                break fatal;
            }
        }
    });
    assert!(matches!(fatal.await.unwrap(), FatalError::Group(_)));
    assert!(owner.check().is_err());
    assert!(reader.consumer.next().await.is_err(), "it stays so");
}

#[tokio::test]
async fn g03_a_member_without_heartbeats_stops_acting_before_its_session_ends() {
    let cluster = Cluster::builder().topic("t", 1).start();
    cluster.produce("t", 0, numbers(0, 5));
    let mut reader = Reader::from(builder(&cluster).session_timeout(Duration::from_secs(2)));
    reader.until_read(5).await;
    let owner = reader.owned[&0].clone();
    cluster.on(ApiKey::Heartbeat).always().silence();
    let begin = std::time::Instant::now();
    reader.until("the right to act is gone", |_| owner.check().is_err()).await;
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    cluster.clear_faults();
    reader.until_event(&["Lost"]).await;
    reader.until("it is back", |reader| !reader.owned.is_empty()).await;
    reader.close().await;
}

#[tokio::test]
async fn g16_closing_with_a_dead_coordinator_ends_in_time() {
    let cluster = Cluster::builder().topic("t", 1).start();
    let mut reader = Reader::of(&cluster);
    reader.until("it is assigned", |reader| !reader.owned.is_empty()).await;
    cluster.stop_broker(1);
    let begin = std::time::Instant::now();
    let _ = reader.consumer.close(Duration::from_secs(2)).await;
    assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn g10_a_coordinator_that_moves_is_followed() {
    let cluster = Cluster::builder().brokers(3).topic("t", 1).start();
    cluster.produce("t", 0, numbers(0, 5));
    let mut reader = Reader::of(&cluster);
    reader.until_read(5).await;
    let now = cluster.coordinator("g").unwrap();
    cluster.move_coordinator("g", Some(now % 3 + 1));
    assert_eq!(reader.commit().await.committed.len(), 1);
    assert_eq!(cluster.committed("g", "t", 0), Some(5));
    reader.close().await;
}
