//! The way of requests and replies: late, lost, cut off before or after they were carried out.

use std::sync::Arc;

use kafka_proto::error_code::ErrorCode;
use kafka_proto::id::{BrokerId, TopicPartition};
use kafka_proto::membership::{Answer, AskFailure, AskId};

use super::World;
use super::message::{Event, Reply, ReplyTo, Request, Token};
use super::process::Connection;
use crate::coordinator::{Replies, join_refused, synced};

impl World {
    pub(super) fn reply_to(&self, slot: usize, token: Token) -> ReplyTo {
        let incarnation = self.processes[slot].as_ref().expect("a live process acts").incarnation;
        ReplyTo { slot, incarnation, token }
    }

    pub(super) fn find_coordinator(&mut self, slot: usize, id: AskId) {
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
    pub(super) fn send(&mut self, slot: usize, line: usize, broker: BrokerId, token: Token, request: Request) {
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

    pub(super) fn send_replies(&mut self, replies: Replies) {
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
    pub(super) fn still_stands(&self, on: Connection, to: &ReplyTo) -> bool {
        match &self.processes[to.slot] {
            Some(process) if process.incarnation == to.incarnation => process.lines[on.line].number == on.number,
            Some(_) | None => true,
        }
    }

    pub(super) fn arrive(&mut self, broker: BrokerId, to: ReplyTo, request: Request) {
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
}
