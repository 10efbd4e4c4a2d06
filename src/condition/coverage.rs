//! Which conditions, and which tests within them, a set of records has put to the proof.
//!
//! A branch is one test of a condition: an operator on a field, a calendar, a number of alerts, a test that looks back. It is covered
//! when it was true for one record and not true for another. Only what the engine asks counts: conditions behind the one that
//! decides are not asked, and neither are tests that look back while another test is not true.

use std::slice::IterMut;

use crate::condition::evidence::Evidence;
use crate::condition::test::{Subject, Test};
use crate::condition::{Condition, Conditions, Memory, Verdict};
use crate::incident::{Incident, Scope};

/// What was covered, in the order of the conditions.
#[derive(Clone, Debug)]
pub struct Coverage {
    /// One entry for each condition.
    pub conditions: Vec<Covered>,
}

/// How far one condition was put to the proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Covered {
    /// The condition's name.
    pub name: String,
    /// Records for which it was the one that matched.
    pub matched: u64,
    /// Records for which it was asked and did not match.
    pub passed_over: u64,
    /// Its tests, in the order in which they are written.
    pub branches: Vec<Branch>,
}

/// One test of a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Branch {
    /// What it tests: `tags.alert_type equals "oozie"`.
    pub test: String,
    /// It was true for a record, or an alert.
    pub held: bool,
    /// It was false or missing for one.
    pub failed: bool,
}

impl Branch {
    fn new(test: String) -> Self {
        Self { test, held: false, failed: false }
    }

    /// Seen both ways.
    pub fn is_covered(&self) -> bool {
        self.held && self.failed
    }

    fn see(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::True => self.held = true,
            Verdict::False | Verdict::Missing => self.failed = true,
        }
    }
}

impl Covered {
    /// How many of its tests were seen both ways.
    pub fn covered(&self) -> usize {
        self.branches.iter().filter(|branch| branch.is_covered()).count()
    }
}

impl Coverage {
    /// Nothing has been seen yet.
    pub fn of(conditions: &Conditions) -> Self {
        let one = |condition: &Condition| {
            let mut tests = Vec::new();
            describe(&condition.test, &mut tests);
            tests.extend(condition.over_time.unasked().map(|test| format!("{} {}", test.subject, test.test)));
            let branches = tests.into_iter().map(Branch::new).collect();
            Covered { name: condition.name.clone(), matched: 0, passed_over: 0, branches }
        };
        Self { conditions: conditions.iter().map(|condition| one(condition)).collect() }
    }

    /// Counts what an incident puts to the proof at a moment, after what is in the memory. The conditions are those of [`Self::of`].
    pub fn see(&mut self, conditions: &Conditions, incident: &Incident<'_>, now: i64, memory: &Memory) {
        let subject = Subject { incident, alert: None, now };
        for (index, (condition, covered)) in conditions.iter().zip(&mut self.conditions).enumerate() {
            let mut branches = covered.branches.iter_mut();
            judge(&condition.test, &[subject], &mut branches);
            if condition.test.holds(subject) {
                let looked = condition.over_time.look(subject, condition.supported_alerts(subject), memory);
                branches.zip(&looked.evidence).for_each(|(branch, evidence)| look_back(branch, evidence));
            }
            match condition.decide(index, subject, memory, &mut Vec::new()) {
                Some(decision) if decision.matched.is_some() => {
                    covered.matched = covered.matched.saturating_add(1);
                    return;
                }
                decision => {
                    covered.passed_over = covered.passed_over.saturating_add(1);
                    // What cannot be judged and must be ends it too.
                    if decision.is_some() {
                        return;
                    }
                }
            }
        }
    }
}

/// The tests of a tree in the order in which [`judge`] comes to them.
fn describe(test: &Test, tests: &mut Vec<String>) {
    match test {
        Test::All(inner) | Test::Any(inner) | Test::None(inner) => {
            for test in inner {
                describe(test, tests);
            }
        }
        Test::Alerts(alerts) => {
            tests.push(format!("alert_conditions: {}", alerts.quantifier));
            describe(&alerts.test, tests);
        }
        Test::Field(field) => {
            let of = if field.path.scope() == Scope::Alert { "alert." } else { "" };
            tests.push(format!("{of}{} {}", field.path, field.operator));
        }
        Test::Schedule(schedule) => tests.push(format!("schedule {schedule}")),
    }
}

fn judge(test: &Test, subjects: &[Subject<'_, '_>], branches: &mut IterMut<'_, Branch>) {
    match test {
        Test::All(inner) | Test::Any(inner) | Test::None(inner) => {
            for test in inner {
                judge(test, subjects, branches);
            }
        }
        Test::Alerts(alerts) => {
            see(test, subjects, branches);
            let each: Vec<_> = subjects.iter().flat_map(|subject| subject.alerts()).collect();
            judge(&alerts.test, &each, branches);
        }
        Test::Field(_) | Test::Schedule(_) => see(test, subjects, branches),
    }
}

fn see(test: &Test, subjects: &[Subject<'_, '_>], branches: &mut IterMut<'_, Branch>) {
    if let Some(branch) = branches.next() {
        for subject in subjects {
            branch.see(test.judge(*subject));
        }
    }
}

/// A test that looks back says of an incident, or of each alert; what it was not asked about is missing.
fn look_back(branch: &mut Branch, evidence: &Evidence) {
    let one = std::slice::from_ref(evidence);
    let each = if evidence.children.is_empty() { one } else { &evidence.children };
    each.iter().filter(|one| one.verdict != Verdict::Missing).for_each(|one| branch.see(one.verdict));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::{Mistakes, parse};

    const RULES: &str = "\
- {name: first, incident_actions: [a], tags: {kind: x}, any: [{status: ok}, {severity: high}],
   alert_conditions: {host: {starts_with: h}}, throttle: {once_within: 10m, by: tags.kind}}
- {name: second, incident_actions: [a], active: true}
";

    fn conditions() -> Conditions {
        let mistakes = Mistakes::default();
        let node = parse(RULES, &mistakes).expect("yaml");
        let conditions = Conditions::compile(Some(&node), "incident_conditions", &mistakes);
        assert!(mistakes.is_empty(), "{mistakes}");
        conditions
    }

    /// What is covered of each condition after the records: matched, passed over, and each test as `+`, `-`, `±` or `.`.
    fn covered(records: &[&str]) -> Vec<(u64, u64, String)> {
        let conditions = conditions();
        let (mut coverage, mut memory) = (Coverage::of(&conditions), Memory::default());
        for record in records {
            let incident = Incident::parse(record.as_bytes()).expect("an incident");
            coverage.see(&conditions, &incident, 100, &memory);
            conditions.decide_remembering(&incident, 100, &mut memory);
        }
        let sign = |branch: &Branch| match (branch.held, branch.failed) {
            (true, true) => '±',
            (true, false) => '+',
            (false, true) => '-',
            (false, false) => '.',
        };
        let one = |one: &Covered| (one.matched, one.passed_over, one.branches.iter().map(sign).collect());
        coverage.conditions.iter().map(one).collect()
    }

    const HIT: &str = r#"{"id": "i", "startedOn": 1, "status": "ok", "tags": {"kind": "x"}, "alerts": [{"host": "h"}, {"host": "g"}]}"#;

    #[test]
    fn tests_are_listed_as_they_are_written() {
        let tests: Vec<_> = Coverage::of(&conditions()).conditions.swap_remove(0).branches;
        let tests: Vec<_> = tests.iter().map(|branch| branch.test.as_str()).collect();
        assert_eq!(
            tests,
            [
                "tags.kind equals \"x\"",
                "status equals \"ok\", ignoring case",
                "severity equals \"high\", ignoring case",
                "alert_conditions: any alert",
                "alert.host starts_with \"h\"",
                "throttle by tags.kind once_within 10m",
            ]
        );
    }

    #[test]
    fn what_was_seen_one_way_only_is_not_covered() {
        assert_eq!(covered(&[]), [(0, 0, "......".to_owned()), (0, 0, ".".to_owned())]);
        assert_eq!(covered(&[HIT]), [(1, 0, "++-+±+".to_owned()), (0, 0, ".".to_owned())]);
        let other = HIT.replace(r#""i""#, r#""j""#);
        assert_eq!(covered(&[HIT, &other]), [(1, 1, "++-+±±".to_owned()), (0, 1, "-".to_owned())]);
    }

    #[test]
    fn a_test_that_looks_back_is_not_covered_by_a_record_that_fails_before_it() {
        let miss = HIT.replace("\"x\"", "\"y\"");
        assert_eq!(covered(&[&miss]), [(0, 1, "-+-+±.".to_owned()), (0, 1, "-".to_owned())]);
    }
}
