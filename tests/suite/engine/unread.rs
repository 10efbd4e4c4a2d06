//! Records that nothing matches, and that are not read whole, or not at all, for that reason.

use kafka_consumer::dead_letter;
use kafka_consumer::ledger::State;

use crate::engine::unknown::{WEBHOOK, in_flight};
use crate::engine::world::{RULES, World, incident};
use crate::world::target::Target;

/// A world that reads the heads of records, and one that passes over what a search rules out.
fn worlds(target: &Target) -> [World; 2] {
    [false, true].map(|passes_over_unread| World { passes_over_unread, ..World::new(RULES, target) })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_snapshot_that_lost_its_tag_makes_the_one_that_matched_stale() {
    let target = Target::start();
    for world in worlds(&target) {
        let running = world.start().await;
        let right = running.assign(0);
        // One batch, so that both are decided before anything runs.
        running.read(&right, 0, &[incident("a", "oozie", 5, 10), incident("a", "another", 5, 30)]);
        running.committed(0, 2).await;
        assert_eq!(running.state(WEBHOOK).await, State::Absent);
        assert_eq!(target.calls().len(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_process_left_is_settled_by_a_snapshot_that_lost_its_tag() {
    let target = Target::start();
    for world in worlds(&target) {
        world.left(WEBHOOK, in_flight()).await;
        let running = world.start().await;
        let right = running.assign(0);
        running.read(&right, 0, &[incident("b", "another", 5, 10), incident("a", "another", 5, 10)]);
        running.committed(0, 2).await;
        assert_eq!(running.story(WEBHOOK).await, ["INTENT", "ATTEMPT 1", "OUTCOME unknown", "OUTCOME held"]);
        assert_eq!(target.calls().len(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_incident_is_a_dead_letter_unless_it_is_passed_over_unread() {
    let target = Target::start();
    let broken = |kind: &str| incident("a", kind, 5, 10).replace(r#""status""#, "status\"");
    let records = [
        "not json".to_owned(),
        broken("another"),
        r#"{"incident": {"no": "one"}}"#.to_owned(),
        broken("oozie"),
        incident("b", "another", 5, 10),
    ];
    let kept = [[0, 1, 2, 3].as_slice(), &[0, 2, 3]];
    for (world, kept) in worlds(&target).into_iter().zip(kept) {
        let running = world.start().await;
        let right = running.assign(0);
        running.read(&right, 0, &records);
        running.committed(0, 5).await;
        let (letters, _) = dead_letter::read(&world.path("dead.jsonl")).unwrap();
        assert_eq!(letters.iter().map(|letter| letter.offset).collect::<Vec<_>>(), kept);
    }
    assert_eq!(target.calls().len(), 0);
}
