//! Jobs of Screwdriver, against a server that answers as its API v4 documents.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kafka_consumer::ledger::{Attempt, Entry, Intent, Origin, Started, Terminal};
use kafka_consumer::pipeline::{Feed, Observer, Occurrence};
use serde_json::json;

use crate::engine::source::{Owned, Written};
use crate::engine::world::{Running, World, incident, one, reason, until};
use crate::world::target::{Call, Reply, Target};

const KEY: &str = "a/a-a/5/oozie/fix";

const RULES: &str = r#"
incident_conditions:
  - {name: oozie, active: true, tags: {alert_type: oozie}, alert_actions: [fix]}
alert_actions:
  - {name: fix, type: screwdriver, api_url: TARGET, ui_url: "https://cd.example", pipeline_id: 1089736, job_name: oozie_remediation,
     auth_secret: sd-token, polling_interval: 20ms, polling_timeout: 10s, timeout: 400ms, alert_parameters: [id],
     alert_tag_parameters: [host], extra_parameters: {incident: "{{incident.id}}", key: "$secret:extra"},
     retries: {attempts: 3, backoff: 10ms, max_backoff: 20ms}}
"#;

/// A Screwdriver with one pipeline.
#[derive(Clone, Default)]
struct Service {
    /// Cause messages of the events, the oldest first; an event's id is its place + 100.
    events: Arc<Mutex<Vec<String>>>,
    ended: Arc<AtomicBool>,
    failing: Arc<AtomicBool>,
    /// How the next requests for an event are answered instead; the last stays.
    starts: Arc<Mutex<Vec<Start>>>,
    keys_refused: Arc<AtomicUsize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    Well,
    /// It is made and the answer does not arrive whole.
    MadeAndTorn,
    /// It is made and the answer comes too late.
    MadeAndLate,
    /// It is not made.
    Refused(u16),
    /// Nothing is made and nothing answers whole.
    Torn,
}

impl Service {
    fn target(&self) -> Target {
        let service = self.clone();
        Target::serving(move |call| service.answer(call))
    }

    fn starting(self, starts: &[Start]) -> Self {
        *self.starts.lock().expect("no panic while holding it") = starts.iter().rev().copied().collect();
        self
    }

    fn ended(self) -> Self {
        self.ended.store(true, Ordering::SeqCst);
        self
    }

    fn count(&self) -> usize {
        self.events.lock().expect("no panic while holding it").len()
    }

    fn answer(&self, call: &Call) -> Reply {
        if call.line() == "GET /v4/auth/token" {
            if self.keys_refused.load(Ordering::SeqCst) > 0 {
                self.keys_refused.fetch_sub(1, Ordering::SeqCst);
                return Reply::json(401, json!({"statusCode": 401, "error": "Unauthorized"}));
            }
            assert!(call.path.ends_with("?api_token=hunter22"), "{}", call.path);
            return Reply::json(200, json!({"token": "a.signed.token"}));
        }
        assert_eq!(call.header("authorization"), Some("Bearer a.signed.token"), "{call:?}");
        match call.line().as_str() {
            "POST /v4/events" => self.start(call),
            "GET /v4/pipelines/1089736/events" => {
                let events = self.events.lock().expect("no panic while holding it");
                let one = |(place, cause): (usize, &String)| json!({"id": place + 100, "causeMessage": cause});
                Reply::json(200, events.iter().enumerate().rev().map(one).collect())
            }
            line if line.starts_with("GET /v4/events/") => Reply::json(200, self.builds()),
            line => panic!("nobody asks for {line}"),
        }
    }

    fn start(&self, call: &Call) -> Reply {
        let mut starts = self.starts.lock().expect("no panic while holding it");
        let start = if starts.len() > 1 { starts.pop() } else { starts.last().copied() }.unwrap_or(Start::Well);
        let mut events = self.events.lock().expect("no panic while holding it");
        if !matches!(start, Start::Refused(_) | Start::Torn) {
            events.push(call.json()["causeMessage"].as_str().expect("text").to_owned());
        }
        let made = Reply::json(201, json!({"id": events.len() + 99, "pipelineId": 1_089_736}));
        match start {
            Start::Well => made,
            Start::MadeAndTorn | Start::Torn => made.torn(),
            Start::MadeAndLate => made.after(Duration::from_millis(900)),
            Start::Refused(status) => Reply::json(status, json!({"statusCode": status})).with("Retry-After", "0"),
        }
    }

    fn builds(&self) -> serde_json::Value {
        if !self.ended.load(Ordering::SeqCst) {
            return json!([{"id": 7, "jobId": 1, "status": "RUNNING"}]);
        }
        let status = if self.failing.load(Ordering::SeqCst) { "FAILURE" } else { "SUCCESS" };
        json!([{"id": 7, "jobId": 1, "status": "SUCCESS"}, {"id": 8, "jobId": 2, "status": status, "statusMessage": "no disk"}])
    }
}

fn world(rules: &str, target: &Target) -> World {
    let world = World::new(rules, target);
    world.secret("sd-token", "hunter22");
    world.secret("extra", "hunter23");
    world
}

/// Feeds one matched incident without waiting for its end.
async fn fed(world: &World, records: &[String]) -> (Running, Owned) {
    let running = world.start().await;
    let right = Owned::new(0);
    running.say.send(Feed::Assigned(vec![right.clone()])).expect("the pipeline listens");
    running.say.send(Feed::Records(Written::new(&right, 0, records))).expect("the pipeline listens");
    (running, right)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_started_with_its_parameters_and_asked_for_until_it_has_succeeded() {
    let service = Service::default();
    let target = service.target();
    let world = world(RULES, &target);
    let (running, _) = fed(&world, &[incident("a", "oozie", 5, 10)]).await;
    until("it is asked for", || target.calls_of("GET /v4/events/100/builds").len() > 2).await;
    assert_eq!(running.committed_so_far(0), None, "the offset waits for the job");
    assert_eq!(running.story(KEY).await, ["INTENT", "ATTEMPT 1", "STARTED 100"]);
    service.ended.store(true, Ordering::SeqCst);
    running.committed(0, 1).await;
    assert_eq!(running.story(KEY).await, ["INTENT", "ATTEMPT 1", "STARTED 100", "OUTCOME succeeded"]);
    assert_eq!(reason(&running.state(KEY).await), "event 100 succeeded with 2 builds");
    let started = target.calls_of("POST /v4/events");
    assert_eq!(started.len(), 1);
    let body = started[0].json();
    let parameters = json!({
        "id": {"value": "a-a"}, "host": {"value": "h1"}, "incident": {"value": "a"}, "key": {"value": "hunter23"},
    });
    assert_eq!(body["meta"]["parameters"], parameters);
    assert_eq!((&body["pipelineId"], &body["startFrom"]), (&json!(1_089_736), &json!("oozie_remediation")));
    let cause = body["causeMessage"].as_str().unwrap();
    assert!(cause.starts_with("[kafka_consumer ") && cause.contains("incident a, alert a-a"), "{cause}");
    assert_eq!(target.calls_of("GET /v4/auth/token").len(), 1, "the token is kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_fails_names_the_builds_that_failed_and_is_not_started_again() {
    let service = Service::default().ended();
    service.failing.store(true, Ordering::SeqCst);
    let target = service.target();
    let running = one(&world(RULES, &target)).await;
    let state = running.state(KEY).await;
    assert_eq!(state.terminal(), Some(Terminal::Failed));
    let why = reason(&state);
    assert_eq!(why, "event 100 failed: FAILURE https://cd.example/pipelines/1089736/builds/8 (no disk)");
    assert_eq!(service.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_does_not_end_in_time_has_failed() {
    let service = Service::default();
    let target = service.target();
    let running = one(&world(&RULES.replace("polling_timeout: 10s", "polling_timeout: 200ms"), &target)).await;
    let state = running.state(KEY).await;
    assert_eq!(state.terminal(), Some(Terminal::Failed));
    assert!(reason(&state).starts_with("100 did not end within 200ms: "), "{}", reason(&state));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_it_is_asked_for_by_its_id_and_never_started_again() {
    let service = Service::default();
    let target = service.target();
    let world = world(RULES, &target);
    let records = [incident("a", "oozie", 5, 10)];
    let (running, _) = fed(&world, &records).await;
    until("it is asked for", || !target.calls_of("GET /v4/events/100/builds").is_empty()).await;
    running.kill().await;
    service.ended.store(true, Ordering::SeqCst);
    let (running, _) = fed(&world, &records).await;
    running.committed(0, 1).await;
    assert_eq!(running.story(KEY).await, ["INTENT", "ATTEMPT 1", "STARTED 100", "OUTCOME succeeded"]);
    assert_eq!(service.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_asked_for_to_its_end_even_if_its_incident_matches_nothing_any_more() {
    let service = Service::default().ended();
    let target = service.target();
    let world = world(RULES, &target);
    let origin = Origin { topic: "sre".into(), partition: 0, offset: 0, generation: 1 };
    let intent = Intent {
        action_type: "screwdriver".into(),
        request: String::new(),
        origin,
        by: "before".into(),
        because: Vec::new(),
    };
    let left = vec![
        Entry::Intent(intent),
        Entry::Attempt(Attempt { number: 1 }),
        Entry::Started(Started { id: "777".into() }),
    ];
    world.left(KEY, left).await;
    // Long ago: its time is over, and still it is asked once before anything is said of it.
    let (running, _) = fed(&world, &[incident("a", "other", 5, 10)]).await;
    running.committed(0, 1).await;
    assert_eq!(running.state(KEY).await.terminal(), Some(Terminal::Succeeded));
    assert!(!target.calls_of("GET /v4/events/777/builds").is_empty());
    assert_eq!(service.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_job_holds_neither_an_action_slot_nor_an_incident_slot() {
    let service = Service::default();
    let target = service.target();
    let mut world = world(RULES, &target);
    world.limits.max_concurrent_actions = 1;
    world.limits.max_concurrent_incidents = 1;
    let records: Vec<_> = (0..20).map(|number| incident(&format!("i{number}"), "oozie", 5, 10)).collect();
    let (running, _) = fed(&world, &records).await;
    until("all of them run", || service.count() == 20).await;
    assert_eq!(running.committed_so_far(0), None);
    service.ended.store(true, Ordering::SeqCst);
    running.committed(0, 20).await;
    assert_eq!(service.count(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_leaves_a_running_job_to_whoever_comes_next() {
    let service = Service::default();
    let target = service.target();
    let world = world(RULES, &target);
    let (running, _) = fed(&world, &[incident("a", "oozie", 5, 10)]).await;
    until("it is asked for", || !target.calls_of("GET /v4/events/100/builds").is_empty()).await;
    let (drained, remote) = running.drain().await;
    assert_eq!(drained.cut_off, 0, "it is left at once, not waited for");
    assert!(remote.asked(|asked| asked.committed.is_empty()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_unknown_fate_is_looked_for_by_its_cause() {
    for start in [Start::MadeAndTorn, Start::MadeAndLate] {
        let service = Service::default().starting(&[start]).ended();
        let target = service.target();
        let running = one(&world(RULES, &target)).await;
        let story = ["INTENT", "ATTEMPT 1", "OUTCOME unknown", "STARTED 100", "OUTCOME succeeded"];
        assert_eq!(running.story(KEY).await, story, "{start:?}");
        assert_eq!(service.count(), 1, "{start:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_was_not_made_is_made_after_a_look() {
    for start in [Start::Torn, Start::Refused(502)] {
        let service = Service::default().starting(&[start, Start::Well]).ended();
        let target = service.target();
        let running = one(&world(RULES, &target)).await;
        let story = [
            "INTENT",
            "ATTEMPT 1",
            "OUTCOME unknown",
            "OUTCOME retrying",
            "ATTEMPT 2",
            "STARTED 100",
            "OUTCOME succeeded",
        ];
        assert_eq!(running.story(KEY).await, story, "{start:?}");
        assert_eq!(service.count(), 1, "{start:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_certainly_not_taken_is_repeated_and_a_refusal_is_final() {
    let service = Service::default().starting(&[Start::Refused(429), Start::Refused(503), Start::Well]).ended();
    let target = service.target();
    let running = one(&world(RULES, &target)).await;
    assert_eq!(running.state(KEY).await.attempts(), 3);
    assert_eq!(running.state(KEY).await.terminal(), Some(Terminal::Succeeded));
    let service = Service::default().starting(&[Start::Refused(403)]);
    let target = service.target();
    let running = one(&world(RULES, &target)).await;
    assert_eq!(running.story(KEY).await, ["INTENT", "ATTEMPT 1", "OUTCOME failed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_key_is_fetched_anew_once() {
    let service = Service::default().ended();
    service.keys_refused.store(1, Ordering::SeqCst);
    let target = service.target();
    let running = one(&world(RULES, &target)).await;
    assert_eq!(running.state(KEY).await.terminal(), Some(Terminal::Succeeded));
    let service = Service::default();
    service.keys_refused.store(9, Ordering::SeqCst);
    let target = service.target();
    let running = one(&world(RULES, &target)).await;
    let state = running.state(KEY).await;
    assert_eq!(state.terminal(), Some(Terminal::Failed));
    let why = reason(&state);
    assert!(why.starts_with("nothing was started: the log-in with `sd-token` failed: HTTP 401"), "{why}");
    assert!(!why.contains("hunter22"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_one_job_with_the_values_of_all_supported_alerts() {
    let rules = r"
incident_conditions:
  - {name: oozie, active: true, alert_conditions: {host: {exists: true}}, incident_actions: [fix]}
incident_actions:
  - {name: fix, type: screwdriver_batch, api_url: TARGET, pipeline_id: 1089736, job_name: all, auth_secret: sd-token,
     polling_interval: 20ms, batch_alert_parameters: [id, host], batch_alert_tag_parameters: [rack], extra_parameters: {n: 2}}
";
    let service = Service::default().ended();
    let target = service.target();
    let record = r#"{"id": "a", "active": true, "startedOn": 5, "alerts": [{"id": "1", "host": "h1", "tags": [{"name": "rack", "value": "r1"}]},
        {"id": "2"}, {"id": "3", "host": "h3"}]}"#;
    let world = world(rules, &target);
    let (running, _) = fed(&world, &[record.to_owned()]).await;
    running.committed(0, 1).await;
    let started = target.calls_of("POST /v4/events");
    assert_eq!(started.len(), 1);
    let parameters = json!({
        "id": {"value": r#"["1","3"]"#}, "host": {"value": r#"["h1","h3"]"#}, "rack": {"value": r#"["r1",null]"#}, "n": {"value": "2"},
    });
    assert_eq!(started[0].json()["meta"]["parameters"], parameters);
    assert_eq!(running.state("a/-/5/oozie/fix").await.terminal(), Some(Terminal::Succeeded));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_asynchronous_job_is_done_when_it_is_started() {
    let rules = RULES
        .replace("type: screwdriver", "type: screwdriver_async")
        .replace("polling_interval: 20ms, polling_timeout: 10s, ", "");
    let service = Service::default();
    let target = service.target();
    let running = one(&world(&rules, &target)).await;
    assert_eq!(running.story(KEY).await, ["INTENT", "ATTEMPT 1", "OUTCOME succeeded"]);
    let why = "event 100 was started: https://cd.example/pipelines/1089736/events/100";
    assert_eq!(reason(&running.state(KEY).await), why);
    assert!(target.calls_of("GET /v4/events/100/builds").is_empty());
    let service = Service::default().starting(&[Start::MadeAndTorn]);
    let target = service.target();
    let running = one(&world(&rules, &target)).await;
    assert_eq!(running.story(KEY).await, ["INTENT", "ATTEMPT 1", "OUTCOME unknown", "OUTCOME succeeded"]);
    assert_eq!(service.count(), 1);
}

/// How long each job lasted that ended, and how it ended.
#[derive(Default)]
struct Ended(Mutex<Vec<(Terminal, Duration)>>);

impl Observer for Ended {
    fn observe(&self, occurrence: &Occurrence<'_>) {
        if let Occurrence::JobEnded { action_type: "screwdriver", how, took, .. } = *occurrence {
            self.0.lock().expect("no panic while holding it").push((how, took));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_lasts_from_its_start_to_its_end_also_over_a_restart() {
    let service = Service::default();
    let target = service.target();
    let mut world = world(RULES, &target);
    let ended = Arc::new(Ended::default());
    world.observer = ended.clone();
    let records = [incident("a", "oozie", 5, 10)];
    let (running, _right) = fed(&world, &records).await;
    until("it is asked for", || !target.calls_of("GET /v4/events/100/builds").is_empty()).await;
    let began = Instant::now();
    running.kill().await;
    until("a while has passed", || began.elapsed() > Duration::from_millis(300)).await;
    service.ended.store(true, Ordering::SeqCst);
    let (running, _right) = fed(&world, &records).await;
    running.committed(0, 1).await;
    let ended = ended.0.lock().expect("no panic while holding it").clone();
    assert_eq!((ended.len(), ended[0].0), (1, Terminal::Succeeded));
    assert!(ended[0].1 >= Duration::from_millis(300), "{ended:?}");
}
