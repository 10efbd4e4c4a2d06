//! The rules in force, which may be replaced while the pipeline runs.
//!
//! Promised: whoever asks gets one whole [`Edition`], never the conditions of one and the actions of another. A batch is
//! decided by one edition. What has begun goes on by the edition it was decided with; a job that waits for its turn when
//! the rules are replaced is decided anew ([`keep_up`]), so that a rule that was taken back begins nothing more. The
//! guards for all (`limits`) hold from the next attempt on, for every job. Absent: where editions come from.

use std::sync::{Arc, PoisonError, RwLock};

use crate::action::Definitions;
use crate::condition::{Conditions, Decision};
use crate::guard;
use crate::incident::Incident;
use crate::pipeline::feed::Right;
use crate::pipeline::guard::Interrupt;
use crate::pipeline::lookback::Lookback;
use crate::pipeline::run::{Job, Shared};

/// Rules that belong together.
#[derive(Debug, Default)]
pub struct Edition {
    /// When something is done.
    pub conditions: Conditions,
    /// What is done.
    pub definitions: Definitions,
    /// What may keep an attempt from being made, of all conditions and actions.
    pub guards: guard::Rules,
}

/// The edition in force.
#[derive(Debug, Default)]
pub struct Rulebook {
    now: RwLock<Arc<Edition>>,
}

impl Rulebook {
    /// Begins with these.
    pub fn new(edition: Edition) -> Self {
        Self { now: RwLock::new(Arc::new(edition)) }
    }

    /// The edition in force.
    pub fn now(&self) -> Arc<Edition> {
        Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts another edition in force, at once and whole.
    pub fn replace(&self, edition: Edition) {
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(edition);
    }
}

/// Decides a job whose turn has come once more, if other rules are in force than those it was decided by. One that only
/// settles what was left open of its incident stays what it is.
///
/// What conditions remember is not counted twice by that: they know the incident from the first time.
pub(crate) async fn keep_up<R: Right>(job: &mut Job<R>, shared: &Shared) -> Result<(), Interrupt> {
    let rules = shared.domain.rulebook.now();
    if Arc::ptr_eq(&job.rules, &rules) || job.matched.is_none() {
        return Ok(());
    }
    let before = job.condition().to_owned();
    let mut notes = Vec::new();
    let Decision { matched, undecided, seen: _ } = {
        let incident = Incident::parse_within(&job.value, &shared.domain.incident_limits)
            .map_err(|error| Interrupt::Broken(format!("a record that was parsed before is malformed now: {error}")))?;
        shared.lookback.decide(&rules.conditions, &incident, shared.domain.now_s(), &mut notes)
    };
    Lookback::keep(&shared.domain, notes).await.map_err(|error| Interrupt::Dropped(error.to_string()))?;
    (job.matched, job.rules) = (matched, rules);
    tracing::Span::current().record("condition", job.condition());
    if job.condition() != before {
        let why = undecided.map(|why| why.to_string());
        tracing::info!(before, now = job.condition(), why, "the rules were replaced while it waited: decided anew");
    }
    Ok(())
}
