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
use crate::client::reader::StartAt;
use crate::client::request::list_offsets::OffsetSpec;
use crate::client::snapshot::ParkCause;

/// The next offset to read, with the epoch of the record before it: what a leader needs to see whether its log agrees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) offset: Offset,
    pub(crate) leader_epoch: LeaderEpoch,
}

/// The broker to read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
    /// There is no group; a reader was told where to begin.
    Requested(StartAt),
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

/// From where the leader wants this reader to read (KIP-392).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Replica {
    /// From itself.
    None,
    /// From a replica nearby.
    Preferred { id: BrokerId, until: Instant },
    /// The replica that it named failed.
    Distrusted { until: Instant },
}

/// How long the leader alone is read after a replica that it named failed.
const REPLICA_DISTRUST: Duration = Duration::from_secs(30);

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

/// Whom to ask first: the group's coordinator, the leader, or nobody.
fn first_stage(origin: Origin) -> Stage {
    let reset = |spec| Stage::Resetting { from: None, cause: ResetCause::Requested, spec };
    match origin {
        Origin::Known | Origin::New => Stage::AwaitingCommitted,
        Origin::Requested(StartAt::Earliest) => reset(OffsetSpec::Earliest),
        Origin::Requested(StartAt::Latest) => reset(OffsetSpec::Latest),
        Origin::Requested(StartAt::TimestampMs(ms)) => reset(OffsetSpec::Timestamp(ms)),
        Origin::Requested(StartAt::Offset(offset)) => {
            Stage::Fetching(Position { offset, leader_epoch: LeaderEpoch::UNKNOWN })
        }
    }
}

#[derive(Debug)]
pub(crate) struct Partition {
    pub(crate) ownership: Ownership,
    pub(crate) stage: Stage,
    pub(crate) work: Work,
    pub(crate) leader: Option<Leader>,
    /// How many bytes of this partition one response may carry.
    pub(crate) fetch_bytes: usize,
    replica: Replica,
    origin: Origin,
    retry: Backoff,
    /// Where a batch was unreadable once; it is being fetched a second time.
    damaged: Option<Offset>,
}

impl Partition {
    pub(crate) fn new(ownership: Ownership, origin: Origin, policies: &Policies) -> Self {
        Self {
            ownership,
            stage: first_stage(origin),
            work: Work::Idle,
            leader: None,
            fetch_bytes: policies.fetch_bytes,
            replica: Replica::None,
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

    /// The metadata names a leader. One with an older epoch than is known is late news (fault N8). Whether it took the
    /// place of another one.
    pub(crate) fn leader_is(&mut self, new: Option<Leader>) -> bool {
        let Some(new) = new else { return false };
        let stale = |old: Leader| new.epoch != LeaderEpoch::UNKNOWN && new.epoch < old.epoch;
        if self.leader == Some(new) || self.leader.is_some_and(stale) {
            return false;
        }
        let changed = self.leader.replace(new).is_some();
        if let (true, Stage::Fetching(at)) = (changed, &self.stage) {
            let at = *at;
            self.go(if at.leader_epoch == LeaderEpoch::UNKNOWN { Stage::Fetching(at) } else { Stage::Validating(at) });
        } else if changed && self.work != Work::InFlight {
            // Whatever the old leader refused, the new one has not (fault N9).
            self.work = Work::Idle;
        }
        changed
    }

    /// The broker to fetch from.
    pub(crate) fn source(&self, now: Instant) -> Option<BrokerId> {
        match self.replica {
            Replica::Preferred { id, until } if until > now => Some(id),
            Replica::None | Replica::Preferred { .. } | Replica::Distrusted { .. } => {
                self.leader.map(|leader| leader.id)
            }
        }
    }

    /// The leader prefers that a replica nearby is read.
    pub(crate) fn read_from(&mut self, id: BrokerId, until: Instant) {
        self.replica = Replica::Preferred { id, until };
    }

    /// Whether a replica was being read. From now on it is the leader again, which for a while must not name a replica:
    /// it gives no records when it does, and might name the same one for ever (fault O13).
    pub(crate) fn back_to_leader(&mut self, now: Instant) -> bool {
        let was_followed = matches!(self.replica, Replica::Preferred { .. });
        if was_followed {
            self.replica = Replica::Distrusted { until: now + REPLICA_DISTRUST };
        }
        was_followed
    }

    /// Whether the leader must not be told of our rack.
    pub(crate) fn shuns_replicas(&self, now: Instant) -> bool {
        matches!(self.replica, Replica::Distrusted { until } if until > now)
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

    /// Whether the question is one that may have no offset for an answer.
    pub(crate) fn asks_for_a_time(&self) -> bool {
        matches!(self.wants_offset(), Some(OffsetSpec::Timestamp(_)))
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kafka_proto::id::Generation;

    use super::*;
    use crate::client::fetcher::digest::DamageKind;
    use crate::client::ownership::SessionFence;

    fn policies(reset: AutoOffsetReset, corrupt: CorruptBatchPolicy) -> Policies {
        let retry = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        Policies { reset, corrupt, fetch_bytes: 1_000, fetch_bytes_cap: 3_000, retry }
    }

    fn partition(origin: Origin) -> Partition {
        let name = TopicPartition::new("t", 0);
        let ownership = Ownership::new(name, Generation(1), 1, Arc::new(SessionFence::new()).term());
        let mut partition =
            Partition::new(ownership, origin, &policies(AutoOffsetReset::Latest, CorruptBatchPolicy::Park));
        partition.leader_is(Some(leader(1, 5)));
        partition
    }

    fn leader(id: i32, epoch: i32) -> Leader {
        Leader { id: BrokerId(id), epoch: LeaderEpoch(epoch) }
    }

    fn at(offset: i64, epoch: i32) -> Position {
        Position { offset: Offset(offset), leader_epoch: LeaderEpoch(epoch) }
    }

    fn fetching(offset: i64, epoch: i32) -> Partition {
        let mut partition = partition(Origin::Known);
        partition.stage = Stage::Fetching(at(offset, epoch));
        partition
    }

    fn notice(effects: &[Effect]) -> &Event {
        let found = effects.iter().find_map(|effect| match effect {
            Effect::Push(Item::Notice(event)) => Some(event),
            _ => None,
        });
        found.unwrap_or_else(|| panic!("no event in {effects:?}"))
    }

    fn corrupt(last: Option<i64>) -> Damage {
        Damage { what: "crc".to_owned(), last: last.map(Offset), kind: DamageKind::Corrupt }
    }

    #[test]
    fn o13_when_the_lease_of_a_replica_ends_the_leader_is_read_on_from_where_the_replica_got_to() {
        let (mut partition, now) = (fetching(7, 5), Instant::now());
        partition.read_from(BrokerId(2), now + Duration::from_secs(10));
        assert_eq!(partition.source(now), Some(BrokerId(2)));
        partition.advanced(at(9, 5));
        let later = now + Duration::from_secs(11);
        assert_eq!((partition.source(later), partition.position()), (Some(BrokerId(1)), Some(Offset(9))));
        assert!(!partition.shuns_replicas(later), "it may be named again: it did nothing wrong");
    }

    #[test]
    fn a_committed_offset_is_validated_at_the_leader_before_it_is_used() {
        let mut partition = partition(Origin::Known);
        partition.committed(Some(at(7, 4)), AutoOffsetReset::Latest, 0);
        assert_eq!(partition.stage, Stage::Validating(at(7, 4)));
        assert!(partition.validated(Some(at(20, 4))).is_empty());
        assert_eq!(partition.stage, Stage::Fetching(at(7, 4)));
    }

    #[test]
    fn a_committed_offset_without_an_epoch_is_never_asked_about() {
        let mut partition = partition(Origin::Known);
        partition.committed(Some(at(7, -1)), AutoOffsetReset::Latest, 0);
        assert_eq!(partition.stage, Stage::Fetching(at(7, -1)));
        partition.leader_is(Some(leader(2, 6)));
        assert_eq!(partition.stage, Stage::Fetching(at(7, -1)));
    }

    #[test]
    fn no_committed_offset_resets_by_the_policy_with_an_event() {
        let mut partition = partition(Origin::Known);
        partition.committed(None, AutoOffsetReset::Latest, 0);
        assert_eq!(partition.wants_offset(), Some(OffsetSpec::Latest));
        let effects = partition.listed(Some(at(42, 3)), AutoOffsetReset::Latest, 0);
        let Event::OffsetReset { from: None, to: Offset(42), cause: ResetCause::NoCommittedOffset, .. } =
            notice(&effects)
        else {
            panic!("{effects:?}")
        };
        assert_eq!(partition.position(), Some(Offset(42)));
    }

    #[test]
    fn a_partition_that_appeared_later_starts_at_its_beginning_whatever_the_policy() {
        let mut partition = partition(Origin::New);
        partition.committed(None, AutoOffsetReset::Latest, 0);
        assert_eq!(partition.wants_offset(), Some(OffsetSpec::Earliest));
        let effects = partition.listed(Some(at(0, 0)), AutoOffsetReset::Latest, 0);
        assert!(matches!(notice(&effects), Event::OffsetReset { cause: ResetCause::NewPartition, .. }));
    }

    #[test]
    fn a_reset_by_age_without_a_record_so_young_goes_to_the_end() {
        let mut partition = partition(Origin::Known);
        let policy = AutoOffsetReset::ByDuration(Duration::from_mins(15));
        partition.committed(None, policy, 1_000_000);
        assert_eq!(partition.wants_offset(), Some(OffsetSpec::Timestamp(100_000)));
        assert!(partition.listed(None, policy, 1_000_000).is_empty());
        assert_eq!(partition.wants_offset(), Some(OffsetSpec::Latest));
    }

    #[test]
    fn without_a_policy_the_partition_is_parked_by_name() {
        let mut partition = partition(Origin::Known);
        partition.committed(None, AutoOffsetReset::None, 0);
        let cause = ParkCause::NoResetPolicy { from: None };
        assert_eq!(partition.stage, Stage::Parked { at: None, cause });
    }

    #[test]
    fn out_of_range_below_the_start_and_above_the_end_are_different_causes() {
        for (position, expected) in [
            (5, ResetCause::BelowLogStart { log_start: Offset(10) }),
            (99, ResetCause::AboveLogEnd { log_end: Offset(20) }),
        ] {
            let mut partition = fetching(position, 5);
            partition.out_of_range(at(position, 5));
            assert_eq!(partition.wants_offset(), Some(OffsetSpec::Earliest));
            partition.listed(Some(at(10, 0)), AutoOffsetReset::Latest, 0);
            assert_eq!(partition.wants_offset(), Some(OffsetSpec::Latest));
            partition.listed(Some(at(20, 0)), AutoOffsetReset::Latest, 0);
            let effects = partition.listed(Some(at(20, 0)), AutoOffsetReset::Latest, 0);
            let Event::OffsetReset { from, to: Offset(20), cause, .. } = notice(&effects) else {
                panic!("{effects:?}")
            };
            assert_eq!((*from, *cause), (Some(Offset(position)), expected));
        }
    }

    #[test]
    fn a_position_that_is_in_range_after_all_is_kept_without_its_epoch() {
        let mut partition = fetching(15, 5);
        partition.out_of_range(at(15, 5));
        partition.listed(Some(at(10, 0)), AutoOffsetReset::Latest, 0);
        assert!(partition.listed(Some(at(20, 0)), AutoOffsetReset::Latest, 0).is_empty());
        assert_eq!(partition.stage, Stage::Fetching(at(15, -1)));
    }

    #[test]
    fn a_new_leader_is_asked_whether_its_log_agrees_and_an_old_epoch_is_no_news() {
        let mut partition = fetching(30, 5);
        partition.leader_is(Some(leader(2, 6)));
        assert_eq!(partition.stage, Stage::Validating(at(30, 5)));
        partition.leader_is(Some(leader(1, 5)));
        assert_eq!(partition.leader, Some(leader(2, 6)));
        let effects = partition.validated(Some(at(25, 5)));
        assert!(matches!(effects[0], Effect::TruncateQueue(Offset(25))));
        let Event::Truncated { position: Offset(30), diverged_at: Offset(25), .. } = notice(&effects) else {
            panic!("{effects:?}")
        };
        assert_eq!(partition.stage, Stage::Fetching(at(25, 5)));
    }

    #[test]
    fn an_epoch_that_the_leader_does_not_know_is_not_a_truncation() {
        let mut partition = fetching(30, 5);
        partition.leader_is(Some(leader(2, 6)));
        assert!(partition.validated(None).is_empty());
        assert_eq!(partition.stage, Stage::Fetching(at(30, 5)));
    }

    #[test]
    fn a_new_leader_ends_the_back_off_that_the_old_one_caused() {
        let now = Instant::now();
        let mut partition = fetching(30, -1);
        partition.failed("NOT_LEADER_OR_FOLLOWER".to_owned(), now, 0);
        assert!(!partition.is_due(now));
        partition.leader_is(Some(leader(2, 6)));
        assert!(partition.is_due(now));
    }

    #[test]
    fn a_corrupt_batch_is_fetched_again_once_and_then_the_policy_decides() {
        let now = Instant::now();
        for policy in [CorruptBatchPolicy::Skip, CorruptBatchPolicy::Park] {
            let policies = policies(AutoOffsetReset::Latest, policy);
            let mut partition = fetching(10, 5);
            assert!(partition.damaged(corrupt(Some(14)), &policies, now, 0).is_empty());
            assert_eq!(partition.stage, Stage::Fetching(at(10, 5)));
            let effects = partition.damaged(corrupt(Some(14)), &policies, now, 0);
            if policy == CorruptBatchPolicy::Park {
                assert!(matches!(partition.stage, Stage::Parked { .. }) && effects.is_empty());
                continue;
            }
            let Event::Skipped { first: Offset(10), last: Offset(14), .. } = notice(&effects) else {
                panic!("{effects:?}")
            };
            assert_eq!(partition.position(), Some(Offset(15)));
        }
    }

    #[test]
    fn a_batch_whose_end_is_unknown_parks_even_where_skipping_is_allowed() {
        let (now, policies) = (Instant::now(), policies(AutoOffsetReset::Latest, CorruptBatchPolicy::Skip));
        let mut partition = fetching(10, 5);
        partition.damaged(corrupt(None), &policies, now, 0);
        assert!(partition.damaged(corrupt(None), &policies, now, 0).is_empty());
        assert!(matches!(partition.stage, Stage::Parked { at: Some(Offset(10)), .. }));
    }

    #[test]
    fn a_batch_that_does_not_fit_gets_more_room_up_to_the_cap_and_then_parks_by_name() {
        let policies = policies(AutoOffsetReset::Latest, CorruptBatchPolicy::Skip);
        let mut partition = fetching(10, 5);
        partition.too_large(&policies);
        assert_eq!(partition.fetch_bytes, 2_000);
        partition.too_large(&policies);
        assert_eq!(partition.fetch_bytes, 3_000);
        partition.too_large(&policies);
        let cause = ParkCause::TooLarge { offset: Offset(10), limit_bytes: 3_000 };
        assert_eq!(partition.stage, Stage::Parked { at: Some(Offset(10)), cause });
    }

    #[test]
    fn a_recreated_topic_is_read_from_its_start() {
        let mut partition = fetching(1_000, 5);
        partition.topic_was_recreated();
        partition.leader_is(Some(leader(1, 0)));
        assert_eq!(partition.wants_offset(), Some(OffsetSpec::Earliest));
        let effects = partition.listed(Some(at(0, 0)), AutoOffsetReset::Latest, 0);
        let Event::OffsetReset { from: Some(Offset(1_000)), to: Offset(0), cause: ResetCause::TopicRecreated, .. } =
            notice(&effects)
        else {
            panic!("{effects:?}")
        };
    }
}
