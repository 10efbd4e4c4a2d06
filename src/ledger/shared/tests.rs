//! Replicas side by side on one topic in memory: races, death, a sleeper that wakes, a topic that cannot be written.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::watch;

use crate::ledger::{
    AppendError, Attempt, Entry, EpisodeKey, Health, Intent, Ledger, Note, Origin, Outcome, Record, SharedBy, State,
    Tail, Terminal, Topic, TopicError, TopicRecord,
};

/// Long enough that a busy machine does not lose it, short enough to wait for its end.
const LEASE: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(20);

/// The log, as brokers keep it.
#[derive(Clone)]
struct Memory(watch::Sender<Vec<TopicRecord>>);

/// One replica's way to it, which may be cut, and to one partition alone as well.
struct Way {
    log: Memory,
    partitions: u32,
    cut: Arc<AtomicBool>,
    cut_to: watch::Receiver<Option<u32>>,
}

struct From {
    log: watch::Receiver<Vec<TopicRecord>>,
    at: usize,
    end: usize,
}

impl Topic for Way {
    fn name(&self) -> &'static str {
        "ledger"
    }

    fn partitions(&self) -> u32 {
        self.partitions
    }

    fn append(&self, partition: u32, records: Vec<TopicRecord>) -> BoxFuture<'_, Result<(), TopicError>> {
        let appended = if self.cut.load(Ordering::SeqCst) || *self.cut_to.borrow() == Some(partition) {
            Err(TopicError::Again("cut".to_owned()))
        } else {
            self.log.0.send_modify(|log| log.extend(records));
            Ok(())
        };
        futures::future::ready(appended).boxed()
    }
}

impl Tail for From {
    fn next(&mut self) -> BoxFuture<'_, Result<Vec<TopicRecord>, String>> {
        async {
            let at = self.at;
            let log = self.log.wait_for(|log| log.len() > at).await.map_err(|error| error.to_string())?;
            self.at = log.len();
            Ok(log[at..].to_vec())
        }
        .boxed()
    }

    fn left(&self) -> u64 {
        u64::try_from(self.end.saturating_sub(self.at)).unwrap()
    }
}

struct World {
    log: Memory,
    folder: tempfile::TempDir,
    lease: Duration,
    partitions: u32,
    /// A partition that nobody can write.
    cut_to: watch::Sender<Option<u32>>,
}

impl World {
    fn new() -> Self {
        Self::leased_for(LEASE)
    }

    fn leased_for(lease: Duration) -> Self {
        let (folder, cut_to) = (tempfile::tempdir().unwrap(), watch::channel(None).0);
        Self { log: Memory(watch::channel(Vec::new()).0), folder, lease, partitions: 1, cut_to }
    }

    async fn replica(&self, name: &str) -> (Ledger, Arc<AtomicBool>) {
        let cut = Arc::new(AtomicBool::new(false));
        let log = self.log.0.subscribe();
        let end = log.borrow().len();
        let by = SharedBy {
            session: name.to_owned(),
            lease: self.lease,
            copy: self.folder.path().join(format!("{name}.copy")),
            topic: Arc::new(Way {
                log: self.log.clone(),
                partitions: self.partitions,
                cut: Arc::clone(&cut),
                cut_to: self.cut_to.subscribe(),
            }),
            tail: Box::new(From { log, at: 0, end }),
        };
        (Ledger::share(by, &mut |_| {}).await.unwrap(), cut)
    }
}

fn key(incident: &str) -> EpisodeKey {
    EpisodeKey { incident: incident.into(), alert: None, started: 5, condition: "c".into(), action: "a".into() }
}

fn record(incident: &str, entry: Entry) -> Vec<Record> {
    vec![Record { key: key(incident), at_ms: 1, entry }]
}

fn intent() -> Entry {
    let origin = Origin { topic: "sre".into(), partition: 0, offset: 7, generation: 1 };
    let (action_type, request, by) = (String::new(), String::new(), String::new());
    Entry::Intent(Intent { action_type, request, origin, by, because: Vec::new() })
}

fn attempt(number: u32) -> Entry {
    Entry::Attempt(Attempt { number })
}

fn succeeded() -> Entry {
    Entry::Outcome(Outcome::Succeeded { detail: String::new() })
}

/// What another replica wrote has arrived here.
async fn sees(replica: &Ledger, incident: &str, state: State) {
    let arrives = async {
        while replica.state(key(incident)).await.unwrap() != state {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, arrives).await.unwrap();
}

fn lost(appended: &Result<(), AppendError>) -> bool {
    matches!(appended, Err(AppendError::Lost { .. }))
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_that_want_to_act_one_does_and_the_other_waits_for_what_comes_of_it() {
    let world = World::new();
    let ((a, _), (b, _)) = (world.replica("a").await, world.replica("b").await);
    for round in 0..50 {
        let incident = round.to_string();
        let (one, other) = tokio::join!(a.append(record(&incident, intent())), b.append(record(&incident, intent())));
        assert!(one.is_ok() != other.is_ok() && (lost(&one) || lost(&other)));
    }
    let (winner, loser) = if a.append(record("0", attempt(1))).await.is_ok() { (a, b) } else { (b, a) };
    let episode = key("0");
    let waits = loser.hold(&episode);
    tokio::pin!(waits);
    assert!(tokio::time::timeout(2 * LEASE, &mut waits).await.is_err(), "the other one lives");
    assert!(lost(&loser.append(record("0", attempt(1))).await));
    if winner.state(episode.clone()).await.unwrap() == (State::Intended { attempts: 0 }) {
        winner.append(record("0", attempt(1))).await.unwrap();
    }
    winner.append(record("0", succeeded())).await.unwrap();
    let ended = tokio::time::timeout(PATIENCE, waits).await.unwrap().unwrap();
    assert_eq!(ended.terminal(), Some(Terminal::Succeeded));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_replica_has_begun_is_taken_over_as_it_was_left() {
    let world = World::new();
    let (a, _) = world.replica("a").await;
    a.append(record("i", intent())).await.unwrap();
    a.append(record("i", attempt(1))).await.unwrap();
    drop(a);
    let (b, _) = world.replica("b").await;
    let begun = tokio::time::Instant::now();
    let state = tokio::time::timeout(PATIENCE, b.hold(&key("i"))).await.unwrap().unwrap();
    assert_eq!(state, State::Attempting { attempt: 1 });
    assert!(begun.elapsed() >= LEASE, "not before its lease is over");
    b.append(record("i", succeeded())).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_cut_off_starts_nothing_and_after_waking_nothing_that_it_meant_to_start_before() {
    let world = World::new();
    let ((a, cut), (b, _)) = (world.replica("a").await, world.replica("b").await);
    a.append(record("i", intent())).await.unwrap();
    let turn = a.turn().await;
    a.append(record("i", attempt(1))).await.unwrap();
    assert!(a.holds(turn));
    cut.store(true, Ordering::SeqCst);
    sees(&b, "i", State::Attempting { attempt: 1 }).await;
    let taken = tokio::time::timeout(PATIENCE, b.hold(&key("i"))).await.unwrap().unwrap();
    assert_eq!(taken, State::Attempting { attempt: 1 });
    assert!(!a.holds(turn), "its lease was over before anybody took over");
    let mut health = a.health();
    let stalled = tokio::time::timeout(PATIENCE, health.wait_for(|health| *health != Health::Writable)).await;
    assert!(matches!(&*stalled.unwrap().unwrap(), Health::Stalled { reason } if reason.contains("ledger")));
    cut.store(false, Ordering::SeqCst);
    let again = tokio::time::timeout(PATIENCE, a.turn()).await.unwrap();
    assert!(!a.holds(turn) && a.holds(again));
    assert!(lost(&a.append(record("i", succeeded())).await), "another has it now");
    tokio::time::timeout(PATIENCE, health.wait_for(|health| *health == Health::Writable)).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_cannot_be_written_shows_in_spite_of_signs_of_life_and_holds_up_no_other() {
    let world = World { partitions: 3, ..World::new() };
    let (a, _) = world.replica("a").await;
    let at = |incident: &str| super::wire::partition(&key(incident).to_string(), 3);
    let names: Vec<String> = (0..20).map(|number| number.to_string()).collect();
    let (stuck, free) =
        (names.iter().find(|name| at(name) == 2).unwrap(), names.iter().find(|name| at(name) == 1).unwrap());
    world.cut_to.send_replace(Some(2));
    let mut health = a.health();
    let waits = a.append(record(stuck, intent()));
    tokio::pin!(waits);
    let stalled = async { health.wait_for(|health| *health != Health::Writable).await.unwrap().clone() };
    let stalled = tokio::select! {
        _ = &mut waits => panic!("it was written"),
        stalled = tokio::time::timeout(PATIENCE, stalled) => stalled.unwrap(),
    };
    let Health::Stalled { reason } = stalled else { panic!("stalled") };
    assert!(reason.starts_with("partition 2 of the ledger topic ledger cannot be written"), "{reason}");
    a.append(record(free, intent())).await.unwrap();
    // Signs of life that get through do not say that the partition is well.
    let alive = || world.log.0.borrow().iter().filter(|record| record.key.starts_with("alive/")).count();
    let (mut log, before) = (world.log.0.subscribe(), alive());
    let signs = log.wait_for(|log| log.iter().filter(|r| r.key.starts_with("alive/")).count() > before + 1);
    tokio::select! {
        _ = &mut waits => panic!("it was written"),
        signs = tokio::time::timeout(PATIENCE, signs) => drop(signs.unwrap().unwrap()),
    }
    assert!(matches!(&*a.health().borrow(), Health::Stalled { reason } if reason.starts_with("partition 2 ")));
    world.cut_to.send_replace(None);
    tokio::time::timeout(PATIENCE, waits).await.unwrap().unwrap();
    assert_eq!(*a.health().borrow(), Health::Writable);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_let_go_is_taken_at_once() {
    let world = World::leased_for(PATIENCE * 3);
    let ((a, _), (b, _)) = (world.replica("a").await, world.replica("b").await);
    a.append(record("i", intent())).await.unwrap();
    a.let_go("i").await;
    sees(&b, "i", State::Intended { attempts: 0 }).await;
    let state = tokio::time::timeout(PATIENCE, b.hold(&key("i"))).await.unwrap().unwrap();
    assert_eq!(state, State::Intended { attempts: 0 });
    assert!(lost(&a.append(record("i", attempt(1))).await));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_later_reads_the_same_from_the_log_compacted_or_not() {
    let world = World::new();
    let (a, _) = world.replica("a").await;
    a.append_noting(record("old", intent()), vec![Note { key: "n".into(), value: Some("1".into()) }]).await.unwrap();
    a.append(record("old", attempt(1))).await.unwrap();
    a.append(record("old", succeeded())).await.unwrap();
    a.append(vec![Record { at_ms: 100, ..record("new", intent()).remove(0) }]).await.unwrap();
    assert_eq!(a.expire(50).await.unwrap(), 1);
    let stories = |ledger: &Ledger| {
        let mut found = Vec::new();
        let mut visit = |episode: crate::ledger::Summary| {
            found.push((episode.key.incident, episode.state));
            std::ops::ControlFlow::Continue(())
        };
        ledger.history(&crate::ledger::Filter::default(), &mut visit).unwrap();
        found
    };
    let (b, _) = world.replica("b").await;
    assert_eq!(stories(&b), [("new".to_owned(), State::Intended { attempts: 0 })]);
    // What a broker does to a compacted topic, tombstones included.
    world.log.0.send_modify(|log| {
        let last = |at: usize, log: &[TopicRecord]| !log[at + 1..].iter().any(|later| later.key == log[at].key);
        let kept: Vec<_> =
            (0..log.len()).filter(|at| last(*at, log) && log[*at].value.is_some()).map(|at| log[at].clone()).collect();
        *log = kept;
    });
    let (c, _) = world.replica("c").await;
    assert_eq!((stories(&c), c.notes().await.unwrap()), (stories(&b), vec![("n".to_owned(), "1".to_owned())]));
    // The same episode may come again after it was forgotten.
    c.append(record("old", intent())).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_twice_counts_once() {
    let world = World::new();
    let (a, _) = world.replica("a").await;
    a.append(record("i", intent())).await.unwrap();
    // A copy whose first acknowledgement was lost: the same line under another number.
    world.log.0.send_modify(|log| {
        let line = log.iter().find(|record| record.key.starts_with("line/")).unwrap().clone();
        log.push(TopicRecord { key: line.key.replacen("line/0", "line/99", 1), ..line });
    });
    a.append(record("i", attempt(1))).await.unwrap();
    assert_eq!(a.state(key("i")).await.unwrap(), State::Attempting { attempt: 1 });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_not_ours_is_left_alone() {
    let world = World::new();
    world.log.0.send_modify(|log| log.push(TopicRecord { key: "hello".into(), value: None }));
    let (log, end) = (world.log.0.subscribe(), 1);
    let by = SharedBy {
        session: "a".into(),
        lease: LEASE,
        copy: world.folder.path().join("a.copy"),
        topic: Arc::new(Way {
            log: world.log.clone(),
            partitions: 1,
            cut: Arc::default(),
            cut_to: world.cut_to.subscribe(),
        }),
        tail: Box::new(From { log, at: 0, end }),
    };
    let error = Ledger::share(by, &mut |_| {}).await.unwrap_err().to_string();
    assert!(error.contains("topic ledger") && error.contains("hello"), "{error}");
}
