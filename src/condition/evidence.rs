//! Why: every test with the value it saw. Built on demand; deciding does not need it.

use std::fmt;

use serde::Serialize;

use crate::condition::test::{Subject, Test};
use crate::condition::verdict::Verdict;

/// A test, what it saw and what it said.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evidence {
    /// What the test said.
    pub verdict: Verdict,
    /// What it looked at: `tags.alert_type`, `all of`, `any alert`, `alert 60f1a`.
    pub subject: String,
    /// The operator with what was wanted; empty for a group.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub test: String,
    /// The value that was there, as JSON; `missing` when there was none; empty for a group.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub found: String,
    /// The tests of a group.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<Evidence>,
}

/// Values longer than this are cut in evidence.
const LONGEST_FOUND: usize = 200;
/// What a test that was not asked is said to have found begins with this.
pub(super) const NOT_ASKED: &str = "not asked: ";
/// Tests that are told when only the leaves are.
const SEEN_MAX: usize = 16;

impl Evidence {
    /// The whole tree of a test, nothing left out.
    pub(super) fn of(test: &Test, subject: Subject<'_, '_>) -> Self {
        let group = |name: &str, tests: &[Test]| {
            let children = tests.iter().map(|test| Self::of(test, subject)).collect();
            Self::group(test.judge(subject), name, children)
        };
        match test {
            Test::Field(field) => Self {
                verdict: field.judge(subject),
                subject: match subject.alert {
                    Some(_) if field.path.scope() == crate::incident::Scope::Incident => {
                        format!("incident.{}", field.path)
                    }
                    _ => field.path.to_string(),
                },
                test: field.operator.to_string(),
                found: cut(subject.get(&field.path).to_string()),
                children: Vec::new(),
            },
            Test::Schedule(schedule) => Self {
                verdict: schedule.judge(subject.now),
                subject: "schedule".to_owned(),
                test: schedule.to_string(),
                found: schedule.found(subject.now),
                children: Vec::new(),
            },
            Test::All(tests) => group("all of", tests),
            Test::Any(tests) => group("any of", tests),
            Test::None(tests) => group("none of", tests),
            Test::Alerts(alerts) => {
                let each = subject.alerts().enumerate().map(|(index, one)| {
                    let id = one.alert.and_then(|alert| alert.id.as_deref());
                    let name = id.map_or_else(|| format!("alert #{index}"), |id| format!("alert {id}"));
                    Self::group(alerts.test.judge(one), &name, vec![Self::of(&alerts.test, one)])
                });
                Self::group(test.judge(subject), &alerts.quantifier.to_string(), each.collect())
            }
        }
    }

    pub(super) fn group(verdict: Verdict, name: &str, children: Vec<Evidence>) -> Self {
        Self { verdict, subject: name.to_owned(), test: String::new(), found: String::new(), children }
    }

    /// One line that says what decided: the first leaf that made the verdict of the whole.
    pub fn reason(&self) -> String {
        self.tell(self.deciding().next().or_else(|| self.children.first()), Self::reason)
    }

    /// Every leaf that made the verdict of the whole, each in one line as [`Self::reason`] has the first.
    pub fn reasons(&self) -> Vec<String> {
        let mut deciding = self.deciding().peekable();
        if deciding.peek().is_none() {
            return vec![self.reason()];
        }
        deciding
            .flat_map(|child| child.reasons().into_iter().map(|reason| self.tell(Some(child), |_| reason.clone())))
            .collect()
    }

    /// The children that have the verdict of the whole; of a negation those that have the opposite.
    fn deciding(&self) -> impl Iterator<Item = &Self> {
        let negated = matches!(self.subject.as_str(), "none of" | "no alert");
        let verdict = if negated { self.verdict.negate() } else { self.verdict };
        self.children.iter().filter(move |child| child.verdict == verdict && !child.found.starts_with(NOT_ASKED))
    }

    fn tell(&self, child: Option<&Self>, reason: impl Fn(&Self) -> String) -> String {
        match child {
            None if self.test.is_empty() => format!("{}: nothing to test", self.subject),
            None => format!("{} {}: found {}", self.subject, self.test, self.found),
            Some(child) if self.subject == "all of" => reason(child),
            Some(child) => format!("{}: {}", self.subject, reason(child)),
        }
    }

    /// The tests without their groups, one a line, to be kept beside what was done about it; of many the first ones.
    pub fn seen(&self) -> Vec<String> {
        let mut seen = Vec::new();
        self.leaves("", &mut seen);
        seen
    }

    fn leaves(&self, group: &str, seen: &mut Vec<String>) {
        if seen.len() >= SEEN_MAX {
            return;
        }
        if !self.test.is_empty() {
            seen.push(format!("{} {group}{} {}: found {}", self.verdict, self.subject, self.test, self.found));
        }
        // "all of" is how tests stand beside one another anyway.
        let group = if self.subject == "all of" { group.to_owned() } else { format!("{group}{}: ", self.subject) };
        self.children.iter().for_each(|child| child.leaves(&group, seen));
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
        write!(f, "{:indent$}{:7} {}", "", self.verdict, self.subject, indent = depth.saturating_mul(2))?;
        if !self.test.is_empty() {
            write!(f, " {}: found {}", self.test, self.found)?;
        }
        f.write_str("\n")?;
        self.children.iter().try_for_each(|child| child.write(f, depth.saturating_add(1)))
    }
}

impl fmt::Display for Evidence {
    /// The tree, one test a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, 0)
    }
}

fn cut(mut text: String) -> String {
    if text.len() > LONGEST_FOUND {
        text.truncate(text.floor_char_boundary(LONGEST_FOUND));
        text.push('…');
    }
    text
}
