//! How the leader of a consumer group divides the partitions among the members.
//!
//! [`AssignorKind`] names the assignors this client offers and [`assign`] runs one of them over the subscriptions of
//! all members, foreign ones included. Promised: every partition of a subscribed topic goes to exactly one member that
//! subscribes to it (a cooperative round may withhold a partition that must first be given up), the result depends on
//! the input alone, and every computation ends. Absent: racks (KIP-881); without replica racks the range assignor of
//! the Java client behaves as this one does.
//!
//! The members' metadata and the assignments travel in the embedded "consumer" protocol, see [`protocol`].

pub mod protocol;
mod range;
mod sticky;

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::assignor::protocol::Subscription;
use crate::id::TopicPartition;

/// The number of partitions of each topic. A topic that is absent is one of which nothing is known.
pub type PartitionCounts = BTreeMap<Arc<str>, i32>;

/// What each member is given, by member id. Every member has an entry, possibly an empty one.
pub type Assignment = BTreeMap<Arc<str>, Vec<TopicPartition>>;

/// An assignor that this client can offer and run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AssignorKind {
    /// Contiguous ranges of each topic by itself, members in the order of their ids. Kafka's oldest, eager.
    Range,
    /// Balanced over all topics, and keeps what a member had. Eager: everything is given up before each rebalance.
    Sticky,
    /// As [`AssignorKind::Sticky`], but only what moves is given up, in a second round (KIP-429).
    CooperativeSticky,
}

impl AssignorKind {
    /// The name under which the assignor is offered in a `JoinGroup` request.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Range => "range",
            Self::Sticky => "sticky",
            Self::CooperativeSticky => "cooperative-sticky",
        }
    }

    /// The assignor of that name, if it is one of ours.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Range, Self::Sticky, Self::CooperativeSticky].into_iter().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for AssignorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a member gives up before it joins a rebalance (KIP-429).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RebalanceProtocol {
    /// Everything, before it joins.
    Eager,
    /// Only what the new assignment takes away, after it.
    Cooperative,
}

impl RebalanceProtocol {
    /// The protocol that a member which offers all of `assignors` can follow: cooperative only when every one of them
    /// is, since the group may choose any.
    pub fn of(assignors: &[AssignorKind]) -> Self {
        let cooperative = |kind: &AssignorKind| match kind {
            AssignorKind::CooperativeSticky => true,
            AssignorKind::Range | AssignorKind::Sticky => false,
        };
        if !assignors.is_empty() && assignors.iter().all(cooperative) { Self::Cooperative } else { Self::Eager }
    }
}

/// A member as its leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMember {
    /// The id that the coordinator gave it.
    pub member_id: Arc<str>,
    /// `group.instance.id` of a static member (KIP-345).
    pub instance_id: Option<Arc<str>>,
    /// What it wants and what it says it owns.
    pub subscription: Subscription,
}

impl GroupMember {
    /// Kafka's order of members: static ones first, by instance id; then the others by member id. Strings compare as
    /// Java compares them, by UTF-16 code unit, so that leaders written in different languages agree.
    pub(crate) fn kafka_order(&self, other: &Self) -> Ordering {
        match (&self.instance_id, &other.instance_id) {
            (Some(mine), Some(theirs)) => java_order(mine, theirs),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => java_order(&self.member_id, &other.member_id),
        }
    }
}

fn java_order(a: &str, b: &str) -> Ordering {
    a.encode_utf16().cmp(b.encode_utf16())
}

/// Divides the partitions of all subscribed topics among `members`.
///
/// Topics without an entry in `counts`, and those with no partitions, are nobody's. Two members of the same id are one
/// member; the first counts.
pub fn assign(kind: AssignorKind, members: &[GroupMember], counts: &PartitionCounts) -> Assignment {
    match kind {
        AssignorKind::Range => range::assign(members, counts),
        AssignorKind::Sticky => sticky::assign(members, counts),
        AssignorKind::CooperativeSticky => sticky::assign_cooperative(members, counts),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kafkas_and_round_trip() {
        for kind in [AssignorKind::Range, AssignorKind::Sticky, AssignorKind::CooperativeSticky] {
            assert_eq!(AssignorKind::from_name(kind.name()), Some(kind));
        }
        assert_eq!(AssignorKind::from_name("roundrobin"), None);
    }

    #[test]
    fn one_eager_assignor_makes_the_member_eager() {
        use AssignorKind::{CooperativeSticky, Range};
        assert_eq!(RebalanceProtocol::of(&[CooperativeSticky]), RebalanceProtocol::Cooperative);
        assert_eq!(RebalanceProtocol::of(&[CooperativeSticky, Range]), RebalanceProtocol::Eager);
        assert_eq!(RebalanceProtocol::of(&[]), RebalanceProtocol::Eager);
    }

    #[test]
    fn strings_sort_by_utf16_code_unit() {
        // U+FF5E sorts after U+1F600 in UTF-16 (surrogates begin at D800) and before it in UTF-8.
        assert_eq!(java_order("\u{1F600}", "\u{FF5E}"), Ordering::Less);
        assert_eq!(java_order("a", "ab"), Ordering::Less);
    }
}
