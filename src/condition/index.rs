//! Which conditions an incident can match at all, found by the tags that they require.
//!
//! Most conditions demand that a tag equals one of some values. Such a condition is filed under tag and value; an incident then
//! brings up only the conditions under the tags that it has, so that a thousand conditions cost little more than ten.
//! A condition is only ever left out when its required test could not be true, so the decision is the same without an index.

use std::collections::HashMap;

use crate::condition::operator::Operator;
use crate::condition::test::{AlertsTest, FieldTest, Quantifier, Test};
use crate::incident::{Alert, Incident, Scope, Tags, Value};

/// A bit per condition.
type Mask = Box<[u64]>;

/// The conditions by the tags they require.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    words: usize,
    /// Conditions that require no tag.
    always: Mask,
    of_incident: HashMap<String, ByValue>,
    of_alerts: HashMap<String, ByValue>,
}

#[derive(Clone, Debug, Default)]
struct ByValue {
    values: HashMap<String, Mask>,
    /// All conditions under this tag, for a value that is no text and is compared in other ways.
    any: Mask,
}

impl Index {
    /// Files every condition under one test it requires; without a test here it is always a candidate.
    pub(super) fn new<'t>(tests: impl ExactSizeIterator<Item = Option<&'t Test>>) -> Self {
        let words = tests.len().div_ceil(64);
        let mut index = Self { words, always: vec![0; words].into(), ..Self::default() };
        for (number, test) in tests.enumerate() {
            match test.and_then(required) {
                None => set(&mut index.always, number),
                Some((scope, tag, values)) => {
                    let filed = match scope {
                        Scope::Incident => &mut index.of_incident,
                        Scope::Alert => &mut index.of_alerts,
                    };
                    let by_value = filed.entry(tag.to_owned()).or_default();
                    set(grown(&mut by_value.any, words), number);
                    for value in values {
                        set(grown(by_value.values.entry(value.to_owned()).or_default(), words), number);
                    }
                }
            }
        }
        index
    }

    /// Whether every condition requires a tag of the incident itself.
    pub(super) fn is_of_incidents_alone(&self) -> bool {
        self.of_alerts.is_empty() && self.always.iter().all(|word| *word == 0)
    }

    /// Whether there can be a candidate among incidents with these tags. A no is certain.
    pub(super) fn may_match(&self, tags: &Tags<'_>) -> bool {
        !self.is_of_incidents_alone()
            || self.with_candidates(tags, &[], |candidates| candidates.iter().any(|word| *word != 0))
    }

    /// Calls `decide` with the number of each candidate in ascending order until it gives something.
    pub(super) fn first<T>(&self, incident: &Incident<'_>, decide: impl FnMut(usize) -> Option<T>) -> Option<T> {
        self.with_candidates(&incident.tags, &incident.alerts, |candidates| first_of(candidates, decide))
    }

    fn with_candidates<T>(&self, tags: &Tags<'_>, alerts: &[Alert<'_>], then: impl FnOnce(&[u64]) -> T) -> T {
        // A thousand conditions fit without an allocation.
        let (mut few, mut many) = ([0_u64; 16], Vec::new());
        let candidates = if let Some(few) = few.get_mut(..self.words) {
            few
        } else {
            many.resize(self.words, 0);
            &mut many
        };
        candidates.copy_from_slice(&self.always);
        add(candidates, &self.of_incident, tags);
        if !self.of_alerts.is_empty() {
            for alert in alerts {
                add(candidates, &self.of_alerts, &alert.tags);
            }
        }
        then(candidates)
    }
}

fn first_of<T>(candidates: &[u64], mut decide: impl FnMut(usize) -> Option<T>) -> Option<T> {
    for (word, bits) in candidates.iter().enumerate() {
        let mut bits = *bits;
        while bits != 0 {
            let bit = usize::try_from(bits.trailing_zeros()).unwrap_or(0);
            if let Some(decision) = decide(word.saturating_mul(64).saturating_add(bit)) {
                return Some(decision);
            }
            bits &= bits.saturating_sub(1);
        }
    }
    None
}

fn set(mask: &mut [u64], number: usize) {
    if let Some(word) = mask.get_mut(number / 64) {
        *word |= 1 << (number % 64);
    }
}

fn grown(mask: &mut Mask, words: usize) -> &mut Mask {
    if mask.len() < words {
        *mask = vec![0; words].into();
    }
    mask
}

fn add(candidates: &mut [u64], filed: &HashMap<String, ByValue>, tags: &Tags<'_>) {
    if filed.is_empty() {
        return;
    }
    for (name, value) in &tags.0 {
        if let Some(by_value) = filed.get(name.as_ref()) {
            add_value(candidates, by_value, value);
        }
    }
}

fn add_value(candidates: &mut [u64], by_value: &ByValue, value: &Value<'_>) {
    match value {
        Value::Text(text) => {
            if let Some(mask) = by_value.values.get(text.as_ref()) {
                unite(candidates, mask);
            }
        }
        Value::List(items) => items.iter().for_each(|item| add_value(candidates, by_value, item)),
        Value::Null | Value::Map(_) => {}
        Value::Bool(_) | Value::Int(_) | Value::Float(_) => unite(candidates, &by_value.any),
    }
}

fn unite(candidates: &mut [u64], mask: &[u64]) {
    candidates.iter_mut().zip(mask).for_each(|(word, more)| *word |= more);
}

/// A tag that must equal one of some values for the test to be true, an incident's tag if there is one.
fn required(test: &Test) -> Option<(Scope, &str, Vec<&str>)> {
    match test {
        Test::Field(field) => exact(field),
        Test::All(tests) => {
            let mut found = tests.iter().filter_map(required).collect::<Vec<_>>();
            // Fewest values first: the fewer, the rarer the condition comes up.
            found.sort_by_key(|(scope, _, values)| (*scope == Scope::Alert, values.len()));
            found.into_iter().next()
        }
        Test::Any(tests) => match tests.as_slice() {
            [only] => required(only),
            _ => None,
        },
        Test::None(_) | Test::Schedule(_) => None,
        Test::Alerts(AlertsTest { quantifier, test }) => match quantifier {
            Quantifier::Any | Quantifier::All | Quantifier::ShareAtLeast(1.0..) => required(test),
            Quantifier::AtLeast(wanted) if *wanted > 0 => required(test),
            Quantifier::None | Quantifier::AtLeast(_) | Quantifier::ShareAtLeast(_) => None,
        },
    }
}

fn exact(field: &FieldTest) -> Option<(Scope, &str, Vec<&str>)> {
    let tag = field.path.tag_name()?;
    match &field.operator {
        Operator::Equals(values) if !values.ignore_case && values.values.iter().all(|value| !value.is_boolean()) => {
            Some((field.path.scope(), tag, values.values.iter().map(|value| value.text.as_str()).collect()))
        }
        _ => None,
    }
}
