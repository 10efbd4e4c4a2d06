//! One exchange after the other, with answers in buffers that are used again: for connections that only fetch.
//!
//! The Messenger gives each answer memory of its own. Answers to fetches are megabytes, one after the other without a
//! pause, and a heap that grows and shrinks by as much costs more than all that is done with the bytes. Here an answer is
//! read straight into a buffer that comes back when its last record was dropped. Promised: a length prefix chooses no
//! allocation, memory grows with what has arrived; whoever is dropped half way through leaves no half-read stream behind,
//! it is closed; an end that comes between two exchanges is noticed when it comes. Absent: several requests under way, which
//! a fetching connection does not have.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::task::Poll;

use bytes::{Buf, BufMut, Bytes};
use kafka_proto::buffers::Buffers;
use kafka_protocol::messages::RequestHeader;
use kafka_protocol::protocol::{Encodable, StrBytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Mutex, MutexGuard, Notify};

use crate::client::connection::guard::{Fate, Guarded, Stream};
use crate::client::connection::wire::{Answered, WireError};
use crate::client::request::{Exchange, VersionRange};

/// A larger buffer is not kept: some answers hold one huge batch, most do not.
const KEPT_BYTES_MAX: usize = 8 << 20;
/// The least that a buffer grows by.
const GROWTH_BYTES_MIN: usize = 1 << 20;
const CORRELATION_BYTES: usize = 4;

/// The stream and its buffers.
pub(super) struct Frames {
    /// `None`: an exchange was given up half way, or the connection is over.
    stream: Mutex<Option<Talk>>,
    /// Somebody wants the stream that the watch holds while it is idle.
    wanted: Notify,
    buffers: Buffers,
    ranges: BTreeMap<i16, VersionRange>,
    client_id: StrBytes,
}

/// A stream between two exchanges.
struct Talk {
    stream: Guarded,
    correlation: i32,
    request: Vec<u8>,
}

impl Frames {
    pub(super) fn new(stream: Stream, response_bytes_max: usize, client_id: &str, fate: Arc<Fate>) -> Self {
        let stream = Guarded::new(stream, response_bytes_max, fate);
        Self {
            stream: Mutex::new(Some(Talk { stream, correlation: 0, request: Vec::new() })),
            wanted: Notify::new(),
            buffers: Buffers::new(KEPT_BYTES_MAX),
            ranges: BTreeMap::new(),
            client_id: StrBytes::from_string(client_id.to_owned()),
        }
    }

    /// Tells which versions the broker speaks.
    pub(super) fn set_ranges(&mut self, ranges: &BTreeMap<i16, VersionRange>) {
        self.ranges.clone_from(ranges);
    }

    /// Closes the socket.
    pub(super) async fn hang_up(&self) {
        self.turn().await.take();
    }

    /// Reads while nobody talks, so that the guard learns of an end, or of bytes that nobody asked for, at once.
    pub(super) async fn watch(&self) {
        loop {
            let mut place = self.stream.lock().await;
            let Some(talk) = place.as_mut() else { return };
            let mut nothing = [0; 1];
            tokio::select! {
                () = self.wanted.notified() => {}
                _end = talk.stream.read(&mut nothing) => {
                    place.take();
                    return;
                }
            }
        }
    }

    /// The stream. Stands in the queue for it before it asks the watch to let go: the other way round the watch could take
    /// it again first, and both would wait.
    async fn turn(&self) -> MutexGuard<'_, Option<Talk>> {
        let lock = self.stream.lock();
        tokio::pin!(lock);
        if let Poll::Ready(place) = futures::poll!(lock.as_mut()) {
            return place;
        }
        self.wanted.notify_one();
        lock.await
    }

    /// One request in the newest common version, and its answer.
    pub(super) async fn exchange<R: Exchange>(&self, request: &R) -> Result<Answered, WireError> {
        let theirs = self.ranges.get(&R::KEY.code);
        let version = theirs.and_then(|range| range.newest_common(R::VERSIONS)).ok_or(WireError::NoVersion)?;
        let mut place = self.turn().await;
        let mut talk = place.take().ok_or_else(|| WireError::Broken("an exchange was given up half way".to_owned()))?;
        if let Err(what) = talk.write::<R>(request, version, &self.client_id) {
            *place = Some(talk);
            return Err(WireError::Encode(what));
        }
        let bytes = talk.ask(&self.buffers).await.map_err(|error| WireError::Broken(error.to_string()))?;
        *place = Some(talk);
        Ok(Answered { version, bytes })
    }
}

impl Talk {
    /// Makes the frame of a request.
    fn write<R: Exchange>(&mut self, request: &R, version: i16, client_id: &StrBytes) -> Result<(), String> {
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY.code)
            .with_request_api_version(version)
            .with_correlation_id(self.correlation)
            .with_client_id(Some(client_id.clone()));
        let header_version = if version >= R::FIRST_FLEXIBLE { 2 } else { 1 };
        self.request.clear();
        self.request.put_i32(0);
        let written = header.encode(&mut self.request, header_version);
        let written = written.and_then(|()| request.body(version).encode(&mut self.request, version));
        written.map_err(|error| error.to_string())?;
        let length = i32::try_from(self.request.len().saturating_sub(4)).map_err(|error| error.to_string())?;
        self.request.get_mut(..4).unwrap_or_default().copy_from_slice(&length.to_be_bytes());
        Ok(())
    }

    /// Sends the frame and reads the answer: everything after the correlation id, which the guard has compared.
    async fn ask(&mut self, buffers: &Buffers) -> io::Result<Bytes> {
        self.correlation = self.correlation.wrapping_add(1);
        self.stream.write_all(&self.request).await?;
        self.stream.flush().await?;
        let length = self.stream.read_i32().await?;
        let length = usize::try_from(length).map_err(|_| io::ErrorKind::InvalidData)?;
        let mut buffer = buffers.take();
        buffer.clear();
        while let Some(missing) = length.checked_sub(buffer.len()).filter(|missing| *missing > 0) {
            if buffer.len() == buffer.capacity() {
                buffer.reserve_exact(missing.min(buffer.len().max(GROWTH_BYTES_MIN)));
            }
            // The guard makes an error of an early end.
            self.stream.read_buf(&mut (&mut buffer).limit(missing)).await?;
        }
        let filled = buffer.len();
        let mut answer = buffers.lend(buffer, filled);
        answer.advance(CORRELATION_BYTES.min(filled));
        Ok(answer)
    }
}
