//! Writing into the logs, past the protocol.

use bytes::Bytes;

use super::Cluster;
use crate::batch::{Batch, Record};
use crate::log::AppendError;
use crate::topic::Partition;

impl Cluster {
    /// Appends records as one batch that is not compressed. Returns the offset of the first. Panics where there is no such
    /// partition.
    pub fn produce<R: Into<Record>>(&self, topic: &str, partition: i32, records: impl IntoIterator<Item = R>) -> i64 {
        self.append(topic, partition, &Batch::of(records))
    }

    /// Appends one batch. Returns the offset of its first record. Panics where there is no such partition.
    pub fn append(&self, topic: &str, partition: i32, batch: &Batch) -> i64 {
        self.append_many(topic, partition, batch, 1)
    }

    /// Appends the same batch many times; its bytes are kept once. Returns the offset of the first.
    pub fn append_many(&self, topic: &str, partition: i32, batch: &Batch, times: usize) -> i64 {
        let bytes = batch.encode();
        self.change(topic, partition, |partition| {
            let first = partition.log.end();
            for _ in 0..times {
                partition.log.append(&bytes, partition.leader_epoch).expect("our own batch is good");
            }
            first
        })
        .expect("a partition of this cluster")
    }

    /// Appends encoded batches as a producer would send them: offsets and epoch are assigned, checksums checked.
    pub fn append_raw(&self, topic: &str, partition: i32, batches: &Bytes) -> Result<i64, AppendError> {
        self.change(topic, partition, |partition| partition.log.append(batches, partition.leader_epoch))?
    }

    /// Appends encoded batches exactly as they are: offsets (with gaps, if so), epochs and wrong checksums included.
    pub fn append_verbatim(&self, topic: &str, partition: i32, batches: &Bytes) -> Result<i64, AppendError> {
        self.change(topic, partition, |partition| partition.log.append_verbatim(batches))?
    }

    /// Appends bytes of any kind, said to cover the next `offsets` offsets. Panics where there is no such partition.
    pub fn append_garbage(&self, topic: &str, partition: i32, bytes: impl Into<Bytes>, offsets: i64) -> i64 {
        let bytes = bytes.into();
        self.change(topic, partition, |partition| partition.log.append_garbage(bytes, offsets, partition.leader_epoch))
            .expect("a partition of this cluster")
    }

    /// Begins a transaction under a producer id of its own.
    pub fn begin_transaction(&self) -> Transaction {
        let producer_id = i64::try_from(self.shared().lock().fresh()).unwrap_or(i64::MAX);
        Transaction { cluster: self.clone(), producer_id, parts: Vec::new() }
    }

    /// Changes a partition and wakes the long polls.
    pub(super) fn change<T>(
        &self,
        topic: &str,
        partition: i32,
        change: impl FnOnce(&mut Partition) -> T,
    ) -> Result<T, AppendError> {
        let mut state = self.shared().lock();
        let partition = state.topics.get_mut(topic).and_then(|topic| topic.partition_mut(partition));
        let changed = change(partition.ok_or(AppendError::UnknownPartition)?);
        drop(state);
        self.shared().logs_changed();
        Ok(changed)
    }
}

/// A transaction: what it writes stays unstable until it is ended. Dropping it leaves it open.
#[derive(Debug)]
#[must_use = "a transaction that is not ended holds the last stable offset"]
pub struct Transaction {
    cluster: Cluster,
    producer_id: i64,
    /// Partitions written to, with the next sequence of each.
    parts: Vec<(String, i32, i32)>,
}

impl Transaction {
    /// The producer id.
    pub fn producer_id(&self) -> i64 {
        self.producer_id
    }

    /// Appends records as one batch of the transaction. Returns the offset of the first.
    pub fn produce<R: Into<Record>>(
        &mut self,
        topic: &str,
        partition: i32,
        records: impl IntoIterator<Item = R>,
    ) -> i64 {
        self.append(topic, partition, Batch::of(records))
    }

    /// Appends one batch; producer and transaction are added to it.
    pub fn append(&mut self, topic: &str, partition: i32, batch: Batch) -> i64 {
        let known = self.parts.iter().position(|(name, index, _)| name == topic && *index == partition);
        let at = known.unwrap_or_else(|| {
            self.parts.push((topic.to_owned(), partition, 0));
            self.parts.len() - 1
        });
        let sequence = &mut self.parts[at].2;
        let count = crate::batch::int(batch.record_count());
        let batch = batch.producer(self.producer_id, 0, *sequence).transactional();
        *sequence += count;
        self.cluster.append(topic, partition, &batch)
    }

    /// Writes COMMIT markers.
    pub fn commit(self) {
        self.end(true);
    }

    /// Writes ABORT markers.
    pub fn abort(self) {
        self.end(false);
    }

    fn end(self, committed: bool) {
        for (topic, partition, _) in &self.parts {
            // The topic may have been deleted meanwhile, and the transaction's part in it with it.
            let _gone = self.cluster.change(topic, *partition, |partition| {
                partition.log.end_transaction(self.producer_id, 0, committed, partition.leader_epoch)
            });
        }
    }
}
