//! The connections of the HTTP double.

use std::io;
use std::net::TcpListener as StdListener;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::{End, HttpRequest, Reply, Script, http, lock};

/// Accepts until the double ends.
pub(super) async fn accept(script: Arc<Mutex<Script>>, listener: StdListener, tls: Option<TlsAcceptor>) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    while let Ok((stream, _)) = listener.accept().await {
        let (script, tls) = (Arc::clone(&script), tls.clone());
        tokio::spawn(async move {
            if let Err(cause) = connection(&script, stream, tls).await {
                tracing::debug!(%cause, "connection of the HTTP double ended");
            }
        });
    }
}

async fn connection(script: &Mutex<Script>, stream: TcpStream, tls: Option<TlsAcceptor>) -> io::Result<()> {
    match tls {
        None => talk(script, stream, None).await,
        Some(acceptor) => {
            let stream = acceptor.accept(stream).await?;
            let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
            let shown = shown.map(|certificate| Bytes::copy_from_slice(certificate));
            talk(script, stream, shown).await
        }
    }
}

async fn talk(
    script: &Mutex<Script>,
    stream: impl AsyncRead + AsyncWrite + Unpin,
    shown: Option<Bytes>,
) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    while let Some(mut request) = http::read(&mut stream).await? {
        request.client_certificate.clone_from(&shown);
        let reply = next_reply(script, request);
        tokio::time::sleep(reply.after).await;
        match reply.end {
            End::Hang => std::future::pending().await,
            End::Disconnect => return Ok(()),
            End::Respond { status, headers, body } => {
                stream.write_all(&http::response(status, &headers, &body)).await?;
                stream.flush().await?;
            }
            End::CutOff { status, body } => {
                let mut bytes = http::response(status, &[], &body);
                bytes.truncate(bytes.len() - body.len().div_ceil(2));
                stream.write_all(&bytes).await?;
                return stream.flush().await;
            }
            End::Raw(bytes) => {
                stream.write_all(&bytes).await?;
                return stream.flush().await;
            }
        }
    }
    Ok(())
}

fn next_reply(script: &Mutex<Script>, request: HttpRequest) -> Reply {
    let mut script = lock(script);
    let for_path = script.queued_at.get_mut(&request.path).and_then(std::collections::VecDeque::pop_front);
    let reply = for_path.or_else(|| script.queued.pop_front()).unwrap_or_else(|| script.default.clone());
    script.requests.push(request);
    reply
}
