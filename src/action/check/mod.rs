//! Checks: they ask, change nothing, and end the flow with a reason when they find what they look for.
//!
//! A check that cannot be made has failed when its attempts are spent: in doubt nothing is done, and the fallbacks tell a
//! person. Asking twice does no harm, so no outcome of a check stays unknown: an answer that does not come is asked for again.

pub(crate) mod alert_volume;
pub(crate) mod big_panda;
pub(crate) mod outage;
pub(crate) mod rootly;
mod search;
pub(crate) mod service_now;

use serde_json::Value;

use crate::action::definition::{OnUnknown, Scope, reader_on_unknown, template};
use crate::action::json_api::json;
use crate::action::network::Exchange;
use crate::action::verdict::{Repeat, judge};
use crate::action::{Action, Read, Report};
use crate::template::{Escape, Template};
use crate::yaml::Reader;

/// How many of the things that were found a reason names.
const NAMED_MAX: usize = 5;

/// What a definition of a check has in common with every other.
fn check(reader: &Reader<'_, '_>, action: impl Action + 'static) -> Read {
    if matches!(reader_on_unknown(reader), Some(OnUnknown::Reconcile | OnUnknown::Hold)) {
        reader
            .wrong("on_unknown", "a check changes nothing, so it is simply made again: leave this out, or write retry");
    }
    Read { action: Box::new(action), on_unknown: OnUnknown::Retry }
}

/// `at_least`: from how many on a check has found something.
fn at_least(reader: &Reader<'_, '_>) -> usize {
    let count = reader.integer::<u32>("at_least").unwrap_or(1);
    if count == 0 {
        reader.wrong("at_least", "must be above 0: a check that finds nothing always would");
    }
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// A query under `query`. It is shown and recorded, so no secret may stand in it.
fn query(reader: &Reader<'_, '_>, scope: Scope, escape: Escape) -> Option<Template> {
    let query = template(reader, "query", scope, Some(escape))?;
    if query.secret_names().next().is_some() {
        reader.wrong("query", "must not hold a secret: it is shown and recorded");
    }
    Some(query)
}

/// The JSON of an answer with status 200, or the report on what is there instead.
fn answered(result: Exchange) -> Result<Value, Report> {
    match result {
        Ok(answer) if answer.status == 200 => {
            json(&answer, 200).map_err(|reason| Report::Retryable { reason, after: None })
        }
        other => Err(judge(other, Repeat::Harmless, |_| false)),
    }
}

/// Something was found when there are enough of them; the reason names the first.
fn judged(what: &str, names: &[String], at_least: usize) -> Report {
    let count = names.len();
    if count < at_least {
        return Report::Succeeded { detail: format!("{count} {what}, fewer than {at_least}") };
    }
    let named: Vec<_> = names.iter().take(NAMED_MAX).map(String::as_str).collect();
    let more = if count > named.len() { ", …" } else { "" };
    Report::Found { reason: format!("{count} {what}: {}{more}", named.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use reqwest::header::HeaderMap;

    use crate::transport::{Answer, TransportError};

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|number| format!("n{number}")).collect()
    }

    #[test]
    fn enough_is_a_finding_that_names_the_first() {
        assert_eq!(judged("changes", &names(1), 2), Report::Succeeded { detail: "1 changes, fewer than 2".into() });
        assert_eq!(judged("changes", &names(2), 2), Report::Found { reason: "2 changes: n0, n1".into() });
        assert_eq!(
            judged("changes", &names(9), 2),
            Report::Found { reason: "9 changes: n0, n1, n2, n3, n4, …".into() }
        );
    }

    #[test]
    fn only_an_answer_that_says_so_is_no_finding() {
        let answer = |status, body: &'static str, cut_off| {
            answered(Ok(Answer {
                status,
                headers: HeaderMap::new(),
                body: Bytes::from_static(body.as_bytes()),
                cut_off,
            }))
        };
        assert_eq!(answer(200, "[]", false), Ok(Value::Array(Vec::new())));
        for (status, body, cut_off) in
            [(200, "<html>", false), (200, "[]", true), (429, "[]", false), (503, "[]", false)]
        {
            assert!(matches!(answer(status, body, cut_off), Err(Report::Retryable { .. })), "{status} {body}");
        }
        for status in [204, 302, 400, 401, 404] {
            assert!(matches!(answer(status, "[]", false), Err(Report::Failed { .. })), "{status}");
        }
        let silent = TransportError::NoAnswer { target: "t".into(), cause: "timeout".into() };
        assert!(matches!(answered(Err(silent)), Err(Report::Retryable { .. })));
    }
}
