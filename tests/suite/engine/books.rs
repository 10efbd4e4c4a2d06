//! Offsets, order and redelivery: what the polling task keeps the books of.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use kafka_consumer::dead_letter;
use kafka_consumer::ledger::{Filter, State, Terminal};
use kafka_consumer::pipeline::Feed;
use tokio::sync::oneshot;

use crate::engine::source::{Owned, Written};
use crate::engine::world::{RULES, World, incident, until};
use crate::world::target::{Call, Target};

/// A door that calls wait at until the test opens it.
#[derive(Clone, Default)]
struct Door(Arc<(Mutex<bool>, Condvar)>);

impl Door {
    fn open(&self) {
        *self.0.0.lock().expect("no panic while holding it") = true;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        let closed = self.0.0.lock().expect("no panic while holding it");
        drop(self.0.1.wait_while(closed, |open| !*open).expect("no panic while holding it"));
    }

    /// A target that lets nobody through before it is open.
    fn target(&self) -> Target {
        let door = self.clone();
        Target::answering(move |_| {
            door.pass();
            200
        })
    }
}

fn paths(target: &Target) -> Vec<String> {
    target.calls().into_iter().map(|call| call.path).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_matched_incident_is_acted_on_once_and_its_offset_is_committed() {
    let target = Target::start();
    let world = World::new(RULES, &target);
    let running = world.start().await;
    let right = running.assign(0);
    let records = [incident("a", "oozie", 5, 10), incident("b", "other", 5, 10), incident("a", "oozie", 5, 11)];
    running.read(&right, 100, &records);
    running.committed(0, 103).await;
    assert_eq!(paths(&target), ["/a"]);
    assert_eq!(target.calls()[0].body, r#"{"id": "a", "try": 1}"#);
    assert_eq!(running.story("a/-/5/oozie/announce").await, ["INTENT", "ATTEMPT 1", "OUTCOME succeeded"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn redelivery_after_a_restart_repeats_nothing_and_a_refire_acts_again() {
    let target = Target::start();
    let world = World::new(RULES, &target);
    for round in 0..3 {
        let running = world.start().await;
        let right = running.assign(0);
        running.read(&right, 0, &[incident("a", "oozie", 5, 10)]);
        running.committed(0, 1).await;
        assert_eq!(paths(&target), ["/a"], "round {round}");
        running.kill().await;
    }
    let running = world.start().await;
    let right = running.assign(0);
    running.read(&right, 1, &[incident("a", "oozie", 99, 100)]);
    running.committed(0, 2).await;
    assert_eq!(paths(&target), ["/a", "/a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_match_nothing_never_touch_the_ledger() {
    let target = Target::start();
    let world = World::new(RULES, &target);
    let running = world.start().await;
    let right = running.assign(0);
    let records: Vec<_> = (0..500).map(|number| incident(&number.to_string(), "other", 5, 10)).collect();
    running.read(&right, 0, &records);
    running.committed(0, 500).await;
    assert_eq!(running.ledger.written().records, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_snapshots_the_later_one_counts_whatever_order_they_came_in() {
    let target = Target::start();
    let world = World::new(RULES, &target);
    let running = world.start().await;
    let right = running.assign(0);
    // Another start would be another episode: only its age keeps the second one from acting.
    let records = [incident("a", "oozie", 5, 20), incident("a", "oozie", 4, 10)];
    running.read(&right, 0, &records);
    running.committed(0, 2).await;
    assert_eq!(paths(&target), ["/a"]);
    assert_eq!(running.state("a/-/4/oozie/announce").await, State::Absent);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_incident_becomes_a_dead_letter_before_its_offset_is_committed() {
    let target = Target::start();
    let world = World::new(RULES, &target);
    let running = world.start().await;
    let right = running.assign(2);
    let records = ["{not json".to_owned(), incident("a", "oozie", 5, 10), "[]".to_owned()];
    running.read(&right, 40, &records);
    running.committed(2, 43).await;
    let (letters, _) = dead_letter::read(&world.path("dead.jsonl")).unwrap();
    assert_eq!(letters.iter().map(|letter| (letter.partition, letter.offset)).collect::<Vec<_>>(), [(2, 40), (2, 42)]);
    assert_eq!(letters[0].value_base64.as_deref(), Some(b"{not json".as_slice()));
    assert_eq!(paths(&target), ["/a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_incident_is_serial_while_others_run_beside_it() {
    let busy: Arc<Mutex<HashMap<String, usize>>> = Arc::default();
    let (overlaps, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let target = Target::answering({
        let (busy, overlaps, most) = (Arc::clone(&busy), Arc::clone(&overlaps), Arc::clone(&most));
        move |call: &Call| {
            {
                let mut busy = busy.lock().unwrap();
                let mine = busy.entry(call.path.clone()).or_default();
                *mine += 1;
                overlaps.fetch_max(*mine, Ordering::SeqCst);
                most.fetch_max(busy.values().sum(), Ordering::SeqCst);
            }
            let until = Instant::now() + Duration::from_millis(15);
            while Instant::now() < until {
                std::thread::yield_now();
            }
            *busy.lock().unwrap().get_mut(&call.path).unwrap() -= 1;
            200
        }
    });
    let world = World::new(RULES, &target);
    let running = world.start().await;
    // The same incidents in two partitions: order is by incident, not by partition.
    let rights = [Owned::new(0), Owned::new(1)];
    running.tell(Feed::Assigned(rights.to_vec()));
    for (number, right) in rights.iter().enumerate() {
        let records: Vec<_> = (0..20)
            .map(|at| incident(&format!("i{}", at % 4), "oozie", i64::try_from(number * 100 + at).unwrap(), 10))
            .collect();
        running.read(right, 0, &records);
    }
    running.committed(0, 20).await;
    running.committed(1, 20).await;
    assert_eq!(target.calls().len(), 40);
    assert_eq!(overlaps.load(Ordering::SeqCst), 1, "one incident ran twice at a time");
    assert!(most.load(Ordering::SeqCst) > 1, "different incidents waited for each other");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offset_waits_for_the_slow_record_before_it() {
    let door = Door::default();
    let slow = door.clone();
    let target = Target::answering(move |call: &Call| {
        if call.path == "/slow" {
            slow.pass();
        }
        200
    });
    let world = World::new(RULES, &target);
    let running = world.start().await;
    let right = running.assign(0);
    let records = [incident("b", "other", 5, 10), incident("slow", "oozie", 5, 10), incident("quick", "oozie", 5, 10)];
    running.read(&right, 0, &records);
    running.committed(0, 1).await;
    until("both were called", || target.calls().len() == 2).await;
    assert_eq!(running.committed_so_far(0), Some(1));
    door.open();
    running.committed(0, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_waits_for_what_runs_commits_it_and_leaves_the_rest() {
    let door = Door::default();
    let target = door.target();
    let mut world = World::new(RULES, &target);
    world.limits.max_concurrent_incidents = 1;
    let running = world.start().await;
    let right = running.assign(0);
    let records = [incident("a", "oozie", 5, 10), incident("b", "oozie", 5, 10)];
    running.read(&right, 0, &records);
    until("the first is called", || target.calls().len() == 1).await;
    let (guard, let_go) = oneshot::channel();
    right.take_away();
    let deadline = Instant::now() + Duration::from_secs(15);
    running.tell(Feed::Revoking { rights: vec![right.clone()], deadline, guard });
    until("the second is forgotten", || running.status.waiting() == 0).await;
    door.open();
    assert!(let_go.await.is_err(), "the guard is dropped when the commit is done");
    assert_eq!(running.committed_so_far(0), Some(1));
    assert_eq!(running.state("a/-/5/oozie/announce").await.terminal(), Some(Terminal::Succeeded));
    assert_eq!(running.state("b/-/5/oozie/announce").await, State::Absent);
    assert_eq!(paths(&target), ["/a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_does_not_wait_past_its_deadline_and_the_outcome_is_recorded_all_the_same() {
    let door = Door::default();
    let target = door.target();
    let world = World::new(RULES, &target);
    let running = world.start().await;
    let right = running.assign(0);
    running.read(&right, 0, &[incident("a", "oozie", 5, 10)]);
    until("it is called", || target.calls().len() == 1).await;
    let (guard, let_go) = oneshot::channel();
    let deadline = Instant::now() + Duration::from_millis(1600);
    running.tell(Feed::Revoking { rights: vec![right.clone()], deadline, guard });
    assert!(let_go.await.is_err());
    assert_eq!(running.committed_so_far(0), None);
    // The partition comes back and the record is read again while its attempt still runs.
    let again = running.assign(0);
    running.read(&again, 0, &[incident("a", "oozie", 5, 10)]);
    door.open();
    running.committed(0, 1).await;
    assert_eq!(running.story("a/-/5/oozie/announce").await, ["INTENT", "ATTEMPT 1", "OUTCOME succeeded"]);
    assert_eq!(paths(&target), ["/a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_for_a_partition_that_is_not_ours_any_more() {
    let target = Target::start();
    let world = World::new(RULES, &target);
    let running = world.start().await;
    let right = running.assign(0);
    right.take_away();
    running.read(&right, 0, &[incident("a", "oozie", 5, 10)]);
    running.tell(Feed::Lost { partitions: vec![], cause: "none".into() });
    let other = running.assign(1);
    running.read(&other, 0, &[incident("b", "oozie", 5, 10)]);
    running.committed(1, 1).await;
    until("nothing runs", || running.status.running() == 0).await;
    assert_eq!(paths(&target), ["/b"]);
    assert_eq!(running.state("a/-/5/oozie/announce").await, State::Absent);
    assert_eq!(running.committed_so_far(0), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn draining_finishes_what_runs_and_leaves_what_waits() {
    let door = Door::default();
    let target = door.target();
    let mut world = World::new(RULES, &target);
    world.limits.max_concurrent_incidents = 1;
    let running = world.start().await;
    let right = running.assign(0);
    let records = [incident("a", "oozie", 5, 10), incident("b", "oozie", 5, 10)];
    running.read(&right, 0, &records);
    until("the first is called", || target.calls().len() == 1).await;
    running.ask_to_stop();
    door.open();
    let (drained, remote) = running.drain().await;
    assert_eq!((drained.cut_off, drained.committed), (0, true));
    assert_eq!(remote.asked(|asked| asked.committed.get(&0).copied()), Some(1));
    assert_eq!(paths(&target), ["/a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_much_that_waits_pauses_the_partitions_and_not_the_polling() {
    let door = Door::default();
    let target = door.target();
    let world = World::new(RULES, &target);
    let running = world.start().await;
    let right = running.assign(0);
    for batch in 0..15 {
        let records: Vec<_> = (0..100).map(|number| incident(&format!("{batch}-{number}"), "oozie", 5, 10)).collect();
        running.read(&right, batch * 100, &records);
    }
    until("partitions are paused", || running.remote.asked(|asked| asked.pauses > 0)).await;
    assert_eq!(running.remote.asked(|asked| asked.resumes), 0);
    // The source is listened to all the while.
    running.assign(1);
    until("another partition is owned", || running.status.owned() == 2).await;
    door.open();
    running.committed(0, 1500).await;
    assert!(running.remote.asked(|asked| asked.resumes) > 0);
    assert_eq!(target.calls().len(), 1500);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kill_switch_stops_everything_before_it_starts() {
    let target = Target::start();
    let world = World::new(RULES, &target);
    std::fs::write(world.path("PAUSED"), "deployment\nin progress\n").unwrap();
    let running = world.start().await;
    let right = running.assign(0);
    running.read(&right, 0, &[incident("a", "oozie", 5, 10)]);
    until("it says so", || running.status.halted() == Some("paused: deployment in progress".to_owned())).await;
    assert_eq!((target.calls().len(), running.ledger.written().records), (0, 0));
    std::fs::remove_file(world.path("PAUSED")).unwrap();
    running.committed(0, 1).await;
    assert_eq!(running.status.halted(), None);
    assert_eq!(paths(&target), ["/a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_fails_is_repeated() {
    let target = Target::start();
    let world = World::new(RULES, &target);
    let running = world.start().await;
    running.remote.asked(|asked| asked.refuse_commits = true);
    let right = running.assign(0);
    running.read(&right, 0, &[incident("a", "oozie", 5, 10)]);
    until("it is called", || target.calls().len() == 1).await;
    running.remote.asked(|asked| asked.refuse_commits = false);
    running.committed(0, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_again_after_a_truncation_keeps_the_books_in_order() {
    let target = Target::start();
    let world = World::new(RULES, &target);
    let running = world.start().await;
    let right = running.assign(0);
    let batch = |base| {
        Feed::Records(Written::new(&right, base, &[incident("a", "oozie", 5, 10), incident("b", "other", 5, 10)]))
    };
    running.tell(batch(10));
    let partition = kafka_proto::id::TopicPartition::new("sre", 0);
    let moved =
        |to| Feed::Moved { partition: partition.clone(), to: kafka_proto::id::Offset(to), cause: "test".into() };
    running.tell(moved(20));
    running.committed(0, 20).await;
    running.tell(batch(20));
    running.tell(moved(30));
    running.tell(batch(30));
    running.committed(0, 32).await;
    assert_eq!(paths(&target), ["/a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_killed_process_leaves_each_episode_with_one_success() {
    let calls: Arc<Mutex<HashMap<String, usize>>> = Arc::default();
    let counted = Arc::clone(&calls);
    // Every incident's target fails once.
    let target = Target::answering(move |call: &Call| {
        let mut calls = counted.lock().unwrap();
        let mine = calls.entry(call.path.clone()).or_default();
        *mine += 1;
        if *mine == 1 { 503 } else { 200 }
    });
    let rules = RULES.replace("timeout: 2s", "timeout: 2s, idempotent: true");
    let world = World::new(&rules, &target);
    let records: Vec<_> = (0..200).map(|number| incident(&format!("i{number}"), "oozie", 5, 10)).collect();
    for round in 1..=4 {
        let running = world.start().await;
        let right = running.assign(0);
        running.read(&right, 0, &records);
        let seen = target.calls().len() + 40;
        until("some are called", || target.calls().len() >= seen || running.committed_so_far(0) == Some(200)).await;
        if round == 4 {
            running.committed(0, 200).await;
            let mut succeeded = 0;
            let mut visit = |episode: kafka_consumer::ledger::Summary| {
                succeeded += usize::from(episode.state.terminal() == Some(Terminal::Succeeded));
                std::ops::ControlFlow::Continue(())
            };
            running.ledger.history(&Filter::default(), &mut visit).unwrap();
            assert_eq!(succeeded, 200);
        }
        running.kill().await;
    }
}
