//! Faults that a test plants: they take over the next answers of one API, on one broker or on any.
//!
//! Promised: faults are used up in the order in which they were planted; a request that matches none is answered as
//! usual. Nothing here does the damage; [`connection`](crate::connection) does.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::ApiKey;

use crate::journal::SeenRequest;
use crate::state::Shared;
use crate::wire::{Request, Response};

type Predicate = Arc<dyn Fn(&SeenRequest) -> bool + Send + Sync>;
type FrameChange = Arc<dyn Fn(&mut Vec<u8>) + Send + Sync>;
type Answer = Arc<dyn Fn(&Request, i16) -> Response + Send + Sync>;

/// What happens instead of, or to, the answer.
#[derive(Clone)]
pub(crate) enum Damage {
    /// The answer is this error; the request has no effect.
    Error(ResponseError),
    /// The request is processed after a delay.
    DelayRequest(Duration),
    /// The request is processed at once, its answer sent after a delay.
    DelayResponse(Duration),
    /// The connection is closed; the request has no effect.
    Disconnect,
    /// The request has no effect and no answer; the connection stays open and mute.
    Silence,
    /// The request is processed and its answer never sent; the connection stays open and mute.
    ApplyThenSilence,
    /// The request is processed and the connection closed instead of an answer.
    ApplyThenDisconnect,
    /// The encoded frame, from the correlation id on, goes through this.
    Corrupt(FrameChange),
    /// Half of the frame is sent, then the connection is closed.
    TruncateFrame,
    /// The length in front of the frame is this.
    FrameLength(i32),
    /// The correlation id is another one.
    WrongCorrelation,
    /// The answer is what this says; the request has no effect.
    Respond(Answer),
    /// The answer goes through this before it is encoded.
    Edit(Arc<dyn Fn(&mut Response) + Send + Sync>),
}

struct Fault {
    api: ApiKey,
    broker: Option<i32>,
    predicate: Option<Predicate>,
    skip: usize,
    left: usize,
    damage: Damage,
    hits: Arc<AtomicUsize>,
    id: u64,
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fault").field("api", &self.api).field("left", &self.left).finish_non_exhaustive()
    }
}

/// The faults planted and not yet used up.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    planted: Vec<Fault>,
}

impl Faults {
    /// Uses up one matching fault for this request.
    pub(crate) fn take(&mut self, seen: &SeenRequest) -> Option<Damage> {
        let at = self.planted.iter_mut().position(|fault| fault.matches(seen))?;
        let fault = self.planted.get_mut(at)?;
        fault.left = fault.left.saturating_sub(1);
        fault.hits.fetch_add(1, Ordering::SeqCst);
        let damage = fault.damage.clone();
        if fault.left == 0 {
            self.planted.remove(at);
        }
        Some(damage)
    }

    pub(crate) fn clear(&mut self) {
        self.planted.clear();
    }
}

impl Fault {
    /// Whether this request is to be damaged; counts down those that are to be let through first.
    fn matches(&mut self, seen: &SeenRequest) -> bool {
        let meant = self.api == seen.request.api_key()
            && self.broker.is_none_or(|broker| broker == seen.broker)
            && self.predicate.as_ref().is_none_or(|wanted| wanted(seen));
        if meant && self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        meant
    }
}

/// Says which requests are meant; a last call says what happens to them and plants the fault.
#[must_use = "a fault is planted by the call that says what happens"]
pub struct FaultBuilder<'a> {
    shared: &'a Arc<Shared>,
    api: ApiKey,
    broker: Option<i32>,
    predicate: Option<Predicate>,
    skip: usize,
    times: usize,
}

impl fmt::Debug for FaultBuilder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultBuilder").field("api", &self.api).field("times", &self.times).finish_non_exhaustive()
    }
}

impl<'a> FaultBuilder<'a> {
    pub(crate) fn new(shared: &'a Arc<Shared>, api: ApiKey) -> Self {
        Self { shared, api, broker: None, predicate: None, skip: 0, times: 1 }
    }

    /// Only at this broker; at any unless said.
    pub fn at_broker(mut self, broker: i32) -> Self {
        self.broker = Some(broker);
        self
    }

    /// The next `times` matching requests; one unless said.
    pub fn times(mut self, times: usize) -> Self {
        self.times = times;
        self
    }

    /// Every matching request until the handle removes the fault.
    pub fn always(self) -> Self {
        self.times(usize::MAX)
    }

    /// Lets the first `requests` matching ones through.
    pub fn after(mut self, requests: usize) -> Self {
        self.skip = requests;
        self
    }

    /// Only requests of which this is true.
    pub fn when(mut self, predicate: impl Fn(&SeenRequest) -> bool + Send + Sync + 'static) -> Self {
        self.predicate = Some(Arc::new(predicate));
        self
    }

    /// Answers with an error, in every place where the API has one; the request has no effect.
    pub fn error(self, error: ResponseError) -> FaultHandle {
        self.plant(Damage::Error(error))
    }

    /// Processes the request this much later.
    pub fn delay(self, delay: Duration) -> FaultHandle {
        self.plant(Damage::DelayRequest(delay))
    }

    /// Processes the request at once and sends the answer this much later.
    pub fn delay_response(self, delay: Duration) -> FaultHandle {
        self.plant(Damage::DelayResponse(delay))
    }

    /// Closes the connection; the request has no effect.
    pub fn disconnect(self) -> FaultHandle {
        self.plant(Damage::Disconnect)
    }

    /// Never answers; the request has no effect, and the connection stays open and mute.
    pub fn silence(self) -> FaultHandle {
        self.plant(Damage::Silence)
    }

    /// Processes the request and never answers; the connection stays open and mute.
    pub fn apply_then_silence(self) -> FaultHandle {
        self.plant(Damage::ApplyThenSilence)
    }

    /// Processes the request and closes the connection instead of answering: the outcome is unknown to the client.
    pub fn apply_then_disconnect(self) -> FaultHandle {
        self.plant(Damage::ApplyThenDisconnect)
    }

    /// Changes the frame, from the correlation id on; the length in front is that of the result.
    pub fn corrupt(self, change: impl Fn(&mut Vec<u8>) + Send + Sync + 'static) -> FaultHandle {
        self.plant(Damage::Corrupt(Arc::new(change)))
    }

    /// Sends half of the frame and closes the connection.
    pub fn truncate_frame(self) -> FaultHandle {
        self.plant(Damage::TruncateFrame)
    }

    /// Puts this length in front of the frame: `i32::MAX`, 0 or a negative one.
    pub fn frame_length(self, length: i32) -> FaultHandle {
        self.plant(Damage::FrameLength(length))
    }

    /// Answers under a correlation id that was never sent.
    pub fn wrong_correlation(self) -> FaultHandle {
        self.plant(Damage::WrongCorrelation)
    }

    /// Answers what the closure says of the request and its version; the request has no effect.
    pub fn respond_with(self, answer: impl Fn(&Request, i16) -> Response + Send + Sync + 'static) -> FaultHandle {
        self.plant(Damage::Respond(Arc::new(answer)))
    }

    /// Processes the request and lets the closure change the answer.
    pub fn edit(self, change: impl Fn(&mut Response) + Send + Sync + 'static) -> FaultHandle {
        self.plant(Damage::Edit(Arc::new(change)))
    }

    fn plant(self, damage: Damage) -> FaultHandle {
        let hits = Arc::new(AtomicUsize::new(0));
        let mut state = self.shared.lock();
        let id = state.fresh();
        let fault = Fault {
            api: self.api,
            broker: self.broker,
            predicate: self.predicate,
            skip: self.skip,
            left: self.times,
            damage,
            hits: Arc::clone(&hits),
            id,
        };
        if self.times > 0 {
            state.faults.planted.push(fault);
        }
        drop(state);
        FaultHandle { shared: Arc::clone(self.shared), id, hits }
    }
}

/// A planted fault. Dropping the handle leaves it planted.
#[derive(Clone)]
pub struct FaultHandle {
    shared: Arc<Shared>,
    id: u64,
    hits: Arc<AtomicUsize>,
}

impl fmt::Debug for FaultHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultHandle").field("hits", &self.hits()).finish_non_exhaustive()
    }
}

impl FaultHandle {
    /// How many requests it has damaged.
    pub fn hits(&self) -> usize {
        self.hits.load(Ordering::SeqCst)
    }

    /// Takes the fault away.
    pub fn remove(&self) {
        self.shared.lock().faults.planted.retain(|fault| fault.id != self.id);
    }
}
