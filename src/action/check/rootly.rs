//! `scan_rootly_alerts`: ends the flow when alerts of Rootly match.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::future::BoxFuture;
use serde_json::Value;

use crate::action::check::{answered, at_least, check, judged};
use crate::action::definition::{Scope, Surroundings, template};
use crate::action::network::Network;
use crate::action::rootly::{Rootly, named};
use crate::action::{Action, Read, Report, Task};
use crate::template::{Context, Escape, RenderError, Template};
use crate::yaml::Reader;

/// Alerts asked for; enough to know whether there are `at_least` so many.
const PAGE_SIZE: usize = 50;
/// What Rootly filters alerts by. Anything else it might ignore, and then all alerts would match.
const FILTERS: [&str; 6] = ["status", "source", "services", "environments", "groups", "labels"];

#[derive(Debug)]
struct Scan {
    rootly: Rootly,
    filters: Vec<(&'static str, Template)>,
    /// Only those that started so long ago or later.
    within: Option<Duration>,
    at_least: usize,
}

pub(crate) fn read(reader: &Reader<'_, '_>, scope: Scope, _: &Surroundings) -> Option<Read> {
    let rootly = Rootly::read(reader);
    let within = reader.duration("within");
    let at_least = at_least(reader);
    if at_least > PAGE_SIZE {
        reader.wrong("at_least", format!("must not be above {PAGE_SIZE}, which is how many are asked for"));
    }
    let mut filters = Vec::new();
    if let Some(section) = reader.child("filters") {
        for name in FILTERS {
            if section.node(name).is_some() {
                filters.push((name, template(&section, name, scope, Some(Escape::None))?));
            }
        }
        if filters.iter().any(|(_, value)| value.secret_names().next().is_some()) {
            reader.wrong("filters", "must not hold a secret: they are shown and recorded");
        }
        section.close();
    }
    if filters.is_empty() {
        reader.wrong("filters", format!("is required, with one or more of {}", FILTERS.join(", ")));
    }
    Some(check(reader, Scan { rootly: rootly?, filters, within, at_least }))
}

/// The alerts of an answer by name; the text says why they cannot be read.
fn alerts(body: &Value) -> Result<Vec<String>, String> {
    let data = body.get("data").and_then(Value::as_array).ok_or("the answer holds no list of alerts")?;
    data.iter().map(|alert| named(alert).ok_or_else(|| "an alert of the answer has no id".to_owned())).collect()
}

impl Scan {
    fn filled(&self, context: &Context) -> Result<Vec<(String, String)>, RenderError> {
        let one = |(name, value): &(&str, Template)| Ok((format!("filter[{name}]"), value.render(context)?));
        self.filters.iter().map(one).collect()
    }

    async fn scan(&self, task: Task<'_>, network: &Network) -> Result<Vec<String>, Report> {
        let filled = self.filled(task.context).map_err(|error| Report::Failed { reason: error.to_string() })?;
        let since = self.within.map(|within| since(SystemTime::now(), within));
        let size = PAGE_SIZE.to_string();
        let mut query: Vec<(&str, &str)> = filled.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        query.extend(since.as_deref().map(|since| ("filter[started_at][gte]", since)));
        query.push(("page[size]", &size));
        let body = answered(self.rootly.alerts(network, &query, None, task.timeout).await?)?;
        alerts(&body).map_err(|reason| Report::Retryable { reason, after: None })
    }
}

/// The time so long ago, as RFC 3339 has it.
fn since(now: SystemTime, within: Duration) -> String {
    let then = now.duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(within);
    let seconds = i64::try_from(then.as_secs()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string()
}

impl Action for Scan {
    fn preview(&self, context: &Context) -> Result<String, RenderError> {
        let filters: Vec<_> =
            self.filled(context)?.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        Ok(format!("look at {} for {} or more alerts with {}", self.rootly.shown(), self.at_least, filters.join(" ")))
    }

    fn secret_names(&self) -> Vec<String> {
        vec![self.rootly.secret.clone()]
    }

    fn execute<'a>(&'a self, task: Task<'a>, network: &'a Network) -> BoxFuture<'a, Report> {
        Box::pin(async move {
            let report = match self.scan(task, network).await {
                Ok(found) => judged("alerts of Rootly match", &found, self.at_least),
                Err(report) => report,
            };
            network.scrubbed(report)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn alerts_are_named_by_id_and_summary() {
        let body = json!({"data": [
            {"id": "9d1", "type": "alerts", "attributes": {"short_id": "A7", "summary": "disk full"}},
            {"id": "9d2", "type": "alerts"},
        ]});
        assert_eq!(alerts(&body), Ok(vec!["A7 (disk full)".to_owned(), "9d2".to_owned()]));
        assert!(alerts(&json!({"errors": []})).is_err());
        assert!(alerts(&json!({"data": [{}]})).is_err());
    }

    #[test]
    fn the_beginning_is_told_in_rfc_3339() {
        let now = UNIX_EPOCH + Duration::from_hours(1);
        assert_eq!(since(now, Duration::from_mins(1)), "1970-01-01T00:59:00Z");
    }
}
