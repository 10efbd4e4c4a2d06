//! The fixed part of a record batch: 61 bytes, of which the CRC covers all from the attributes on.
//!
//! Layout: base offset i64, length i32 (of what follows it), leader epoch i32, magic i8, CRC-32C u32, attributes i16,
//! last offset delta i32, base timestamp i64, max timestamp i64, producer id i64, producer epoch i16, base sequence
//! i32, record count i32.

use thiserror::Error;

use crate::compression::Codec;
use crate::id::{LeaderEpoch, Offset};
use crate::reader::{ReadError, Reader};

/// Bytes of base offset and length, which the length does not count.
pub(super) const PREFIX_BYTES: usize = 12;
/// Where the magic byte is, in every format there has been.
pub(super) const MAGIC_AT: usize = 16;
/// Where the CRC is.
pub(super) const CRC_AT: usize = 17;
/// Where the part that the CRC covers begins.
pub(super) const CHECKED_FROM: usize = 21;
/// Bytes of the whole header.
pub(super) const HEADER_BYTES: usize = 61;

const CODEC_MASK: i16 = 0b111;
const LOG_APPEND_TIME: i16 = 1 << 3;
const TRANSACTIONAL: i16 = 1 << 4;
const CONTROL: i16 = 1 << 5;

/// Whose clock the timestamps of a batch come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    /// Each record has the time its producer gave it.
    CreateTime,
    /// Every record has the time at which the broker appended the batch: its max timestamp.
    LogAppendTime,
}

/// A header that contradicts itself although its CRC is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HeaderFault {
    /// The header's bytes end early.
    #[error("the header is incomplete")]
    Incomplete,
    /// The base offset is negative, or the last offset is past the end of the number range.
    #[error("offsets from {base} to {base}+{delta} are not possible")]
    Offsets {
        /// The base offset.
        base: i64,
        /// The last offset delta.
        delta: i32,
    },
    /// The number of records is negative.
    #[error("a record count of {0} is not possible")]
    RecordCount(i32),
}

impl From<ReadError> for HeaderFault {
    fn from(_: ReadError) -> Self {
        Self::Incomplete
    }
}

/// What a batch says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// The offset of the first record, before compaction removed any.
    pub base_offset: Offset,
    /// The last offset, before compaction removed any, less `base_offset`. Never negative.
    pub last_offset_delta: i32,
    /// The epoch of the leader that appended the batch; [`LeaderEpoch::UNKNOWN`] where nobody knows.
    pub leader_epoch: LeaderEpoch,
    /// The flags as they stand on the wire; the methods read them.
    pub attributes: i16,
    /// What the records' timestamp deltas are added to, in milliseconds since 1970.
    pub base_timestamp: i64,
    /// The largest timestamp of the records, or the append time; in milliseconds since 1970.
    pub max_timestamp: i64,
    /// The id of an idempotent or transactional producer, or -1.
    pub producer_id: i64,
    /// That producer's epoch, or -1.
    pub producer_epoch: i16,
    /// The sequence number of the first record, or -1.
    pub base_sequence: i32,
    /// How many records the batch claims to hold. Never negative, 0 after compaction removed all of them.
    pub record_count: i32,
}

impl BatchHeader {
    /// Reads a header whose CRC has been checked.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, HeaderFault> {
        let mut reader = Reader::new(bytes);
        let base_offset = Offset(reader.i64()?);
        let (_length, leader_epoch) = (reader.i32()?, LeaderEpoch(reader.i32()?));
        let (_magic, _crc) = (reader.i8()?, reader.u32()?);
        let header = Self {
            base_offset,
            leader_epoch,
            attributes: reader.i16()?,
            last_offset_delta: reader.i32()?,
            base_timestamp: reader.i64()?,
            max_timestamp: reader.i64()?,
            producer_id: reader.i64()?,
            producer_epoch: reader.i16()?,
            base_sequence: reader.i32()?,
            record_count: reader.i32()?,
        };
        header.check().map(|()| header)
    }

    fn check(&self) -> Result<(), HeaderFault> {
        let (base, delta) = (self.base_offset.get(), self.last_offset_delta);
        // One below the end, so that the offset after the last one exists too.
        let in_range = base.checked_add(i64::from(delta)).is_some_and(|last| last < i64::MAX);
        if base < 0 || delta < 0 || !in_range {
            return Err(HeaderFault::Offsets { base, delta });
        }
        if self.record_count < 0 {
            return Err(HeaderFault::RecordCount(self.record_count));
        }
        Ok(())
    }

    /// The last offset of the batch, whether or not a record still stands there.
    pub fn last_offset(&self) -> Offset {
        Offset(self.base_offset.get().saturating_add(i64::from(self.last_offset_delta)))
    }

    /// Where to go on after this batch, whatever compaction or an abort has left of it.
    pub fn next_offset(&self) -> Offset {
        self.last_offset().next()
    }

    /// Holds a transaction marker or another note between brokers, no data.
    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    /// Belongs to a transaction.
    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    /// The compression of the records; `Err` with the number for one that Kafka 4.3 does not know (5 to 7).
    pub fn codec(&self) -> Result<Codec, u8> {
        let id = (self.attributes & CODEC_MASK).to_le_bytes()[0];
        Codec::from_id(id).ok_or(id)
    }

    /// Whose clock the timestamps come from.
    pub fn timestamp_type(&self) -> TimestampType {
        if self.attributes & LOG_APPEND_TIME == 0 { TimestampType::CreateTime } else { TimestampType::LogAppendTime }
    }

    /// Puts the flags together as [`BatchHeader::attributes`].
    pub(super) fn flags(codec: Codec, timestamps: TimestampType, transactional: bool, control: bool) -> i16 {
        let set = |flag, on: bool| if on { flag } else { 0 };
        i16::from(codec.id())
            | set(LOG_APPEND_TIME, timestamps == TimestampType::LogAppendTime)
            | set(TRANSACTIONAL, transactional)
            | set(CONTROL, control)
    }
}
