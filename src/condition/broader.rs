//! Whether a test is true wherever another one is: proven, or not said.
//!
//! Promised: [`implies`] says yes only where it follows from the tests alone, for every incident at every time. A no says nothing.
//! The work is bounded, whatever is compared. Absent: what several earlier conditions cover together, and arithmetic between
//! different fields. `oracle.rs` holds every yes against random incidents.

use crate::condition::operator::{Comparison, OneOf, Operator};
use crate::condition::test::{AlertsTest, FieldTest, Quantifier, Test};

/// Comparisons of two tests before the proof is given up.
const EFFORT: usize = 20_000;

/// Whether `broad` is true wherever `narrow` is.
pub(super) fn implies(narrow: &Test, broad: &Test) -> bool {
    Proof { effort: EFFORT }.implies(narrow, broad)
}

struct Proof {
    effort: usize,
}

impl Proof {
    /// `narrow` true, so `broad` true.
    fn implies(&mut self, narrow: &Test, broad: &Test) -> bool {
        if !self.goes_on() {
            return false;
        }
        match (narrow, broad) {
            (_, Test::All(tests)) => tests.iter().all(|test| self.implies(narrow, test)),
            (Test::Any(tests), _) => tests.iter().all(|test| self.implies(test, broad)),
            (Test::Field(narrow), Test::Field(broad)) if narrow.path == broad.path => {
                narrow.operator.implies(&broad.operator)
            }
            (Test::Alerts(narrow), Test::Alerts(broad)) if self.alerts(narrow, broad) => true,
            (Test::Schedule(narrow), Test::Schedule(broad)) => narrow.to_string() == broad.to_string(),
            (_, Test::None(tests)) if tests.iter().all(|test| self.refutes(narrow, test)) => true,
            (_, Test::Any(tests)) if tests.iter().any(|test| self.implies(narrow, test)) => true,
            (Test::All(tests), _) => tests.iter().any(|test| self.implies(test, broad)),
            _ => false,
        }
    }

    /// `narrow` true, so `other` false: not missing.
    fn refutes(&mut self, narrow: &Test, other: &Test) -> bool {
        if !self.goes_on() {
            return false;
        }
        match (narrow, other) {
            (_, Test::Any(tests)) => tests.iter().all(|test| self.refutes(narrow, test)),
            (Test::Any(tests), _) => tests.iter().all(|test| self.refutes(test, other)),
            (Test::Field(narrow), Test::Field(other)) if narrow.path == other.path => {
                narrow.operator.refutes(&other.operator)
            }
            (Test::None(tests), _) if tests.iter().any(|test| self.at_most(other, test)) => true,
            (_, Test::None(tests)) if tests.iter().any(|test| self.implies(narrow, test)) => true,
            (_, Test::All(tests)) if tests.iter().any(|test| self.refutes(narrow, test)) => true,
            (Test::All(tests), _) => tests.iter().any(|test| self.refutes(test, other)),
            _ => false,
        }
    }

    /// What `low` says is never above what `high` says: true is above missing, missing above false.
    fn at_most(&mut self, low: &Test, high: &Test) -> bool {
        if !self.goes_on() {
            return false;
        }
        match (low, high) {
            (Test::Any(tests), _) => tests.iter().all(|test| self.at_most(test, high)),
            (_, Test::All(tests)) => tests.iter().all(|test| self.at_most(low, test)),
            (Test::Field(low), Test::Field(high)) => low.path == high.path && low.at_most(high),
            (Test::All(tests), _) if tests.iter().any(|test| self.at_most(test, high)) => true,
            (_, Test::Any(tests)) => tests.iter().any(|test| self.at_most(low, test)),
            _ => false,
        }
    }

    fn alerts(&mut self, narrow: &AlertsTest, broad: &AlertsTest) -> bool {
        match (narrow.quantifier, broad.quantifier) {
            // Whatever the alerts are.
            (_, Quantifier::AtLeast(0)) => true,
            (Quantifier::None, Quantifier::None) => self.at_most(&broad.test, &narrow.test),
            (Quantifier::None, _) | (_, Quantifier::None) => false,
            (few, many) => covers(few, many) && self.implies(&narrow.test, &broad.test),
        }
    }

    fn goes_on(&mut self) -> bool {
        self.effort = self.effort.saturating_sub(1);
        self.effort > 0
    }
}

/// Where as many alerts as `narrow` demands pass, so do as many as `broad` demands.
fn covers(narrow: Quantifier, broad: Quantifier) -> bool {
    // At least so many, and at least this share of one or more.
    let (number, share) = match narrow {
        Quantifier::Any => (1, 0.0),
        Quantifier::All => (1, 100.0),
        Quantifier::AtLeast(number) => (number, 0.0),
        Quantifier::ShareAtLeast(share) => (usize::from(share > 0.0), share),
        Quantifier::None => (0, 0.0),
    };
    match broad {
        Quantifier::Any => number >= 1,
        Quantifier::All => share >= 100.0,
        Quantifier::AtLeast(wanted) => number >= wanted,
        Quantifier::ShareAtLeast(wanted) => wanted > 0.0 && share >= wanted,
        Quantifier::None => false,
    }
}

impl FieldTest {
    /// Of one path. Both are missing for the same values.
    fn at_most(&self, high: &Self) -> bool {
        match (&self.operator, &high.operator) {
            (Operator::Equals(low), Operator::Equals(high)) => low.is_within(high),
            (Operator::NotEquals(low), Operator::NotEquals(high)) => high.is_within(low),
            (low, high) => low.is_same(high),
        }
    }
}

impl Operator {
    /// Of one value. Every operator but `exists` is true only of what is there.
    fn implies(&self, broad: &Self) -> bool {
        match (self, broad) {
            (Self::Exists(narrow), Self::Exists(broad)) => narrow == broad,
            (Self::Exists(_), _) | (_, Self::Exists(false)) => false,
            (_, Self::Exists(true)) => true,
            (Self::Equals(narrow), Self::Equals(broad)) => narrow.is_within(broad),
            (Self::NotEquals(narrow), Self::NotEquals(broad)) => broad.is_within(narrow),
            (Self::NewerThan(narrow), Self::NewerThan(broad)) => narrow <= broad,
            (Self::OlderThan(narrow), Self::OlderThan(broad)) => narrow >= broad,
            (Self::Compare(narrow, here), Self::Compare(broad, there)) => stricter((*narrow, *here), (*broad, *there)),
            (Self::StartsWith(narrow), Self::StartsWith(broad)) => narrow.starts_with(broad.as_str()),
            (Self::EndsWith(narrow), Self::EndsWith(broad)) => narrow.ends_with(broad.as_str()),
            (Self::StartsWith(narrow) | Self::EndsWith(narrow) | Self::Contains(narrow), Self::Contains(broad)) => {
                narrow.contains(broad.as_str())
            }
            (Self::Equals(narrow), broad) => narrow.all_pass(broad),
            (narrow, broad) => narrow.is_same(broad),
        }
    }

    /// Of one value. A list passes when an item does, so one test of it rarely refutes another.
    fn refutes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exists(narrow), Self::Exists(other)) => narrow != other,
            (Self::Exists(_), _) => false,
            (_, Self::Exists(other)) => !other,
            (Self::Equals(narrow), Self::NotEquals(other)) => narrow.is_within(other),
            (Self::NotEquals(narrow), Self::Equals(other)) => other.is_within(narrow),
            (Self::NewerThan(narrow), Self::OlderThan(other)) => other >= narrow,
            (Self::OlderThan(narrow), Self::NewerThan(other)) => narrow >= other,
            _ => false,
        }
    }

    /// The same test, as far as that is seen.
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Contains(left), Self::Contains(right))
            | (Self::StartsWith(left), Self::StartsWith(right))
            | (Self::EndsWith(left), Self::EndsWith(right))
            | (Self::Regex(left, _), Self::Regex(right, _))
            | (Self::IgnoringCase(left, _), Self::IgnoringCase(right, _)) => left == right,
            (Self::Glob(left, one), Self::Glob(right, other)) => {
                left == right && one.glob().regex() == other.glob().regex()
            }
            (Self::Compare(left, here), Self::Compare(right, there)) => left == right && here.total_cmp(there).is_eq(),
            (Self::Exists(left), Self::Exists(right)) => left == right,
            (Self::NewerThan(left), Self::NewerThan(right)) | (Self::OlderThan(left), Self::OlderThan(right)) => {
                left == right
            }
            _ => false,
        }
    }
}

impl OneOf {
    /// Whatever equals one of these equals one of the others.
    fn is_within(&self, others: &Self) -> bool {
        (others.ignore_case || !self.ignore_case) && self.values.iter().all(|value| others.values.contains(value))
    }

    /// Whatever equals one of these passes a test of text. Only for plain words: what may also be a number or a boolean has other
    /// texts in other records.
    fn all_pass(&self, test: &Operator) -> bool {
        !self.ignore_case && self.values.iter().all(|value| value.is_word() && test.passes_word(&value.text))
    }
}

fn stricter((narrow, here): (Comparison, f64), (broad, there): (Comparison, f64)) -> bool {
    match (narrow, broad) {
        (Comparison::Gt, Comparison::Gt | Comparison::Gte) | (Comparison::Gte, Comparison::Gte) => here >= there,
        (Comparison::Gte, Comparison::Gt) => here > there,
        (Comparison::Lt, Comparison::Lt | Comparison::Lte) | (Comparison::Lte, Comparison::Lte) => here <= there,
        (Comparison::Lte, Comparison::Lt) => here < there,
        (Comparison::Gt | Comparison::Gte, Comparison::Lt | Comparison::Lte)
        | (Comparison::Lt | Comparison::Lte, Comparison::Gt | Comparison::Gte) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::condition::Conditions;
    use crate::yaml::{Mistakes, parse};

    /// Whether the second condition is said to be covered by the first.
    fn covered(broad: &str, narrow: &str) -> bool {
        compile(broad, narrow).covered().next().is_some()
    }

    fn compile(broad: &str, narrow: &str) -> Conditions {
        let text = format!(
            "[{{name: broad, incident_actions: [a], {broad}}}, {{name: narrow, incident_actions: [a], {narrow}}}]"
        );
        let mistakes = Mistakes::default();
        let node = parse(&text, &mistakes).expect("yaml");
        let conditions = Conditions::compile(Some(&node), "conditions", &mistakes);
        assert!(mistakes.is_empty(), "{text}: {mistakes}");
        conditions
    }

    #[test]
    fn a_condition_behind_a_broader_one_is_found() {
        for (broad, narrow) in [
            ("active: true", "active: true, status: ok"),
            ("tags: {x: [a, b]}", "tags: {x: a}"),
            ("tags: {x: {exists: true}}", "tags: {x: {contains: y}}"),
            ("tags: {x: {exists: false}}", "tags: {x: ~}"),
            ("tags: {x: {starts_with: a}}", "tags: {x: {starts_with: ab}}"),
            ("tags: {x: {ends_with: b}}", "tags: {x: {ends_with: ab}}"),
            ("tags: {x: {contains: b}}", "tags: {x: {starts_with: ab}}"),
            ("tags: {x: {regex: '^a.*c$'}}", "tags: {x: [abc, axc]}"),
            ("tags: {x: {glob: 'a*'}}", "tags: {x: abc}"),
            ("tags: {x: {equals: A, ignore_case: true}}", "tags: {x: A}"),
            ("tags: {x: {not_in: [a]}}", "tags: {x: {not_in: [a, b]}}"),
            ("incident.n: {gt: 5}", "incident.n: {gte: 6}"),
            ("incident.n: {lte: 5}", "incident.n: {lt: 5}"),
            ("max_seconds_since_updated: 1h", "max_seconds_since_updated: 10m"),
            ("updated_on: {older_than: 10m}", "updated_on: {older_than: 1h}"),
            ("any: [{active: true}, {status: ok}]", "status: ok"),
            (
                "any: [{active: true}, {status: ok}]",
                "any: [{status: ok, resolved: true}, {active: true, flapping: true}]",
            ),
            ("none: [{tags: {x: a}}]", "none: [{tags: {x: [a, b]}}, {active: true}]"),
            ("none: [{tags: {x: a}}]", "tags: {x: {not_in: [a, b]}}"),
            ("none: [{tags: {x: {exists: false}}}]", "tags: {x: {regex: 'a+'}}"),
            ("none: [{updated_on: {older_than: 1h}}]", "updated_on: {newer_than: 10m}"),
            ("alert_conditions: {host: h}", "alert_conditions: {host: h, status: ok}"),
            ("alert_conditions: {host: [g, h]}", "alert_conditions: {quantifier: all, host: h}"),
            ("alert_conditions: {host: h}", "alert_conditions: {quantifier: {at_least: 3}, host: h}"),
            (
                "alert_conditions: {quantifier: {at_least: 2}, host: h}",
                "alert_conditions: {quantifier: {at_least: 3}, host: h}",
            ),
            (
                "alert_conditions: {quantifier: {share_at_least: 50%}, host: h}",
                "alert_conditions: {quantifier: all, host: h}",
            ),
            ("alert_conditions: {quantifier: none, host: h}", "alert_conditions: {quantifier: none, host: [g, h]}"),
            ("schedule: {days: mon-fri}", "schedule: {days: mon-fri}, active: true"),
            ("active: true", "active: true, throttle: {once_within: 10m}"),
        ] {
            assert!(covered(broad, narrow), "{narrow} is not found to be within {broad}");
        }
    }

    #[test]
    fn a_condition_that_may_have_its_turn_is_not_accused() {
        for (broad, narrow) in [
            ("active: true, status: ok", "active: true"),
            ("tags: {x: a}", "tags: {x: [a, b]}"),
            ("tags: {x: a}", "alert_conditions: {tags: {x: a}}"),
            // A list holds both.
            ("tags: {x: {not_equals: b}}", "tags: {x: a}"),
            ("none: [{tags: {x: b}}]", "tags: {x: a}"),
            // What is missing is neither.
            ("tags: {x: {not_equals: a}}", "none: [{tags: {x: {exists: true}}}]"),
            ("none: [{tags: {x: {gt: 5}}}]", "tags: {x: {lte: 5}}"),
            // Text of a number may be written otherwise.
            ("incident.n: {contains: '.'}", "incident.n: 7.0"),
            ("tags: {x: A}", "tags: {x: {equals: A, ignore_case: true}}"),
            ("alert_conditions: {quantifier: all, host: h}", "alert_conditions: {host: h}"),
            (
                "alert_conditions: {quantifier: {share_at_least: 50%}, host: h}",
                "alert_conditions: {quantifier: {at_least: 3}, host: h}",
            ),
            ("alert_conditions: {quantifier: none, host: [g, h]}", "alert_conditions: {quantifier: none, host: h}"),
            ("schedule: {days: mon-fri}", "schedule: {days: mon-fri, time_zone: Europe/Berlin}"),
            // What looks back takes its turn only sometimes.
            ("active: true, throttle: {once_within: 10m}", "active: true"),
            ("active: true, quiet_for: 10m", "active: true, quiet_for: 10m"),
        ] {
            assert!(!covered(broad, narrow), "{narrow} is said to be within {broad}");
        }
    }

    #[test]
    fn the_proof_is_given_up_before_it_takes_long() {
        let nested = |leaf: &str| {
            (0..8).fold(leaf.to_owned(), |inner, _| {
                format!("all: [{{any: [{{{inner}}}, {{status: x}}]}}, {{any: [{{{inner}}}, {{status: y}}]}}]")
            })
        };
        let conditions = compile(&nested("active: true"), &nested("active: false"));
        let (broad, narrow) = (&conditions.list[0].test, &conditions.list[1].test);
        let mut proof = Proof { effort: 500 };
        assert!(!proof.implies(narrow, broad));
        assert_eq!(proof.effort, 0, "the trees are small after all");
    }
}
