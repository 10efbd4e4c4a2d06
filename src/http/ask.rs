//! The other end of the listener: one question to a service on this host, for the tools beside it. Plain HTTP/1.1, one connection.

use std::fmt::Display;
use std::future::Future;
use std::net::SocketAddr;

use axum::body::{Body, to_bytes};
use hyper::client::conn::http1;
use hyper::{Method, Request, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Bytes of one answer: a page of episodes.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Asks for a path with its query; with a token it is a change, without one a question. The status code and the body, or why
/// there is no answer. Cancel-safe: dropped, it closes the connection.
pub async fn ask(address: SocketAddr, target: &str, token: Option<&str>) -> Result<(u16, Vec<u8>), String> {
    let method = if token.is_some() { Method::POST } else { Method::GET };
    let mut request = Request::builder().method(method).uri(target).header(header::HOST, address.to_string());
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}")).header(header::CONTENT_LENGTH, "0");
    }
    let request = request.body(Body::empty()).map_err(text)?;
    let stream = TcpStream::connect(address).await.map_err(text)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(text)?;
    let answer = async {
        let answer = sender.send_request(request).await.map_err(text)?;
        let status = answer.status().as_u16();
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

fn text(error: impl Display) -> String {
    error.to_string()
}
