//! `check_alert_volume`: ends the flow when there are more alerts than remediation one by one is meant for.
//!
//! Without a query the alerts of the incident's own record are counted, and nothing is asked; with one (BPQL) those of all
//! incidents that match. An alert that is not active any more does not count.

use futures::future::BoxFuture;
use serde_json::Value;

use crate::action::check::check;
use crate::action::check::search::{More, Search};
use crate::action::definition::{Scope, Surroundings};
use crate::action::network::Network;
use crate::action::{Action, Read, Report, Task};
use crate::incident::Incident;
use crate::template::{Context, RenderError};
use crate::yaml::Reader;

#[derive(Debug)]
struct Volume {
    /// `None`: the incident's own alerts.
    search: Option<Search>,
    at_most: usize,
}

pub(crate) fn read(reader: &Reader<'_, '_>, scope: Scope, surroundings: &Surroundings) -> Option<Read> {
    reader.required("max_alerts");
    let at_most = reader.integer::<u32>("max_alerts");
    let search = if reader.node("query").is_some() {
        let search = Search::read(reader, "check_alert_volume with a query", scope, surroundings)?;
        Some(search.with_alerts())
    } else {
        for key in ["within", "folder"] {
            reader.ignored(key, "it narrows a query, and there is none");
        }
        None
    };
    Some(check(reader, Volume { search, at_most: usize::try_from(at_most?).unwrap_or(usize::MAX) }))
}

fn active_in(incident: &Incident<'_>) -> usize {
    incident.alerts.iter().filter(|alert| alert.is_active() != Some(false)).count()
}

/// The active alerts of incidents as a search answers them; the text says why they cannot be counted.
fn active_among(items: &[Value]) -> Result<usize, String> {
    let mut count = 0_usize;
    for item in items {
        if !item.get("alerts").is_some_and(Value::is_array) {
            return Err("an incident of the answer comes without its alerts".to_owned());
        }
        let record = item.to_string();
        let incident = Incident::parse(record.as_bytes()).map_err(|error| error.to_string())?;
        count = count.saturating_add(active_in(&incident));
    }
    Ok(count)
}

fn judged(count: usize, at_most: usize) -> Report {
    if count > at_most {
        Report::Found { reason: format!("{count} active alerts, more than {at_most}") }
    } else {
        Report::Succeeded { detail: format!("{count} active alerts, not more than {at_most}") }
    }
}

impl Volume {
    async fn count(&self, task: Task<'_>, network: &Network) -> Result<usize, Report> {
        let Some(search) = &self.search else { return Ok(active_in(task.context.incident())) };
        let mut count = 0_usize;
        let take = |items: &[Value]| {
            let here = active_among(items).map_err(|reason| Report::Retryable { reason, after: None })?;
            count = count.saturating_add(here);
            Ok(if count > self.at_most { More::Enough } else { More::Wanted })
        };
        search.each_page(task, network, take).await?;
        Ok(count)
    }
}

impl Action for Volume {
    fn preview(&self, context: &Context) -> Result<String, RenderError> {
        let at_most = self.at_most;
        Ok(match &self.search {
            Some(search) => {
                format!("look in BigPanda for more than {at_most} alerts of incidents with {}", search.shown(context)?)
            }
            None => format!("look whether incident {} has more than {at_most} alerts", context.incident().id),
        })
    }

    fn secret_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn execute<'a>(&'a self, task: Task<'a>, network: &'a Network) -> BoxFuture<'a, Report> {
        Box::pin(async move {
            let report = match self.count(task, network).await {
                Ok(count) => judged(count, self.at_most),
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
    fn only_active_alerts_count() {
        let items = [
            json!({"id": "a", "alerts": [{"id": "1", "status": "critical"}, {"id": "2", "status": "ok"}]}),
            json!({"id": "b", "alerts": [{"id": "3"}]}),
        ];
        assert_eq!(active_among(&items), Ok(2));
        assert!(active_among(&[json!({"id": "a"})]).is_err(), "what is not told is not none");
        assert!(matches!(judged(2, 2), Report::Succeeded { .. }));
        assert_eq!(judged(3, 2), Report::Found { reason: "3 active alerts, more than 2".into() });
    }
}
