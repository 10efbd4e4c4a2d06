//! `verify`: looks whether an action has helped, until it has or its time is over.
//!
//! Nothing is asked for where BigPanda is not configured: later snapshots, which the pipeline watches, may still tell.
//! What cannot be read counts as not helped when the time is over, so that somebody hears of it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::future::BoxFuture;
use serde_json::Value;

use crate::action::bigpanda::Endpoint;
use crate::action::json_api::json;
use crate::action::network::Network;
use crate::action::{Action, Progress, Report, Task, Watch};
use crate::incident::Incident;
use crate::template::{Context, RenderError};
use crate::yaml::Reader;

const INTERVAL: Duration = Duration::from_secs(30);

/// Waits for the alert to clear; for the incident where the action is one of an incident.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Verification {
    watch: Watch,
}

impl Verification {
    pub(crate) fn read(reader: &Reader<'_, '_>) -> Option<Self> {
        reader.required("within");
        let within = reader.duration("within");
        let interval = reader.duration("every").unwrap_or(INTERVAL);
        let _ = reader.choice("expect", &[("resolved", ())]);
        let within = within?;
        if within.is_zero() || interval.is_zero() {
            reader.wrong(if within.is_zero() { "within" } else { "every" }, "must be above 0");
            return None;
        }
        Some(Self { watch: Watch { interval: interval.min(within), timeout: within } })
    }
}

/// Whether a snapshot says that the alert, or where there is none the incident, is over. An alert that is not in it is not
/// known to be.
pub fn is_over(incident: &Incident<'_>, alert: Option<&str>) -> bool {
    let over = incident.is_active() == Some(false) || incident.is_resolved() == Some(true);
    let is = |id: &str| incident.alerts.iter().find(|alert| alert.id.as_deref() == Some(id));
    over || alert.and_then(is).is_some_and(|alert| alert.is_active() == Some(false))
}

async fn reads_over(task: Task<'_>, network: &Network) -> Result<bool, String> {
    let Some(bigpanda) = network.bigpanda() else { return Ok(false) };
    bigpanda.turn(Endpoint::Incidents).await;
    let request = bigpanda.incident(network, &task.context.incident().id, task.timeout).await?;
    let answer = network.http().send(request).await.map_err(|error| error.to_string())?;
    bigpanda.heard(&answer);
    let _: Value = json(&answer, 200)?;
    let incident = Incident::parse(&answer.body).map_err(|error| error.to_string())?;
    Ok(is_over(&incident, task.context.alert_id()))
}

impl Action for Verification {
    fn preview(&self, context: &Context) -> Result<String, RenderError> {
        let what = match context.alert_id() {
            Some(alert) => format!("alert {alert}"),
            None => format!("incident {}", context.incident().id),
        };
        Ok(format!("look whether {what} is over within {:?}", self.watch.timeout))
    }

    fn secret_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn watch(&self) -> Option<Watch> {
        Some(self.watch)
    }

    /// Nothing is sent: the ledger notes from when on it is looked.
    fn execute<'a>(&'a self, _: Task<'a>, _: &'a Network) -> BoxFuture<'a, Report> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let until = now.saturating_add(self.watch.timeout).as_secs();
        Box::pin(std::future::ready(Report::Started { id: format!("verification until {until}") }))
    }

    fn poll<'a>(&'a self, task: Task<'a>, _: &'a str, network: &'a Network) -> BoxFuture<'a, Progress> {
        Box::pin(async move {
            match reads_over(task, network).await {
                Ok(true) => Progress::Succeeded { detail: "BigPanda says that it is over".to_owned() },
                Ok(false) => Progress::Running { detail: "nothing says that it is over".to_owned() },
                Err(why) => Progress::Running { detail: format!("the incident cannot be read: {why}") },
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_is_over_when_it_or_its_incident_is() {
        let over = |record: &str, alert| is_over(&Incident::parse(record.as_bytes()).unwrap(), alert);
        let alerts = r#"{"id": "i", "active": true, "alerts": [{"id": "a", "status": "ok"}, {"id": "b", "status": "critical"}]}"#;
        assert!(over(alerts, Some("a")));
        assert!(!over(alerts, Some("b")));
        assert!(!over(alerts, Some("gone")), "what is not there is not known to be over");
        assert!(!over(alerts, None));
        assert!(over(r#"{"id": "i", "active": false}"#, Some("b")));
        assert!(over(r#"{"id": "i", "status": "resolved"}"#, None));
        assert!(!over(r#"{"id": "i"}"#, None));
    }
}
