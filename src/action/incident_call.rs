//! `tag_incident`, `snooze_incident`, `unassign_incident`, and the steps with which the flow itself takes and gives back an incident:
//! assign, resolve, split. One call of BigPanda each.
//!
//! All but the split may be done twice without harm (a tag takes the same value again, a resolved incident answers 409),
//! so an unknown outcome is repeated. After a split of unknown fate the incident is read: where the alerts are gone, it was done.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::future::BoxFuture;
use reqwest::Method;
use serde_json::{Value, json};

use crate::action::bigpanda::{Call, Endpoint};
use crate::action::comment::unconfigured;
use crate::action::definition::{OnUnknown, Scope, Surroundings, template};
use crate::action::network::Network;
use crate::action::verdict::{Repeat, judge, refusal};
use crate::action::{Action, Read, Reconciled, Report, Task};
use crate::template::{Context, Escape, RenderError, Template};
use crate::transport::Answer;
use crate::yaml::Reader;

/// What is asked of BigPanda.
#[derive(Clone, Debug)]
pub(crate) enum Ask {
    /// Sets tags; the names are fixed, the values are templates.
    Tag(Vec<(String, Template)>),
    /// Snoozes for so long from the attempt on.
    Snooze { length: Duration, comment: Option<Template>, until_updated: bool },
    /// Takes the assignee away.
    Unassign,
    /// Assigns it to the service's account.
    Assign,
    /// Resolves it, which cannot be undone.
    Resolve { comment: String },
    /// Moves these alerts into an incident of their own.
    Split { alerts: Vec<String>, comment: String },
}

/// One call about the incident.
#[derive(Clone, Debug)]
pub(crate) struct IncidentCall(pub(crate) Ask);

pub(crate) fn read_tag(reader: &Reader<'_, '_>, scope: Scope, surroundings: &Surroundings) -> Option<Read> {
    needs_bigpanda(reader, "tag_incident", surroundings);
    let mut tags = Vec::new();
    if let Some(section) = reader.child("tags") {
        for entry in section.rest() {
            tags.push((entry.key.clone(), template(&section, &entry.key, scope, Some(Escape::None))?));
        }
    }
    if reader.node("tag_id").is_some() || reader.node("tag_value").is_some() {
        let id = reader.required_string("tag_id")?;
        reader.required("tag_value")?;
        tags.push((id, template(reader, "tag_value", scope, Some(Escape::None))?));
    }
    if tags.is_empty() {
        reader.wrong("tags", "is required: a map from the name of a tag to its value (or tag_id and tag_value)");
        return None;
    }
    Some(repeatable(Ask::Tag(tags)))
}

pub(crate) fn read_snooze(reader: &Reader<'_, '_>, scope: Scope, surroundings: &Surroundings) -> Option<Read> {
    needs_bigpanda(reader, "snooze_incident", surroundings);
    let key = reader.node_of(&["duration", "snooze_duration"]).map_or("duration".to_owned(), |(key, _)| key);
    reader.required(&key)?;
    let length = reader.duration(&key)?;
    if length.is_zero() {
        reader.wrong(&key, "must be above 0");
    }
    let comment = match reader.node("comment") {
        Some(_) => Some(template(reader, "comment", scope, Some(Escape::None))?),
        None => None,
    };
    let until_updated = reader.boolean("cancel_on_incident_updates").unwrap_or(false);
    Some(repeatable(Ask::Snooze { length, comment, until_updated }))
}

#[expect(clippy::unnecessary_wraps, reason = "the table of types holds readers of one shape")]
pub(crate) fn read_unassign(reader: &Reader<'_, '_>, _: Scope, surroundings: &Surroundings) -> Option<Read> {
    needs_bigpanda(reader, "unassign_incident", surroundings);
    Some(repeatable(Ask::Unassign))
}

fn needs_bigpanda(reader: &Reader<'_, '_>, name: &str, surroundings: &Surroundings) {
    if !surroundings.bigpanda {
        reader.wrong("type", format!("{name} needs `bigpanda` (base_url, environment_id, api_key) to be configured"));
    }
}

fn repeatable(ask: Ask) -> Read {
    Read { action: Box::new(IncidentCall(ask)), on_unknown: OnUnknown::Retry }
}

impl IncidentCall {
    fn endpoint(&self) -> Endpoint {
        match self.0 {
            Ask::Tag(_) => Endpoint::Tags,
            Ask::Snooze { .. } => Endpoint::Snooze,
            Ask::Unassign | Ask::Assign => Endpoint::Assignment,
            Ask::Resolve { .. } => Endpoint::Resolve,
            Ask::Split { .. } => Endpoint::Split,
        }
    }

    fn method(&self) -> Method {
        match self.0 {
            Ask::Tag(_) | Ask::Resolve { .. } | Ask::Split { .. } => Method::POST,
            Ask::Snooze { .. } | Ask::Assign => Method::PUT,
            Ask::Unassign => Method::DELETE,
        }
    }

    fn repeat(&self) -> Repeat {
        if matches!(self.0, Ask::Split { .. }) { Repeat::Doubles } else { Repeat::Harmless }
    }

    /// The body; the text says why it cannot be made.
    fn body(&self, context: &Context, assignee: Option<&str>, now_s: u64) -> Result<Option<Value>, String> {
        let filled = |template: &Template| template.render(context).map_err(|error| error.to_string());
        let body = match &self.0 {
            Ask::Tag(tags) => {
                let tag = |(id, value): &(String, Template)| Ok(json!({ "tag_id": id, "tag_value": filled(value)? }));
                Value::Array(tags.iter().map(tag).collect::<Result<_, String>>()?)
            }
            Ask::Snooze { length, comment, until_updated } => {
                let end_time = now_s.saturating_add(length.as_secs());
                let mut body = json!({ "end_time": end_time, "cancel_on_incident_updates": until_updated });
                if let (Some(comment), Some(fields)) = (comment, body.as_object_mut()) {
                    fields.insert("comment".to_owned(), filled(comment)?.into());
                }
                body
            }
            Ask::Unassign => return Ok(None),
            Ask::Assign => json!({ "assignee": assignee.ok_or("bigpanda.service_account_id is not configured")? }),
            Ask::Resolve { comment } => json!({ "comments": comment }),
            Ask::Split { alerts, comment } => json!({ "alerts": alerts, "comment": comment }),
        };
        Ok(Some(body))
    }
}

impl Action for IncidentCall {
    fn preview(&self, context: &Context) -> Result<String, RenderError> {
        let id = &context.incident().id;
        Ok(match &self.0 {
            Ask::Tag(tags) => {
                let tag = |(id, value): &(String, Template)| Ok(format!("{id}={}", value.render(context)?));
                let tags: Vec<_> = tags.iter().map(tag).collect::<Result<_, RenderError>>()?;
                format!("tag incident {id}: {}", tags.join(", "))
            }
            Ask::Snooze { length, comment, .. } => {
                comment.as_ref().map(|comment| comment.render(context)).transpose()?;
                format!("snooze incident {id} for {} s", length.as_secs())
            }
            Ask::Unassign => format!("unassign incident {id}"),
            Ask::Assign => format!("assign incident {id} to the service account"),
            Ask::Resolve { .. } => format!("resolve incident {id}"),
            Ask::Split { alerts, .. } => format!("split {} alerts off incident {id}", alerts.len()),
        })
    }

    fn secret_names(&self) -> Vec<String> {
        let templates: Vec<&Template> = match &self.0 {
            Ask::Tag(tags) => tags.iter().map(|(_, value)| value).collect(),
            Ask::Snooze { comment, .. } => comment.iter().collect(),
            Ask::Unassign | Ask::Assign | Ask::Resolve { .. } | Ask::Split { .. } => Vec::new(),
        };
        templates.into_iter().flat_map(Template::secret_names).map(str::to_owned).collect()
    }

    fn admitted<'a>(&'a self, network: &'a Network) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            if let Some(bigpanda) = network.bigpanda() {
                bigpanda.turn(self.endpoint()).await;
            }
        })
    }

    fn execute<'a>(&'a self, task: Task<'a>, network: &'a Network) -> BoxFuture<'a, Report> {
        Box::pin(async move {
            let Some(bigpanda) = network.bigpanda() else { return unconfigured() };
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            let assignee = bigpanda.settings().service_account_id.as_deref();
            let body = match self.body(task.context, assignee, now) {
                Ok(body) => body,
                Err(reason) => return Report::Failed { reason },
            };
            let incident = &task.context.incident().id;
            let (endpoint, method) = (self.endpoint(), self.method());
            let call = Call { endpoint, method, incident, body, timeout: task.timeout };
            match bigpanda.call(network, call).await {
                Ok(request) => {
                    let result = network.http().send(request).await;
                    bigpanda.answered(&result);
                    let resolve = endpoint == Endpoint::Resolve;
                    let expected = |status| (200..300).contains(&status) || (resolve && status == 409);
                    network.scrubbed(judge(result, self.repeat(), expected))
                }
                Err(reason) => Report::Retryable { reason, after: None },
            }
        })
    }

    fn reconcile<'a>(&'a self, task: Task<'a>, network: &'a Network) -> BoxFuture<'a, Reconciled> {
        Box::pin(async move {
            let (Some(bigpanda), Ask::Split { alerts, .. }) = (network.bigpanda(), &self.0) else {
                return Reconciled::CannotTell { reason: "a repeat does no harm; use on_unknown: retry".to_owned() };
            };
            bigpanda.turn(Endpoint::Incidents).await;
            let incident = &task.context.incident().id;
            let call = Call {
                endpoint: Endpoint::Incidents,
                method: Method::GET,
                incident,
                body: None,
                timeout: task.timeout,
            };
            let request = match bigpanda.call(network, call).await {
                Ok(request) => request,
                Err(reason) => return Reconciled::CannotTell { reason },
            };
            let result = network.http().send(request).await;
            bigpanda.answered(&result);
            match result {
                Ok(answer) => still_there(&answer, alerts),
                Err(error) => Reconciled::CannotTell { reason: error.to_string() },
            }
        })
    }
}

/// Whether the incident still holds the alerts that were to be split off it.
fn still_there(answer: &Answer, alerts: &[String]) -> Reconciled {
    if answer.status != 200 || answer.cut_off {
        return Reconciled::CannotTell { reason: format!("the incident cannot be read: {}", refusal(answer)) };
    }
    let held = serde_json::from_slice::<Value>(&answer.body).ok();
    let Some(held) = held.as_ref().and_then(|incident| incident.get("alerts")).and_then(Value::as_array) else {
        return Reconciled::CannotTell { reason: "the incident was read without its alerts".to_owned() };
    };
    let is = |alert: &Value, id: &String| alert.get("id").or(Some(alert)).and_then(Value::as_str) == Some(id);
    match alerts.iter().filter(|id| held.iter().any(|alert| is(alert, id))).count() {
        0 => Reconciled::Done { detail: "the alerts are not in the incident any more".to_owned() },
        count => Reconciled::NotDone { detail: format!("{count} of the alerts are still in the incident") },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incident::Incident;

    fn body(ask: Ask) -> Result<Option<Value>, String> {
        let incident = Incident::parse(br#"{"id": "i", "incident_tags": [{"id": "team", "value": "sre"}]}"#).unwrap();
        IncidentCall(ask).body(&Context::new(&incident), Some("60aa"), 1000)
    }

    #[test]
    fn the_bodies_are_those_that_bigpanda_documents() {
        let template = |text| Template::compile_as(text, Escape::None).unwrap();
        let tag = Ask::Tag(vec![("handled_by".to_owned(), template("{{team}}"))]);
        assert_eq!(body(tag), Ok(Some(json!([{ "tag_id": "handled_by", "tag_value": "sre" }]))));
        let snooze =
            Ask::Snooze { length: Duration::from_mins(1), comment: Some(template("wait")), until_updated: true };
        let expected = json!({ "end_time": 1060, "comment": "wait", "cancel_on_incident_updates": true });
        assert_eq!(body(snooze), Ok(Some(expected)));
        assert_eq!(body(Ask::Assign), Ok(Some(json!({ "assignee": "60aa" }))));
        assert_eq!(body(Ask::Unassign), Ok(None));
        assert_eq!(body(Ask::Resolve { comment: "done".into() }), Ok(Some(json!({ "comments": "done" }))));
        let split = Ask::Split { alerts: vec!["a".into()], comment: "other".into() };
        assert_eq!(body(split), Ok(Some(json!({ "alerts": ["a"], "comment": "other" }))));
    }

    #[test]
    fn a_split_was_done_when_none_of_the_alerts_is_left() {
        let answer = |status, body: &'static str| Answer {
            status,
            headers: reqwest::header::HeaderMap::new(),
            body: bytes::Bytes::from_static(body.as_bytes()),
            cut_off: false,
        };
        let alerts = ["a".to_owned(), "b".to_owned()];
        let left = |status, body| still_there(&answer(status, body), &alerts);
        assert!(matches!(left(200, r#"{"alerts": [{"id": "c"}]}"#), Reconciled::Done { .. }));
        assert!(matches!(left(200, r#"{"alerts": [{"id": "b"}]}"#), Reconciled::NotDone { .. }));
        assert!(matches!(left(200, r#"{"alerts": ["a"]}"#), Reconciled::NotDone { .. }));
        assert!(matches!(left(200, "{}"), Reconciled::CannotTell { .. }));
        assert!(matches!(left(500, "{}"), Reconciled::CannotTell { .. }));
    }
}
