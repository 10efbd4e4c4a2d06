//! The ledger topic as the ledger sees it. The client is elsewhere: `pipeline` puts it behind these two traits.

use futures::future::BoxFuture;

/// A record to be appended. Without a value it removes what has its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicRecord {
    /// No two records that mean different things have the same.
    pub key: String,
    /// JSON.
    pub value: Option<Vec<u8>>,
}

/// Why records were not appended, or not certainly.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// It may heal, and they may have been appended: they are sent again under another key.
    #[error("{0}")]
    Again(String),
    /// They never will be.
    #[error("{0}")]
    Never(String),
}

/// Appends to the topic.
pub trait Topic: Send + Sync + 'static {
    /// What it is called.
    fn name(&self) -> &str;

    /// How many partitions it has. Never changes.
    fn partitions(&self) -> u32;

    /// Appends records to one partition, all or none, and returns when all replicas in sync have them.
    fn append(&self, partition: u32, records: Vec<TopicRecord>) -> BoxFuture<'_, Result<(), TopicError>>;
}

/// Reads all partitions of the topic from their beginning, each in its order.
pub trait Tail: Send + 'static {
    /// The next records. The error is for people: what was read is not the log any more, or cannot be read at all.
    fn next(&mut self) -> BoxFuture<'_, Result<Vec<TopicRecord>, String>>;

    /// How many offsets of what was there at the start are still to be read.
    fn left(&self) -> u64;
}
