//! One batch of one partition, decoded as it is read.
//!
//! Promised: the batch passed its checksum, could be decompressed, and every record in it parses, before the application
//! sees it; so iterating cannot fail. Records below the position that was asked for are left out. A batch may hold no
//! record at all (markers, aborted transactions, compaction): its `next_offset` counts all the same.

use std::fmt;

use kafka_proto::id::{LeaderEpoch, Offset, TopicPartition};

use crate::client::ownership::Ownership;

/// Records of one partition, in the order of their offsets, read under one assignment.
pub struct Records {
    ownership: Ownership,
    from: Offset,
    next: Offset,
    leader_epoch: LeaderEpoch,
    count: usize,
}

impl Records {
    /// Offsets without a record for the application, up to `next`.
    pub(crate) fn gap(ownership: Ownership, from: Offset, next: Offset, leader_epoch: LeaderEpoch) -> Self {
        Self { ownership, from, next, leader_epoch, count: 0 }
    }

    /// The assignment under which the records were read.
    pub fn ownership(&self) -> &Ownership {
        &self.ownership
    }

    /// The partition.
    pub fn partition(&self) -> &TopicPartition {
        self.ownership.partition()
    }

    /// The first offset that these records cover. There need not be a record at it.
    pub fn first_offset(&self) -> Offset {
        self.from
    }

    /// The offset to commit when all of these records are processed. May lie beyond the last record.
    pub fn next_offset(&self) -> Offset {
        self.next
    }

    /// The epoch of the leader that wrote the batch; unknown for records without one.
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Records({} {}..{}, {} records)", self.partition(), self.from.get(), self.next.get(), self.count)
    }
}
