//! A search among BigPanda's incidents, page by page.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::action::bigpanda::Endpoint;
use crate::action::check::{answered, query};
use crate::action::comment::unconfigured;
use crate::action::definition::{Scope, Surroundings};
use crate::action::network::Network;
use crate::action::{Report, Task};
use crate::template::{Context, Escape, RenderError, Template};
use crate::yaml::Reader;

/// Incidents of a page.
const PAGE_SIZE: usize = 50;
/// The same where they come with their alerts: an answer is read up to a limit of bytes.
const PAGE_SIZE_WITH_ALERTS: usize = 10;
/// Pages that are read at most. A search that needs more is none that a flow should wait for.
const PAGES_MAX: usize = 20;

/// What is searched for. Values stand in the query as the inside of a text in double quotes.
#[derive(Debug)]
pub(super) struct Search {
    query: Template,
    /// Only incidents of so long ago or later.
    within: Option<Duration>,
    folder: Option<String>,
    /// With their alerts.
    with_alerts: bool,
}

/// Whether another page is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum More {
    Wanted,
    Enough,
}

impl Search {
    pub(super) fn read(reader: &Reader<'_, '_>, name: &str, scope: Scope, surroundings: &Surroundings) -> Option<Self> {
        if !surroundings.bigpanda {
            let what = format!("{name} needs `bigpanda` (base_url, environment_id, api_key) to be configured");
            reader.wrong("type", what);
        }
        let within = reader.duration("within");
        if within.is_some_and(|within| within.is_zero()) {
            reader.wrong("within", "must be above 0");
        }
        let folder = reader.string("folder");
        Some(Self { query: query(reader, scope, Escape::Json)?, within, folder, with_alerts: false })
    }

    /// The same with the alerts of each incident.
    pub(super) fn with_alerts(self) -> Self {
        Self { with_alerts: true, ..self }
    }

    /// The query as it is sent.
    pub(super) fn shown(&self, context: &Context) -> Result<String, RenderError> {
        self.query.render(context)
    }

    fn parameters(
        &self,
        context: &Context,
        now_s: u64,
        page: usize,
    ) -> Result<Vec<(&'static str, String)>, RenderError> {
        let mut parameters = vec![("query", self.shown(context)?)];
        if let Some(within) = self.within {
            parameters.push(("from", now_s.saturating_sub(within.as_secs()).to_string()));
            parameters.push(("to", now_s.to_string()));
        }
        if let Some(folder) = &self.folder {
            parameters.push(("folder", folder.clone()));
        }
        if self.with_alerts {
            parameters.push(("expand", "alerts".to_owned()));
        }
        parameters.extend([("page", page.to_string()), ("page_size", self.page_size().to_string())]);
        Ok(parameters)
    }

    /// Gives `take` the incidents of page after page until it has enough or there are no more. The report says why that
    /// cannot be done.
    pub(super) async fn each_page(
        &self,
        task: Task<'_>,
        network: &Network,
        mut take: impl FnMut(&[Value]) -> Result<More, Report> + Send,
    ) -> Result<(), Report> {
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        for page in 1..=PAGES_MAX {
            let items = self.page(task, network, now_s, page).await?;
            if take(&items)? == More::Enough || items.len() < self.page_size() {
                return Ok(());
            }
        }
        let reason = format!("{PAGES_MAX} pages of incidents do not tell; narrow the query");
        Err(Report::Failed { reason })
    }

    const fn page_size(&self) -> usize {
        if self.with_alerts { PAGE_SIZE_WITH_ALERTS } else { PAGE_SIZE }
    }

    async fn page(&self, task: Task<'_>, network: &Network, now_s: u64, page: usize) -> Result<Vec<Value>, Report> {
        let Some(bigpanda) = network.bigpanda() else { return Err(unconfigured()) };
        let parameters = self.parameters(task.context, now_s, page);
        let parameters = parameters.map_err(|error| Report::Failed { reason: error.to_string() })?;
        bigpanda.turn(Endpoint::Search).await;
        let request = bigpanda.search(network, &parameters, task.timeout).await;
        let request = request.map_err(|reason| Report::Retryable { reason, after: None })?;
        let result = network.http().send(request).await;
        bigpanda.answered(&result);
        match answered(result)? {
            Value::Object(mut body) => match body.remove("items") {
                Some(Value::Array(items)) => Ok(items),
                _ => Err(no_items()),
            },
            _ => Err(no_items()),
        }
    }
}

fn no_items() -> Report {
    Report::Retryable { reason: "the answer to the search holds no `items`".to_owned(), after: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incident::Incident;

    #[test]
    fn a_value_cannot_leave_its_quotes() {
        let incident =
            Incident::parse(br#"{"id": "i", "incident_tags": [{"id": "service", "value": "a\" OR \"b"}]}"#).unwrap();
        let query = Template::compile_as(r#"service = "{{service}}""#, Escape::Json).unwrap();
        let search = Search {
            query,
            within: Some(Duration::from_mins(1)),
            folder: Some("active".to_owned()),
            with_alerts: true,
        };
        let parameters = search.parameters(&Context::new(&incident), 1000, 2).unwrap();
        let expected = [
            ("query", r#"service = "a\" OR \"b""#),
            ("from", "940"),
            ("to", "1000"),
            ("folder", "active"),
            ("expand", "alerts"),
            ("page", "2"),
            ("page_size", "10"),
        ];
        assert_eq!(parameters, expected.map(|(name, value)| (name, value.to_owned())));
    }
}
