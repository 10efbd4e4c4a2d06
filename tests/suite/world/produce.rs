//! Record batches for the tests, in every codec.

use bytes::Bytes;
use kafka_proto::compression::Codec;
use kafka_proto::record::{EncodeOptions, NewRecord, encode_batch};

use super::wire::Wire;

/// Every codec that Kafka has.
pub(crate) const CODECS: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

/// One batch of values with their keys.
pub(crate) fn batch<K: AsRef<[u8]>, V: AsRef<[u8]>>(codec: Codec, records: &[(K, V)]) -> Bytes {
    let timestamp_ms = now_ms();
    let records = records.iter().map(|(key, value)| NewRecord {
        timestamp_ms,
        key: Some(key.as_ref()),
        value: Some(value.as_ref()),
        ..NewRecord::default()
    });
    let mut out = Vec::new();
    encode_batch(&EncodeOptions { codec, ..EncodeOptions::default() }, records, &mut out).expect("a batch");
    out.into()
}

/// Spreads the records over the partitions by their place, in batches of `size`, one codec after the other.
pub(crate) fn spread<K: AsRef<[u8]>, V: AsRef<[u8]>>(
    wire: &mut Wire,
    topic: &str,
    partitions: i32,
    size: usize,
    records: &[(K, V)],
) {
    let mut partition = 0;
    for (chunk, codec) in records.chunks(size).zip(CODECS.into_iter().cycle()) {
        wire.produce(topic, partition, batch(codec, chunk));
        partition = (partition + 1) % partitions;
    }
}

/// Milliseconds since the epoch.
pub(crate) fn now_ms() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    i64::try_from(now.as_millis()).expect("before the year 292 million")
}
