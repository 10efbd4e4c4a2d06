//! Texts of which a record holds one if any condition is to match it, so that a search of its bytes can prove that none does.
//!
//! A condition that a text must equal, begin with, end with or contain has such texts; without them in every condition nothing can
//! be proven. Numbers and booleans are none: a record may write them in several ways. A search that finds one proves nothing.

use std::cmp::Reverse;

use aho_corasick::AhoCorasick;

use crate::condition::operator::{Expected, Operator};
use crate::condition::test::{AlertsTest, FieldTest, Quantifier, Test};
use crate::incident::Unread;

/// One search for all conditions.
#[derive(Clone, Debug)]
pub(super) struct Needles(AhoCorasick);

impl Needles {
    /// The texts of every condition; `None` where one has none, or is given without a test here, and where there is no condition.
    pub(super) fn new<'t>(tests: impl ExactSizeIterator<Item = Option<&'t Test>>) -> Option<Self> {
        if tests.len() == 0 {
            return None;
        }
        let found: Option<Vec<_>> = tests.map(|test| required(test?)).collect();
        let texts = found?.into_iter().flat_map(|found| found.texts);
        AhoCorasick::new(texts).ok().map(Self)
    }

    /// Whether a condition could match. A no is certain.
    pub(super) fn may_match(&self, record: Unread<'_>) -> bool {
        self.0.is_match(record.text())
    }
}

/// Texts of which one is in every record for which a test is true.
struct Required<'t> {
    /// All of them are values of tags, which tell incidents apart better than words that stand in each.
    of_tags: bool,
    texts: Vec<&'t str>,
}

impl Required<'_> {
    /// The larger, the rarer the search will find something.
    fn rank(&self) -> (bool, Reverse<usize>, Option<usize>) {
        (self.of_tags, Reverse(self.texts.len()), self.texts.iter().map(|text| text.len()).min())
    }
}

fn required(test: &Test) -> Option<Required<'_>> {
    match test {
        Test::Field(field) => of_field(field),
        Test::All(tests) => tests.iter().filter_map(required).max_by_key(Required::rank),
        Test::Any(tests) => {
            let each: Vec<_> = tests.iter().map(required).collect::<Option<_>>()?;
            let of_tags = each.iter().all(|found| found.of_tags);
            Some(Required { of_tags, texts: each.into_iter().flat_map(|found| found.texts).collect() })
        }
        Test::Alerts(AlertsTest { quantifier, test }) => match quantifier {
            Quantifier::Any | Quantifier::All | Quantifier::ShareAtLeast(1.0..) => required(test),
            Quantifier::AtLeast(wanted) if *wanted > 0 => required(test),
            Quantifier::None | Quantifier::AtLeast(_) | Quantifier::ShareAtLeast(_) => None,
        },
        Test::None(_) | Test::Schedule(_) => None,
    }
}

fn of_field(field: &FieldTest) -> Option<Required<'_>> {
    let texts: Vec<&str> = match &field.operator {
        Operator::Equals(values) if !values.ignore_case && values.values.iter().all(Expected::is_word) => {
            values.values.iter().map(|value| value.text.as_str()).collect()
        }
        Operator::Contains(part) | Operator::StartsWith(part) | Operator::EndsWith(part) if is_of_text(part) => {
            vec![part]
        }
        _ => return None,
    };
    Some(Required { of_tags: field.path.tag_name().is_some(), texts })
}

/// Not part of a number or a boolean, which such tests also take for text.
fn is_of_text(part: &str) -> bool {
    let of_number = part.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    !of_number && !"true".contains(part) && !"false".contains(part)
}
