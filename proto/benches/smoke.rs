//! Fails when reading records costs too much beside the least that it can cost.
//!
//! Both are measured in one run, in turns, and the best of many rounds counts, so that the machine's speed and what else
//! runs on it fall out. The least: the CRC of the batch, and a walk over its records that checks nothing and borrows key
//! and value. Ours is what the client does: CRC, header, every record and header proven, then every record read.
//! `cargo bench -p kafka-proto --bench smoke`, a few seconds.

#![expect(clippy::cast_precision_loss, reason = "a rate to one decimal place")]
#![expect(clippy::disallowed_methods, reason = "measuring time is what a benchmark is for")]

use std::hint::black_box;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_proto::compression::Decompressor;
use kafka_proto::record::{Batches, EncodeOptions, NewRecord, encode_batch};

const BATCH_BYTES: usize = 256 << 10;
const ROUNDS: u32 = 400;
/// Bytes of a value, and how many times the least reading may cost.
const LIMITS: [(usize, f64); 2] = [(2048, 1.6), (100, 2.5)];
/// The CRC covers everything from here on, the records begin there.
const CHECKED_FROM: usize = 21;
const RECORDS_AT: usize = 61;

fn main() -> ExitCode {
    let mut outcome = ExitCode::SUCCESS;
    for (value_bytes, limit) in LIMITS {
        let batch = batch(value_bytes);
        let (least, ours) = measure(&batch);
        let ratio = ours.as_secs_f64() / least.as_secs_f64();
        let rate = |time: Duration| BATCH_BYTES as f64 / time.as_secs_f64() / 1e9;
        println!(
            "{value_bytes} bytes: least {:.1} GB/s, ours {:.1} GB/s, {ratio:.2} times, limit {limit}",
            rate(least),
            rate(ours)
        );
        if ratio > limit {
            eprintln!("reading records of {value_bytes} bytes costs {ratio:.2} times the least, more than {limit}");
            outcome = ExitCode::FAILURE;
        }
    }
    outcome
}

fn measure(batch: &Bytes) -> (Duration, Duration) {
    let mut decompressor = Decompressor::new(BATCH_BYTES * 2);
    assert_eq!(least(batch), ours(batch, &mut decompressor), "both read the same");
    let mut best = (Duration::MAX, Duration::MAX);
    for _ in 0..ROUNDS {
        best.0 = best.0.min(timed(|| least(black_box(batch))));
        best.1 = best.1.min(timed(|| ours(black_box(batch), &mut decompressor)));
    }
    best
}

fn timed(work: impl FnOnce() -> usize) -> Duration {
    let begun = Instant::now();
    black_box(work());
    begun.elapsed()
}

fn ours(batch: &Bytes, decompressor: &mut Decompressor) -> usize {
    let mut bytes = 0;
    for batch in Batches::new(batch.clone()) {
        let batch = batch.expect("a good batch").open(decompressor).expect("a good batch");
        batch.verify().expect("good records");
        for record in batch.records() {
            let record = record.expect("a good record");
            bytes += record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len);
        }
    }
    bytes
}

fn least(batch: &[u8]) -> usize {
    black_box(crc32c::crc32c(&batch[CHECKED_FROM..]));
    let records = &batch[RECORDS_AT..];
    let (mut at, mut bytes) = (0, 0);
    while at < records.len() {
        let length = varint(records, &mut at);
        let end = at + length;
        at += 1; // attributes
        varint(records, &mut at);
        varint(records, &mut at);
        for _ in 0..2 {
            let length = varint(records, &mut at);
            bytes += black_box(&records[at..at + length]).len();
            at += length;
        }
        at = end;
    }
    bytes
}

/// A length or a small delta; none is negative in these batches.
fn varint(bytes: &[u8], at: &mut usize) -> usize {
    let (mut value, mut shift) = (0, 0);
    loop {
        let byte = usize::from(bytes[*at]);
        *at += 1;
        value |= (byte & 0x7f) << shift;
        if byte < 0x80 {
            return value >> 1;
        }
        shift += 7;
    }
}

fn batch(value_bytes: usize) -> Bytes {
    let value = vec![b'x'; value_bytes];
    let records = (0_i64..).take(BATCH_BYTES / value_bytes).map(|n| NewRecord {
        timestamp_ms: 1_700_000_000_000 + n / 4,
        key: Some(b"incident"),
        value: Some(&value),
        ..NewRecord::default()
    });
    let mut out = Vec::new();
    encode_batch(&EncodeOptions::default(), records, &mut out).expect("it fits");
    out.into()
}
