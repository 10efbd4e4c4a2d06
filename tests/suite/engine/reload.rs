//! Rules that are replaced while the pipeline runs: whole, from the next decision on, and without a second thought about what has begun.

use std::sync::{Arc, Condvar, Mutex};

use kafka_consumer::ledger::{State, Terminal};

use crate::engine::source::Owned;
use crate::engine::world::{RULES, Running, World, incident, reason, until};
use crate::world::target::Target;

/// What holds calls back until it is opened.
#[derive(Default)]
struct Gate(Mutex<bool>, Condvar);

impl Gate {
    fn open(&self) {
        *self.0.lock().expect("no panic while holding it") = true;
        self.1.notify_all();
    }

    fn pass(&self) {
        let shut = self.0.lock().expect("no panic while holding it");
        drop(self.1.wait_while(shut, |open| !*open).expect("no panic while holding it"));
    }
}

/// A target that answers no call until the gate is opened.
fn gated() -> (Target, Arc<Gate>) {
    let gate = Arc::<Gate>::default();
    let of = Arc::clone(&gate);
    let target = Target::answering(move |_| {
        of.pass();
        200
    });
    (target, gate)
}

fn paths(target: &Target) -> Vec<String> {
    target.calls().into_iter().map(|call| call.path).collect()
}

fn replace(running: &Running, world: &World, from: &str, to: &str) {
    assert!(world.rules.contains(from), "{from}");
    running.rulebook.replace(world.edition(&world.rules.replace(from, to)));
}

/// Incident `a` is at the target, and `b` waits for its turn; `more` were read after them.
async fn one_runs_and_one_waits(world: &mut World, target: &Target, more: &[String]) -> (Running, Owned) {
    world.limits.max_concurrent_incidents = 1;
    let running = world.start().await;
    let right = running.assign(0);
    let both = [incident("a", "oozie", 5, 10), incident("b", "oozie", 5, 10)];
    running.read(&right, 0, &[&both, more].concat());
    until("the first is at the target", || target.calls().len() == 1).await;
    until("the second waits", || running.status.waiting() == 1).await;
    (running, right)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_after_the_rules_were_replaced_is_decided_by_the_new_ones() {
    let target = Target::start();
    let world = World::new(RULES, &target);
    let running = world.start().await;
    let right = running.assign(0);
    running.read(&right, 0, &[incident("a", "oozie", 5, 10), incident("b", "hive", 5, 10)]);
    running.committed(0, 2).await;
    replace(&running, &world, "alert_type: oozie", "alert_type: hive");
    running.read(&right, 2, &[incident("c", "oozie", 5, 10), incident("d", "hive", 5, 10)]);
    running.committed(0, 4).await;
    assert_eq!(paths(&target), ["/a", "/d"]);
    // What was done under other rules is still known by its episode.
    replace(&running, &world, "alert_type: oozie", "alert_type: [oozie, hive]");
    running.read(&right, 4, &[incident("a", "oozie", 5, 11), incident("d", "hive", 5, 11)]);
    running.committed(0, 6).await;
    assert_eq!(paths(&target), ["/a", "/d"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_waits_is_decided_anew_and_one_that_runs_goes_on_as_it_began() {
    let (target, gate) = gated();
    let rules = RULES.replace("incident_actions: [announce]", "incident_actions: [announce, again]").replace(
        "incident_actions:\n  - {name: announce",
        "incident_actions:\n  - {name: again, type: webhook, url: \"TARGET/again/{{incident.id}}\"}\n  - {name: announce",
    );
    let mut world = World::new(&rules, &target);
    let more = [incident("c", "hive", 5, 10)];
    let (running, _right) = one_runs_and_one_waits(&mut world, &target, &more).await;
    let changed = world.rules.replace("alert_type: oozie", "alert_type: hive").replace("/again/", "/other/");
    running.rulebook.replace(world.edition(&changed));
    gate.open();
    running.committed(0, 3).await;
    assert_eq!(paths(&target), ["/a", "/again/a"], "what runs keeps its plan, what waits matches nothing any more");
    assert_eq!(running.state("b/-/5/oozie/announce").await, State::Absent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_waits_follows_the_condition_that_matches_now() {
    let (target, gate) = gated();
    let mut world = World::new(RULES, &target);
    let (running, _right) = one_runs_and_one_waits(&mut world, &target, &[]).await;
    replace(&running, &world, "name: oozie", "name: renamed");
    gate.open();
    running.committed(0, 2).await;
    assert_eq!(paths(&target), ["/a", "/b"]);
    assert_eq!(running.state("b/-/5/oozie/announce").await, State::Absent);
    assert_eq!(running.state("b/-/5/renamed/announce").await.terminal(), Some(Terminal::Succeeded));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_throttle_is_used_up_once_though_the_job_that_waits_is_decided_twice() {
    let (target, gate) = gated();
    let rules =
        RULES.replacen("    active: true\n", "    active: true\n    throttle: {once_within: 1h, by: incident.id}\n", 1);
    let mut world = World::new(&rules, &target);
    let (running, _right) = one_runs_and_one_waits(&mut world, &target, &[]).await;
    replace(&running, &world, "timeout: 2s", "timeout: 3s");
    gate.open();
    running.committed(0, 2).await;
    assert_eq!(paths(&target), ["/a", "/b"], "it had its turn already, and still has it");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_the_end_of_a_pause_is_held_against_the_rules_of_then() {
    let target = Target::start();
    let world = World::new(RULES, &target);
    let running = world.start().await;
    let right = running.assign(0);
    std::fs::write(world.path("PAUSED"), "wrong rule").expect("written");
    running.read(&right, 0, &[incident("a", "oozie", 5, 10)]);
    until("it waits for the end of the pause", || running.status.halted().is_some()).await;
    replace(&running, &world, "alert_type: oozie", "alert_type: hive");
    std::fs::remove_file(world.path("PAUSED")).expect("removed");
    running.committed(0, 1).await;
    assert_eq!(paths(&target), [""; 0]);
    let state = running.state("a/-/5/oozie/announce").await;
    assert_eq!(reason(&state), "after the pause the incident did not match the condition any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_that_is_tightened_holds_from_the_next_attempt_on() {
    let target = Target::start();
    let world = World::new(&format!("limits: {{budget: {{at_most: 5, within: 1h}}}}\n{RULES}"), &target);
    let running = world.start().await;
    let right = running.assign(0);
    running.read(&right, 0, &[incident("a", "oozie", 5, 10)]);
    running.committed(0, 1).await;
    replace(&running, &world, "at_most: 5", "at_most: 1");
    running.read(&right, 1, &[incident("b", "oozie", 5, 10)]);
    running.committed(0, 2).await;
    assert_eq!(paths(&target), ["/a"], "what was spent before counts");
    assert_eq!(running.state("b/-/5/oozie/announce").await.terminal(), Some(Terminal::Held));
}
