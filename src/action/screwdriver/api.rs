//! Screwdriver's API v4, as far as it is used: a token for a key, events, their builds.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::{Method, Url};
use tokio::time::Instant;

use crate::action::json_api::{Ask, JsonCall, json};
use crate::action::network::{Exchange, Network};
use crate::action::verdict::{Repeat, judge};
use crate::action::{Report, Secrets};
use crate::secret::Secret;

/// How long a token is used before another is asked for; the service gives them for longer.
const TOKEN_KEPT: Duration = Duration::from_mins(10);

/// One Screwdriver, and the key with which we are known there.
#[derive(Debug)]
pub(crate) struct Api {
    pub(crate) base: Url,
    /// The name of the secret that holds the key.
    pub(crate) secret: String,
    token: Mutex<Option<(Instant, Secret)>>,
}

impl Api {
    pub(crate) fn new(base: Url, secret: String) -> Self {
        Self { base, secret, token: Mutex::default() }
    }

    /// Sends a request below `/v4` with a token. The report says why it was not sent, and that nothing was.
    pub(crate) async fn ask(&self, network: &Network, ask: Ask<'_>) -> Result<Exchange, Report> {
        let token = self.token(network, ask.timeout).await?;
        let authorization = format!("Bearer {}", token.reveal());
        let path: Vec<&str> = std::iter::once("v4").chain(ask.path.iter().copied()).collect();
        let call = JsonCall {
            method: ask.method.clone(),
            base: &self.base,
            path: &path,
            query: ask.query,
            authorization: Some(&authorization),
            body: ask.body,
            timeout: ask.timeout,
        };
        let request = call.request().map_err(|reason| Report::Failed { reason })?;
        let result = network.http().send(request).await;
        if result.as_ref().is_ok_and(|answer| matches!(answer.status, 401 | 403)) {
            *self.token.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        Ok(result)
    }

    /// A text without key and token, which an answer might quote.
    pub(crate) fn scrubbed(&self, network: &Network, text: &str) -> String {
        let token = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        let text = token.as_ref().map_or_else(|| text.to_owned(), |(_, token)| text.replace(token.reveal(), "***"));
        network.scrubbed_text(text)
    }

    async fn token(&self, network: &Network, timeout: Duration) -> Result<Secret, Report> {
        let kept = self.token.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((at, token)) = kept
            && at.elapsed() < TOKEN_KEPT
        {
            return Ok(token);
        }
        let mut refused = None;
        // A refused key is fetched anew: once more with the new one.
        for _ in 0..2 {
            let result = self.log_in(network, timeout).await?;
            match result {
                Ok(answer) if matches!(answer.status, 401 | 403) => refused = Some(Ok(answer)),
                Ok(answer) if answer.status == 200 => return self.keep(network, &answer),
                // Asking for a token changes nothing, so no answer may be repeated.
                other => return Err(self.not_logged_in(network, other)),
            }
        }
        match refused {
            Some(result) => Err(self.not_logged_in(network, result)),
            None => Err(Report::Failed { reason: "no token".to_owned() }),
        }
    }

    async fn log_in(&self, network: &Network, timeout: Duration) -> Result<Exchange, Report> {
        let names = std::slice::from_ref(&self.secret);
        let made = |secrets: &Secrets| {
            let key = secrets.get(&self.secret).ok_or_else(|| format!("the secret `{}` is not there", self.secret))?;
            let call = JsonCall {
                method: Method::GET,
                base: &self.base,
                path: &["v4", "auth", "token"],
                query: &[("api_token", key.reveal())],
                authorization: None,
                body: None,
                timeout,
            };
            call.request()
        };
        network.exchange(names, made).await
    }

    fn keep(&self, network: &Network, answer: &crate::transport::Answer) -> Result<Secret, Report> {
        let token = json(answer, 200).ok().and_then(|body| Some(Secret::new(body.get("token")?.as_str()?)));
        let Some(token) = token else {
            let reason = "nothing was started: the answer to the log-in holds no token".to_owned();
            return Err(network.scrubbed(Report::Retryable { reason, after: None }));
        };
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), token.clone()));
        Ok(token)
    }

    fn not_logged_in(&self, network: &Network, result: Exchange) -> Report {
        let report = network.scrubbed(judge(result, Repeat::Harmless, |_| false));
        report.with_text(|text| format!("nothing was started: the log-in with `{}` failed: {text}", self.secret))
    }
}
