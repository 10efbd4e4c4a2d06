//! The calls of BigPanda about an incident, against a server that answers as its API documents.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kafka_consumer::ledger::{Attempt, Entry, Intent, Origin, Terminal};

use crate::engine::world::{World, one, reason};
use crate::world::target::{Call, Target};

const RULES: &str = r#"
bigpanda: TARGET
incident_conditions:
  - {name: oozie, active: true, incident_actions: [tag, snooze, unassign]}
incident_actions:
  - {name: tag, type: tag_incident, tags: {handled_by: "{{alert_type}}"}, retries: {attempts: 3, backoff: 10ms, max_backoff: 20ms}, timeout: 300ms}
  - {name: snooze, type: snooze_incident, duration: 1h, comment: "wait for {{incident.id}}", cancel_on_incident_updates: true}
  - {name: unassign, type: unassign_incident}
"#;

const BASE: &str = "/resources/v2.0/environments/5f0c/incidents/a";

#[tokio::test(flavor = "multi_thread")]
async fn each_call_is_the_documented_one() {
    let target = Target::answering(|_| 204);
    let running = one(&World::new(RULES, &target)).await;
    let calls = target.calls();
    let asked: Vec<_> = calls.iter().map(|call| (call.method.as_str(), call.path.replace(BASE, ""))).collect();
    let expected = [("POST", "/tags"), ("PUT", "/snooze"), ("DELETE", "/assignment")];
    assert_eq!(asked, expected.map(|(method, path)| (method, path.to_owned())));
    assert!(calls.iter().all(|call| call.header("authorization") == Some("Bearer key")));
    let bodies: Vec<serde_json::Value> = calls[..2].iter().map(|call| call.body.parse().expect("JSON")).collect();
    assert_eq!(bodies[0], serde_json::json!([{"tag_id": "handled_by", "tag_value": "oozie"}]));
    assert_eq!(bodies[1]["comment"], "wait for a");
    assert_eq!(bodies[1]["cancel_on_incident_updates"], true);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    let end = bodies[1]["end_time"].as_u64().expect("seconds");
    assert!((now + 3500..=now + 3600).contains(&end), "{end} {now}");
    assert_eq!(calls[2].body, "");
    assert_eq!(running.state("a/-/5/oozie/unassign").await.terminal(), Some(Terminal::Succeeded));
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_requests_are_repeated_and_a_refusal_is_not() {
    let count = AtomicUsize::new(0);
    let target = Target::replying(move |call: &Call| match count.fetch_add(1, Ordering::SeqCst) {
        0 => (429, r#"{"status": 429, "errors": ["slow down"]}"#.to_owned()),
        _ if call.path.ends_with("/tags") => (201, String::new()),
        _ => (400, r#"{"status": 400, "errors": ["end_time is in the past"]}"#.to_owned()),
    });
    let running = one(&World::new(RULES, &target)).await;
    let story = ["INTENT", "ATTEMPT 1", "OUTCOME retrying", "ATTEMPT 2", "OUTCOME succeeded"];
    assert_eq!(running.story("a/-/5/oozie/tag").await, story);
    assert_eq!(running.story("a/-/5/oozie/snooze").await, ["INTENT", "ATTEMPT 1", "OUTCOME failed"]);
    let failed = running.state("a/-/5/oozie/snooze").await;
    assert_eq!(reason(&failed), r#"HTTP 400: {"status": 400, "errors": ["end_time is in the past"]}"#);
    assert_eq!(running.state("a/-/5/oozie/unassign").await.terminal(), Some(Terminal::Skipped));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_answer_to_what_may_be_repeated_is_repeated() {
    let count = AtomicUsize::new(0);
    let target = Target::answering(move |_| {
        let until = Instant::now() + Duration::from_millis(800);
        let first = count.fetch_add(1, Ordering::SeqCst) == 0;
        while first && Instant::now() < until {
            std::thread::yield_now();
        }
        204
    });
    let running = one(&World::new(RULES, &target)).await;
    let story = ["INTENT", "ATTEMPT 1", "OUTCOME retrying", "ATTEMPT 2", "OUTCOME succeeded"];
    assert_eq!(running.story("a/-/5/oozie/tag").await[..5], story);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crash_left_in_doubt_is_repeated_when_that_does_no_harm() {
    let target = Target::answering(|_| 204);
    let world = World::new(RULES, &target);
    let origin = Origin { topic: "sre".into(), partition: 0, offset: 0, generation: 1 };
    let intent = Intent {
        action_type: "tag_incident".into(),
        request: String::new(),
        origin,
        by: "before".into(),
        because: Vec::new(),
    };
    world.left("a/-/5/oozie/tag", vec![Entry::Intent(intent), Entry::Attempt(Attempt { number: 1 })]).await;
    let running = one(&world).await;
    let story = ["INTENT", "ATTEMPT 1", "OUTCOME unknown", "OUTCOME retrying", "ATTEMPT 2", "OUTCOME succeeded"];
    assert_eq!(running.story("a/-/5/oozie/tag").await, story);
}
