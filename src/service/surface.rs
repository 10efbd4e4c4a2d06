//! What the HTTP listener shows of the service: asked for when somebody looks, never waited for.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio::sync::watch;

use crate::certificate::Shown;
use crate::client::ConsumerHandle;
use crate::container::Pulse;
use crate::http::{Cell, Change, Fact, Part, Question, Readiness, Section, Status, Surface, Trouble};
use crate::ledger::{self, Ledger};
use crate::pipeline;
use crate::telemetry::metrics::{self as m, Sample};
use crate::telemetry::{lines_lost, scrubber};
use crate::traces::Counts;

use super::answers;
use super::health::{Health, Parts, State, readiness};
use super::observe::{certificate_facts, certificate_samples, consumer_samples, float, size};
use super::page::{self, Switch};
use super::reload::Reloads;
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
    certificate: OnceLock<Shown>,
    traces: OnceLock<Arc<Counts>>,
    reloads: Reloads,
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
    /// Where the guards are made to forget.
    pub(super) desk: pipeline::Desk,
    pub(super) tally: Arc<Tally>,
    /// The last look into the ledger.
    pub(super) view: page::Cache,
}

impl Face {
    pub(super) fn new(
        health: Health,
        pulse: Pulse,
        title: String,
        facts: Vec<Fact>,
        access: Access,
        reloads: Reloads,
    ) -> Self {
        let (running, certificate, traces) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        Self { health, pulse, title, facts, access, started: SystemTime::now(), running, certificate, traces, reloads }
    }

    /// From now on the parts can be asked.
    pub(super) fn attach(&self, running: Running) {
        // It starts once; a second time would be the same parts.
        let _ = self.running.set(running);
    }

    /// From now on the certificate is shown.
    pub(super) fn show_certificate(&self, shown: Shown) {
        let _ = self.certificate.set(shown);
    }

    /// From now on it is counted what became of spans.
    pub(super) fn show_traces(&self, counts: Arc<Counts>) {
        let _ = self.traces.set(counts);
    }

    /// What an operator should know although the service works.
    fn warnings(&self) -> Vec<String> {
        let certificate = self.certificate.get().and_then(|shown| shown.now().trouble);
        certificate.into_iter().chain(self.reloads.warning()).map(|warning| clean(&warning)).collect()
    }

    fn parts(&self) -> Option<Parts> {
        let running = self.running.get()?;
        Some(Parts {
            consumer: running.consumer.snapshot(),
            ledger: running.ledger_health.borrow().clone(),
            halted: running.pipeline.halted(),
            dead_letters_wait: running.pipeline.dead_letters_wait(),
        })
    }

    /// Whether the service is ready, for probes without HTTP.
    pub(super) fn ready(&self) -> Readiness {
        match readiness(&self.health.now(), self.parts().as_ref()) {
            Readiness::Ready(mut what) => {
                for warning in self.warnings() {
                    what.push_str("; warning: ");
                    what.push_str(&warning);
                }
                Readiness::Ready(clean(&what))
            }
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
        samples.extend(self.certificate.get().into_iter().flat_map(certificate_samples));
        samples.extend(self.reloads.samples());
        if let Some(spans) = self.traces.get() {
            samples.push(m::SPANS_DELIVERED.sample([], float(spans.delivered())));
            samples.push(m::SPANS_DROPPED.sample([], float(spans.dropped())));
        }
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

    fn status(&self, incident: Option<&str>, disk: bool) -> Status {
        let now = self.health.now();
        let up = self.started.elapsed().unwrap_or_default();
        let subtitle = format!("{} · up {} · {now}", env!("CARGO_PKG_VERSION"), page::length(up));
        let mut status = Status { title: self.title.clone(), subtitle, ..Status::default() };
        let switches = if disk { Switch::engaged(self.access.kill_switch_file.as_deref()) } else { Vec::new() };
        status.warnings = switches.iter().map(|on| format!("Paused: {}: {}", on.stops, on.reason)).collect();
        status.warnings.extend(self.warnings());
        if let Some(running) = self.running.get() {
            status.warnings.extend(running.pipeline.tripped());
            let consumer = running.consumer.snapshot();
            let view = disk.then(|| running.view.look(&running.ledger));
            let found = incident.map(|incident| found(running, incident, disk));
            status.tiles = page::tiles(&consumer, running, view.as_ref());
            status.sections = page::sections(&consumer, running, &switches, view.as_ref(), found);
        }
        let certificate = self.certificate.get().and_then(certificate_facts);
        let facts = self.facts.iter().cloned().chain([self.reloads.fact()]).chain(certificate).chain(
            self.running
                .get()
                .map(|running| Fact { name: "Ledger", value: running.ledger.path().display().to_string().into() }),
        );
        let parts = vec![Part::Facts(facts.collect())];
        status.sections.push(Section { id: "configuration", title: "Configuration".to_owned(), folded: false, parts });
        clean_status(status)
    }

    fn metrics(&self) -> (String, &'static str) {
        (m::encode(self.samples()), m::CONTENT_TYPE)
    }

    fn answer(&self, question: &Question) -> Result<Value, Trouble> {
        let answer = match (question, self.running.get()) {
            (Question::Health, _) => Ok(self.health_answer()),
            (_, None) => Err(Trouble::NotNow(format!("not yet: {}", self.health.now()))),
            (Question::Group, Some(running)) => Ok(answers::group(&running.consumer.snapshot())),
            (Question::Client, Some(running)) => {
                Ok(answers::client(&running.consumer.snapshot(), &running.consumer.flight_recorder()))
            }
            (Question::Incidents, Some(running)) => Ok(running.tally.hour().answer()),
            (Question::Actions, Some(running)) => looked(running).map(|view| page::rows(&view.open)),
            (Question::Guards, Some(running)) => {
                Ok(page::guards_answer(running, &Switch::engaged(self.access.kill_switch_file.as_deref())))
            }
            (Question::Decisions { incident: None }, Some(running)) => {
                looked(running).map(|view| page::rows(&view.recent))
            }
            (Question::Decisions { incident: Some(incident) }, Some(running)) => {
                answers::of_incident(&running.ledger, incident).map(|found| page::rows(&found))
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
            Change::Reset { what, who, why } => {
                let running = self.running.get().ok_or_else(|| Trouble::NotNow("not yet: nothing runs".to_owned()))?;
                answers::reset(running, what, who, why).map_err(clean_trouble)?;
            }
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
            "last_reload": self.reloads.answer(),
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

/// The ledger as the page shows it.
fn looked(running: &Running) -> Result<page::View, Trouble> {
    let view = running.view.look(&running.ledger);
    match view.trouble {
        Some(why) => Err(Trouble::NotNow(why)),
        None => Ok(view),
    }
}

/// The decisions about one incident.
fn found(running: &Running, incident: &str, disk: bool) -> Section {
    let stories =
        if disk { answers::stories(&running.ledger, incident) } else { Err(Trouble::NotNow(BUSY.to_owned())) };
    match stories {
        Ok(stories) => page::story(incident, &stories),
        Err(Trouble::NotNow(why) | Trouble::Wrong(why)) => Section {
            id: "decisions",
            title: format!("Decisions about incident {incident}"),
            folded: false,
            parts: vec![Part::Text(why)],
        },
    }
}

const BUSY: &str = "The ledger is being read; load the page again.";

/// Every text on the page.
fn clean_status(mut status: Status) -> Status {
    let cell = |cell: &mut Cell| cell.text = clean(&cell.text);
    status.warnings.iter_mut().for_each(|text| *text = clean(text));
    status.subtitle = clean(&status.subtitle);
    status.tiles.iter_mut().for_each(|tile| cell(&mut tile.value));
    for part in status.sections.iter_mut().flat_map(|section| &mut section.parts) {
        match part {
            Part::Table(table) => table.rows.iter_mut().flatten().for_each(cell),
            Part::Facts(facts) => facts.iter_mut().for_each(|fact| cell(&mut fact.value)),
            Part::Text(text) | Part::Heading(text) | Part::Lines(text) => *text = clean(text),
            Part::Chart(_) | Part::Search { .. } => {}
        }
    }
    status
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
