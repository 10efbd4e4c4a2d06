//! The HTTP client of actions and secrets.
//!
//! Promised: names are resolved by the same resolver as Kafka's (A records only), TLS is graviola's with the web roots
//! and the configured private ones, a request goes out at most once, nothing is read beyond a cap, and every failure
//! says whether the target may have seen the request: that is what decides between a repeat and an unknown outcome.
//! Absent: retries, redirects, proxies, cookies, compression, and any judgement of a status code.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, Url};
use tokio_rustls::rustls::client::{ResolvesClientCert, Resumption};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{ClientConfig, SignatureScheme};

use crate::client::tls::Tls;
use crate::client::{Resolver, TlsError, TlsSettings};

/// How long a name may take to resolve and a connection, TLS included, to be made.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// How long an idle connection is kept.
const IDLE_KEPT: Duration = Duration::from_secs(30);
/// Idle connections kept per host.
const IDLE_PER_HOST_MAX: usize = 8;

/// What the client needs to know once.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// Bytes of a response body that are read; the rest is cut off.
    pub response_bytes_max: usize,
    /// The `User-Agent`.
    pub user_agent: String,
    /// What puts headers of its own on a request, such as the trace that it belongs to.
    pub stamp: fn(&mut HeaderMap),
}

impl Default for HttpSettings {
    fn default() -> Self {
        let user_agent = concat!("kafka_consumer/", env!("CARGO_PKG_VERSION")).to_owned();
        Self { response_bytes_max: 1 << 20, user_agent, stamp: |_| {} }
    }
}

/// A request, complete: nothing is added but what HTTP itself and [`HttpSettings::stamp`] ask for.
#[derive(Clone)]
pub struct Request {
    /// Method.
    pub method: Method,
    /// Where to.
    pub url: Url,
    /// Headers.
    pub headers: HeaderMap,
    /// Body; `None` sends none.
    pub body: Option<Bytes>,
    /// From the first look-up to the last byte of the response.
    pub timeout: Duration,
}

/// Without headers, body and the query of the URL, in all of which secrets may stand.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, shown(&self.url))
    }
}

/// A URL as it may be shown: scheme, host, port and the first part of its path. Web hooks carry their secret in the rest.
pub fn shown(url: &Url) -> String {
    let first = url.path_segments().and_then(|mut parts| parts.next()).unwrap_or_default();
    let more =
        if url.path().trim_start_matches('/').len() > first.len() || url.query().is_some() { "/…" } else { "" };
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}/{first}{more}", url.scheme(), url.host_str().unwrap_or_default())
}

/// A response.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// The body, up to the cap.
    pub body: Bytes,
    /// There was more.
    pub cut_off: bool,
}

impl Answer {
    /// A header as text.
    pub fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok())
    }

    /// The beginning of the body in one line, for reasons and logs.
    pub fn excerpt(&self) -> String {
        const SHOWN: usize = 200;
        let text = String::from_utf8_lossy(&self.body);
        let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let short: String = line.chars().take(SHOWN).collect();
        if short.len() < line.len() { format!("{short}…") } else { short }
    }
}

/// Why there is no response.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// The target has certainly not seen the request: no address, no connection, no TLS.
    #[error("{target} was not reached: {cause}")]
    NotSent {
        /// Where to, as it may be shown.
        target: String,
        /// What failed.
        cause: String,
    },
    /// The request may have arrived: no answer in time, or the connection broke.
    #[error("{target} gave no answer: {cause}; it may have received the request")]
    NoAnswer {
        /// Where to, as it may be shown.
        target: String,
        /// What failed.
        cause: String,
    },
}

/// The HTTP client could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// TLS cannot work here, or a file of certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The HTTP library refuses its settings.
    #[error("the HTTP client cannot be built: {0}")]
    Http(String),
}

/// The client. Cheap to clone; clones share their connections.
#[derive(Clone)]
pub struct HttpClient {
    inner: Arc<Inner>,
}

/// Gives the certificate to show to servers that ask for one, as it is now; `None`: there is none yet. Asked before
/// every request, so it must not wait.
pub type Identity = Arc<dyn Fn() -> Option<Arc<CertifiedKey>> + Send + Sync>;

struct Inner {
    resolver: Resolver,
    tls: Tls,
    identity: Option<Identity>,
    settings: HttpSettings,
    built: Mutex<Built>,
}

/// The library's client, the TLS configuration and the certificate it was made with. When one of these changes a new client
/// takes the place of the old: requests under way end on their connections, idle connections are dropped.
struct Built {
    config: Arc<ClientConfig>,
    shown: Option<Arc<CertifiedKey>>,
    client: Client,
}

/// Shows one certificate, whatever the server's authorities.
#[derive(Debug)]
struct Showing(Arc<CertifiedKey>);

impl ResolvesClientCert for Showing {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HttpClient")
    }
}

/// Our resolver under the library's trait.
struct Names(Resolver);

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = self.0.clone();
        Box::pin(async move {
            let resolved = resolver.lookup(name.as_str()).await?;
            // Port 0 stands for the one of the URL.
            let addresses = resolved.addresses.into_iter().map(|address| SocketAddr::new(IpAddr::V4(address), 0));
            let addresses: Addrs = Box::new(addresses.collect::<Vec<_>>().into_iter());
            Ok(addresses)
        })
    }
}

impl HttpClient {
    /// A client that resolves with `resolver` and trusts the web's authorities and those of `tls`.
    pub fn new(resolver: Resolver, tls: TlsSettings, settings: HttpSettings) -> Result<Self, BuildError> {
        Self::build(resolver, tls, settings, None)
    }

    /// The same, which shows a certificate to servers that ask for one. A changed certificate is shown from the next request on.
    pub fn with_identity(
        resolver: Resolver,
        tls: TlsSettings,
        settings: HttpSettings,
        identity: Identity,
    ) -> Result<Self, BuildError> {
        Self::build(resolver, tls, settings, Some(identity))
    }

    /// Another one like it, which shows no certificate and trusts the web's authorities and that of a file.
    pub fn trusting(&self, ca: &Path) -> Result<Self, BuildError> {
        let inner = &self.inner;
        Self::new(inner.resolver.clone(), TlsSettings::with_ca(ca), inner.settings.clone())
    }

    fn build(
        resolver: Resolver,
        tls: TlsSettings,
        settings: HttpSettings,
        identity: Option<Identity>,
    ) -> Result<Self, BuildError> {
        let tls = Tls::new(tls)?;
        let (config, shown) = (tls.config(), identity.as_ref().and_then(|identity| identity()));
        let client = build(&resolver, &config, shown.as_ref(), &settings)?;
        let built = Mutex::new(Built { config, shown, client });
        Ok(Self { inner: Arc::new(Inner { resolver, tls, identity, settings, built }) })
    }

    fn client(&self) -> Result<Client, BuildError> {
        let config = self.inner.tls.config();
        let shown = self.inner.identity.as_ref().and_then(|identity| identity());
        let mut built = self.inner.built.lock().unwrap_or_else(PoisonError::into_inner);
        let same = Arc::ptr_eq(&config, &built.config)
            && shown.as_ref().map(Arc::as_ptr) == built.shown.as_ref().map(Arc::as_ptr);
        if !same {
            let client = build(&self.inner.resolver, &config, shown.as_ref(), &self.inner.settings)?;
            *built = Built { config, shown, client };
        }
        Ok(built.client.clone())
    }

    /// Sends once. Dropping the future may leave the request half done at the target.
    pub async fn send(&self, request: Request) -> Result<Answer, TransportError> {
        let target = shown(&request.url);
        if request.url.host_str().is_some_and(|host| host.starts_with('[')) {
            let cause = "it is an IPv6 address, and this program dials IPv4 only".to_owned();
            return Err(TransportError::NotSent { target, cause });
        }
        let client = match self.client() {
            Ok(client) => client,
            Err(error) => return Err(TransportError::NotSent { target, cause: error.to_string() }),
        };
        let timeout = request.timeout;
        match tokio::time::timeout(timeout, self.exchange(&client, request)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) if error.is_connect() || error.is_builder() => {
                Err(TransportError::NotSent { target, cause: chain(&error) })
            }
            Ok(Err(error)) => Err(TransportError::NoAnswer { target, cause: chain(&error) }),
            Err(_) => Err(TransportError::NoAnswer { target, cause: format!("nothing within {timeout:?}") }),
        }
    }

    async fn exchange(&self, client: &Client, request: Request) -> Result<Answer, reqwest::Error> {
        let mut outgoing = reqwest::Request::new(request.method, request.url);
        *outgoing.headers_mut() = request.headers;
        (self.inner.settings.stamp)(outgoing.headers_mut());
        *outgoing.body_mut() = request.body.map(reqwest::Body::from);
        let mut response = client.execute(outgoing).await?;
        let mut body = BytesMut::new();
        let mut cut_off = false;
        while let Some(chunk) = response.chunk().await? {
            let room = self.inner.settings.response_bytes_max.saturating_sub(body.len());
            body.extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
            if chunk.len() > room {
                cut_off = true;
                break;
            }
        }
        Ok(Answer {
            status: response.status().as_u16(),
            headers: std::mem::take(response.headers_mut()),
            body: body.freeze(),
            cut_off,
        })
    }
}

fn build(
    resolver: &Resolver,
    tls: &ClientConfig,
    shown: Option<&Arc<CertifiedKey>>,
    settings: &HttpSettings,
) -> Result<Client, BuildError> {
    let mut tls = tls.clone();
    if let Some(shown) = shown {
        tls.client_auth_cert_resolver = Arc::new(Showing(Arc::clone(shown)));
        // A resumed session would go on under the certificate that was shown when it began.
        tls.resumption = Resumption::disabled();
    }
    Client::builder()
        .dns_resolver(Arc::new(Names(resolver.clone())))
        .tls_backend_preconfigured(tls)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .referer(false)
        .connect_timeout(CONNECT_DEADLINE)
        .pool_idle_timeout(IDLE_KEPT)
        .pool_max_idle_per_host(IDLE_PER_HOST_MAX)
        .user_agent(&settings.user_agent)
        .build()
        .map_err(|error| BuildError::Http(chain(&error)))
}

/// An error with its causes in one line. The URL is left out: it may hold a secret.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = String::new();
    let mut next: Option<&(dyn std::error::Error + 'static)> = match error.downcast_ref::<reqwest::Error>() {
        Some(error) => std::error::Error::source(error).or(Some(error)),
        None => Some(error),
    };
    while let Some(error) = next {
        let part = error.to_string();
        if !text.contains(&part) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&part);
        }
        next = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_url_keeps_its_secrets_to_itself() {
        let url: Url = "https://user:pw@hooks.example:8443/services/T000/B000/XXXX?token=1".parse().unwrap();
        assert_eq!(shown(&url), "https://hooks.example:8443/services/…");
        assert_eq!(shown(&"http://a/".parse().unwrap()), "http://a/");
    }
}
