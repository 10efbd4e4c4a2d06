//! The right to act on a partition, under one assignment.
//!
//! Promised: [`Ownership::check`] turns false the moment a revocation begins, the partition is lost, or the session
//! deadline passes, the last one without anybody having to run: a process that was stopped (`SIGSTOP`, a paused VM) sees
//! it in the first check after it wakes up. A partition that comes back is a new `Ownership`; the old one never revives.
//! Absent: any judgement about *when* a session ends. The group thread stores the deadline, readers compare.

use std::fmt;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use kafka_proto::id::{Generation, Offset, TopicPartition};

/// No deadline: the member has no session yet, so nothing can be owned that would depend on it.
const NO_DEADLINE: u64 = u64::MAX;

/// The origin of every instant that is stored in an atomic. Somewhat before the first use, so that an instant taken just
/// before it is not the same as one taken long ago.
fn base() -> Instant {
    static BASE: OnceLock<Instant> = OnceLock::new();
    *BASE.get_or_init(|| {
        let now = Instant::now();
        now.checked_sub(Duration::from_mins(1)).unwrap_or(now)
    })
}

/// Nanoseconds since [`base`], saturating (584 years).
pub(crate) fn nanos_at(at: Instant) -> u64 {
    u64::try_from(at.saturating_duration_since(base()).as_nanos()).unwrap_or(NO_DEADLINE - 1)
}

/// The moment at which the member must believe itself expired, shared between the group thread and every
/// [`Ownership`]. Atomics, so that a check costs a clock reading and two loads.
///
/// A term lasts from the start, or the last loss of everything, to the next such loss. What was owned in an earlier term
/// stays lost even when the session has a new deadline by then and nobody has heard of the loss yet.
#[derive(Debug)]
pub(crate) struct SessionFence {
    deadline: AtomicU64,
    term: AtomicU64,
}

/// One term of a session: what an [`Ownership`] is valid in.
#[derive(Clone, Debug)]
pub(crate) struct SessionTerm {
    fence: Arc<SessionFence>,
    number: u64,
}

impl SessionFence {
    /// A fence without a deadline.
    pub(crate) fn new() -> Self {
        Self { deadline: AtomicU64::new(NO_DEADLINE), term: AtomicU64::new(0) }
    }

    /// Sets the moment of expiry; `None` while there is no session.
    pub(crate) fn set(&self, expires: Option<Instant>) {
        self.deadline.store(expires.map_or(NO_DEADLINE, nanos_at), Ordering::Release);
    }

    /// The term that has begun last.
    pub(crate) fn term(self: &Arc<Self>) -> SessionTerm {
        SessionTerm { fence: Arc::clone(self), number: self.term.load(Ordering::Acquire) }
    }

    /// Everything owned up to now is lost for good. To be called before a deadline of a new session is set.
    pub(crate) fn end_term(&self) {
        self.term.fetch_add(1, Ordering::AcqRel);
    }

    /// How long the session may still be believed in; `None` without one.
    pub(crate) fn remaining(&self, now: Instant) -> Option<Duration> {
        let deadline = self.deadline.load(Ordering::Acquire);
        (deadline != NO_DEADLINE).then(|| Duration::from_nanos(deadline.saturating_sub(nanos_at(now))))
    }

    /// How long ago the session expired, if it has.
    pub(crate) fn expired_for(&self, now: Instant) -> Option<Duration> {
        let deadline = self.deadline.load(Ordering::Acquire);
        let now = nanos_at(now);
        (deadline != NO_DEADLINE && now >= deadline).then(|| Duration::from_nanos(now - deadline))
    }
}

impl SessionTerm {
    fn check(&self, now: Instant) -> Result<(), NotOwned> {
        // The deadline first: a new one is set only after the term of the old one has ended.
        let expired = self.fence.expired_for(now);
        if self.fence.term.load(Ordering::Acquire) != self.number {
            return Err(NotOwned::Lost);
        }
        expired.map_or(Ok(()), |ago| Err(NotOwned::SessionExpired { ago }))
    }
}

/// Where one assignment of one partition stands. Only ever moves down this list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    /// Ours.
    Owned,
    /// Being given back: no new work, a last commit is still right.
    Revoking,
    /// Given back.
    Revoked,
    /// Taken away, or given up without a rebalance.
    Lost,
}

impl Standing {
    const fn code(self) -> u8 {
        match self {
            Self::Owned => 0,
            Self::Revoking => 1,
            Self::Revoked => 2,
            Self::Lost => 3,
        }
    }

    const fn of(code: u8) -> Self {
        match code {
            0 => Self::Owned,
            1 => Self::Revoking,
            2 => Self::Revoked,
            _ => Self::Lost,
        }
    }
}

/// A partition under one assignment: the guard to ask right before every attempt, and the key that a commit carries.
///
/// Cheap to clone. Two assignments of the same partition are two different ownerships, even in the same generation.
#[derive(Clone)]
pub struct Ownership(Arc<Inner>);

struct Inner {
    partition: TopicPartition,
    generation: Generation,
    epoch: u64,
    standing: AtomicU8,
    /// The highest offset known to be committed under this assignment, -1 for none.
    committed: AtomicI64,
    term: SessionTerm,
}

impl Ownership {
    /// A partition that was just assigned. `epoch` counts the assignments of this consumer, so that a partition which
    /// comes back can be told from its earlier self.
    pub(crate) fn new(partition: TopicPartition, generation: Generation, epoch: u64, term: SessionTerm) -> Self {
        let standing = AtomicU8::new(Standing::Owned.code());
        let committed = AtomicI64::new(-1);
        Self(Arc::new(Inner { partition, generation, epoch, standing, committed, term }))
    }

    /// The partition.
    pub fn partition(&self) -> &TopicPartition {
        &self.0.partition
    }

    /// The generation of the group in which the partition was assigned. With cooperative rebalancing the partition may
    /// outlive it.
    pub fn generation(&self) -> Generation {
        self.0.generation
    }

    /// Whether work on the partition may start now.
    ///
    /// Reads the monotonic clock; costs well under a microsecond, so ask right before every effect on the world.
    pub fn check(&self) -> Result<(), NotOwned> {
        self.check_at(Instant::now())
    }

    fn check_at(&self, now: Instant) -> Result<(), NotOwned> {
        match self.standing() {
            Standing::Revoking | Standing::Revoked => Err(NotOwned::Revoked),
            Standing::Lost => Err(NotOwned::Lost),
            Standing::Owned => self.0.term.check(now),
        }
    }

    /// Whether an offset read under this assignment may still be committed: also while it is being given back.
    pub(crate) fn check_commit(&self) -> Result<(), NotOwned> {
        match self.standing() {
            Standing::Revoked => Err(NotOwned::Revoked),
            Standing::Lost => Err(NotOwned::Lost),
            Standing::Owned | Standing::Revoking => self.0.term.check(Instant::now()),
        }
    }

    /// Moves on to `standing`; never back, whatever order the callers run in.
    pub(crate) fn become_at_least(&self, standing: Standing) {
        self.0.standing.fetch_max(standing.code(), Ordering::AcqRel);
    }

    pub(crate) fn standing(&self) -> Standing {
        Standing::of(self.0.standing.load(Ordering::Acquire))
    }

    /// The offset below which nothing is committed any more under this assignment.
    pub(crate) fn committed(&self) -> Option<Offset> {
        Some(self.0.committed.load(Ordering::Acquire)).filter(|offset| *offset >= 0).map(Offset)
    }

    /// `offset` is committed.
    pub(crate) fn has_committed(&self, offset: Offset) {
        self.0.committed.fetch_max(offset.get(), Ordering::AcqRel);
    }

    /// The log was cut: what is committed above `offset` does not count any more.
    pub(crate) fn rewind(&self, offset: Offset) {
        self.0.committed.fetch_min(offset.get(), Ordering::AcqRel);
    }

    /// The number of this assignment within the consumer, rising.
    pub(crate) fn epoch(&self) -> u64 {
        self.0.epoch
    }
}

/// The same assignment, not merely the same partition.
impl PartialEq for Ownership {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Ownership {}

impl fmt::Debug for Ownership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ownership({} generation {} {:?})", self.0.partition, self.0.generation.get(), self.standing())
    }
}

/// Why a partition may not be acted upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotOwned {
    /// A rebalance is taking the partition, or has taken it.
    #[error("the partition was revoked by a rebalance")]
    Revoked,
    /// The group gave the partition to others, or the member left it.
    #[error("the partition was lost")]
    Lost,
    /// No heartbeat succeeded in time, so others may own the partition by now.
    #[error("the session expired {ago:?} ago: the group may have given the partition away")]
    SessionExpired {
        /// How long ago.
        ago: Duration,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(fence: &Arc<SessionFence>) -> Ownership {
        let partition = TopicPartition { topic: "t".into(), partition: 3 };
        Ownership::new(partition, Generation(7), 1, fence.term())
    }

    #[test]
    fn a_fresh_assignment_is_owned_and_knows_its_generation() {
        let ownership = owned(&Arc::new(SessionFence::new()));
        assert_eq!(ownership.check(), Ok(()));
        assert_eq!(ownership.generation(), Generation(7));
        assert_eq!(ownership.partition().partition, 3);
    }

    #[test]
    fn a_revocation_stops_new_work_at_once_but_not_the_last_commit() {
        let ownership = owned(&Arc::new(SessionFence::new()));
        ownership.become_at_least(Standing::Revoking);
        assert_eq!(ownership.check(), Err(NotOwned::Revoked));
        assert_eq!(ownership.check_commit(), Ok(()));
        ownership.become_at_least(Standing::Revoked);
        assert_eq!(ownership.check_commit(), Err(NotOwned::Revoked));
    }

    #[test]
    fn an_ownership_never_revives() {
        let ownership = owned(&Arc::new(SessionFence::new()));
        ownership.become_at_least(Standing::Lost);
        ownership.become_at_least(Standing::Owned);
        assert_eq!(ownership.check(), Err(NotOwned::Lost));
        assert_eq!(ownership.check_commit(), Err(NotOwned::Lost));
    }

    #[test]
    fn a_passed_session_deadline_fences_without_anyone_having_to_run() {
        let fence = Arc::new(SessionFence::new());
        let ownership = owned(&fence);
        let now = Instant::now();
        fence.set(Some(now + Duration::from_secs(5)));
        assert_eq!(ownership.check_at(now), Ok(()));
        assert_eq!(
            ownership.check_at(now + Duration::from_secs(5)),
            Err(NotOwned::SessionExpired { ago: Duration::ZERO })
        );
        let late = ownership.check_at(now + Duration::from_secs(125));
        assert_eq!(late, Err(NotOwned::SessionExpired { ago: Duration::from_mins(2) }));
        fence.set(Some(now + Duration::from_secs(200)));
        assert_eq!(ownership.check_at(now + Duration::from_secs(125)), Ok(()));
    }

    #[test]
    fn what_was_lost_with_a_session_stays_lost_under_the_next_one() {
        let fence = Arc::new(SessionFence::new());
        let (before, now) = (owned(&fence), Instant::now());
        fence.end_term();
        fence.set(Some(now + Duration::from_secs(5)));
        assert_eq!(before.check_at(now), Err(NotOwned::Lost));
        assert_eq!(before.check_commit(), Err(NotOwned::Lost));
        assert_eq!(owned(&fence).check_at(now), Ok(()));
    }

    #[test]
    fn two_assignments_of_one_partition_differ() {
        let fence = Arc::new(SessionFence::new());
        let first = owned(&fence);
        assert_eq!(first, first.clone());
        assert_ne!(first, owned(&fence));
    }
}
