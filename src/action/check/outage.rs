//! `check_outage`: ends the flow while an outage is known.
//!
//! Where outages are announced is a matter of each house, so this is a request made of templates, and pointers into the
//! JSON that it answers with. What the pointer leads to says that there is an outage when it is one of `values`; without
//! `values`, when it is anything but null, false, 0 or empty. Where it leads nowhere nobody knows, unless `missing: clear`.

use futures::future::BoxFuture;
use reqwest::Method;
use serde_json::Value;

use crate::action::check::check;
use crate::action::definition::{Scope, Surroundings};
use crate::action::http_call::HttpCall;
use crate::action::json_api::{json, pointer};
use crate::action::network::{Exchange, Network};
use crate::action::verdict::{Repeat, judge};
use crate::action::webhook::{expect_status, expected};
use crate::action::{Action, Read, Report, Task};
use crate::template::{Context, RenderError};
use crate::yaml::Reader;

/// How much of what the target says stands in a reason.
const REASON_CHARS: usize = 200;

#[derive(Debug)]
struct Outage {
    call: HttpCall,
    /// Empty: every 2xx.
    expect_status: Vec<u16>,
    signs: Signs,
}

/// How an answer tells of an outage.
#[derive(Debug)]
struct Signs {
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

pub(crate) fn read(reader: &Reader<'_, '_>, scope: Scope, _: &Surroundings) -> Option<Read> {
    let call = HttpCall::read(reader, scope, Method::GET);
    let expect_status = expect_status(reader);
    reader.required("pointer");
    let pointed = pointer(reader, "pointer");
    let signs = Signs {
        pointer: pointed?,
        values: reader.strings("values").unwrap_or_default(),
        missing: reader
            .choice("missing", &[("error", Missing::Error), ("clear", Missing::Clear)])
            .unwrap_or(Missing::Error),
        reason: pointer(reader, "reason_pointer"),
    };
    Some(check(reader, Outage { call: call?, expect_status: expect_status?, signs }))
}

impl Signs {
    /// What is known of an outage; `None` where there is none. The text says why that cannot be told.
    fn seen(&self, answer: &Value) -> Result<Option<String>, String> {
        let Some(value) = answer.pointer(&self.pointer) else {
            return match self.missing {
                Missing::Clear => Ok(None),
                Missing::Error => Err(format!(
                    "the answer has nothing at `{}`; if that means that all is well, write missing: clear",
                    self.pointer
                )),
            };
        };
        let text = text(value);
        let outage = if self.values.is_empty() { says_something(value) } else { self.values.contains(&text) };
        let named = self.reason.as_ref().and_then(|pointer| answer.pointer(pointer)).map_or(text, self::text);
        Ok(outage.then(|| format!("an outage is known: {}", named.chars().take(REASON_CHARS).collect::<String>())))
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

impl Outage {
    fn judged(&self, result: Exchange) -> Report {
        let answer = match result {
            Ok(answer) if expected(&self.expect_status, answer.status) => answer,
            other => return judge(other, Repeat::Harmless, |_| false),
        };
        match json(&answer, answer.status).and_then(|body| self.signs.seen(&body)) {
            Ok(Some(reason)) => Report::Found { reason },
            Ok(None) => Report::Succeeded { detail: "no outage is known".to_owned() },
            Err(reason) => Report::Retryable { reason, after: None },
        }
    }
}

impl Action for Outage {
    fn preview(&self, context: &Context) -> Result<String, RenderError> {
        Ok(format!("look for an outage: {}", self.call.preview(context)?))
    }

    fn secret_names(&self) -> Vec<String> {
        self.call.secret_names()
    }

    fn execute<'a>(&'a self, task: Task<'a>, network: &'a Network) -> BoxFuture<'a, Report> {
        Box::pin(async move {
            let names = self.secret_names();
            match network.exchange(&names, |secrets| self.call.request(task, secrets)).await {
                Ok(result) => network.scrubbed(self.judged(result)),
                Err(report) => report,
            }
        })
    }
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
    fn what_says_something_is_an_outage() {
        let seen = |value: Value| signs(&[], Missing::Error).seen(&json!({ "outages": value }));
        for nothing in [json!(null), json!(false), json!(0), json!(""), json!([]), json!({})] {
            assert_eq!(seen(nothing.clone()), Ok(None), "{nothing}");
        }
        for something in [json!(true), json!(3), json!("yes"), json!({"a": 1})] {
            assert!(matches!(seen(something.clone()), Ok(Some(_))), "{something}");
        }
        assert_eq!(seen(json!([{"title": "DNS"}])), Ok(Some("an outage is known: DNS".into())));
    }

    #[test]
    fn with_values_only_these_are_an_outage() {
        let signs = signs(&["major", "3"], Missing::Error);
        assert_eq!(signs.seen(&json!({"outages": "none"})), Ok(None));
        assert_eq!(signs.seen(&json!({"outages": "major"})), Ok(Some("an outage is known: major".into())));
        assert_eq!(signs.seen(&json!({"outages": 3})), Ok(Some("an outage is known: 3".into())));
    }

    #[test]
    fn what_is_missing_is_an_error_unless_it_is_said_to_be_clear() {
        assert!(signs(&[], Missing::Error).seen(&json!({"error": "no"})).unwrap_err().contains("missing: clear"));
        assert_eq!(signs(&[], Missing::Clear).seen(&json!({})), Ok(None));
    }
}
