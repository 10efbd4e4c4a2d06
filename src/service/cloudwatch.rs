//! The predecessor's ten metrics, as dashboards know them: embedded-metric-format lines on standard output, once a minute.
//!
//! What each counts here:
//!
//! | metric | |
//! |---|---|
//! | `IncidentsProcessed` | incidents for which actions were carried out, whatever came of it |
//! | `IncidentsSkipped` | records that led to nothing: no condition, already done, an older snapshot, shadow mode |
//! | `IncidentProcessingDuration` | from the arrival of a record to its end |
//! | `AlertProcessingDuration` | each attempt of an action of an alert |
//! | `ScrewdriverJobSuccess`, `ScrewdriverJobFailure` | actions of the types `screwdriver…`; one that could not be started has failed too |
//! | `ScrewdriverJobDuration` | from the start of a job to its end, as far as polling sees it |
//! | `OutageDetections` | `check_outage` that found something |
//! | `OutageCacheHits` | always 0: nothing is cached here |
//! | `ActionHistoryDuplicates` | incidents of which everything had been done before |

use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::task::AbortOnDropHandle;

use crate::ledger::Terminal;
use crate::pipeline::{IncidentEnd, Observer, Occurrence, wall_clock_ms};
use crate::telemetry::emf::{Emitted, Unit, lines};

use super::observe::float;

/// How often lines are written.
const EVERY: Duration = Duration::from_mins(1);
/// Durations kept until then; beyond it the rest of the minute is not measured, only counted.
const DURATIONS_MAX: usize = 2_000;

/// The type of action that looks for an outage.
const OUTAGE_CHECK: &str = "check_outage";

/// Counts of the running minute.
#[derive(Debug, Default)]
struct Minute {
    processed: u64,
    skipped: u64,
    duplicates: u64,
    outages: u64,
    jobs_succeeded: u64,
    jobs_failed: u64,
    incidents: Vec<f64>,
    alerts: Vec<f64>,
    jobs: Vec<f64>,
}

/// Counts, and writes when it is time. The last minute is written when this is dropped.
#[derive(Debug)]
pub(super) struct CloudWatch {
    namespace: String,
    consumer: String,
    minute: Mutex<Minute>,
}

impl CloudWatch {
    pub(super) fn new(namespace: &str, consumer: &str) -> Self {
        Self { namespace: namespace.to_owned(), consumer: consumer.to_owned(), minute: Mutex::default() }
    }

    /// Writes once a minute for as long as the handle lives.
    pub(super) fn start(self: &Arc<Self>) -> AbortOnDropHandle<()> {
        let cloudwatch = Arc::clone(self);
        AbortOnDropHandle::new(tokio::spawn(async move {
            let mut ticks = interval(EVERY);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks.tick().await;
            loop {
                ticks.tick().await;
                cloudwatch.write();
            }
        }))
    }

    /// One write for all lines, so that no log line comes between.
    fn write(&self) {
        let mut text = self.take(wall_clock_ms()).join("\n");
        text.push('\n');
        let mut out = std::io::stdout().lock();
        // Where standard output is gone nobody reads metrics either.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }

    fn take(&self, at_ms: i64) -> Vec<String> {
        let minute = std::mem::take(&mut *self.minute.lock().unwrap_or_else(PoisonError::into_inner));
        lines(&self.namespace, ("Consumer", &self.consumer), at_ms, &minute.emitted())
    }

    fn change(&self, change: impl FnOnce(&mut Minute)) {
        change(&mut self.minute.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Drop for CloudWatch {
    fn drop(&mut self) {
        self.write();
    }
}

impl Minute {
    fn emitted(self) -> Vec<Emitted> {
        let count = |name, count| Emitted { name, unit: Unit::Count, values: vec![float(count)] };
        let spread = |name, values| Emitted { name, unit: Unit::Seconds, values };
        vec![
            count("IncidentsProcessed", self.processed),
            count("IncidentsSkipped", self.skipped),
            spread("IncidentProcessingDuration", self.incidents),
            spread("AlertProcessingDuration", self.alerts),
            count("ScrewdriverJobSuccess", self.jobs_succeeded),
            count("ScrewdriverJobFailure", self.jobs_failed),
            spread("ScrewdriverJobDuration", self.jobs),
            count("OutageDetections", self.outages),
            count("OutageCacheHits", 0),
            count("ActionHistoryDuplicates", self.duplicates),
        ]
    }
}

impl Observer for CloudWatch {
    fn observe(&self, occurrence: &Occurrence<'_>) {
        match *occurrence {
            Occurrence::Decided { records, matched, malformed, .. } => {
                let unmatched = records.saturating_sub(matched).saturating_sub(malformed);
                self.change(|minute| add(&mut minute.skipped, u64::try_from(unmatched).unwrap_or(u64::MAX)));
            }
            Occurrence::Attempted { key, took, .. } => self.change(|minute| {
                if key.alert.is_some() {
                    measure(&mut minute.alerts, took);
                }
            }),
            Occurrence::JobEnded { action_type, took, .. } => self.change(|minute| {
                if is_job(action_type) {
                    measure(&mut minute.jobs, took);
                }
            }),
            Occurrence::StepEnded { action_type, how, .. } => self.change(|minute| match how {
                Terminal::Succeeded if is_job(action_type) => add(&mut minute.jobs_succeeded, 1),
                Terminal::Failed if is_job(action_type) => add(&mut minute.jobs_failed, 1),
                Terminal::Found if action_type == OUTAGE_CHECK => add(&mut minute.outages, 1),
                _ => {}
            }),
            Occurrence::IncidentEnded { how, took, .. } => self.change(|minute| match how {
                IncidentEnd::Succeeded | IncidentEnd::Failed | IncidentEnd::Held | IncidentEnd::Found => {
                    add(&mut minute.processed, 1);
                    measure(&mut minute.incidents, took);
                }
                IncidentEnd::AlreadyDone => {
                    add(&mut minute.skipped, 1);
                    add(&mut minute.duplicates, 1);
                }
                IncidentEnd::Stale | IncidentEnd::Shadow => add(&mut minute.skipped, 1),
                IncidentEnd::Settled | IncidentEnd::Dropped => {}
            }),
            Occurrence::Refused { .. }
            | Occurrence::Waited { .. }
            | Occurrence::Committed { .. }
            | Occurrence::CommitFailed
            | Occurrence::BackPressure(_) => {}
        }
    }
}

fn is_job(action_type: &str) -> bool {
    action_type.starts_with("screwdriver")
}

fn add(count: &mut u64, more: u64) {
    *count = count.saturating_add(more);
}

fn measure(values: &mut Vec<f64>, took: Duration) {
    if values.len() < DURATIONS_MAX {
        values.push(took.as_secs_f64());
    }
}

/// Two that look.
#[derive(Debug)]
pub(super) struct Both<A, B>(pub(super) Arc<A>, pub(super) Arc<B>);

impl<A: Observer, B: Observer> Observer for Both<A, B> {
    fn observe(&self, occurrence: &Occurrence<'_>) {
        self.0.observe(occurrence);
        self.1.observe(occurrence);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::EpisodeKey;
    use serde_json::{Value, json};

    fn key() -> EpisodeKey {
        "i/a/5/oozie/fix".parse().expect("a key")
    }

    fn taken(cloudwatch: &CloudWatch) -> Value {
        let lines = cloudwatch.take(5);
        assert_eq!(lines.len(), 1);
        serde_json::from_str(&lines[0]).expect("JSON")
    }

    #[test]
    fn jobs_of_screwdriver_are_counted_and_last_from_their_start_to_their_end() {
        let cloudwatch = CloudWatch::new("n", "pod-0");
        let key = key();
        let ended = |action_type, how, seconds| {
            let took = Duration::from_secs(seconds);
            let attempt = Duration::from_millis(80);
            let report = "started";
            cloudwatch.observe(&Occurrence::Attempted { key: &key, action_type, report, took: attempt });
            cloudwatch.observe(&Occurrence::JobEnded { key: &key, action_type, how, took });
            cloudwatch.observe(&Occurrence::StepEnded { key: &key, action_type, how });
        };
        ended("screwdriver", Terminal::Succeeded, 600);
        ended("screwdriver_batch", Terminal::Failed, 30);
        ended("awx", Terminal::Succeeded, 7);
        let line = taken(&cloudwatch);
        assert_eq!((&line["ScrewdriverJobSuccess"], &line["ScrewdriverJobFailure"]), (&json!(1.0), &json!(1.0)));
        assert_eq!(line["ScrewdriverJobDuration"], json!([600.0, 30.0]));
        assert_eq!(line["AlertProcessingDuration"], json!([0.08, 0.08, 0.08]));
        let line = taken(&cloudwatch);
        assert_eq!(line["ScrewdriverJobSuccess"], json!(0.0), "a minute is told once");
        assert!(line.get("ScrewdriverJobDuration").is_none());
    }
}
