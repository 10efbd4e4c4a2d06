//! The way out: HTTP, the values of secrets, and BigPanda's address. Shadow mode has none.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::action::bigpanda::BigPanda;
use crate::action::{Report, Secrets};
use crate::secret::{Secret, SecretError, Secrets as Providers};
use crate::transport::HttpClient;

/// How long a fetched secret is used before it is fetched again: a rotated one is picked up by then.
const SECRET_KEPT: Duration = Duration::from_mins(5);

/// A shorter value would blank out ordinary words, and is no secret worth the name.
const SCRUBBED_LENGTH_MIN: usize = 4;

/// What actions need to touch the world. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Network {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    http: HttpClient,
    providers: Providers,
    bigpanda: Option<BigPanda>,
    kept: Mutex<BTreeMap<String, (Instant, Secret)>>,
}

/// A secret could not be fetched, so nothing was sent.
#[derive(Debug, thiserror::Error)]
#[error("nothing was sent: {0}")]
pub struct SecretsUnavailable(#[from] SecretError);

impl Network {
    /// A way out through `http`.
    pub fn new(http: HttpClient, providers: Providers, bigpanda: Option<BigPanda>) -> Self {
        Self { inner: Arc::new(Inner { http, providers, bigpanda, kept: Mutex::default() }) }
    }

    /// The HTTP client.
    pub fn http(&self) -> &HttpClient {
        &self.inner.http
    }

    /// Where secrets come from.
    pub(crate) fn providers(&self) -> &Providers {
        &self.inner.providers
    }

    /// BigPanda, where it is configured.
    pub fn bigpanda(&self) -> Option<&BigPanda> {
        self.inner.bigpanda.as_ref()
    }

    /// The values of these secrets, from memory where they are fresh.
    pub async fn secrets<'n>(&self, names: impl Iterator<Item = &'n str>) -> Result<Secrets, SecretsUnavailable> {
        let mut values = BTreeMap::new();
        for name in names {
            let secret = match self.kept(name) {
                Some(secret) => secret,
                None => self.fetch(name).await?,
            };
            values.insert(name.to_owned(), secret);
        }
        Ok(Arc::new(values))
    }

    /// Fetches these secrets anew at their next use: the target refused them.
    pub fn forget_secrets<'n>(&self, names: impl Iterator<Item = &'n str>) {
        let mut kept = self.inner.kept.lock().unwrap_or_else(PoisonError::into_inner);
        for name in names {
            kept.remove(name);
        }
    }

    /// The report without any secret in use: targets quote what they were sent, and reports are recorded.
    pub(crate) fn scrubbed(&self, report: Report) -> Report {
        let kept = self.inner.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let long =
            || kept.values().map(|(_, secret)| secret.reveal()).filter(|value| value.len() >= SCRUBBED_LENGTH_MIN);
        let scrub = |text: String| long().fold(text, |text, value| text.replace(value, "***"));
        report.with_text(scrub)
    }

    fn kept(&self, name: &str) -> Option<Secret> {
        let kept = self.inner.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(name).filter(|(at, _)| at.elapsed() < SECRET_KEPT).map(|(_, secret)| secret.clone())
    }

    async fn fetch(&self, name: &str) -> Result<Secret, SecretError> {
        let secret = self.inner.providers.resolve(name).await?;
        let mut kept = self.inner.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.insert(name.to_owned(), (Instant::now(), secret.clone()));
        Ok(secret)
    }
}
