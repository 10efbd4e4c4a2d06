//! The section `ckms`: how the key server is spoken to. Its wire format is assumed, so all of it can be set.

use std::time::Duration;

use crate::yaml::{Node, Reader};

/// How the key server is spoken to; templates in URL, headers and body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ckms {
    /// Where to.
    pub url: String,
    /// `POST` or `GET`.
    pub method: String,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// The body; `None` sends none.
    pub body: Option<String>,
    /// Where in the JSON answer the value stands; `None`: the answer is the value.
    pub pointer: Option<String>,
    /// The value is base64.
    pub base64: bool,
    /// For one try.
    pub timeout: Duration,
}

impl Default for Ckms {
    fn default() -> Self {
        Self {
            url: "https://dek.ckms.ouroath.com:4443/rksd/v1/access".to_owned(),
            method: "POST".to_owned(),
            headers: vec![("Content-Type".to_owned(), "application/json".to_owned())],
            body: Some(
                r#"{"keyGroup": "{{group}}", "keyName": "{{key}}", "environment": "{{environment}}"}"#.to_owned(),
            ),
            pointer: Some("/secret".to_owned()),
            base64: true,
            timeout: Duration::from_secs(5),
        }
    }
}

pub(super) fn read(root: &Reader<'_, '_>) -> Ckms {
    let mut ckms = Ckms::default();
    let Some(reader) = root.child("ckms") else { return ckms };
    ckms.url = reader.string("url").unwrap_or(ckms.url);
    if !ckms.url.starts_with("https://") {
        reader.wrong(
            "url",
            "expected a URL that begins with https://: the certificate is what the key server knows us by",
        );
    }
    ckms.method = reader.choice("method", &[("POST", "POST"), ("GET", "GET")]).map_or(ckms.method, str::to_owned);
    if ckms.method == "GET" {
        ckms.body = None;
    }
    ckms.headers = reader.read("headers", "a map of names and values", pairs).unwrap_or(ckms.headers);
    ckms.body = reader.string("body").or(ckms.body);
    ckms.pointer = match reader.string("pointer") {
        Some(pointer) if pointer.is_empty() => None,
        Some(pointer) => {
            if !pointer.starts_with('/') {
                reader
                    .wrong("pointer", "a JSON pointer begins with /; an empty one means that the answer is the value");
            }
            Some(pointer)
        }
        None => ckms.pointer,
    };
    ckms.base64 = reader.choice("encoding", &[("base64", true), ("plain", false)]).unwrap_or(ckms.base64);
    ckms.timeout = reader.duration("timeout").unwrap_or(ckms.timeout);
    reader.close();
    ckms
}

fn pairs(node: &Node) -> Option<Vec<(String, String)>> {
    node.as_map()?.iter().map(|entry| Some((entry.key.clone(), entry.value.text()?.to_owned()))).collect()
}
