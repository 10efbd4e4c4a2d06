//! What one value is held against. Pure: a value in, a verdict out.
//!
//! A list passes when one of its items does (`not_equals` and `not_in`: when none equals). A missing value gives
//! [`Verdict::Missing`] from every operator but `exists`, and so does a value that an operator cannot judge, such as text where a
//! number is compared: neither the test nor its negation may match on it.

use std::fmt;

use globset::GlobMatcher;
use regex::Regex;

use crate::condition::verdict::Verdict;
use crate::incident::{Found, Value};

/// A test of one value.
#[derive(Clone, Debug)]
pub(super) enum Operator {
    Equals(OneOf),
    NotEquals(OneOf),
    Contains(String),
    StartsWith(String),
    EndsWith(String),
    /// The pattern as written, and compiled.
    Regex(String, Regex),
    /// Text without letter case: how it was written, and a pattern that does it.
    IgnoringCase(String, Regex),
    Glob(String, GlobMatcher),
    Compare(Comparison, f64),
    Exists(bool),
    /// At most this many seconds ago (or in the future).
    NewerThan(i64),
    /// More than this many seconds ago.
    OlderThan(i64),
}

/// How numbers are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Gt,
    Gte,
    Lt,
    Lte,
}

/// Values of which one must be equal. Text is compared as text (`1.10` is not `1.1`), numbers as numbers.
#[derive(Clone, Debug)]
pub(super) struct OneOf {
    pub(super) values: Vec<Expected>,
    pub(super) ignore_case: bool,
}

/// A scalar of a condition in every form in which a record may have it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Expected {
    pub(super) text: String,
    int: Option<i64>,
    float: Option<f64>,
    boolean: Option<bool>,
}

impl Expected {
    pub(super) fn new(text: &str, boolean: Option<bool>) -> Self {
        Self { text: text.to_owned(), int: text.parse().ok(), float: text.parse().ok(), boolean }
    }

    /// Written as a boolean, so that letter case does not count.
    pub(super) fn is_boolean(&self) -> bool {
        self.boolean.is_some()
    }

    /// Text that no record has as a number or a boolean.
    pub(super) fn is_word(&self) -> bool {
        self.boolean.is_none() && self.int.is_none() && self.float.is_none() && !is_boolean_word(&self.text)
    }

    fn equals(&self, found: Found<'_, '_>, ignore_case: bool) -> bool {
        match found {
            Found::Text(text) => {
                self.text == text || ((ignore_case || self.boolean.is_some()) && same_letters(&self.text, text))
            }
            Found::Bool(value) => self.boolean == Some(value) || self.text == if value { "true" } else { "false" },
            Found::Int(value) => {
                self.int == Some(value) || (self.int.is_none() && same_number(self.float, as_float(value)))
            }
            Found::Float(value) => same_number(self.float, value),
            Found::Missing | Found::List(_) | Found::Map(_) => false,
        }
    }
}

fn is_boolean_word(text: &str) -> bool {
    text == "true" || text == "false"
}

/// Equal without letter case; beyond ASCII by Unicode's lower case.
fn same_letters(left: &str, right: &str) -> bool {
    left.eq_ignore_ascii_case(right) || (!left.is_ascii() && left.to_lowercase() == right.to_lowercase())
}

#[expect(clippy::cast_precision_loss, reason = "numbers in rules are written by people; 53 bits are enough for them")]
fn as_float(value: i64) -> f64 {
    value as f64
}

fn same_number(expected: Option<f64>, value: f64) -> bool {
    expected == Some(value)
}

impl Operator {
    /// What it says about a value at a moment, in seconds since the epoch.
    pub(super) fn judge(&self, found: Found<'_, '_>, now: i64) -> Verdict {
        match (self, found) {
            (Self::Exists(wanted), found) => Verdict::from_bool(*wanted != found.is_missing()),
            (_, Found::Missing) => Verdict::Missing,
            (Self::NotEquals(values), found) => any_item(found, |item| Verdict::from_bool(values.holds(item))).negate(),
            (Self::Equals(values), found) => any_item(found, |item| Verdict::from_bool(values.holds(item))),
            (Self::NewerThan(seconds), found) => age(found, now, |age| age <= *seconds),
            (Self::OlderThan(seconds), found) => age(found, now, |age| age > *seconds),
            (Self::Compare(comparison, limit), found) => any_item(found, |item| comparison.judge(item, *limit)),
            (text_test, found) => any_item(found, |item| text_test.judge_text(item)),
        }
    }

    fn judge_text(&self, found: Found<'_, '_>) -> Verdict {
        match found {
            Found::Text(text) => self.passes_text(text),
            Found::Int(value) => self.passes_text(&value.to_string()),
            Found::Float(value) => self.passes_text(&value.to_string()),
            Found::Bool(value) => self.passes_text(if value { "true" } else { "false" }),
            Found::Missing | Found::List(_) | Found::Map(_) => Verdict::Missing,
        }
    }

    /// It is a test of text, and this text passes.
    pub(super) fn passes_word(&self, text: &str) -> bool {
        self.passes_text(text) == Verdict::True
    }

    fn passes_text(&self, text: &str) -> Verdict {
        Verdict::from_bool(match self {
            Self::Contains(part) => text.contains(part.as_str()),
            Self::StartsWith(part) => text.starts_with(part.as_str()),
            Self::EndsWith(part) => text.ends_with(part.as_str()),
            Self::Regex(_, regex) | Self::IgnoringCase(_, regex) => regex.is_match(text),
            Self::Glob(_, glob) => glob.is_match(text),
            Self::Equals(_)
            | Self::NotEquals(_)
            | Self::Compare(..)
            | Self::Exists(_)
            | Self::NewerThan(_)
            | Self::OlderThan(_) => return Verdict::Missing,
        })
    }
}

impl OneOf {
    fn holds(&self, found: Found<'_, '_>) -> bool {
        self.values.iter().any(|expected| expected.equals(found, self.ignore_case))
    }
}

impl Comparison {
    fn judge(self, found: Found<'_, '_>, limit: f64) -> Verdict {
        let Some(number) = number(found) else { return Verdict::Missing };
        Verdict::from_bool(match self {
            Self::Gt => number > limit,
            Self::Gte => number >= limit,
            Self::Lt => number < limit,
            Self::Lte => number <= limit,
        })
    }
}

fn number(found: Found<'_, '_>) -> Option<f64> {
    match found {
        Found::Int(value) => Some(as_float(value)),
        Found::Float(value) => Some(value),
        Found::Text(text) => text.trim().parse().ok().filter(|number: &f64| number.is_finite()),
        Found::Missing | Found::Bool(_) | Found::List(_) | Found::Map(_) => None,
    }
}

fn age(found: Found<'_, '_>, now: i64, passes: impl Fn(i64) -> bool) -> Verdict {
    found.seconds().map_or(Verdict::Missing, |then| Verdict::from_bool(passes(now.saturating_sub(then))))
}

/// The verdict on a value, or on any item of a list.
fn any_item(found: Found<'_, '_>, judge: impl Fn(Found<'_, '_>) -> Verdict) -> Verdict {
    match found {
        Found::List(items) => Verdict::any(items.iter().map(|item: &Value<'_>| judge(item.found()))),
        scalar => judge(scalar),
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Equals(values) => write!(f, "{} {values}", if values.values.len() == 1 { "equals" } else { "in" }),
            Self::NotEquals(values) => {
                write!(f, "{} {values}", if values.values.len() == 1 { "not_equals" } else { "not_in" })
            }
            Self::Contains(part) => write!(f, "contains {part:?}"),
            Self::StartsWith(part) => write!(f, "starts_with {part:?}"),
            Self::EndsWith(part) => write!(f, "ends_with {part:?}"),
            Self::Regex(pattern, _) => write!(f, "regex {pattern:?}"),
            Self::IgnoringCase(written, _) => write!(f, "{written}, ignoring case"),
            Self::Glob(pattern, _) => write!(f, "glob {pattern:?}"),
            Self::Compare(comparison, limit) => write!(f, "{} {limit}", comparison.word()),
            Self::Exists(wanted) => write!(f, "exists {wanted}"),
            Self::NewerThan(seconds) => write!(f, "newer_than {seconds}s"),
            Self::OlderThan(seconds) => write!(f, "older_than {seconds}s"),
        }
    }
}

impl Comparison {
    fn word(self) -> &'static str {
        match self {
            Self::Gt => "gt",
            Self::Gte => "gte",
            Self::Lt => "lt",
            Self::Lte => "lte",
        }
    }
}

impl fmt::Display for OneOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.values.as_slice() {
            [one] => write!(f, "{:?}", one.text)?,
            several => {
                let texts: Vec<_> = several.iter().map(|value| value.text.as_str()).collect();
                write!(f, "{texts:?}")?;
            }
        }
        f.write_str(if self.ignore_case { ", ignoring case" } else { "" })
    }
}
