//! Conditions: compiled once, first match wins, with evidence.
//!
//! [`Conditions::compile`] reads the rules and notes every mistake with its place. [`Conditions::decide`] finds the first condition
//! whose tests are all true, without building anything on the way; [`Conditions::explain`] says for each condition which test
//! saw which value. A test has three answers ([`Verdict`]): what is missing is neither true nor false and never matches, nor
//! does its negation. Pure: time is an argument, and so is the [`Memory`] of what was seen before, which the tests `occurrences`, `quiet_for` and
//! `throttle` ask. Absent: what is done about a match.
//!
//! A scalar means equality, a list means any of, a map holds operators (`equals`, `not_equals`, `in`, `not_in`, `regex`, `glob`,
//! `contains`, `starts_with`, `ends_with`, each with `ignore_case`; `gt`, `gte`, `lt`, `lte`; `exists`; `older_than`,
//! `newer_than`), null means absent; `all`, `any` and `none` hold lists of tests. A bare key is a known field of the record;
//! any other field is named as `incident.PATH`, inside `alert_conditions` as `alert.PATH`.
//!
//! What a condition that is neither true nor false means is its own setting, [`OnMissing`]: it does not match, or the record
//! is not decided at all.

mod anchors;
mod broader;
mod compile;
mod coverage;
mod evidence;
mod field;
mod index;
mod needles;
mod operator;
mod over_time;
mod schedule;
mod test;
mod verdict;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;

pub use crate::condition::coverage::{Branch, Coverage, Covered};
pub use crate::condition::evidence::Evidence;
pub use crate::condition::over_time::{Memory, Seen, Unreadable};
pub use crate::condition::verdict::Verdict;

use crate::condition::index::Index;
use crate::condition::needles::Needles;
use crate::condition::over_time::{OverTime, SeriesKey};
use crate::condition::test::{AlertsTest, Subject, Test};
use crate::guard;
use crate::incident::{self, Head, Incident, Unread};
use crate::yaml::{Mistake, Mistakes, Position};

/// All conditions in the order in which they are tried.
#[derive(Clone, Debug, Default)]
pub struct Conditions {
    list: Vec<Arc<Condition>>,
    index: Index,
    /// `None`: a record has to be read.
    needles: Option<Needles>,
    /// How far each test that looks back does so.
    kept: HashMap<SeriesKey, i64>,
}

/// One condition with what is done when it matches.
#[derive(Clone, Debug)]
pub struct Condition {
    /// Its name, unique among all.
    pub name: String,
    /// Whether its actions are carried out; the global mode when not given.
    pub mode: Option<Mode>,
    /// What it means when too much is missing to say whether it matches.
    pub on_missing: OnMissing,
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
    over_time: OverTime,
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

/// What a condition means that is neither true nor false because a value is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnMissing {
    /// It does not match, and the next condition is tried.
    #[default]
    False,
    /// The record cannot be decided: no later condition is tried, and nothing is done.
    Error,
}

/// What was decided about an incident.
#[derive(Clone, Debug, Default)]
pub struct Decision {
    /// The first condition that matches.
    pub matched: Option<Match>,
    /// The condition that could not be judged and for which that is an error. Then nothing has matched.
    pub undecided: Option<Undecided>,
    /// What is to be remembered, whether something matched or not: see [`Conditions::remember`].
    pub seen: Vec<Seen>,
}

/// A condition that cannot be judged, and must be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("condition `{condition}` cannot be judged, which is an error by its setting `missing`: {reason}")]
pub struct Undecided {
    /// The condition's name.
    pub condition: String,
    /// The test that saw too little.
    pub reason: String,
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
    /// The name of the condition for which a missing value is an error, and was missing. Then none wins.
    pub undecided: Option<String>,
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
    /// What it means here when a value is missing.
    pub missing: OnMissing,
    /// Why it matches or not, in one line.
    pub reason: String,
    /// The tree of its tests.
    pub evidence: Evidence,
}

impl Conditions {
    fn new(list: Vec<Condition>) -> Self {
        // A condition that may not be passed over in silence is looked at for every incident.
        let tests =
            || list.iter().map(|condition| (condition.on_missing == OnMissing::False).then_some(&condition.test));
        let (index, needles) = (Index::new(tests()), Needles::new(tests()));
        let kept = over_time::kept(list.iter().map(|condition| &condition.over_time));
        Self { list: list.into_iter().map(Arc::new).collect(), index, needles, kept }
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

    /// The record, if a search of its bytes proves that no condition can match it, at any moment and whatever was seen before.
    /// It may be no incident at all.
    pub fn rule_out<'r>(&self, record: &'r [u8]) -> Option<Unread<'r>> {
        let needles = self.needles.as_ref()?;
        Unread::of(record).filter(|unread| !needles.may_match(*unread))
    }

    /// The head of a record, if it proves that no condition can match the incident, at any moment and whatever was seen before.
    pub fn rule_out_by_head<'r>(&self, record: &'r [u8], limits: &incident::Limits) -> Option<Head<'r>> {
        // Where a condition requires no tag of the incident, no head is enough.
        let head = self.index.is_of_incidents_alone().then(|| Head::parse_within(record, limits))??;
        (!self.index.may_match(&head.tags)).then_some(head)
    }

    /// The first condition that matches an incident at a moment, in seconds since the epoch, when nothing was seen before.
    pub fn decide(&self, incident: &Incident<'_>, now: i64) -> Decision {
        self.decide_with(incident, now, &Memory::default())
    }

    /// The same after what is in the memory. Nothing is entered into it.
    pub fn decide_with(&self, incident: &Incident<'_>, now: i64, memory: &Memory) -> Decision {
        let subject = Subject { incident, alert: None, now };
        let mut seen = Vec::new();
        let decide = |index: usize| self.list.get(index)?.decide(index, subject, memory, &mut seen);
        let decision = self.index.first(incident, decide).unwrap_or_default();
        Decision { seen, ..decision }
    }

    /// The same, and what it has seen is entered into the memory. The notes belong on disk before the record is done.
    pub fn decide_remembering(
        &self,
        incident: &Incident<'_>,
        now: i64,
        memory: &mut Memory,
    ) -> (Decision, Vec<guard::Note>) {
        let mut decision = self.decide_with(incident, now, memory);
        let notes = self.remember(std::mem::take(&mut decision.seen), memory);
        (decision, notes)
    }

    /// Every condition with what each of its tests saw, when nothing was seen before.
    pub fn explain(&self, incident: &Incident<'_>, now: i64) -> Explanation {
        self.explain_with(incident, now, &Memory::default())
    }

    /// The same after what is in the memory.
    pub fn explain_with(&self, incident: &Incident<'_>, now: i64, memory: &Memory) -> Explanation {
        let (mut matched, mut undecided) = (None, None);
        let conditions = self.list.iter().map(|condition| {
            let evidence = condition.explain(incident, now, memory);
            let shadowed = matched.is_some() || undecided.is_some();
            match evidence.verdict {
                Verdict::True if !shadowed => matched = Some(condition.name.clone()),
                Verdict::Missing if !shadowed && condition.on_missing == OnMissing::Error => {
                    undecided = Some(condition.name.clone());
                }
                Verdict::True | Verdict::Missing | Verdict::False => {}
            }
            let (name, missing) = (condition.name.clone(), condition.on_missing);
            Explained { name, shadowed, missing, reason: evidence.reason(), evidence }
        });
        let conditions = conditions.collect();
        Explanation { matched, undecided, conditions }
    }

    /// Whether any condition asks for what was seen before. If none does, a memory is of no use.
    pub fn look_back(&self) -> bool {
        !self.kept.is_empty()
    }

    /// What an earlier process noted, at a moment in seconds since the epoch.
    pub fn recall<'n>(
        &self,
        notes: impl IntoIterator<Item = (&'n str, &'n str)>,
        now: i64,
    ) -> Result<Memory, Unreadable> {
        Memory::load(notes, &self.kept, now)
    }

    /// Enters what a decision has seen. The notes belong on disk before the record is done.
    pub fn remember(&self, seen: Vec<Seen>, memory: &mut Memory) -> Vec<guard::Note> {
        memory.enter(seen, &self.kept)
    }

    /// The numbers of the conditions that can never match, each with that of the first one before it that takes whatever it would.
    /// Only what is proven: a condition that is not told may be out of reach all the same.
    pub fn covered(&self) -> impl Iterator<Item = (usize, usize)> {
        let before = |index: usize, narrow: &Condition| {
            // What looks back does not take every turn.
            let mut earlier = self.list.iter().take(index).enumerate().filter(|(_, broad)| broad.over_time.is_empty());
            earlier.find(|(_, broad)| broader::implies(&narrow.test, &broad.test)).map(|(number, _)| number)
        };
        self.list.iter().enumerate().filter_map(move |(index, narrow)| Some((index, before(index, narrow)?)))
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
    /// What it decides, if anything.
    fn decide(
        self: &Arc<Self>,
        index: usize,
        subject: Subject<'_, '_>,
        memory: &Memory,
        seen: &mut Vec<Seen>,
    ) -> Option<Decision> {
        if !self.test.holds(subject) {
            let missing = self.on_missing == OnMissing::Error && self.test.judge(subject) == Verdict::Missing;
            return missing.then(|| self.undecided(Evidence::of(&self.test, subject).reason()));
        }
        let mut supported_alerts = self.supported_alerts(subject);
        if !self.over_time.is_empty() {
            let looked = self.over_time.look(subject, supported_alerts, memory);
            seen.extend(looked.seen);
            if looked.verdict != Verdict::True {
                let missing = self.on_missing == OnMissing::Error && looked.verdict == Verdict::Missing;
                let reason = || Evidence::group(looked.verdict, "all of", looked.evidence).reason();
                return missing.then(|| self.undecided(reason()));
            }
            supported_alerts = looked.supported_alerts;
        }
        let matched = Match { condition: Arc::clone(self), index, supported_alerts };
        Some(Decision { matched: Some(matched), ..Decision::default() })
    }

    fn undecided(&self, reason: String) -> Decision {
        Decision { undecided: Some(Undecided { condition: self.name.clone(), reason }), ..Decision::default() }
    }

    /// Why it matches an incident or not, after what is in the memory: the whole tree.
    pub fn explain(&self, incident: &Incident<'_>, now: i64, memory: &Memory) -> Evidence {
        let subject = Subject { incident, alert: None, now };
        let mut evidence = Evidence::of(&self.test, subject);
        if evidence.verdict == Verdict::True {
            let looked = self.over_time.look(subject, self.supported_alerts(subject), memory);
            evidence.verdict = looked.verdict;
            evidence.children.extend(looked.evidence);
        } else {
            evidence.children.extend(self.over_time.unasked());
        }
        evidence
    }

    fn supported_alerts(&self, subject: Subject<'_, '_>) -> Vec<usize> {
        let supported = |alert: &Subject<'_, '_>| self.alerts.as_ref().is_none_or(|alerts| alerts.test.holds(*alert));
        subject.alerts().enumerate().filter(|(_, alert)| supported(alert)).map(|(index, _)| index).collect()
    }
}

impl fmt::Display for Explanation {
    /// Each condition with its tree.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for condition in &self.conditions {
            let note = match (condition.shadowed, condition.evidence.verdict, condition.missing) {
                (true, ..) => " (an earlier condition decides)",
                (false, Verdict::Missing, OnMissing::False) => " (missing: counts as false)",
                (false, Verdict::Missing, OnMissing::Error) => " (missing: an error, so nothing is done)",
                (false, Verdict::True | Verdict::False, _) => "",
            };
            writeln!(f, "{}{note}\n{}", condition.name, condition.evidence)?;
        }
        match (&self.matched, &self.undecided) {
            (Some(name), _) => writeln!(f, "matched: {name}"),
            (None, Some(name)) => writeln!(f, "matched: none, for `{name}` cannot be judged"),
            (None, None) => writeln!(f, "matched: none"),
        }
    }
}

#[cfg(test)]
mod oracle;
#[cfg(test)]
mod tests;
