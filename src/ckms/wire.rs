//! What is sent to the key server and how its answer is read: all of it settings, all of it assumed. Pure.
//!
//! In URL, headers and body `{{group}}`, `{{key}}` and `{{environment}}` stand for the key's; nothing else may stand in double
//! braces. In a URL they are percent-encoded, in a body escaped as the inside of a JSON string.

use base64::Engine as _;
use bytes::Bytes;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};
use zeroize::Zeroizing;

use crate::secret::KeyName;

/// How the value stands in the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// As it is.
    Plain,
    /// Standard base64, with or without padding.
    Base64,
}

/// The assumed wire format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wire {
    /// Where to, a template.
    pub url: String,
    /// Method.
    pub method: Method,
    /// Names with templates.
    pub headers: Vec<(String, String)>,
    /// A template; `None` sends none.
    pub body: Option<String>,
    /// RFC 6901: where in the JSON answer the value stands. `None`: the whole answer is the value.
    pub pointer: Option<String>,
    /// How the value stands there.
    pub encoding: Encoding,
}

/// Why a request cannot be made or an answer not be read. Never quotes a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// A template names something that does not exist.
    #[error("`{{{{{0}}}}}` is none of {{{{group}}}}, {{{{key}}}}, {{{{environment}}}}")]
    UnknownName(String),
    /// The URL is none.
    #[error("`{0}` is not a URL")]
    Url(String),
    /// A header cannot be sent.
    #[error("`{0}` cannot be a header")]
    Header(String),
    /// The answer is no JSON.
    #[error("the answer is not JSON (ckms.pointer says it is)")]
    NotJson,
    /// Nothing stands at the pointer.
    #[error("there is no text at {0} in the answer (ckms.pointer)")]
    NothingThere(String),
    /// The value is not encoded as it should be.
    #[error("the value is not base64 (ckms.encoding)")]
    NotBase64,
}

/// A request without its templates.
#[derive(Debug)]
pub(super) struct Filled {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Bytes>,
}

impl Wire {
    /// Finds mistakes in the templates before anything is sent.
    pub fn check(&self) -> Result<(), WireError> {
        let (group, key, environment) = ("g".to_owned(), "k".to_owned(), "e".to_owned());
        self.request(&KeyName { group, key, environment }).map(|_| ())
    }

    pub(super) fn request(&self, key: &KeyName) -> Result<Filled, WireError> {
        let url = fill(&self.url, key, percent)?;
        let mut headers = HeaderMap::new();
        for (name, template) in &self.headers {
            let wrong = || WireError::Header(name.clone());
            let value = fill(template, key, str::to_owned)?;
            let name = HeaderName::try_from(name.as_str()).map_err(|_| wrong())?;
            headers.append(name, HeaderValue::try_from(value).map_err(|_| wrong())?);
        }
        let body = self.body.as_ref().map(|template| fill(template, key, inside_json)).transpose()?;
        let url = Url::parse(&url).ok().filter(Url::has_host).ok_or(WireError::Url(url))?;
        Ok(Filled { method: self.method.clone(), url, headers, body: body.map(Bytes::from) })
    }

    /// The value in an answer.
    pub(super) fn value(&self, answer: &[u8]) -> Result<Zeroizing<Vec<u8>>, WireError> {
        let found = match &self.pointer {
            None => Zeroizing::new(answer.to_vec()),
            Some(pointer) => {
                let document: serde_json::Value = serde_json::from_slice(answer).map_err(|_| WireError::NotJson)?;
                let text = document.pointer(pointer).and_then(serde_json::Value::as_str);
                Zeroizing::new(text.ok_or_else(|| WireError::NothingThere(pointer.clone()))?.as_bytes().to_vec())
            }
        };
        match self.encoding {
            Encoding::Plain => Ok(found),
            Encoding::Base64 => {
                let bare = found.trim_ascii().split(|byte| *byte == b'=').next().unwrap_or_default();
                let decoded = base64::engine::general_purpose::STANDARD_NO_PAD.decode(bare);
                decoded.map(Zeroizing::new).map_err(|_| WireError::NotBase64)
            }
        }
    }
}

fn fill(template: &str, key: &KeyName, escape: impl Fn(&str) -> String) -> Result<String, WireError> {
    let mut filled = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((name, after)) = after.split_once("}}") else { break };
        let value = match name.trim() {
            "group" => &key.group,
            "key" => &key.key,
            "environment" => &key.environment,
            other => return Err(WireError::UnknownName(other.to_owned())),
        };
        filled.push_str(before);
        filled.push_str(&escape(value));
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}

fn inside_json(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted.trim_start_matches('"').strip_suffix('"').unwrap_or_default().to_owned()
}

fn percent(text: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    text.bytes().map(|byte| if plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire() -> Wire {
        Wire {
            url: "https://keys.example:4443/v1/{{group}}".into(),
            method: Method::POST,
            headers: vec![("X-Environment".into(), "{{ environment }}".into())],
            body: Some(r#"{"group": "{{group}}", "key": "{{key}}"}"#.into()),
            pointer: Some("/data/secret".into()),
            encoding: Encoding::Base64,
        }
    }

    fn key(group: &str) -> KeyName {
        KeyName { group: group.into(), key: "k".into(), environment: "aws".into() }
    }

    #[test]
    fn a_request_is_filled_and_nothing_in_a_name_leaves_its_place() {
        let filled = wire().request(&key("a/b\"c")).expect("a request");
        assert_eq!(filled.url.as_str(), "https://keys.example:4443/v1/a%2Fb%22c");
        assert_eq!(filled.headers["x-environment"], "aws");
        let body: serde_json::Value = serde_json::from_slice(&filled.body.expect("a body")).expect("JSON");
        assert_eq!(body, serde_json::json!({"group": "a/b\"c", "key": "k"}));
    }

    #[test]
    fn a_mistake_in_a_template_is_found_before_anything_is_sent() {
        let unknown = Wire { body: Some("{{secret}}".into()), ..wire() };
        assert_eq!(
            unknown.check().expect_err("unknown").to_string(),
            "`{{secret}}` is none of {{group}}, {{key}}, {{environment}}"
        );
        assert!(matches!(Wire { url: "keys".into(), ..wire() }.check(), Err(WireError::Url(_))));
        let header = Wire { headers: vec![("a b".into(), String::new())], ..wire() };
        assert_eq!(header.check(), Err(WireError::Header("a b".into())));
    }

    #[test]
    fn the_value_is_read_where_it_stands_and_an_answer_is_never_quoted() {
        let read = |wire: &Wire, answer: &str| wire.value(answer.as_bytes()).map(|value| value.to_vec());
        assert_eq!(read(&wire(), r#"{"data": {"secret": "aHVudGVyMg=="}}"#), Ok(b"hunter2".to_vec()));
        assert_eq!(read(&wire(), r#"{"data": {"secret": "aHVudGVyMg"}}"#), Ok(b"hunter2".to_vec()));
        let plain = Wire { encoding: Encoding::Plain, pointer: None, ..wire() };
        assert_eq!(read(&plain, "hunter2"), Ok(b"hunter2".to_vec()));
        for answer in ["hunter2", r#"{"data": "hunter2"}"#, r#"{"data": {"secret": "hunter2-*"}}"#] {
            let error = read(&wire(), answer).expect_err("no value").to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
