//! What the predecessor had done before this program took over: known by alert and time, kept as notes in the ledger.
//!
//! The rule: an alert that the predecessor acted upon counts as dealt with for every episode that began no later than that; a
//! later start is a re-fire, and acts. Actions of the incident itself, of which the predecessor kept nothing, count as done
//! when that holds for every supported alert (and there is one): with one new alert among them it would have run them again
//! too. What it finished is skipped; what it began and did not finish is held for a person, because nobody knows how much was
//! done. Fallbacks are not taken for either. A note counts as long as terminal entries are kept, from the import on.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::incident::Incident;
use crate::ledger::{Note, Outcome, State, Terminal};
use crate::pipeline::PipelineError;
use crate::pipeline::domain::Domain;
use crate::pipeline::feed::Right;
use crate::pipeline::guard::Interrupt;
use crate::pipeline::run::Run;
use crate::plan::{Plan, Stage, Step};

/// Every note of an import begins so.
pub const PREFIX: &str = "imported/";
const ALERT: &str = "imported/alert/";

/// What the predecessor recorded of an alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Past {
    /// When it acted, seconds since the epoch.
    pub actioned_at: i64,
    /// Whether all its actions succeeded.
    pub finished: bool,
    /// The last action it ran.
    pub last_action: String,
    /// When this was imported, milliseconds since the epoch.
    pub imported_ms: i64,
}

impl Past {
    /// As it is kept.
    pub fn note(&self, alert: &str) -> Note {
        let value = serde_json::to_string(self).expect("plain structs of text and numbers always serialise");
        Note { key: format!("{ALERT}{alert}"), value: Some(value) }
    }

    /// The alert and what was kept of it; `None` for every other note.
    pub fn read(key: &str, value: &str) -> Option<Result<(String, Self), serde_json::Error>> {
        let alert = key.strip_prefix(ALERT)?;
        Some(serde_json::from_str(value).map(|past| (alert.to_owned(), past)))
    }
}

/// Everything imported, by alert.
#[derive(Debug, Default)]
pub(crate) struct Imported {
    alerts: HashMap<String, Past>,
    /// How long an import counts, in milliseconds.
    kept_ms: i64,
}

/// A step that the predecessor had done, or begun.
enum Found {
    Finished(String),
    Begun(String),
}

impl Imported {
    /// What the ledger holds; what is too old is forgotten.
    pub(crate) async fn load(domain: &Domain) -> Result<Self, PipelineError> {
        let broken = |error: &dyn std::fmt::Display| PipelineError::Broken(error.to_string());
        let kept_ms = i64::try_from(domain.limits.ledger_ttl.as_millis()).unwrap_or(i64::MAX);
        let mut imported = Self { alerts: HashMap::new(), kept_ms };
        let mut old = Vec::new();
        for (key, value) in domain.ledger.notes().await.map_err(|error| broken(&error))? {
            let Some(read) = Past::read(&key, &value) else { continue };
            let (alert, past) = read.map_err(|error| broken(&format_args!("the ledger's note `{key}`: {error}")))?;
            if imported.counts(&past, (domain.now_ms)()) {
                imported.alerts.insert(alert, past);
            } else {
                old.push(Note { key, value: None });
            }
        }
        if !old.is_empty() {
            tracing::info!(count = old.len(), "what was imported of a predecessor is old enough to be forgotten");
            domain.ledger.append_noting(Vec::new(), old).await.map_err(|error| broken(&error))?;
        }
        Ok(imported)
    }

    fn counts(&self, past: &Past, now_ms: i64) -> bool {
        past.imported_ms.saturating_add(self.kept_ms) >= now_ms
    }

    /// What the predecessor did about an alert that started then, if that is the same episode.
    fn of(&self, alert: &str, started: i64, now_ms: i64) -> Option<&Past> {
        self.alerts.get(alert).filter(|past| started <= past.actioned_at && self.counts(past, now_ms))
    }

    /// The same for all alerts of a match together: the latest of them.
    fn of_all(&self, incident: &Incident<'_>, supported: &[usize], now_ms: i64) -> Option<(&str, &Past)> {
        let each = supported.iter().map(|index| {
            let alert = incident.alerts.get(*index)?;
            let started = alert.started_on.or(incident.started_on).unwrap_or_default();
            let (id, past) = self.alerts.get_key_value(alert.id.as_deref()?)?;
            (started <= past.actioned_at && self.counts(past, now_ms)).then_some((id.as_str(), past))
        });
        let all: Option<Vec<_>> = each.collect();
        all?.into_iter().max_by_key(|(_, past)| past.actioned_at)
    }

    fn find(&self, step: &Step, supported: &[usize], now_ms: i64) -> Option<Found> {
        match step.stage {
            Stage::Alert(_) => {
                let alert = step.key.alert.as_deref()?;
                let past = self.of(alert, step.key.started, now_ms)?;
                let story = story(alert, past);
                Some(if past.finished { Found::Finished(story) } else { Found::Begun(story) })
            }
            // These ran before the actions of any alert; and whatever became of it, the incident was given back by then.
            Stage::Assign | Stage::Incident | Stage::Split | Stage::Unassign => {
                let context = step.context(1);
                let (alert, past) = self.of_all(context.incident(), supported, now_ms)?;
                Some(Found::Finished(story(alert, past)))
            }
            Stage::Resolve => {
                let context = step.context(1);
                let incident = context.incident();
                let (alert, past) = self.of_all(incident, supported, now_ms)?;
                let ids = supported.iter().filter_map(|index| incident.alerts.get(*index)?.id.as_deref());
                let finished = ids.filter_map(|id| self.alerts.get(id)).all(|past| past.finished);
                finished.then(|| Found::Finished(story(alert, past)))
            }
            Stage::AlertFallback(_) | Stage::IncidentFallback | Stage::Escalation => None,
        }
    }
}

fn story(alert: &str, past: &Past) -> String {
    let Past { actioned_at, last_action, .. } = past;
    format!("the predecessor acted on alert {alert} at {actioned_at} (its last action: {last_action})")
}

impl<R: Right> Run<'_, R> {
    /// Records what the predecessor did about this plan, and how many steps that were.
    pub(crate) async fn recognise(&self, plan: &Plan, states: &mut [State]) -> Result<usize, Interrupt> {
        let imported = &self.shared.imported;
        if imported.alerts.is_empty() {
            return Ok(0);
        }
        let supported = self.job.matched.as_ref().map_or(&[][..], |matched| &matched.supported_alerts);
        let mut count = 0_usize;
        for (step, state) in plan.steps.iter().zip(states).filter(|(_, state)| state.is_new()) {
            let (outcome, how) = match imported.find(step, supported, (self.domain.now_ms)()) {
                None => continue,
                Some(Found::Finished(story)) => {
                    (Outcome::Skipped { reason: format!("done before: {story}") }, Terminal::Skipped)
                }
                Some(Found::Begun(story)) => {
                    let reason = format!("{story} and did not finish: how much was done is not known");
                    (Outcome::Held { reason }, Terminal::Held)
                }
            };
            let reason = outcome.reason().to_owned();
            self.end(step, outcome, how).await?;
            *state = State::Finished { how, reason, attempts: 0 };
            count = count.saturating_add(1);
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: i64 = 86_400_000;

    fn imported(alerts: &[(&str, i64)]) -> Imported {
        let past = |at| Past { actioned_at: at, finished: true, last_action: "fix".to_owned(), imported_ms: 0 };
        Imported { alerts: alerts.iter().map(|(id, at)| ((*id).to_owned(), past(*at))).collect(), kept_ms: DAY_MS }
    }

    #[test]
    fn an_episode_that_began_before_counts_and_a_later_one_is_a_re_fire() {
        let imported = imported(&[("a", 100)]);
        assert!(imported.of("a", 99, 0).is_some() && imported.of("a", 100, 0).is_some());
        assert!(imported.of("a", 101, 0).is_none() && imported.of("b", 1, 0).is_none());
        assert!(imported.of("a", 99, DAY_MS + 1).is_none(), "as long as terminal entries are kept");
    }

    #[test]
    fn an_incident_counts_when_all_its_supported_alerts_do() {
        let incident = Incident::parse(
            br#"{"id": "i", "startedOn": 5, "alerts": [{"id": "a", "startedOn": 50}, {"id": "b"}, {"id": "c"}]}"#,
        )
        .expect("an incident");
        let imported = imported(&[("a", 100), ("b", 120)]);
        assert_eq!(imported.of_all(&incident, &[0, 1], 0).map(|(id, _)| id), Some("b"));
        assert!(imported.of_all(&incident, &[0, 1, 2], 0).is_none(), "c is new");
        assert!(imported.of_all(&incident, &[], 0).is_none(), "of an incident without alerts nothing is known");
    }

    #[test]
    fn a_note_comes_back_as_it_was() {
        let past = Past { actioned_at: 1, finished: false, last_action: "x".to_owned(), imported_ms: 2 };
        let note = past.note("a/b");
        let read =
            Past::read(&note.key, note.value.as_deref().expect("a value")).expect("an alert's").expect("readable");
        assert_eq!(read, ("a/b".to_owned(), past));
        assert!(Past::read("storm", "{}").is_none());
    }
}
