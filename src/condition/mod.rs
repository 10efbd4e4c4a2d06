//! Conditions: compiled once, first match wins, with evidence.
//!
//! [`Conditions::compile`] reads the rules and notes every mistake with its place. [`Conditions::decide`] finds the first condition
//! whose tests are all true, without building anything on the way; [`Conditions::explain`] says for each condition which test
//! saw which value. A test has three answers ([`Verdict`]): what is missing is neither true nor false and never matches, nor
//! does its negation. Pure: time is an argument. Absent: state over time, and what is done about a match.
//!
//! A scalar means equality, a list means any of, a map holds operators (`equals`, `not_equals`, `in`, `not_in`, `regex`, `glob`,
//! `contains`, `starts_with`, `ends_with`, each with `ignore_case`; `gt`, `gte`, `lt`, `lte`; `exists`; `older_than`,
//! `newer_than`), null means absent; `all`, `any` and `none` hold lists of tests. A bare key is a known field of the record;
//! any other field is named as `incident.PATH`, inside `alert_conditions` as `alert.PATH`.

mod compile;
mod evidence;
mod field;
mod index;
mod operator;
mod test;
mod verdict;

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

pub use crate::condition::evidence::Evidence;
pub use crate::condition::verdict::Verdict;

use crate::condition::index::Index;
use crate::condition::test::{AlertsTest, Subject, Test};
use crate::guard;
use crate::incident::Incident;
use crate::yaml::{Mistake, Mistakes, Position};

/// All conditions in the order in which they are tried.
#[derive(Clone, Debug, Default)]
pub struct Conditions {
    list: Vec<Arc<Condition>>,
    index: Index,
}

/// One condition with what is done when it matches.
#[derive(Clone, Debug)]
pub struct Condition {
    /// Its name, unique among all.
    pub name: String,
    /// Whether its actions are carried out; the global mode when not given.
    pub mode: Option<Mode>,
    /// What to do, once per incident, in this order.
    pub incident_actions: Vec<ActionRef>,
    /// What to do for each supported alert.
    pub alert_actions: Vec<ActionRef>,
    /// What to do, once, when something failed.
    pub incident_fallback_actions: Vec<ActionRef>,
    /// What to do for an alert whose actions failed.
    pub alert_fallback_actions: Vec<ActionRef>,
    /// Go on with the next action after one that failed.
    pub continue_on_failure: bool,
    /// Work on several alerts at a time.
    pub parallel_alert_processing: bool,
    /// How many alerts at a time.
    pub max_concurrent_alerts: Option<usize>,
    /// Start no further alert after one that failed.
    pub fail_fast: bool,
    /// Its budgets and limits.
    pub guards: guard::Own,
    /// Where it stands in the file.
    pub at: Position,
    test: Test,
    alerts: Option<AlertsTest>,
}

/// An action named by a condition, and where it is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActionRef {
    /// The action's name.
    pub name: Arc<str>,
    /// The path of the setting.
    pub path: String,
    /// Where it stands in the file.
    pub at: Position,
}

/// Whether actions are carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// They are.
    Live,
    /// Everything but the action itself happens.
    Shadow,
}

/// What was decided about an incident.
#[derive(Clone, Debug)]
pub struct Decision {
    /// The first condition that matches.
    pub matched: Option<Match>,
}

/// A condition that matches, with the alerts that it is about.
#[derive(Clone, Debug)]
pub struct Match {
    /// The condition.
    pub condition: Arc<Condition>,
    /// Its number among all, from 0.
    pub index: usize,
    /// The alerts that satisfy `alert_conditions` (all, when there are none), by their place in the incident.
    pub supported_alerts: Vec<usize>,
}

/// Every condition with its evidence, in order.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// The name of the condition that wins.
    pub matched: Option<String>,
    /// One entry per condition.
    pub conditions: Vec<Explained>,
}

/// One condition with its evidence.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explained {
    /// The condition's name.
    pub name: String,
    /// An earlier condition had already won.
    pub shadowed: bool,
    /// Why it matches or not, in one line.
    pub reason: String,
    /// The tree of its tests.
    pub evidence: Evidence,
}

impl Conditions {
    fn new(list: Vec<Condition>) -> Self {
        let index = Index::new(list.iter().map(|condition| &condition.test));
        Self { list: list.into_iter().map(Arc::new).collect(), index }
    }

    /// All conditions in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<Condition>> {
        self.list.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The first condition that matches an incident at a moment, in seconds since the epoch.
    pub fn decide(&self, incident: &Incident<'_>, now: i64) -> Decision {
        let subject = Subject { incident, alert: None, now };
        let matched = self.index.first(incident, |index| {
            let condition = self.list.get(index)?;
            condition.test.holds(subject).then(|| Match {
                condition: Arc::clone(condition),
                index,
                supported_alerts: condition.supported_alerts(subject),
            })
        });
        Decision { matched }
    }

    /// Every condition with what each of its tests saw.
    pub fn explain(&self, incident: &Incident<'_>, now: i64) -> Explanation {
        let mut matched: Option<String> = None;
        let conditions = self.list.iter().map(|condition| {
            let evidence = condition.explain(incident, now);
            let shadowed = matched.is_some();
            if evidence.verdict == Verdict::True && !shadowed {
                matched = Some(condition.name.clone());
            }
            Explained { name: condition.name.clone(), shadowed, reason: evidence.reason(), evidence }
        });
        let conditions = conditions.collect();
        Explanation { matched, conditions }
    }

    /// Notes a mistake for every action that a condition names and no definition has.
    pub fn check_actions(&self, incident_actions: &[&str], alert_actions: &[&str], mistakes: &Mistakes) {
        let check = |actions: &[ActionRef], known: &[&str], elsewhere: &[&str], kind: &str| {
            for action in actions.iter().filter(|action| !known.contains(&&*action.name)) {
                let what = if elsewhere.contains(&&*action.name) {
                    format!("`{}` is defined, but not under `{kind}`", action.name)
                } else {
                    format!("no action named `{}` under `{kind}`", action.name)
                };
                let mistake = Mistake::at(action.path.as_str(), action.at, what);
                mistakes.push(mistake.suggest(&action.name, known.iter().copied()));
            }
        };
        for condition in &self.list {
            check(&condition.incident_actions, incident_actions, alert_actions, "incident_actions");
            check(&condition.incident_fallback_actions, incident_actions, alert_actions, "incident_actions");
            check(&condition.alert_actions, alert_actions, incident_actions, "alert_actions");
            check(&condition.alert_fallback_actions, alert_actions, incident_actions, "alert_actions");
        }
    }
}

impl Condition {
    /// Why it matches an incident or not: the whole tree.
    pub fn explain(&self, incident: &Incident<'_>, now: i64) -> Evidence {
        Evidence::of(&self.test, Subject { incident, alert: None, now })
    }

    fn supported_alerts(&self, subject: Subject<'_, '_>) -> Vec<usize> {
        let supported = |alert: &Subject<'_, '_>| self.alerts.as_ref().is_none_or(|alerts| alerts.test.holds(*alert));
        subject.alerts().enumerate().filter(|(_, alert)| supported(alert)).map(|(index, _)| index).collect()
    }
}

impl Match {
    /// Why it matched: the whole tree.
    pub fn explain(&self, incident: &Incident<'_>, now: i64) -> Evidence {
        self.condition.explain(incident, now)
    }
}

impl fmt::Display for Explanation {
    /// Each condition with its tree.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for condition in &self.conditions {
            let note = if condition.shadowed { " (an earlier condition wins)" } else { "" };
            writeln!(f, "{}{note}\n{}", condition.name, condition.evidence)?;
        }
        match &self.matched {
            Some(name) => writeln!(f, "matched: {name}"),
            None => writeln!(f, "matched: none"),
        }
    }
}

#[cfg(test)]
mod oracle;
#[cfg(test)]
mod tests;
