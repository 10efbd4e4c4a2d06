//! One HTTP request made of templates, as several types have it: `method`, `url`, `headers`, `body`, `idempotent`.
//!
//! Values go into the URL as components and into a JSON body as the inside of strings, so that nothing in an incident can
//! change the shape of the request. With `idempotent: true` the episode's key goes along as `Idempotency-Key`, and
//! repeats are harmless.

use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};

use crate::action::definition::{Scope, compiled, template};
use crate::action::verdict::Repeat;
use crate::action::{Secrets, Task};
use crate::template::{Context, Escape, RenderError, Template};
use crate::transport::{Request, shown};
use crate::yaml::{Kind, Reader};

/// The header that tells the target which requests are the same.
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// A request that is filled for each attempt.
#[derive(Debug)]
pub(crate) struct HttpCall {
    method: Method,
    url: Template,
    headers: Vec<(HeaderName, Template)>,
    body: Option<Template>,
    /// Whether the target recognises a repeat.
    pub(crate) repeat: Repeat,
}

impl HttpCall {
    /// Reads the keys of a request.
    pub(crate) fn read(reader: &Reader<'_, '_>, scope: Scope, method_unless_given: Method) -> Option<Self> {
        let method = method(reader, method_unless_given);
        reader.required("url");
        let url = template(reader, "url", scope, Some(Escape::Url));
        let headers = headers(reader, scope);
        let body = body(reader, scope);
        let repeat = if reader.boolean("idempotent") == Some(true) { Repeat::Harmless } else { Repeat::Doubles };
        Some(Self { method: method?, url: url?, headers: headers?, body: body?, repeat })
    }

    fn templates(&self) -> impl Iterator<Item = &Template> {
        std::iter::once(&self.url).chain(self.headers.iter().map(|(_, value)| value)).chain(&self.body)
    }

    /// The secrets it refers to.
    pub(crate) fn secret_names(&self) -> Vec<String> {
        self.templates().flat_map(Template::secret_names).map(str::to_owned).collect()
    }

    /// The episode stands somewhere in it.
    pub(crate) fn names_episode(&self) -> bool {
        self.templates().any(|template| template.undeclared().any(|name| name == "episode.key"))
    }

    /// Method and URL, as they may be shown; fails where the incident lacks what any part of the request needs.
    pub(crate) fn preview(&self, context: &Context) -> Result<String, RenderError> {
        let url = self.url.render(context)?;
        for template in self.templates().skip(1) {
            template.render(context)?;
        }
        let url = url.parse().map_or_else(|_| self.url.source().to_owned(), |url| shown(&url));
        Ok(format!("{} {url}", self.method))
    }

    /// The request of an attempt; the text says why there is none.
    pub(crate) fn request(&self, task: Task<'_>, secrets: &Secrets) -> Result<Request, String> {
        let filled = |template: &Template| template.reveal(task.context, secrets).map_err(|error| error.to_string());
        let url = filled(&self.url)?;
        let url: Url = url.reveal().parse().map_err(|error| format!("the URL is not one: {error}"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!("the URL begins with {}:, and only http and https can be asked", url.scheme()));
        }
        let mut headers = HeaderMap::new();
        for (name, template) in &self.headers {
            headers.append(name, sensitive(filled(template)?.reveal()).ok_or_else(|| unfit(name))?);
        }
        if self.repeat == Repeat::Harmless && !headers.contains_key(IDEMPOTENCY_KEY) {
            headers.insert(IDEMPOTENCY_KEY, sensitive(task.episode).ok_or_else(|| unfit(&IDEMPOTENCY_KEY))?);
        }
        let json = self.body.as_ref().is_some_and(|body| body.escape() == Escape::Json);
        if json && !headers.contains_key(CONTENT_TYPE) {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let body = self.body.as_ref().map(filled).transpose()?;
        let body = body.map(|body| Bytes::copy_from_slice(body.reveal().as_bytes()));
        Ok(Request { method: self.method.clone(), url, headers, body, timeout: task.timeout })
    }
}

/// A header that is not printed; `None` where the text holds what a header cannot carry.
pub(crate) fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn unfit(name: &HeaderName) -> String {
    format!("the value of the header {name} holds characters that a header cannot carry")
}

fn method(reader: &Reader<'_, '_>, unless_given: Method) -> Option<Method> {
    let methods = ["GET", "POST", "PUT", "PATCH", "DELETE"];
    if reader.node("method").is_none() {
        return Some(unless_given);
    }
    let word = reader.choice("method", &methods.map(|method| (method, method)))?;
    Method::from_bytes(word.as_bytes()).ok()
}

fn headers(reader: &Reader<'_, '_>, scope: Scope) -> Option<Vec<(HeaderName, Template)>> {
    let Some(section) = reader.child("headers") else { return Some(Vec::new()) };
    let mut headers = Some(Vec::new());
    for entry in section.rest() {
        let template = template(&section, &entry.key, scope, Some(Escape::None));
        let name = HeaderName::from_bytes(entry.key.as_bytes());
        if name.is_err() {
            section.wrong(&entry.key, "is not the name of a header");
        }
        match (name, template, &mut headers) {
            (Ok(name), Some(template), Some(headers)) => headers.push((name, template)),
            _ => headers = None,
        }
    }
    headers
}

/// `Some(None)`: no body.
#[expect(clippy::option_option, reason = "the outer one says whether it could be read, as everywhere in this file")]
fn body(reader: &Reader<'_, '_>, scope: Scope) -> Option<Option<Template>> {
    let Some((key, node)) = reader.node_of(&["body", "payload"]) else { return Some(None) };
    match node.kind() {
        Kind::Scalar(_) => template(reader, &key, scope, None).map(Some),
        // A body written as YAML is sent as JSON; templates stand inside its strings.
        Kind::List(_) | Kind::Map(_) => match serde_json::to_string(&node.value()) {
            Ok(json) => compiled(reader, &key, &json, scope, Some(Escape::Json)).map(Some),
            Err(error) => {
                reader.wrong(&key, format!("cannot be written as JSON: {error}"));
                None
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incident::Incident;
    use crate::secret::Secret;
    use crate::yaml::{Mistakes, parse};
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::time::Duration;

    fn request(text: &str) -> Result<Request, String> {
        let mistakes = Mistakes::default();
        let node = parse(text, &mistakes).unwrap();
        let reader = Reader::new(&node, "", &mistakes);
        let call = HttpCall::read(&reader, Scope::Alert, Method::POST).unwrap();
        reader.close();
        assert!(mistakes.is_empty(), "{mistakes}");
        let incident = Incident::parse(
            br#"{"id": "60f1", "alerts": [{"id": "a", "host": "h1/\"x\"", "tags": [{"name": "note", "value": "a\r\nX-Evil: 1"}]}]}"#,
        )
        .unwrap();
        let context = Context::new(&incident).for_alert(0).with_episode("60f1/a/0/c/hook").with_attempt(2);
        let secrets = Arc::new(BTreeMap::from([("token".to_owned(), Secret::new("hunter22"))]));
        let task = Task { context: &context, episode: "60f1/a/0/c/hook", timeout: Duration::from_secs(1) };
        call.request(task, &secrets)
    }

    #[test]
    fn a_request_is_filled_and_escaped() {
        let request = request(
            r#"{url: "http://t/{{host}}?try={{attempt}}", headers: {Authorization: "Bearer $secret:token"}, idempotent: true,
                body: '{"host": "{{host}}", "id": "{{incident.id}}"}'}"#,
        )
        .unwrap();
        assert_eq!(request.url.as_str(), "http://t/h1%2F%22x%22?try=2");
        assert_eq!(request.headers["authorization"], "Bearer hunter22");
        assert_eq!(request.headers["idempotency-key"], "60f1/a/0/c/hook");
        assert_eq!(request.headers["content-type"], "application/json");
        assert_eq!(request.body.as_deref(), Some(br#"{"host": "h1/\"x\"", "id": "60f1"}"#.as_slice()));
        assert!(!format!("{request:?} {:?}", request.headers).contains("hunter22"));
    }

    #[test]
    fn a_body_written_as_yaml_is_json() {
        let request = request(r#"{url: "http://t/", payload: {host: "{{host}}", n: 5}}"#).unwrap();
        assert_eq!(request.body.as_deref(), Some(br#"{"host":"h1/\"x\"","n":5}"#.as_slice()));
        assert!(!request.headers.contains_key("idempotency-key"));
    }

    #[test]
    fn an_incident_cannot_add_a_header() {
        let error = request(r#"{url: "http://t/", headers: {X-Note: "{{note}}"}}"#).unwrap_err();
        assert!(error.contains("x-note"), "{error}");
    }

    #[test]
    fn an_undefined_name_is_an_error() {
        let error = request(r#"{url: "http://t/{{nosuch}}"}"#).unwrap_err();
        assert!(error.contains("nosuch"), "{error}");
    }
}
