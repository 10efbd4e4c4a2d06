//! Rootly's API v1 (JSON:API), as far as it is used: alerts.

use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Url};
use serde_json::Value;

use crate::action::json_api::{JsonCall, base_url, id_of, secret_name};
use crate::action::network::{Exchange, Network};
use crate::action::{Report, Secrets};
use crate::secret::Secret;
use crate::yaml::Reader;

/// The public service.
const API_URL: &str = "https://api.rootly.com";
/// JSON:API's own type of content, which Rootly asks for.
const JSON_API: HeaderValue = HeaderValue::from_static("application/vnd.api+json");

/// One Rootly, and the key with which we are known there.
#[derive(Debug)]
pub(crate) struct Rootly {
    base: Url,
    /// The name of the secret that holds the key.
    pub(crate) secret: String,
}

impl Rootly {
    /// Reads `api_url` and `auth_secret`.
    pub(crate) fn read(reader: &Reader<'_, '_>) -> Option<Self> {
        let base = base_url(reader, "api_url", Some(API_URL));
        let secret = secret_name(reader, "auth_secret");
        Some(Self { base: base?, secret: secret? })
    }

    /// Where it is, as it may be shown.
    pub(crate) fn shown(&self) -> &str {
        self.base.host_str().unwrap_or_default()
    }

    /// Asks for alerts, or makes one where there is a body. The report says why nothing was sent.
    pub(crate) async fn alerts(
        &self,
        network: &Network,
        query: &[(&str, &str)],
        body: Option<&Value>,
        timeout: Duration,
    ) -> Result<Exchange, Report> {
        let made = |secrets: &Secrets| {
            let key = secrets.get(&self.secret).ok_or_else(|| format!("the secret `{}` is not there", self.secret))?;
            let authorization = Secret::new(format!("Bearer {}", key.reveal()));
            let call = JsonCall {
                method: if body.is_some() { Method::POST } else { Method::GET },
                base: &self.base,
                path: &["v1", "alerts"],
                query,
                authorization: Some(authorization.reveal()),
                body,
                timeout,
            };
            let mut request = call.request()?;
            request.headers.insert(ACCEPT, JSON_API);
            if body.is_some() {
                request.headers.insert(CONTENT_TYPE, JSON_API);
            }
            Ok(request)
        };
        network.exchange(std::slice::from_ref(&self.secret), made).await
    }
}

/// Id and summary of an alert in one text; `None` where it has no id.
pub(crate) fn named(alert: &Value) -> Option<String> {
    let id = id_of(alert.get("id")?)?;
    let attribute = |name: &str| alert.pointer(&format!("/attributes/{name}")).and_then(Value::as_str);
    let id = attribute("short_id").unwrap_or(&id);
    Some(attribute("summary").map_or_else(|| id.to_owned(), |summary| format!("{id} ({summary})")))
}
