//! The tree of tests that a condition is compiled to, and its verdict on an incident.

use std::fmt;

use crate::condition::operator::Operator;
use crate::condition::schedule::Schedule;
use crate::condition::verdict::Verdict;
use crate::incident::{Alert, Found, Incident, Path, Scope};

/// What is judged: an incident at a moment, and one of its alerts inside a test of alerts.
#[derive(Clone, Copy)]
pub(super) struct Subject<'s, 'a> {
    pub(super) incident: &'s Incident<'a>,
    pub(super) alert: Option<&'s Alert<'a>>,
    /// Seconds since the epoch.
    pub(super) now: i64,
}

/// A test, compiled.
#[derive(Clone, Debug)]
pub(super) enum Test {
    /// Boxed, because the groups around it are small.
    Field(Box<FieldTest>),
    /// Of the clock alone.
    Schedule(Box<Schedule>),
    All(Vec<Test>),
    Any(Vec<Test>),
    None(Vec<Test>),
    Alerts(AlertsTest),
}

/// One operator on one path.
#[derive(Clone, Debug)]
pub(super) struct FieldTest {
    pub(super) path: Path,
    pub(super) operator: Operator,
}

/// A test of alerts, and how many must pass.
#[derive(Clone, Debug)]
pub(super) struct AlertsTest {
    pub(super) quantifier: Quantifier,
    pub(super) test: Box<Test>,
}

/// How many alerts must pass.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Quantifier {
    Any,
    /// Every one, and there is one.
    All,
    None,
    AtLeast(usize),
    /// Per cent of all alerts, and there is one.
    ShareAtLeast(f64),
}

impl<'s, 'a> Subject<'s, 'a> {
    /// What a path leads to.
    pub(super) fn get(&self, path: &Path) -> Found<'s, 'a> {
        match (path.scope(), self.alert) {
            (Scope::Incident, _) => self.incident.get(path),
            (Scope::Alert, Some(alert)) => alert.get(path),
            (Scope::Alert, None) => Found::Missing,
        }
    }

    /// The same for each alert of the incident.
    pub(super) fn alerts(self) -> impl Iterator<Item = Subject<'s, 'a>> {
        self.incident.alerts.iter().map(move |alert| Subject { alert: Some(alert), ..self })
    }
}

impl Test {
    /// The verdict; nothing is built on the way.
    pub(super) fn judge(&self, subject: Subject<'_, '_>) -> Verdict {
        match self {
            Self::Field(field) => field.judge(subject),
            Self::Schedule(schedule) => schedule.judge(subject.now),
            Self::All(tests) => Verdict::all(tests.iter().map(|test| test.judge(subject))),
            Self::Any(tests) => Verdict::any(tests.iter().map(|test| test.judge(subject))),
            Self::None(tests) => Verdict::any(tests.iter().map(|test| test.judge(subject))).negate(),
            Self::Alerts(alerts) => alerts.quantifier.judge(subject.alerts().map(|alert| alerts.test.judge(alert))),
        }
    }

    /// It is true. Quicker than asking for the verdict: of "all", the first that is not true decides.
    pub(super) fn holds(&self, subject: Subject<'_, '_>) -> bool {
        match self {
            Self::All(tests) => tests.iter().all(|test| test.holds(subject)),
            Self::Any(tests) => tests.iter().any(|test| test.holds(subject)),
            Self::Alerts(AlertsTest { quantifier: Quantifier::Any, test }) => {
                subject.alerts().any(|alert| test.holds(alert))
            }
            other => other.judge(subject) == Verdict::True,
        }
    }
}

impl FieldTest {
    pub(super) fn judge(&self, subject: Subject<'_, '_>) -> Verdict {
        self.operator.judge(subject.get(&self.path), subject.now)
    }
}

impl Quantifier {
    /// The verdict from those on the alerts. With alerts unjudged, it is certain only if it would be either way.
    pub(super) fn judge(self, verdicts: impl Iterator<Item = Verdict>) -> Verdict {
        match self {
            Self::Any => Verdict::any(verdicts),
            Self::None => Verdict::any(verdicts).negate(),
            Self::All => {
                let mut verdicts = verdicts.peekable();
                if verdicts.peek().is_none() { Verdict::False } else { Verdict::all(verdicts) }
            }
            Self::AtLeast(_) | Self::ShareAtLeast(_) => {
                let (mut sure, mut possible, mut total) = (0_usize, 0_usize, 0_usize);
                for verdict in verdicts {
                    total = total.saturating_add(1);
                    sure = sure.saturating_add(usize::from(verdict == Verdict::True));
                    possible = possible.saturating_add(usize::from(verdict != Verdict::False));
                }
                match (self.enough(sure, total), self.enough(possible, total)) {
                    (true, _) => Verdict::True,
                    (false, true) => Verdict::Missing,
                    (false, false) => Verdict::False,
                }
            }
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "an incident has at most some thousands of alerts")]
    fn enough(self, passing: usize, total: usize) -> bool {
        match self {
            Self::AtLeast(wanted) => passing >= wanted,
            Self::ShareAtLeast(percent) => total > 0 && passing as f64 * 100.0 >= percent * total as f64,
            Self::Any => passing > 0,
            Self::All => total > 0 && passing == total,
            Self::None => passing == 0,
        }
    }
}

impl fmt::Display for Quantifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any alert"),
            Self::All => f.write_str("all alerts"),
            Self::None => f.write_str("no alert"),
            Self::AtLeast(wanted) => write!(f, "at least {wanted} alerts"),
            Self::ShareAtLeast(percent) => write!(f, "at least {percent}% of the alerts"),
        }
    }
}
