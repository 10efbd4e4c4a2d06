//! Escalations: whom they call, and how often.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kafka_consumer::ledger::Terminal;
use serde_json::json;

use crate::engine::world::{World, incident, one, reason};
use crate::world::target::{Reply, Target};

const KEY: &str = "a/-/5/oozie/page";

/// One escalation with these keys.
fn world(keys: &str, target: &Target) -> World {
    let rules = format!(
        r"
incident_conditions:
  - {{name: oozie, active: true, incident_actions: [page]}}
incident_actions:
  - {{name: page, {keys}, timeout: 300ms, retries: {{attempts: 3, backoff: 10ms, max_backoff: 20ms}}}}
"
    );
    let world = World::new(&rules, target);
    world.secret("rootly", "hunter22");
    world
}

const ROOTLY: &str = r#"type: rootly_escalation, api_url: TARGET, auth_secret: rootly, summary: "{{incident.id}} needs a person",
    details: "of type {{alert_type}}", target: {type: EscalationPolicy, id: 7f}, labels: {alert_type: "{{alert_type}}"}"#;
const ALERTS: &str = "POST /v1/alerts";

fn raised() -> Reply {
    Reply::json(201, json!({"data": {"id": "9d1", "attributes": {"short_id": "A7", "summary": "a needs a person"}}}))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_is_raised_once_for_an_episode() {
    let target = Target::serving(|_| raised());
    let running = one(&world(ROOTLY, &target)).await;
    let state = running.state(KEY).await;
    assert_eq!(state.terminal(), Some(Terminal::Succeeded));
    assert_eq!(reason(&state), "raised alert A7 (a needs a person)");
    let right = running.assign(1);
    running.read(&right, 0, &[incident("a", "oozie", 5, 11)]);
    running.committed(1, 1).await;
    let calls = target.calls_of(ALERTS);
    assert_eq!(calls.len(), 1, "a later snapshot raises no second one");
    assert_eq!(calls[0].header("authorization"), Some("Bearer hunter22"));
    assert_eq!(calls[0].header("content-type"), Some("application/vnd.api+json"));
    let body = calls[0].json();
    let token = body["data"]["attributes"]["deduplication_key"].as_str().expect("text").to_owned();
    assert!(token.starts_with("[kafka_consumer "), "{token}");
    let attributes = json!({
        "source": "api", "summary": "a needs a person", "description": "of type oozie", "external_id": token,
        "deduplication_key": token, "notification_target_type": "EscalationPolicy", "notification_target_id": "7f",
        "labels": [{"key": "alert_type", "value": "oozie"}],
    });
    assert_eq!(body, json!({"data": {"type": "alerts", "attributes": attributes}}));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_of_unknown_fate_is_raised_again_under_the_same_key() {
    let count = AtomicUsize::new(0);
    let target = Target::serving(move |_| match count.fetch_add(1, Ordering::SeqCst) {
        0 => raised().after(Duration::from_millis(900)),
        1 => raised().torn(),
        _ => raised(),
    });
    let running = one(&world(ROOTLY, &target)).await;
    assert_eq!(running.state(KEY).await.terminal(), Some(Terminal::Succeeded));
    let calls = target.calls_of(ALERTS);
    assert_eq!(calls.len(), 3);
    assert!(calls.iter().all(|call| call.body == calls[0].body), "what Rootly takes for a single alert");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_escalation_has_failed_and_shows_no_secret() {
    let target = Target::serving(|_| Reply::json(422, json!({"errors": [{"title": "no hunter22"}]})));
    let running = one(&world(ROOTLY, &target)).await;
    let state = running.state(KEY).await;
    assert_eq!(state.terminal(), Some(Terminal::Failed));
    assert!(reason(&state).contains("HTTP 422") && !reason(&state).contains("hunter22"), "{}", reason(&state));
    assert_eq!(target.calls().len(), 1);
}

const OPS: &str = r#"type: ops_escalation, url: "TARGET/tickets", headers: {Authorization: "Bearer $secret:rootly"}, id_pointer: /ticket/id,
    body: {title: "{{incident.id}} failed", correlation: "{{episode.key}}"}"#;
const LOOKUP: &str = r#", lookup: {url: "TARGET/tickets?correlation={{episode.key}}", pointer: /tickets, reason_pointer: /tickets/0/id}"#;
const OPENS: &str = "POST /tickets";

fn opened() -> Reply {
    Reply::json(201, json!({"ticket": {"id": "OPS-1"}}))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_is_opened_and_named() {
    let target = Target::serving(|_| opened());
    let running = one(&world(OPS, &target)).await;
    let state = running.state(KEY).await;
    assert_eq!((state.terminal(), reason(&state)), (Some(Terminal::Succeeded), "opened OPS-1"));
    let body = json!({"title": "a failed", "correlation": KEY});
    assert_eq!(target.calls_of(OPENS)[0].json(), body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_of_unknown_fate_is_held_where_nothing_can_be_asked() {
    let target = Target::serving(|_| opened().torn());
    let running = one(&world(OPS, &target)).await;
    assert_eq!(running.story(KEY).await, ["INTENT", "ATTEMPT 1", "OUTCOME unknown", "OUTCOME held"]);
    assert_eq!(target.calls_of(OPENS).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_of_unknown_fate_is_looked_for() {
    let unknown = ["INTENT", "ATTEMPT 1", "OUTCOME unknown"];
    let cases: [(serde_json::Value, usize, &[&str]); 3] = [
        (json!({"tickets": [{"id": "OPS-1"}]}), 1, &["OUTCOME succeeded"]),
        (json!({"tickets": []}), 2, &["OUTCOME retrying", "ATTEMPT 2", "OUTCOME succeeded"]),
        (json!({"error": "not now"}), 1, &["OUTCOME held"]),
    ];
    for (answer, opens, rest) in cases {
        for torn in [true, false] {
            let (answer, count) = (answer.clone(), AtomicUsize::new(0));
            let target = Target::serving(move |call| match call.line().as_str() {
                OPENS if count.fetch_add(1, Ordering::SeqCst) > 0 => opened(),
                OPENS if torn => opened().torn(),
                OPENS => Reply::json(502, json!({})),
                _ => Reply::json(200, answer.clone()),
            });
            let running = one(&world(&format!("{OPS}{LOOKUP}"), &target)).await;
            let story = running.story(KEY).await;
            assert_eq!(story, [&unknown[..], rest].concat());
            assert_eq!(target.calls_of(OPENS).len(), opens, "{story:?}");
            assert!(target.calls_of("GET /tickets")[0].path.contains("correlation=a%2F-%2F5%2Foozie%2Fpage"));
        }
    }
}
