//! The target of actions: an HTTP server on loopback that remembers what it was asked.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// One request that arrived whole.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) method: String,
    /// With the query.
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Call {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// Method and path without the query.
    pub(crate) fn line(&self) -> String {
        let path = self.path.split('?').next().unwrap_or_default();
        format!("{} {path}", self.method)
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        self.body.parse().unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

/// How a request is answered.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: String,
    after: Duration,
    torn: bool,
}

impl Reply {
    pub(crate) fn new(status: u16, body: impl Into<String>) -> Self {
        Self { status, headers: Vec::new(), body: body.into(), after: Duration::ZERO, torn: false }
    }

    pub(crate) fn json(status: u16, body: serde_json::Value) -> Self {
        let text = body.to_string();
        drop(body);
        Self::new(status, text).with("Content-Type", "application/json")
    }

    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// The answer begins so much later.
    pub(crate) fn after(mut self, wait: Duration) -> Self {
        self.after = wait;
        self
    }

    /// Only half of the answer comes, and then the connection breaks.
    pub(crate) fn torn(mut self) -> Self {
        self.torn = true;
        self
    }
}

/// Answers every request as a function says.
pub(crate) struct Target {
    address: SocketAddr,
    calls: Arc<Mutex<Vec<Call>>>,
    connections: Arc<AtomicUsize>,
}

impl Target {
    /// Answers 200 to everything.
    pub(crate) fn start() -> Self {
        Self::answering(|_| 200)
    }

    /// `status` sees each call before it is answered.
    pub(crate) fn answering(status: impl Fn(&Call) -> u16 + Send + Sync + 'static) -> Self {
        Self::replying(move |call| (status(call), "ok".to_owned()))
    }

    /// `reply` sees each call before it is answered, and gives status and body.
    pub(crate) fn replying(reply: impl Fn(&Call) -> (u16, String) + Send + Sync + 'static) -> Self {
        Self::serving(move |call| {
            let (status, body) = reply(call);
            Reply::new(status, body)
        })
    }

    /// `reply` sees each call before it is answered.
    pub(crate) fn serving(reply: impl Fn(&Call) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let calls = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(AtomicUsize::new(0));
        let (seen, reply, counter) = (Arc::clone(&calls), Arc::new(reply), Arc::clone(&connections));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                counter.fetch_add(1, Ordering::SeqCst);
                let (seen, reply) = (Arc::clone(&seen), Arc::clone(&reply));
                std::thread::spawn(move || serve(&stream, &seen, &*reply));
            }
        });
        Self { address, calls, connections }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every call so far, in the order of arrival.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.lock().expect("no panic while holding it").clone()
    }

    /// The calls with this method and path, the query aside.
    pub(crate) fn calls_of(&self, line: &str) -> Vec<Call> {
        self.calls().into_iter().filter(|call| call.line() == line).collect()
    }

    /// Connections that were ever made.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

fn serve(stream: &TcpStream, seen: &Mutex<Vec<Call>>, reply: &(dyn Fn(&Call) -> Reply + Send + Sync)) {
    let mut reader = BufReader::new(stream);
    while let Some(call) = read(&mut reader) {
        seen.lock().expect("no panic while holding it").push(call.clone());
        let reply = reply(&call);
        let until = Instant::now() + reply.after;
        while Instant::now() < until {
            std::thread::park_timeout(until.saturating_duration_since(Instant::now()));
        }
        if !write(stream, &reply) {
            return;
        }
    }
}

/// Whether the connection can be used again.
fn write(mut stream: &TcpStream, reply: &Reply) -> bool {
    let headers = reply.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect::<Vec<_>>().concat();
    let head = format!("HTTP/1.1 {} Answer\r\n{headers}Content-Length: {}\r\n\r\n", reply.status, reply.body.len());
    if reply.torn {
        let half = reply.body.get(..reply.body.len() / 2).unwrap_or_default();
        let _ = stream.write_all(format!("{head}{half}").as_bytes());
        let _ = stream.shutdown(Shutdown::Both);
        return false;
    }
    stream.write_all(format!("{head}{}", reply.body).as_bytes()).is_ok()
}

/// The next request of a connection; `None` when it ends or is torn.
fn read(reader: &mut BufReader<&TcpStream>) -> Option<Call> {
    let mut first = String::new();
    reader.read_line(&mut first).ok().filter(|read| *read > 0)?;
    let mut words = first.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|(_, value)| value.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Call { method, path, headers, body: String::from_utf8_lossy(&body).into_owned() })
}
