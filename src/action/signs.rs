//! What an answer says about something, where the house decides how: pointers into its JSON, from the configuration.
//!
//! What the pointer leads to says that there is something when it is one of `values`; without `values`, when it is anything
//! but null, false, 0 or empty. Where it leads nowhere nobody knows, unless `missing: clear`.

use serde_json::Value;

use crate::action::json_api::pointer;
use crate::yaml::Reader;

/// How much of what the target says stands in a reason.
const REASON_CHARS: usize = 200;

/// How an answer tells that there is something.
#[derive(Debug)]
pub(crate) struct Signs {
    pointer: String,
    /// Empty: anything that says something.
    values: Vec<String>,
    missing: Missing,
    /// Where its name stands.
    reason: Option<String>,
}

/// What it means that the pointer leads nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Missing {
    Error,
    Clear,
}

impl Signs {
    /// Reads `pointer`, `values`, `missing` and `reason_pointer`.
    pub(crate) fn read(reader: &Reader<'_, '_>) -> Option<Self> {
        reader.required("pointer");
        let pointed = pointer(reader, "pointer");
        let values = reader.strings("values").unwrap_or_default();
        let missing = reader.choice("missing", &[("error", Missing::Error), ("clear", Missing::Clear)]);
        let reason = pointer(reader, "reason_pointer");
        Some(Self { pointer: pointed?, values, missing: missing.unwrap_or(Missing::Error), reason })
    }

    /// What there is; `None` where there is nothing. The text says why that cannot be told.
    pub(crate) fn seen(&self, answer: &Value) -> Result<Option<String>, String> {
        let Some(value) = answer.pointer(&self.pointer) else {
            return match self.missing {
                Missing::Clear => Ok(None),
                Missing::Error => Err(format!(
                    "the answer has nothing at `{}`; if that means that there is none, write missing: clear",
                    self.pointer
                )),
            };
        };
        let text = text(value);
        let there = if self.values.is_empty() { says_something(value) } else { self.values.contains(&text) };
        let named = self.reason.as_ref().and_then(|pointer| answer.pointer(pointer)).map_or(text, self::text);
        Ok(there.then(|| named.chars().take(REASON_CHARS).collect()))
    }
}

fn says_something(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
    }
}

/// A text as it is, anything else as JSON.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn signs(values: &[&str], missing: Missing) -> Signs {
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        Signs { pointer: "/outages".into(), values, missing, reason: Some("/outages/0/title".into()) }
    }

    #[test]
    fn what_says_something_is_there() {
        let seen = |value: Value| signs(&[], Missing::Error).seen(&json!({ "outages": value }));
        for nothing in [json!(null), json!(false), json!(0), json!(""), json!([]), json!({})] {
            assert_eq!(seen(nothing.clone()), Ok(None), "{nothing}");
        }
        for something in [json!(true), json!(3), json!("yes"), json!({"a": 1})] {
            assert!(matches!(seen(something.clone()), Ok(Some(_))), "{something}");
        }
        assert_eq!(seen(json!([{"title": "DNS"}])), Ok(Some("DNS".into())));
    }

    #[test]
    fn with_values_only_these_are_there() {
        let signs = signs(&["major", "3"], Missing::Error);
        assert_eq!(signs.seen(&json!({"outages": "none"})), Ok(None));
        assert_eq!(signs.seen(&json!({"outages": "major"})), Ok(Some("major".into())));
        assert_eq!(signs.seen(&json!({"outages": 3})), Ok(Some("3".into())));
    }

    #[test]
    fn what_is_missing_is_an_error_unless_it_is_said_to_be_clear() {
        assert!(signs(&[], Missing::Error).seen(&json!({"error": "no"})).unwrap_err().contains("missing: clear"));
        assert_eq!(signs(&[], Missing::Clear).seen(&json!({})), Ok(None));
    }
}
