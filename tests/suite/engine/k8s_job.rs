//! Jobs of Kubernetes, against a server that answers as its API batch/v1 documents.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use kafka_broker_double::target as double;
use kafka_broker_double::{Authority, Certificate};
use kafka_consumer::ledger::{Attempt, Entry, Intent, Origin, Terminal};
use serde_json::{Value, json};

use crate::engine::source::Owned;
use crate::engine::starts::{Start, Starts};
use crate::engine::world::{Running, World, incident, one, reason, until};
use crate::world::target::{Call, Reply, Target};

const KEY: &str = "a/a-a/5/oozie/fix";
const JOBS: &str = "/apis/batch/v1/namespaces/sre/jobs";

const RULES: &str = r#"
incident_conditions:
  - {name: oozie, active: true, tags: {alert_type: oozie}, alert_actions: [fix]}
alert_actions:
  - name: fix
    type: k8s_job
    api_url: TARGET
    namespace: sre
    auth_secret: k8s-token
    name_prefix: fix
    polling_interval: 20ms
    polling_timeout: 10s
    timeout: 400ms
    retries: {attempts: 3, backoff: 10ms, max_backoff: 20ms}
    spec:
      template:
        spec:
          restartPolicy: Never
          containers: [{name: fix, image: "registry.example/fix:1", args: ["--host", "{{host}}"]}]
"#;

/// A cluster with one namespace.
#[derive(Clone)]
struct Cluster {
    jobs: Arc<Mutex<BTreeMap<String, Value>>>,
    made: Arc<Mutex<usize>>,
    creates: Starts,
    condition: Arc<Mutex<Option<Value>>>,
}

fn complete() -> Value {
    json!({"type": "Complete", "status": "True"})
}

fn status(code: u16, reason: &str) -> Reply {
    Reply::json(code, json!({"kind": "Status", "status": "Failure", "reason": reason, "code": code}))
}

impl Cluster {
    fn new(creates: &[Start]) -> Self {
        Self {
            jobs: Arc::default(),
            made: Arc::default(),
            creates: Starts::new(creates),
            condition: Arc::new(Mutex::new(Some(complete()))),
        }
    }

    fn target(&self) -> Target {
        let cluster = self.clone();
        Target::serving(move |call| cluster.answer(call))
    }

    fn is(&self, condition: Option<Value>) {
        *self.condition.lock().expect("no panic while holding it") = condition;
    }

    /// How often a Job was made, whatever became of it.
    fn count(&self) -> usize {
        *self.made.lock().expect("no panic while holding it")
    }

    fn only_job(&self) -> Value {
        let jobs = self.jobs.lock().expect("no panic while holding it");
        assert_eq!(jobs.len(), 1);
        jobs.values().next().expect("one").clone()
    }

    fn answer(&self, call: &Call) -> Reply {
        if call.header("authorization") != Some("Bearer hunter22") {
            return status(401, "Unauthorized");
        }
        if call.line() == format!("POST {JOBS}") {
            return self.create(call);
        }
        let name = call.line().strip_prefix(&format!("GET {JOBS}/")).expect("a Job is asked for").to_owned();
        match self.jobs.lock().expect("no panic while holding it").get(&name) {
            None => status(404, "NotFound"),
            Some(job) => {
                let mut job = job.clone();
                let condition = self.condition.lock().expect("no panic while holding it").clone();
                job["status"] = json!({"active": 1, "conditions": condition.into_iter().collect::<Vec<_>>()});
                Reply::json(200, job)
            }
        }
    }

    fn create(&self, call: &Call) -> Reply {
        let create = self.creates.next();
        let job = call.json();
        if create.makes() {
            let name = job["metadata"]["name"].as_str().expect("a name").to_owned();
            let mut jobs = self.jobs.lock().expect("no panic while holding it");
            if jobs.contains_key(&name) {
                return status(409, "AlreadyExists");
            }
            jobs.insert(name, job.clone());
            *self.made.lock().expect("no panic while holding it") += 1;
        }
        let made = Reply::json(201, job);
        create.reply(made, status(504, "Timeout"), |code| status(code, "TooManyRequests"))
    }
}

fn world(rules: &str, target: &Target) -> World {
    let world = World::new(rules, target);
    world.secret("k8s-token", "hunter22");
    world
}

async fn fed(world: &World) -> (Running, Owned) {
    let running = world.start().await;
    let right = running.assign(0);
    running.read(&right, 0, &[incident("a", "oozie", 5, 10)]);
    (running, right)
}

fn in_flight() -> Vec<Entry> {
    let origin = Origin { topic: "sre".into(), partition: 0, offset: 0, generation: 1 };
    let action_type = "k8s_job".into();
    let intent = Intent { action_type, request: String::new(), origin, by: "before".into(), because: Vec::new() };
    vec![Entry::Intent(intent), Entry::Attempt(Attempt { number: 1 })]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_made_with_a_name_of_its_episode_and_asked_for_until_it_is_complete() {
    let cluster = Cluster::new(&[Start::Well]);
    cluster.is(None);
    let target = cluster.target();
    let world = world(RULES, &target);
    let (running, _right) = fed(&world).await;
    let name = |job: &Value| job["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    until("it is asked for", || target.calls().len() > 3).await;
    let job = cluster.only_job();
    assert_eq!(running.committed_so_far(0), None, "the offset waits for the Job");
    assert_eq!(running.story(KEY).await, ["INTENT", "ATTEMPT 1", &format!("STARTED {}", name(&job))]);
    cluster.is(Some(complete()));
    running.committed(0, 1).await;
    assert_eq!(reason(&running.state(KEY).await), format!("Job {} is complete", name(&job)));
    assert_eq!((&job["apiVersion"], &job["kind"]), (&json!("batch/v1"), &json!("Job")));
    assert_eq!(job["spec"]["template"]["spec"]["containers"][0]["args"], json!(["--host", "h1"]));
    assert_eq!((&job["spec"]["backoffLimit"], &job["spec"]["activeDeadlineSeconds"]), (&json!(0), &json!(10)));
    assert_eq!(job["metadata"]["annotations"]["kafka-consumer/episode-key"], KEY);
    assert_eq!(job["metadata"]["labels"]["app.kubernetes.io/managed-by"], "kafka_consumer");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_fails_says_why_and_is_not_made_again() {
    let cluster = Cluster::new(&[Start::Well]);
    cluster.is(Some(
        json!({"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "exit code 3"}),
    ));
    let target = cluster.target();
    let running = one(&world(RULES, &target)).await;
    let state = running.state(KEY).await;
    assert_eq!(state.terminal(), Some(Terminal::Failed));
    assert!(reason(&state).ends_with("failed: BackoffLimitExceeded: exit code 3"), "{}", reason(&state));
    assert_eq!(cluster.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_a_job_is_asked_for_by_its_name_and_never_made_again() {
    let cluster = Cluster::new(&[Start::Well]);
    cluster.is(None);
    let target = cluster.target();
    let world = world(RULES, &target);
    let (running, _right) = fed(&world).await;
    until("it is asked for", || target.calls().len() > 1).await;
    running.kill().await;
    cluster.is(Some(complete()));
    let (running, _right) = fed(&world).await;
    running.committed(0, 1).await;
    assert_eq!(running.state(KEY).await.terminal(), Some(Terminal::Succeeded));
    assert_eq!((cluster.count(), target.calls_of(&format!("POST {JOBS}")).len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_unknown_fate_is_looked_for_by_its_name() {
    for create in [Start::MadeAndTorn, Start::MadeAndFailed] {
        let cluster = Cluster::new(&[create]);
        let target = cluster.target();
        let running = one(&world(RULES, &target)).await;
        let story = running.story(KEY).await;
        assert_eq!(story[..3], ["INTENT", "ATTEMPT 1", "OUTCOME unknown"], "{create:?}");
        assert_eq!(running.state(KEY).await.terminal(), Some(Terminal::Succeeded), "{create:?} {story:?}");
        assert_eq!((cluster.count(), running.state(KEY).await.attempts()), (1, 1), "{create:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn that_it_exists_already_is_proof_and_nothing_is_made_twice() {
    // It arrives while we give it up, or after the look that did not find it; either way there can be only one.
    let cluster = Cluster::new(&[Start::MadeAndLate, Start::Well]);
    let target = cluster.target();
    let running = one(&world(RULES, &target)).await;
    assert_eq!(running.state(KEY).await.terminal(), Some(Terminal::Succeeded));
    assert_eq!(cluster.count(), 1);
    // An attempt that was written down as not done, and was done after all.
    let mut left = in_flight();
    left.push(Entry::Outcome(kafka_consumer::ledger::Outcome::Retrying { reason: "no answer".into() }));
    let world = world(RULES, &target);
    world.left(KEY, left).await;
    let (running, _right) = fed(&world).await;
    running.committed(0, 1).await;
    assert_eq!(running.state(KEY).await.terminal(), Some(Terminal::Succeeded));
    assert_eq!((cluster.count(), target.calls_of(&format!("POST {JOBS}")).len()), (1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_was_not_made_is_made_after_a_look() {
    let cluster = Cluster::new(&[Start::Torn, Start::Well]);
    let target = cluster.target();
    let running = one(&world(RULES, &target)).await;
    let story = running.story(KEY).await;
    assert_eq!(story[2..5], ["OUTCOME unknown", "OUTCOME retrying", "ATTEMPT 2"], "{story:?}");
    assert_eq!((cluster.count(), running.state(KEY).await.terminal()), (1, Some(Terminal::Succeeded)));
}

#[tokio::test(flavor = "multi_thread")]
async fn absence_proves_nothing_where_the_cluster_deletes_what_has_ended() {
    let rules = RULES.replace("      template:", "      ttlSecondsAfterFinished: 60\n      template:");
    let target = Cluster::new(&[Start::Well]).target();
    let world = world(&rules, &target);
    world.left(KEY, in_flight()).await;
    let (running, _right) = fed(&world).await;
    running.committed(0, 1).await;
    let state = running.state(KEY).await;
    assert_eq!(state.terminal(), Some(Terminal::Held));
    assert!(reason(&state).contains("deletes those that have ended"), "{}", reason(&state));
    assert_eq!(target.calls_of(&format!("POST {JOBS}")).len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_certainly_not_made_is_repeated_and_a_refusal_is_final() {
    let cluster = Cluster::new(&[Start::Refused(429), Start::Refused(503), Start::Well]);
    let target = cluster.target();
    let running = one(&world(RULES, &target)).await;
    assert_eq!(running.state(KEY).await.attempts(), 3);
    assert_eq!(running.state(KEY).await.terminal(), Some(Terminal::Succeeded));
    let cluster = Cluster::new(&[Start::Refused(403)]);
    let target = cluster.target();
    let running = one(&world(RULES, &target)).await;
    assert_eq!(running.story(KEY).await, ["INTENT", "ATTEMPT 1", "OUTCOME failed"]);
    assert_eq!(cluster.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_authority_of_the_cluster_is_trusted_for_its_api_alone() {
    let authority = Authority::new();
    let target = double::Target::start_tls(&authority.identity(&[], Certificate::Valid));
    let annotations = json!({"kafka-consumer/episode-key": KEY});
    let job = json!({"kind": "Job", "metadata": {"annotations": annotations}, "status": {"conditions": [complete()]}});
    target.default_reply(double::Reply::status(200).body(job.to_string()));
    let plain = Cluster::new(&[]).target();
    let ca = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(ca.path(), authority.pem()).expect("writes");
    let rules = RULES.replace("TARGET", target.url("").trim_end_matches('/'));
    let running = one(&world(&rules, &plain)).await;
    assert_eq!(running.state(KEY).await.terminal(), Some(Terminal::Failed), "nobody trusts it");
    let rules = rules.replace("namespace: sre", &format!("namespace: sre\n    ca_file: {}", ca.path().display()));
    let running = one(&world(&rules, &plain)).await;
    let state = running.state(KEY).await;
    assert_eq!(state.terminal(), Some(Terminal::Succeeded), "{}", reason(&state));
}
