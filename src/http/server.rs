//! Accepts connections and serves them, within bounds.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::limits::{CONNECTION_LIFE_MAX, CONNECTIONS_MAX, HEAD_BYTES_MAX, HEAD_TIMEOUT};
use super::routes::{Surface, router};

/// The address could not be listened on.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {address} (http.listen): {source}; is another process there, or is the address not this machine's?"
)]
pub struct BindError {
    address: SocketAddr,
    source: io::Error,
}

/// A bound listener, not yet serving.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
}

impl Server {
    /// Binds the address; port 0 takes a free one.
    pub async fn bind(address: SocketAddr) -> Result<Self, BindError> {
        let listener = TcpListener::bind(address).await.map_err(|source| BindError { address, source })?;
        Ok(Self { listener })
    }

    /// Where it listens.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until dropped; dropping it closes every connection.
    pub async fn serve(self, surface: Arc<dyn Surface>) {
        let router = router(surface);
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut connections = JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let router = router.clone();
                    connections.spawn(async move {
                        let _place = place;
                        serve_one(stream, router).await;
                    });
                }
                Err(error) => {
                    // Out of file descriptors, or the client went away first: neither may spin.
                    tracing::warn!(%error, "a connection to the HTTP listener could not be accepted");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            }
        }
    }
}

async fn serve_one(stream: TcpStream, router: Router) {
    let mut protocol = http1::Builder::new();
    protocol.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(HEAD_BYTES_MAX);
    let connection = protocol.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    // A client that breaks off, sends nonsense or stays too long is its own affair.
    let _ = tokio::time::timeout(CONNECTION_LIFE_MAX, connection).await;
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::http::{Change, Question, Readiness, Status, Trouble};

    struct World(Readiness);

    impl Surface for World {
        fn alive(&self) -> Result<(), String> {
            Ok(())
        }
        fn readiness(&self) -> Readiness {
            self.0.clone()
        }
        fn status(&self, _: Option<&str>, _: bool) -> Status {
            Status { title: "kafka_consumer".to_owned(), ..Status::default() }
        }
        fn metrics(&self) -> (String, &'static str) {
            ("m 1\n".to_owned(), "text/plain")
        }
        fn answer(&self, question: &Question) -> Result<serde_json::Value, Trouble> {
            Ok(serde_json::json!({"question": format!("{question:?}")}))
        }
        fn change(&self, _: &Change) -> Result<(), Trouble> {
            Ok(())
        }
        fn token(&self) -> Option<String> {
            matches!(self.0, Readiness::Ready(_)).then(|| "the-token\n".to_owned())
        }
        fn host_names(&self) -> Vec<String> {
            vec!["a".to_owned()]
        }
    }

    async fn ask(readiness: Readiness, request: &str) -> String {
        let server = Server::bind(([127, 0, 0, 1], 0).into()).await.expect("bind");
        let address = server.address().expect("address");
        let serving = tokio::spawn(server.serve(Arc::new(World(readiness))));
        let mut stream = TcpStream::connect(address).await.expect("connect");
        stream.write_all(request.as_bytes()).await.expect("write");
        let mut answer = Vec::new();
        tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await.expect("in time").ok();
        serving.abort();
        String::from_utf8(answer).expect("text")
    }

    fn get(path: &str) -> String {
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    }

    #[tokio::test]
    async fn readyz_names_every_reason_on_a_line_of_its_own() {
        let reasons = vec!["no broker".to_owned(), "no ledger".to_owned()];
        let answer = ask(Readiness::NotReady(reasons), &get("/readyz")).await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(answer.ends_with("\r\n\r\nnot ready: no broker\nnot ready: no ledger\n"), "{answer}");
    }

    #[tokio::test]
    async fn every_answer_carries_the_security_headers() {
        for path in ["/livez", "/readyz", "/status.html", "/metrics", "/nothing"] {
            let answer = ask(Readiness::Ready("1 partition".to_owned()), &get(path)).await.to_ascii_lowercase();
            for header in ["x-content-type-options: nosniff", "content-security-policy: default-src 'none'", "no-store"]
            {
                assert!(answer.contains(header), "{path}: {answer}");
            }
        }
    }

    #[tokio::test]
    async fn omegas_default_probe_finds_its_page() {
        let answer = ask(Readiness::Ready("1 partition".to_owned()), &get("/status.html")).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.contains("text/html"), "{answer}");
    }

    #[tokio::test]
    async fn nothing_can_be_posted_and_no_body_is_taken() {
        let ready = || Readiness::Ready(String::new());
        let post = "POST /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        assert!(ask(ready(), post).await.starts_with("HTTP/1.1 405"));
        let body = "GET /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc";
        assert!(ask(ready(), body).await.starts_with("HTTP/1.1 413"));
    }

    #[tokio::test]
    async fn a_request_for_another_host_is_refused() {
        let stolen = "GET /status.html HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
        let answer = ask(Readiness::Ready(String::new()), stolen).await;
        assert!(answer.starts_with("HTTP/1.1 421"), "{answer}");
        assert!(answer.to_ascii_lowercase().contains("nosniff"), "{answer}");
    }

    #[tokio::test]
    async fn changing_needs_the_token_and_is_absent_without_one() {
        let post = |token: &str| {
            let path = "/api/v1/pause?reason=maintenance";
            format!(
                "POST {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            )
        };
        let ready = || Readiness::Ready(String::new());
        assert!(ask(ready(), &post("the-token")).await.starts_with("HTTP/1.1 200"));
        assert!(ask(ready(), &post("another")).await.starts_with("HTTP/1.1 401"));
        assert!(ask(ready(), &post("")).await.starts_with("HTTP/1.1 401"));
        assert!(ask(Readiness::NotReady(vec![]), &post("the-token")).await.starts_with("HTTP/1.1 404"));
    }

    #[tokio::test]
    async fn every_question_has_a_path_and_an_answer_as_json() {
        let wanted = [
            ("health", "Health"),
            ("group", "Group"),
            ("incidents", "Incidents"),
            ("actions", "Actions"),
            ("guards", "Guards"),
            ("decisions?incident=60f1", "Decisions { incident: Some(\\\"60f1\\\") }"),
            ("episodes?outcome=held&from_ms=5", "outcome: Some(\\\"held\\\"), from_ms: Some(5)"),
            ("episode?key=i%2F-%2F5%2Fc%2Fa", "Episode { key: \\\"i/-/5/c/a\\\" }"),
            ("incidents/60f1", "Decisions { incident: Some(\\\"60f1\\\") }"),
        ];
        for (path, question) in wanted {
            let answer = ask(Readiness::Ready(String::new()), &get(&format!("/api/v1/{path}"))).await;
            assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("application/json"), "{answer}");
            assert!(answer.contains(question), "{path}: {answer}");
        }
    }

    #[tokio::test]
    async fn a_head_without_end_is_refused() {
        let endless = format!("GET /livez HTTP/1.1\r\nHost: a\r\nX: {}", "a".repeat(64 * 1024));
        let answer = ask(Readiness::Ready(String::new()), &endless).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    }

    #[tokio::test]
    async fn a_taken_port_is_named() {
        let first = Server::bind(([127, 0, 0, 1], 0).into()).await.expect("bind");
        let address = first.address().expect("address");
        let error = Server::bind(address).await.expect_err("taken").to_string();
        assert!(error.contains(&format!("cannot listen on {address} (http.listen)")), "{error}");
    }
}
