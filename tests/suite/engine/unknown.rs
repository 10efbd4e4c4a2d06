//! Attempts of which an earlier process left no outcome.

use kafka_consumer::ledger::{Attempt, Entry, Intent, Origin, Terminal};
use kafka_consumer::pipeline::Feed;

use crate::engine::source::{Owned, Written};
use crate::engine::world::{RULES, Running, World, incident};
use crate::world::target::{Call, Target};

pub(super) const WEBHOOK: &str = "a/-/5/oozie/announce";
const COMMENT: &str = "a/-/5/oozie/note";

const COMMENTING: &str = r#"
bigpanda: TARGET
incident_conditions:
  - {name: oozie, active: true, incident_actions: [note]}
incident_actions:
  - {name: note, type: comment_on_incident, comment: "seen {{incident.id}}", retries: {attempts: 3, backoff: 10ms, max_backoff: 20ms}}
"#;

/// What a process leaves that was killed while it waited for the answer.
pub(super) fn in_flight() -> Vec<Entry> {
    let origin = Origin { topic: "sre".into(), partition: 0, offset: 0, generation: 1 };
    let intent = Intent {
        action_type: "webhook".into(),
        request: String::new(),
        origin,
        by: "before".into(),
        because: Vec::new(),
    };
    vec![Entry::Intent(intent), Entry::Attempt(Attempt { number: 1 })]
}

async fn after_a_crash(world: &World, key: &str) -> Running {
    world.left(key, in_flight()).await;
    let running = world.start().await;
    let right = Owned::new(0);
    running.say.send(Feed::Assigned(vec![right.clone()])).expect("the pipeline listens");
    running
        .say
        .send(Feed::Records(Written::new(&right, 0, &[incident("a", "oozie", 5, 10)])))
        .expect("the pipeline listens");
    running.committed(0, 1).await;
    running
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_held_for_a_person() {
    let target = Target::start();
    let running = after_a_crash(&World::new(RULES, &target), WEBHOOK).await;
    assert_eq!(running.story(WEBHOOK).await, ["INTENT", "ATTEMPT 1", "OUTCOME unknown", "OUTCOME held"]);
    assert_eq!(target.calls().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_with_on_unknown_retry_is_repeated() {
    let target = Target::start();
    let rules = RULES.replace("timeout: 2s", "timeout: 2s, on_unknown: retry");
    let running = after_a_crash(&World::new(&rules, &target), WEBHOOK).await;
    assert_eq!(
        running.story(WEBHOOK).await,
        ["INTENT", "ATTEMPT 1", "OUTCOME unknown", "OUTCOME retrying", "ATTEMPT 2", "OUTCOME succeeded"]
    );
    assert_eq!(target.calls().len(), 1);
}

/// BigPanda with these activities, whose comments always succeed.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_begun_is_settled_also_when_its_snapshot_is_stale_by_now() {
    let target = Target::start();
    let world = World::new(RULES, &target);
    world.left(WEBHOOK, in_flight()).await;
    let running = world.start().await;
    let right = Owned::new(0);
    running.say.send(Feed::Assigned(vec![right.clone()])).unwrap();
    // The second snapshot is later and another episode, so the first one begins nothing any more.
    let records = [incident("a", "oozie", 5, 10), incident("a", "oozie", 50, 60)];
    running.say.send(Feed::Records(Written::new(&right, 0, &records))).unwrap();
    running.committed(0, 2).await;
    assert_eq!(running.story(WEBHOOK).await, ["INTENT", "ATTEMPT 1", "OUTCOME unknown", "OUTCOME held"]);
    assert_eq!(running.story("a/-/50/oozie/announce").await, ["INTENT", "ATTEMPT 1", "OUTCOME succeeded"]);
    assert_eq!(target.calls().len(), 1);
}

fn bigpanda(activities: &'static str) -> Target {
    Target::replying(move |call: &Call| {
        if call.path.contains("/activities") { (200, activities.to_owned()) } else { (204, String::new()) }
    })
}

fn comments(target: &Target) -> Vec<Call> {
    target.calls().into_iter().filter(|call| call.path.ends_with("/comments")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comment_is_written_with_its_token_and_the_key() {
    let target = bigpanda("[]");
    let world = World::new(COMMENTING, &target);
    let running = world.start().await;
    let right = Owned::new(0);
    running.say.send(Feed::Assigned(vec![right.clone()])).unwrap();
    running.say.send(Feed::Records(Written::new(&right, 0, &[incident("a", "oozie", 5, 10)]))).unwrap();
    running.committed(0, 1).await;
    let calls = target.calls();
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].path, "/resources/v2.0/environments/5f0c/incidents/a/comments");
    assert_eq!(calls[0].header("authorization"), Some("Bearer key"));
    let body: serde_json::Value = serde_json::from_str(&calls[0].body).unwrap();
    let text = body["comment"].as_str().unwrap();
    assert!(text.starts_with("seen a\n\n[kafka_consumer "), "{text}");
    assert_eq!(running.state(COMMENT).await.terminal(), Some(Terminal::Succeeded));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comment_that_is_among_the_activities_is_not_written_again() {
    // The token that belongs to the episode.
    let target = bigpanda(r#"{"items": [{"type": "comment", "text": "seen a\n\n[kafka_consumer TOKEN]"}]}"#);
    let world = World::new(COMMENTING, &target);
    // Without the token the comment would be written: the body below shows which token to expect.
    let running = after_a_crash(&world, COMMENT).await;
    let written = comments(&target);
    assert_eq!(written.len(), 1, "another comment's token does not count");
    let body: serde_json::Value = serde_json::from_str(&written[0].body).unwrap();
    let token = body["comment"].as_str().unwrap().split("\n\n").nth(1).unwrap().to_owned();
    running.kill().await;

    let known = Target::replying(move |call: &Call| {
        if call.path.contains("/activities") {
            (200, format!(r#"{{"items": [{{"text": "{token}"}}]}}"#))
        } else {
            (204, String::new())
        }
    });
    let running = after_a_crash(&World::new(COMMENTING, &known), COMMENT).await;
    assert_eq!(comments(&known).len(), 0);
    assert_eq!(running.story(COMMENT).await, ["INTENT", "ATTEMPT 1", "OUTCOME unknown", "OUTCOME succeeded"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comment_is_held_while_the_activities_cannot_be_read() {
    let target = Target::answering(|_| 500);
    let running = after_a_crash(&World::new(COMMENTING, &target), COMMENT).await;
    assert_eq!(comments(&target).len(), 0);
    assert_eq!(running.story(COMMENT).await, ["INTENT", "ATTEMPT 1", "OUTCOME unknown", "OUTCOME held"]);
}

/// Redelivers a record that matches nothing any more after a crash.
async fn after_a_crash_without_a_match(world: &World, key: &str, entries: Vec<Entry>) -> Running {
    world.left(key, entries).await;
    let running = world.start().await;
    let right = Owned::new(0);
    running.say.send(Feed::Assigned(vec![right.clone()])).expect("the pipeline listens");
    let records = [incident("b", "other", 5, 10), incident("a", "other", 5, 10)];
    running.say.send(Feed::Records(Written::new(&right, 0, &records))).expect("the pipeline listens");
    running.committed(0, 2).await;
    running
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_is_settled_even_if_its_incident_matches_nothing_any_more() {
    let target = Target::start();
    let running = after_a_crash_without_a_match(&World::new(RULES, &target), WEBHOOK, in_flight()).await;
    assert_eq!(running.story(WEBHOOK).await, ["INTENT", "ATTEMPT 1", "OUTCOME unknown", "OUTCOME held"]);
    let mut intended = in_flight();
    intended.truncate(1);
    let running = after_a_crash_without_a_match(&World::new(RULES, &target), WEBHOOK, intended).await;
    assert_eq!(running.story(WEBHOOK).await, ["INTENT", "OUTCOME skipped"]);
    assert_eq!(target.calls().len(), 0);
    assert_eq!(running.ledger.unfinished().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_whose_action_is_gone_from_the_rules_is_held() {
    let target = Target::start();
    let key = "a/-/5/a former condition/announce".replace(' ', "%20");
    let running = after_a_crash(&World::new(RULES, &target), &key).await;
    assert_eq!(running.state(&key).await.terminal(), Some(Terminal::Held));
    assert_eq!(running.state(WEBHOOK).await.terminal(), Some(Terminal::Succeeded));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_lacks_what_the_template_needs_does_not_undo_an_attempt() {
    let target = Target::start();
    let rules = RULES.replace("{{attempt}}", "\"{{team}}\"");
    let running = after_a_crash(&World::new(&rules, &target), WEBHOOK).await;
    assert_eq!(running.state(WEBHOOK).await.terminal(), Some(Terminal::Held));
}
