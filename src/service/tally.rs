//! What the pipeline reports, counted for metrics. Labels come from the configuration and our own enumerations only.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::http::{Cell, Table};
use crate::pipeline::{Observer, Occurrence, Status};
use crate::telemetry::metrics::{self as m, Distribution, Metric, Sample};

use super::hour::Hour;
use super::observe::{float, size};
use super::page::{thousands, toned};

/// Counters and distributions since the start.
#[derive(Debug, Default)]
pub(super) struct Tally {
    counts: Mutex<BTreeMap<(&'static str, Vec<String>), Count>>,
    hour: Hour,
}

#[derive(Debug)]
struct Count {
    metric: &'static Metric,
    value: u64,
    spread: Distribution,
}

impl Tally {
    fn add(&self, metric: &'static Metric, labels: &[&str], more: u64) {
        self.change(metric, labels, |count| count.value = count.value.saturating_add(more));
    }

    fn took(&self, metric: &'static Metric, labels: &[&str], took: Duration) {
        self.change(metric, labels, |count| count.spread.add(took.as_secs_f64()));
    }

    fn change(&self, metric: &'static Metric, labels: &[&str], change: impl FnOnce(&mut Count)) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (metric.name, labels.iter().map(|label| (*label).to_owned()).collect());
        let new = || Count { metric, value: 0, spread: Distribution::default() };
        change(counts.entry(key).or_insert_with(new));
    }

    /// Everything counted so far.
    pub(super) fn samples(&self) -> Vec<Sample> {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let sample = |((_, labels), count): (&(&'static str, Vec<String>), &Count)| {
            count.metric.counted(labels.clone(), float(count.value), &count.spread)
        };
        counts.iter().map(sample).collect()
    }
}

impl Observer for Tally {
    fn observe(&self, occurrence: &Occurrence<'_>) {
        match *occurrence {
            Occurrence::Decided { records, bytes, matched, malformed, took, .. } => {
                let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
                self.add(&m::DECIDED, &[], number(records));
                self.add(&m::DECIDED_BYTES, &[], number(bytes));
                self.add(&m::MATCHED, &[], number(matched));
                self.add(&m::MALFORMED, &[], number(malformed));
                self.took(&m::DECIDE_SECONDS, &[], took);
            }
            Occurrence::Attempted { key, action_type, report, took } => {
                self.add(&m::ATTEMPTS, &[&key.action, action_type, report], 1);
                self.took(&m::ATTEMPT_SECONDS, &[&key.action, action_type], took);
            }
            Occurrence::Refused { key, guard } => self.add(&m::REFUSALS, &[guard, &key.condition, &key.action], 1),
            Occurrence::Waited { key, action_type, took } => {
                self.took(&m::RATE_WAIT_SECONDS, &[&key.action, action_type], took);
            }
            Occurrence::JobEnded { key, action_type, how, took } => {
                self.add(&m::JOBS, &[&key.action, action_type, how.name()], 1);
                self.took(&m::JOB_SECONDS, &[&key.action, action_type], took);
            }
            Occurrence::StepEnded { key, action_type, how } => {
                self.add(&m::ACTIONS, &[&key.condition, &key.action, action_type, how.name()], 1);
            }
            Occurrence::IncidentEnded { condition, how, took } => {
                self.hour.add(condition, how.name());
                self.add(&m::INCIDENTS, &[condition, how.name()], 1);
                self.took(&m::INCIDENT_SECONDS, &[condition], took);
            }
            Occurrence::Committed { .. } => self.add(&m::COMMITS, &["committed"], 1),
            Occurrence::CommitFailed => self.add(&m::COMMITS, &["failed"], 1),
            Occurrence::BackPressure(paused) => {
                self.add(&m::BACK_PRESSURE, &[if paused { "paused" } else { "resumed" }], 1);
            }
        }
    }
}

/// How the pipeline stands.
pub(super) fn status_samples(status: &Status) -> Vec<Sample> {
    vec![
        m::RUNNING.sample([], size(status.running())),
        m::WAITING.sample([], size(status.waiting())),
        m::DECIDING.sample([], size(status.deciding())),
        m::OWNED.sample([], size(status.owned())),
        m::TRIPPED.sample([], size(status.tripped().len())),
        m::HALTED.sample([], f64::from(u8::from(status.halted().is_some()))),
    ]
}

impl Tally {
    /// The last hour, minute by minute.
    pub(super) fn hour(&self) -> &Hour {
        &self.hour
    }

    /// Incidents by condition and how they ended, for the page.
    pub(super) fn incident_table(&self) -> Table {
        self.table(&m::INCIDENTS, &["Condition", "Ended", "Count"])
    }

    /// Actions by outcome, for the page.
    pub(super) fn action_table(&self) -> Table {
        self.table(&m::ACTIONS, &["Condition", "Action", "Type", "Outcome", "Count"])
    }

    fn table(&self, metric: &Metric, columns: &'static [&'static str]) -> Table {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let of_metric = counts.iter().filter(|((name, _), _)| *name == metric.name);
        let row = |((_, labels), count): (&(&'static str, Vec<String>), &Count)| {
            let (last, names) = labels.split_last().map_or(("", &[][..]), |(last, names)| (last.as_str(), names));
            let names = names.iter().map(|name| Cell::from(name.as_str()));
            names.chain([toned(last), thousands(count.value).into()]).collect()
        };
        Table { caption: None, columns, numbers: &["Count"], rows: of_metric.map(row).collect(), empty: "none yet" }
    }
}
