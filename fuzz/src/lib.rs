//! What must hold of every parser of network bytes, whatever the bytes: no panic, and no memory by the word of a length.
//!
//! Each function here is a fuzz target: `cargo +nightly fuzz run --features libfuzzer NAME` in this folder's parent, or all
//! of them for a moment on stable Rust with `cargo run --release --bin short` in this folder.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use kafka_proto::assignor::protocol::{StickyUserData, Subscription, decode_assignment};
use kafka_proto::assignor::{AssignorKind, GroupMember, PartitionCounts, assign};
use kafka_proto::compression::{Codec, Decompressor, compress};
use kafka_proto::id::Offset;
use kafka_proto::read_committed::AbortedTransactions;
use kafka_proto::record::Batches;
use kafka_proto::scram::{ClientFirst, SaltedPassword, salted_password};

/// The largest text of a batch, in bytes.
const CAP: usize = 1 << 20;

/// A target by its name.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: &[Target] = &[
    ("batches", batches),
    ("codecs", codecs),
    ("zstd", zstd),
    ("answers", answers),
    ("scram", scram),
    ("assignor", assignor),
];

/// Record batches as a Fetch answer holds them: split, checked, opened, read to the last header; then once more with the
/// checksums set right, or hardly any change would be looked at.
pub fn batches(data: &[u8]) {
    read_batches(Bytes::copy_from_slice(data));
    read_batches(with_checksums(data.to_vec()).into());
}

fn read_batches(bytes: Bytes) {
    let length = bytes.len();
    let mut decompressor = Decompressor::new(CAP);
    let mut aborted = AbortedTransactions::new([(1, Offset(0)), (7, Offset(3))]);
    let mut split = Batches::new(bytes);
    while let Some(found) = split.next() {
        let Ok(raw) = found else { break };
        let Ok(batch) = raw.open(&mut decompressor) else { continue };
        assert!(batch.size() <= CAP.max(length), "{} bytes of records", batch.size());
        aborted.is_aborted(batch.header(), batch.control());
        let sound = batch.verify().is_ok();
        for record in batch.records() {
            let Ok(record) = record else {
                assert!(!sound, "a verified batch has a record that does not parse");
                break;
            };
            for header in record.headers() {
                if header.is_err() {
                    break;
                }
            }
        }
    }
    assert!(split.bytes_left() <= length);
}

/// Sets the CRC-32C of every batch that is whole.
fn with_checksums(mut data: Vec<u8>) -> Vec<u8> {
    const PREFIX: usize = 12;
    const CHECKED_FROM: usize = 21;
    let mut at = 0;
    while let Some(prefix) = data.get(at + 8..at + PREFIX) {
        let length = i32::from_be_bytes(prefix.try_into().expect("four bytes"));
        let Ok(length) = usize::try_from(length) else { break };
        let end = at + PREFIX + length;
        let Some(checked) = data.get(at + CHECKED_FROM..end) else { break };
        let checksum = crc32c::crc32c(checked).to_be_bytes();
        data[at + 17..at + CHECKED_FROM].copy_from_slice(&checksum);
        at = end;
    }
    data
}

/// The first byte chooses a codec. What comes out is within the cap; what goes in comes out again.
pub fn codecs(data: &[u8]) {
    let Some((choice, rest)) = data.split_first() else { return };
    let Some(codec) = Codec::from_id(choice % 5) else { return };
    let mut decompressor = Decompressor::new(CAP);
    if let Ok(text) = decompressor.decompress(codec, rest) {
        assert!(text.len() <= CAP.max(rest.len()), "{} bytes from {}", text.len(), rest.len());
    }
    let packed = compress(codec, rest).expect("anything can be compressed");
    if rest.len() <= CAP {
        assert!(decompressor.decompress(codec, &packed).expect("our own") == rest, "{codec:?} changes the text");
    }
}

/// Where two decoders of zstd that share nothing both read a frame, they read the same.
pub fn zstd(data: &[u8]) {
    let Ok(ours) = Decompressor::new(CAP).decompress(Codec::Zstd, data) else { return };
    let mut theirs = Vec::new();
    let mut rest = data;
    while !rest.is_empty() {
        let Ok(decoder) = ruzstd::decoding::StreamingDecoder::new(&mut rest) else { return };
        if decoder.take(CAP as u64 + 1).read_to_end(&mut theirs).is_err() {
            return;
        }
    }
    assert!(ours == theirs, "{} bytes and {}", ours.len(), theirs.len());
}

/// The first byte is the number of an API; the rest is an answer of it, in every version.
pub fn answers(data: &[u8]) {
    if let Some((api, rest)) = data.split_first() {
        kafka_consumer::client::read_as_answer(i16::from(*api), rest);
    }
}

/// Two messages of a SCRAM server, with a zero byte between them.
pub fn scram(data: &[u8]) {
    static SALTED: OnceLock<SaltedPassword> = OnceLock::new();
    let salted = SALTED.get_or_init(|| salted_password(b"pencil", b"salt", 4096).expect("a sound count"));
    let mut messages = data.splitn(2, |byte| *byte == 0);
    let (first, last) = (messages.next().unwrap_or_default(), messages.next().unwrap_or_default());
    let (exchange, _) = ClientFirst::new("user", "fuzz").expect("a sound name");
    let Ok(challenge) = exchange.challenge(first) else { return };
    let (expected, _) = challenge.answer(salted);
    // Nobody guesses the signature of a key.
    assert!(expected.verify(last).is_err());
}

/// What members of a group tell their leader, which may be us: read, and assigned to whatever it says.
pub fn assignor(data: &[u8]) {
    // An error is as good as an answer.
    let _ = (decode_assignment(data), StickyUserData::decode_tolerant(data));
    if let Ok(subscription) = Subscription::decode(data) {
        let again = Subscription::decode(&subscription.encode()).expect("our own");
        assert_eq!(again.topics, subscription.topics);
    }
    let said = data.chunks(data.len().div_ceil(3).max(1));
    let members: Vec<GroupMember> = said
        .enumerate()
        .map(|(n, said)| GroupMember {
            member_id: format!("m{n}").into(),
            instance_id: None,
            subscription: Subscription::decode_tolerant(said).0,
        })
        .collect();
    let counts: PartitionCounts = BTreeMap::from([(Arc::from("t"), 4), (Arc::from("u"), 1)]);
    for kind in [AssignorKind::Range, AssignorKind::Sticky, AssignorKind::CooperativeSticky] {
        let assignment = assign(kind, &members, &counts);
        assert_eq!(assignment.len(), members.len());
        let mut all: Vec<_> = assignment.values().flatten().collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count, "{kind} gives a partition twice");
        assert!(count <= 5, "{kind} gives partitions that there are not");
    }
}
