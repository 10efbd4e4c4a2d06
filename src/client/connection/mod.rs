//! One socket to one broker: requests in, typed answers out, a deadline on each.
//!
//! Promised: dropping a caller never touches the wire, its answer is read and thrown away; a timeout, an answer out of
//! order, too large or not understood ends the connection for everyone on it, with one cause; a throttle (KIP-219) is
//! waited out before the next request and no answer is discarded for it; an idle connection and one whose SASL session
//! is about to end (KIP-368) are closed by this side, as a plan and not as an error.
//! Absent: retries, back-off and the choice of a broker, see `cluster`.

mod error;
mod frames;
#[cfg(fuzzing)]
mod fuzz;
mod guard;
mod low_water;
mod messenger;
mod open;
mod tenure;
mod wire;

use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use kafka_proto::error_code::ErrorCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::client::config::{ClientConfig, HostPort};
use crate::client::flight::{FlightRecorder, FlightStep};
use crate::client::request::api_versions::ApiVersions;
use crate::client::request::{AtMost, Exchange, Malformed, Reader, VersionRange};

pub use error::{CloseCause, RequestError};
#[cfg(fuzzing)]
pub use fuzz::read_as_answer;
use guard::Fate;
pub use open::ConnectError;
pub(crate) use open::Connector;
use tenure::{Tenure, Tenures};
pub(crate) use wire::Load;
use wire::{Answered, Wire, WireError};

/// Requests that may wait for an answer on one connection; further ones wait for their turn.
const IN_FLIGHT_MAX: usize = 64;

/// A connection, ready for use: versions negotiated, authenticated. Clones share it; the last one closes it.
#[derive(Clone)]
pub(crate) struct Connection {
    inner: Arc<Inner>,
    tenure: Tenure,
}

struct Inner {
    peer: Peer,
    wire: Wire,
    ranges: BTreeMap<i16, VersionRange>,
    fate: Arc<Fate>,
    turns: Arc<Semaphore>,
    tenures: Tenures,
    opened_at: Instant,
    max_idle: Duration,
    last_used: Mutex<Instant>,
    muted_until: Mutex<Option<Instant>>,
    retire_at: OnceLock<Instant>,
    throttles: AtomicU64,
    flight: Arc<FlightRecorder>,
}

/// Who is at the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// As configured or advertised.
    pub(crate) name: HostPort,
    /// The address that answered.
    pub(crate) address: SocketAddrV4,
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at {}", self.name, self.address)
    }
}

impl Connection {
    /// Takes over a fresh stream and learns the broker's versions (KIP-35; KIP-511 names this software).
    async fn negotiate(
        load: Load,
        stream: guard::Stream,
        peer: Peer,
        config: &ClientConfig,
        flight: Arc<FlightRecorder>,
    ) -> Result<Self, RequestError> {
        let fate = Arc::new(Fate::new(peer.clone(), Arc::clone(&flight)));
        let (largest, client_id) = (config.receive_message_max_bytes, config.client_id.as_str());
        let mut wire = Wire::new(load, stream, largest, client_id, Arc::clone(&fate));
        let ranges = learn_versions(&mut wire, &fate, config.request_timeout).await?;
        wire.set_ranges(&ranges);
        wire.watch();
        let now = Instant::now();
        let inner = Arc::new(Inner {
            peer,
            wire,
            ranges,
            fate,
            turns: Arc::new(Semaphore::new(IN_FLIGHT_MAX)),
            tenures: Tenures::default(),
            opened_at: now,
            max_idle: config.connections_max_idle,
            last_used: Mutex::new(now),
            muted_until: Mutex::new(None),
            retire_at: OnceLock::new(),
            throttles: AtomicU64::new(0),
            flight,
        });
        tokio::spawn(close_in_time(Arc::downgrade(&inner), Arc::clone(&inner.fate)));
        Ok(Self { tenure: inner.tenures.present(), inner })
    }

    /// Sends `request` and waits for the answer, at most `deadline` after sending; a throttle is waited out before.
    ///
    /// Cancel-safe: once sent, the exchange goes on without the caller and its deadline stays in force.
    pub(crate) async fn request<R: Exchange>(
        &self,
        request: R,
        deadline: Duration,
    ) -> Result<R::Response, RequestError> {
        let (inner, tenure) = (Arc::clone(&self.inner), self.tenure);
        inner.usable(tenure)?;
        let turn = inner.turn().await?;
        let exchange = tokio::spawn(async move {
            let answer = inner.exchange(&request, deadline, tenure).await;
            drop(turn);
            inner.close_if_retired();
            answer
        });
        // The task ends early only with its runtime, and then nobody may rely on the connection.
        exchange.await.unwrap_or(Err(RequestError::Closed(CloseCause::ClosedByUs)))
    }

    /// The version in which `R` would be spoken to this broker, given what this client speaks.
    #[cfg(test)]
    pub(crate) fn api_version<R: Exchange>(&self) -> Option<i16> {
        self.inner.ranges.get(&R::KEY.code)?.newest_common(R::VERSIONS)
    }

    /// Whether requests are refused: it is over, about to be replaced, or another's. Who finds it at the end of its session
    /// closes it: it is about to be dropped for a new one, which would leave no word of why.
    pub(crate) fn is_closed(&self) -> bool {
        self.inner.close_if_retired();
        self.inner.usable(self.tenure).is_err()
    }

    /// Closes it for everyone, now; one that was handed over is not its former holder's to close.
    pub(crate) fn close(&self) {
        if self.inner.tenures.present() == self.tenure {
            self.inner.fate.end(CloseCause::ClosedByUs);
        }
    }

    /// Completes when the connection is over.
    #[cfg(test)]
    pub(crate) async fn closed(&self) -> CloseCause {
        self.inner.fate.ended().await
    }

    /// Who is at the other end.
    pub(crate) fn peer(&self) -> &Peer {
        &self.inner.peer
    }

    /// How long since it was opened.
    pub(crate) fn age(&self) -> Duration {
        self.inner.opened_at.elapsed()
    }

    /// How long until it is replaced because of its SASL session; `None`: no limit.
    pub(crate) fn session_left(&self) -> Option<Duration> {
        self.inner.retire_at.get().map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// How long the broker's throttle still holds.
    pub(crate) fn muted_for(&self) -> Option<Duration> {
        let left = lock(&self.inner.muted_until).map(|until| until.saturating_duration_since(Instant::now()));
        left.filter(|left| !left.is_zero())
    }

    /// How many answers asked for a throttle.
    pub(crate) fn throttles(&self) -> u64 {
        self.inner.throttles.load(Ordering::Relaxed)
    }

    /// Sends nothing more from that moment on; what is under way may finish. The first call counts.
    fn retire_at(&self, at: Instant) {
        if self.inner.retire_at.set(at).is_ok() {
            // A second watch, because the first may sleep until the connection would be idle.
            tokio::spawn(close_in_time(Arc::downgrade(&self.inner), Arc::clone(&self.inner.fate)));
        }
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Connection({})", self.inner.peer)
    }
}

impl Inner {
    fn usable(&self, tenure: Tenure) -> Result<(), RequestError> {
        match self.fate.cause() {
            Some(cause) => Err(RequestError::Closed(cause.clone())),
            None if self.is_retired() => Err(RequestError::Closed(CloseCause::SessionEnding)),
            None if self.tenures.present() != tenure => Err(RequestError::Closed(CloseCause::HandedOver)),
            None => Ok(()),
        }
    }

    fn is_retired(&self) -> bool {
        self.retire_at.get().is_some_and(|at| *at <= Instant::now())
    }

    /// Waits for a free place and for the end of a throttle.
    async fn turn(&self) -> Result<OwnedSemaphorePermit, RequestError> {
        let waited = async {
            let permit = Arc::clone(&self.turns).acquire_owned().await;
            loop {
                let muted_until = *lock(&self.muted_until);
                match muted_until {
                    Some(until) if until > Instant::now() => tokio::time::sleep_until(until).await,
                    _ => break,
                }
            }
            permit
        };
        tokio::select! {
            cause = self.fate.ended() => Err(RequestError::Closed(cause)),
            permit = waited => permit.map_err(|_| RequestError::Closed(CloseCause::ClosedByUs)),
        }
    }

    async fn exchange<R: Exchange>(
        &self,
        request: &R,
        deadline: Duration,
        tenure: Tenure,
    ) -> Result<R::Response, RequestError> {
        // Once more, right before it is sent: a throttle or the wait for a turn may have outlasted the session, or the tenure.
        self.usable(tenure)?;
        *lock(&self.last_used) = Instant::now();
        let theirs = self.ranges.get(&R::KEY.code).copied();
        if theirs.and_then(|theirs| theirs.newest_common(R::VERSIONS)).is_none() {
            return Err(RequestError::Unsupported { api: R::KEY, ours: R::VERSIONS, theirs });
        }
        let (answer, throttle) = ask(&self.wire, &self.fate, request, deadline).await?;
        *lock(&self.last_used) = Instant::now();
        if !throttle.is_zero() {
            self.mute(throttle);
        }
        Ok(answer)
    }

    /// Throttles do not add up: the latest end counts (KIP-219).
    fn mute(&self, throttle: Duration) {
        self.throttles.fetch_add(1, Ordering::Relaxed);
        self.flight.record(FlightStep::Throttled, format_args!("{} for {} ms", self.peer, throttle.as_millis()));
        let until = Instant::now() + throttle.min(THROTTLE_MAX);
        let mut muted = lock(&self.muted_until);
        *muted = Some(muted.map_or(until, |earlier| earlier.max(until)));
    }

    fn in_flight(&self) -> usize {
        IN_FLIGHT_MAX.saturating_sub(self.turns.available_permits())
    }

    fn close_if_retired(&self) {
        if self.is_retired() && self.in_flight() == 0 {
            self.fate.end(CloseCause::SessionEnding);
        }
    }

    /// Closes what is due and says when to look again.
    fn close_if_due(&self) -> Instant {
        self.close_if_retired();
        let idle_at = *lock(&self.last_used) + self.max_idle;
        let now = Instant::now();
        if idle_at <= now && self.in_flight() == 0 {
            self.fate.end(CloseCause::Idle(self.max_idle));
        }
        // A request under way ends the wait for idleness; a retired connection is closed by its last request.
        let idle_at = if idle_at <= now { now + self.max_idle } else { idle_at };
        match self.retire_at.get() {
            Some(retire_at) if *retire_at > now => idle_at.min(*retire_at),
            _ => idle_at,
        }
    }
}

/// A broker cannot silence a client for longer than this by one answer.
const THROTTLE_MAX: Duration = Duration::from_mins(5);

/// Closes the connection when it was idle for too long or its session is about to end. Holds no reference to it.
async fn close_in_time(connection: Weak<Inner>, fate: Arc<Fate>) {
    loop {
        let Some(look_again) = connection.upgrade().map(|inner| inner.close_if_due()) else { return };
        tokio::select! {
            _ = fate.ended() => {
                if let Some(connection) = connection.upgrade() {
                    connection.wire.hang_up().await;
                }
                return;
            }
            () = tokio::time::sleep_until(look_again) => {}
        }
    }
}

/// `ApiVersions` in the newest version; a broker that does not know that one is asked again in version 0 (KIP-511).
async fn learn_versions(
    wire: &mut Wire,
    fate: &Fate,
    deadline: Duration,
) -> Result<BTreeMap<i16, VersionRange>, RequestError> {
    wire.set_ranges(&BTreeMap::from([(ApiVersions::KEY.code, ApiVersions::VERSIONS)]));
    let (mut answer, _) = ask(wire, fate, &ApiVersions, deadline).await?;
    if answer.error == ErrorCode::from(UNSUPPORTED_VERSION) {
        (answer, _) = ask(wire, fate, &AtMost::<0, _>(ApiVersions), deadline).await?;
    }
    if answer.error == ErrorCode::from(0) {
        return Ok(answer.ranges);
    }
    let theirs = answer.ranges.get(&ApiVersions::KEY.code).copied();
    Err(RequestError::Unsupported { api: ApiVersions::KEY, ours: ApiVersions::VERSIONS, theirs })
}

const UNSUPPORTED_VERSION: i16 = 35;

/// One exchange on the wire under a deadline. Whatever goes wrong after sending ends the connection.
async fn ask<R: Exchange>(
    wire: &Wire,
    fate: &Fate,
    request: &R,
    deadline: Duration,
) -> Result<(R::Response, Duration), RequestError> {
    let answered = tokio::select! {
        biased;
        answered = wire.exchange(request) => answered,
        cause = fate.ended() => return Err(RequestError::Closed(cause)),
        () = tokio::time::sleep(deadline) => {
            return Err(RequestError::Closed(fate.end(CloseCause::TimedOut { api: R::KEY, after: deadline })));
        }
    };
    let answered = answered.map_err(|error| match error {
        WireError::Encode(what) => RequestError::Encode { api: R::KEY, what },
        WireError::NoVersion => RequestError::Unsupported { api: R::KEY, ours: R::VERSIONS, theirs: None },
        WireError::Broken(what) => RequestError::Closed(fate.end(CloseCause::Io(what))),
    })?;
    let version = answered.version;
    read_answer::<R>(answered)
        .map_err(|what| RequestError::Closed(fate.end(CloseCause::Malformed { api: R::KEY, version, what })))
}

fn read_answer<R: Exchange>(answered: Answered) -> Result<(R::Response, Duration), Malformed> {
    let version = answered.version;
    let flexible = version >= R::FIRST_FLEXIBLE;
    let body: Bytes = answered.bytes;
    let mut reader = Reader::new(body, version, flexible);
    if flexible && R::KEY != ApiVersions::KEY {
        // The header's own tagged fields; ApiVersions keeps the old header, so that any client can read it (KIP-511).
        reader.tags()?;
    }
    let answer = R::read(&mut reader)?;
    reader.finish()?;
    Ok((answer, reader.throttle()))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
