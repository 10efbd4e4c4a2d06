//! `rootly_escalation`: raises an alert in Rootly, which pages whoever is on call for its target.
//!
//! The alert carries a token of the episode as its deduplication key. Rootly takes alerts of one key for a single alert, so
//! a repeat pages nobody a second time, and an outcome that is not known is simply repeated.

use futures::future::BoxFuture;
use serde_json::{Map, Value, json};

use crate::action::comment::token;
use crate::action::definition::{OnUnknown, Scope, Surroundings, reader_on_unknown, template};
use crate::action::network::Network;
use crate::action::rootly::{Rootly, named};
use crate::action::verdict::{Repeat, judge};
use crate::action::{Action, Read, Report, Task};
use crate::template::{Context, Escape, RenderError, Template};
use crate::yaml::Reader;

/// What is paged, in Rootly's words.
const TARGETS: [&str; 5] = ["EscalationPolicy", "Service", "Group", "User", "Functionality"];
/// Lists of ids that an alert may carry.
const LISTS: [&str; 3] = ["service_ids", "group_ids", "environment_ids"];

#[derive(Debug)]
struct Escalation {
    rootly: Rootly,
    summary: Template,
    /// Texts of the alert under Rootly's names.
    texts: Vec<(&'static str, Template)>,
    labels: Vec<(String, Template)>,
    lists: Vec<(&'static str, Vec<String>)>,
    /// Type and id.
    target: Option<(&'static str, String)>,
}

pub(crate) fn read(reader: &Reader<'_, '_>, scope: Scope, _: &Surroundings) -> Option<Read> {
    if reader_on_unknown(reader) == Some(OnUnknown::Reconcile) {
        reader.wrong("on_unknown", "Rootly recognises a repeat by its deduplication key; use retry or hold");
    }
    let rootly = Rootly::read(reader);
    reader.required("summary");
    let filled = |key| template(reader, key, scope, Some(Escape::None));
    let summary = filled("summary");
    // `description` is what every definition has for the reader of the file.
    let optional =
        [("details", "description"), ("external_url", "external_url"), ("alert_urgency_id", "alert_urgency_id")];
    let optional = optional.map(|(key, name)| (name, filled(key)));
    let texts = optional.into_iter().filter_map(|(key, template)| Some((key, template?))).collect();
    let labels = labels(reader, scope);
    let lists = LISTS.iter().filter_map(|key| Some((*key, reader.strings(key)?))).collect();
    let target = target(reader);
    let action = Escalation { rootly: rootly?, summary: summary?, texts, labels: labels?, lists, target };
    if action.templates().any(|template| template.secret_names().next().is_some()) {
        reader.wrong("summary", "no secret may stand in an alert: people read it");
    }
    Some(Read { action: Box::new(action), on_unknown: OnUnknown::Retry })
}

fn labels(reader: &Reader<'_, '_>, scope: Scope) -> Option<Vec<(String, Template)>> {
    let Some(section) = reader.child("labels") else { return Some(Vec::new()) };
    let one = |key: &String| Some((key.clone(), template(&section, key, scope, Some(Escape::None))?));
    section.rest().into_iter().map(|entry| one(&entry.key)).collect()
}

fn target(reader: &Reader<'_, '_>) -> Option<(&'static str, String)> {
    let section = reader.child("target")?;
    section.required("type");
    let kind = section.choice("type", &TARGETS.map(|kind| (kind, kind)));
    let id = section.required_string("id");
    section.close();
    Some((kind?, id?))
}

impl Escalation {
    fn templates(&self) -> impl Iterator<Item = &Template> {
        let texts = self.texts.iter().map(|(_, template)| template);
        std::iter::once(&self.summary).chain(texts).chain(self.labels.iter().map(|(_, template)| template))
    }

    fn body(&self, context: &Context, token: &str) -> Result<Value, RenderError> {
        let mut attributes = Map::new();
        let mut set = |key: &str, value: Value| attributes.insert(key.to_owned(), value);
        set("source", "api".into());
        set("summary", self.summary.render(context)?.into());
        set("external_id", token.into());
        set("deduplication_key", token.into());
        for (key, template) in &self.texts {
            set(key, template.render(context)?.into());
        }
        for (key, ids) in &self.lists {
            set(key, ids.clone().into());
        }
        if let Some((kind, id)) = &self.target {
            set("notification_target_type", (*kind).into());
            set("notification_target_id", id.clone().into());
        }
        let label = |(key, value): &(String, Template)| Ok(json!({ "key": key, "value": value.render(context)? }));
        let labels: Vec<Value> = self.labels.iter().map(label).collect::<Result<_, RenderError>>()?;
        if !labels.is_empty() {
            set("labels", labels.into());
        }
        Ok(json!({ "data": { "type": "alerts", "attributes": attributes } }))
    }

    async fn raise(&self, task: Task<'_>, network: &Network) -> Result<Report, Report> {
        let body = self.body(task.context, &token(task.episode));
        let body = body.map_err(|error| Report::Failed { reason: error.to_string() })?;
        let result = self.rootly.alerts(network, &[], Some(&body), task.timeout).await?;
        let alert = result.as_ref().ok().and_then(|answer| serde_json::from_slice::<Value>(&answer.body).ok());
        let alert = alert.and_then(|body| named(body.get("data")?));
        let report = judge(result, Repeat::Harmless, |status| (200..300).contains(&status));
        Ok(match (report, alert) {
            (Report::Succeeded { .. }, Some(alert)) => Report::Succeeded { detail: format!("raised alert {alert}") },
            (report, _) => report,
        })
    }
}

impl Action for Escalation {
    fn preview(&self, context: &Context) -> Result<String, RenderError> {
        self.body(context, "")?;
        let target = self.target.as_ref().map(|(kind, id)| format!(" for {kind} {id}")).unwrap_or_default();
        Ok(format!("raise an alert at {}{target}: {}", self.rootly.shown(), self.summary.render(context)?))
    }

    fn secret_names(&self) -> Vec<String> {
        vec![self.rootly.secret.clone()]
    }

    fn execute<'a>(&'a self, task: Task<'a>, network: &'a Network) -> BoxFuture<'a, Report> {
        Box::pin(async move {
            let report = self.raise(task, network).await.unwrap_or_else(|report| report);
            network.scrubbed(report)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incident::Incident;
    use crate::yaml::{Mistakes, parse};

    fn escalation(text: &str) -> (Option<Read>, String) {
        let mistakes = Mistakes::default();
        let node = parse(text, &mistakes).unwrap();
        let reader = Reader::new(&node, "", &mistakes);
        let read = read(&reader, Scope::Incident, &Surroundings::default());
        reader.close();
        (read, mistakes.to_string())
    }

    #[test]
    fn the_preview_says_who_is_paged() {
        let text = r#"{auth_secret: rootly, summary: "{{incident.id}} failed", target: {type: service, id: 7f}}"#;
        let (read, mistakes) = escalation(text);
        assert_eq!(mistakes, "");
        let incident = Incident::parse(br#"{"id": "60f1"}"#).unwrap();
        let preview = read.unwrap().action.preview(&Context::new(&incident)).unwrap();
        assert_eq!(preview, "raise an alert at api.rootly.com for Service 7f: 60f1 failed");
    }

    #[test]
    fn mistakes_are_named() {
        assert!(escalation("{auth_secret: a}").1.contains("summary: is required"));
        assert!(escalation("{auth_secret: a, summary: s, target: {type: Team, id: x}}").1.contains("EscalationPolicy"));
        assert!(escalation("{auth_secret: a, summary: s, on_unknown: reconcile}").1.contains("deduplication key"));
        assert!(escalation("{auth_secret: a, summary: $secret:b}").1.contains("no secret"));
    }
}
