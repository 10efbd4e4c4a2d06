//! The whole flow of an incident, against a BigPanda that answers as its API documents.

use kafka_consumer::ledger::Terminal;
use kafka_consumer::pipeline::Feed;

use crate::engine::source::{Owned, Written};
use crate::engine::world::{Running, World, incident, reason};
use crate::world::target::{Call, Reply, Target};

const RULES: &str = r#"
bigpanda: TARGET
flow: true
incident_conditions:
  - {name: oozie, active: true, alert_conditions: {host: {exists: true}}, alert_actions: [fix], incident_fallback_actions: [tell],
     parallel_alert_processing: true}
incident_actions:
  - {name: tell, type: comment_on_incident, comment: "a person is needed"}
alert_actions:
  - {name: fix, type: webhook, url: "TARGET/fix/{{alert.id}}", idempotent: true, VERIFYretries: {attempts: 1}}
  - {name: page, type: webhook, url: "TARGET/page", idempotent: true}
"#;

const RECORD: &str = r#"{"id": "a", "active": true, "startedOn": 5, "updatedOn": 10, "alerts": [
    {"id": "1", "host": "h1", "startedOn": 7}, {"id": "2", "active": true}, {"id": "3", "host": "h3"}]}"#;

async fn ran(world: &World, record: &str) -> Running {
    let running = world.start().await;
    let right = Owned::new(0);
    running.say.send(Feed::Assigned(vec![right.clone()])).expect("the pipeline listens");
    running.say.send(Feed::Records(Written::new(&right, 0, &[record.to_owned()]))).expect("the pipeline listens");
    running.committed(0, 1).await;
    running
}

fn rules(verify: &str) -> String {
    RULES.replace("VERIFY", verify)
}

/// What was asked, in order; what runs side by side is sorted.
fn asked(target: &Target) -> Vec<String> {
    let base = "/resources/v2.0/environments/5f0c/incidents/a";
    let mut lines: Vec<_> = target.calls().iter().map(|call| call.line().replace(base, "")).collect();
    if let Some(fixes) = lines.get_mut(2..4) {
        fixes.sort();
    }
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn what_succeeds_is_assigned_split_worked_on_and_resolved() {
    // 409: it was resolved already, which is what was wanted.
    let target = Target::answering(|call| if call.path.ends_with("/resolve") { 409 } else { 202 });
    let running = ran(&World::new(&rules(""), &target), RECORD).await;
    let expected = ["PUT /assignment", "POST /split", "POST /fix/1", "POST /fix/3", "POST /resolve"];
    assert_eq!(asked(&target), expected);
    assert_eq!(target.calls()[0].json(), serde_json::json!({"assignee": "60aa"}));
    assert_eq!(target.calls()[1].json()["alerts"], serde_json::json!(["2"]));
    assert_eq!(running.state("a/-/7/oozie/flow:resolve").await.terminal(), Some(Terminal::Succeeded));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_is_not_resolved_falls_back_and_is_given_back() {
    let target = Target::replying(|call: &Call| {
        let status = if call.path == "/fix/3" { 422 } else { 204 };
        (status, if call.path.contains("/activities") { "[]".to_owned() } else { String::new() })
    });
    let running = ran(&World::new(&rules(""), &target), RECORD).await;
    let lines = asked(&target);
    assert!(!lines.iter().any(|line| line.contains("resolve")), "{lines:?}");
    assert_eq!(lines[lines.len() - 2..], ["POST /comments", "DELETE /assignment"]);
    assert_eq!(running.state("a/-/7/oozie/flow:unassign").await.terminal(), Some(Terminal::Succeeded));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_circuit_stops_a_call_of_the_flow_itself_too() {
    let target = Target::answering(|call| match (call.method.as_str(), call.path.as_str()) {
        (_, "/fix/3") => 422,
        ("DELETE", _) => 503,
        _ => 204,
    });
    let limits = "limits: {breaker: {failures: 1, within: 1m, open_for: 10m}}\n";
    let running = ran(&World::new(&(rules("") + limits), &target), RECORD).await;
    let given_back = running.state("a/-/7/oozie/flow:unassign").await;
    assert_eq!(given_back.terminal(), Some(Terminal::Failed));
    assert!(reason(&given_back).contains("left alone"), "{}", reason(&given_back));
    assert_eq!(asked(&target).iter().filter(|line| *line == "DELETE /assignment").count(), 1, "no second attempt");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_that_does_not_clear_is_escalated_and_one_that_does_is_not() {
    let verify = "verify: {within: 600ms, every: 50ms, expect: resolved, escalate: page}, ";
    let target = Target::serving(|call| {
        let alerts = r#"{"id": "a", "active": true, "alerts": [{"id": "1", "status": "ok"}, {"id": "3", "status": "critical"}]}"#;
        if call.method == "GET" { Reply::new(200, alerts) } else { Reply::new(204, "") }
    });
    let running = ran(&World::new(&rules(verify), &target), RECORD).await;
    assert_eq!(running.state("a/1/7/oozie/verify:fix").await.terminal(), Some(Terminal::Succeeded));
    let failed = running.state("a/3/5/oozie/verify:fix").await;
    assert_eq!(failed.terminal(), Some(Terminal::Failed));
    assert!(reason(&failed).contains("did not end within 600ms"), "{}", reason(&failed));
    assert_eq!(running.state("a/3/5/oozie/escalate:page").await.terminal(), Some(Terminal::Succeeded));
    assert_eq!(target.calls_of("POST /page").len(), 1);
    assert!(!asked(&target).iter().any(|line| line.contains("resolve")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_run_is_recorded_and_keeps_no_live_run_from_acting() {
    let target = Target::answering(|_| 204);
    let mut world = World { shadow: true, ..World::new(&rules(""), &target) };
    let record = incident("a", "oozie", 5, 10)
        .replace("\"tags\": [{\"name\": \"host\"", "\"host\": \"h1\", \"tags\": [{\"name\": \"x\"");
    let key = "a/a-a/5/oozie/fix";
    for _ in 0..2 {
        let running = ran(&world, &record).await;
        assert_eq!(running.story(key).await, ["OUTCOME shadow"]);
        assert!(running.state("a/-/5/oozie/flow:resolve").await.reason().starts_with("would be done: resolve"));
        running.drain().await;
    }
    assert_eq!(target.connections(), 0);
    world.shadow = false;
    let running = ran(&world, &record).await;
    assert_eq!(running.story(key).await, ["OUTCOME shadow", "INTENT", "ATTEMPT 1", "OUTCOME succeeded"]);
}
