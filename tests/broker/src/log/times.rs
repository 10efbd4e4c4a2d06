//! The search of a record by its time inside one batch.

use std::borrow::Cow;

use bytes::Bytes;
use kafka_proto::compression::{Codec, Decompressor};

use crate::batch::{HEADER_BYTES, Header};

/// No batch of a test is larger than this when it is unpacked.
const BATCH_BYTES_MAX: usize = 64 << 20;

/// Offset delta and time of the first record at or after a time.
pub(super) fn first_record_at(batch: &Bytes, timestamp_ms: i64) -> Option<(i64, i64)> {
    let header = Header::read(batch)?;
    let packed = batch.get(HEADER_BYTES..header.bytes)?;
    let records = match Codec::from_id(u8::try_from(header.codec_number()).ok()?)? {
        Codec::None => Cow::Borrowed(packed),
        codec => Cow::Owned(Decompressor::new(BATCH_BYTES_MAX).decompress(codec, packed).ok()?),
    };
    let mut rest: &[u8] = &records;
    while !rest.is_empty() {
        let length = usize::try_from(take_varint(&mut rest)?).ok()?;
        let (mut record, after) = rest.split_at_checked(length)?;
        rest = after;
        record = record.get(1..)?;
        let time = header.base_timestamp.checked_add(take_varint(&mut record)?)?;
        let offset = take_varint(&mut record)?;
        if time >= timestamp_ms {
            return Some((offset, time));
        }
    }
    None
}

fn take_varint(bytes: &mut &[u8]) -> Option<i64> {
    let mut raw = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        raw |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed());
        }
    }
    None
}
