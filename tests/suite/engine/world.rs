//! A pipeline with a ledger on disk, a target on loopback and a source that the test speaks through.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kafka_consumer::action::{BigPanda, BigPandaSettings, Definitions, Flow, Network, Surroundings};
use kafka_consumer::client::{Resolver, TlsSettings};
use kafka_consumer::condition::Conditions;
use kafka_consumer::dead_letter::DeadLetters;
use kafka_consumer::guard::Rules;
use kafka_consumer::incident;
use kafka_consumer::ledger::{Entry, EpisodeKey, Ledger, Record, State};
use kafka_consumer::pipeline::{
    Domain, Drained, Edition, Executor, Feed, Letters, Limits, Observer, PipelineError, Rulebook, Status, run,
    wall_clock_ms,
};
use kafka_consumer::secret::{Provider, SecretText, Secrets};
use kafka_consumer::transport::{HttpClient, HttpSettings};
use kafka_consumer::yaml::{Mistakes, Reader, parse};
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::engine::source::{Owned, Remote, Said, Script, Written};
use crate::world::target::Target;

/// How long anything may take before the test fails.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// Polls until a condition holds.
pub(super) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Rules with one condition on `alert_type`, and actions that ask `TARGET`.
pub(super) const RULES: &str = r#"
incident_conditions:
  - name: oozie
    active: true
    tags: {alert_type: oozie}
    incident_actions: [announce]
incident_actions:
  - {name: announce, type: webhook, url: "TARGET/{{incident.id}}", body: '{"id": "{{incident.id}}", "try": {{attempt}}}',
     retries: {attempts: 4, backoff: 10ms, max_backoff: 20ms}, timeout: 2s}
"#;

/// An incident that matches [`RULES`] when `kind` is `oozie`.
pub(super) fn incident(id: &str, kind: &str, started: i64, updated: i64) -> String {
    format!(
        r#"{{"incident": {{"id": "{id}", "status": "critical", "active": true, "resolved": false, "startedOn": {started},
            "updatedOn": {updated}, "incidentTags": [{{"id": "alert_type", "value": "{kind}"}}],
            "alerts": [{{"id": "{id}-a", "active": true, "startedOn": {started}, "tags": [{{"name": "host", "value": "h1"}}]}}]}}}}"#
    )
}

/// What stays when the process goes: the disk, and the world outside.
pub(super) struct World {
    pub(super) dir: tempfile::TempDir,
    pub(super) rules: String,
    pub(super) limits: Limits,
    /// Without a way out.
    pub(super) shadow: bool,
    /// What a search of its bytes rules out is not read.
    pub(super) passes_over_unread: bool,
    /// Who is told of what happens.
    pub(super) observer: Arc<dyn Observer>,
}

/// A running pipeline.
pub(super) struct Running {
    pub(super) say: UnboundedSender<Said>,
    pub(super) remote: Remote,
    pub(super) ledger: Ledger,
    pub(super) status: Arc<Status>,
    pub(super) rulebook: Arc<Rulebook>,
    stop: CancellationToken,
    task: JoinHandle<Result<Drained, PipelineError>>,
}

impl World {
    pub(super) fn new(rules: &str, target: &Target) -> Self {
        let limits = Limits { commit_interval: Duration::from_millis(10), ..Limits::default() };
        let dir = tempfile::tempdir().expect("a directory");
        Self {
            dir,
            rules: rules.replace("TARGET", &target.url()),
            limits,
            shadow: false,
            passes_over_unread: false,
            observer: Arc::new(()),
        }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A secret whose value a file holds.
    pub(super) fn secret(&self, name: &str, value: &str) {
        std::fs::write(self.path(&format!("secret-{name}")), value).expect("writes");
    }

    fn secrets(&self) -> Vec<(String, Provider)> {
        let files = std::fs::read_dir(self.dir.path()).expect("lists").map(|entry| entry.expect("an entry").path());
        let secret = |path: PathBuf| {
            let name = path.file_name()?.to_str()?.strip_prefix("secret-")?.to_owned();
            Some((name, Provider::File(path)))
        };
        files.filter_map(secret).collect()
    }

    pub(super) async fn ledger(&self) -> Ledger {
        let path = self.path("ledger.redb");
        let opened = Ledger::open_or_wait(&path, "test", |_| {});
        tokio::time::timeout(PATIENCE, opened).await.expect("in time").expect("opens")
    }

    /// Writes what an earlier process left.
    pub(super) async fn left(&self, key: &str, entries: Vec<Entry>) {
        let ledger = self.ledger().await;
        let key: EpisodeKey = key.parse().expect("a key");
        let records = entries.into_iter().map(|entry| Record { key: key.clone(), at_ms: 1, entry }).collect();
        ledger.append(records).await.expect("appends");
    }

    pub(super) async fn start(&self) -> Running {
        self.start_on(self.ledger().await, Remote::default())
    }

    /// The same on a ledger that is open, with commits that go there.
    pub(super) fn start_on(&self, ledger: Ledger, remote: Remote) -> Running {
        let domain = Arc::new(self.domain(ledger.clone()));
        let (status, rulebook) = (Arc::clone(&domain.status), Arc::clone(&domain.rulebook));
        let (mut source, say) = Script::new(remote.clone());
        let stop = CancellationToken::new();
        let token = stop.clone();
        let task = tokio::spawn(async move { run(&mut source, domain, token).await });
        Running { say, remote, ledger, status, rulebook, stop, task }
    }

    /// What these rules say.
    pub(super) fn edition(&self, rules: &str) -> Edition {
        let mistakes = Mistakes::default();
        let root = parse(rules, &mistakes).expect("yaml");
        let flow = if root.get("flow").is_some() { Flow::ALL } else { Flow::default() };
        let names = self.secrets().into_iter().map(|(name, _)| name).collect();
        let surroundings = Surroundings { bigpanda: true, secrets: names, flow };
        let (of_incident, of_alert) = (root.get("incident_actions"), root.get("alert_actions"));
        let definitions = Definitions::read(of_incident, of_alert, &surroundings, &mistakes);
        let conditions = Conditions::compile(root.get("incident_conditions"), "incident_conditions", &mistakes);
        let limits = root.get("limits").map(|node| Reader::new(node, "limits", &mistakes));
        let guards = limits.map(|limits| Rules::read(&limits)).unwrap_or_default();
        assert!(mistakes.is_empty(), "{mistakes}");
        Edition { conditions, definitions, guards }
    }

    fn domain(&self, ledger: Ledger) -> Domain {
        let root = parse(&self.rules, &Mistakes::default()).expect("yaml");
        let base = root.get("bigpanda").and_then(|node| node.text()).unwrap_or("http://127.0.0.1:1");
        let bigpanda = BigPanda::new(BigPandaSettings {
            base_url: base.parse().expect("a URL"),
            environment_id: "5f0c".to_owned(),
            api_key: SecretText::new("key"),
            service_account_id: Some("60aa".to_owned()),
        });
        let tls = TlsSettings::default();
        let http = HttpClient::new(Resolver::system(PATIENCE), tls, HttpSettings::default()).expect("builds");
        Domain {
            rulebook: Arc::new(Rulebook::new(self.edition(&self.rules))),
            ledger,
            executor: if self.shadow {
                Executor::Shadow
            } else {
                Executor::Live(Network::new(http, Secrets::new(self.secrets()), Some(bigpanda)))
            },
            dead_letters: Some(Letters::File(DeadLetters::open(&self.path("dead.jsonl")).expect("opens"))),
            kill_switch_file: Some(self.path("PAUSED")),
            limits: self.limits,
            incident_limits: incident::Limits::default(),
            passes_over_unread: self.passes_over_unread,
            observer: Arc::clone(&self.observer),
            status: Arc::default(),
            left: kafka_consumer::pipeline::Left::default(),
            desk: kafka_consumer::pipeline::Desk::default(),
            adopt: |_, _| {},
            name: "test".to_owned(),
            now_ms: wall_clock_ms,
        }
    }
}

/// Runs one matched incident to its commit.
pub(super) async fn one(world: &World) -> Running {
    let running = world.start().await;
    let right = running.assign(0);
    let record = incident("a", "oozie", 5, 10);
    running.read(&right, 0, &[record]);
    running.committed(0, 1).await;
    running
}

/// The reason with which an episode ended.
pub(super) fn reason(state: &State) -> &str {
    match state {
        State::Finished { reason, .. } => reason,
        other => panic!("{other:?}"),
    }
}

impl Running {
    /// Gives the pipeline a partition.
    pub(super) fn assign(&self, partition: i32) -> Owned {
        let right = Owned::new(partition);
        self.tell(Feed::Assigned(vec![right.clone()]));
        right
    }

    /// Lets it read these records, the first of them at `base`.
    pub(super) fn read(&self, right: &Owned, base: i64, records: &[String]) {
        self.tell(Feed::Records(Written::new(right, base, records)));
    }

    /// Says anything else that a source may say.
    pub(super) fn tell(&self, what: Said) {
        self.say.send(what).expect("the pipeline listens");
    }

    pub(super) async fn committed(&self, partition: i32, next: i64) {
        let what = format!("offset {next} of partition {partition} is committed");
        until(&what, || self.remote.asked(|asked| asked.committed.get(&partition) == Some(&next))).await;
    }

    pub(super) fn committed_so_far(&self, partition: i32) -> Option<i64> {
        self.remote.asked(|asked| asked.committed.get(&partition).copied())
    }

    pub(super) async fn state(&self, key: &str) -> State {
        self.ledger.state(key.parse().expect("a key")).await.expect("reads")
    }

    /// The story of an episode in its entries.
    pub(super) async fn story(&self, key: &str) -> Vec<String> {
        let entries = self.ledger.entries(key.parse().expect("a key")).await.expect("reads");
        entries.iter().map(|record| record.entry.to_string()).collect()
    }

    /// Asks for the end and waits for it.
    pub(super) async fn drain(self) -> (Drained, Remote) {
        self.stop.cancel();
        let ended = tokio::time::timeout(PATIENCE, self.task).await.expect("in time").expect("no panic");
        (ended.expect("drains"), self.remote)
    }

    pub(super) fn ask_to_stop(&self) {
        self.stop.cancel();
    }

    /// Ends like a killed process: nothing is finished, nothing is told.
    pub(super) async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}
