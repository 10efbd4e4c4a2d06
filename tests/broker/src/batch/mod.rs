//! Record batches (magic 2) as a producer writes them; [`header`] has the fields that a broker reads of them.
//!
//! Written independently of the consumer's decoder on purpose: a writer and a reader made by one hand can share a
//! mistake. Layout: <https://kafka.apache.org/documentation/#recordbatch>.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::{BufMut, Bytes, BytesMut};
use kafka_proto::compression::{self, Codec};

mod header;

pub(crate) use header::{Header, stamp_append_time};

/// Length of the header, up to and including the record count.
pub(crate) const HEADER_BYTES: usize = 61;
/// Offset of the attributes, where the part covered by the CRC begins.
const CRC_COVERS_FROM: usize = 21;
const ATTRIBUTE_LOG_APPEND_TIME: i16 = 0x08;
const ATTRIBUTE_TRANSACTIONAL: i16 = 0x10;
const ATTRIBUTE_CONTROL: i16 = 0x20;

/// One record to be written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    key: Option<Bytes>,
    value: Option<Bytes>,
    headers: Vec<(String, Option<Bytes>)>,
    timestamp_ms: Option<i64>,
}

impl Record {
    /// A record with this value and no key.
    pub fn new(value: impl Into<Bytes>) -> Self {
        Self { value: Some(value.into()), ..Self::default() }
    }

    /// A record with this key and a null value.
    pub fn tombstone(key: impl Into<Bytes>) -> Self {
        Self { key: Some(key.into()), ..Self::default() }
    }

    /// Sets the key.
    #[must_use]
    pub fn key(mut self, key: impl Into<Bytes>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Adds a header; keys may repeat, a value may be null.
    #[must_use]
    pub fn header(mut self, key: impl Into<String>, value: Option<Bytes>) -> Self {
        self.headers.push((key.into(), value));
        self
    }

    /// Sets the time, in milliseconds since 1970; the current time unless set.
    #[must_use]
    pub fn at(mut self, timestamp_ms: i64) -> Self {
        self.timestamp_ms = Some(timestamp_ms);
        self
    }
}

impl From<&'static str> for Record {
    fn from(value: &'static str) -> Self {
        Self::new(value)
    }
}

impl From<String> for Record {
    fn from(value: String) -> Self {
        Self::new(value)
    }
}

impl From<Vec<u8>> for Record {
    fn from(value: Vec<u8>) -> Self {
        Self::new(value)
    }
}

impl From<Bytes> for Record {
    fn from(value: Bytes) -> Self {
        Self::new(value)
    }
}

/// One batch to be written: records, codec, producer and attributes.
#[derive(Debug, Clone)]
pub struct Batch {
    records: Vec<Record>,
    codec: Codec,
    producer: (i64, i16, i32),
    attributes: i16,
}

impl Batch {
    /// A batch of these records: not compressed, without a producer id.
    pub fn of<R: Into<Record>>(records: impl IntoIterator<Item = R>) -> Self {
        let records = records.into_iter().map(Into::into).collect();
        Self { records, codec: Codec::None, producer: (-1, -1, -1), attributes: 0 }
    }

    /// Compresses the records.
    #[must_use]
    pub fn codec(mut self, codec: Codec) -> Self {
        self.codec = codec;
        self
    }

    /// Sets producer id, producer epoch and the sequence of the first record.
    #[must_use]
    pub fn producer(mut self, id: i64, epoch: i16, sequence: i32) -> Self {
        self.producer = (id, epoch, sequence);
        self
    }

    /// Marks the batch as part of a transaction of its producer.
    #[must_use]
    pub fn transactional(mut self) -> Self {
        self.attributes |= ATTRIBUTE_TRANSACTIONAL;
        self
    }

    /// Marks the record times as given by the broker (`LogAppendTime`).
    #[must_use]
    pub fn log_append_time(mut self) -> Self {
        self.attributes |= ATTRIBUTE_LOG_APPEND_TIME;
        self
    }

    /// The control batch that ends a transaction.
    pub(crate) fn end_of_transaction(producer_id: i64, epoch: i16, committed: bool) -> Self {
        let mut key = BytesMut::new();
        key.put_i16(0);
        key.put_i16(i16::from(committed));
        let mut value = BytesMut::new();
        value.put_i16(0);
        value.put_i32(0);
        let mut batch =
            Self::of([Record::new(value.freeze()).key(key.freeze())]).producer(producer_id, epoch, -1).transactional();
        batch.attributes |= ATTRIBUTE_CONTROL;
        batch
    }

    /// How many records are in it.
    pub fn record_count(&self) -> usize {
        self.records.len()
    }

    /// The bytes of the batch with base offset 0 and leader epoch 0, as a producer sends them.
    pub fn encode(&self) -> Bytes {
        let now = now_ms();
        let time_of = |record: &Record| record.timestamp_ms.unwrap_or(now);
        let base_timestamp = self.records.first().map_or(now, time_of);
        let max_timestamp = self.records.iter().map(time_of).max().unwrap_or(-1);
        let mut plain = BytesMut::new();
        for (delta, record) in self.records.iter().enumerate() {
            put_record(&mut plain, record, int(delta), time_of(record) - base_timestamp);
        }
        let body = match self.codec {
            Codec::None => plain.freeze(),
            codec => compression::compress(codec, &plain).expect("our own records compress").into(),
        };
        let mut out = BytesMut::with_capacity(HEADER_BYTES + body.len());
        out.put_i64(0);
        out.put_i32(int(HEADER_BYTES - 12 + body.len()));
        out.put_i32(0);
        out.put_i8(2);
        out.put_u32(0);
        out.put_i16(self.attributes | attribute_of(self.codec));
        out.put_i32(int(self.records.len()) - 1);
        out.put_i64(base_timestamp);
        out.put_i64(max_timestamp);
        out.put_i64(self.producer.0);
        out.put_i16(self.producer.1);
        out.put_i32(self.producer.2);
        out.put_i32(int(self.records.len()));
        out.put_slice(&body);
        write_crc(&mut out);
        out.freeze()
    }
}

fn attribute_of(codec: Codec) -> i16 {
    match codec {
        Codec::None => 0,
        Codec::Gzip => 1,
        Codec::Snappy => 2,
        Codec::Lz4 => 3,
        Codec::Zstd => 4,
    }
}

fn put_record(out: &mut BytesMut, record: &Record, offset_delta: i32, timestamp_delta: i64) {
    let mut body = BytesMut::new();
    body.put_i8(0);
    put_varint(&mut body, timestamp_delta);
    put_varint(&mut body, i64::from(offset_delta));
    put_nullable(&mut body, record.key.as_deref());
    put_nullable(&mut body, record.value.as_deref());
    put_varint(&mut body, i64::from(int(record.headers.len())));
    for (key, value) in &record.headers {
        put_nullable(&mut body, Some(key.as_bytes()));
        put_nullable(&mut body, value.as_deref());
    }
    put_varint(out, i64::from(int(body.len())));
    out.put_slice(&body);
}

fn put_nullable(out: &mut BytesMut, bytes: Option<&[u8]>) {
    match bytes {
        None => put_varint(out, -1),
        Some(bytes) => {
            put_varint(out, i64::from(int(bytes.len())));
            out.put_slice(bytes);
        }
    }
}

/// A zigzag varint of up to 64 bits.
fn put_varint(out: &mut BytesMut, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.put_u8(rest.to_le_bytes()[0] | 0x80);
        rest >>= 7;
    }
    out.put_u8(rest.to_le_bytes()[0]);
}

fn write_crc(batch: &mut BytesMut) {
    let crc = crc32c::crc32c(&batch[CRC_COVERS_FROM..]);
    batch[17..CRC_COVERS_FROM].copy_from_slice(&crc.to_be_bytes());
}

/// The wall clock in milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX)
}

/// A count as Kafka writes it.
pub(crate) fn int(count: usize) -> i32 {
    i32::try_from(count).expect("a count that fits the protocol")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoded_batch_has_a_sound_header() {
        let bytes = Batch::of([Record::new("a").at(10), Record::new("b").key("k").at(30)])
            .producer(7, 1, 5)
            .transactional()
            .encode();
        let header = Header::read(&bytes).expect("a batch");
        assert!(header.sound && header.is_transactional() && !header.is_control());
        assert_eq!((header.last_offset_delta, header.base_timestamp, header.max_timestamp), (1, 10, 30));
        assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (7, 1, 5));
        assert_eq!(header.bytes, bytes.len());
    }

    #[test]
    fn a_flipped_bit_is_seen_in_the_checksum() {
        let mut bytes = Batch::of(["a"]).encode().to_vec();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        assert!(!Header::read(&bytes).expect("a batch").sound);
    }

    #[test]
    fn varints_are_zigzag() {
        let written = |value| {
            let mut out = BytesMut::new();
            put_varint(&mut out, value);
            out.to_vec()
        };
        assert_eq!(written(0), [0]);
        assert_eq!(written(-1), [1]);
        assert_eq!(written(64), [0x80, 0x01]);
        assert_eq!(written(i64::MIN), [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]);
    }

    #[test]
    fn stamping_keeps_the_checksum_right() {
        let stamped = stamp_append_time(&Batch::of(["a"]).encode(), 99);
        let header = Header::read(&stamped).expect("a batch");
        assert!(header.sound);
        assert_eq!((header.max_timestamp, header.attributes), (99, ATTRIBUTE_LOG_APPEND_TIME));
    }
}
