//! An HTTP target double: what a webhook reaches. It keeps the requests and answers as it is told.
//!
//! Promised: HTTP/1.1 with keep-alive, bodies by length or in chunks, plain or over TLS. Replies that were queued for a
//! path are given first, in order; then those queued for any path; then the default, which is 200 without a body. Absent:
//! everything else of HTTP.
//!
//! ```
//! use kafka_broker_double::target::{Reply, Target};
//!
//! let target = Target::start();
//! target.queue(Reply::status(503));
//! println!("{} fails once and then works", target.url("/restart"));
//! assert!(target.requests().is_empty());
//! ```

mod http;
mod serve;

use std::collections::{HashMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::background::Background;
use crate::tls::Identity;

/// What a request is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    after: Duration,
    end: End,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    Respond {
        status: u16,
        headers: Vec<(String, String)>,
        body: Bytes,
    },
    Hang,
    Disconnect,
    /// Half of the response, then the end.
    CutOff {
        status: u16,
        body: Bytes,
    },
    /// These bytes instead of HTTP.
    Raw(Bytes),
}

impl Reply {
    /// A response with this status.
    pub fn status(status: u16) -> Self {
        Self { after: Duration::ZERO, end: End::Respond { status, headers: Vec::new(), body: Bytes::new() } }
    }

    /// Never an answer; the connection stays open.
    pub fn hang() -> Self {
        Self { after: Duration::ZERO, end: End::Hang }
    }

    /// The request is taken and the connection closed without an answer.
    pub fn disconnect() -> Self {
        Self { after: Duration::ZERO, end: End::Disconnect }
    }

    /// The head promises this body, half of it is sent and the connection closed.
    pub fn cut_off(status: u16, body: impl Into<Bytes>) -> Self {
        Self { after: Duration::ZERO, end: End::CutOff { status, body: body.into() } }
    }

    /// Bytes that need not be HTTP, after which the connection is closed.
    pub fn raw(bytes: impl Into<Bytes>) -> Self {
        Self { after: Duration::ZERO, end: End::Raw(bytes.into()) }
    }

    /// Adds a body; of no effect on a reply that is no response.
    #[must_use]
    pub fn body(mut self, content: impl Into<Bytes>) -> Self {
        if let End::Respond { body, .. } = &mut self.end {
            *body = content.into();
        }
        self
    }

    /// Adds a header; of no effect on a reply that is no response.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if let End::Respond { headers, .. } = &mut self.end {
            headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// Waits before it.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.after = delay;
        self
    }
}

/// A request as it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpRequest {
    /// When it was complete.
    pub at: Instant,
    /// The method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Names in lower case, in the order in which they came.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
    /// The certificate that the client showed, in DER; only where the target asks for one.
    pub client_certificate: Option<Bytes>,
}

impl HttpRequest {
    /// The value of the first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as text, with what is not UTF-8 replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

#[derive(Debug)]
struct Script {
    default: Reply,
    queued: VecDeque<Reply>,
    queued_at: HashMap<String, VecDeque<Reply>>,
    requests: Vec<HttpRequest>,
}

/// The target. Dropping it ends it.
#[derive(Debug)]
pub struct Target {
    script: Arc<Mutex<Script>>,
    address: SocketAddr,
    scheme: &'static str,
    _background: Background,
}

impl Target {
    /// Starts a plain target on a free port of 127.0.0.1.
    pub fn start() -> Self {
        Self::listen("http", None)
    }

    /// Starts a target over TLS on a free port of 127.0.0.1.
    pub fn start_tls(identity: &Identity) -> Self {
        Self::listen("https", Some(identity))
    }

    /// The same at an address; the error says why it cannot be had.
    pub fn start_tls_at(address: SocketAddr, identity: &Identity) -> std::io::Result<Self> {
        Ok(Self::serve("https", TcpListener::bind(address)?, Some(identity)))
    }

    fn listen(scheme: &'static str, identity: Option<&Identity>) -> Self {
        Self::serve(scheme, TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port"), identity)
    }

    fn serve(scheme: &'static str, listener: TcpListener, identity: Option<&Identity>) -> Self {
        listener.set_nonblocking(true).expect("a non-blocking socket");
        let address = listener.local_addr().expect("a bound socket");
        let script = Script {
            default: Reply::status(200),
            queued: VecDeque::new(),
            queued_at: HashMap::new(),
            requests: Vec::new(),
        };
        let script = Arc::new(Mutex::new(script));
        let background = Background::start("http double");
        background.handle().spawn(serve::accept(Arc::clone(&script), listener, identity.map(Identity::acceptor)));
        Self { script, address, scheme, _background: background }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of a path, with 127.0.0.1 as the host.
    pub fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address)
    }

    /// Says what is answered when nothing is queued.
    pub fn default_reply(&self, reply: Reply) {
        lock(&self.script).default = reply;
    }

    /// Queues a reply for the next request that has none queued for its path.
    pub fn queue(&self, reply: Reply) {
        lock(&self.script).queued.push_back(reply);
    }

    /// Queues a reply for the next request to a path (with its query, if it has one).
    pub fn queue_at(&self, path: &str, reply: Reply) {
        lock(&self.script).queued_at.entry(path.to_owned()).or_default().push_back(reply);
    }

    /// Every request since the start, oldest first.
    pub fn requests(&self) -> Vec<HttpRequest> {
        lock(&self.script).requests.clone()
    }

    /// How many requests came.
    pub fn request_count(&self) -> usize {
        lock(&self.script).requests.len()
    }
}

fn lock(script: &Mutex<Script>) -> MutexGuard<'_, Script> {
    script.lock().unwrap_or_else(PoisonError::into_inner)
}
