//! The way out: HTTP, the values of secrets, and BigPanda's address. Shadow mode has none.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::action::bigpanda::BigPanda;
use crate::action::{Report, Secrets};
use crate::secret::{Secret, SecretError, Secrets as Providers};
use crate::transport::{Answer, HttpClient, Request, TransportError};

/// How long a fetched secret is used before it is fetched again: a rotated one is picked up by then.
const SECRET_KEPT: Duration = Duration::from_mins(5);

/// A shorter value would blank out ordinary words, and is no secret worth the name.
const SCRUBBED_LENGTH_MIN: usize = 4;

/// The statuses of a target that does not take our word for who we are.
const REFUSALS: [u16; 2] = [401, 403];

/// What one request came to.
pub(crate) type Exchange = Result<Answer, TransportError>;

/// What actions need to touch the world. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Network {
    inner: Arc<Inner>,
    /// Takes out of a text what else must not be seen.
    scrub: fn(&str) -> String,
}

#[derive(Debug)]
struct Inner {
    http: HttpClient,
    /// By the file of the authority that each trusts in addition.
    trusting: Mutex<BTreeMap<PathBuf, HttpClient>>,
    providers: Providers,
    bigpanda: Option<BigPanda>,
    /// With the time of fetching. One that is not to be used any more has none, and stays for the sake of scrubbing.
    kept: Mutex<BTreeMap<String, (Option<Instant>, Secret)>>,
}

/// A secret could not be fetched, so nothing was sent.
#[derive(Debug, thiserror::Error)]
#[error("nothing was sent: {0}")]
pub struct SecretsUnavailable(#[from] SecretError);

impl Network {
    /// A way out through `http`.
    pub fn new(http: HttpClient, providers: Providers, bigpanda: Option<BigPanda>) -> Self {
        Self {
            inner: Arc::new(Inner { http, trusting: Mutex::default(), providers, bigpanda, kept: Mutex::default() }),
            scrub: str::to_owned,
        }
    }

    /// The same with what takes secrets of others, and other forms of its own, out of what targets quote.
    #[must_use]
    pub fn scrubbing_by(mut self, scrub: fn(&str) -> String) -> Self {
        self.scrub = scrub;
        self
    }

    /// The HTTP client.
    pub fn http(&self) -> &HttpClient {
        &self.inner.http
    }

    /// A client that also trusts the authority in this file; the common one where there is none. The text says why the
    /// file cannot be used.
    pub(crate) fn http_trusting(&self, ca: Option<&Path>) -> Result<HttpClient, String> {
        let Some(ca) = ca else { return Ok(self.inner.http.clone()) };
        let mut trusting = self.inner.trusting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(http) = trusting.get(ca) {
            return Ok(http.clone());
        }
        let http = self.inner.http.trusting(ca).map_err(|error| format!("nothing was sent: {error}"))?;
        trusting.insert(ca.to_owned(), http.clone());
        Ok(http)
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
            if let Some((at, _)) = kept.get_mut(name) {
                *at = None;
            }
            self.inner.providers.refused(name);
        }
    }

    /// Makes a request with the values of these secrets and sends it. Where the target refuses them they are fetched anew at their
    /// next use. The report says why nothing was sent.
    pub(crate) async fn exchange(
        &self,
        names: &[String],
        build: impl FnOnce(&Secrets) -> Result<Request, String> + Send,
    ) -> Result<Exchange, Report> {
        self.exchange_by(self.http(), names, build).await
    }

    /// The same by another HTTP client.
    pub(crate) async fn exchange_by(
        &self,
        http: &HttpClient,
        names: &[String],
        build: impl FnOnce(&Secrets) -> Result<Request, String> + Send,
    ) -> Result<Exchange, Report> {
        let secrets = self.secrets(names.iter().map(String::as_str)).await;
        let secrets = secrets.map_err(|error| Report::Retryable { reason: error.to_string(), after: None })?;
        let request = build(&secrets).map_err(|reason| self.scrubbed(Report::Failed { reason }))?;
        let result = http.send(request).await;
        if result.as_ref().is_ok_and(|answer| REFUSALS.contains(&answer.status)) {
            self.forget_secrets(names.iter().map(String::as_str));
        }
        Ok(result)
    }

    /// The report without any secret in use: targets quote what they were sent, and reports are recorded.
    pub(crate) fn scrubbed(&self, report: Report) -> Report {
        report.with_text(|text| self.scrubbed_text(text))
    }

    /// The same for any text that may quote the target.
    pub(crate) fn scrubbed_text(&self, text: String) -> String {
        let kept = self.inner.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let values = kept.values().map(|(_, secret)| secret.reveal());
        let values = values.filter(|value| value.len() >= SCRUBBED_LENGTH_MIN);
        let text = values.fold(text, |text, value| text.replace(value, "***"));
        (self.scrub)(&text)
    }

    fn kept(&self, name: &str) -> Option<Secret> {
        let kept = self.inner.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = |at: &Option<Instant>| at.is_some_and(|at| at.elapsed() < SECRET_KEPT);
        kept.get(name).filter(|(at, _)| fresh(at)).map(|(_, secret)| secret.clone())
    }

    async fn fetch(&self, name: &str) -> Result<Secret, SecretError> {
        let secret = self.inner.providers.resolve(name).await?;
        let mut kept = self.inner.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.insert(name.to_owned(), (Some(Instant::now()), secret.clone()));
        Ok(secret)
    }
}
