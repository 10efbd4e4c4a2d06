//! Messages to Slack, against a server that answers as incoming webhooks do.

use std::sync::atomic::{AtomicUsize, Ordering};

use kafka_consumer::ledger::Terminal;

use crate::engine::world::{World, one, reason};
use crate::world::target::Target;

const RULES: &str = r##"
incident_conditions:
  - {name: oozie, active: true, incident_actions: [tell], alert_actions: [tell_host]}
incident_actions:
  - {name: tell, type: incident_slack, webhook_url: "$secret:slack", message: "<https://x/|{{incident.id}}> is {{incident.status}}",
     channel: "#sre", retries: {attempts: 3, backoff: 10ms, max_backoff: 20ms}}
alert_actions:
  - {name: tell_host, type: alert_slack, webhook_url: "$secret:slack", message: "{{host}} of {{alert.id}}"}
"##;

fn world(target: &Target) -> World {
    let world = World::new(RULES, target);
    world.secret("slack", &format!("{}/services/T0/B0/verysecretpart", target.url()));
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_go_to_the_secret_address() {
    let target = Target::start();
    let running = one(&world(&target)).await;
    let calls = target.calls();
    let asked: Vec<_> =
        calls.iter().map(|call| (call.method.as_str(), call.path.as_str(), call.body.as_str())).collect();
    let path = "/services/T0/B0/verysecretpart";
    let first = r##"{"channel":"#sre","text":"<https://x/|a> is critical"}"##;
    assert_eq!(asked, [("POST", path, first), ("POST", path, r#"{"text":"h1 of a-a"}"#)]);
    assert_eq!(running.state("a/a-a/5/oozie/tell_host").await.terminal(), Some(Terminal::Succeeded));
}

#[tokio::test(flavor = "multi_thread")]
async fn slack_may_ask_for_patience_and_may_refuse() {
    let count = AtomicUsize::new(0);
    let target = Target::replying(move |_| match count.fetch_add(1, Ordering::SeqCst) {
        0 => (429, "rate_limited".to_owned()),
        1 => (500, "rollup_error".to_owned()),
        _ => (404, "no_service".to_owned()),
    });
    let running = one(&world(&target)).await;
    let story =
        ["INTENT", "ATTEMPT 1", "OUTCOME retrying", "ATTEMPT 2", "OUTCOME retrying", "ATTEMPT 3", "OUTCOME failed"];
    assert_eq!(running.story("a/-/5/oozie/tell").await, story);
    assert_eq!(reason(&running.state("a/-/5/oozie/tell").await), "HTTP 404: no_service");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_is_recorded_shows_the_address() {
    let target = Target::replying(|call| (400, format!("invalid_payload at {}", call.path)));
    let running = one(&world(&target)).await;
    let ledger = running.ledger.entries("a/-/5/oozie/tell".parse().expect("a key")).await.expect("reads");
    let text = format!("{ledger:?}");
    assert!(text.contains("invalid_payload"), "{text}");
    assert!(!text.contains("B0") && !text.contains("verysecretpart"), "{text}");
}
