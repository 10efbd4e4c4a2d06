//! Jobs of AWX, against a server that answers as its API v2 documents.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use kafka_consumer::ledger::Terminal;
use serde_json::{Value, json};

use crate::engine::source::Owned;
use crate::engine::starts::{Start, Starts};
use crate::engine::world::{Running, World, incident, one, reason, until};
use crate::world::target::{Call, Reply, Target};

const KEY: &str = "a/a-a/5/oozie/fix";

const RULES: &str = r#"
incident_conditions:
  - {name: oozie, active: true, tags: {alert_type: oozie}, alert_actions: [fix]}
alert_actions:
  - {name: fix, type: awx, api_url: "TARGET/api/v2", job_template_id: 42, auth_secret: awx-token, limit: "{{host}}",
     polling_interval: 20ms, polling_timeout: 10s, timeout: 400ms, alert_parameters: [id], alert_tag_parameters: [host],
     extra_vars: {incident: "{{incident.id}}", key: "$secret:extra"}, retries: {attempts: 3, backoff: 10ms, max_backoff: 20ms}}
"#;

/// An AWX with one job template.
#[derive(Clone)]
struct Service {
    /// `extra_vars` of the jobs as AWX keeps them, the oldest first; a job's id is its place + 100.
    jobs: Arc<Mutex<Vec<String>>>,
    status: Arc<Mutex<&'static str>>,
    launches: Starts,
    prompts: Arc<AtomicBool>,
    /// The newest versions leave the variables out of lists, unless they are asked for; older ones do not know the question.
    knows_include: Arc<AtomicBool>,
}

impl Service {
    fn new(launches: &[Start]) -> Self {
        let yes = || Arc::new(AtomicBool::new(true));
        Self {
            jobs: Arc::default(),
            status: Arc::new(Mutex::new("successful")),
            launches: Starts::new(launches),
            prompts: yes(),
            knows_include: yes(),
        }
    }

    fn target(&self) -> Target {
        let service = self.clone();
        Target::serving(move |call| service.answer(call))
    }

    fn is(&self, status: &'static str) {
        *self.status.lock().expect("no panic while holding it") = status;
    }

    fn count(&self) -> usize {
        self.jobs.lock().expect("no panic while holding it").len()
    }

    fn answer(&self, call: &Call) -> Reply {
        if call.header("authorization") != Some("Bearer hunter22") {
            return Reply::json(401, json!({"detail": "Authentication credentials were not provided."}));
        }
        let prompts = self.prompts.load(Ordering::SeqCst);
        match call.line().as_str() {
            "GET /api/v2/job_templates/42/" => Reply::json(
                200,
                json!({"id": 42, "ask_variables_on_launch": prompts, "ask_limit_on_launch": true, "job_slice_count": 1}),
            ),
            "POST /api/v2/job_templates/42/launch/" => self.launch(call),
            "GET /api/v2/job_templates/42/jobs/" => self.list(call),
            line if line.starts_with("GET /api/v2/jobs/") => {
                let status = *self.status.lock().expect("no panic while holding it");
                let id: u64 =
                    line.trim_start_matches("GET /api/v2/jobs/").trim_end_matches('/').parse().expect("an id");
                let why = if status == "error" { "no capacity" } else { "" };
                Reply::json(
                    200,
                    json!({"id": id, "type": "job", "status": status, "failed": false, "job_explanation": why}),
                )
            }
            line => panic!("nobody asks for {line}"),
        }
    }

    fn launch(&self, call: &Call) -> Reply {
        let launch = self.launches.next();
        let mut jobs = self.jobs.lock().expect("no panic while holding it");
        if launch.makes() {
            jobs.push(call.json()["extra_vars"].to_string());
        }
        let id = jobs.len() + 99;
        let made =
            Reply::json(201, json!({"job": id, "ignored_fields": {}, "id": id, "type": "job", "status": "pending"}));
        let failed = Reply::json(502, json!({"detail": "Bad Gateway"}));
        launch.reply(made, failed, |status| Reply::json(status, json!({"detail": "no"})))
    }

    fn list(&self, call: &Call) -> Reply {
        let includes = call.path.contains("include=extra_vars");
        let knows = self.knows_include.load(Ordering::SeqCst);
        if includes && !knows {
            return Reply::json(400, json!({"detail": "Job has no field named 'include'"}));
        }
        assert!(call.path.contains("order_by=-id"), "{}", call.path);
        let jobs = self.jobs.lock().expect("no panic while holding it");
        let one = |(place, variables): (usize, &String)| {
            let mut job = json!({"id": place + 100, "status": "running"});
            if includes || !knows {
                job["extra_vars"] = json!(variables);
            }
            job
        };
        let results: Vec<Value> = jobs.iter().enumerate().rev().map(one).collect();
        Reply::json(200, json!({"count": results.len(), "next": null, "previous": null, "results": results}))
    }
}

fn world(target: &Target) -> World {
    let world = World::new(RULES, target);
    world.secret("awx-token", "hunter22");
    world.secret("extra", "hunter23");
    world
}

/// Feeds one matched incident without waiting for its end.
async fn fed(world: &World) -> (Running, Owned) {
    let running = world.start().await;
    let right = running.assign(0);
    running.read(&right, 0, &[incident("a", "oozie", 5, 10)]);
    (running, right)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_is_launched_with_its_variables_and_asked_for_until_it_was_successful() {
    let service = Service::new(&[Start::Well]);
    service.is("running");
    let target = service.target();
    let world = world(&target);
    let (running, _right) = fed(&world).await;
    until("it is asked for", || target.calls_of("GET /api/v2/jobs/100/").len() > 2).await;
    assert_eq!(running.committed_so_far(0), None, "the offset waits for the job");
    assert_eq!(running.story(KEY).await, ["INTENT", "ATTEMPT 1", "STARTED 100"]);
    service.is("successful");
    running.committed(0, 1).await;
    assert_eq!(reason(&running.state(KEY).await), "job 100 was successful");
    let launched = target.calls_of("POST /api/v2/job_templates/42/launch/");
    assert_eq!(launched.len(), 1);
    let body = launched[0].json();
    assert_eq!(body["limit"], "h1");
    let variables = &body["extra_vars"];
    let plain = ["id", "host", "incident", "key"].map(|name| variables[name].as_str().unwrap_or_default());
    assert_eq!(plain, ["a-a", "h1", "a", "hunter23"]);
    assert!(variables["kafka_consumer_episode"].as_str().unwrap().starts_with("[kafka_consumer "), "{variables}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_does_not_succeed_says_where_to_look_and_is_not_launched_again() {
    let service = Service::new(&[Start::Well]);
    service.is("error");
    let target = service.target();
    let running = one(&world(&target)).await;
    let state = running.state(KEY).await;
    assert_eq!(state.terminal(), Some(Terminal::Failed));
    let wanted =
        format!("job 100: error (no capacity); its output: {}/api/v2/jobs/100/stdout/?format=txt", target.url());
    assert_eq!(reason(&state), wanted);
    assert_eq!(service.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_a_job_is_asked_for_by_its_id_and_never_launched_again() {
    let service = Service::new(&[Start::Well]);
    service.is("running");
    let target = service.target();
    let world = world(&target);
    let (running, _right) = fed(&world).await;
    until("it is asked for", || !target.calls_of("GET /api/v2/jobs/100/").is_empty()).await;
    running.kill().await;
    service.is("successful");
    let (running, _right) = fed(&world).await;
    running.committed(0, 1).await;
    assert_eq!(running.story(KEY).await, ["INTENT", "ATTEMPT 1", "STARTED 100", "OUTCOME succeeded"]);
    assert_eq!(service.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_launch_of_unknown_fate_is_looked_for_by_its_token_in_old_and_new_versions() {
    for launch in [Start::MadeAndTorn, Start::MadeAndLate, Start::MadeAndFailed] {
        for knows_include in [true, false] {
            let service = Service::new(&[launch]);
            service.knows_include.store(knows_include, Ordering::SeqCst);
            let target = service.target();
            let running = one(&world(&target)).await;
            let story = ["INTENT", "ATTEMPT 1", "OUTCOME unknown", "STARTED 100", "OUTCOME succeeded"];
            assert_eq!(running.story(KEY).await, story, "{launch:?}");
            assert_eq!(service.count(), 1, "{launch:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_launch_that_was_not_made_is_made_after_a_look() {
    for launch in [Start::Torn, Start::Refused(502)] {
        let service = Service::new(&[launch, Start::Well]);
        let target = service.target();
        let running = one(&world(&target)).await;
        let story = running.story(KEY).await;
        assert_eq!(story[2..4], ["OUTCOME unknown", "OUTCOME retrying"], "{story:?}");
        assert_eq!(running.state(KEY).await.terminal(), Some(Terminal::Succeeded), "{launch:?}");
        assert_eq!(service.count(), 1, "{launch:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_certainly_not_launched_is_repeated_and_a_refusal_is_final() {
    let service = Service::new(&[Start::Refused(429), Start::Refused(503), Start::Well]);
    let target = service.target();
    let running = one(&world(&target)).await;
    assert_eq!(running.state(KEY).await.attempts(), 3);
    assert_eq!(running.state(KEY).await.terminal(), Some(Terminal::Succeeded));
    let service = Service::new(&[Start::Refused(405)]);
    let target = service.target();
    let running = one(&world(&target)).await;
    assert_eq!(running.story(KEY).await, ["INTENT", "ATTEMPT 1", "OUTCOME failed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_that_would_ignore_the_variables_is_not_launched() {
    let service = Service::new(&[Start::Well]);
    service.prompts.store(false, Ordering::SeqCst);
    let target = service.target();
    let running = one(&world(&target)).await;
    let state = running.state(KEY).await;
    assert_eq!(state.terminal(), Some(Terminal::Failed));
    assert!(reason(&state).contains("ask_variables_on_launch"), "{}", reason(&state));
    assert_eq!(service.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incident_cannot_widen_the_limit() {
    for host in ["all", "h1,h2", "*", "!h1", "~.*", "@file"] {
        let service = Service::new(&[Start::Well]);
        let target = service.target();
        let running = world(&target).start().await;
        let right = running.assign(0);
        running.read(&right, 0, &[incident("a", "oozie", 5, 10).replace("h1", host)]);
        running.committed(0, 1).await;
        assert_eq!(running.story(KEY).await, ["OUTCOME failed"], "{host}");
        assert_eq!(target.calls().len(), 0, "{host}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_token_is_told_without_its_value() {
    let service = Service::new(&[Start::Well]);
    let target = service.target();
    let world = world(&target);
    world.secret("awx-token", "hunter99");
    let running = one(&world).await;
    let state = running.state(KEY).await;
    assert_eq!(state.terminal(), Some(Terminal::Failed));
    assert!(reason(&state).starts_with("nothing was launched: HTTP 401"), "{}", reason(&state));
}
