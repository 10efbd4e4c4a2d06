//! One process: the real machine, what it holds, its connections; and how it starts and carries out what the machine wants.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kafka_proto::id::{Generation, TopicPartition};
use kafka_proto::membership::{Answer, AskFailure, Input, Membership, MembershipConfig, Output};

use super::message::{Event, Reply, Request, Token};
use super::{TOPIC, World, counts};

/// One partition under one assignment of one member.
pub(super) struct Held {
    /// Unknown until the committed offset was fetched.
    pub(super) position: Option<i64>,
    pub(super) committed: i64,
    pub(super) revoking: bool,
}

/// Which connection a request came on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Connection {
    pub(super) line: usize,
    pub(super) number: u64,
}

/// Connections for one purpose, one after the other. Requests arrive in order; what had not arrived when its connection
/// was given up never does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    pub(super) number: u64,
    pub(super) last_arrival: Instant,
}

impl Line {
    pub(super) fn renew(&mut self, now: Instant) {
        *self = Self { number: self.number + 1, last_arrival: now };
    }
}

/// A commit that waits for its answer, until that moment.
pub(super) struct Commit {
    pub(super) id: u64,
    pub(super) until: Instant,
    pub(super) offsets: Vec<(TopicPartition, i64)>,
}

/// One process.
pub(super) struct Process {
    pub(super) incarnation: u64,
    pub(super) machine: Membership,
    pub(super) held: BTreeMap<TopicPartition, Held>,
    pub(super) identity: (Generation, Arc<str>),
    pub(super) paused_until: Instant,
    pub(super) tick_at: Option<Instant>,
    /// The connections for heartbeats, joins and commits.
    pub(super) lines: [Line; 3],
    pub(super) commit_under_way: Option<Commit>,
    pub(super) offsets_under_way: Option<(u64, Instant)>,
}

impl World {
    pub(super) fn start(&mut self, slot: usize) {
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

    pub(super) fn give(&mut self, slot: usize, input: Input) {
        let now = self.now;
        if let Some(process) = self.processes[slot].as_mut() {
            process.machine.handle(now, input);
            self.act(slot);
        }
    }

    /// Carries out what the machine wants, and sees that it is woken in time.
    pub(super) fn act(&mut self, slot: usize) {
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

    pub(super) fn carry_out(&mut self, slot: usize, output: Output) {
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
}

/// What `Ownership::check` of the client comes to.
pub(super) fn owns(process: &Process, partition: &TopicPartition, now: Instant) -> bool {
    process.machine.owned().contains(partition) && process.machine.fenced_after().is_some_and(|fence| now < fence)
}
