//! `comment_on_incident`: writes a comment on the incident in BigPanda.
//!
//! BigPanda has no idempotency key, so the text carries a token made from the episode, and before a comment of unknown
//! fate is repeated the token is looked for among the incident's activities.

use std::time::Duration;

use futures::future::BoxFuture;
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::action::bigpanda::{BigPanda, Call, Endpoint};
use crate::action::definition::{OnUnknown, Scope, Surroundings, template};
use crate::action::network::Network;
use crate::action::verdict::{Repeat, judge, refusal};
use crate::action::{Action, Read, Reconciled, Report, Task};
use crate::template::{Context, Escape, RenderError, Template};
use crate::transport::Answer;
use crate::yaml::Reader;

/// Activities asked for at once.
const PER_PAGE: u32 = 100;
/// Pages looked through; an incident with more activities is left to a person.
const PAGES_MAX: u32 = 20;
/// How much of a comment stands in a preview.
const PREVIEW_CHARS: usize = 200;
/// How long a comment may take to appear among the activities.
const APPEARS_WITHIN: Duration = Duration::from_secs(2);

#[derive(Debug)]
struct Comment {
    text: Template,
}

pub(crate) fn read(reader: &Reader<'_, '_>, scope: Scope, surroundings: &Surroundings) -> Option<Read> {
    if !surroundings.bigpanda {
        reader
            .wrong("type", "comment_on_incident needs `bigpanda` (base_url, environment_id, api_key) to be configured");
    }
    let Some((key, _)) = reader.node_of(&["comment", "message", "text"]) else {
        reader.required("comment");
        return None;
    };
    let text = template(reader, &key, scope, Some(Escape::None))?;
    Some(Read { action: Box::new(Comment { text }), on_unknown: OnUnknown::Reconcile })
}

impl Action for Comment {
    fn preview(&self, context: &Context) -> Result<String, RenderError> {
        let text = self.text.render(context)?;
        let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(PREVIEW_CHARS).collect();
        Ok(format!("comment on incident {}: {line}", context.incident().id))
    }

    fn secret_names(&self) -> Vec<String> {
        self.text.secret_names().map(str::to_owned).collect()
    }

    fn admitted<'a>(&'a self, network: &'a Network) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            if let Some(bigpanda) = network.bigpanda() {
                bigpanda.turn(Endpoint::Comments).await;
            }
        })
    }

    fn execute<'a>(&'a self, task: Task<'a>, network: &'a Network) -> BoxFuture<'a, Report> {
        Box::pin(async move {
            let Some(bigpanda) = network.bigpanda() else { return unconfigured() };
            let text = match self.text.render(task.context) {
                Ok(text) => format!("{text}\n\n{}", token(task.episode)),
                Err(error) => return Report::Failed { reason: error.to_string() },
            };
            let incident = &task.context.incident().id;
            let call = Call {
                endpoint: Endpoint::Comments,
                method: Method::POST,
                incident,
                body: Some(json!({ "comment": text })),
                timeout: task.timeout,
            };
            match bigpanda.call(network, call).await {
                Ok(request) => {
                    let result = network.http().send(request).await;
                    bigpanda.answered(&result);
                    network.scrubbed(judge(result, Repeat::Doubles, |status| (200..300).contains(&status)))
                }
                Err(reason) => Report::Retryable { reason, after: None },
            }
        })
    }

    fn reconcile<'a>(&'a self, task: Task<'a>, network: &'a Network) -> BoxFuture<'a, Reconciled> {
        Box::pin(async move {
            let Some(bigpanda) = network.bigpanda() else {
                return Reconciled::CannotTell { reason: "bigpanda is not configured".to_owned() };
            };
            tokio::time::sleep(APPEARS_WITHIN).await;
            look_for(&token(task.episode), task, bigpanda, network).await
        })
    }
}

async fn look_for(token: &str, task: Task<'_>, bigpanda: &BigPanda, network: &Network) -> Reconciled {
    let incident = &task.context.incident().id;
    for page in 1..=PAGES_MAX {
        bigpanda.turn(Endpoint::Activities).await;
        let request = match bigpanda.activities(network, incident, page, PER_PAGE, task.timeout).await {
            Ok(request) => request,
            Err(reason) => return Reconciled::CannotTell { reason },
        };
        let result = network.http().send(request).await;
        bigpanda.answered(&result);
        let answer = match result {
            Ok(answer) => answer,
            Err(error) => return Reconciled::CannotTell { reason: error.to_string() },
        };
        match page_of(&answer, token) {
            Page::Holds => return Reconciled::Done { detail: format!("{token} stands among the activities") },
            Page::Without { last: false } => {}
            Page::Without { last: true } => {
                return Reconciled::NotDone { detail: format!("{token} is not among the activities") };
            }
            Page::Unreadable(reason) => return Reconciled::CannotTell { reason },
        }
    }
    Reconciled::CannotTell { reason: format!("the incident has more than {} activities", PAGES_MAX * PER_PAGE) }
}

#[derive(Debug, PartialEq, Eq)]
enum Page {
    Holds,
    Without { last: bool },
    Unreadable(String),
}

fn page_of(answer: &Answer, token: &str) -> Page {
    if answer.status != 200 {
        return Page::Unreadable(format!("the activities cannot be read: {}", refusal(answer)));
    }
    if String::from_utf8_lossy(&answer.body).contains(token) {
        return Page::Holds;
    }
    if answer.cut_off {
        return Page::Unreadable("a page of activities is too long to be read whole".to_owned());
    }
    match activities(&answer.body) {
        Some(count) => Page::Without { last: count < PER_PAGE as usize },
        None => Page::Unreadable("the activities are not a list".to_owned()),
    }
}

/// How many activities a page lists: a bare list, or one under the only key that holds a list.
fn activities(body: &[u8]) -> Option<usize> {
    match serde_json::from_slice(body).ok()? {
        Value::Array(items) => Some(items.len()),
        Value::Object(fields) => {
            let mut lists = fields.values().filter_map(Value::as_array);
            let list = lists.next()?;
            lists.next().is_none().then_some(list.len())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

/// Short, and the same for every attempt of an episode.
pub(crate) fn token(episode: &str) -> String {
    let digest = Sha256::digest(episode.as_bytes());
    let (start, _) = digest.split_first_chunk::<8>().expect("a SHA-256 has 32 bytes");
    format!("[kafka_consumer {:016x}]", u64::from_be_bytes(*start))
}

pub(crate) fn unconfigured() -> Report {
    Report::Failed { reason: "bigpanda is not configured".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use reqwest::header::HeaderMap;

    fn page(status: u16, body: &str) -> Page {
        let body = Bytes::copy_from_slice(body.as_bytes());
        page_of(&Answer { status, headers: HeaderMap::new(), body, cut_off: false }, "[token]")
    }

    #[test]
    fn the_token_is_found_in_whatever_shape_activities_have() {
        assert_eq!(page(200, r#"[{"text": "done [token]"}]"#), Page::Holds);
        assert_eq!(page(200, r#"{"items": [{"params": {"comment": "[token]"}}]}"#), Page::Holds);
        assert_eq!(page(200, r#"{"items": [], "total": 0}"#), Page::Without { last: true });
        assert_eq!(page(200, &serde_json::json!(vec![1; 100]).to_string()), Page::Without { last: false });
    }

    #[test]
    fn what_cannot_be_read_is_never_taken_for_not_done() {
        for (status, body) in [(500, "[]"), (200, "<html>"), (200, "{}"), (200, r#"{"a": [], "b": []}"#)] {
            assert!(matches!(page(status, body), Page::Unreadable(_)), "{status} {body}");
        }
    }

    #[test]
    fn the_token_depends_on_the_episode_alone() {
        assert_eq!(token("a"), token("a"));
        assert_ne!(token("a"), token("b"));
        assert_eq!(token("a").len(), "[kafka_consumer ]".len() + 16);
    }
}
