//! A TLS session over TCP that reads in large pieces and decrypts where the bytes lie.
//!
//! rustls' own buffer asks the socket for about one record at a time and gives its memory back in between; at the speed of
//! a fetch that is a system call, an allocation and two copies for each 16 KiB. Here rustls has no buffer at all: one read
//! takes whatever has arrived, records are decrypted in place, and each goes from there to whoever reads. Promised: an
//! end without the peer's `close_notify` is an error and no end; what a failed session says to the peer (an alert) is
//! sent; memory stays at two records' size while the connection is quiet and grows only while reads fill it, up to a
//! bound. Absent: early data, which Kafka has no use for.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::rustls::client::UnbufferedClientConnection;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};
use tokio_rustls::rustls::{self, ClientConfig, CommonState};

/// Room for received bytes at first: a record has at most 16 KiB and some.
const INCOMING_BYTES_MIN: usize = 32 << 10;
/// The most that one read takes; about what a socket holds, and small enough to stay in a processor's cache.
const INCOMING_BYTES_MAX: usize = 256 << 10;
/// Plain bytes of one record.
const FRAGMENT_BYTES_MAX: usize = 16 << 10;
/// What encryption may add to a record: header, tag, content type, an explicit nonce.
const RECORD_OVERHEAD_MAX: usize = 256;
/// Encrypted bytes that wait for the socket before a writer has to wait.
const OUTGOING_BYTES_MAX: usize = 64 << 10;

/// The stream; made by a handshake.
pub(crate) struct TlsStream {
    tcp: TcpStream,
    session: UnbufferedClientConnection,
    incoming: Incoming,
    /// Decrypted while somebody wrote, or more than the reader had room for.
    plain: Pending,
    outgoing: Pending,
    closed_by_us: bool,
    closed_by_peer: bool,
}

/// What the caller wants of the session.
enum Want<'a, 'b> {
    Handshake,
    Read(&'a mut ReadBuf<'b>),
    Write(&'a [u8]),
    Close,
}

/// What a step has brought.
enum Step {
    /// Something; there may be more.
    Again,
    /// As many bytes as that were encrypted.
    Wrote(usize),
    /// Nothing: the peer must say something first.
    Starved { open: bool },
}

impl TlsStream {
    /// Shakes hands over a fresh connection. Errors of rustls are inside the `io::Error`.
    pub(super) async fn connect(
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        tcp: TcpStream,
    ) -> io::Result<Self> {
        let session = UnbufferedClientConnection::new(config, name).map_err(invalid)?;
        let mut stream = Self {
            tcp,
            session,
            incoming: Incoming::new(),
            plain: Pending::default(),
            outgoing: Pending::default(),
            closed_by_us: false,
            closed_by_peer: false,
        };
        poll_fn(|cx| stream.poll_handshake(cx)).await?;
        Ok(stream)
    }

    /// The socket under the session.
    pub(crate) fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    /// Bytes that the socket gave and nobody has read yet, encrypted or not.
    pub(crate) fn held_back(&self) -> usize {
        self.incoming.len().saturating_add(self.plain.len())
    }

    /// What was negotiated.
    pub(crate) fn session(&self) -> &CommonState {
        &self.session
    }

    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let open = match self.step(cx, Want::Handshake)? {
                Step::Again | Step::Wrote(_) => continue,
                Step::Starved { open } => open,
            };
            ready!(self.poll_send(cx))?;
            if open {
                return Poll::Ready(Ok(()));
            }
            ready!(self.poll_receive(cx))?;
        }
    }

    /// Lets the session go one step. An error is final; the alert that explains it to the peer is sent if there is room.
    fn step(&mut self, cx: &mut Context<'_>, want: Want<'_, '_>) -> io::Result<Step> {
        self.try_step(want).map_err(|error| {
            if matches!(self.try_step(Want::Handshake), Ok(Step::Again)) {
                let _best_effort = self.poll_send(cx);
            }
            invalid(error)
        })
    }

    fn try_step(&mut self, mut want: Want<'_, '_>) -> Result<Step, rustls::Error> {
        let UnbufferedStatus { mut discard, state } = self.session.process_tls_records(self.incoming.filled());
        let step = match state? {
            ConnectionState::ReadTraffic(mut traffic) => {
                while let Some(record) = traffic.next_record() {
                    let record = record?;
                    discard = discard.saturating_add(record.discard);
                    self.plain.give(record.payload, &mut want);
                }
                Step::Again
            }
            ConnectionState::EncodeTlsData(mut data) => {
                // Without room it says how much it needs.
                if let Err(EncodeError::InsufficientSize(needed)) = data.encode(&mut []) {
                    self.outgoing
                        .append(needed.required_size, |room| data.encode(room))
                        .map_err(|error| encode_failed(&error))?;
                }
                Step::Again
            }
            ConnectionState::TransmitTlsData(data) => {
                // It is in `outgoing`, from where everything leaves in order.
                data.done();
                Step::Again
            }
            ConnectionState::WriteTraffic(mut traffic) => match want {
                Want::Write(bytes) => {
                    let bytes = bytes.get(..FRAGMENT_BYTES_MAX).unwrap_or(bytes);
                    let room = bytes.len().saturating_add(RECORD_OVERHEAD_MAX);
                    self.outgoing
                        .append(room, |room| traffic.encrypt(bytes, room))
                        .map_err(|error| encrypt_failed(&error))?;
                    Step::Wrote(bytes.len())
                }
                Want::Close => {
                    let close = |room: &mut [u8]| traffic.queue_close_notify(room);
                    self.outgoing.append(RECORD_OVERHEAD_MAX, close).map_err(|error| encrypt_failed(&error))?;
                    Step::Wrote(0)
                }
                Want::Handshake | Want::Read(_) => Step::Starved { open: true },
            },
            ConnectionState::BlockedHandshake => Step::Starved { open: false },
            ConnectionState::PeerClosed => {
                self.closed_by_peer = true;
                Step::Again
            }
            ConnectionState::Closed => Step::Starved { open: true },
            _ => return Err(rustls::Error::General("the TLS session is in an unknown state".to_owned())),
        };
        self.incoming.discard(discard);
        Ok(step)
    }

    /// Takes what has arrived. An end here is never one that the peer announced.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut room = ReadBuf::new(self.incoming.room()?);
        ready!(Pin::new(&mut self.tcp).poll_read(cx, &mut room))?;
        let received = room.filled().len();
        if received == 0 {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        self.incoming.received(received);
        Poll::Ready(Ok(()))
    }

    /// Sends all that waits.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outgoing.is_empty() {
            let sent = ready!(Pin::new(&mut self.tcp).poll_write(cx, self.outgoing.rest()))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.outgoing.took(sent);
        }
        Poll::Ready(Ok(()))
    }

    /// Encrypts: bytes, at most one record of them, or the end.
    fn encrypt(&mut self, cx: &mut Context<'_>, bytes: Option<&[u8]>) -> io::Result<usize> {
        loop {
            let step = self.step(cx, bytes.map_or(Want::Close, Want::Write))?;
            match step {
                Step::Again => {}
                Step::Wrote(bytes) => return Ok(bytes),
                Step::Starved { .. } => return Err(io::ErrorKind::NotConnected.into()),
            }
        }
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        this.plain.pour(buffer);
        while buffer.remaining() > 0 && !this.closed_by_peer {
            if let Step::Again | Step::Wrote(_) = this.step(cx, Want::Read(buffer))? {
                continue;
            }
            // What is there is given before more is waited for.
            if buffer.filled().len() > before {
                break;
            }
            ready!(this.poll_receive(cx))?;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.outgoing.len() >= OUTGOING_BYTES_MAX {
            ready!(self.poll_send(cx))?;
        }
        let taken = self.encrypt(cx, Some(bytes))?;
        // What the socket has no room for now leaves with the flush.
        match self.poll_send(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(taken)),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !std::mem::replace(&mut self.closed_by_us, true) {
            self.encrypt(cx, None)?;
        }
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

/// Received bytes that the session has not taken yet.
struct Incoming {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    /// The last read left no room, so that the next one is worth more of it.
    was_filled: bool,
}

impl Incoming {
    fn new() -> Self {
        Self { bytes: vec![0; INCOMING_BYTES_MIN], start: 0, end: 0, was_filled: false }
    }

    const fn len(&self) -> usize {
        self.end.saturating_sub(self.start)
    }

    fn filled(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.start..self.end).unwrap_or_default()
    }

    fn discard(&mut self, bytes: usize) {
        self.start = self.start.saturating_add(bytes).min(self.end);
    }

    /// Room for a read, behind what waits. It grows while reads fill it, and where a message is larger.
    fn room(&mut self) -> io::Result<&mut [u8]> {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end = self.end.saturating_sub(self.start);
            self.start = 0;
        }
        let is_full = self.end == self.bytes.len();
        if self.bytes.len() < INCOMING_BYTES_MAX && (self.was_filled || is_full) {
            self.bytes.resize(self.bytes.len().saturating_mul(2).min(INCOMING_BYTES_MAX), 0);
        } else if is_full {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a TLS message is too large"));
        }
        Ok(self.bytes.get_mut(self.end..).unwrap_or_default())
    }

    fn received(&mut self, bytes: usize) {
        self.end = self.end.saturating_add(bytes).min(self.bytes.len());
        self.was_filled = self.end == self.bytes.len();
    }
}

/// Bytes on their way, taken from the front.
#[derive(Default)]
struct Pending {
    bytes: Vec<u8>,
    start: usize,
}

impl Pending {
    fn rest(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    fn len(&self) -> usize {
        self.rest().len()
    }

    fn is_empty(&self) -> bool {
        self.rest().is_empty()
    }

    fn took(&mut self, bytes: usize) {
        self.start = self.start.saturating_add(bytes);
        if self.is_empty() {
            self.bytes.clear();
            self.start = 0;
        }
    }

    /// Appends what `write` puts into `room` bytes.
    fn append<E>(&mut self, room: usize, write: impl FnOnce(&mut [u8]) -> Result<usize, E>) -> Result<(), E> {
        let end = self.bytes.len();
        self.bytes.resize(end.saturating_add(room), 0);
        let written = write(self.bytes.get_mut(end..).unwrap_or_default());
        self.bytes.truncate(end.saturating_add(*written.as_ref().unwrap_or(&0)));
        written.map(|_| ())
    }

    /// Gives decrypted bytes to the reader, if one is there, and keeps those that it has no room for.
    fn give(&mut self, payload: &[u8], want: &mut Want<'_, '_>) {
        let now = match want {
            Want::Read(buffer) if self.is_empty() => {
                let fits = payload.get(..buffer.remaining()).unwrap_or(payload);
                buffer.put_slice(fits);
                fits.len()
            }
            Want::Read(_) | Want::Handshake | Want::Write(_) | Want::Close => 0,
        };
        self.bytes.extend_from_slice(payload.get(now..).unwrap_or_default());
    }

    /// Gives what was kept.
    fn pour(&mut self, buffer: &mut ReadBuf<'_>) {
        let fits = self.rest().get(..buffer.remaining()).unwrap_or(self.rest());
        buffer.put_slice(fits);
        let poured = fits.len();
        self.took(poured);
    }
}

fn invalid(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

fn encode_failed(error: &EncodeError) -> rustls::Error {
    rustls::Error::General(error.to_string())
}

fn encrypt_failed(error: &EncryptError) -> rustls::Error {
    rustls::Error::General(error.to_string())
}
