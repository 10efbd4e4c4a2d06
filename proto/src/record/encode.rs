//! Writes record batches and transaction markers, as a producer and a broker do.
//!
//! Promised: what is written is what [`Batches`](crate::record::Batches) reads, CRC and all; a failed call leaves the
//! output as it was. Absent: collecting records until a batch is full, which belongs to a producer.

use thiserror::Error;

use crate::compression::{Codec, CompressionError, compress};
use crate::id::{LeaderEpoch, Offset};
use crate::reader::put_varint;
use crate::record::batch::ControlType;
use crate::record::header::{BatchHeader, CHECKED_FROM, CRC_AT, HEADER_BYTES, PREFIX_BYTES, TimestampType};

/// Why records could not become a batch.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EncodeError {
    /// The batch, or something in it, is larger than 2 GiB - 1, or the offsets leave the number range.
    #[error("the records do not fit into a batch")]
    TooLarge,
    /// An offset delta that is not after the one before it, or past the stated last one.
    #[error("offset delta {0} is out of order or outside of the batch")]
    OffsetDelta(i32),
    /// The compression failed.
    #[error(transparent)]
    Compression(#[from] CompressionError),
}

/// Who produced a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Producer {
    /// Nobody in particular.
    #[default]
    Plain,
    /// An idempotent producer.
    Idempotent {
        /// Its id.
        id: i64,
        /// Its epoch.
        epoch: i16,
        /// The sequence number of the first record.
        base_sequence: i32,
    },
    /// A producer inside of a transaction.
    Transactional {
        /// Its id.
        id: i64,
        /// Its epoch.
        epoch: i16,
        /// The sequence number of the first record.
        base_sequence: i32,
    },
}

/// Whose clock the records go by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Timestamps {
    /// The times that the records carry.
    #[default]
    Create,
    /// This time, in milliseconds since 1970, for all of them; what they carry is kept but does not count.
    LogAppend(i64),
}

/// What a batch says about itself besides its records. The default is a plain, uncompressed batch at offset 0.
#[derive(Clone, Copy, Debug)]
pub struct EncodeOptions {
    /// The offset of the first record.
    pub base_offset: Offset,
    /// The epoch of the leader that appends the batch.
    pub leader_epoch: LeaderEpoch,
    /// The compression of the records.
    pub codec: Codec,
    /// Whose clock the records go by.
    pub timestamps: Timestamps,
    /// Who produced the batch.
    pub producer: Producer,
    /// The last offset less the first, where it is not that of the last record: compaction keeps the end of a batch.
    pub last_offset_delta: Option<i32>,
}

impl Default for EncodeOptions {
    fn default() -> Self {
        Self {
            base_offset: Offset(0),
            leader_epoch: LeaderEpoch::UNKNOWN,
            codec: Codec::None,
            timestamps: Timestamps::Create,
            producer: Producer::Plain,
            last_offset_delta: None,
        }
    }
}

/// A record to be written.
#[derive(Clone, Copy, Debug, Default)]
pub struct NewRecord<'a> {
    /// Milliseconds since 1970.
    pub timestamp_ms: i64,
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Names and values of the headers, in their order.
    pub headers: &'a [(&'a [u8], Option<&'a [u8]>)],
    /// The offset less the batch's first one, where it is not the next: compaction leaves holes.
    pub offset_delta: Option<i32>,
}

/// The end of a transaction, as a broker writes it into each partition the transaction touched.
#[derive(Clone, Copy, Debug)]
pub struct Marker {
    /// Where it stands.
    pub offset: Offset,
    /// The epoch of the leader that appends it.
    pub leader_epoch: LeaderEpoch,
    /// Milliseconds since 1970.
    pub timestamp_ms: i64,
    /// Whose transaction ends.
    pub producer_id: i64,
    /// That producer's epoch.
    pub producer_epoch: i16,
    /// How it ends.
    pub control: ControlType,
    /// The epoch of the transaction coordinator.
    pub coordinator_epoch: i32,
}

/// Appends one batch with `records` to `out`.
pub fn encode_batch<'r>(
    options: &EncodeOptions,
    records: impl IntoIterator<Item = NewRecord<'r>>,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let body = Body::collect(records)?;
    let last_offset_delta = match options.last_offset_delta {
        Some(stated) if stated >= body.last_offset_delta => stated,
        Some(_) => return Err(EncodeError::OffsetDelta(body.last_offset_delta)),
        None => body.last_offset_delta.max(0),
    };
    let (timestamp_type, max_timestamp) = match options.timestamps {
        Timestamps::Create => (TimestampType::CreateTime, body.max_timestamp),
        Timestamps::LogAppend(time) => (TimestampType::LogAppendTime, time),
    };
    let (transactional, (producer_id, producer_epoch, base_sequence)) = match options.producer {
        Producer::Plain => (false, (-1, -1, -1)),
        Producer::Idempotent { id, epoch, base_sequence } => (false, (id, epoch, base_sequence)),
        Producer::Transactional { id, epoch, base_sequence } => (true, (id, epoch, base_sequence)),
    };
    let header = BatchHeader {
        base_offset: options.base_offset,
        last_offset_delta,
        leader_epoch: options.leader_epoch,
        attributes: BatchHeader::flags(options.codec, timestamp_type, transactional, false),
        base_timestamp: body.base_timestamp.unwrap_or(-1),
        max_timestamp,
        producer_id,
        producer_epoch,
        base_sequence,
        record_count: body.record_count,
    };
    match options.codec {
        Codec::None => write_batch(&header, &body.bytes, out),
        _ if body.bytes.is_empty() => write_batch(&header, &body.bytes, out),
        codec => write_batch(&header, &compress(codec, &body.bytes)?, out),
    }
}

/// Appends a control batch that ends a transaction to `out`.
pub fn encode_marker(marker: &Marker, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    // Key: version 0, type. Value: version 0, coordinator epoch.
    let mut key = vec![0, 0];
    key.extend(marker.control.id().to_be_bytes());
    let mut value = vec![0, 0];
    value.extend(marker.coordinator_epoch.to_be_bytes());
    let record =
        NewRecord { timestamp_ms: marker.timestamp_ms, key: Some(&key), value: Some(&value), ..NewRecord::default() };
    let header = BatchHeader {
        base_offset: marker.offset,
        last_offset_delta: 0,
        leader_epoch: marker.leader_epoch,
        attributes: BatchHeader::flags(Codec::None, TimestampType::CreateTime, true, true),
        base_timestamp: marker.timestamp_ms,
        max_timestamp: marker.timestamp_ms,
        producer_id: marker.producer_id,
        producer_epoch: marker.producer_epoch,
        base_sequence: -1,
        record_count: 1,
    };
    write_batch(&header, &Body::collect([record])?.bytes, out)
}

/// Records one after the other, and what the header has to know about them.
struct Body {
    bytes: Vec<u8>,
    base_timestamp: Option<i64>,
    max_timestamp: i64,
    last_offset_delta: i32,
    record_count: i32,
}

impl Body {
    fn collect<'r>(records: impl IntoIterator<Item = NewRecord<'r>>) -> Result<Self, EncodeError> {
        let mut body =
            Self { bytes: Vec::new(), base_timestamp: None, max_timestamp: -1, last_offset_delta: -1, record_count: 0 };
        let mut scratch = Vec::new();
        for record in records {
            body.push(&record, &mut scratch)?;
        }
        Ok(body)
    }

    fn push(&mut self, record: &NewRecord<'_>, scratch: &mut Vec<u8>) -> Result<(), EncodeError> {
        let next = self.last_offset_delta.checked_add(1).ok_or(EncodeError::TooLarge)?;
        let delta = record.offset_delta.unwrap_or(next);
        if delta < next {
            return Err(EncodeError::OffsetDelta(delta));
        }
        let base = *self.base_timestamp.get_or_insert(record.timestamp_ms);
        scratch.clear();
        scratch.push(0);
        put_varint(scratch, record.timestamp_ms.saturating_sub(base));
        put_varint(scratch, i64::from(delta));
        put_slice(scratch, record.key)?;
        put_slice(scratch, record.value)?;
        put_length(scratch, record.headers.len())?;
        for (key, value) in record.headers {
            put_slice(scratch, Some(key))?;
            put_slice(scratch, *value)?;
        }
        put_slice(&mut self.bytes, Some(scratch))?;
        self.max_timestamp = self.max_timestamp.max(record.timestamp_ms);
        self.last_offset_delta = delta;
        self.record_count = self.record_count.checked_add(1).ok_or(EncodeError::TooLarge)?;
        Ok(())
    }
}

fn put_length(out: &mut Vec<u8>, length: usize) -> Result<(), EncodeError> {
    put_varint(out, i64::from(i32::try_from(length).map_err(|_| EncodeError::TooLarge)?));
    Ok(())
}

fn put_slice(out: &mut Vec<u8>, bytes: Option<&[u8]>) -> Result<(), EncodeError> {
    match bytes {
        None => put_varint(out, -1),
        Some(bytes) => {
            put_length(out, bytes.len())?;
            out.extend_from_slice(bytes);
        }
    }
    Ok(())
}

fn write_batch(header: &BatchHeader, body: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let length = i32::try_from(body.len().saturating_add(HEADER_BYTES - PREFIX_BYTES));
    let length = length.map_err(|_| EncodeError::TooLarge)?;
    let mut checked = Vec::with_capacity(HEADER_BYTES - CHECKED_FROM);
    checked.extend(header.attributes.to_be_bytes());
    checked.extend(header.last_offset_delta.to_be_bytes());
    checked.extend(header.base_timestamp.to_be_bytes());
    checked.extend(header.max_timestamp.to_be_bytes());
    checked.extend(header.producer_id.to_be_bytes());
    checked.extend(header.producer_epoch.to_be_bytes());
    checked.extend(header.base_sequence.to_be_bytes());
    checked.extend(header.record_count.to_be_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&checked), body);
    out.reserve(HEADER_BYTES.saturating_add(body.len()));
    out.extend(header.base_offset.get().to_be_bytes());
    out.extend(length.to_be_bytes());
    out.extend(header.leader_epoch.get().to_be_bytes());
    out.push(2);
    out.extend(crc.to_be_bytes());
    out.extend(checked);
    out.extend_from_slice(body);
    Ok(())
}

const _: () = assert!(CRC_AT + 4 == CHECKED_FROM, "the CRC stands right before what it covers");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compression::Decompressor;
    use crate::record::{Batch, Batches};
    use proptest::prelude::*;

    fn read(bytes: Vec<u8>) -> Vec<Batch> {
        let mut decompressor = Decompressor::new(1 << 20);
        Batches::new(bytes.into()).map(|batch| batch.unwrap().open(&mut decompressor).unwrap()).collect()
    }

    fn written<'r>(options: &EncodeOptions, records: impl IntoIterator<Item = NewRecord<'r>>) -> Batch {
        let mut out = Vec::new();
        encode_batch(options, records, &mut out).unwrap();
        read(out).pop().unwrap()
    }

    #[test]
    fn a_marker_reads_back_as_what_it_is() {
        for control in [ControlType::Abort, ControlType::Commit, ControlType::Other(4)] {
            let marker = Marker {
                offset: Offset(41),
                leader_epoch: LeaderEpoch(3),
                timestamp_ms: 99,
                producer_id: 12,
                producer_epoch: 2,
                control,
                coordinator_epoch: 5,
            };
            let mut out = Vec::new();
            encode_marker(&marker, &mut out).unwrap();
            let batch = read(out).pop().unwrap();
            let header = batch.header();
            assert_eq!(batch.control(), Some(control));
            assert!(header.is_control() && header.is_transactional());
            assert_eq!((header.next_offset(), header.producer_id, header.producer_epoch), (Offset(42), 12, 2));
        }
    }

    #[test]
    fn idempotent_and_transactional_batches_say_who_produced_them() {
        let producer = Producer::Idempotent { id: 9, epoch: 1, base_sequence: 70 };
        let idempotent = written(&EncodeOptions { producer, ..EncodeOptions::default() }, [NewRecord::default()]);
        let header = idempotent.header();
        assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (9, 1, 70));
        assert!(!header.is_transactional());
        let producer = Producer::Transactional { id: 9, epoch: 1, base_sequence: 70 };
        let transactional = written(&EncodeOptions { producer, ..EncodeOptions::default() }, [NewRecord::default()]);
        assert!(transactional.header().is_transactional() && !transactional.header().is_control());
    }

    #[test]
    fn holes_and_the_end_of_a_compacted_batch_are_kept() {
        let options =
            EncodeOptions { last_offset_delta: Some(9), base_offset: Offset(100), ..EncodeOptions::default() };
        let at = |delta| NewRecord { offset_delta: Some(delta), ..NewRecord::default() };
        let batch = written(&options, [at(2), at(7)]);
        let offsets: Vec<_> = batch.records().map(|record| record.unwrap().offset.get()).collect();
        assert_eq!((offsets, batch.header().next_offset()), (vec![102, 107], Offset(110)));
        for codec in Codec::ALL {
            let emptied = written(&EncodeOptions { codec, ..options }, []);
            assert_eq!((emptied.header().record_count, emptied.header().next_offset()), (0, Offset(110)));
            assert_eq!(emptied.records().count(), 0);
        }
    }

    #[test]
    fn offsets_that_do_not_rise_are_refused_and_leave_no_trace() {
        let mut out = vec![1];
        let at = |delta| NewRecord { offset_delta: Some(delta), ..NewRecord::default() };
        let refused = encode_batch(&EncodeOptions::default(), [at(1), at(1)], &mut out);
        assert_eq!((refused, out.as_slice()), (Err(EncodeError::OffsetDelta(1)), &[1_u8][..]));
        let past_the_end = EncodeOptions { last_offset_delta: Some(0), ..EncodeOptions::default() };
        assert_eq!(encode_batch(&past_the_end, [at(1)], &mut out), Err(EncodeError::OffsetDelta(1)));
    }

    type BorrowedHeader<'a> = (&'a [u8], Option<&'a [u8]>);
    type OwnedHeader = (Vec<u8>, Option<Vec<u8>>);
    type Owned = (i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<OwnedHeader>);

    fn any_record() -> impl Strategy<Value = Owned> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..40);
        let headers = prop::collection::vec((bytes(), prop::option::of(bytes())), 0..4);
        (-2_i64..4_000_000_000_000, prop::option::of(bytes()), prop::option::of(bytes()), headers)
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            records in prop::collection::vec(any_record(), 0..20),
            base in 0..i64::MAX - 100,
            epoch in -1..i32::MAX,
            codec in prop::sample::select(&Codec::ALL),
            append_time in prop::option::of(0_i64..1 << 50),
        ) {
            let options = EncodeOptions {
                base_offset: Offset(base),
                leader_epoch: LeaderEpoch(epoch),
                codec,
                timestamps: append_time.map_or(Timestamps::Create, Timestamps::LogAppend),
                ..EncodeOptions::default()
            };
            let headers: Vec<Vec<BorrowedHeader<'_>>> =
                records.iter().map(|(.., headers)| headers.iter().map(|(k, v)| (&k[..], v.as_deref())).collect()).collect();
            let new = records.iter().zip(&headers).map(|((timestamp_ms, key, value, _), headers)| NewRecord {
                timestamp_ms: *timestamp_ms,
                key: key.as_deref(),
                value: value.as_deref(),
                headers,
                offset_delta: None,
            });
            let batch = written(&options, new);
            let read: Vec<_> = batch.records().map(Result::unwrap).collect();
            prop_assert_eq!(read.len(), records.len());
            prop_assert_eq!(batch.header().leader_epoch, LeaderEpoch(epoch));
            for (index, (record, (timestamp_ms, key, value, _))) in (0..).zip(read.iter().zip(&records)) {
                prop_assert_eq!(record.offset, Offset(base + index));
                prop_assert_eq!(record.timestamp_ms, append_time.unwrap_or(*timestamp_ms));
                prop_assert_eq!((record.key, record.value), (key.as_deref(), value.as_deref()));
            }
            for (record, headers) in read.iter().zip(&headers) {
                let read: Vec<_> = record.headers().map(|header| header.map(|h| (h.key, h.value)).unwrap()).collect();
                prop_assert_eq!(&read, headers);
            }
        }
    }
}
