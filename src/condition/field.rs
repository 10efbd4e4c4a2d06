//! What is written for one field: a scalar, a list, or a map of operators.

use globset::GlobBuilder;
use regex::RegexBuilder;

use crate::condition::anchors;
use crate::condition::operator::{Comparison, Expected, OneOf, Operator};
use crate::incident::Path;
use crate::yaml::{Entry, Mistake, Mistakes, Node, join, units};

/// Every operator, for suggestions.
const OPERATORS: [&str; 17] = [
    "equals",
    "not_equals",
    "in",
    "not_in",
    "regex",
    "glob",
    "contains",
    "starts_with",
    "ends_with",
    "ignore_case",
    "gt",
    "gte",
    "lt",
    "lte",
    "exists",
    "older_than",
    "newer_than",
];

/// A compiled pattern may take this many bytes.
const LARGEST_REGEX: usize = 1 << 20;

/// The operators for one field: all of the outer list, any of each inner one.
pub(super) fn operators(field: &Path, value: &Node, path: &str, mistakes: &Mistakes) -> Option<Vec<Vec<Operator>>> {
    let ignore_case = field.ignores_case();
    if value.is_null() {
        return Some(vec![vec![Operator::Exists(false)]]);
    }
    let Some(entries) = value.as_map() else {
        let values = expected(value, path, mistakes)?;
        warn_of_oddities("equals", &values, value, path, mistakes);
        return Some(vec![vec![Operator::Equals(OneOf { values, ignore_case })]]);
    };
    let ignore_case = match value.get("ignore_case") {
        None => ignore_case,
        Some(node) => node.as_scalar().and_then(crate::yaml::Scalar::as_bool).or_else(|| {
            mistakes.add(join(path, "ignore_case"), node.at(), "expected true or false");
            None
        })?,
    };
    let tests: Vec<_> = entries.iter().filter(|entry| entry.key != "ignore_case").collect();
    if tests.is_empty() {
        mistakes.add(
            path,
            value.at(),
            "expected a value, a list of values or a map of operators; found nothing to test",
        );
        return None;
    }
    let read: Vec<_> = tests.iter().map(|entry| operator(field, entry, ignore_case, path, mistakes)).collect();
    read.into_iter().collect()
}

fn operator(
    field: &Path,
    entry: &Entry,
    ignore_case: bool,
    parent: &str,
    mistakes: &Mistakes,
) -> Option<Vec<Operator>> {
    let path = join(parent, &entry.key);
    let value = &entry.value;
    let wrong = |what: &str| {
        mistakes.add(path.as_str(), value.at(), what);
        None
    };
    let one = |operator: Operator| Some(vec![operator]);
    match entry.key.as_str() {
        kind @ ("equals" | "in" | "not_equals" | "not_in") => {
            let values = expected(value, &path, mistakes)?;
            warn_of_oddities(kind, &values, value, &path, mistakes);
            let values = OneOf { values, ignore_case };
            one(if kind.starts_with("not") { Operator::NotEquals(values) } else { Operator::Equals(values) })
        }
        kind @ ("regex" | "glob" | "contains" | "starts_with" | "ends_with") => {
            let texts = expected(value, &path, mistakes)?;
            warn_of_oddities(kind, &texts, value, &path, mistakes);
            let compiled = texts.iter().map(|text| pattern(kind, &text.text, ignore_case));
            compiled.collect::<Result<_, _>>().map_or_else(|what| wrong(&what), Some)
        }
        kind @ ("gt" | "gte" | "lt" | "lte") => match value.text().and_then(|text| text.parse::<f64>().ok()) {
            Some(limit) if limit.is_finite() => one(Operator::Compare(comparison(kind), limit)),
            _ => wrong("expected a number"),
        },
        "exists" => match value.as_scalar().and_then(crate::yaml::Scalar::as_bool) {
            Some(wanted) => one(Operator::Exists(wanted)),
            None => wrong("expected true or false"),
        },
        kind @ ("older_than" | "newer_than") => {
            let seconds = value.text().and_then(units::duration).and_then(|age| i64::try_from(age.as_secs()).ok());
            match seconds {
                Some(seconds) if kind == "older_than" => one(Operator::OlderThan(seconds)),
                Some(seconds) => one(Operator::NewerThan(seconds)),
                None => wrong("expected a duration such as 30s, 10m, 1h or plain seconds"),
            }
        }
        key => {
            let what = match field.tag_name() {
                Some(_) => format!("`{key}` is no operator"),
                None => format!("`{key}` is no operator; a field inside this one is named `{field}.{key}`"),
            };
            mistakes.push(Mistake::at(path.as_str(), entry.at, what).suggest(key, OPERATORS));
            None
        }
    }
}

/// Texts that were probably written for another operator.
fn warn_of_oddities(operator: &str, texts: &[Expected], value: &Node, path: &str, mistakes: &Mistakes) {
    for (index, text) in texts.iter().enumerate() {
        let (path, at) = match value.as_list().and_then(|items| items.get(index)) {
            Some(item) => (format!("{path}[{index}]"), item.at()),
            None => (path.to_owned(), value.at()),
        };
        if let Some(what) = anchors::oddity(operator, &text.text) {
            mistakes.warn(path, at, format!("`{}`: {what}", text.text));
        }
    }
}

fn comparison(word: &str) -> Comparison {
    match word {
        "gt" => Comparison::Gt,
        "gte" => Comparison::Gte,
        "lt" => Comparison::Lt,
        _ => Comparison::Lte,
    }
}

/// A test of text, by the cheapest means that gives the same answer.
fn pattern(kind: &str, text: &str, ignore_case: bool) -> Result<Operator, String> {
    let escaped = regex::escape(text);
    let ignoring = |pattern: &str| Ok(Operator::IgnoringCase(format!("{kind} {text:?}"), regex(pattern, true)?));
    match (kind, ignore_case) {
        ("contains", false) => Ok(Operator::Contains(text.to_owned())),
        ("contains", true) => ignoring(&escaped),
        ("starts_with", false) => Ok(Operator::StartsWith(text.to_owned())),
        ("starts_with", true) => ignoring(&format!("^(?:{escaped})")),
        ("ends_with", false) => Ok(Operator::EndsWith(text.to_owned())),
        ("ends_with", true) => ignoring(&format!("(?:{escaped})$")),
        ("glob", _) => {
            let glob =
                GlobBuilder::new(text).case_insensitive(ignore_case).build().map_err(|error| error.to_string())?;
            Ok(Operator::Glob(text.to_owned(), glob.compile_matcher()))
        }
        // A pattern without any special letter is a search for text.
        (_, false) if escaped == text => Ok(Operator::Contains(text.to_owned())),
        (_, true) => ignoring(text),
        (_, false) => Ok(Operator::Regex(text.to_owned(), regex(text, false)?)),
    }
}

fn regex(pattern: &str, ignore_case: bool) -> Result<regex::Regex, String> {
    RegexBuilder::new(pattern)
        .case_insensitive(ignore_case)
        .size_limit(LARGEST_REGEX)
        .build()
        .map_err(|error| error.to_string().lines().last().unwrap_or_default().replacen("error:", "not a pattern:", 1))
}

/// One scalar, or a list of them.
fn expected(value: &Node, path: &str, mistakes: &Mistakes) -> Option<Vec<Expected>> {
    let one = |node: &Node, path: &str| {
        if let Some(scalar) = node.as_scalar().filter(|scalar| !scalar.is_null()) {
            Some(Expected::new(scalar.as_str(), if is_true_or_false(scalar) { scalar.as_bool() } else { None }))
        } else {
            mistakes.add(path, node.at(), format!("expected a value, found {}", node.describe()));
            None
        }
    };
    match value.as_list() {
        None => one(value, path).map(|value| vec![value]),
        Some([]) => {
            mistakes.add(path, value.at(), "an empty list never matches");
            None
        }
        Some(items) => {
            let read = items.iter().enumerate().map(|(index, item)| one(item, &format!("{path}[{index}]")));
            read.collect::<Vec<_>>().into_iter().collect()
        }
    }
}

/// In a record `yes` and `on` are words, not booleans.
fn is_true_or_false(scalar: &crate::yaml::Scalar) -> bool {
    matches!(scalar.as_str().to_ascii_lowercase().as_str(), "true" | "false")
}

#[cfg(test)]
mod tests {
    use super::OPERATORS;

    #[test]
    fn the_page_on_conditions_has_an_example_of_every_operator() {
        let page = include_str!("../../docs/conditions.md");
        let examples: String = page.split("```yaml").skip(1).filter_map(|rest| rest.split("```").next()).collect();
        for operator in OPERATORS {
            let written = |before| examples.contains(&format!("{before}{operator}: "));
            assert!(written("{") || written(", "), "no example of {operator}");
        }
    }
}
