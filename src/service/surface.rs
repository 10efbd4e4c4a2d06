//! What the HTTP listener shows of the service: asked for when somebody looks, never waited for.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio::sync::watch;

use crate::client::{ConsumerHandle, Snapshot};
use crate::container::Pulse;
use crate::http::{Change, Fact, Question, Readiness, Status, Surface, Table, Trouble};
use crate::ledger::{self, Ledger};
use crate::pipeline;
use crate::telemetry::metrics::{self as m, Sample};
use crate::telemetry::{lines_lost, scrubber};

use super::answers;
use super::health::{Health, Parts, State, readiness};
use super::observe::{connection_table, consumer_samples, float, group_facts, partition_table, size};
use super::tally::{Tally, status_samples};

/// A poll loop that has not gone round for so long is wedged.
const WEDGED_AFTER: Duration = Duration::from_secs(30);

/// The service, to look at.
pub(super) struct Face {
    health: Health,
    /// The poll loop's mark.
    pulse: Pulse,
    title: String,
    facts: Vec<Fact>,
    access: Access,
    started: SystemTime,
    running: OnceLock<Running>,
}

/// Who may ask, and who may change what.
#[derive(Debug, Clone, Default)]
pub(super) struct Access {
    /// Names of this host that a request may carry.
    pub(super) hosts: Vec<String>,
    /// The file with the token for changes.
    pub(super) token_file: Option<PathBuf>,
    /// The file that pauses.
    pub(super) kill_switch_file: Option<PathBuf>,
}

/// What can be asked while consumer and pipeline run.
pub(super) struct Running {
    pub(super) consumer: ConsumerHandle,
    pub(super) ledger: Ledger,
    pub(super) ledger_health: watch::Receiver<ledger::Health>,
    pub(super) pipeline: Arc<pipeline::Status>,
    /// Incidents with something left open.
    pub(super) left: pipeline::Left,
    pub(super) tally: Arc<Tally>,
}

impl Face {
    pub(super) fn new(health: Health, pulse: Pulse, title: String, facts: Vec<Fact>, access: Access) -> Self {
        Self { health, pulse, title, facts, access, started: SystemTime::now(), running: OnceLock::new() }
    }

    /// From now on the parts can be asked.
    pub(super) fn attach(&self, running: Running) {
        // It starts once; a second time would be the same parts.
        let _ = self.running.set(running);
    }

    fn parts(&self) -> Option<Parts> {
        let running = self.running.get()?;
        Some(Parts {
            consumer: running.consumer.snapshot(),
            ledger: running.ledger_health.borrow().clone(),
            halted: running.pipeline.halted(),
        })
    }

    /// Whether the service is ready, for probes without HTTP.
    pub(super) fn ready(&self) -> Readiness {
        match readiness(&self.health.now(), self.parts().as_ref()) {
            Readiness::Ready(what) => Readiness::Ready(clean(&what)),
            Readiness::NotReady(reasons) => Readiness::NotReady(reasons.iter().map(|reason| clean(reason)).collect()),
        }
    }

    fn samples(&self) -> Vec<Sample> {
        let now = self.health.now();
        let ready = matches!(self.ready(), Readiness::Ready(_));
        let started = self.started.duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut samples = vec![
            m::BUILD_INFO.sample([env!("CARGO_PKG_VERSION")], 1.0),
            m::START_TIME.sample([], started.as_secs_f64()),
            m::READY.sample([], f64::from(u8::from(ready))),
            m::LOG_LINES_LOST.sample([], float(lines_lost())),
        ];
        samples.extend(resident_bytes().map(|bytes| m::RESIDENT.sample([], bytes)));
        samples.extend(State::NAMES.map(|name| m::STATE.sample([name], f64::from(u8::from(name == now.name())))));
        if let Some(running) = self.running.get() {
            samples.extend(consumer_samples(&running.consumer.snapshot()));
            samples.extend(status_samples(&running.pipeline));
            samples.extend(running.tally.samples());
            samples.extend(ledger_samples(running));
        }
        samples
    }
}

impl Surface for Face {
    fn alive(&self) -> Result<(), String> {
        let silent = self.pulse.silent_for();
        if silent > WEDGED_AFTER {
            return Err(format!("the poll loop last went round {} s ago", silent.as_secs()));
        }
        match self.health.now() {
            State::Failed { why } => Err(clean(&why)),
            State::Starting { .. } | State::Standby { .. } | State::Running | State::Draining { .. } => Ok(()),
        }
    }

    fn readiness(&self) -> Readiness {
        self.ready()
    }

    fn status(&self) -> Status {
        let mut facts = vec![Fact { name: "State", value: clean(&self.health.now().to_string()) }];
        let up = self.started.elapsed().unwrap_or_default();
        facts.push(Fact { name: "Up", value: format!("{} s", up.as_secs()) });
        facts.extend(self.facts.iter().cloned());
        let mut tables = Vec::new();
        if let Some(running) = self.running.get() {
            let consumer = running.consumer.snapshot();
            facts.extend(group_facts(&consumer).into_iter().map(|fact| Fact { value: clean(&fact.value), ..fact }));
            facts.push(Fact { name: "Incidents running", value: running.pipeline.running().to_string() });
            facts.push(Fact { name: "Incidents waiting", value: running.pipeline.waiting().to_string() });
            facts.extend(running.pipeline.halted().map(|why| Fact { name: "Nothing starts", value: clean(&why) }));
            let tripped = running.pipeline.tripped();
            facts.extend(tripped.iter().map(|what| Fact { name: "Guard tripped", value: clean(what) }));
            facts.push(Fact { name: "Ledger", value: running.ledger.path().display().to_string() });
            tables = tables_of(&consumer, running);
        }
        let chart = self.running.get().map(|running| running.tally.hour().chart());
        Status { title: self.title.clone(), facts, tables, chart }
    }

    fn metrics(&self) -> (String, &'static str) {
        (m::encode(self.samples()), m::CONTENT_TYPE)
    }

    fn answer(&self, question: &Question) -> Result<Value, Trouble> {
        let answer = match (question, self.running.get()) {
            (Question::Health, _) => Ok(self.health_answer()),
            (_, None) => Err(Trouble::NotNow(format!("not yet: {}", self.health.now()))),
            (Question::Group, Some(running)) => Ok(answers::group(&running.consumer.snapshot())),
            (Question::Incidents, Some(running)) => Ok(running.tally.hour().answer()),
            (Question::Actions, Some(running)) => answers::open(&running.ledger),
            (Question::Decisions { incident }, Some(running)) => {
                answers::decisions(&running.ledger, incident.as_deref())
            }
            (Question::Episodes(wanted), Some(running)) => answers::episodes(&running.ledger, wanted),
            (Question::Episode { key }, Some(running)) => answers::episode(&running.ledger, key),
        };
        answer.map(clean_value).map_err(clean_trouble)
    }

    fn change(&self, change: &Change) -> Result<(), Trouble> {
        match change {
            Change::Pause { reason } => self.switch(Some(reason))?,
            Change::Resume => self.switch(None)?,
            Change::Settle { key, how, who, why } => {
                let running = self.running.get().ok_or_else(|| Trouble::NotNow("not yet: nothing runs".to_owned()))?;
                answers::settle(running, key, how, who, why).map_err(clean_trouble)?;
            }
        }
        tracing::warn!(?change, "changed over HTTP");
        Ok(())
    }

    fn token(&self) -> Option<String> {
        let token = std::fs::read_to_string(self.access.token_file.as_ref()?).ok()?;
        scrubber().register(token.trim());
        Some(token)
    }

    fn host_names(&self) -> Vec<String> {
        self.access.hosts.clone()
    }
}

impl Face {
    /// Engages the kill switch for a reason, or releases it.
    fn switch(&self, reason: Option<&str>) -> Result<(), Trouble> {
        let path = self.access.kill_switch_file.as_ref().ok_or_else(|| {
            Trouble::NotNow("kill_switch_file is not configured: there is nothing to pause by".to_owned())
        })?;
        let done = match reason {
            Some(reason) => std::fs::write(path, format!("{reason}\n")),
            None => match std::fs::remove_file(path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
                other => other,
            },
        };
        done.map_err(|error| Trouble::NotNow(format!("{}: {error}", path.display())))
    }

    fn health_answer(&self) -> Value {
        let (ready, reasons) = match self.ready() {
            Readiness::Ready(what) => (true, vec![what]),
            Readiness::NotReady(reasons) => (false, reasons),
        };
        json!({
            "ready": ready,
            "why": reasons,
            "alive": self.alive().is_ok(),
            "state": self.health.now().name(),
            "version": env!("CARGO_PKG_VERSION"),
            "up_s": self.started.elapsed().unwrap_or_default().as_secs(),
            "incidents_running": self.running.get().map(|running| running.pipeline.running()),
            "incidents_waiting": self.running.get().map(|running| running.pipeline.waiting()),
            "nothing_starts": self.running.get().and_then(|running| running.pipeline.halted()),
        })
    }
}

fn clean_trouble(trouble: Trouble) -> Trouble {
    match trouble {
        Trouble::Wrong(why) => Trouble::Wrong(clean(&why)),
        Trouble::NotNow(why) => Trouble::NotNow(clean(&why)),
    }
}

/// Every text in it.
fn clean_value(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(clean(&text)),
        Value::Array(items) => Value::Array(items.into_iter().map(clean_value).collect()),
        Value::Object(fields) => fields.into_iter().map(|(name, value)| (name, clean_value(value))).collect(),
        other => other,
    }
}

fn tables_of(consumer: &Snapshot, running: &Running) -> Vec<Table> {
    let mut partitions = partition_table(consumer);
    let mut connections = connection_table(consumer);
    for cell in partitions.rows.iter_mut().chain(&mut connections.rows).flatten() {
        *cell = clean(cell);
    }
    vec![partitions, connections, running.tally.incident_table(), running.tally.action_table()]
}

fn ledger_samples(running: &Running) -> Vec<Sample> {
    let writable = matches!(*running.ledger_health.borrow(), ledger::Health::Writable);
    let written = running.ledger.written();
    vec![
        m::LEDGER_WRITABLE.sample([], f64::from(u8::from(writable))),
        m::LEDGER_COMMITS.sample([], float(written.commits)),
        m::LEDGER_RECORDS.sample([], float(written.records)),
    ]
}

/// Errors may quote what they got from elsewhere.
fn clean(text: &str) -> String {
    scrubber().scrub(text).into_owned()
}

fn resident_bytes() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: usize = line.split_whitespace().next()?.parse().ok()?;
    Some(size(kib.saturating_mul(1024)))
}
