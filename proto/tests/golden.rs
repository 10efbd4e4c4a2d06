//! Batches that the Java client and broker, librdkafka and franz-go wrote, read by the decoder. Provenance: `golden/README.md`.
//!
//! `GOLDEN_BATCHES=DIR` holds those of Java that `golden/capture` has just recorded there to the same.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::path::Path;

use bytes::Bytes;
use kafka_proto::compression::{Codec, Decompressor};
use kafka_proto::id::Offset;
use kafka_proto::read_committed::AbortedTransactions;
use kafka_proto::record::{Batch, Batches, ControlType, Record, TimestampType};

/// A record as text, headers included.
type Owned = (i64, Option<String>, Option<String>, Vec<(String, Option<String>)>);

/// The batches of this name: those in the tree, or fresh ones.
macro_rules! golden {
    ($name:literal) => {
        opened(fresh($name).unwrap_or(Bytes::from_static(include_bytes!(concat!("golden/", $name, ".bin")))))
    };
}

/// Those in the tree, for what is said of one recording: times and the ids of producers.
macro_rules! recorded {
    ($name:literal) => {
        opened(Bytes::from_static(include_bytes!(concat!("golden/", $name, ".bin"))))
    };
}

#[expect(clippy::disallowed_methods, reason = "fresh recordings are not known when the test is built")]
fn fresh(name: &str) -> Option<Bytes> {
    let folder = std::env::var_os("GOLDEN_BATCHES")?;
    Some(std::fs::read(Path::new(&folder).join(name).with_extension("bin")).unwrap().into())
}

fn opened(segment: Bytes) -> Vec<Batch> {
    let mut decompressor = Decompressor::new(1 << 20);
    let mut batches = Batches::new(segment);
    let opened = batches.by_ref().map(|batch| batch.unwrap().open(&mut decompressor).unwrap()).collect();
    assert_eq!(batches.bytes_left(), 0);
    opened
}

fn text(bytes: Option<&[u8]>) -> Option<String> {
    bytes.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())
}

fn owned(record: &Record<'_>) -> Owned {
    let header = |header: kafka_proto::record::Header<'_>| (header.key_str().unwrap().to_owned(), text(header.value));
    let headers = record.headers().map(|result| header(result.unwrap())).collect();
    (record.offset.get(), text(record.key), text(record.value), headers)
}

fn records(batches: &[Batch]) -> Vec<Owned> {
    batches.iter().flat_map(|batch| batch.records().map(|record| owned(&record.unwrap()))).collect()
}

/// The input of the console producer, as it parses it: headers, key, value; `NULL` stands for null.
fn small() -> Vec<Owned> {
    let nullable = |text: &str| (text != "NULL").then(|| text.to_owned());
    let header = |pair: &str| pair.split_once(':').map(|(key, value)| (key.to_owned(), nullable(value))).unwrap();
    let lines = include_str!("golden/small.tsv").lines();
    (0..)
        .zip(lines)
        .map(|(offset, line)| {
            let fields: Vec<&str> = line.split('\t').collect();
            let [headers, key, value] = fields[..] else { panic!("{line}") };
            (offset, nullable(key), nullable(value), headers.split(',').map(header).collect())
        })
        .collect()
}

fn large() -> Vec<Owned> {
    let lines = (0..).zip(include_str!("golden/large.tsv").lines());
    lines
        .map(|(offset, line)| {
            let (key, value) = line.split_once('\t').unwrap();
            (offset, Some(key.to_owned()), Some(value.repeat(60)), Vec::new())
        })
        .collect()
}

#[track_caller]
fn check(batches: &[Batch], codec: Codec, expected: &[Owned]) {
    assert_eq!(records(batches), expected);
    let mut next = Offset(0);
    for batch in batches {
        assert_eq!(batch.header().codec(), Ok(codec));
        assert_eq!(batch.header().base_offset, next);
        assert_eq!(batch.verify(), Ok(()));
        next = batch.header().next_offset();
    }
}

#[test]
fn small_batches_of_every_codec_hold_what_the_java_producer_was_given() {
    check(&golden!("none"), Codec::None, &small());
    check(&golden!("gzip"), Codec::Gzip, &small());
    check(&golden!("snappy"), Codec::Snappy, &small());
    check(&golden!("lz4"), Codec::Lz4, &small());
    check(&golden!("zstd"), Codec::Zstd, &small());
}

#[test]
fn batches_of_many_blocks_hold_what_the_java_producer_was_given() {
    check(&golden!("large-gzip"), Codec::Gzip, &large());
    check(&golden!("large-snappy"), Codec::Snappy, &large());
    check(&golden!("large-lz4"), Codec::Lz4, &large());
    check(&golden!("large-zstd"), Codec::Zstd, &large());
}

#[test]
fn batches_of_every_codec_hold_what_librdkafka_was_given() {
    check(&recorded!("librdkafka-gzip"), Codec::Gzip, &small());
    check(&recorded!("librdkafka-snappy"), Codec::Snappy, &small());
    check(&recorded!("librdkafka-lz4"), Codec::Lz4, &small());
    check(&recorded!("librdkafka-zstd"), Codec::Zstd, &small());
    check(&recorded!("librdkafka-large-lz4"), Codec::Lz4, &large());
    check(&recorded!("librdkafka-large-zstd"), Codec::Zstd, &large());
}

#[test]
fn a_zstandard_frame_with_its_size_and_a_checksum_holds_what_franz_go_was_given() {
    check(&recorded!("franz-go-large-zstd"), Codec::Zstd, &large());
}

#[test]
fn the_zstandard_frames_differ_as_their_writers_do() {
    // Neither a decoder that needs the size nor one that takes a single block for granted would do.
    assert_eq!(zstd_shapes(include_bytes!("golden/zstd.bin")), [(false, false, 2); 4]);
    assert_eq!(zstd_shapes(include_bytes!("golden/large-zstd.bin")), [(false, false, 4)]);
    assert_eq!(zstd_shapes(include_bytes!("golden/librdkafka-large-zstd.bin")), [(false, false, 3)]);
    assert_eq!(zstd_shapes(include_bytes!("golden/franz-go-large-zstd.bin")), [(true, true, 5)]);
}

#[test]
fn a_zstandard_frame_whose_checksum_is_wrong_is_refused() {
    let mut segment = include_bytes!("golden/franz-go-large-zstd.bin").to_vec();
    let last = segment.len() - 1;
    segment[last] ^= 1;
    let crc = crc32c::crc32c(&segment[21..]);
    segment[17..21].copy_from_slice(&crc.to_be_bytes());
    let batch = Batches::new(Bytes::from(segment)).next().unwrap().unwrap();
    assert!(batch.open(&mut Decompressor::new(1 << 20)).is_err());
}

/// Of the frame in each batch: whether it says its size, whether it has a checksum, how many blocks (RFC 8878, 3.1.1).
fn zstd_shapes(mut segment: &[u8]) -> Vec<(bool, bool, usize)> {
    let mut shapes = Vec::new();
    while !segment.is_empty() {
        let length = 12 + usize::try_from(u32::from_be_bytes(segment[8..12].try_into().unwrap())).unwrap();
        shapes.push(zstd_shape(&segment[61..length]));
        segment = &segment[length..];
    }
    shapes
}

fn zstd_shape(frame: &[u8]) -> (bool, bool, usize) {
    let flags = frame[4];
    let (size_flag, is_single, has_checksum) = (flags >> 6, flags & 0x20 != 0, flags & 4 != 0);
    let size_bytes = [usize::from(is_single), 2, 4, 8][usize::from(size_flag)];
    let mut at = 5 + usize::from(!is_single) + [0, 1, 2, 4][usize::from(flags & 3)] + size_bytes;
    let mut blocks = 0;
    loop {
        let header = u32::from_le_bytes([frame[at], frame[at + 1], frame[at + 2], 0]);
        let (is_last, is_run) = (header & 1 == 1, header >> 1 & 3 == 1);
        at += 3 + if is_run { 1 } else { usize::try_from(header >> 3).unwrap() };
        blocks += 1;
        if is_last {
            assert_eq!(at + if has_checksum { 4 } else { 0 }, frame.len());
            return (size_bytes > 0, has_checksum, blocks);
        }
    }
}

#[test]
fn the_header_says_what_kafka_dump_log_says() {
    let batches = recorded!("zstd");
    let header = batches[1].header();
    assert_eq!((header.base_offset, header.last_offset_delta, header.record_count), (Offset(13), 12, 13));
    assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (4, 0, 13));
    assert_eq!((header.leader_epoch.get(), header.max_timestamp), (0, 1_795_465_616_465));
    assert_eq!(header.timestamp_type(), TimestampType::CreateTime);
    assert!(!header.is_transactional() && !header.is_control());
    let last = batches[0].records().map(|record| record.unwrap().timestamp_ms).max();
    assert_eq!(last, Some(1_795_465_616_461));
}

#[test]
fn every_record_of_a_log_append_time_batch_has_the_time_of_the_broker() {
    check(&golden!("append-time"), Codec::None, &small());
    let batches = recorded!("append-time");
    let times = [1_795_465_618_935, 1_795_465_618_939, 1_795_465_618_949];
    for (batch, time) in batches.iter().zip(times) {
        assert_eq!(batch.header().timestamp_type(), TimestampType::LogAppendTime);
        assert!(batch.records().all(|record| record.unwrap().timestamp_ms == time));
    }
}

#[test]
fn a_compacted_log_keeps_the_ends_of_its_batches() {
    let batches = golden!("compacted");
    let shape = |batch: &Batch| {
        let header = batch.header();
        (header.base_offset.get(), header.next_offset().get(), header.record_count)
    };
    assert_eq!(batches.iter().map(shape).collect::<Vec<_>>(), [(0, 3, 0), (3, 7, 1), (7, 10, 3), (10, 11, 1)]);
    let left: Vec<_> = records(&batches).into_iter().map(|(offset, key, ..)| (offset, key.unwrap())).collect();
    let expected = [(6, "c"), (7, "a"), (8, "d"), (9, "b"), (10, "z")];
    assert_eq!(left, expected.map(|(offset, key)| (offset, key.to_owned())));
}

#[test]
fn transaction_markers_are_told_from_data() {
    let markers: Vec<_> = golden!("transactions")
        .iter()
        .filter_map(|batch| batch.control().map(|control| (batch.header().base_offset.get(), control)))
        .collect();
    let (abort, commit) = (ControlType::Abort, ControlType::Commit);
    assert_eq!(markers, [(3, abort), (6, commit), (7, commit), (9, abort)]);
}

#[test]
fn read_committed_leaves_exactly_what_was_committed() {
    let mut batches = golden!("transactions");
    let (x, y) = (batches[0].header().producer_id, batches[1].header().producer_id);
    let mut aborted = AbortedTransactions::new([(y, Offset(8)), (x, Offset(0))]);
    batches.retain(|batch| !aborted.is_aborted(batch.header(), batch.control()));
    let values: Vec<_> = records(&batches).into_iter().map(|(_, _, value, _)| value.unwrap()).collect();
    assert_eq!(values, ["y1 committed", "y2 committed", "x3 committed"]);
}
