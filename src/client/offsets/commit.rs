//! What a commit is made of, and what becomes of it.

use std::collections::BTreeMap;
use std::time::Instant;

use kafka_proto::id::{LeaderEpoch, Offset, TopicPartition};
use tokio::sync::oneshot;

use crate::client::event::Records;
use crate::client::ownership::{NotOwned, Ownership};

/// Offsets to commit: for each partition the next offset to read, with the assignment under which the records before it
/// were read.
#[derive(Clone, Debug, Default)]
pub struct Commit {
    offsets: BTreeMap<TopicPartition, CommitOffset>,
}

#[derive(Clone, Debug)]
pub(crate) struct CommitOffset {
    pub(crate) ownership: Ownership,
    pub(crate) next: Offset,
    pub(crate) leader_epoch: LeaderEpoch,
}

impl Commit {
    /// A commit of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Everything in `records`, and before it, is processed.
    pub fn processed(&mut self, records: &Records) {
        self.add(records.ownership(), records.next_offset(), records.leader_epoch());
    }

    /// Everything before `next` is processed. `leader_epoch` is that of the last batch that was processed.
    ///
    /// Of two offsets of one partition the higher one counts, of two assignments the later one.
    pub fn add(&mut self, ownership: &Ownership, next: Offset, leader_epoch: LeaderEpoch) {
        let newer = |old: &CommitOffset| (ownership.epoch(), next) > (old.ownership.epoch(), old.next);
        if self.offsets.get(ownership.partition()).is_none_or(newer) {
            let entry = CommitOffset { ownership: ownership.clone(), next, leader_epoch };
            self.offsets.insert(ownership.partition().clone(), entry);
        }
    }

    /// Takes over everything in `other`.
    pub fn merge(&mut self, other: &Self) {
        for entry in other.offsets.values() {
            self.add(&entry.ownership, entry.next, entry.leader_epoch);
        }
    }

    /// How many partitions it names.
    pub fn len(&self) -> usize {
        self.offsets.len()
    }

    /// Whether it names no partition.
    pub fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    /// The partitions with the next offset to read.
    pub fn offsets(&self) -> impl Iterator<Item = (&TopicPartition, Offset)> {
        self.offsets.iter().map(|(partition, entry)| (partition, entry.next))
    }

    pub(crate) fn into_entries(self) -> impl Iterator<Item = (TopicPartition, CommitOffset)> {
        self.offsets.into_iter()
    }
}

/// A commit on its way, and whom to tell.
pub(crate) struct CommitJob {
    pub(crate) offsets: Commit,
    pub(crate) deadline: Instant,
    pub(crate) answer: oneshot::Sender<Result<CommitReport, CommitError>>,
}

/// What became of each offset of a [`Commit`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommitReport {
    /// Stored by the coordinator, or covered by an earlier commit of this assignment.
    pub committed: Vec<CommittedOffset>,
    /// Not sent.
    pub dropped: Vec<DroppedOffset>,
    /// Refused by the coordinator for this partition alone.
    pub rejected: Vec<RejectedOffset>,
}

/// An offset that is committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The partition.
    pub partition: TopicPartition,
    /// The next offset to read.
    pub offset: Offset,
}

/// An offset that was not sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DroppedOffset {
    /// The partition.
    pub partition: TopicPartition,
    /// The offset that was to be committed.
    pub offset: Offset,
    /// Why it was not.
    pub cause: DropCause,
}

/// Why an offset was not sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DropCause {
    /// The records were read under an assignment that is over (fault G5).
    NotOwned(NotOwned),
    /// A higher offset of the same assignment is committed already; offsets never go back.
    Behind {
        /// The offset that is committed.
        committed: Offset,
    },
}

/// An offset that the coordinator refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedOffset {
    /// The partition.
    pub partition: TopicPartition,
    /// The offset that was to be committed.
    pub offset: Offset,
    /// Kafka's name of the error.
    pub error: &'static str,
}

/// Why a commit as a whole did not happen. Whether the coordinator stored some of it is unknown only for
/// [`CommitError::Deadline`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// The deadline passed while the commit was waiting, being sent or being retried.
    #[error("the commit did not finish before its deadline; the last try: {last}")]
    Deadline {
        /// What the last try met.
        last: String,
    },
    /// The group does not take commits from this member: it was fenced, or its generation is over. The member joins
    /// again by itself.
    #[error("the group refused the commit: {error}")]
    Fenced {
        /// Kafka's name of the error.
        error: &'static str,
    },
    /// The coordinator refused the commit for good.
    #[error("the coordinator refused the commit: {error}")]
    Refused {
        /// Kafka's name of the error.
        error: &'static str,
    },
    /// The consumer is closed.
    #[error("the consumer is closed")]
    Closed,
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kafka_proto::id::Generation;

    use super::*;
    use crate::client::ownership::SessionFence;

    fn ownership(epoch: u64) -> Ownership {
        let partition = TopicPartition { topic: "t".into(), partition: 0 };
        Ownership::new(partition, Generation(1), epoch, Arc::new(SessionFence::new()).term())
    }

    fn offset_of(commit: &Commit) -> Option<Offset> {
        commit.offsets().map(|(_, offset)| offset).next()
    }

    #[test]
    fn the_higher_offset_of_one_assignment_counts() {
        let ownership = ownership(1);
        let mut commit = Commit::new();
        commit.add(&ownership, Offset(8), LeaderEpoch(2));
        commit.add(&ownership, Offset(5), LeaderEpoch(2));
        assert_eq!(offset_of(&commit), Some(Offset(8)));
        assert_eq!(commit.len(), 1);
    }

    #[test]
    fn a_later_assignment_replaces_an_earlier_one_also_with_a_lower_offset() {
        let (first, second) = (ownership(1), ownership(2));
        let mut commit = Commit::new();
        commit.add(&second, Offset(5), LeaderEpoch(2));
        commit.add(&first, Offset(9), LeaderEpoch(2));
        assert_eq!(offset_of(&commit), Some(Offset(5)));
    }
}
