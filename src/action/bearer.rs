//! An API that knows us by a token that goes along with every request.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::{Method, Url};

use crate::action::json_api::{Ask, JsonCall, secret_name};
use crate::action::network::{Exchange, Network};
use crate::action::{Report, Secrets};
use crate::secret::Secret;
use crate::transport::Answer;
use crate::yaml::Reader;

/// One such API, and the token with which we are known there.
#[derive(Debug)]
pub(crate) struct Bearer {
    base: Url,
    /// The name of the secret that holds the token.
    pub(crate) secret: String,
    /// An authority that is trusted for this API alone.
    ca: Option<PathBuf>,
}

impl Bearer {
    /// The API at `base`, with `auth_secret` as it is configured.
    pub(crate) fn read(reader: &Reader<'_, '_>, base: Option<Url>, ca: Option<PathBuf>) -> Option<Self> {
        let secret = secret_name(reader, "auth_secret");
        Some(Self { base: base?, secret: secret?, ca })
    }

    /// Where it is.
    pub(crate) fn shown(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// Sends a request. The report says why it was not sent, and that nothing was.
    pub(crate) async fn ask(&self, network: &Network, ask: Ask<'_>) -> Result<Exchange, Report> {
        let made = |secrets: &Secrets| {
            let token =
                secrets.get(&self.secret).ok_or_else(|| format!("the secret `{}` is not there", self.secret))?;
            let authorization = Secret::new(format!("Bearer {}", token.reveal()));
            let call = JsonCall {
                method: ask.method.clone(),
                base: &self.base,
                path: ask.path,
                query: ask.query,
                authorization: Some(authorization.reveal()),
                body: ask.body,
                timeout: ask.timeout,
            };
            call.request()
        };
        let http = network.http_trusting(self.ca.as_deref());
        let http = http.map_err(|reason| Report::Retryable { reason, after: None })?;
        network.exchange_by(&http, std::slice::from_ref(&self.secret), made).await
    }

    /// Reads something. The text says why there is no answer.
    pub(crate) async fn get(
        &self,
        network: &Network,
        path: &[&str],
        query: &[(&str, &str)],
        timeout: Duration,
    ) -> Result<Answer, String> {
        let ask = Ask { method: &Method::GET, path, query, body: None, timeout };
        let exchange = self.ask(network, ask).await.map_err(|report| report.text().to_owned())?;
        exchange.map_err(|error| error.to_string())
    }
}
