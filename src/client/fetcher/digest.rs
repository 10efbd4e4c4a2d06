//! From the bytes of one partition's share of a fetch response to what goes into its queue: pure.
//!
//! Promised: the position advances by `base_offset + last_offset_delta + 1` of every batch, whether it holds records or
//! not (fault O5); aborted and control batches become gaps (faults O6, O10); batches below the position are left out
//! (fault O8); a batch that cannot be read ends the share and is named, what was sound before it is kept (fault O9); a
//! tail that the broker cut off is not an error. Absent: decompression, which the application's task does.

use bytes::Bytes;
use kafka_proto::compression::Decompressor;
use kafka_proto::id::Offset;
use kafka_proto::read_committed::AbortedTransactions;
use kafka_proto::record::{BatchError, BatchFault, Batches, ControlType, RawBatch};

use crate::client::event::SkipCause;
use crate::client::fetcher::partition::Position;
use crate::client::queue::Item;
use crate::client::request::IsolationLevel;

/// Control batches hold one small record; nothing in them may grow past this.
const CONTROL_BATCH_BYTES_MAX: usize = 64 * 1024;

/// A batch that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Damage {
    /// What is wrong, in words.
    pub(crate) what: String,
    /// The last offset it covers, where its header or its neighbour says so.
    pub(crate) last: Option<Offset>,
    pub(crate) kind: DamageKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DamageKind {
    /// The checks of the batch fail: another copy may be sound.
    Corrupt,
    /// The bytes are as they were written, and cannot be decompressed.
    Compression,
    /// Nobody here knows the codec: a later version of this program might.
    UnknownCodec,
    /// The batch is sound, a record in it is not.
    Records,
}

impl Damage {
    /// The broker cannot read the batch itself, and does not say where it ends.
    pub(crate) fn at_the_broker(error: &str) -> Self {
        Self { what: format!("the broker answered {error}"), last: None, kind: DamageKind::Corrupt }
    }

    /// Whether fetching again may help.
    pub(crate) fn may_heal(&self) -> bool {
        self.kind == DamageKind::Corrupt
    }

    /// Whether the policy may pass it over.
    pub(crate) fn may_skip(&self) -> bool {
        self.kind != DamageKind::UnknownCodec
    }

    pub(crate) fn skip_cause(self) -> SkipCause {
        match self.kind {
            DamageKind::Corrupt => SkipCause::Corrupt(self.what),
            DamageKind::Compression | DamageKind::UnknownCodec => SkipCause::Compression(self.what),
            DamageKind::Records => SkipCause::Records(self.what),
        }
    }
}

/// What became of one share.
#[derive(Debug)]
pub(crate) struct Digest {
    /// For the queue, in order.
    pub(crate) items: Vec<Item>,
    /// Where reading goes on.
    pub(crate) next: Position,
    /// How the share ended.
    pub(crate) end: End,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With whole batches.
    Whole,
    /// There were bytes, and no whole batch in them: the batch is larger than what was asked for.
    TooLarge,
    /// With a batch that cannot be read.
    Damaged(Damage),
}

/// Reads the share of a partition whose next offset is `at`.
pub(crate) fn digest(at: Position, records: Bytes, aborted: Vec<(i64, Offset)>, isolation: IsolationLevel) -> Digest {
    let mut reading = Reading { items: Vec::new(), next: at, aborted: AbortedTransactions::new(aborted), isolation };
    let mut batches = Batches::new(records);
    let mut whole = 0_usize;
    for batch in batches.by_ref() {
        let outcome = match batch {
            Ok(raw) => reading.take(raw),
            // The share may start below the position; what is broken there concerns nobody.
            Err(error) if error.last.is_some_and(|last| last < at.offset) => Ok(()),
            Err(error) => Err(damage_of(&error)),
        };
        match outcome {
            Ok(()) => whole = whole.saturating_add(1),
            Err(damage) => return reading.finish(End::Damaged(damage)),
        }
    }
    let end = if whole == 0 && batches.bytes_left() > 0 { End::TooLarge } else { End::Whole };
    reading.finish(end)
}

/// Why a batch cannot be read, and how far it reaches.
pub(crate) fn damage_of(error: &BatchError) -> Damage {
    let kind = match &error.fault {
        BatchFault::Codec(_) => DamageKind::UnknownCodec,
        BatchFault::Compression(_) => DamageKind::Compression,
        BatchFault::Length(_) | BatchFault::Magic(_) | BatchFault::Crc { .. } | BatchFault::Header(_) => {
            DamageKind::Corrupt
        }
    };
    Damage { what: error.to_string(), last: error.last, kind }
}

/// The note in a control batch. One that cannot be read is a note of no interest (fault O10).
fn control_type(raw: &RawBatch) -> Option<ControlType> {
    let mut decompressor = Decompressor::new(CONTROL_BATCH_BYTES_MAX);
    raw.clone().open(&mut decompressor).ok()?.control()
}

struct Reading {
    items: Vec<Item>,
    next: Position,
    aborted: AbortedTransactions,
    isolation: IsolationLevel,
}

impl Reading {
    fn take(&mut self, raw: RawBatch) -> Result<(), Damage> {
        let next = Position { offset: raw.header.next_offset(), leader_epoch: raw.header.leader_epoch };
        let is_withheld = self.is_withheld(&raw);
        if next.offset <= self.next.offset {
            return Ok(());
        }
        let from = self.next.offset;
        if is_withheld || raw.header.record_count == 0 {
            self.items.push(Item::Gap { from, next: next.offset, leader_epoch: next.leader_epoch });
        } else {
            raw.header.codec().map_err(|codec| unknown_codec(&raw, codec))?;
            let bytes = raw.compressed_bytes();
            self.items.push(Item::Batch { raw, from, bytes });
        }
        self.next = next;
        Ok(())
    }

    /// Whether the application must not see the batch: a marker, or part of an aborted transaction.
    fn is_withheld(&mut self, raw: &RawBatch) -> bool {
        let is_control = raw.header.is_control();
        if self.isolation == IsolationLevel::ReadUncommitted {
            return is_control;
        }
        let control = if is_control { control_type(raw) } else { None };
        self.aborted.is_aborted(&raw.header, control) || is_control
    }

    fn finish(self, end: End) -> Digest {
        Digest { items: self.items, next: self.next, end }
    }
}

fn unknown_codec(raw: &RawBatch, codec: u8) -> Damage {
    let what = format!("the record batch at offset {} has the unknown compression {codec}", raw.header.base_offset);
    Damage { what, last: Some(raw.header.last_offset()), kind: DamageKind::UnknownCodec }
}

#[cfg(test)]
mod tests {
    use kafka_proto::compression::Codec;
    use kafka_proto::id::LeaderEpoch;
    use kafka_proto::record::{EncodeOptions, Marker, NewRecord, Producer, encode_batch, encode_marker};

    use super::*;

    const AT_ZERO: Position = Position { offset: Offset(0), leader_epoch: LeaderEpoch::UNKNOWN };

    fn options(base: i64) -> EncodeOptions {
        EncodeOptions { base_offset: Offset(base), leader_epoch: LeaderEpoch(3), ..EncodeOptions::default() }
    }

    fn batch(options: &EncodeOptions, records: usize, out: &mut Vec<u8>) {
        let record = NewRecord { value: Some(b"v"), ..NewRecord::default() };
        encode_batch(options, std::iter::repeat_n(record, records), out).unwrap();
    }

    fn transactional(base: i64, id: i64) -> EncodeOptions {
        EncodeOptions { producer: Producer::Transactional { id, epoch: 0, base_sequence: 0 }, ..options(base) }
    }

    fn read(at: Position, bytes: Vec<u8>, aborted: &[(i64, Offset)]) -> Digest {
        digest(at, Bytes::from(bytes), aborted.to_vec(), IsolationLevel::ReadCommitted)
    }

    /// `b` for a batch, `g` for a gap, with the offset it starts at.
    fn shape(digest: &Digest) -> Vec<(char, i64)> {
        let of = |item: &Item| match item {
            Item::Batch { from, .. } => ('b', from.get()),
            Item::Gap { from, .. } => ('g', from.get()),
            Item::Notice(_) => ('n', -1),
        };
        digest.items.iter().map(of).collect()
    }

    #[test]
    fn the_position_follows_the_last_offset_delta_and_not_the_records() {
        let mut bytes = Vec::new();
        batch(&EncodeOptions { last_offset_delta: Some(9), ..options(0) }, 2, &mut bytes);
        let read = read(AT_ZERO, bytes, &[]);
        assert_eq!(read.next, Position { offset: Offset(10), leader_epoch: LeaderEpoch(3) });
        assert_eq!(read.end, End::Whole);
    }

    #[test]
    fn an_empty_batch_is_a_gap_that_counts() {
        let mut bytes = Vec::new();
        batch(&EncodeOptions { last_offset_delta: Some(4), ..options(0) }, 0, &mut bytes);
        batch(&options(5), 1, &mut bytes);
        let read = read(AT_ZERO, bytes, &[]);
        assert_eq!(shape(&read), [('g', 0), ('b', 5)]);
        assert_eq!(read.next.offset, Offset(6));
    }

    #[test]
    fn batches_below_the_position_are_left_out_and_one_across_it_is_kept() {
        let mut bytes = Vec::new();
        batch(&options(0), 5, &mut bytes);
        batch(&options(5), 5, &mut bytes);
        let at = Position { offset: Offset(7), leader_epoch: LeaderEpoch(3) };
        let read = read(at, bytes, &[]);
        assert_eq!(shape(&read), [('b', 7)]);
        assert_eq!(read.next.offset, Offset(10));
    }

    #[test]
    fn an_aborted_transaction_and_its_marker_become_gaps() {
        let mut bytes = Vec::new();
        batch(&transactional(0, 7), 3, &mut bytes);
        batch(&transactional(3, 8), 2, &mut bytes);
        let marker = |offset, producer_id, control| Marker {
            offset: Offset(offset),
            leader_epoch: LeaderEpoch(3),
            timestamp_ms: 0,
            producer_id,
            producer_epoch: 0,
            control,
            coordinator_epoch: 0,
        };
        encode_marker(&marker(5, 7, ControlType::Abort), &mut bytes).unwrap();
        encode_marker(&marker(6, 8, ControlType::Commit), &mut bytes).unwrap();
        batch(&transactional(7, 7), 1, &mut bytes);
        let read = read(AT_ZERO, bytes, &[(7, Offset(0))]);
        assert_eq!(shape(&read), [('g', 0), ('b', 3), ('g', 5), ('g', 6), ('b', 7)]);
        assert_eq!(read.next.offset, Offset(8));
    }

    #[test]
    fn a_cut_off_tail_is_no_error_and_alone_it_is_too_large() {
        let mut bytes = Vec::new();
        batch(&options(0), 1, &mut bytes);
        let first = bytes.len();
        batch(&options(1), 9, &mut bytes);
        bytes.truncate(bytes.len() - 1);
        let both = read(AT_ZERO, bytes.clone(), &[]);
        assert_eq!((shape(&both), both.end), (vec![('b', 0)], End::Whole));
        let tail = read(AT_ZERO, bytes.split_off(first), &[]);
        assert_eq!((tail.next, tail.end), (AT_ZERO, End::TooLarge));
    }

    #[test]
    fn a_corrupt_batch_ends_the_share_and_what_was_before_it_is_kept() {
        let mut bytes = Vec::new();
        batch(&options(0), 2, &mut bytes);
        let second = bytes.len();
        batch(&options(2), 2, &mut bytes);
        batch(&options(4), 2, &mut bytes);
        bytes[second + 65] ^= 1;
        let read = read(AT_ZERO, bytes, &[]);
        assert_eq!(shape(&read), [('b', 0)]);
        assert_eq!(read.next.offset, Offset(2));
        let End::Damaged(damage) = read.end else { panic!("{:?}", read.end) };
        assert_eq!((damage.last, damage.kind), (Some(Offset(3)), DamageKind::Corrupt));
        assert!(damage.may_heal() && damage.may_skip());
    }

    #[test]
    fn an_unknown_codec_neither_heals_nor_may_be_skipped() {
        let mut bytes = Vec::new();
        batch(&EncodeOptions { codec: Codec::Zstd, ..options(0) }, 2, &mut bytes);
        bytes[22] |= 0b111;
        let crc = crc_of(&bytes);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        let End::Damaged(damage) = read(AT_ZERO, bytes, &[]).end else { panic!("not damaged") };
        assert_eq!(damage.kind, DamageKind::UnknownCodec);
        assert!(!damage.may_heal() && !damage.may_skip());
    }

    /// CRC-32C, bit by bit: the library's is not a dependency of this package.
    fn crc_of(batch: &[u8]) -> u32 {
        let step = |crc: u32, byte: &u8| {
            (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 0 { crc >> 1 } else { (crc >> 1) ^ 0x82F6_3B78 })
        };
        !batch[21..].iter().fold(!0, step)
    }
}
