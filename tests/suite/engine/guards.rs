//! Guards: what keeps an attempt from being made, and what of it outlives the process.

use std::time::{Duration, Instant};

use kafka_consumer::guard::switch::Scope;
use kafka_consumer::ledger::{State, Terminal};
use kafka_consumer::pipeline::Feed;

use crate::engine::source::{Owned, Written};
use crate::engine::world::{RULES, Running, World, incident, until};
use crate::world::target::{Call, Target};

/// Two rules that ask the same target, after the guards of the test.
fn rules(limits: &str, condition: &str, action: &str) -> String {
    RULES
        .replace("    active: true\n", &format!("    active: true\n{condition}"))
        .replace("timeout: 2s", &format!("timeout: 2s{action}"))
        + limits
}

struct Fed {
    running: Running,
    right: Owned,
    next: i64,
}

async fn start(world: &World) -> Fed {
    let running = world.start().await;
    let right = Owned::new(0);
    running.say.send(Feed::Assigned(vec![right.clone()])).expect("the pipeline listens");
    Fed { running, right, next: 0 }
}

impl Fed {
    fn say(&mut self, records: &[String]) {
        let batch = Written::new(&self.right, self.next, records);
        self.next += i64::try_from(records.len()).expect("a few");
        self.running.say.send(Feed::Records(batch)).expect("the pipeline listens");
    }

    /// Feeds records and waits until all are dealt with.
    async fn feed(&mut self, records: &[String]) {
        self.say(records);
        self.running.committed(0, self.next).await;
    }

    /// How a step ended and why.
    async fn ended(&self, incident: &str) -> (Terminal, String) {
        match self.running.state(&format!("{incident}/-/5/oozie/announce")).await {
            State::Finished { how, reason, .. } => (how, reason),
            other => panic!("{incident} is {other:?}"),
        }
    }
}

fn one(id: &str) -> [String; 1] {
    [incident(id, "oozie", 5, 10)]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_holds_what_is_beyond_it_also_after_a_restart() {
    let target = Target::start();
    let world = World::new(&rules("", "", ", budget: {at_most: 1, within: 1h}"), &target);
    let mut fed = start(&world).await;
    fed.feed(&one("a")).await;
    fed.feed(&one("b")).await;
    assert_eq!(fed.ended("a").await.0, Terminal::Succeeded);
    let (how, why) = fed.ended("b").await;
    assert_eq!(how, Terminal::Held);
    assert_eq!(why, "stopped by budget: incident_actions announce budget: 1 of 1 within 3600s");
    assert_eq!(fed.running.story("b/-/5/oozie/announce").await, ["INTENT", "OUTCOME held"]);
    fed.running.kill().await;

    let mut fed = start(&world).await;
    fed.feed(&one("c")).await;
    assert_eq!(fed.ended("c").await.0, Terminal::Held);
    assert_eq!(target.calls().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_by_name_counts_each_value_for_itself_and_repeats_too() {
    let target = Target::answering(|_| 503);
    let action = ", budget: {at_most: 2, within: 1h, by: incident.id, over: skip}";
    let world = World::new(&rules("", "", action), &target);
    let mut fed = start(&world).await;
    fed.feed(&one("a")).await;
    fed.feed(&one("b")).await;
    for id in ["a", "b"] {
        let (how, why) = fed.ended(id).await;
        assert_eq!(how, Terminal::Skipped);
        assert!(why.contains(&format!("budget on `{id}`: 2 of 2")), "{why}");
    }
    assert_eq!(target.calls().len(), 4, "two attempts each");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_event_starts_nothing() {
    let target = Target::start();
    let world = World::new(&rules("", "    max_event_age: 1h\n", ""), &target);
    let mut fed = start(&world).await;
    fed.feed(&one("a")).await;
    let (how, why) = fed.ended("a").await;
    assert_eq!(how, Terminal::Skipped);
    assert!(why.starts_with("stopped by event_age: the snapshot is "), "{why}");
    assert_eq!(target.calls().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_action_is_skipped_at_once_and_the_next_incident_after_its_release_is_not() {
    let target = Target::start();
    let world = World::new(RULES, &target);
    let file = Scope::Action("announce".to_owned()).file(&world.path("PAUSED"));
    std::fs::write(&file, "under review\n").expect("written");
    let mut fed = start(&world).await;
    fed.feed(&one("a")).await;
    let (how, why) = fed.ended("a").await;
    assert_eq!(how, Terminal::Skipped);
    assert_eq!(why, "stopped by kill_switch: action `announce` is paused: under review");
    std::fs::remove_file(&file).expect("removed");
    fed.feed(&one("b")).await;
    assert_eq!(fed.ended("b").await.0, Terminal::Succeeded);
    let file = Scope::Condition("oozie".to_owned()).file(&world.path("PAUSED"));
    std::fs::write(&file, "").expect("written");
    fed.feed(&one("c")).await;
    assert_eq!(fed.ended("c").await.0, Terminal::Skipped);
    assert_eq!(target.calls().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kill_switch_of_all_stops_and_goes_within_a_second_and_survives_a_restart() {
    let target = Target::start();
    let world = World::new(RULES, &target);
    std::fs::write(world.path("PAUSED"), "an exercise").expect("written");
    let mut fed = start(&world).await;
    fed.say(&one("a"));
    until("it is paused", || fed.running.status.halted().is_some_and(|why| why.contains("an exercise"))).await;
    fed.running.kill().await;

    let mut fed = start(&world).await;
    fed.say(&one("a"));
    until("it is paused again", || fed.running.status.halted().is_some()).await;
    assert_eq!(target.calls().len(), 0);
    let released = Instant::now();
    std::fs::remove_file(world.path("PAUSED")).expect("removed");
    fed.running.committed(0, 1).await;
    // A second for the switch; the rest is a machine that has other things to do.
    assert!(released.elapsed() < Duration::from_secs(5), "{:?}", released.elapsed());
    assert_eq!(target.calls().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_leaves_only_notifications_also_after_a_restart() {
    let target = Target::start();
    let limits = "limits: {storm: {matches_per_minute: 3, quiet_for: 10m}}\n";
    let world = World::new(&rules(limits, "", ""), &target);
    let mut fed = start(&world).await;
    let many: Vec<_> = (0..10).map(|n| incident(&format!("i{n}"), "oozie", 5, 10)).collect();
    // One batch: all of it has matched before the first of it is worked on.
    fed.feed(&many).await;
    let (how, why) = fed.ended("i9").await;
    assert_eq!(how, Terminal::Skipped);
    assert!(why.starts_with("stopped by storm: "), "{why}");
    let before = target.calls().len();
    assert_eq!(before, 0);
    until("it is shown", || fed.running.status.tripped().iter().any(|what| what.contains("storm"))).await;
    let (_, _) = fed.running.drain().await;

    let mut fed = start(&world).await;
    fed.feed(&one("later")).await;
    assert_eq!(fed.ended("later").await.0, Terminal::Skipped);
    fed.running.drain().await;

    let world = World { rules: world.rules.replace("timeout: 2s", "timeout: 2s, notify: true"), ..world };
    let mut fed = start(&world).await;
    fed.feed(&one("told")).await;
    assert_eq!(fed.ended("told").await.0, Terminal::Succeeded);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_fails_is_left_alone_also_after_a_restart() {
    let target = Target::answering(|_| 503);
    let limits = "limits: {breaker: {failures: 2, within: 1m, open_for: 10m}}\n";
    let world = World::new(&rules(limits, "", ""), &target);
    let mut fed = start(&world).await;
    fed.feed(&one("a")).await;
    let (how, why) = fed.ended("a").await;
    assert_eq!(how, Terminal::Failed, "so that fallbacks run");
    assert!(why.contains("failed 2 times within 60s; left alone"), "{why}");
    assert_eq!(target.calls().len(), 2, "the third and the fourth attempt were not made");
    fed.running.drain().await;

    let mut fed = start(&world).await;
    fed.feed(&one("b")).await;
    assert_eq!(fed.ended("b").await.0, Terminal::Failed);
    assert_eq!(target.calls().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_incident_is_read_again_and_what_a_person_took_is_left_alone() {
    let target = Target::replying(|call: &Call| {
        let answer = if call.path.contains("/incidents/taken") {
            r#"{"id": "taken", "active": true, "assignee": "ann"}"#
        } else if call.path.contains("/environments/5f0c/incidents/over") {
            r#"{"id": "over", "active": false}"#
        } else if call.path.contains("/environments/5f0c/incidents/") {
            r#"{"id": "good", "active": true, "snooze": {"snoozed": false}}"#
        } else {
            "[]"
        };
        (200, answer.to_owned())
    });
    let limits = "limits: {freshness: {hold_comment: '#hold'}}\nbigpanda: TARGET\n";
    let world = World::new(&rules(limits, "", ""), &target);
    let mut fed = start(&world).await;
    fed.feed(&[one("taken"), one("over"), one("good")].concat()).await;
    assert_eq!(
        fed.ended("taken").await,
        (Terminal::Skipped, "stopped by freshness: the incident is assigned to ann".into())
    );
    assert_eq!(
        fed.ended("over").await,
        (Terminal::Skipped, "stopped by freshness: the incident is not active any more".into())
    );
    assert_eq!(fed.ended("good").await.0, Terminal::Succeeded);
    let acted: Vec<_> = target.calls().into_iter().filter(|call| !call.path.starts_with("/resources")).collect();
    assert_eq!(acted.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incident_that_cannot_be_read_again_is_held() {
    let target = Target::answering(|call| if call.path.starts_with("/resources") { 500 } else { 200 });
    let world = World::new(&rules("limits: {freshness: {}}\nbigpanda: TARGET\n", "", ""), &target);
    let mut fed = start(&world).await;
    fed.feed(&one("a")).await;
    let (how, why) = fed.ended("a").await;
    assert_eq!(how, Terminal::Held);
    assert!(why.contains("the incident cannot be read again: "), "{why}");
    assert!(target.calls().iter().all(|call| call.path.starts_with("/resources")));
}

#[tokio::test(flavor = "multi_thread")]
async fn in_shadow_mode_no_connection_is_made_neither_for_all_nor_for_a_condition() {
    let target = Target::start();
    let url = target.url();
    let base = format!("limits: {{freshness: {{}}}}\nbigpanda: {url}\n");
    let shadow = rules(&base, "    mode: shadow\n", "").replace("TARGET", &url);
    let live = rules(&base, "", "").replace("TARGET", &url);
    let of_a_condition = World::new(&shadow, &target);
    let of_all = World { shadow: true, ..World::new(&live, &target) };
    for world in [of_a_condition, of_all] {
        let mut fed = start(&world).await;
        fed.feed(&one("a")).await;
        assert_eq!(fed.running.story("a/-/5/oozie/announce").await, ["OUTCOME shadow"]);
        fed.running.drain().await;
    }
    assert_eq!(target.connections(), 0);
    // The same rules, live: so the target does count.
    let mut fed = start(&World::new(&live.replace("limits: {freshness: {}}", ""), &target)).await;
    fed.feed(&one("a")).await;
    assert!(target.connections() > 0);
}
