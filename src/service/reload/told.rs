//! How the last reload came out, for whoever looks: page, API, metrics.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

use crate::http::{Cell, Fact, Tone};
use crate::service::observe::float;
use crate::telemetry::metrics::{self as m, Sample};

use super::difference::Difference;

/// What came of a reload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum How {
    /// Other rules are in force, or the same as before.
    TakenOver(Box<Difference>),
    /// The file is not valid here: the rules of before stay in force.
    Refused(String),
}

/// The reloads since the start. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(in crate::service) struct Reloads(Arc<Mutex<Counted>>);

#[derive(Debug, Default)]
struct Counted {
    /// When the rules in force were taken over last, and how the last reload came out.
    last: Option<(jiff::Timestamp, How)>,
    taken_over: u64,
    refused: u64,
}

impl Reloads {
    pub(super) fn tell(&self, at: jiff::Timestamp, how: How) {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &how {
            How::TakenOver(_) => counted.taken_over = counted.taken_over.saturating_add(1),
            How::Refused(_) => counted.refused = counted.refused.saturating_add(1),
        }
        counted.last = Some((at, how));
    }

    fn last(&self) -> Option<(jiff::Timestamp, How)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).last.clone()
    }

    /// What an operator should know although the service works.
    pub(in crate::service) fn warning(&self) -> Option<String> {
        match self.last()? {
            (at, How::Refused(why)) => {
                Some(format!("the configuration was refused at {at:.0}, the rules of before are in force: {why}"))
            }
            (_, How::TakenOver(difference)) if !difference.needs_restart().is_empty() => {
                Some(format!("needs a restart to have an effect: {}", difference.needs_restart().join(", ")))
            }
            (_, How::TakenOver(_)) => None,
        }
    }

    /// For the page.
    pub(in crate::service) fn fact(&self) -> Fact {
        let value = match self.last() {
            None => "none since the start".into(),
            Some((at, How::TakenOver(difference))) => Cell::toned(format!("{at:.0}: {difference}"), Tone::Good),
            Some((at, How::Refused(_))) => Cell::toned(format!("{at:.0}: refused"), Tone::Bad),
        };
        Fact { name: "Last reload", value }
    }

    /// For programs.
    pub(in crate::service) fn answer(&self) -> Value {
        let Some((at, how)) = self.last() else { return Value::Null };
        let (result, why, difference) = match how {
            How::TakenOver(difference) => ("taken_over", None, Some(difference.to_json())),
            How::Refused(why) => ("refused", Some(why), None),
        };
        json!({"at_ms": at.as_millisecond(), "result": result, "why": why, "difference": difference})
    }

    pub(in crate::service) fn samples(&self) -> Vec<Sample> {
        let counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let refused = matches!(counted.last, Some((_, How::Refused(_))));
        let at = counted.last.as_ref().map(|(at, _)| m::RELOAD_LAST.sample([], at.as_duration().as_secs_f64()));
        let mut samples = vec![
            m::RELOADS.sample(["taken_over"], float(counted.taken_over)),
            m::RELOADS.sample(["refused"], float(counted.refused)),
            m::RELOAD_WORKED.sample([], f64::from(u8::from(!refused))),
        ];
        samples.extend(at);
        samples
    }
}
