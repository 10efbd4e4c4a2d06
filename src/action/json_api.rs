//! Requests to APIs that speak JSON, and what their answers say.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, Url};
use serde_json::Value;

use crate::action::http_call::sensitive;
use crate::action::verdict::refusal;
use crate::transport::{Answer, Request};
use crate::yaml::Reader;

/// What is asked of an API, whoever asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) method: &'a Method,
    pub(crate) path: &'a [&'a str],
    pub(crate) query: &'a [(&'a str, &'a str)],
    pub(crate) body: Option<&'a Value>,
    pub(crate) timeout: Duration,
}

/// A request below the base of an API.
#[derive(Debug)]
pub(crate) struct JsonCall<'c> {
    pub(crate) method: Method,
    pub(crate) base: &'c Url,
    /// Segments; each is escaped by itself. An empty one at the end makes a slash there.
    pub(crate) path: &'c [&'c str],
    pub(crate) query: &'c [(&'c str, &'c str)],
    /// The value of `Authorization`.
    pub(crate) authorization: Option<&'c str>,
    pub(crate) body: Option<&'c Value>,
    pub(crate) timeout: Duration,
}

impl JsonCall<'_> {
    /// The request; the text says why there is none.
    pub(crate) fn request(&self) -> Result<Request, String> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| format!("`{}` cannot have a path", self.base))?
            .pop_if_empty()
            .extend(self.path);
        if !self.query.is_empty() {
            url.query_pairs_mut().extend_pairs(self.query);
        }
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(authorization) = self.authorization {
            let value = sensitive(authorization).ok_or("the secret holds characters that a header cannot carry")?;
            headers.insert(AUTHORIZATION, value);
        }
        if self.body.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let body = self.body.map(|body| Bytes::from(body.to_string()));
        Ok(Request { method: self.method.clone(), url, headers, body, timeout: self.timeout })
    }
}

/// The JSON of an answer with this status, whole; the text says what is there instead.
pub(crate) fn json(answer: &Answer, status: u16) -> Result<Value, String> {
    if answer.status != status {
        return Err(refusal(answer));
    }
    if answer.cut_off {
        return Err("the answer is too long to be read whole".to_owned());
    }
    serde_json::from_slice(&answer.body).map_err(|error| format!("the answer is not JSON: {error}"))
}

/// An id, which APIs write as a number or as text.
pub(crate) fn id_of(value: &Value) -> Option<String> {
    match value {
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The base URL of an API under a key; `unless_given` where it is not written.
pub(crate) fn base_url(reader: &Reader<'_, '_>, key: &str, unless_given: Option<&str>) -> Option<Url> {
    if reader.node(key).is_none() {
        match unless_given {
            Some(url) => return url.parse().ok(),
            None => return reader.required(key).and(None),
        }
    }
    let wanted = "the URL of an API, such as https://api.example";
    reader.read(key, wanted, |node| {
        let url: Url = node.text()?.parse().ok()?;
        matches!(url.scheme(), "http" | "https").then_some(url)
    })
}

/// A JSON pointer (RFC 6901) under a key: where in an answer something stands.
pub(crate) fn pointer(reader: &Reader<'_, '_>, key: &str) -> Option<String> {
    let wanted = "a JSON pointer, such as /data/0/id (or \"\" for the whole answer)";
    reader.read(key, wanted, |node| {
        let text = node.text()?;
        (text.is_empty() || text.starts_with('/')).then(|| text.to_owned())
    })
}

/// The name of a secret under a key, bare or as `$secret:NAME`.
pub(crate) fn secret_name(reader: &Reader<'_, '_>, key: &str) -> Option<String> {
    let name = reader.required_string(key)?;
    Some(name.strip_prefix("$secret:").unwrap_or(&name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_and_query_are_escaped_one_by_one() {
        let base: Url = "https://api.example/v4/".parse().unwrap();
        let call = JsonCall {
            method: Method::GET,
            base: &base,
            path: &["events", "a/b", ""],
            query: &[("q", "x&y=z")],
            authorization: Some("Bearer hunter22"),
            body: None,
            timeout: Duration::from_secs(1),
        };
        let request = call.request().unwrap();
        assert_eq!(request.url.as_str(), "https://api.example/v4/events/a%2Fb/?q=x%26y%3Dz");
        assert!(!format!("{request:?} {:?}", request.headers).contains("hunter22"));
    }

    #[test]
    fn what_is_torn_or_of_another_status_is_no_json() {
        let answer = |status, body: &'static str, cut_off| Answer {
            status,
            headers: HeaderMap::new(),
            body: Bytes::from_static(body.as_bytes()),
            cut_off,
        };
        assert_eq!(
            json(&answer(200, r#"{"id": 7}"#, false), 200).map(|value| id_of(&value["id"])),
            Ok(Some("7".into()))
        );
        assert_eq!(json(&answer(503, "busy", false), 200), Err("HTTP 503: busy".to_owned()));
        assert!(json(&answer(200, r#"{"id": "#, false), 200).unwrap_err().contains("not JSON"));
        assert!(json(&answer(200, "[]", true), 200).unwrap_err().contains("too long"));
    }
}
