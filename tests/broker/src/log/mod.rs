//! The log of one partition: batches, leader epochs, transactions, idempotent producers.
//!
//! Promised: batches are served as they were appended, but for base offset and leader epoch, which lie outside the CRC and
//! are written when served; so one batch appended a thousand times is kept once. High watermark is the log end unless a
//! test holds it back. Absent: segments, retention, compaction (a test appends batches with gaps instead).

mod epochs;
mod error;
mod producers;
mod times;

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use epochs::Epochs;
use producers::{Producers, Sequence};

pub use error::AppendError;

use crate::batch::{self, Batch, Header};

/// Which records a reader may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Isolation {
    Uncommitted,
    Committed,
}

impl From<i8> for Isolation {
    fn from(level: i8) -> Self {
        if level == 1 { Self::Committed } else { Self::Uncommitted }
    }
}

/// A transaction that was aborted, as the broker's index keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Aborted {
    pub(crate) producer_id: i64,
    pub(crate) first: i64,
    /// Offset of the abort marker.
    last: i64,
}

#[derive(Debug, Clone)]
struct Stored {
    base: i64,
    last: i64,
    epoch: i32,
    max_timestamp: i64,
    /// Served as it is: not even base offset and epoch are written into it.
    verbatim: bool,
    bytes: Bytes,
}

/// The log of one partition.
#[derive(Debug, Clone, Default)]
pub(crate) struct PartitionLog {
    start: i64,
    end: i64,
    batches: Vec<Stored>,
    epochs: Epochs,
    aborted: Vec<Aborted>,
    open_transactions: BTreeMap<i64, i64>,
    producers: Producers,
    held_high_watermark: Option<i64>,
}

impl PartitionLog {
    /// First offset that can be read.
    pub(crate) fn start(&self) -> i64 {
        self.start
    }

    /// Offset of the next record.
    pub(crate) fn end(&self) -> i64 {
        self.end
    }

    /// End of what is replicated.
    pub(crate) fn high_watermark(&self) -> i64 {
        self.held_high_watermark.unwrap_or(self.end).min(self.end)
    }

    /// End of what has no open transaction in front of it.
    pub(crate) fn last_stable(&self) -> i64 {
        let first_open = self.open_transactions.values().copied().min().unwrap_or(i64::MAX);
        first_open.min(self.high_watermark())
    }

    /// How far a reader may read.
    pub(crate) fn readable_until(&self, isolation: Isolation) -> i64 {
        match isolation {
            Isolation::Uncommitted => self.high_watermark(),
            Isolation::Committed => self.last_stable(),
        }
    }

    /// Keeps the high watermark where it is told, or lets it follow the log end again.
    pub(crate) fn hold_high_watermark(&mut self, at: Option<i64>) {
        self.held_high_watermark = at;
    }

    /// Appends batches as a leader in `epoch` does: offsets are assigned, sequences checked. Returns the first offset.
    pub(crate) fn append(&mut self, records: &Bytes, epoch: i32) -> Result<i64, AppendError> {
        let batches = split(records)?;
        if batches.iter().any(|(header, _)| !header.sound) {
            return Err(AppendError::WrongChecksum);
        }
        let mut first = None;
        for (header, bytes) in batches {
            let base = match self.producers.check(&header, self.end)? {
                Sequence::Repeated { base } => base,
                Sequence::Next => self.store(&header, bytes, self.end, epoch, false),
            };
            first.get_or_insert(base);
        }
        first.ok_or(AppendError::NotABatch)
    }

    /// The largest timestamp of the batch at an offset.
    pub(crate) fn timestamp_at(&self, offset: i64) -> Option<i64> {
        self.batches.iter().find(|batch| (batch.base..=batch.last).contains(&offset)).map(|batch| batch.max_timestamp)
    }

    /// Appends one batch exactly as its bytes say, offsets, epoch and checksum included; gaps are allowed.
    pub(crate) fn append_verbatim(&mut self, records: &Bytes) -> Result<i64, AppendError> {
        let mut first = None;
        for (header, bytes) in split(records)? {
            let base = self.store(&header, bytes, header.base_offset, header.leader_epoch, true);
            first.get_or_insert(base);
        }
        first.ok_or(AppendError::NotABatch)
    }

    /// Appends bytes of any kind, as covering the next `offsets` offsets.
    pub(crate) fn append_garbage(&mut self, bytes: Bytes, offsets: i64, epoch: i32) -> i64 {
        let base = self.end;
        self.epochs.begin(epoch, base);
        let last = base + offsets - 1;
        self.batches.push(Stored { base, last, epoch, max_timestamp: -1, verbatim: true, bytes });
        self.end = last + 1;
        base
    }

    /// Ends the open transaction of a producer with a marker. Returns the marker's offset.
    pub(crate) fn end_transaction(
        &mut self,
        producer_id: i64,
        producer_epoch: i16,
        committed: bool,
        epoch: i32,
    ) -> i64 {
        let marker = Batch::end_of_transaction(producer_id, producer_epoch, committed).encode();
        let header = Header::read(&marker).expect("our own marker");
        self.store(&header, marker, self.end, epoch, false)
    }

    fn store(&mut self, header: &Header, bytes: Bytes, base: i64, epoch: i32, verbatim: bool) -> i64 {
        let last = base + i64::from(header.last_offset_delta);
        self.epochs.begin(epoch, base);
        self.note_transaction(header, base, last, &bytes);
        self.batches.push(Stored { base, last, epoch, max_timestamp: header.max_timestamp, verbatim, bytes });
        self.end = self.end.max(last + 1);
        base
    }

    /// Notes that a leader of `epoch` writes from the log end on.
    pub(crate) fn lead(&mut self, epoch: i32) {
        self.epochs.begin(epoch, self.end);
    }

    fn note_transaction(&mut self, header: &Header, base: i64, last: i64, bytes: &Bytes) {
        if !header.is_transactional() {
            return;
        }
        if !header.is_control() {
            self.open_transactions.entry(header.producer_id).or_insert(base);
        } else if let Some(first) = self.open_transactions.remove(&header.producer_id)
            && marks_abort(bytes)
        {
            self.aborted.push(Aborted { producer_id: header.producer_id, first, last });
        }
    }

    /// The batches from the one that holds `offset`, up to `max_bytes`; the first is given whole, however large, when
    /// `first_whole` (KIP-74).
    pub(crate) fn read(&self, offset: i64, isolation: Isolation, max_bytes: usize, first_whole: bool) -> Bytes {
        let until = self.readable_until(isolation);
        let from = self.batches.partition_point(|batch| batch.last < offset);
        let mut chosen = Vec::new();
        let mut bytes = 0;
        for batch in self.batches.iter().skip(from).take_while(|batch| batch.base < until) {
            let exempt = first_whole && chosen.is_empty();
            if bytes + batch.bytes.len() > max_bytes && !exempt {
                break;
            }
            bytes += batch.bytes.len();
            chosen.push(batch);
        }
        let mut out = BytesMut::with_capacity(bytes);
        for batch in chosen {
            let at = out.len();
            out.extend_from_slice(&batch.bytes);
            if !batch.verbatim {
                out[at..at + 8].copy_from_slice(&batch.base.to_be_bytes());
                out[at + 12..at + 16].copy_from_slice(&batch.epoch.to_be_bytes());
            }
        }
        out.freeze()
    }

    /// The aborted transactions that touch what a read from `offset` that returned `bytes` bytes may contain.
    pub(crate) fn aborted_in(&self, offset: i64, bytes: usize) -> Vec<Aborted> {
        let from = self.batches.partition_point(|batch| batch.last < offset);
        let mut left = bytes;
        let mut upper = offset;
        for batch in self.batches.iter().skip(from) {
            if left < batch.bytes.len() {
                break;
            }
            left -= batch.bytes.len();
            upper = batch.last + 1;
        }
        self.aborted.iter().filter(|aborted| aborted.last >= offset && aborted.first < upper).copied().collect()
    }

    /// First offset whose batch holds a time at or after `timestamp_ms`, with that time and its epoch.
    pub(crate) fn offset_for_time(&self, timestamp_ms: i64) -> Option<(i64, i64, i32)> {
        let readable = self.high_watermark();
        let batch = self
            .batches
            .iter()
            .find(|batch| batch.max_timestamp >= timestamp_ms && batch.last >= self.start && batch.base < readable)?;
        let (offset, time) = times::first_record_at(&batch.bytes, timestamp_ms).unwrap_or((0, batch.max_timestamp));
        Some(((batch.base + offset).max(self.start), time, batch.epoch))
    }

    /// Offset and time of the newest record time.
    pub(crate) fn max_timestamp(&self) -> Option<(i64, i64, i32)> {
        let batch = self.batches.iter().max_by_key(|batch| batch.max_timestamp)?;
        Some((batch.last, batch.max_timestamp, batch.epoch))
    }

    /// The largest epoch at or below `epoch` and the offset at which it ended (KIP-320); `None` where unknown.
    pub(crate) fn end_of_epoch(&self, epoch: i32) -> Option<(i32, i64)> {
        self.epochs.end_of(epoch, self.end)
    }

    /// The epoch under which `offset` was written, -1 where unknown.
    pub(crate) fn epoch_of(&self, offset: i64) -> i32 {
        self.epochs.of(offset)
    }

    /// Loses everything from `offset` on, as a follower that became leader uncleanly; a batch that straddles is lost whole.
    pub(crate) fn truncate(&mut self, offset: i64) {
        let keep = self.batches.partition_point(|batch| batch.last < offset);
        self.end = self.batches.get(keep).map_or(self.end.min(offset), |lost| lost.base.min(offset));
        self.batches.truncate(keep);
        let end = self.end;
        self.epochs.truncate(end);
        self.aborted.retain(|aborted| aborted.last < end);
        self.open_transactions.retain(|_, first| *first < end);
        self.producers.truncate(end);
        self.start = self.start.min(end);
    }

    /// Loses everything before `offset`, as retention and `DeleteRecords` do.
    pub(crate) fn delete_before(&mut self, offset: i64) {
        self.start = self.start.max(offset.min(self.end));
        let start = self.start;
        self.batches.retain(|batch| batch.last >= start);
        self.aborted.retain(|aborted| aborted.last >= start);
    }
}

fn split(records: &Bytes) -> Result<Vec<(Header, Bytes)>, AppendError> {
    let mut batches = Vec::new();
    let mut rest = records.clone();
    while !rest.is_empty() {
        let header = Header::read(&rest).ok_or(AppendError::NotABatch)?;
        batches.push((header, rest.split_to(header.bytes)));
    }
    Ok(batches)
}

/// Whether the record of a control batch is an abort marker: its key is a version and then the type, 0 for abort.
fn marks_abort(batch: &Bytes) -> bool {
    // One-byte varints throughout: length, attributes, time delta, offset delta, key length 4, then the key.
    batch.get(batch::HEADER_BYTES + 5..batch::HEADER_BYTES + 9).is_some_and(|key| key[2..] == [0, 0])
}

#[cfg(test)]
mod tests {
    use kafka_proto::compression::Codec;

    use super::*;
    use crate::batch::Record;

    fn log_of(batches: &[&[&'static str]]) -> PartitionLog {
        let mut log = PartitionLog::default();
        for records in batches {
            log.append(&Batch::of(records.iter().copied()).encode(), 0).expect("appends");
        }
        log
    }

    #[test]
    fn offsets_are_assigned_and_served() {
        let log = log_of(&[&["a", "b"], &["c"]]);
        let read = log.read(2, Isolation::Uncommitted, 1 << 20, true);
        let header = Header::read(&read).expect("a batch");
        assert!(header.sound);
        assert_eq!((header.base_offset, log.end()), (2, 3));
    }

    #[test]
    fn a_read_in_the_middle_of_a_batch_gives_the_whole_batch() {
        let log = log_of(&[&["a", "b"]]);
        let header = Header::read(&log.read(1, Isolation::Uncommitted, 1, true)).expect("a batch");
        assert_eq!(header.base_offset, 0);
        assert!(log.read(1, Isolation::Uncommitted, 1, false).is_empty());
    }

    #[test]
    fn an_open_transaction_holds_the_last_stable_offset_and_an_abort_is_listed() {
        let mut log = log_of(&[&["a"]]);
        log.append(&Batch::of(["t"]).producer(5, 0, 0).transactional().encode(), 0).expect("appends");
        assert_eq!((log.last_stable(), log.high_watermark()), (1, 2));
        log.end_transaction(5, 0, false, 0);
        assert_eq!(log.last_stable(), 3);
        let read = log.read(0, Isolation::Committed, 1 << 20, true);
        assert_eq!(log.aborted_in(0, read.len()), [Aborted { producer_id: 5, first: 1, last: 2 }]);
        assert_eq!(log.aborted_in(3, 0), []);
    }

    #[test]
    fn a_committed_transaction_is_not_listed() {
        let mut log = PartitionLog::default();
        log.append(&Batch::of(["t"]).producer(5, 0, 0).transactional().encode(), 0).expect("appends");
        log.end_transaction(5, 0, true, 0);
        assert_eq!(log.aborted_in(0, 1 << 20), []);
    }

    #[test]
    fn a_repeated_sequence_is_answered_with_the_first_offset() {
        let mut log = PartitionLog::default();
        let batch = |sequence| Batch::of(["x"]).producer(1, 0, sequence).encode();
        assert_eq!(log.append(&batch(0), 0), Ok(0));
        assert_eq!(log.append(&batch(1), 0), Ok(1));
        assert_eq!(log.append(&batch(1), 0), Ok(1));
        assert_eq!(log.append(&batch(5), 0), Err(AppendError::OutOfOrderSequence));
        assert_eq!(log.end(), 2);
    }

    #[test]
    fn epochs_end_where_the_next_begins_and_truncation_forgets_them() {
        let mut log = log_of(&[&["a"], &["b"]]);
        log.append(&Batch::of(["c"]).encode(), 3).expect("appends");
        assert_eq!(log.end_of_epoch(0), Some((0, 2)));
        assert_eq!(log.end_of_epoch(2), Some((0, 2)));
        assert_eq!(log.end_of_epoch(3), Some((3, 3)));
        assert_eq!(log.end_of_epoch(9), None);
        assert_eq!((log.epoch_of(1), log.epoch_of(2)), (0, 3));
        log.truncate(1);
        assert_eq!((log.end(), log.end_of_epoch(3), log.end_of_epoch(0)), (1, None, Some((0, 1))));
    }

    #[test]
    fn deletion_moves_the_log_start() {
        let mut log = log_of(&[&["a", "b"], &["c"]]);
        log.delete_before(1);
        assert_eq!((log.start(), log.end()), (1, 3));
    }

    #[test]
    fn a_time_finds_its_record_in_every_codec() {
        for codec in Codec::ALL {
            let mut log = PartitionLog::default();
            let records = [10, 20, 30].map(|at| Record::new("x").at(at));
            log.append(&Batch::of(records).codec(codec).encode(), 0).expect("appends");
            assert_eq!(log.offset_for_time(15), Some((1, 20, 0)), "{codec:?}");
            assert_eq!(log.offset_for_time(31), None);
        }
    }

    #[test]
    fn batches_with_gaps_between_them_are_served_as_after_compaction() {
        let mut log = PartitionLog::default();
        let mut late = Batch::of(["x"]).encode().to_vec();
        late[..8].copy_from_slice(&7_i64.to_be_bytes());
        let late = Bytes::from(late);
        assert_eq!(log.append_verbatim(&late), Ok(7));
        assert_eq!((log.start(), log.end()), (0, 8));
        assert_eq!(log.read(2, Isolation::Uncommitted, 1 << 20, true), late);
    }

    #[test]
    fn a_wrong_checksum_is_refused_but_may_be_kept_verbatim() {
        let mut bytes = Batch::of(["x"]).encode().to_vec();
        bytes[65] ^= 1;
        let bytes = Bytes::from(bytes);
        let mut log = PartitionLog::default();
        assert_eq!(log.append(&bytes, 0), Err(AppendError::WrongChecksum));
        assert_eq!(log.append_verbatim(&bytes), Ok(0));
        assert_eq!(log.read(0, Isolation::Uncommitted, 0, true), bytes);
    }
}
