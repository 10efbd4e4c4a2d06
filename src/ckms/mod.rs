//! The client of the key server (CKMS): one HTTPS request per key, under the service's own certificate.
//!
//! What the server expects and answers is not publicly known, so everything about it is assumed and is a setting:
//! [`Wire`] holds method, headers, body, where in the answer the value stands and how it is encoded. Promised: three tries,
//! an error that says under which certificate and until when, and what usually causes it; no answer that may hold a value is
//! ever quoted. Absent: keeping values, which is the work of `secret`.

mod wire;

use std::time::Duration;

use futures::future::BoxFuture;
use zeroize::Zeroizing;

use crate::certificate::Shown;
use crate::secret::{KeyName, KeyServer};
use crate::transport::{Answer, HttpClient, Request, TransportError};

pub use wire::{Encoding, Wire, WireError};

/// How often a key is asked for before it is given up.
const TRIES: u32 = 3;
/// Before the second try, and twice as long before the third.
const PAUSE: Duration = Duration::from_millis(250);

/// Why the key server gave no value. The text holds nothing of an answer that was a success.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("the request cannot be made: {0}")]
    Request(WireError),
    #[error("{0}")]
    Transport(TransportError),
    #[error("it answered {status}{}", if text.is_empty() { String::new() } else { format!(" ({text})") })]
    Status { status: u16, text: String },
    #[error("it answered {status}, and {source}")]
    Answer { status: u16, source: WireError },
}

impl Refusal {
    /// Asking again may help.
    fn may_heal(&self) -> bool {
        match self {
            Self::Transport(_) => true,
            Self::Status { status, .. } => *status >= 500 || matches!(status, 408 | 425 | 429),
            Self::Request(_) | Self::Answer { .. } => false,
        }
    }
}

/// The key server.
#[derive(Debug)]
pub struct Ckms {
    http: HttpClient,
    shown: Shown,
    wire: Wire,
    timeout: Duration,
}

impl Ckms {
    /// Asks through `http`, which shows the certificate that `shown` describes.
    pub fn new(http: HttpClient, shown: Shown, wire: Wire, timeout: Duration) -> Self {
        Self { http, shown, wire, timeout }
    }

    async fn with_tries(&self, key: &KeyName) -> Result<Zeroizing<Vec<u8>>, String> {
        let mut tried = 1;
        loop {
            let refusal = match self.once(key).await {
                Ok(value) => return Ok(value),
                Err(refusal) => refusal,
            };
            if tried == TRIES || !refusal.may_heal() {
                return Err(self.explained(&refusal, tried));
            }
            tokio::time::sleep(PAUSE.saturating_mul(tried)).await;
            tried = tried.saturating_add(1);
        }
    }

    async fn once(&self, key: &KeyName) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        let filled = self.wire.request(key).map_err(Refusal::Request)?;
        let request = Request {
            method: filled.method,
            url: filled.url,
            headers: filled.headers,
            body: filled.body,
            timeout: self.timeout,
        };
        let answer = self.http.send(request).await.map_err(Refusal::Transport)?;
        let status = answer.status;
        if !(200..300).contains(&status) {
            return Err(Refusal::Status { status, text: Answer::excerpt(&answer) });
        }
        self.wire.value(&answer.body).map_err(|source| Refusal::Answer { status, source })
    }

    /// What an operator needs: what happened, under which certificate, and the four usual causes.
    fn explained(&self, refusal: &Refusal, tried: u32) -> String {
        let tries = if tried == 1 { "1 try".to_owned() } else { format!("{tried} tries") };
        format!(
            "{refusal}, after {tries}; asked with the {}; usual causes: (1) the environment (CKMS_ENV, ckms_environment) is not \
             the key's, (2) the certificate is missing, over, or of another service than the one that was let in, (3) the two \
             CKMS flags of the Athenz service are not both set, (4) the key group does not grant this service access",
            self.shown.described()
        )
    }
}

impl KeyServer for Ckms {
    fn fetch<'k>(&'k self, key: &'k KeyName) -> BoxFuture<'k, Result<Zeroizing<Vec<u8>>, String>> {
        Box::pin(self.with_tries(key))
    }
}
