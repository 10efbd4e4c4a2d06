//! One batch of one partition, decoded as it is read.
//!
//! Promised: the batch passed its checksum, could be decompressed, and every record in it parses, before the application
//! sees it; so iterating cannot fail. Records below the position that was asked for are left out. A batch may hold no
//! record at all (markers, aborted transactions, compaction): its `next_offset` counts all the same.

use std::fmt;

use kafka_proto::id::{LeaderEpoch, Offset, TopicPartition};
use kafka_proto::record::{Batch, Record, RecordError, Records as ProtoRecords};

use crate::client::ownership::Ownership;

/// Records of one partition, in the order of their offsets, read under one assignment.
pub struct Records {
    ownership: Ownership,
    batch: Option<Batch>,
    from: Offset,
    next: Offset,
    leader_epoch: LeaderEpoch,
    count: usize,
}

impl Records {
    /// A batch of which the records at `from` and above are handed out. Walks it once, so that a record that does not
    /// parse is known before the first one is processed.
    pub(crate) fn open(ownership: Ownership, batch: Batch, from: Offset) -> Result<Self, RecordError> {
        let mut count = 0_usize;
        for (index, record) in (0..).zip(batch.records()) {
            let record = record?;
            for header in record.headers() {
                header.map_err(|cause| RecordError::Malformed { index, cause })?;
            }
            count = count.saturating_add(usize::from(record.offset >= from));
        }
        let (next, leader_epoch) = (batch.header().next_offset(), batch.header().leader_epoch);
        Ok(Self { ownership, batch: Some(batch), from, next, leader_epoch, count })
    }

    /// Offsets without a record for the application, up to `next`.
    pub(crate) fn gap(ownership: Ownership, from: Offset, next: Offset, leader_epoch: LeaderEpoch) -> Self {
        Self { ownership, batch: None, from, next, leader_epoch, count: 0 }
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

    /// The records, borrowed from the batch. To keep one, copy it: a slice would keep the whole response alive.
    pub fn batch(&self) -> BatchRecords<'_> {
        BatchRecords { records: self.batch.as_ref().map(Batch::records), from: self.from }
    }

    /// The size of the decompressed batch in bytes.
    pub fn size(&self) -> usize {
        self.batch.as_ref().map_or(0, Batch::size)
    }
}

#[expect(clippy::into_iter_without_iter, reason = "`batch` is the method")]
impl<'a> IntoIterator for &'a Records {
    type Item = Record<'a>;
    type IntoIter = BatchRecords<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.batch()
    }
}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Records({} {}..{}, {} records)", self.partition(), self.from.get(), self.next.get(), self.count)
    }
}

/// The records of one batch. Made by [`Records::batch`].
pub struct BatchRecords<'a> {
    records: Option<ProtoRecords<'a>>,
    from: Offset,
}

impl<'a> Iterator for BatchRecords<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        // `Records::open` has seen every record parse, so the first error is the end.
        loop {
            let record = self.records.as_mut()?.next()?.ok()?;
            if record.offset >= self.from {
                return Some(record);
            }
        }
    }
}
