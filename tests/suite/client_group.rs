//! The group thread against the broker double: what must go on while something else stands still.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use kafka_broker_double::{ApiKey, Cluster, GroupState, Response};
use kafka_consumer::client::{
    AssignorKind, AutoOffsetReset, Commit, Consumer, ConsumerBuilder, ConsumerHandle, Event, FatalError, Records,
};

const PATIENCE: Duration = Duration::from_secs(20);

fn builder(cluster: &Cluster, client_id: &str) -> ConsumerBuilder {
    Consumer::builder()
        .bootstrap_servers(cluster.bootstrap().split(','))
        .client_id(client_id)
        .group_id("g")
        .topics(["t"])
        .partition_assignment_strategy([AssignorKind::CooperativeSticky])
        .auto_offset_reset(AutoOffsetReset::Earliest)
        .session_timeout(Duration::from_secs(2))
        .configure(|config| {
            config.heartbeat_interval = Duration::from_millis(100);
            config.fetch_max_wait = Duration::from_millis(100);
            config.client.retry_backoff = Duration::from_millis(20);
            config.client.retry_backoff_max = Duration::from_millis(200);
        })
}

/// A consumer that is polled by a task of its own; the test sees what it holds.
struct Member {
    handle: ConsumerHandle,
    stop: tokio::sync::oneshot::Sender<()>,
    task: tokio::task::JoinHandle<Consumer>,
    lost: mpsc::Receiver<String>,
    records: mpsc::Receiver<Records>,
}

impl Member {
    fn start(builder: ConsumerBuilder) -> Self {
        let mut consumer = builder.build().expect("a valid configuration");
        let handle = consumer.handle();
        let (stop, mut stopped) = tokio::sync::oneshot::channel();
        let ((losses, lost), (read, records)) = (mpsc::channel(), mpsc::channel());
        let task = tokio::spawn(async move {
            loop {
                let event = tokio::select! {
                    event = consumer.next() => event,
                    _ = &mut stopped => return consumer,
                };
                let kept = match event.expect("no fatal error") {
                    Event::Lost { cause, .. } => losses.send(cause.to_string()).is_ok(),
                    Event::Records(records) => read.send(records).is_ok(),
                    Event::Assigned { .. }
                    | Event::Revoking(_)
                    | Event::OffsetReset { .. }
                    | Event::Truncated { .. }
                    | Event::Skipped { .. } => true,
                };
                assert!(kept, "the test looks at what it gets");
            }
        });
        Self { handle, stop, task, lost, records }
    }

    fn partitions(&self) -> usize {
        self.handle.snapshot().partitions.len()
    }

    async fn close(self) {
        drop(self.stop);
        let consumer = self.task.await.expect("polled without a panic");
        consumer.close(PATIENCE).await.expect("a clean end");
    }
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn is_stable(cluster: &Cluster, members: usize) -> bool {
    cluster.group("g").is_some_and(|group| group.state == GroupState::Stable && group.members.len() == members)
}

fn generation(cluster: &Cluster) -> i32 {
    cluster.group("g").map_or(0, |group| group.generation)
}

#[tokio::test]
async fn a_runtime_that_stands_still_does_not_cost_the_membership() {
    let cluster = Cluster::builder().topic("t", 2).start();
    let member = Member::start(builder(&cluster, "a"));
    until("everything is assigned", || member.partitions() == 2).await;
    let before = generation(&cluster);
    let beats = cluster.request_count(ApiKey::Heartbeat);
    // Nothing on this runtime runs for two sessions: rules that take long, a call that blocks.
    let (_never, wait) = mpsc::channel::<()>();
    assert!(wait.recv_timeout(Duration::from_secs(4)).is_err());
    assert!(cluster.request_count(ApiKey::Heartbeat) > beats + 20, "heartbeats went on");
    assert_eq!(generation(&cluster), before);
    assert_eq!(member.lost.try_recv().ok(), None);
    member.close().await;
    assert_eq!(cluster.group("g").map(|group| group.members.len()), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_join_that_is_held_back_holds_back_neither_commits_nor_heartbeats() {
    let cluster = Cluster::builder().topic("t", 2).start();
    cluster.produce("t", 0, ["one", "two"]);
    cluster.produce("t", 1, ["three"]);
    let first = Member::start(builder(&cluster, "first"));
    until("everything is assigned", || first.partitions() == 2).await;
    let records = first.records.recv_timeout(PATIENCE).expect("records arrive");
    let held_back = cluster
        .on(ApiKey::JoinGroup)
        .when(|seen| seen.client_id.as_deref() == Some("first"))
        .times(1)
        .delay(Duration::from_secs(3));
    let second = Member::start(builder(&cluster, "second"));
    until("the first member's join is held back", || held_back.hits() == 1).await;
    let (beats, asked) = (cluster.request_count(ApiKey::Heartbeat), Instant::now());
    let mut commit = Commit::new();
    commit.processed(&records);
    let report = first.handle.commit(commit).await.expect("a commit in the middle of a rebalance");
    assert_eq!(report.committed.len(), 1, "{report:?}");
    assert!(asked.elapsed() < Duration::from_secs(2), "it did not wait for the join: {:?}", asked.elapsed());
    until("heartbeats go on", || cluster.request_count(ApiKey::Heartbeat) > beats + 5).await;
    assert!(asked.elapsed() < Duration::from_secs(3), "while the join is held back");
    until("both have a share", || first.partitions() == 1 && second.partitions() == 1).await;
    assert_eq!(first.lost.try_recv().ok(), None, "what stayed was never lost");
    first.close().await;
    second.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clean_restart_of_a_static_member_moves_nothing() {
    let cluster = Cluster::builder().topic("t", 4).start();
    let other = Member::start(builder(&cluster, "other").group_instance_id("other"));
    let restarted = Member::start(builder(&cluster, "one").group_instance_id("one"));
    until("both have a share", || is_stable(&cluster, 2) && other.partitions() == 2 && restarted.partitions() == 2)
        .await;
    let before = generation(&cluster);
    restarted.close().await;
    let back = Member::start(builder(&cluster, "one").group_instance_id("one"));
    until("its partitions are back", || back.partitions() == 2).await;
    assert_eq!((generation(&cluster), other.partitions()), (before, 2));
    assert_eq!(other.lost.try_recv().ok(), None);
    back.close().await;
    other.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_that_comes_after_the_join_starts_no_second_rebalance_and_makes_no_partition_new() {
    let cluster = Cluster::builder().topic("t", 4).start();
    for partition in 0..4 {
        cluster.produce("t", partition, ["old"]);
    }
    let leader = Member::start(builder(&cluster, "leader"));
    until("the first has everything", || leader.partitions() == 4).await;
    // As the first metadata is: a coordinator that was found, and not a word of topics.
    let is_silent = Arc::new(AtomicBool::new(true));
    let silent = Arc::clone(&is_silent);
    let metadata = cluster.on(ApiKey::Metadata);
    let metadata =
        metadata.when(move |seen| seen.client_id.as_deref() == Some("late") && silent.load(Ordering::Relaxed));
    let _without_topics = metadata.always().edit(|response| {
        if let Response::Metadata(metadata) = response {
            metadata.topics.clear();
        }
    });
    let late = Member::start(builder(&cluster, "late").auto_offset_reset(AutoOffsetReset::Latest));
    until("both have a share", || leader.partitions() == 2 && late.partitions() == 2).await;
    let snapshot = late.handle.snapshot();
    assert!(snapshot.partitions.iter().all(|partition| partition.leader.is_none()), "it knows no topic yet");
    let shared = generation(&cluster);
    is_silent.store(false, Ordering::Relaxed);
    until("it is read", || late.handle.snapshot().partitions.iter().all(|part| part.position.is_some())).await;
    // A join for its sake is sent at once, and the first heartbeats after it hear of the rebalance.
    let beats = cluster.request_count(ApiKey::Heartbeat);
    until("heartbeats go on", || cluster.request_count(ApiKey::Heartbeat) > beats + 5).await;
    assert_eq!(generation(&cluster), shared);
    assert!(late.records.try_recv().is_err(), "what was there before is not new");
    leader.close().await;
    late.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_join_that_is_swallowed_is_tried_again_within_the_request_timeout() {
    let cluster = Cluster::builder().topic("t", 1).start();
    let swallowed = cluster.on(ApiKey::JoinGroup).times(1).silence();
    let hasty = builder(&cluster, "a").configure(|config| config.client.request_timeout = Duration::from_secs(1));
    let member = Member::start(hasty);
    until("the partition is assigned", || member.partitions() == 1).await;
    assert_eq!(swallowed.hits(), 1);
    member.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g10_heartbeats_go_to_the_new_coordinator_and_nothing_is_lost() {
    let cluster = Cluster::builder().brokers(3).topic("t", 2).start();
    let member = Member::start(builder(&cluster, "a"));
    until("everything is assigned", || member.partitions() == 2).await;
    let before = generation(&cluster);
    for broker in [2, 3, 1] {
        cluster.move_coordinator("g", Some(broker));
        let moved = Instant::now();
        let there = || cluster.requests(ApiKey::Heartbeat).iter().any(|seen| seen.broker == broker && seen.at > moved);
        until("a heartbeat reaches the new coordinator", there).await;
        assert!(moved.elapsed() < Duration::from_secs(2), "{:?}", moved.elapsed());
    }
    assert_eq!(generation(&cluster), before);
    assert_eq!(member.lost.try_recv().ok(), None);
    member.close().await;
}

#[tokio::test]
async fn a_second_process_with_the_same_static_id_is_a_fatal_error_of_the_first() {
    let cluster = Cluster::builder().topic("t", 1).start();
    let mut first = builder(&cluster, "a").group_instance_id("same").build().expect("a valid configuration");
    let ownership = loop {
        if let Event::Assigned { partitions } = first.next().await.expect("no error yet") {
            break partitions[0].clone();
        }
    };
    let second = Member::start(builder(&cluster, "b").group_instance_id("same"));
    let fatal = loop {
        match tokio::time::timeout(PATIENCE, first.next()).await.expect("in time") {
            Ok(_) => {}
            Err(fatal) => break fatal,
        }
    };
    assert!(matches!(fatal, FatalError::Group(_)), "{fatal:?}");
    assert!(ownership.check().is_err(), "nothing may be acted on");
    second.close().await;
}
