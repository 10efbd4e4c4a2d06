//! Conditions in the running pipeline: what they remember is as durable as what is done, and what they cannot judge is kept.

use kafka_consumer::dead_letter;
use kafka_consumer::ledger::State;

use crate::engine::world::{RULES, World, incident};
use crate::world::target::Target;

fn rules(setting: &str) -> String {
    let rules = RULES.replacen("    active: true\n", &format!("    active: true\n    {setting}\n"), 1);
    assert_ne!(rules, RULES);
    rules
}

fn paths(target: &Target) -> Vec<String> {
    target.calls().into_iter().map(|call| call.path).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn occurrences_are_counted_over_a_kill_and_a_record_that_is_read_again_counts_once() {
    let target = Target::start();
    let world = World::new(&rules("occurrences: {at_least: 3, within: 10m}"), &target);
    let [a, b, c] = ["a", "b", "c"].map(|id| incident(id, "oozie", 5, 10));

    let running = world.start().await;
    let right = running.assign(0);
    running.read(&right, 0, &[a.clone(), b.clone(), a.clone()]);
    running.committed(0, 3).await;
    assert_eq!(running.ledger.notes().await.expect("reads").len(), 2, "on disk before the offset is committed");
    running.kill().await;

    // Its commit was lost: everything is read again, and then there is more.
    let running = world.start().await;
    let right = running.assign(0);
    running.read(&right, 0, &[a.clone(), b.clone(), a.clone()]);
    running.committed(0, 3).await;
    assert_eq!(paths(&target), [""; 0]);
    running.read(&right, 3, std::slice::from_ref(&c));
    running.committed(0, 4).await;
    assert_eq!(paths(&target), ["/c"]);
    running.kill().await;

    let running = world.start().await;
    let right = running.assign(0);
    running.read(&right, 3, &[c, a]);
    running.committed(0, 5).await;
    assert_eq!(paths(&target), ["/c"], "the third is recognised, and so is the first");
    assert_eq!(running.state("a/-/5/oozie/announce").await, State::Absent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_throttled_incident_is_let_through_again_after_a_kill_and_no_other() {
    let target = Target::start();
    let world = World::new(&rules("throttle: {once_within: 1h}"), &target);
    for round in 0..2 {
        let running = world.start().await;
        let right = running.assign(0);
        running.read(&right, 0, &[incident("a", "oozie", 5, 10), incident("b", "oozie", 5, 10)]);
        running.committed(0, 2).await;
        assert_eq!(paths(&target), ["/a"], "round {round}");
        running.kill().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_a_condition_must_judge_and_cannot_becomes_a_dead_letter_and_nothing_is_done() {
    let target = Target::start();
    let world = World::new(&rules("missing: error"), &target);
    let running = world.start().await;
    let right = running.assign(0);
    let untagged = incident("b", "oozie", 5, 10).replace("alert_type", "another");
    running.read(&right, 0, &[incident("a", "oozie", 5, 10), untagged, incident("c", "other", 5, 10)]);
    running.committed(0, 3).await;
    assert_eq!(paths(&target), ["/a"]);
    let (letters, _) = dead_letter::read(&world.path("dead.jsonl")).expect("reads");
    assert_eq!(letters.iter().map(|letter| letter.offset).collect::<Vec<_>>(), [1]);
    let why = &letters[0].reason;
    assert!(why.contains("cannot be judged"), "{why}");
    assert!(why.contains("tags.alert_type equals \"oozie\": found missing"), "{why}");
}
