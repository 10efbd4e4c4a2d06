//! The target of webhooks: an HTTP server on loopback that remembers what it was asked.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// One request that arrived whole.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Call {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// Answers every request with a status that a function chooses.
pub(crate) struct Target {
    address: SocketAddr,
    calls: Arc<Mutex<Vec<Call>>>,
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
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let calls = Arc::new(Mutex::new(Vec::new()));
        let (seen, reply) = (Arc::clone(&calls), Arc::new(reply));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, reply) = (Arc::clone(&seen), Arc::clone(&reply));
                std::thread::spawn(move || serve(&stream, &seen, &*reply));
            }
        });
        Self { address, calls }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every call so far, in the order of arrival.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.lock().expect("no panic while holding it").clone()
    }
}

fn serve(stream: &TcpStream, seen: &Mutex<Vec<Call>>, reply: &(dyn Fn(&Call) -> (u16, String) + Send + Sync)) {
    let mut reader = BufReader::new(stream);
    while let Some(call) = read(&mut reader) {
        seen.lock().expect("no panic while holding it").push(call.clone());
        let (code, body) = reply(&call);
        let answer = format!("HTTP/1.1 {code} Answer\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let mut writer = stream;
        if writer.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
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
