//! `alert_slack` and `incident_slack`: a message to an incoming webhook of Slack.
//!
//! The URL of such a webhook is itself the secret; only its host and the first part of its path are ever shown. Values of an incident
//! stand in the message as text: they cannot mention a channel. A message that may have been posted is posted again
//! by default, since one too many does less harm than a flow that waits for a person; `on_unknown: hold` changes that.

use bytes::Bytes;
use futures::future::BoxFuture;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, Url};
use serde_json::{Map, Value};

use crate::action::definition::{OnUnknown, Scope, Surroundings, reader_on_unknown, template};
use crate::action::network::Network;
use crate::action::verdict::{Repeat, judge};
use crate::action::{Action, Read, Report, Secrets, Task};
use crate::template::{Context, Escape, RenderError, Template};
use crate::transport::{Request, shown};
use crate::yaml::Reader;

/// How much of a message stands in a preview.
const PREVIEW_CHARS: usize = 200;

#[derive(Debug)]
struct Slack {
    url: Template,
    /// Fields of the payload, `text` first.
    fields: Vec<(&'static str, Template)>,
}

pub(crate) fn read(reader: &Reader<'_, '_>, scope: Scope, _: &Surroundings) -> Option<Read> {
    if reader.string("type").as_deref() == Some("alert_slack") && scope == Scope::Incident {
        reader.wrong("type", "alert_slack stands under `alert_actions`; for an incident there is incident_slack");
    }
    if reader_on_unknown(reader) == Some(OnUnknown::Reconcile) {
        reader.wrong("on_unknown", "Slack cannot be asked what became of a message; use retry or hold");
    }
    let url = match reader.node_of(&["webhook_url", "url"]) {
        Some((key, _)) => template(reader, &key, scope, Some(Escape::Url)),
        None => reader.required("webhook_url").and(None),
    };
    let text = match reader.node_of(&["message", "text"]) {
        Some((key, _)) => template(reader, &key, scope, Some(Escape::Slack)),
        None => reader.required("message").and(None),
    };
    let optional =
        ["channel", "username", "icon_emoji"].map(|key| (key, template(reader, key, scope, Some(Escape::None))));
    let mut fields = vec![("text", text?)];
    fields.extend(optional.into_iter().filter_map(|(key, template)| Some((key, template?))));
    Some(Read { action: Box::new(Slack { url: url?, fields }), on_unknown: OnUnknown::Retry })
}

impl Slack {
    fn request(&self, task: Task<'_>, secrets: &Secrets) -> Result<Request, String> {
        let filled = |template: &Template| template.reveal(task.context, secrets).map_err(|error| error.to_string());
        // The parser's complaint would not quote the URL, but neither does it help.
        let url: Url = filled(&self.url)?.reveal().trim().parse().map_err(|_| "webhook_url is not a URL".to_owned())?;
        let mut payload = Map::new();
        for (key, template) in &self.fields {
            payload.insert((*key).to_owned(), filled(template)?.reveal().into());
        }
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let body = Some(Bytes::from(Value::Object(payload).to_string()));
        Ok(Request { method: Method::POST, url, headers, body, timeout: task.timeout })
    }
}

impl Action for Slack {
    fn preview(&self, context: &Context) -> Result<String, RenderError> {
        let url = self.url.render(context)?;
        let texts: Vec<_> =
            self.fields.iter().map(|(_, template)| template.render(context)).collect::<Result<_, _>>()?;
        let url = url.parse().map_or_else(|_| "Slack".to_owned(), |url| shown(&url));
        let text = texts.first().map(String::as_str).unwrap_or_default();
        let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(PREVIEW_CHARS).collect();
        Ok(format!("message to {url}: {line}"))
    }

    fn secret_names(&self) -> Vec<String> {
        let templates = std::iter::once(&self.url).chain(self.fields.iter().map(|(_, template)| template));
        templates.flat_map(Template::secret_names).map(str::to_owned).collect()
    }

    fn execute<'a>(&'a self, task: Task<'a>, network: &'a Network) -> BoxFuture<'a, Report> {
        Box::pin(async move {
            let names = self.secret_names();
            let mut path = String::new();
            let made = |secrets: &Secrets| {
                self.request(task, secrets).inspect(|request| request.url.path().clone_into(&mut path))
            };
            let result = match network.exchange(&names, made).await {
                Ok(result) => result,
                Err(report) => return report,
            };
            // A webhook that was revoked, whose successor the secret's provider may know.
            if result.as_ref().is_ok_and(|answer| matches!(answer.status, 404 | 410)) {
                network.forget_secrets(names.iter().map(String::as_str));
            }
            let report = judge(result, Repeat::Doubles, |status| (200..300).contains(&status));
            // The path alone is the secret, whatever host stands before it.
            network.scrubbed(report).with_text(|text| if path.len() > 1 { text.replace(&path, "/***") } else { text })
        })
    }
}
