//! As much of HTTP/1.1 (RFC 9112) as a target needs: a request read, a response written.

use std::io;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};

use super::HttpRequest;

/// A head or a line longer than this is refused.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// A body longer than this is refused.
const BODY_BYTES_MAX: usize = 16 << 20;

/// Reads one request; `None` where the client closes between two.
pub(super) async fn read(stream: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<HttpRequest>> {
    let first = line(stream).await?;
    let mut words = first.split_ascii_whitespace();
    let (Some(method), Some(path)) = (words.next(), words.next()) else { return Ok(None) };
    let mut headers = Vec::new();
    let mut head_bytes = first.len();
    loop {
        let header = line(stream).await?;
        head_bytes += header.len();
        if head_bytes > HEAD_BYTES_MAX {
            return Err(io::Error::other("a head without an end"));
        }
        let Some((name, value)) = header.split_once(':') else { break };
        headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
    }
    let value_of = |name: &str| headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let body = if value_of("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
        chunks(stream).await?
    } else {
        let length = value_of("content-length").map_or(Ok(0), str::parse).map_err(io::Error::other)?;
        exactly(stream, length).await?
    };
    let (method, path) = (method.to_owned(), path.to_owned());
    Ok(Some(HttpRequest { at: Instant::now(), method, path, headers, body, client_certificate: None }))
}

/// A line without its end; empty at the end of the stream.
async fn line(stream: &mut (impl AsyncBufRead + Unpin)) -> io::Result<String> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(HEAD_BYTES_MAX).unwrap_or(u64::MAX);
    (&mut *stream).take(limit).read_until(b'\n', &mut bytes).await?;
    Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
}

async fn exactly(stream: &mut (impl AsyncBufRead + Unpin), length: usize) -> io::Result<Bytes> {
    if length > BODY_BYTES_MAX {
        return Err(io::Error::other("too large a body"));
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(body.into())
}

async fn chunks(stream: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Bytes> {
    let mut body = BytesMut::new();
    loop {
        let head = line(stream).await?;
        let digits = head.split(';').next().unwrap_or_default();
        let length = usize::from_str_radix(digits, 16).map_err(io::Error::other)?;
        if length == 0 {
            break;
        }
        body.extend_from_slice(&exactly(stream, length).await?);
        line(stream).await?;
        if body.len() > BODY_BYTES_MAX {
            return Err(io::Error::other("too large a body"));
        }
    }
    // Trailers, up to the empty line.
    while !line(stream).await?.is_empty() {}
    Ok(body.freeze())
}

/// The bytes of a response.
pub(super) fn response(status: u16, headers: &[(String, String)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status} {}\r\n", reason(status));
    for (name, value) in headers {
        head.extend([name, ": ", value, "\r\n"]);
    }
    // 204 and 304 have no body, and no length of one.
    if status != 204 && status != 304 {
        head.extend(["content-length: ", &body.len().to_string(), "\r\n"]);
    }
    head.push_str("\r\n");
    [head.as_bytes(), body].concat()
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        204 => "No Content",
        400 => "Bad Request",
        401 => "Unauthorized",
        404 => "Not Found",
        409 => "Conflict",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Scripted",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read_all(text: &str) -> Vec<HttpRequest> {
        let mut stream = text.as_bytes();
        let mut requests = Vec::new();
        while let Some(request) = read(&mut stream).await.expect("a request") {
            requests.push(request);
        }
        requests
    }

    #[tokio::test]
    async fn requests_on_one_connection_are_read_one_after_another() {
        let text = "POST /a?b=c HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcGET /d HTTP/1.1\r\n\r\n";
        let requests = read_all(text).await;
        assert_eq!(requests.len(), 2);
        assert_eq!((requests[0].method.as_str(), requests[0].path.as_str()), ("POST", "/a?b=c"));
        assert_eq!((requests[0].text().as_str(), requests[0].header("HOST")), ("abc", Some("x")));
        assert_eq!(requests[1].path, "/d");
    }

    #[tokio::test]
    async fn a_body_in_chunks_is_put_together() {
        let text = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n";
        assert_eq!(read_all(text).await[0].text(), "abcde");
    }
}
