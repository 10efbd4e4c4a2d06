//! The world of one run: members with the real machine, a network that loses, delays, repeats and breaks off, a
//! coordinator that moves, a log, and a virtual clock. After every event the invariants are checked.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kafka_proto::assignor::{AssignorKind, PartitionCounts};
use kafka_proto::error_code::ErrorCode;
use kafka_proto::id::{BrokerId, Generation, TopicPartition};
use kafka_proto::membership::{
    Answer, AskFailure, AskId, Assigned, HeartbeatAsk, Input, JoinAsk, LeaveAsk, Membership, MembershipConfig, Output,
    State, SyncAsk,
};

use crate::coordinator::{Coordinator, Replies, join_refused, synced};
use crate::rng::Rng;

const TOPIC: &str = "t";
/// How long faults happen, and how long the group then has to deliver and commit everything.
const STORM: Duration = Duration::from_mins(1);
const CALM: Duration = Duration::from_mins(1);

/// Which request of which process an answer belongs to.
#[derive(Clone, Debug)]
pub(crate) struct ReplyTo {
    slot: usize,
    incarnation: u64,
    token: Token,
}

#[derive(Clone, Debug)]
enum Token {
    Ask(AskId),
    Commit(u64),
    Offsets(u64),
}

#[derive(Clone, Debug)]
pub(crate) enum Reply {
    Machine(Answer),
    Committed(ErrorCode, Generation),
    Offsets(Vec<(TopicPartition, i64)>),
    Unavailable,
}

#[derive(Clone, Debug)]
enum Request {
    Join(JoinAsk),
    Sync(SyncAsk),
    Heartbeat(HeartbeatAsk),
    Leave(LeaveAsk),
    Commit { member_id: Arc<str>, generation: Generation, offsets: Vec<(TopicPartition, i64)> },
    Offsets(Vec<TopicPartition>),
}

#[derive(Clone, Debug)]
enum Event {
    Arrive { broker: BrokerId, on: Connection, to: ReplyTo, request: Request },
    Answer { to: ReplyTo, reply: Reply },
    Tick { slot: usize, incarnation: u64 },
    Work { slot: usize, incarnation: u64 },
    Revoked { slot: usize, incarnation: u64, id: AskId },
    Polled { slot: usize, incarnation: u64 },
    Topics { slot: usize, incarnation: u64, count: i32 },
    Start { slot: usize },
    Coordinator,
    Chaos,
    Produce,
}

/// One partition under one assignment of one member.
struct Held {
    /// Unknown until the committed offset was fetched.
    position: Option<i64>,
    committed: i64,
    revoking: bool,
}

/// Which connection a request came on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Connection {
    line: usize,
    number: u64,
}

/// Connections for one purpose, one after the other. Requests arrive in order; what had not arrived when its connection
/// was given up never does.
#[derive(Clone, Copy, Debug)]
struct Line {
    number: u64,
    last_arrival: Instant,
}

impl Line {
    fn renew(&mut self, now: Instant) {
        *self = Self { number: self.number + 1, last_arrival: now };
    }
}

/// A commit that waits for its answer, until that moment.
struct Commit {
    id: u64,
    until: Instant,
    offsets: Vec<(TopicPartition, i64)>,
}

/// One process.
struct Process {
    incarnation: u64,
    machine: Membership,
    held: BTreeMap<TopicPartition, Held>,
    identity: (Generation, Arc<str>),
    paused_until: Instant,
    tick_at: Option<Instant>,
    /// The connections for heartbeats, joins and commits.
    lines: [Line; 3],
    commit_under_way: Option<Commit>,
    offsets_under_way: Option<(u64, Instant)>,
}

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

    fn start(&mut self, slot: usize) {
        let config = MembershipConfig {
            session_timeout: Duration::from_secs(6),
            fence_margin: Duration::from_millis(600),
            rebalance_timeout: Duration::from_secs(10),
            heartbeat_interval: self.heartbeat_interval,
            request_timeout: self.request_timeout,
            leave_timeout: Duration::from_secs(3),
            assignors: vec![self.assignor],
            seed: self.rng.next(),
            ..MembershipConfig::new("g", [Arc::from(TOPIC)])
        };
        self.numbered += 1;
        let incarnation = self.numbered;
        self.processes[slot] = Some(Process {
            incarnation,
            machine: Membership::new(config, self.now),
            held: BTreeMap::new(),
            identity: (Generation::NONE, Arc::from("")),
            paused_until: self.now,
            tick_at: None,
            lines: [Line { number: 0, last_arrival: self.now }; 3],
            commit_under_way: None,
            offsets_under_way: None,
        });
        self.act(slot);
        let count = i32::try_from(self.log.len()).expect("a small number");
        let (delay, work) = (self.millis(0, 3_000), self.millis(0, 500));
        self.at(delay, Event::Topics { slot, incarnation, count });
        self.at(work, Event::Work { slot, incarnation });
    }

    fn give(&mut self, slot: usize, input: Input) {
        let now = self.now;
        if let Some(process) = self.processes[slot].as_mut() {
            process.machine.handle(now, input);
            self.act(slot);
        }
    }

    /// Carries out what the machine wants, and sees that it is woken in time.
    fn act(&mut self, slot: usize) {
        while let Some(output) = self.processes[slot].as_mut().and_then(|p| p.machine.poll()) {
            self.carry_out(slot, output);
        }
        let now = self.now;
        let Some(process) = self.processes[slot].as_mut() else { return };
        if let Some(due) = process.machine.poll_timeout()
            && process.tick_at.is_none_or(|at| due < at)
        {
            let (incarnation, at) = (process.incarnation, due.max(now));
            process.tick_at = Some(at);
            self.at_moment(at, Event::Tick { slot, incarnation });
        }
    }

    fn carry_out(&mut self, slot: usize, output: Output) {
        match output {
            Output::FindCoordinator(ask) => self.find_coordinator(slot, ask.id),
            Output::Join(ask) => self.send(slot, 1, ask.call.coordinator, Token::Ask(ask.call.id), Request::Join(ask)),
            Output::Sync(ask) => self.send(slot, 1, ask.call.coordinator, Token::Ask(ask.call.id), Request::Sync(ask)),
            Output::Heartbeat(ask) => {
                self.send(slot, 0, ask.call.coordinator, Token::Ask(ask.call.id), Request::Heartbeat(ask));
            }
            Output::Leave(ask) => {
                self.send(slot, 0, ask.call.coordinator, Token::Ask(ask.call.id), Request::Leave(ask));
            }
            Output::DescribeTopics(ask) => {
                let count = i32::try_from(self.log.len()).expect("a small number");
                let lost = self.stormy() && self.rng.per_mille(50);
                let answer =
                    if lost { Answer::Failed(AskFailure::TimedOut) } else { Answer::TopicsDescribed(counts(count)) };
                let delay = self.millis(1, 50);
                let to = self.reply_to(slot, Token::Ask(ask.id));
                self.at(delay, Event::Answer { to, reply: Reply::Machine(answer) });
            }
            Output::Revoke { id, partitions, .. } => self.revoke(slot, id, &partitions),
            Output::Assign(assigned) => self.assign(slot, assigned),
            Output::Lost { cause, .. } => {
                self.note(format!("lost: {cause}"));
                self.drop_what_is_not_owned(slot);
            }
            Output::Left => {
                self.processes[slot] = None;
                let delay = self.millis(100, 3_000);
                self.at(delay, Event::Start { slot });
            }
            Output::Fatal(cause) => self.fail(&format!("member {slot} stopped for good: {cause}")),
        }
    }

    fn reply_to(&self, slot: usize, token: Token) -> ReplyTo {
        let incarnation = self.processes[slot].as_ref().expect("a live process acts").incarnation;
        ReplyTo { slot, incarnation, token }
    }

    fn find_coordinator(&mut self, slot: usize, id: AskId) {
        let stormy = self.stormy();
        let to = self.reply_to(slot, Token::Ask(id));
        let delay = self.millis(1, 100);
        let reply = if stormy && self.rng.per_mille(100) {
            Answer::Failed(AskFailure::Disconnected("refused".into()))
        } else if stormy && self.rng.per_mille(50) {
            Answer::Coordinator(BrokerId(3 - self.coordinator_at.get()))
        } else {
            Answer::Coordinator(self.coordinator_at)
        };
        let now = self.now;
        let process = self.processes[slot].as_mut().expect("a live process acts");
        process.lines[0].renew(now);
        process.lines[1].renew(now);
        self.at(delay, Event::Answer { to, reply: Reply::Machine(reply) });
    }

    /// On the way a request may be lost, be late, or take its connection down before or after it was carried out.
    fn send(&mut self, slot: usize, line: usize, broker: BrokerId, token: Token, request: Request) {
        let to = self.reply_to(slot, token);
        let stormy = self.stormy();
        let delay = if stormy && self.rng.per_mille(30) { self.millis(500, 5_000) } else { self.millis(1, 30) };
        let now = self.now;
        let process = self.processes[slot].as_mut().expect("a live process acts");
        let arrival = process.lines[line].last_arrival.max(now + delay);
        process.lines[line].last_arrival = arrival;
        let on = Connection { line, number: process.lines[line].number };
        let broken = stormy && self.rng.per_mille(20);
        let swallowed = stormy && self.rng.per_mille(if broken { 500 } else { 20 });
        if broken {
            let reply = match &to.token {
                Token::Ask(_) => Reply::Machine(Answer::Failed(AskFailure::Disconnected("reset".into()))),
                Token::Commit(_) | Token::Offsets(_) => Reply::Unavailable,
            };
            self.at_moment(arrival, Event::Answer { to: to.clone(), reply });
        }
        if swallowed {
            return;
        }
        self.at_moment(arrival, Event::Arrive { broker, on, to, request });
    }

    fn send_replies(&mut self, replies: Replies) {
        for (to, reply) in replies {
            let stormy = self.stormy();
            if stormy && self.rng.per_mille(20) {
                continue;
            }
            let delay = if stormy && self.rng.per_mille(30) { self.millis(500, 5_000) } else { self.millis(1, 30) };
            if stormy && self.rng.per_mille(20) {
                let later = delay + self.millis(1, 3_000);
                self.at(later, Event::Answer { to: to.clone(), reply: reply.clone() });
            }
            self.at(delay, Event::Answer { to, reply });
        }
        let next = self.coordinator.next_timer();
        if let Some(due) = next
            && self.coordinator_tick.is_none_or(|at| due < at)
        {
            let at = due.max(self.now);
            self.coordinator_tick = Some(at);
            self.at_moment(at, Event::Coordinator);
        }
    }

    /// A process that died may have sent before.
    fn still_stands(&self, on: Connection, to: &ReplyTo) -> bool {
        match &self.processes[to.slot] {
            Some(process) if process.incarnation == to.incarnation => process.lines[on.line].number == on.number,
            Some(_) | None => true,
        }
    }

    fn arrive(&mut self, broker: BrokerId, to: ReplyTo, request: Request) {
        let now = self.now;
        let refusal = if broker != self.coordinator_at {
            Some(ErrorCode::NotCoordinator)
        } else if now < self.loading_until {
            Some(ErrorCode::CoordinatorLoadInProgress)
        } else {
            None
        };
        let machine = |answer| Reply::Machine(answer);
        let replies = match (request, refusal) {
            (Request::Join(_), Some(error)) => vec![(to, join_refused(error, &Arc::from("")))],
            (Request::Sync(_), Some(error)) => vec![(to, synced(error, bytes::Bytes::new()))],
            (Request::Heartbeat(_), Some(error)) => vec![(to, machine(Answer::HeartbeatAnswered(error)))],
            (Request::Leave(_), Some(error)) => vec![(to, machine(Answer::LeftGroup(error)))],
            (Request::Commit { generation, .. }, Some(error)) => vec![(to, Reply::Committed(error, generation))],
            (Request::Offsets(_), Some(_)) => vec![(to, Reply::Unavailable)],
            (Request::Join(ask), None) => self.coordinator.join(now, &ask, to),
            (Request::Sync(ask), None) => self.coordinator.sync(now, &ask, to),
            (Request::Heartbeat(ask), None) => {
                let error = self.coordinator.heartbeat(now, &ask);
                vec![(to, machine(Answer::HeartbeatAnswered(error)))]
            }
            (Request::Leave(ask), None) => {
                let (error, mut replies) = self.coordinator.leave(now, &ask);
                replies.push((to, machine(Answer::LeftGroup(error))));
                replies
            }
            (Request::Commit { member_id, generation, offsets }, None) => {
                let error = self.coordinator.may_commit(&member_id, generation);
                if error == ErrorCode::None {
                    self.commit(to.slot, to.incarnation, offsets);
                }
                vec![(to, Reply::Committed(error, generation))]
            }
            (Request::Offsets(partitions), None) => {
                let offset = |p: &TopicPartition| self.coordinator.committed.get(p).copied().unwrap_or(0);
                let offsets = partitions
                    .into_iter()
                    .map(|p| {
                        let o = offset(&p);
                        (p, o)
                    })
                    .collect();
                vec![(to, Reply::Offsets(offsets))]
            }
        };
        self.send_replies(replies);
    }

    /// The coordinator takes a commit: it must not go back, must cover only what was worked on, and nobody else may own
    /// the partition.
    fn commit(&mut self, slot: usize, incarnation: u64, offsets: Vec<(TopicPartition, i64)>) {
        for (partition, offset) in offsets {
            let before = self.coordinator.committed.get(&partition).copied().unwrap_or(0);
            if offset < before {
                self.fail(&format!("member {slot} moved the commit of {partition} back from {before} to {offset}"));
            }
            let log = &self.log[usize::try_from(partition.partition).expect("a small number")];
            if let Some(missed) = log[..usize::try_from(offset).expect("a small number")].iter().position(|done| !done)
            {
                self.fail(&format!(
                    "member {slot} committed {partition} at {offset}, but {missed} was never delivered"
                ));
            }
            for (other, process) in self.processes.iter().enumerate() {
                let Some(process) = process else { continue };
                if (other, process.incarnation) != (slot, incarnation) && owns(process, &partition, self.now) {
                    self.fail(&format!("member {slot} committed {partition}, which {other} owns"));
                }
            }
            self.coordinator.committed.insert(partition, offset);
            self.note("commits accepted");
        }
    }

    fn answer(&mut self, slot: usize, token: Token, reply: Reply) {
        let process = self.processes[slot].as_mut().expect("looked up");
        match (token, reply) {
            (Token::Ask(id), Reply::Machine(answer)) => self.give(slot, Input::Answered(id, answer)),
            (Token::Commit(id), reply) => {
                let Some(commit) = process.commit_under_way.take_if(|commit| commit.id == id) else { return };
                match reply {
                    Reply::Committed(ErrorCode::None, _) => {
                        for (partition, offset) in commit.offsets {
                            if let Some(held) = process.held.get_mut(&partition) {
                                held.committed = offset;
                            }
                        }
                    }
                    Reply::Committed(error, generation) => {
                        self.note(format!("commit refused: {error}"));
                        self.give(slot, Input::CommitRejected(generation, error));
                    }
                    Reply::Machine(_) | Reply::Offsets(_) | Reply::Unavailable => {}
                }
            }
            (Token::Offsets(id), reply) if process.offsets_under_way.is_some_and(|(under_way, _)| under_way == id) => {
                process.offsets_under_way = None;
                let Reply::Offsets(offsets) = reply else { return };
                for (partition, offset) in offsets {
                    if let Some(held) = process.held.get_mut(&partition)
                        && held.position.is_none()
                    {
                        (held.position, held.committed) = (Some(offset), offset);
                    }
                }
            }
            (Token::Ask(_) | Token::Offsets(_), _) => {}
        }
    }

    fn assign(&mut self, slot: usize, assigned: Assigned) {
        self.note("assignments");
        let process = self.processes[slot].as_mut().expect("a live process acts");
        process.identity = (assigned.generation, assigned.member_id);
        process.offsets_under_way = None;
        for partition in assigned.added {
            process.held.insert(partition, Held { position: None, committed: 0, revoking: false });
        }
    }

    fn drop_what_is_not_owned(&mut self, slot: usize) {
        let Some(process) = self.processes[slot].as_mut() else { return };
        process.held.retain(|partition, _| process.machine.owned().contains(partition));
    }

    /// The application commits what it has and gives up, mostly in time.
    fn revoke(&mut self, slot: usize, id: AskId, partitions: &[TopicPartition]) {
        self.note("revocations");
        let process = self.processes[slot].as_mut().expect("a live process acts");
        for partition in partitions {
            if let Some(held) = process.held.get_mut(partition) {
                held.revoking = true;
            }
        }
        let incarnation = process.incarnation;
        self.send_commit(slot);
        let stuck = self.stormy() && self.rng.per_mille(100);
        let delay = if stuck { self.millis(5_000, 20_000) } else { self.millis(10, 1_000) };
        self.at(delay, Event::Revoked { slot, incarnation, id });
    }

    /// The guard, then a few records of every partition, then perhaps a commit.
    fn work(&mut self, slot: usize, incarnation: u64) {
        let (now, batch) = (self.now, i64::try_from(self.rng.range(1, 6)).expect("a small number"));
        let process = self.processes[slot].as_mut().expect("looked up");
        let owned: Vec<TopicPartition> = process.held.keys().filter(|p| owns(process, p, now)).cloned().collect();
        for partition in owned {
            let held = process.held.get_mut(&partition).expect("listed above");
            let log = &mut self.log[usize::try_from(partition.partition).expect("a small number")];
            let Some(position) = held.position.filter(|_| !held.revoking) else { continue };
            let next = (position + batch).min(i64::try_from(log.len()).expect("a small number"));
            for offset in position..next {
                log[usize::try_from(offset).expect("a small number")] = true;
            }
            held.position = Some(next);
        }
        self.fetch_offsets(slot);
        if self.rng.per_mille(400) {
            self.send_commit(slot);
        }
        let again = self.millis(100, 500);
        self.at(again, Event::Work { slot, incarnation });
    }

    fn fetch_offsets(&mut self, slot: usize) {
        let now = self.now;
        let process = self.processes[slot].as_mut().expect("looked up");
        let unknown: Vec<TopicPartition> =
            process.held.iter().filter(|(_, h)| h.position.is_none()).map(|(p, _)| p.clone()).collect();
        let busy = process.offsets_under_way.is_some_and(|(_, until)| now < until);
        if unknown.is_empty() || busy {
            return;
        }
        self.numbered += 1;
        let id = self.numbered;
        process.offsets_under_way = Some((id, now + Duration::from_secs(2)));
        self.send(slot, 2, self.coordinator_at, Token::Offsets(id), Request::Offsets(unknown));
    }

    /// One commit at a time, of what is owned now, under the identity of the last assignment.
    fn send_commit(&mut self, slot: usize) {
        let now = self.now;
        let process = self.processes[slot].as_mut().expect("looked up");
        if process.commit_under_way.as_ref().is_some_and(|commit| now < commit.until) {
            return;
        }
        let mut offsets = Vec::new();
        let owned: BTreeSet<TopicPartition> = process.held.keys().filter(|p| owns(process, p, now)).cloned().collect();
        for (partition, held) in process.held.iter().filter(|(p, _)| owned.contains(p)) {
            if let Some(position) = held.position.filter(|position| *position > held.committed) {
                offsets.push((partition.clone(), position));
            }
        }
        if offsets.is_empty() {
            return;
        }
        if process.commit_under_way.is_some() {
            process.lines[2].renew(now);
        }
        self.numbered += 1;
        let id = self.numbered;
        let until = now + Duration::from_secs(6);
        process.commit_under_way = Some(Commit { id, until, offsets: offsets.clone() });
        let (generation, member_id) = process.identity.clone();
        let request = Request::Commit { member_id, generation, offsets };
        self.send(slot, 2, self.coordinator_at, Token::Commit(id), request);
    }

    fn produce(&mut self) {
        for log in &mut self.log {
            let more = self.rng.range(0, 4);
            (0..more).for_each(|_| log.push(false));
        }
        if self.now < self.start + STORM + CALM / 4 {
            let delay = self.millis(100, 1_000);
            self.at(delay, Event::Produce);
        }
    }

    fn chaos(&mut self) {
        if !self.stormy() {
            return;
        }
        let slot = usize::try_from(self.rng.range(0, self.processes.len() as u64)).expect("a small number");
        match self.rng.range(0, 7) {
            0 => {
                self.processes[slot] = None;
                let delay = self.millis(10, 10_000);
                self.at(delay, Event::Start { slot });
            }
            1 | 2 => {
                let pause = self.millis(500, 15_000);
                if let Some(process) = self.processes[slot].as_mut() {
                    process.paused_until = self.now + pause;
                }
            }
            3 => self.move_coordinator(),
            4 => self.give_if_running(slot, Input::Leave { reason: "bounce".into() }),
            5 => {
                self.give_if_running(slot, Input::PollDeadlinePassed);
                let delay = self.millis(10, 5_000);
                if let Some(incarnation) = self.processes[slot].as_ref().map(|p| p.incarnation) {
                    self.at(delay, Event::Polled { slot, incarnation });
                }
            }
            _ => self.add_partition(),
        }
        let delay = self.millis(500, 8_000);
        self.at(delay, Event::Chaos);
    }

    fn give_if_running(&mut self, slot: usize, input: Input) {
        let now = self.now;
        if self.processes[slot].as_ref().is_some_and(|p| now >= p.paused_until) {
            self.give(slot, input);
        }
    }

    fn move_coordinator(&mut self) {
        self.coordinator_at = BrokerId(3 - self.coordinator_at.get());
        self.loading_until = self.now + self.millis(0, 3_000);
        let replies = self.coordinator.moved(self.now);
        self.send_replies(replies);
    }

    fn add_partition(&mut self) {
        if self.log.len() >= 10 {
            return;
        }
        self.log.push(Vec::new());
        let count = i32::try_from(self.log.len()).expect("a small number");
        for slot in 0..self.processes.len() {
            let delay = self.millis(10, 5_000);
            if let Some(incarnation) = self.processes[slot].as_ref().map(|p| p.incarnation) {
                self.at(delay, Event::Topics { slot, incarnation, count });
            }
        }
    }

    /// At most one live owner of each partition, paused processes included: they would act on waking.
    fn check_owners(&self) {
        let mut owners = vec![None; self.log.len()];
        for (slot, process) in self.processes.iter().enumerate() {
            let Some(process) = process else { continue };
            if process.machine.fenced_after().is_none_or(|fence| self.now >= fence) {
                continue;
            }
            for partition in process.machine.owned() {
                let owner = usize::try_from(partition.partition).ok().and_then(|partition| owners.get_mut(partition));
                if let Some(other) = owner.expect("a partition of the topic").replace(slot) {
                    self.fail(&format!("{partition} has two owners, {other} and {slot}"));
                }
            }
        }
    }

    fn check_everything_arrived(&self) {
        for (partition, log) in self.log.iter().enumerate() {
            if let Some(missed) = log.iter().position(|done| !done) {
                self.fail(&format!("offset {missed} of partition {partition} was never delivered; {}", self.states()));
            }
            let name = TopicPartition::new(TOPIC, i32::try_from(partition).expect("a small number"));
            let committed = self.coordinator.committed.get(&name).copied().unwrap_or(0);
            if committed != i64::try_from(log.len()).expect("a small number") {
                self.fail(&format!("{name} is committed at {committed} of {}; {}", log.len(), self.states()));
            }
        }
        for process in self.processes.iter().flatten() {
            if process.machine.state() != &State::Stable {
                self.fail(&format!("the group did not settle; {}", self.states()));
            }
        }
    }

    fn states(&self) -> String {
        let shown = self.processes.iter().flatten().map(|p| {
            let owned: Vec<i32> = p.machine.owned().iter().map(|p| p.partition).collect();
            format!("{}@{} {owned:?}", p.machine.state().name(), p.machine.generation())
        });
        shown.collect::<Vec<_>>().join(", ")
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a virtual clock has to start somewhere; what matters is counted from there"
)]
fn origin() -> Instant {
    Instant::now()
}

/// What `Ownership::check` of the client comes to.
fn owns(process: &Process, partition: &TopicPartition, now: Instant) -> bool {
    process.machine.owned().contains(partition) && process.machine.fenced_after().is_some_and(|fence| now < fence)
}

fn counts(count: i32) -> PartitionCounts {
    [(Arc::from(TOPIC), count)].into_iter().collect()
}
