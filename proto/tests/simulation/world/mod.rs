//! The world of one run: members with the real machine, a network that loses, delays, repeats and breaks off, a
//! coordinator that moves, a log, and a virtual clock. After every event the invariants are checked.

mod application;
mod chaos;
mod check;
mod message;
mod network;
mod process;

pub(crate) use message::{Reply, ReplyTo};

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kafka_proto::assignor::{AssignorKind, PartitionCounts};
use kafka_proto::id::BrokerId;
use kafka_proto::membership::Input;

use crate::coordinator::Coordinator;
use crate::rng::Rng;
use message::Event;
use process::Process;

const TOPIC: &str = "t";
/// How long faults happen, and how long the group then has to deliver and commit everything.
const STORM: Duration = Duration::from_mins(1);
const CALM: Duration = Duration::from_mins(1);

/// One run.
pub(crate) struct World {
    seed: u64,
    rng: Rng,
    start: Instant,
    now: Instant,
    numbered: u64,
    queue: BinaryHeap<Reverse<(Instant, u64)>>,
    events: BTreeMap<u64, Event>,
    processes: Vec<Option<Process>>,
    assignor: AssignorKind,
    heartbeat_interval: Duration,
    request_timeout: Duration,
    coordinator: Coordinator,
    coordinator_at: BrokerId,
    loading_until: Instant,
    coordinator_tick: Option<Instant>,
    /// Per partition, which offsets were worked on by their owner.
    log: Vec<Vec<bool>>,
    pub(crate) steps: u64,
    /// What happened, to see that the storm blows.
    pub(crate) seen: BTreeMap<String, u64>,
}

impl World {
    /// A small group.
    pub(crate) fn new(seed: u64) -> Self {
        Self::sized(seed, None)
    }

    /// A group of so many members and partitions.
    pub(crate) fn large(seed: u64, members: usize, partitions: usize) -> Self {
        Self::sized(seed, Some((members, partitions)))
    }

    fn sized(seed: u64, size: Option<(usize, usize)>) -> Self {
        let mut rng = Rng::new(seed);
        let start = origin();
        let kinds = [AssignorKind::Range, AssignorKind::Sticky, AssignorKind::CooperativeSticky];
        let assignor =
            kinds[if rng.per_mille(500) { 2 } else { usize::try_from(rng.range(0, 3)).expect("a small number") }];
        let small_members = usize::try_from(rng.range(2, 5)).expect("a small number");
        let small_partitions = usize::try_from(rng.range(1, 7)).expect("a small number");
        let (members, partitions) = size.unwrap_or((small_members, small_partitions));
        let heartbeat_interval = Duration::from_millis(
            [200, 1_000, 1_000, 1_000][usize::try_from(rng.range(0, 4)).expect("a small number")],
        );
        let request_timeout = Duration::from_millis(rng.range(1_000, 5_000));
        let mut world = Self {
            heartbeat_interval,
            request_timeout,
            seed,
            rng,
            start,
            now: start,
            numbered: 0,
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            processes: (0..members).map(|_| None).collect(),
            assignor,
            coordinator: Coordinator::new(),
            coordinator_at: BrokerId(1),
            loading_until: start,
            coordinator_tick: None,
            log: vec![Vec::new(); partitions],
            steps: 0,
            seen: BTreeMap::new(),
        };
        for slot in 0..members {
            let delay = world.millis(0, 5_000);
            world.at(delay, Event::Start { slot });
        }
        world.at(Duration::ZERO, Event::Produce);
        world.at(Duration::from_secs(3), Event::Chaos);
        world
    }

    /// Runs to the end and checks that everything was delivered and committed.
    pub(crate) fn run(mut self) -> (u64, BTreeMap<String, u64>) {
        while let Some(Reverse((at, number))) = self.queue.pop() {
            if at > self.start + STORM + CALM {
                break;
            }
            self.now = at;
            let event = self.events.remove(&number).expect("queued once");
            self.take(event);
            self.check_owners();
            self.steps += 1;
        }
        self.check_everything_arrived();
        (self.steps, self.seen)
    }

    fn note(&mut self, what: impl Into<String>) {
        *self.seen.entry(what.into()).or_default() += 1;
    }

    fn stormy(&self) -> bool {
        self.now < self.start + STORM
    }

    fn millis(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_millis(self.rng.range(low, high))
    }

    fn at(&mut self, delay: Duration, event: Event) {
        self.at_moment(self.now + delay, event);
    }

    fn at_moment(&mut self, at: Instant, event: Event) {
        self.numbered += 1;
        self.events.insert(self.numbered, event);
        self.queue.push(Reverse((at, self.numbered)));
    }

    fn fail(&self, what: &str) -> ! {
        let at = self.now - self.start;
        panic!("SIM_SEED={} after {at:?} ({} steps, {}): {what}", self.seed, self.steps, self.assignor);
    }

    /// The process, if it is still that one. While it is paused, what happens to it is kept for later.
    fn process(&mut self, slot: usize, incarnation: u64, event: &Event) -> Option<&mut Process> {
        let paused_until = match &self.processes[slot] {
            Some(process) if process.incarnation == incarnation => process.paused_until,
            Some(_) | None => return None,
        };
        if self.now < paused_until {
            self.at_moment(paused_until, event.clone());
            return None;
        }
        self.processes[slot].as_mut()
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Arrive { broker, on, to, request } => {
                if self.still_stands(on, &to) {
                    self.arrive(broker, to, request);
                }
            }
            Event::Answer { ref to, ref reply } => {
                let (slot, incarnation) = (to.slot, to.incarnation);
                if self.process(slot, incarnation, &event).is_some() {
                    self.answer(slot, to.token.clone(), reply.clone());
                }
            }
            Event::Tick { slot, incarnation } => {
                if let Some(process) = self.process(slot, incarnation, &event) {
                    process.tick_at = None;
                    self.give(slot, Input::Tick);
                }
            }
            Event::Work { slot, incarnation } => {
                if self.process(slot, incarnation, &event).is_some() {
                    self.work(slot, incarnation);
                }
            }
            Event::Revoked { slot, incarnation, id } => {
                if self.process(slot, incarnation, &event).is_some() {
                    self.give(slot, Input::RevocationDone(id));
                    self.drop_what_is_not_owned(slot);
                }
            }
            Event::Polled { slot, incarnation } => {
                if self.process(slot, incarnation, &event).is_some() {
                    self.give(slot, Input::Polled);
                }
            }
            Event::Topics { slot, incarnation, count } => {
                if self.process(slot, incarnation, &event).is_some() {
                    self.give(slot, Input::TopicsChanged(counts(count)));
                }
            }
            Event::Start { slot } => self.start(slot),
            Event::Coordinator => {
                self.coordinator_tick = None;
                let replies = self.coordinator.on_timer(self.now);
                self.send_replies(replies);
            }
            Event::Chaos => self.chaos(),
            Event::Produce => self.produce(),
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a virtual clock has to start somewhere; what matters is counted from there"
)]
fn origin() -> Instant {
    Instant::now()
}

fn counts(count: i32) -> PartitionCounts {
    [(Arc::from(TOPIC), count)].into_iter().collect()
}
