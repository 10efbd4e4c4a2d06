//! The running service, asked over its own HTTP listener: who holds the ledger also answers for it.
//!
//! Only the address of the configuration is asked, in this network namespace, without TLS, as probes do. Changing needs the
//! token, which is read from the same file as the service reads it.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use hyper::client::conn::http1;
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use reqwest::Url;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

use crate::config::Config;

use super::{Refused, cannot};

/// For one question, from the connection to the last byte.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of one answer: a page of episodes.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// A service that answers.
pub(super) struct Asked {
    address: SocketAddr,
    token_file: Option<PathBuf>,
    runtime: Runtime,
}

impl Asked {
    /// The service of this configuration, if it answers.
    pub(super) fn find(config: &Config) -> Result<Self, Refused> {
        let mut address = config.http.listen;
        if address.ip().is_unspecified() {
            address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(cannot)?;
        let asked = Self { address, token_file: config.http.admin_token_file.clone(), runtime };
        asked.get("/api/v1/health", &[])?;
        Ok(asked)
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Asks; the answer must be JSON.
    pub(super) fn get(&self, path: &str, parameters: &[(&str, String)]) -> Result<Value, Refused> {
        self.ask(Method::GET, path, parameters, None)
    }

    /// Changes something, with the token.
    pub(super) fn post(&self, path: &str, parameters: &[(&str, String)]) -> Result<Value, Refused> {
        let Some(file) = &self.token_file else {
            return Err(cannot(
                "the service runs, and changes go through it, but http.admin_token_file is not configured: add it and restart \
                 the service; or stop the service and call this again",
            ));
        };
        let token = std::fs::read_to_string(file).map_err(|error| {
            cannot(format_args!("the token of the running service cannot be read from {}: {error}", file.display()))
        })?;
        self.ask(Method::POST, path, parameters, Some(token.trim()))
    }

    fn ask(
        &self,
        method: Method,
        path: &str,
        parameters: &[(&str, String)],
        token: Option<&str>,
    ) -> Result<Value, Refused> {
        let failed = |why: &dyn std::fmt::Display| cannot(format_args!("the service at {}: {why}", self.address));
        let url = Url::parse_with_params(&format!("http://{}{path}", self.address), parameters);
        let url = url.map_err(|error| failed(&error))?;
        let target = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
        let mut request = Request::builder().method(method).uri(target).header(header::HOST, self.address.to_string());
        if let Some(token) = token {
            request =
                request.header(header::AUTHORIZATION, format!("Bearer {token}")).header(header::CONTENT_LENGTH, "0");
        }
        let request = request.body(Body::empty()).map_err(|error| failed(&error))?;
        let exchange = async { tokio::time::timeout(PATIENCE, exchange(self.address, request)).await };
        let answer =
            self.runtime.block_on(exchange).map_err(|_| failed(&format_args!("no answer within {PATIENCE:?}")))?;
        let (status, body) = answer.map_err(|why| failed(&why))?;
        let read: Value = serde_json::from_slice(&body).unwrap_or_default();
        match status {
            StatusCode::OK => Ok(read),
            _ => Err(failed(&read["error"].as_str().map_or_else(|| status.to_string(), str::to_owned))),
        }
    }
}

async fn exchange(address: SocketAddr, request: Request<Body>) -> Result<(StatusCode, Vec<u8>), String> {
    fn text(error: impl std::fmt::Display) -> String {
        error.to_string()
    }
    let stream = TcpStream::connect(address).await.map_err(text)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(text)?;
    let answer = async {
        let answer = sender.send_request(request).await.map_err(text)?;
        let status = answer.status();
        let body = to_bytes(Body::new(answer.into_body()), ANSWER_BYTES_MAX).await.map_err(text)?;
        Ok((status, body.to_vec()))
    };
    both(connection, answer).await
}

/// The connection has to be driven until the answer is there.
async fn both<T>(connection: impl Future, answer: impl Future<Output = T>) -> T {
    tokio::pin!(connection, answer);
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        _ = &mut connection => answer.await,
    }
}
