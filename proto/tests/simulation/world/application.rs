//! The application of each process: works on what it owns, commits it, and answers revocations.

use std::collections::BTreeSet;
use std::time::Duration;

use kafka_proto::error_code::ErrorCode;
use kafka_proto::id::TopicPartition;
use kafka_proto::membership::{AskId, Assigned, Input};

use super::World;
use super::message::{Event, Reply, Request, Token};
use super::process::{Commit, Held, owns};

impl World {
    pub(super) fn answer(&mut self, slot: usize, token: Token, reply: Reply) {
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

    pub(super) fn assign(&mut self, slot: usize, assigned: Assigned) {
        self.note("assignments");
        let process = self.processes[slot].as_mut().expect("a live process acts");
        process.identity = (assigned.generation, assigned.member_id);
        process.offsets_under_way = None;
        for partition in assigned.added {
            process.held.insert(partition, Held { position: None, committed: 0, revoking: false });
        }
    }

    pub(super) fn drop_what_is_not_owned(&mut self, slot: usize) {
        let Some(process) = self.processes[slot].as_mut() else { return };
        process.held.retain(|partition, _| process.machine.owned().contains(partition));
    }

    /// The application commits what it has and gives up, mostly in time.
    pub(super) fn revoke(&mut self, slot: usize, id: AskId, partitions: &[TopicPartition]) {
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
    pub(super) fn work(&mut self, slot: usize, incarnation: u64) {
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

    pub(super) fn fetch_offsets(&mut self, slot: usize) {
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
    pub(super) fn send_commit(&mut self, slot: usize) {
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
}
