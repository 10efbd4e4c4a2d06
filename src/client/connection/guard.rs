//! A stream that watches the frames that pass, and that can be ended from outside.
//!
//! A broker answers one connection's requests in order. So each answer must carry the oldest unanswered correlation
//! id; anything else means that framing is in doubt, and the stream fails at that byte, for everyone. The same holds
//! for a length that is negative or above the cap, before a byte of that frame is read. A stream that ends
//! with requests unanswered is reset, so that none of them arrives late. Written bytes are gathered until they are
//! flushed, so that a frame leaves in one piece.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, BufWriter, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::client::connection::low_water::LowWater;
use crate::client::connection::{CloseCause, Peer};
use crate::client::flight::{FlightRecorder, FlightStep};
use crate::client::tls::TlsStream;

/// A connected byte stream: TCP, or TLS over it.
pub(super) type Stream = Box<dyn Duplex>;

/// What a connection needs of a stream.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin + 'static {
    /// The socket under it; `None` in tests alone.
    fn tcp(&self) -> Option<&TcpStream>;

    /// Bytes that the socket gave and that the reader has not had yet.
    fn held_back(&self) -> usize;
}

impl Duplex for TcpStream {
    fn tcp(&self) -> Option<&TcpStream> {
        Some(self)
    }

    fn held_back(&self) -> usize {
        0
    }
}

impl Duplex for TlsStream {
    fn tcp(&self) -> Option<&TcpStream> {
        Some(self.tcp())
    }

    fn held_back(&self) -> usize {
        self.held_back()
    }
}

#[cfg(test)]
impl Duplex for tokio::io::DuplexStream {
    fn tcp(&self) -> Option<&TcpStream> {
        None
    }

    fn held_back(&self) -> usize {
        0
    }
}

/// The end of a connection and its one cause.
pub(super) struct Fate {
    /// Whose end it is, for the flight recorder.
    peer: Peer,
    flight: Arc<FlightRecorder>,
    cause: OnceLock<CloseCause>,
    ended: CancellationToken,
}

impl Fate {
    pub(super) fn new(peer: Peer, flight: Arc<FlightRecorder>) -> Self {
        Self { peer, flight, cause: OnceLock::new(), ended: CancellationToken::new() }
    }

    /// Ends the connection unless it has ended; gives back the cause that counts.
    pub(super) fn end(&self, cause: CloseCause) -> CloseCause {
        let counts = self.cause.get_or_init(|| {
            self.flight.record(FlightStep::Disconnected, format_args!("{}: {cause}", self.peer));
            cause
        });
        let counts = counts.clone();
        self.ended.cancel();
        counts
    }

    pub(super) fn cause(&self) -> Option<&CloseCause> {
        self.cause.get()
    }

    pub(super) async fn ended(&self) -> CloseCause {
        self.ended.cancelled().await;
        self.cause.get().cloned().unwrap_or(CloseCause::ClosedByUs)
    }
}

/// The guarded stream. Once ended it drops the socket and fails every read and write.
pub(super) struct Guarded {
    stream: Option<BufWriter<Stream>>,
    frames: FrameWatch,
    low_water: LowWater,
    fate: Arc<Fate>,
    // Reader and writer are different tasks, so each needs a waker of its own.
    ended_for_reader: Pin<Box<WaitForCancellationFutureOwned>>,
    ended_for_writer: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Guarded {
    pub(super) fn new(stream: Stream, response_bytes_max: usize, fate: Arc<Fate>) -> Self {
        Self {
            stream: Some(BufWriter::new(stream)),
            frames: FrameWatch::new(response_bytes_max),
            low_water: LowWater::new(),
            ended_for_reader: Box::pin(fate.ended.clone().cancelled_owned()),
            ended_for_writer: Box::pin(fate.ended.clone().cancelled_owned()),
            fate,
        }
    }

    fn end(&mut self, cause: CloseCause) -> io::Error {
        self.drop_stream();
        io::Error::new(io::ErrorKind::ConnectionAborted, self.fate.end(cause))
    }

    /// Closes the socket. A request that was given up must not reach the broker after the one that takes its place: a
    /// late `JoinGroup` would be a second member, a late `OffsetCommit` would go back.
    fn drop_stream(&mut self) {
        if let Some(stream) = self.stream.take()
            && !self.frames.unanswered.is_empty()
            && let Some(tcp) = stream.get_ref().tcp()
        {
            // The coming close is a reset: what is still on its way to the broker is thrown away. Best effort: a socket that is
            // already gone has nothing on its way.
            let _ = SockRef::from(tcp).set_linger(Some(Duration::ZERO));
        }
    }

    /// Lets the socket gather as much of a large answer as is surely still to come.
    fn gather(&mut self) {
        let Some(stream) = self.stream.as_ref().map(BufWriter::get_ref) else { return };
        if let Some(tcp) = stream.tcp() {
            self.low_water.expect(tcp, self.frames.incoming.rest.saturating_sub(stream.held_back()));
        }
    }

    fn end_with(&mut self, error: &io::Error) -> io::Error {
        self.end(CloseCause::Io(error.to_string()))
    }

    /// The stream, unless it is over.
    fn writer(&mut self, cx: &mut Context<'_>) -> io::Result<Pin<&mut BufWriter<Stream>>> {
        if self.ended_for_writer.as_mut().poll(cx).is_ready() {
            self.drop_stream();
        }
        match &mut self.stream {
            Some(stream) => Ok(Pin::new(stream)),
            None => Err(io::Error::from(io::ErrorKind::ConnectionAborted)),
        }
    }

    fn writes<T>(&mut self, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        result.map_err(|error| self.end_with(&error))
    }
}

impl AsyncRead for Guarded {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.ended_for_reader.as_mut().poll(cx).is_ready() {
            this.drop_stream();
        }
        let Some(stream) = &mut this.stream else {
            return Poll::Ready(Err(io::Error::from(io::ErrorKind::ConnectionAborted)));
        };
        let filled = buffer.filled().len();
        let wanted = buffer.remaining();
        if let Err(error) = std::task::ready!(Pin::new(stream).poll_read(cx, buffer)) {
            return Poll::Ready(Err(this.end_with(&error)));
        }
        let new = buffer.filled().get(filled..).unwrap_or_default();
        if new.is_empty() && wanted > 0 {
            return Poll::Ready(Err(this.end(CloseCause::ClosedByPeer)));
        }
        this.frames.received(new).map_err(|cause| this.end(cause))?;
        this.gather();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = self.writer(cx)?.poll_write(cx, bytes);
        if let Poll::Ready(Ok(written)) = &result {
            self.frames.sent(bytes.get(..*written).unwrap_or_default());
        }
        self.writes(result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = self.writer(cx)?.poll_flush(cx);
        self.writes(result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = self.writer(cx)?.poll_shutdown(cx);
        self.writes(result)
    }
}

/// Follows the frames in both directions.
struct FrameWatch {
    response_bytes_max: usize,
    outgoing: Frame<12>,
    incoming: Frame<8>,
    unanswered: VecDeque<i32>,
}

/// Where a byte stream stands: in the first bytes of a frame, or in the rest of it.
struct Frame<const HEAD: usize> {
    head: [u8; HEAD],
    have: usize,
    rest: usize,
}

impl<const HEAD: usize> Frame<HEAD> {
    const START: Self = Self { head: [0; HEAD], have: 0, rest: 0 };

    /// Takes the next bytes of the head, or skips those of the rest; gives back what is left of `bytes`.
    fn advance<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        if self.have == HEAD {
            let skipped = self.rest.min(bytes.len());
            self.rest = self.rest.saturating_sub(skipped);
            if self.rest == 0 {
                self.have = 0;
            }
            return bytes.get(skipped..).unwrap_or_default();
        }
        let taken = HEAD.saturating_sub(self.have).min(bytes.len());
        let (new, left) = bytes.split_at_checked(taken).unwrap_or((bytes, &[]));
        let end = self.have.saturating_add(taken);
        if let Some(place) = self.head.get_mut(self.have..end) {
            place.copy_from_slice(new);
        }
        self.have = end;
        left
    }

    /// Four bytes of the head as a number, if they are there.
    fn number(&self, at: usize) -> Option<i32> {
        let end = at.checked_add(4).filter(|end| *end <= self.have)?;
        let bytes = self.head.get(at..end)?;
        Some(i32::from_be_bytes(bytes.try_into().ok()?))
    }

    /// The head is complete: the rest of a frame of `length` bytes follows, of which the head held all but 4.
    fn begin_rest(&mut self, length: usize) {
        self.rest = length.saturating_sub(HEAD.saturating_sub(4));
        if self.rest == 0 {
            self.have = 0;
        }
    }
}

impl FrameWatch {
    fn new(response_bytes_max: usize) -> Self {
        Self { response_bytes_max, outgoing: Frame::START, incoming: Frame::START, unanswered: VecDeque::new() }
    }

    /// Request frames: length, API key, version, correlation id. They are our own, so lengths are right.
    fn sent(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let was_head = self.outgoing.have < 12;
            bytes = self.outgoing.advance(bytes);
            if was_head && let (Some(length), Some(correlation)) = (self.outgoing.number(0), self.outgoing.number(8)) {
                self.unanswered.push_back(correlation);
                self.outgoing.begin_rest(usize::try_from(length).unwrap_or(0));
            }
        }
    }

    /// Response frames: length, correlation id.
    fn received(&mut self, mut bytes: &[u8]) -> Result<(), CloseCause> {
        while !bytes.is_empty() {
            let was_head = self.incoming.have < 8;
            bytes = self.incoming.advance(bytes);
            if !was_head {
                continue;
            }
            let Some(announced) = self.incoming.number(0) else { continue };
            let length = self.check_length(announced)?;
            if let Some(got) = self.incoming.number(4) {
                let expected = self.unanswered.pop_front();
                if expected != Some(got) {
                    return Err(CloseCause::Correlation { expected, got });
                }
                self.incoming.begin_rest(length);
            }
        }
        Ok(())
    }

    fn check_length(&self, announced: i32) -> Result<usize, CloseCause> {
        let length = usize::try_from(announced).ok().filter(|length| *length >= 4);
        let length = length.ok_or(CloseCause::FrameLength(announced))?;
        let limit = self.response_bytes_max;
        if length > limit { Err(CloseCause::TooLarge { length, limit }) } else { Ok(length) }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn request(correlation: i32, body: usize) -> Vec<u8> {
        let length = i32::try_from(8 + body).unwrap();
        [&length.to_be_bytes()[..], &[0, 18, 0, 3], &correlation.to_be_bytes(), &vec![7; body]].concat()
    }

    fn response(correlation: i32, body: usize) -> Vec<u8> {
        let length = i32::try_from(4 + body).unwrap();
        [&length.to_be_bytes()[..], &correlation.to_be_bytes(), &vec![7; body]].concat()
    }

    #[test]
    fn answers_in_order_pass_however_the_bytes_are_cut() {
        let sent: Vec<u8> = (0..5).flat_map(|id| request(id, usize::try_from(id).unwrap() * 3)).collect();
        let received: Vec<u8> = (0..5).flat_map(|id| response(id, usize::try_from(id).unwrap() * 5)).collect();
        for cut in 1..=received.len() {
            let mut watch = FrameWatch::new(1000);
            sent.chunks(cut).for_each(|bytes| watch.sent(bytes));
            for bytes in received.chunks(cut) {
                assert_eq!(watch.received(bytes), Ok(()), "cut into {cut}");
            }
            assert!(watch.unanswered.is_empty());
        }
    }

    #[test]
    fn an_answer_to_another_request_is_refused() {
        let mut watch = FrameWatch::new(1000);
        watch.sent(&request(0, 1));
        watch.sent(&request(1, 1));
        let refused = watch.received(&response(1, 0));
        assert_eq!(refused, Err(CloseCause::Correlation { expected: Some(0), got: 1 }));
    }

    #[test]
    fn an_answer_to_nothing_is_refused() {
        let refused = FrameWatch::new(1000).received(&response(0, 9));
        assert_eq!(refused, Err(CloseCause::Correlation { expected: None, got: 0 }));
    }

    #[test]
    fn an_oversized_frame_is_refused_at_its_length() {
        let mut watch = FrameWatch::new(1000);
        watch.sent(&request(0, 1));
        let refused = watch.received(&0x7fff_fff0_i32.to_be_bytes());
        assert_eq!(refused, Err(CloseCause::TooLarge { length: 0x7fff_fff0, limit: 1000 }));
    }

    #[test]
    fn a_frame_without_room_for_its_header_is_refused() {
        for length in [-1_i32, 0, 3] {
            let refused = FrameWatch::new(1000).received(&length.to_be_bytes());
            assert_eq!(refused, Err(CloseCause::FrameLength(length)));
        }
    }

    /// What the broker reads after a request, when this side ends the connection before or after the answer.
    async fn what_the_broker_sees(answered: bool) -> io::Result<usize> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dialled = TcpStream::connect(listener.local_addr().unwrap());
        let (ours, accepted) = tokio::join!(dialled, listener.accept());
        let (mut theirs, _) = accepted.unwrap();
        let name = crate::client::config::HostPort::parse("broker:9092").unwrap();
        let peer = Peer { name, address: "127.0.0.1:9092".parse().unwrap() };
        let fate = Arc::new(Fate::new(peer, Arc::default()));
        let mut guarded = Guarded::new(Box::new(ours.unwrap()), 1_000, Arc::clone(&fate));
        let request = [0, 0, 0, 8, 0, 11, 0, 9, 0, 0, 0, 7];
        guarded.write_all(&request).await.unwrap();
        guarded.flush().await.unwrap();
        theirs.read_exact(&mut [0; 12]).await.unwrap();
        if answered {
            theirs.write_all(&[0, 0, 0, 4, 0, 0, 0, 7]).await.unwrap();
            guarded.read_exact(&mut [0; 8]).await.unwrap();
        }
        fate.end(CloseCause::ClosedByUs);
        guarded.read(&mut [0; 8]).await.unwrap_err();
        theirs.read(&mut [0; 1]).await
    }

    #[tokio::test]
    async fn a_connection_that_ends_with_a_request_unanswered_is_reset_and_any_other_is_closed() {
        assert_eq!(what_the_broker_sees(false).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(what_the_broker_sees(true).await.unwrap(), 0);
    }
}
