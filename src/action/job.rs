//! What all long jobs at a target share: how often they are asked for, and what the answer to their start says.
//!
//! How a job is looked after once it has an id is the pipeline's: it holds no slot, and is never started again.

use std::time::Duration;

use serde_json::Value;

use crate::action::network::Exchange;
use crate::action::verdict::{Repeat, judge, refusal};
use crate::action::{Report, Watch};
use crate::yaml::Reader;

const POLLING_INTERVAL: Duration = Duration::from_secs(30);
const POLLING_TIMEOUT: Duration = Duration::from_mins(15);

/// Reads `polling_interval` and `polling_timeout`.
pub(crate) fn watch(reader: &Reader<'_, '_>) -> Watch {
    let interval = reader.duration("polling_interval").unwrap_or(POLLING_INTERVAL);
    let timeout = reader.duration("polling_timeout").unwrap_or(POLLING_TIMEOUT);
    if interval.is_zero() {
        reader.wrong("polling_interval", "must be above 0");
    }
    if timeout < interval {
        reader.wrong("polling_timeout", "must not be less than polling_interval");
    }
    Watch { interval, timeout }
}

/// The report on the request that starts a job: 201 has made it, and `id` finds its name in the answer. Where the answer
/// does not say it, something may run that we cannot name.
pub(crate) fn start(result: Exchange, what: &str, id: impl FnOnce(&Value) -> Option<String>) -> Report {
    match result {
        Ok(answer) if answer.status == 201 => {
            match serde_json::from_slice(&answer.body).ok().and_then(|body| id(&body)) {
                Some(id) => Report::Started { id },
                None => Report::Unknown { reason: format!("the answer names no {what}: {}", refusal(&answer)) },
            }
        }
        // It may have been made before something behind it failed.
        Ok(answer) if matches!(answer.status, 500 | 502 | 504) => Report::Unknown { reason: refusal(&answer) },
        result => judge(result, Repeat::Doubles, |_| false),
    }
}
