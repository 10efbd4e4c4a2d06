//! One assigned partition, from "assigned" to "being fetched" and back: a machine without clock, socket or task.
//!
//! The stages (KIP-320, KIP-392, faults O1, O2, G12, G19):
//!
//! ```text
//! AwaitingCommitted -> Validating -> Fetching <-> CheckingRange -> Resetting -> Fetching
//!                 \-> Resetting                                \-> Parked
//! ```
//! Promised: a position moves only forward by reading, or by an event that names both offsets; an answer that was asked
//! for in another stage, or by another assignment, changes nothing; an error never moves a position.

use std::time::{Duration, Instant};

use kafka_proto::backoff::Backoff;
use kafka_proto::id::{BrokerId, LeaderEpoch, Offset, TopicPartition};

use crate::client::consumer::{AutoOffsetReset, CorruptBatchPolicy};
use crate::client::event::{Event, ResetCause};
use crate::client::fetcher::digest::Damage;
use crate::client::ownership::Ownership;
use crate::client::queue::Item;
use crate::client::request::list_offsets::OffsetSpec;
use crate::client::snapshot::ParkCause;

/// The next offset to read, with the epoch of the record before it: what a leader needs to see whether its log agrees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) offset: Offset,
    pub(crate) leader_epoch: LeaderEpoch,
}

/// The broker to read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leader {
    pub(crate) id: BrokerId,
    pub(crate) epoch: LeaderEpoch,
}

/// Whether the partition existed when the consumer got its first assignment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// It did.
    Known,
    /// It appeared later: without a commit it is read from its start, or what was produced before the discovery is lost.
    New,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The group's committed offset is wanted.
    AwaitingCommitted,
    /// A new position is wanted from the leader.
    Resetting { from: Option<Offset>, cause: ResetCause, spec: OffsetSpec },
    /// The position was refused; the bounds of the log are wanted, first the start, then the end.
    CheckingRange { at: Position, log_start: Option<Offset> },
    /// The leader is asked whether its log agrees with what was read.
    Validating(Position),
    /// Being fetched.
    Fetching(Position),
    /// Given up until the next assignment.
    Parked { at: Option<Offset>, cause: ParkCause },
}

/// Whether something is under way for the stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    Idle,
    InFlight,
    Waiting { until: Instant, error: String },
}

/// What a transition wants done.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Append to the partition's queue.
    Push(Item),
    /// Drop what is queued at this offset and above.
    TruncateQueue(Offset),
    /// The metadata is out of date.
    RefreshMetadata,
}

/// What to do with a batch that cannot be read (`corrupt.batch.policy`), and with positions that cannot be kept.
#[derive(Clone, Debug)]
pub(crate) struct Policies {
    pub(crate) reset: AutoOffsetReset,
    pub(crate) corrupt: CorruptBatchPolicy,
    /// Where the size of one partition's share of a response starts, and where it ends.
    pub(crate) fetch_bytes: usize,
    pub(crate) fetch_bytes_cap: usize,
    pub(crate) retry: Backoff,
}

#[derive(Debug)]
pub(crate) struct Partition {
    pub(crate) ownership: Ownership,
    pub(crate) stage: Stage,
    pub(crate) work: Work,
    pub(crate) leader: Option<Leader>,
    /// How many bytes of this partition one response may carry.
    pub(crate) fetch_bytes: usize,
    /// A replica that the leader prefers for this reader (KIP-392), and until when.
    replica: Option<(BrokerId, Instant)>,
    origin: Origin,
    retry: Backoff,
    /// Where a batch was unreadable once; it is being fetched a second time.
    damaged: Option<Offset>,
}

impl Partition {
    pub(crate) fn new(ownership: Ownership, origin: Origin, policies: &Policies) -> Self {
        Self {
            ownership,
            stage: Stage::AwaitingCommitted,
            work: Work::Idle,
            leader: None,
            fetch_bytes: policies.fetch_bytes,
            replica: None,
            origin,
            retry: policies.retry.clone(),
            damaged: None,
        }
    }

    pub(crate) fn name(&self) -> &TopicPartition {
        self.ownership.partition()
    }

    /// The next offset to read, if there is one yet.
    pub(crate) fn position(&self) -> Option<Offset> {
        match &self.stage {
            Stage::AwaitingCommitted => None,
            Stage::Resetting { from, .. } => *from,
            Stage::CheckingRange { at, .. } | Stage::Validating(at) | Stage::Fetching(at) => Some(at.offset),
            Stage::Parked { at, .. } => *at,
        }
    }

    /// Whether the stage's work may start now.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        match &self.work {
            Work::Idle => true,
            Work::InFlight => false,
            Work::Waiting { until, .. } => *until <= now,
        }
    }

    /// The metadata names a leader. One with an older epoch than is known is late news (fault N8).
    pub(crate) fn leader_is(&mut self, new: Option<Leader>) {
        let Some(new) = new else { return };
        let stale = |old: Leader| new.epoch != LeaderEpoch::UNKNOWN && new.epoch < old.epoch;
        if self.leader == Some(new) || self.leader.is_some_and(stale) {
            return;
        }
        let changed = self.leader.replace(new).is_some();
        if let (true, Stage::Fetching(at)) = (changed, &self.stage) {
            let at = *at;
            self.go(if at.leader_epoch == LeaderEpoch::UNKNOWN { Stage::Fetching(at) } else { Stage::Validating(at) });
        } else if changed && self.work != Work::InFlight {
            // Whatever the old leader refused, the new one has not (fault N9).
            self.work = Work::Idle;
        }
    }

    /// The broker to fetch from.
    pub(crate) fn source(&self, now: Instant) -> Option<BrokerId> {
        let replica = self.replica.filter(|(_, until)| *until > now).map(|(id, _)| id);
        replica.or(self.leader.map(|leader| leader.id))
    }

    /// The leader prefers that a replica nearby is read.
    pub(crate) fn read_from(&mut self, replica: BrokerId, until: Instant) {
        self.replica = Some((replica, until));
    }

    /// Whether a replica was being read; from now on it is the leader again.
    pub(crate) fn back_to_leader(&mut self) -> bool {
        self.replica.take().is_some()
    }

    /// The topic is another one under the same name; epochs start anew and offsets mean nothing.
    pub(crate) fn topic_was_recreated(&mut self) -> Vec<Effect> {
        let from = self.position();
        self.leader = None;
        self.go(Stage::Resetting { from, cause: ResetCause::TopicRecreated, spec: OffsetSpec::Earliest });
        vec![Effect::TruncateQueue(Offset(0)), Effect::RefreshMetadata]
    }

    /// The coordinator's answer without an error: a committed position, or none.
    pub(crate) fn committed(&mut self, found: Option<Position>, reset: AutoOffsetReset, now_ms: i64) {
        if self.stage != Stage::AwaitingCommitted {
            return;
        }
        match found {
            Some(at) if at.leader_epoch == LeaderEpoch::UNKNOWN => self.go(Stage::Fetching(at)),
            Some(at) => self.go(Stage::Validating(at)),
            None if self.origin == Origin::New => {
                self.go(Stage::Resetting { from: None, cause: ResetCause::NewPartition, spec: OffsetSpec::Earliest });
            }
            None => self.reset(None, ResetCause::NoCommittedOffset, reset, now_ms),
        }
    }

    fn reset(&mut self, from: Option<Offset>, cause: ResetCause, policy: AutoOffsetReset, now_ms: i64) {
        let spec = match policy {
            AutoOffsetReset::Earliest => OffsetSpec::Earliest,
            AutoOffsetReset::Latest => OffsetSpec::Latest,
            AutoOffsetReset::ByDuration(age) => {
                OffsetSpec::Timestamp(now_ms.saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX)))
            }
            AutoOffsetReset::None => {
                return self.go(Stage::Parked { at: from, cause: ParkCause::NoResetPolicy { from } });
            }
        };
        self.go(Stage::Resetting { from, cause, spec });
    }

    /// What the stage wants to know from the leader's `ListOffsets`.
    pub(crate) fn wants_offset(&self) -> Option<OffsetSpec> {
        match &self.stage {
            Stage::Resetting { spec, .. } => Some(*spec),
            Stage::CheckingRange { log_start: None, .. } => Some(OffsetSpec::Earliest),
            Stage::CheckingRange { log_start: Some(_), .. } => Some(OffsetSpec::Latest),
            Stage::AwaitingCommitted | Stage::Validating(_) | Stage::Fetching(_) | Stage::Parked { .. } => None,
        }
    }

    /// The leader's answer to [`Partition::wants_offset`], without an error.
    pub(crate) fn listed(&mut self, found: Option<Position>, reset: AutoOffsetReset, now_ms: i64) -> Vec<Effect> {
        match (self.stage.clone(), found) {
            (Stage::Resetting { from, cause, .. }, Some(to)) => self.land(from, cause, to),
            (Stage::Resetting { from, cause, .. }, None) => {
                // No record is as young as that: the end of the log is where younger ones will be.
                self.go(Stage::Resetting { from, cause, spec: OffsetSpec::Latest });
                Vec::new()
            }
            (Stage::CheckingRange { at, log_start: None }, Some(start)) => {
                self.go(Stage::CheckingRange { at, log_start: Some(start.offset) });
                Vec::new()
            }
            (Stage::CheckingRange { at, log_start: Some(start) }, Some(end)) => {
                self.range_is(at, start, end.offset, reset, now_ms);
                Vec::new()
            }
            // A log without a start or an end, or an answer to nothing: ask again.
            (_, _) => {
                self.work = Work::Idle;
                Vec::new()
            }
        }
    }

    fn land(&mut self, from: Option<Offset>, cause: ResetCause, to: Position) -> Vec<Effect> {
        let event = Event::OffsetReset { partition: self.name().clone(), from, to: to.offset, cause };
        // The epoch that the leader names is of the record at the offset, not of one that was read.
        self.go(Stage::Fetching(Position { offset: to.offset, leader_epoch: LeaderEpoch::UNKNOWN }));
        vec![Effect::Push(Item::Notice(event))]
    }

    /// Below the start and above the end are different stories; in between, the refusal is over (a leader that had just
    /// taken office, or an epoch that it does not know).
    fn range_is(&mut self, at: Position, start: Offset, end: Offset, reset: AutoOffsetReset, now_ms: i64) {
        if at.offset < start {
            self.reset(Some(at.offset), ResetCause::BelowLogStart { log_start: start }, reset, now_ms);
        } else if at.offset > end {
            self.reset(Some(at.offset), ResetCause::AboveLogEnd { log_end: end }, reset, now_ms);
        } else {
            self.stage = Stage::Fetching(Position { offset: at.offset, leader_epoch: LeaderEpoch::UNKNOWN });
            self.work = Work::Idle;
        }
    }

    /// The leader's answer to "where does this epoch end in your log". `None`: it does not know the epoch, which is not a
    /// loss of data.
    pub(crate) fn validated(&mut self, end: Option<Position>) -> Vec<Effect> {
        let Stage::Validating(at) = self.stage else { return Vec::new() };
        match end {
            Some(end) if end.offset < at.offset => self.diverged(at, end),
            Some(_) | None => {
                self.go(Stage::Fetching(at));
                Vec::new()
            }
        }
    }

    /// The log of the leader differs from what was read, from `end` on.
    pub(crate) fn diverged(&mut self, at: Position, end: Position) -> Vec<Effect> {
        let to = Position { offset: end.offset.min(at.offset), leader_epoch: end.leader_epoch };
        let event = Event::Truncated { partition: self.name().clone(), position: at.offset, diverged_at: to.offset };
        self.go(Stage::Fetching(to));
        vec![Effect::TruncateQueue(to.offset), Effect::Push(Item::Notice(event))]
    }

    /// The leader refused the position as out of range.
    pub(crate) fn out_of_range(&mut self, at: Position) {
        self.stage = Stage::CheckingRange { at, log_start: None };
        self.work = Work::Idle;
    }

    /// Reading went on to `next`.
    pub(crate) fn advanced(&mut self, next: Position) {
        if let Stage::Fetching(at) = &mut self.stage {
            if next.offset > at.offset {
                *at = next;
                self.retry.reset();
                self.damaged = None;
            }
            self.work = Work::Idle;
        }
    }

    /// A batch cannot be read. The first time it is fetched again (a bit may have flipped on the way), the second time
    /// the policy decides. A codec that nobody here knows does not get better by fetching.
    pub(crate) fn damaged(&mut self, damage: Damage, policies: &Policies, now: Instant, random: u64) -> Vec<Effect> {
        let Stage::Fetching(at) = self.stage else { return Vec::new() };
        if damage.may_heal() && self.damaged != Some(at.offset) {
            self.damaged = Some(at.offset);
            let what = format!("unreadable batch at offset {}, fetching it again: {}", at.offset.get(), damage.what);
            self.failed(what, now, random);
            return Vec::new();
        }
        match (policies.corrupt, damage.last) {
            (CorruptBatchPolicy::Skip, Some(last)) if damage.may_skip() => self.skip(at, last, damage),
            (_, _) => {
                self.park(at.offset, ParkCause::Corrupt { offset: at.offset, what: damage.what });
                Vec::new()
            }
        }
    }

    /// The application's task could not open a batch that had passed its checks.
    pub(crate) fn damaged_at_opening(&mut self, at: Offset, damage: Damage) -> Vec<Effect> {
        self.park(at, ParkCause::Corrupt { offset: at, what: damage.what });
        vec![Effect::TruncateQueue(Offset(0))]
    }

    fn skip(&mut self, at: Position, last: Offset, damage: Damage) -> Vec<Effect> {
        let cause = damage.skip_cause();
        let event = Event::Skipped { partition: self.name().clone(), first: at.offset, last, cause };
        let next = Position { offset: last.next(), leader_epoch: at.leader_epoch };
        self.go(Stage::Fetching(next));
        let gap = Item::Gap { from: at.offset, next: next.offset, leader_epoch: at.leader_epoch };
        vec![Effect::Push(Item::Notice(event)), Effect::Push(gap)]
    }

    pub(crate) fn park(&mut self, at: Offset, cause: ParkCause) {
        self.go(Stage::Parked { at: Some(at), cause });
    }

    /// A batch does not fit in what was asked for: ask for twice as much, up to the cap, then give up by name.
    pub(crate) fn too_large(&mut self, policies: &Policies) {
        let Stage::Fetching(at) = self.stage else { return };
        if self.fetch_bytes >= policies.fetch_bytes_cap {
            self.park(at.offset, ParkCause::TooLarge { offset: at.offset, limit_bytes: policies.fetch_bytes_cap });
            return;
        }
        self.fetch_bytes = self.fetch_bytes.saturating_mul(2).min(policies.fetch_bytes_cap);
        self.work = Work::Idle;
    }

    /// The work of the stage failed; it is tried again after a back-off.
    pub(crate) fn failed(&mut self, error: String, now: Instant, random: u64) {
        let pause = self.retry.next(random);
        self.wait(error, now, pause);
    }

    pub(crate) fn wait(&mut self, error: String, now: Instant, pause: Duration) {
        self.work = Work::Waiting { until: now + pause, error };
    }

    fn go(&mut self, stage: Stage) {
        self.stage = stage;
        self.work = Work::Idle;
        self.retry.reset();
    }
}
