//! Where records come from, as the pipeline sees it: the seam that lets it be tested without a Kafka.
//!
//! `kafka.rs` is the one implementation that a service uses; it maps `client::Event` one to one.

use std::fmt;
use std::future::Future;
use std::time::Instant;

use kafka_proto::id::{Generation, LeaderEpoch, Offset, TopicPartition};
use kafka_proto::record::Record;

/// The right to act on one partition under one assignment.
pub trait Right: Clone + fmt::Debug + Send + Sync + 'static {
    /// The partition.
    fn partition(&self) -> &TopicPartition;
    /// The generation of the group under which it was assigned.
    fn generation(&self) -> Generation;
    /// Whether it still holds. Cheap: asked right before every attempt.
    fn check(&self) -> Result<(), NotOurs>;
    /// Whether two rights stand for the same assignment, not merely the same partition.
    fn is(&self, other: &Self) -> bool;
}

/// The right is gone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotOurs(pub String);

/// Records of one partition in the order of their offsets.
pub trait Batch: Send + 'static {
    /// The right under which they were read.
    type Right: Right;
    /// That right.
    fn right(&self) -> &Self::Right;
    /// The first offset that these records cover.
    fn first_offset(&self) -> Offset;
    /// The offset after the last one.
    fn next_offset(&self) -> Offset;
    /// The leader epoch to commit with it.
    fn leader_epoch(&self) -> LeaderEpoch;
    /// Decoded size in bytes.
    fn size(&self) -> usize;
    /// Shows every record.
    fn each(&self, visit: &mut dyn FnMut(Record<'_>));
}

/// What a source has to say, in order.
#[derive(Debug)]
pub enum Feed<B: Batch, G> {
    /// Partitions that are ours from now on.
    Assigned(Vec<B::Right>),
    /// Records.
    Records(B),
    /// Partitions about to be taken. Dropping the guard lets that happen; it happens at the deadline anyway.
    Revoking {
        /// The rights that end.
        rights: Vec<B::Right>,
        /// When it happens at the latest.
        deadline: Instant,
        /// Holds the rebalance up until it is dropped.
        guard: G,
    },
    /// Partitions that are gone.
    Lost {
        /// Which.
        partitions: Vec<TopicPartition>,
        /// Why.
        cause: String,
    },
    /// Reading goes on elsewhere in a partition.
    Moved {
        /// The partition.
        partition: TopicPartition,
        /// The next offset that will be read.
        to: Offset,
        /// Why.
        cause: String,
    },
    /// Offsets that cannot be read were passed over.
    PassedOver {
        /// The partition.
        partition: TopicPartition,
        /// The last of them.
        last: Offset,
        /// Why.
        cause: String,
    },
}

/// The source cannot go on; the text says why and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SourceError(pub String);

/// A consumer.
pub trait Source: Send {
    /// Its right to a partition.
    type Right: Right;
    /// Its batches.
    type Batch: Batch<Right = Self::Right>;
    /// What holds a rebalance up.
    type Guard: Send + 'static;
    /// Its remote control.
    type Control: Control<Right = Self::Right>;

    /// Waits for the next piece of news. Cancel-safe.
    fn next(&mut self) -> impl Future<Output = Result<Feed<Self::Batch, Self::Guard>, SourceError>> + Send;
    /// The remote control.
    fn control(&self) -> Self::Control;
}

/// What can be asked of a consumer from anywhere.
pub trait Control: Clone + Send + Sync + 'static {
    /// Its right to a partition.
    type Right: Right;
    /// Hands out no more records of these partitions; keeps what was fetched.
    fn pause(&self, partitions: &[TopicPartition]);
    /// Undoes `pause`.
    fn resume(&self, partitions: &[TopicPartition]);
    /// Commits; what is not owned any more is left out, and that is no error.
    fn commit(&self, offsets: Vec<Commit<Self::Right>>) -> impl Future<Output = Result<(), CommitFailed>> + Send;
}

/// The next offset to read of one partition.
#[derive(Clone, Debug)]
pub struct Commit<R> {
    /// Under which right the records before it were read.
    pub right: R,
    /// The offset.
    pub next: Offset,
    /// The leader epoch of the record before it.
    pub leader_epoch: LeaderEpoch,
}

/// A commit did not succeed; it will be repeated with the next one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("offsets could not be committed: {0}")]
pub struct CommitFailed(pub String);
