//! Where a member is in the life of its group: Kafka's states, each with what is true only in it.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use crate::error_code::ErrorCode;
use crate::id::TopicPartition;
use crate::membership::exchange::{AskId, FatalCause, JoinedMember};

/// The state of a [`super::Membership`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// In no generation and owning nothing.
    Unjoined(Wake, RebalanceReason),
    /// Giving up what has to be given up, then joining.
    PreparingRebalance(Preparing, RebalanceReason),
    /// In a generation, waiting for the assignment.
    CompletingRebalance(Completing),
    /// In a generation, with its assignment.
    Stable,
    /// On the way out.
    Leaving(Leaving),
    /// Out, on request.
    Left,
    /// Out, for good and not on request.
    Fatal(FatalCause),
}

/// What ends [`State::Unjoined`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// That moment.
    At(Instant),
    /// The application asking for records.
    Polled,
}

/// Steps of [`State::PreparingRebalance`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Preparing {
    /// The application gives these up.
    Revoking(Revocation),
    /// The join is to be sent at that moment, or is under way.
    Joining {
        /// Not before this.
        not_before: Instant,
    },
}

/// A revocation under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// Its name.
    pub id: AskId,
    /// What is given up.
    pub partitions: Vec<TopicPartition>,
    /// When it is over anyway.
    pub deadline: Instant,
}

/// Steps of [`State::CompletingRebalance`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Completing {
    /// We lead and fetch the partition counts of all topics of the group.
    Describing {
        /// The members to assign to.
        members: Vec<JoinedMember>,
        /// The next attempt comes not before this.
        not_before: Instant,
    },
    /// The sync is to be sent, or is under way.
    Syncing {
        /// Assignment bytes by member id; empty unless we lead.
        assignments: Vec<(Arc<str>, Bytes)>,
    },
}

/// Steps of [`State::Leaving`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leaving {
    /// The application gives up what it has; then we leave.
    Revoking {
        /// What is given up.
        revocation: Revocation,
        /// Why we leave.
        reason: String,
        /// When we are gone in any case.
        deadline: Instant,
    },
    /// The leave is to be sent, or is under way, until the deadline.
    Sending {
        /// Why we leave.
        reason: String,
        /// When we are gone in any case.
        deadline: Instant,
        /// Not before this; while an attempt is under way it means nothing.
        not_before: Instant,
    },
}

/// Why a rebalance is joined; told to the coordinator (KIP-800).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RebalanceReason {
    /// The member is new.
    FirstJoin,
    /// The coordinator gave the member its id and wants it back in the join (KIP-394).
    MemberIdAssigned,
    /// The coordinator said that the group rebalances.
    GroupRebalancing,
    /// Another round of a cooperative rebalance, after giving up what moves.
    PartitionsRevoked(usize),
    /// The partition counts of subscribed topics changed (fault G20).
    TopicsChanged,
    /// The session or the rebalance ran out on us.
    Expired,
    /// The coordinator did not know us or our generation.
    MembershipLost,
    /// The application asked for records again after being too slow.
    PolledAgain,
    /// The leader's assignment could not be read.
    AssignmentUnreadable,
    /// A join or sync was refused.
    Refused(ErrorCode),
    /// A join or sync got no answer.
    NoAnswer,
}

impl fmt::Display for RebalanceReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FirstJoin => f.write_str("first join"),
            Self::MemberIdAssigned => f.write_str("need to re-join with the given member-id"),
            Self::GroupRebalancing => f.write_str("group is already rebalancing"),
            Self::PartitionsRevoked(n) => write!(f, "{n} revoked partitions were given up"),
            Self::TopicsChanged => f.write_str("partition counts of subscribed topics changed"),
            Self::Expired => f.write_str("session expired on the client"),
            Self::MembershipLost => f.write_str("membership was lost"),
            Self::PolledAgain => f.write_str("polled again after max.poll.interval.ms"),
            Self::AssignmentUnreadable => f.write_str("assignment could not be read"),
            Self::Refused(error) => write!(f, "retry after {error:?}"),
            Self::NoAnswer => f.write_str("retry after no answer"),
        }
    }
}

impl RebalanceReason {
    /// Its name without what it holds: for counting.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::FirstJoin => "first_join",
            Self::MemberIdAssigned => "member_id_assigned",
            Self::GroupRebalancing => "group_rebalancing",
            Self::PartitionsRevoked(_) => "partitions_revoked",
            Self::TopicsChanged => "topics_changed",
            Self::Expired => "expired",
            Self::MembershipLost => "membership_lost",
            Self::PolledAgain => "polled_again",
            Self::AssignmentUnreadable => "assignment_unreadable",
            Self::Refused(_) => "refused",
            Self::NoAnswer => "no_answer",
        }
    }
}

impl State {
    /// Kafka's name of the state.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Unjoined(..) => "Unjoined",
            Self::PreparingRebalance(..) => "PreparingRebalance",
            Self::CompletingRebalance(_) => "CompletingRebalance",
            Self::Stable => "Stable",
            Self::Leaving(_) => "Leaving",
            Self::Left => "Left",
            Self::Fatal(_) => "Fatal",
        }
    }

    /// Nothing follows any more.
    pub const fn is_over(&self) -> bool {
        matches!(self, Self::Left | Self::Fatal(_))
    }
}
