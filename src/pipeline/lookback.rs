//! What conditions remember, around the deciders: one memory for all of them, and its place in the ledger.
//!
//! Promised: what a decision has seen is on disk before the batch counts as decided, so that no offset passes over it; what
//! comes again after a crash is recognised. Where no condition looks back nothing here costs anything.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::condition::{Conditions, Decision, Evidence, Match, Memory};
use crate::incident::Incident;
use crate::ledger::{AppendError, Note};
use crate::pipeline::PipelineError;
use crate::pipeline::domain::Domain;

/// Shared between those who decide and those who act.
#[derive(Debug)]
pub(crate) struct Lookback {
    memory: Mutex<Memory>,
}

impl Lookback {
    /// The memory that an earlier process left in the ledger.
    pub(crate) async fn load(domain: &Domain) -> Result<Self, PipelineError> {
        let broken = |error: &dyn std::fmt::Display| PipelineError::Broken(error.to_string());
        let notes = domain.ledger.notes().await.map_err(|error| broken(&error))?;
        let notes = notes.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let memory = domain.rulebook.now().conditions.recall(notes, domain.now_s()).map_err(|error| broken(&error))?;
        Ok(Self { memory: Mutex::new(memory) })
    }

    /// Decides an incident that was read. What is to be written about it goes to `notes`.
    pub(crate) fn decide(
        &self,
        conditions: &Conditions,
        incident: &Incident<'_>,
        now: i64,
        notes: &mut Vec<Note>,
    ) -> Decision {
        if !conditions.look_back() {
            return conditions.decide(incident, now);
        }
        // One lock for question and entry: of two incidents at a time only one may have the last turn.
        let mut memory = self.memory();
        let (decision, entered) = conditions.decide_remembering(incident, now, &mut memory);
        notes.extend(entered.into_iter().map(|note| Note { key: note.key, value: note.value }));
        decision
    }

    /// Decides an incident that was decided before, once more.
    pub(crate) fn decide_again(&self, conditions: &Conditions, incident: &Incident<'_>, now: i64) -> Decision {
        if !conditions.look_back() {
            return conditions.decide(incident, now);
        }
        conditions.decide_with(incident, now, &self.memory())
    }

    /// What a condition sees in an incident that it matched.
    pub(crate) fn explain(&self, matched: &Match, incident: &Incident<'_>, now: i64) -> Evidence {
        matched.condition.explain(incident, now, &self.memory())
    }

    /// Waits until notes are on disk.
    pub(crate) async fn keep(domain: &Domain, notes: Vec<Note>) -> Result<(), AppendError> {
        if notes.is_empty() { Ok(()) } else { domain.ledger.append_noting(Vec::new(), notes).await }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
