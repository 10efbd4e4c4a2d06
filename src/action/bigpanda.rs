//! BigPanda's REST API v2, as far as actions use it: addresses, authorisation and its rate limit.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, Url};

use crate::action::network::Network;
use crate::action::rate::Rate;
use crate::secret::{Secret, SecretText};
use crate::transport::{Answer, Request};
use tokio::time::Instant;

/// Requests a second and endpoint that BigPanda documents.
const PER_SECOND: u32 = 5;
/// Requests at once after a quiet time.
const BURST: u32 = 5;
/// How long the fetched API key is used before it is fetched again.
const KEY_KEPT: Duration = Duration::from_mins(5);

/// The section `bigpanda` of the configuration.
#[derive(Clone, Debug)]
pub struct BigPandaSettings {
    /// `https://api.bigpanda.io`, or that of another region.
    pub base_url: Url,
    /// The environment whose incidents these are.
    pub environment_id: String,
    /// The API key; a reference to a secret.
    pub api_key: SecretText,
    /// The user the flow assigns incidents to.
    pub service_account_id: Option<String>,
}

/// BigPanda as actions reach it. Cheap to clone; clones share the rate limits.
#[derive(Clone, Debug)]
pub struct BigPanda {
    settings: Arc<BigPandaSettings>,
    rates: Arc<[Rate; Endpoint::ALL.len()]>,
    key: Arc<Mutex<Option<(Instant, Secret)>>>,
}

/// The endpoints in use; each has its own limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Comments,
    Activities,
    Resolve,
    Assignment,
    Snooze,
    Tags,
    Split,
    Incidents,
    Search,
}

impl Endpoint {
    /// In the order of their declaration.
    const ALL: [Self; 9] = [
        Self::Comments,
        Self::Activities,
        Self::Resolve,
        Self::Assignment,
        Self::Snooze,
        Self::Tags,
        Self::Split,
        Self::Incidents,
        Self::Search,
    ];

    /// What follows the incident's id in the address.
    const fn tail(self) -> Option<&'static str> {
        match self {
            Self::Comments => Some("comments"),
            Self::Activities => Some("activities"),
            Self::Resolve => Some("resolve"),
            Self::Assignment => Some("assignment"),
            Self::Snooze => Some("snooze"),
            Self::Tags => Some("tags"),
            Self::Split => Some("split"),
            Self::Incidents | Self::Search => None,
        }
    }
}

/// One call about one incident.
#[derive(Clone, Debug)]
pub(crate) struct Call<'a> {
    pub(crate) endpoint: Endpoint,
    pub(crate) method: Method,
    pub(crate) incident: &'a str,
    pub(crate) body: Option<serde_json::Value>,
    pub(crate) timeout: Duration,
}

impl BigPanda {
    /// BigPanda at these settings.
    pub fn new(settings: BigPandaSettings) -> Self {
        let rates = Endpoint::ALL.map(|_| Rate::new(PER_SECOND, BURST));
        Self { settings: Arc::new(settings), rates: Arc::new(rates), key: Arc::default() }
    }

    /// The settings.
    pub fn settings(&self) -> &BigPandaSettings {
        &self.settings
    }

    /// Waits for a turn at an endpoint.
    pub(crate) async fn turn(&self, endpoint: Endpoint) {
        if let Some(rate) = self.rates.get(endpoint as usize) {
            rate.turn().await;
        }
    }

    /// A call about an incident, below the environment.
    pub(crate) async fn call(&self, network: &Network, call: Call<'_>) -> Result<Request, String> {
        let environment = self.settings.environment_id.as_str();
        let mut path = vec!["resources", "v2.0", "environments", environment, "incidents", call.incident];
        path.extend(call.endpoint.tail());
        let body = call.body.map(|body| Bytes::from(body.to_string()));
        self.request(network, call.method, &path, &[], body, call.timeout).await
    }

    /// Takes note of a refusal: the API key may have been rotated.
    pub(crate) fn answered<E>(&self, result: &Result<Answer, E>) {
        if result.as_ref().is_ok_and(|answer| matches!(answer.status, 401 | 403)) {
            self.forget_key();
        }
    }

    /// GET of one page of an incident's activities.
    pub(crate) async fn activities(
        &self,
        network: &Network,
        incident: &str,
        page: u32,
        per_page: u32,
        timeout: Duration,
    ) -> Result<Request, String> {
        let path = ["resources", "v2.0", "incidents", incident, "activities"];
        let query = [("page", page.to_string()), ("per_page", per_page.to_string())];
        self.request(network, Method::GET, &path, &query, None, timeout).await
    }

    /// GET of a search among the incidents of the environment.
    pub(crate) async fn search(
        &self,
        network: &Network,
        query: &[(&str, String)],
        timeout: Duration,
    ) -> Result<Request, String> {
        let path = ["resources", "v2.0", "environments", self.settings.environment_id.as_str(), "incidents"];
        self.request(network, Method::GET, &path, query, None, timeout).await
    }

    /// Fetches the API key anew at its next use.
    fn forget_key(&self) {
        *self.key.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    async fn request(
        &self,
        network: &Network,
        method: Method,
        path: &[&str],
        query: &[(&str, String)],
        body: Option<Bytes>,
        timeout: Duration,
    ) -> Result<Request, String> {
        let mut url = self.settings.base_url.clone();
        url.path_segments_mut()
            .map_err(|()| "bigpanda.base_url cannot have a path".to_owned())?
            .pop_if_empty()
            .extend(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, self.authorization(network).await?);
        if body.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        Ok(Request { method, url, headers, body, timeout })
    }

    async fn authorization(&self, network: &Network) -> Result<HeaderValue, String> {
        let kept = self.key.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let key = match kept {
            Some((at, key)) if at.elapsed() < KEY_KEPT => key,
            Some(_) | None => self.fetch_key(network).await?,
        };
        let mut value = HeaderValue::from_str(&format!("Bearer {}", key.reveal()))
            .map_err(|_| "bigpanda.api_key holds characters that a header cannot carry".to_owned())?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// GET of an incident as it is now.
    pub(crate) async fn incident(
        &self,
        network: &Network,
        incident: &str,
        timeout: Duration,
    ) -> Result<Request, String> {
        let environment = self.settings.environment_id.as_str();
        let path = ["resources", "v2.0", "environments", environment, "incidents", incident];
        self.request(network, Method::GET, &path, &[], None, timeout).await
    }

    /// Takes note of an answer: a key that is refused may have been rotated.
    pub(crate) fn heard(&self, answer: &crate::transport::Answer) {
        if matches!(answer.status, 401 | 403) {
            self.forget_key();
        }
    }

    async fn fetch_key(&self, network: &Network) -> Result<Secret, String> {
        let fetched = self.settings.api_key.resolve(network.providers()).await;
        let key = fetched.map_err(|error| format!("nothing was sent: {error}"))?;
        *self.key.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), key.clone()));
        Ok(key)
    }
}
