//! The fields of a batch header that a broker reads, and the one rewriting that it does.

use bytes::{Bytes, BytesMut};

use super::{
    ATTRIBUTE_CONTROL, ATTRIBUTE_LOG_APPEND_TIME, ATTRIBUTE_TRANSACTIONAL, CRC_COVERS_FROM, HEADER_BYTES, write_crc,
};

/// Stamps a batch with the broker's time, as for `message.timestamp.type=LogAppendTime`.
pub(crate) fn stamp_append_time(batch: &Bytes, now_ms: i64) -> Bytes {
    let mut stamped = BytesMut::from(batch.as_ref());
    let attributes = i16::from_be_bytes([stamped[21], stamped[22]]) | ATTRIBUTE_LOG_APPEND_TIME;
    stamped[21..23].copy_from_slice(&attributes.to_be_bytes());
    stamped[35..43].copy_from_slice(&now_ms.to_be_bytes());
    write_crc(&mut stamped);
    stamped.freeze()
}

/// What a broker reads of a batch without looking at its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) base_offset: i64,
    /// Whole length in bytes, with the twelve in front that the length field does not count.
    pub(crate) bytes: usize,
    pub(crate) leader_epoch: i32,
    pub(crate) attributes: i16,
    pub(crate) last_offset_delta: i32,
    pub(crate) base_timestamp: i64,
    pub(crate) max_timestamp: i64,
    pub(crate) producer_id: i64,
    pub(crate) producer_epoch: i16,
    pub(crate) base_sequence: i32,
    /// Whether the checksum is right.
    pub(crate) sound: bool,
}

impl Header {
    /// Reads the header of the batch at the start of `bytes`; `None` where no whole batch of magic 2 lies there.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let header = bytes.get(..HEADER_BYTES)?;
        let length = usize::try_from(i32::from_be_bytes(array(header, 8)?)).ok()?.checked_add(12)?;
        let whole = bytes.get(..length)?;
        if length < HEADER_BYTES || header[16] != 2 {
            return None;
        }
        let crc = u32::from_be_bytes(array(header, 17)?);
        Some(Self {
            base_offset: i64::from_be_bytes(array(header, 0)?),
            bytes: length,
            leader_epoch: i32::from_be_bytes(array(header, 12)?),
            attributes: i16::from_be_bytes(array(header, 21)?),
            last_offset_delta: i32::from_be_bytes(array(header, 23)?),
            base_timestamp: i64::from_be_bytes(array(header, 27)?),
            max_timestamp: i64::from_be_bytes(array(header, 35)?),
            producer_id: i64::from_be_bytes(array(header, 43)?),
            producer_epoch: i16::from_be_bytes(array(header, 51)?),
            base_sequence: i32::from_be_bytes(array(header, 53)?),
            sound: crc32c::crc32c(&whole[CRC_COVERS_FROM..]) == crc,
        })
    }

    pub(crate) fn is_transactional(&self) -> bool {
        self.attributes & ATTRIBUTE_TRANSACTIONAL != 0
    }

    pub(crate) fn is_control(&self) -> bool {
        self.attributes & ATTRIBUTE_CONTROL != 0
    }

    /// Codec number of the attributes, 0 for none.
    pub(crate) fn codec_number(&self) -> i16 {
        self.attributes & 7
    }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}
