//! From a response to what is known. Pure.
//!
//! 429 and 5xx may succeed later and are repeated, as the targets document; other statuses will not change. A request
//! that was not sent is certainly not done. One that got no answer is unknown, unless the target makes repeats harmless.

use std::time::Duration;

use reqwest::header::RETRY_AFTER;

use crate::action::Report;
use crate::transport::{Answer, TransportError};

/// Whether doing the request twice is the same as doing it once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// The target recognises a repeat.
    Harmless,
    /// It would be done twice.
    Doubles,
}

/// Judges the result of one request; `expected` says which statuses mean success.
pub(crate) fn judge(
    result: Result<Answer, TransportError>,
    repeat: Repeat,
    expected: impl FnOnce(u16) -> bool,
) -> Report {
    match result {
        Ok(answer) if expected(answer.status) => Report::Succeeded { detail: format!("HTTP {}", answer.status) },
        Ok(answer) => {
            let reason = refusal(&answer);
            match answer.status {
                429 | 500..=599 => Report::Retryable { reason, after: retry_after(&answer) },
                _ => Report::Failed { reason },
            }
        }
        Err(error @ TransportError::NotSent { .. }) => Report::Retryable { reason: error.to_string(), after: None },
        Err(error @ TransportError::NoAnswer { .. }) => match repeat {
            Repeat::Harmless => Report::Retryable { reason: error.to_string(), after: None },
            Repeat::Doubles => Report::Unknown { reason: error.to_string() },
        },
    }
}

/// Status and the beginning of the body in one line.
pub(crate) fn refusal(answer: &Answer) -> String {
    let excerpt = answer.excerpt();
    if excerpt.is_empty() { format!("HTTP {}", answer.status) } else { format!("HTTP {}: {excerpt}", answer.status) }
}

/// `Retry-After` in seconds; its form as a date is ignored, since our clock may differ.
fn retry_after(answer: &Answer) -> Option<Duration> {
    answer.header(&RETRY_AFTER)?.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use reqwest::header::{HeaderMap, HeaderValue};

    fn answer(status: u16) -> Answer {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_static("7"));
        Answer { status, headers, body: Bytes::from_static(b"no\n way"), cut_off: false }
    }

    fn ok(status: u16) -> bool {
        (200..300).contains(&status)
    }

    #[test]
    fn only_429_and_5xx_are_repeated() {
        for status in [429, 500, 502, 503, 599] {
            let report = judge(Ok(answer(status)), Repeat::Doubles, ok);
            let reason = format!("HTTP {status}: no way");
            assert_eq!(report, Report::Retryable { reason, after: Some(Duration::from_secs(7)) });
        }
        for status in [301, 400, 401, 404, 409, 422] {
            assert!(matches!(judge(Ok(answer(status)), Repeat::Doubles, ok), Report::Failed { .. }), "{status}");
        }
    }

    #[test]
    fn what_was_not_sent_is_repeated_and_what_got_no_answer_is_unknown() {
        let not_sent = || TransportError::NotSent { target: "t".into(), cause: "refused".into() };
        let no_answer = || TransportError::NoAnswer { target: "t".into(), cause: "timeout".into() };
        assert!(matches!(judge(Err(not_sent()), Repeat::Doubles, ok), Report::Retryable { .. }));
        assert!(matches!(judge(Err(no_answer()), Repeat::Doubles, ok), Report::Unknown { .. }));
        assert!(matches!(judge(Err(no_answer()), Repeat::Harmless, ok), Report::Retryable { .. }));
    }
}
