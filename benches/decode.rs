//! From the bytes of a Fetch response to borrowed records: CRC, decompression, every record and its value touched.
//!
//! One batch of 1 MiB of uncompressed records for each codec and record size, as the encoder of this project writes it.
//! Records and bytes per second are of the uncompressed records. `cargo bench --bench decode --no-default-features`
//! builds the least.

use bytes::Bytes;
use divan::counter::{BytesCount, ItemsCount};
use divan::{AllocProfiler, Bencher, black_box};
use kafka_proto::compression::{Codec, Decompressor};
use kafka_proto::record::{Batches, EncodeOptions, NewRecord, encode_batch};

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

const BATCH_BYTES: usize = 1 << 20;

fn main() {
    divan::main();
}

#[divan::bench(args = Codec::ALL)]
fn records_of_100_bytes(bencher: Bencher<'_, '_>, codec: Codec) {
    decode(bencher, codec, 100);
}

#[divan::bench(args = Codec::ALL)]
fn records_of_2_kib(bencher: Bencher<'_, '_>, codec: Codec) {
    decode(bencher, codec, 2048);
}

fn decode(bencher: Bencher<'_, '_>, codec: Codec, value_bytes: usize) {
    let count = BATCH_BYTES / value_bytes;
    let batch = batch(codec, count, value_bytes);
    let mut decompressor = Decompressor::new(2 * BATCH_BYTES);
    bencher
        .counter(ItemsCount::new(count))
        .counter(BytesCount::new(count * value_bytes))
        .bench_local(|| read(&batch, &mut decompressor));
}

fn read(response: &Bytes, decompressor: &mut Decompressor) -> usize {
    let mut bytes = 0;
    for batch in Batches::new(response.clone()) {
        let batch = batch.expect("a good batch").open(decompressor).expect("a good batch");
        for record in batch.records() {
            let record = record.expect("a good record");
            bytes += black_box(record.value).map_or(0, <[u8]>::len);
        }
    }
    bytes
}

fn batch(codec: Codec, count: usize, value_bytes: usize) -> Bytes {
    let values: Vec<String> = (0..count).map(|n| incident(n, value_bytes)).collect();
    let records = (0_i64..).zip(&values).map(|(n, value)| NewRecord {
        timestamp_ms: 1_700_000_000_000 + n / 4,
        key: Some(value.as_bytes().get(7..15).unwrap_or_default()),
        value: Some(value.as_bytes()),
        ..NewRecord::default()
    });
    let mut out = Vec::new();
    encode_batch(&EncodeOptions { codec, ..EncodeOptions::default() }, records, &mut out).expect("it fits");
    out.into()
}

/// Text that compresses about as incidents do: names that repeat, numbers that do not.
fn incident(n: usize, bytes: usize) -> String {
    let mut text = format!("{{\"id\":\"{n:08x}\",\"alerts\":[");
    let mut state = (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    while text.len() < bytes {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let (host, value) = ((state >> 33) % 100, state >> 48);
        let alert = format!("{{\"host\":\"web-{host}\",\"check\":\"disk\",\"value\":{value}}},");
        text.push_str(&alert);
    }
    text.truncate(bytes);
    text
}
