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
    while let Some(batch) = batches.next() {
        let outcome = match batch {
            Ok(raw) => reading.take(raw),
            // The share may start below the position; what is broken there concerns nobody.
            Err(error) if error.last.is_some_and(|last| last < at.offset) => Ok(()),
            Err(error) => Err(damage_of(error)),
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
pub(crate) fn damage_of(error: BatchError) -> Damage {
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
