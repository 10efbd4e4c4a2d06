//! What a consumer reports, as one exhaustive enum.
//!
//! Everything that changes what an application may do, or which records it sees, is an [`Event`] of the one stream that
//! `Consumer::next` yields: there is no callback, and nothing that matters is only logged. The enum is exhaustive on
//! purpose, so that a new kind of event does not compile until somebody has decided what to do about it.

mod records;
mod revocation;

pub use records::{BatchRecords, Records};
pub use revocation::Revocation;

pub use kafka_proto::membership::LostCause;

use kafka_proto::id::{Offset, TopicPartition};

use crate::client::ownership::Ownership;

/// One thing that happened, in the order in which the application must learn it.
#[derive(Debug)]
pub enum Event {
    /// Partitions that are this member's from now on. Their records follow.
    ///
    /// With an eager assignor (range) this is the whole assignment, with a cooperative one what was added. Comes at the end
    /// of every rebalance, so it may be empty.
    Assigned {
        /// One ownership for each partition.
        partitions: Vec<Ownership>,
    },
    /// One batch of one partition.
    Records(Records),
    /// Partitions that a rebalance takes. The last moment to commit what was processed; dropping the value lets the
    /// rebalance go on.
    Revoking(Revocation),
    /// Partitions that are gone without a chance to commit: others may own them already.
    Lost {
        /// The partitions.
        partitions: Vec<TopicPartition>,
        /// Why.
        cause: LostCause,
    },
    /// The position of a partition was not taken from a commit, or could not be kept.
    OffsetReset {
        /// The partition.
        partition: TopicPartition,
        /// The position before; `None` when there was no committed offset.
        from: Option<Offset>,
        /// The position from here on.
        to: Offset,
        /// Why.
        cause: ResetCause,
    },
    /// The log of a partition was cut below what was read from it (KIP-320): records that were handed out are not part
    /// of the log any more. Reading goes on at `diverged_at`.
    Truncated {
        /// The partition.
        partition: TopicPartition,
        /// The next offset that would have been read.
        position: Offset,
        /// The first offset at which the log differs from what was read.
        diverged_at: Offset,
    },
    /// Offsets that could not be read and were passed over, as `corrupt.batch.policy = skip` asks.
    Skipped {
        /// The partition.
        partition: TopicPartition,
        /// The first offset that was passed over.
        first: Offset,
        /// The last one, inclusive.
        last: Offset,
        /// What is wrong with the batch.
        cause: SkipCause,
    },
}

/// Why a position was reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResetCause {
    /// The group has no committed offset for the partition, or it expired.
    NoCommittedOffset,
    /// A reader without a group begins where it was told to.
    Requested,
    /// The partition appeared after the first assignment, so it is read from its start.
    NewPartition,
    /// The position lies below the start of the log: retention or a deletion of records took what was not read yet.
    BelowLogStart {
        /// The first offset that the log still has.
        log_start: Offset,
    },
    /// The position lies above the end of the log: the log was truncated or recreated.
    AboveLogEnd {
        /// The end of the log at the leader.
        log_end: Offset,
    },
    /// The topic was deleted and created again: its offsets have nothing to do with the earlier ones.
    TopicRecreated,
}

/// What is wrong with a batch that was passed over.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SkipCause {
    /// The batch does not pass its checks, also after it was fetched a second time. The text says which.
    Corrupt(String),
    /// The batch cannot be decompressed. The text says why.
    Compression(String),
    /// The batch is sound and its records are not. The text says where.
    Records(String),
}
