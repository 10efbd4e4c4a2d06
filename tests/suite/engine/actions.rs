//! What actions send and how their answers are taken.

use std::sync::atomic::{AtomicUsize, Ordering};

use kafka_consumer::ledger::Terminal;

use crate::engine::world::{RULES, World, one, reason};
use crate::world::target::{Call, Target};

const KEY: &str = "a/-/5/oozie/announce";

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_fails_twice_and_then_works_is_retried() {
    let count = AtomicUsize::new(0);
    let target = Target::answering(move |_| if count.fetch_add(1, Ordering::SeqCst) < 2 { 503 } else { 200 });
    let running = one(&World::new(RULES, &target)).await;
    let bodies: Vec<_> = target.calls().into_iter().map(|call| call.body).collect();
    assert_eq!(bodies, [r#"{"id": "a", "try": 1}"#, r#"{"id": "a", "try": 2}"#, r#"{"id": "a", "try": 3}"#]);
    assert_eq!(
        running.story(KEY).await,
        ["INTENT", "ATTEMPT 1", "OUTCOME retrying", "ATTEMPT 2", "OUTCOME retrying", "ATTEMPT 3", "OUTCOME succeeded"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_never_works_gives_up_and_its_fallback_runs() {
    let target = Target::answering(|call: &Call| if call.path == "/a" { 500 } else { 200 });
    let rules = RULES.replace("[announce]", "[announce]\n    incident_fallback_actions: [escalate]")
        + r#"  - {name: escalate, type: webhook, url: "TARGET/escalate"}"#;
    let running = one(&World::new(&rules, &target)).await;
    let paths: Vec<_> = target.calls().into_iter().map(|call| call.path).collect();
    assert_eq!(paths, ["/a", "/a", "/a", "/a", "/escalate"]);
    let state = running.state(KEY).await;
    assert_eq!(state.terminal(), Some(Terminal::Failed));
    assert_eq!(reason(&state), "gave up after 4 attempts: HTTP 500: ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_final() {
    let target = Target::answering(|_| 422);
    let running = one(&World::new(RULES, &target)).await;
    assert_eq!(target.calls().len(), 1);
    assert_eq!(reason(&running.state(KEY).await), "HTTP 422: ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_refuses_connections_is_certainly_not_reached() {
    let target = Target::start();
    let mut world = World::new(RULES, &target);
    world.rules = RULES.replace("TARGET", "http://127.0.0.1:1");
    let running = one(&world).await;
    let state = running.state(KEY).await;
    assert_eq!(state.attempts(), 4);
    assert!(
        reason(&state).contains("gave up after 4 attempts: http://127.0.0.1:1/a was not reached"),
        "{}",
        reason(&state)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_does_not_come_in_time_is_held_unless_repeats_are_harmless() {
    let slow = || {
        let count = AtomicUsize::new(0);
        Target::answering(move |_| {
            if count.fetch_add(1, Ordering::SeqCst) == 0 {
                let until = std::time::Instant::now() + std::time::Duration::from_millis(900);
                while std::time::Instant::now() < until {
                    std::thread::yield_now();
                }
            }
            200
        })
    };
    let target = slow();
    let running = one(&World::new(&RULES.replace("timeout: 2s", "timeout: 300ms"), &target)).await;
    assert_eq!(running.story(KEY).await, ["INTENT", "ATTEMPT 1", "OUTCOME unknown", "OUTCOME held"]);
    assert_eq!(target.calls().len(), 1);
    let target = slow();
    let running = one(&World::new(&RULES.replace("timeout: 2s", "timeout: 300ms, idempotent: true"), &target)).await;
    assert_eq!(running.story(KEY).await, ["INTENT", "ATTEMPT 1", "OUTCOME retrying", "ATTEMPT 2", "OUTCOME succeeded"]);
    let keys: Vec<_> = target.calls().iter().map(|call| call.header("idempotency-key").map(str::to_owned)).collect();
    assert_eq!(keys, [Some(KEY.to_owned()), Some(KEY.to_owned())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incident_without_what_the_template_needs_fails_before_anything_is_sent() {
    let target = Target::start();
    let running = one(&World::new(&RULES.replace("{{attempt}}", "\"{{team}}\""), &target)).await;
    assert_eq!(target.calls().len(), 0);
    assert_eq!(reason(&running.state(KEY).await), "undefined in this incident: team");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_not_followed() {
    let target = Target::answering(|_| 302);
    let running = one(&World::new(RULES, &target)).await;
    assert_eq!(target.calls().len(), 1);
    assert_eq!(reason(&running.state(KEY).await), "HTTP 302: ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ipv6_address_is_never_dialled() {
    let target = Target::start();
    let mut world = World::new(RULES, &target);
    world.rules = RULES.replace("TARGET", "http://[::1]:1");
    let running = one(&world).await;
    let state = running.state(KEY).await;
    assert!(reason(&state).contains("IPv4 only"), "{}", reason(&state));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_a_target_refuses_and_quotes_is_not_shown() {
    let target = Target::replying(|_| (401, "no such key: hunter22".to_owned()));
    let rules = RULES.replace("timeout: 2s", r#"timeout: 2s, headers: {Authorization: "Bearer $secret:token"}"#);
    let world = World::new(&rules, &target);
    world.secret("token", "hunter22");
    let running = one(&world).await;
    assert_eq!(target.calls()[0].header("authorization"), Some("Bearer hunter22"));
    assert_eq!(reason(&running.state(KEY).await), "HTTP 401: no such key: ***");
}
