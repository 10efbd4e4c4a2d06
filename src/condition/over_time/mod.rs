//! What a condition demands of the time around an incident: `occurrences`, `quiet_for`, `throttle`.
//!
//! They are asked when every other test of the condition is true, and what they answer depends on what was seen before: the
//! [`Memory`] is an argument, and what is to be remembered comes back with the answer. Each counts incidents or, when `by`
//! names something of the alerts, alerts; never records, so that a record that is delivered again and a later snapshot of
//! the same incident change nothing. Occurrences and silence are dated by the start of the incident or alert, so the answer
//! does not depend on when the records are read; a throttle goes by the clock, because it protects what is acted upon.
//! What was once let through stays so.

mod memory;
mod read;

pub(super) use crate::condition::over_time::memory::SeriesKey;
pub use crate::condition::over_time::memory::{Memory, Seen, Unreadable};

use std::collections::HashMap;

use crate::condition::evidence::{Evidence, NOT_ASKED};
use crate::condition::test::Subject;
use crate::condition::verdict::Verdict;
use crate::incident::{Alert, Found, Incident, Path, Scope};

/// The tests of one condition that look back.
#[derive(Clone, Debug, Default)]
pub(super) struct OverTime {
    /// In the order in which they are asked; the throttle is last, because it is used up by what passes it.
    tests: Vec<Lookback>,
}

/// One test that looks back.
#[derive(Clone, Debug)]
struct Lookback {
    kind: Kind,
    /// How far, in seconds.
    within: i64,
    /// What must be the same; nothing: all incidents count together.
    by: Vec<Path>,
    series: SeriesKey,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    AtLeast(usize),
    Quiet,
    OnceWithin,
}

/// What the tests that look back say.
#[derive(Clone, Debug)]
pub(super) struct Looked {
    pub(super) verdict: Verdict,
    /// The alerts that passed, of those that were supported before.
    pub(super) supported_alerts: Vec<usize>,
    pub(super) seen: Vec<Seen>,
    pub(super) evidence: Vec<Evidence>,
}

/// The answer of one test about one incident or alert.
struct Answer {
    verdict: Verdict,
    found: String,
    seen: Option<Seen>,
}

impl OverTime {
    pub(super) fn is_empty(&self) -> bool {
        self.tests.is_empty()
    }

    /// How far each of its tests looks back.
    pub(super) fn kept(&self) -> impl Iterator<Item = (SeriesKey, i64)> {
        self.tests.iter().map(|test| (test.series.clone(), test.within))
    }

    /// What they are, of an incident about which they are not asked.
    pub(super) fn unasked(&self) -> impl Iterator<Item = Evidence> {
        let why = format!("{NOT_ASKED}the tests before are not all true");
        self.tests.iter().map(move |test| test.evidence(Verdict::Missing, why.clone()))
    }

    /// Asks them about an incident for which all else is true.
    pub(super) fn look(&self, subject: Subject<'_, '_>, supported_alerts: Vec<usize>, memory: &Memory) -> Looked {
        let (seen, evidence) = (Vec::new(), Vec::new());
        let mut looked = Looked { verdict: Verdict::True, supported_alerts, seen, evidence };
        for test in &self.tests {
            if looked.verdict != Verdict::True && test.kind == Kind::OnceWithin {
                // Not used up by what does not match anyway.
                looked.evidence.push(test.evidence(Verdict::Missing, format!("{NOT_ASKED}another test failed")));
                continue;
            }
            let verdict = match test.scope() {
                Scope::Incident => test.of_incident(subject, memory, &mut looked),
                Scope::Alert => test.of_alerts(subject, memory, &mut looked),
            };
            looked.verdict = looked.verdict.min(verdict);
        }
        looked
    }
}

impl Lookback {
    fn scope(&self) -> Scope {
        let of_alert = self.by.iter().any(|path| path.scope() == Scope::Alert);
        if of_alert { Scope::Alert } else { Scope::Incident }
    }

    fn of_incident(&self, subject: Subject<'_, '_>, memory: &Memory, looked: &mut Looked) -> Verdict {
        let Answer { verdict, found, seen } = self.ask(subject, None, memory, &looked.seen);
        looked.seen.extend(seen);
        looked.evidence.push(self.evidence(verdict, found));
        verdict
    }

    /// Each supported alert by itself; those that do not pass are supported no longer.
    fn of_alerts(&self, subject: Subject<'_, '_>, memory: &Memory, looked: &mut Looked) -> Verdict {
        let (mut passed, mut children) = (Vec::new(), Vec::new());
        for index in std::mem::take(&mut looked.supported_alerts) {
            let Some(alert) = subject.incident.alerts.get(index) else { continue };
            let one = Subject { alert: Some(alert), ..subject };
            let Answer { verdict, found, seen } = self.ask(one, Some(index), memory, &looked.seen);
            looked.seen.extend(seen);
            if verdict == Verdict::True {
                passed.push(index);
            }
            let mut child = self.evidence(verdict, found);
            child.subject = format!("{} of {}", child.subject, alert_name(alert, index));
            children.push(child);
        }
        let verdict = Verdict::any(children.iter().map(|child| child.verdict));
        looked.evidence.push(Evidence::group(verdict, "any alert", children));
        looked.supported_alerts = passed;
        verdict
    }

    fn ask(&self, subject: Subject<'_, '_>, index: Option<usize>, memory: &Memory, fresh: &[Seen]) -> Answer {
        let Some(by) = self.values(subject) else {
            return Answer { verdict: Verdict::Missing, found: "missing".to_owned(), seen: None };
        };
        let who = who(subject.incident, subject.alert, index);
        let known = memory.sighting(&self.series, &by, &who);
        let at = match (self.kind, known) {
            (_, Some(known)) => known.at,
            (Kind::OnceWithin, None) => subject.now,
            (Kind::AtLeast(_) | Kind::Quiet, None) => date(subject),
        };
        // What this very record has added is not in the memory yet.
        let fresh = fresh.iter().filter(|seen| seen.series == self.series && seen.by == by).map(|seen| seen.at);
        let fresh: Vec<_> = fresh.collect();
        let (passes, found) = self.weigh(memory, &by, at, known.is_some(), &fresh);
        let passes = passes || known.is_some_and(|known| known.passed);
        let news = known.is_none_or(|known| passes && !known.passed) && (passes || self.kind != Kind::OnceWithin);
        let seen = news.then(|| Seen { series: self.series.clone(), by, who, at, passed: passes });
        Answer { verdict: Verdict::from_bool(passes), found, seen }
    }

    /// Whether it passes by what was seen, and what that was.
    fn weigh(&self, memory: &Memory, by: &str, at: i64, known: bool, fresh: &[i64]) -> (bool, String) {
        let (within, text) = (self.within, length(self.within));
        let fresh_in = |from: i64, to: i64| fresh.iter().copied().filter(move |date| (from..=to).contains(date));
        match self.kind {
            Kind::AtLeast(wanted) => {
                let from = at.saturating_sub(within).saturating_add(1);
                let others = memory.dates(&self.series, by, from, at).chain(fresh_in(from, at));
                // Its own sighting is among them when it is known.
                let count = others.take(wanted).count().saturating_add(usize::from(!known)).min(wanted);
                (count >= wanted, format!("{count} of {wanted} within {text}"))
            }
            Kind::Quiet => {
                let from = at.saturating_sub(within);
                let mut before = memory.dates(&self.series, by, from, at);
                if known {
                    // Itself; of several at its own second one is as good as another.
                    before.next();
                }
                match before.chain(fresh_in(from, at)).max() {
                    Some(last) => (false, format!("another {} before", length(at.saturating_sub(last)))),
                    None => (true, format!("nothing within {text}")),
                }
            }
            Kind::OnceWithin if known => (true, "it has its turn".to_owned()),
            Kind::OnceWithin => {
                let (from, to) = (at.saturating_sub(within).saturating_add(1), at.saturating_add(within));
                match memory.dates(&self.series, by, from, to).chain(fresh_in(from, to)).max() {
                    Some(last) => {
                        (false, format!("another had its turn {} ago", length(at.saturating_sub(last).max(0))))
                    }
                    None => (true, format!("nothing within {text}")),
                }
            }
        }
    }

    /// The values of `by` as one text; none when one is missing.
    fn values(&self, subject: Subject<'_, '_>) -> Option<String> {
        let one = |path: &Path| match subject.get(path) {
            Found::Missing => None,
            Found::Text(text) => Some(text.to_owned()),
            other => Some(other.to_string()),
        };
        let values: Vec<_> = self.by.iter().map(one).collect::<Option<_>>()?;
        match values.as_slice() {
            [] => Some(String::new()),
            [only] => Some(only.clone()),
            several => Some(format!("{several:?}")),
        }
    }

    fn evidence(&self, verdict: Verdict, found: String) -> Evidence {
        let names: Vec<_> = self.by.iter().map(named).collect();
        let by = if names.is_empty() { String::new() } else { format!(" by {}", names.join(", ")) };
        let (within, word) = (length(self.within), &self.series.test);
        let test = match self.kind {
            Kind::AtLeast(wanted) => format!("at_least {wanted} within {within}"),
            Kind::Quiet => within,
            Kind::OnceWithin => format!("once_within {within}"),
        };
        Evidence { verdict, subject: format!("{word}{by}"), test, found, children: Vec::new() }
    }
}

fn named(path: &Path) -> String {
    match path.scope() {
        Scope::Incident => path.to_string(),
        Scope::Alert => format!("alert.{path}"),
    }
}

/// How far every test of some conditions looks back.
pub(super) fn kept<'c>(all: impl Iterator<Item = &'c OverTime>) -> HashMap<SeriesKey, i64> {
    all.flat_map(OverTime::kept).collect()
}

/// An incident or alert under its start: a genuine re-fire is another one.
fn who(incident: &Incident<'_>, alert: Option<&Alert<'_>>, index: Option<usize>) -> String {
    let started = incident.started_on.unwrap_or_default();
    match (alert, index) {
        (Some(alert), Some(index)) => {
            let own = alert.started_on.unwrap_or(started);
            match alert.id.as_deref() {
                Some(id) => format!("{}/{id}/{own}", incident.id),
                None => format!("{}/#{index}/{own}", incident.id),
            }
        }
        _ => format!("{}/{started}", incident.id),
    }
}

/// When it began; never later than now.
fn date(subject: Subject<'_, '_>) -> i64 {
    let incident = subject.incident;
    let of_alert = subject.alert.and_then(|alert| alert.started_on);
    let began = of_alert.or(incident.started_on).or(incident.updated_on).or(incident.changed_on);
    began.map_or(subject.now, |began| began.min(subject.now))
}

fn alert_name(alert: &Alert<'_>, index: usize) -> String {
    alert.id.as_deref().map_or_else(|| format!("alert #{index}"), |id| format!("alert {id}"))
}

/// Seconds as people write them.
fn length(seconds: i64) -> String {
    match seconds {
        0 => "0s".to_owned(),
        _ if seconds % 86_400 == 0 => format!("{}d", seconds / 86_400),
        _ if seconds % 3600 == 0 => format!("{}h", seconds / 3600),
        _ if seconds % 60 == 0 => format!("{}m", seconds / 60),
        _ => format!("{seconds}s"),
    }
}

#[cfg(test)]
mod oracle;
#[cfg(test)]
mod tests;
