//! The embedded "consumer" protocol: the bytes inside `JoinGroup` metadata and `SyncGroup` assignments.
//!
//! Subscriptions of versions 0 to 3 (owned partitions KIP-429, generation KIP-792, rack KIP-881) and assignments, whose
//! layout never changed. Versions above the known ones are read as the newest known one, as the Java client does, since
//! fields are only ever appended. The bytes are those of other members, so every read is checked, and
//! [`Subscription::decode_tolerant`] makes of any bytes a member that the leader can work with.

#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects, clippy::indexing_slicing))]

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use thiserror::Error;

use crate::id::{Generation, TopicPartition};

/// The `protocol_type` of consumer groups.
pub const PROTOCOL_TYPE: &str = "consumer";

/// The subscription version that is written.
const SUBSCRIPTION_VERSION: i16 = 3;
/// The assignment version that is written: all have this layout, and the oldest is understood by everyone.
const ASSIGNMENT_VERSION: i16 = 0;

/// Bytes of another member that are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ProtocolError {
    /// The bytes end inside the named field.
    #[error("the consumer protocol bytes end inside {0}")]
    Short(&'static str),
    /// A length or count that cannot be.
    #[error("the consumer protocol bytes hold a negative length for {0}")]
    NegativeLength(&'static str),
    /// A name that is not UTF-8.
    #[error("the consumer protocol bytes hold {0} that is not UTF-8")]
    NotUtf8(&'static str),
    /// A version below zero.
    #[error("the consumer protocol version {0} does not exist")]
    Version(i16),
}

/// What a member tells the leader of its group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscription {
    /// The topics it wants.
    pub topics: Vec<Arc<str>>,
    /// Bytes for the assignor alone, see [`StickyUserData`].
    pub user_data: Option<Bytes>,
    /// What it owned when it joined; empty for eager members.
    pub owned: Vec<TopicPartition>,
    /// The generation in which it owned that.
    pub generation: Option<Generation>,
    /// `client.rack`.
    pub rack: Option<Arc<str>>,
}

impl Subscription {
    /// A subscription to `topics` that owns nothing.
    pub fn to(topics: impl IntoIterator<Item = Arc<str>>) -> Self {
        Self { topics: topics.into_iter().collect(), ..Self::default() }
    }

    /// The bytes for a `JoinGroup` request.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_i16(SUBSCRIPTION_VERSION);
        let topics: Vec<&Arc<str>> = self.topics.iter().filter(|t| fits(t)).collect();
        out.put_i32(count(topics.len()));
        for topic in topics {
            put_string(&mut out, topic);
        }
        put_nullable_bytes(&mut out, self.user_data.as_ref());
        put_partitions(&mut out, &self.owned);
        out.put_i32(self.generation.map_or(-1, Generation::get));
        match &self.rack {
            Some(rack) if fits(rack) => put_string(&mut out, rack),
            Some(_) | None => out.put_i16(-1),
        }
        out.freeze()
    }

    /// Reads a subscription of any version.
    pub fn decode(bytes: &[u8]) -> Result<Self, ProtocolError> {
        let (subscription, fault) = Self::decode_tolerant(bytes);
        fault.map_or(Ok(subscription), Err)
    }

    /// Reads what can be read. A member whose topics are unreadable wants nothing; one whose later fields are
    /// unreadable keeps its topics and owns nothing: the leader goes on either way (fault G8).
    pub fn decode_tolerant(bytes: &[u8]) -> (Self, Option<ProtocolError>) {
        let mut rest = bytes;
        let (version, topics) = match version_and_topics(&mut rest) {
            Ok(read) => read,
            Err(fault) => return (Self::default(), Some(fault)),
        };
        match after_topics(version, &mut rest) {
            Ok(claims) => (Self { topics, ..claims }, None),
            Err(fault) => (Self { topics, ..Self::default() }, Some(fault)),
        }
    }
}

fn version_and_topics(rest: &mut &[u8]) -> Result<(i16, Vec<Arc<str>>), ProtocolError> {
    let version = version(rest)?;
    let mut topics = Vec::new();
    for _ in 0..length(rest, "topics")? {
        topics.push(string(rest, "topic")?);
    }
    Ok((version, topics))
}

fn after_topics(version: i16, rest: &mut &[u8]) -> Result<Subscription, ProtocolError> {
    let user_data = nullable_bytes(rest, "user data")?;
    let owned = if version >= 1 { partitions(rest)? } else { Vec::new() };
    let generation = if version >= 2 { Some(int32(rest, "generation")?).filter(|g| *g >= 0) } else { None };
    let rack = if version >= 3 { nullable_string(rest, "rack")? } else { None };
    Ok(Subscription { topics: Vec::new(), user_data, owned, generation: generation.map(Generation), rack })
}

/// The bytes that give a member its partitions in a `SyncGroup` request.
pub fn encode_assignment(assigned: &[TopicPartition]) -> Bytes {
    let mut out = BytesMut::new();
    out.put_i16(ASSIGNMENT_VERSION);
    put_partitions(&mut out, assigned);
    out.put_i32(-1);
    out.freeze()
}

/// Reads the partitions that a leader gave us. No bytes at all are no partitions: brokers answer so to a member that
/// the leader left out.
pub fn decode_assignment(bytes: &[u8]) -> Result<Vec<TopicPartition>, ProtocolError> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let mut rest = bytes;
    version(&mut rest)?;
    partitions(&mut rest)
}

/// The user data of the sticky assignors: what a member had, and in which generation.
///
/// "sticky" writes the partitions and the generation; "cooperative-sticky" writes the generation alone, for leaders too
/// old to read it from the subscription.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StickyUserData {
    /// The partitions of the last assignment.
    pub previous: Vec<TopicPartition>,
    /// The generation of that assignment.
    pub generation: Option<Generation>,
}

impl StickyUserData {
    /// The bytes that "sticky" expects (version 1 of its schema).
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        put_partitions(&mut out, &self.previous);
        out.put_i32(self.generation.map_or(-1, Generation::get));
        out.freeze()
    }

    /// Reads either version of the schema; unreadable bytes are a member that had nothing.
    pub fn decode_tolerant(bytes: &[u8]) -> Self {
        let mut rest = bytes;
        let Ok(previous) = partitions(&mut rest) else { return Self::default() };
        let generation = int32(&mut rest, "generation").ok().filter(|g| *g >= 0).map(Generation);
        Self { previous, generation }
    }
}

/// The user data of "cooperative-sticky": the generation alone.
pub fn cooperative_user_data(generation: Option<Generation>) -> Bytes {
    let mut out = BytesMut::with_capacity(4);
    out.put_i32(generation.map_or(-1, Generation::get));
    out.freeze()
}

fn fits(text: &str) -> bool {
    i16::try_from(text.len()).is_ok()
}

fn count(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

/// Writes a string that [`fits`]. Kafka's names end at 249 bytes; what does not fit is left out by the callers.
fn put_string(out: &mut BytesMut, text: &str) {
    out.put_i16(i16::try_from(text.len()).unwrap_or(i16::MAX));
    out.put_slice(text.as_bytes());
}

fn put_nullable_bytes(out: &mut BytesMut, bytes: Option<&Bytes>) {
    let Some(bytes) = bytes else { return out.put_i32(-1) };
    out.put_i32(count(bytes.len()));
    out.put_slice(bytes);
}

fn put_partitions(out: &mut BytesMut, list: &[TopicPartition]) {
    let mut by_topic: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for tp in list.iter().filter(|tp| fits(&tp.topic)) {
        by_topic.entry(&tp.topic).or_default().push(tp.partition);
    }
    out.put_i32(count(by_topic.len()));
    for (topic, mut numbers) in by_topic {
        numbers.sort_unstable();
        put_string(out, topic);
        out.put_i32(count(numbers.len()));
        for number in numbers {
            out.put_i32(number);
        }
    }
}

fn take<'a>(rest: &mut &'a [u8], n: usize, field: &'static str) -> Result<&'a [u8], ProtocolError> {
    let (head, tail) = rest.split_at_checked(n).ok_or(ProtocolError::Short(field))?;
    *rest = tail;
    Ok(head)
}

fn int16(rest: &mut &[u8], field: &'static str) -> Result<i16, ProtocolError> {
    let (head, tail) = rest.split_first_chunk().ok_or(ProtocolError::Short(field))?;
    *rest = tail;
    Ok(i16::from_be_bytes(*head))
}

fn int32(rest: &mut &[u8], field: &'static str) -> Result<i32, ProtocolError> {
    let (head, tail) = rest.split_first_chunk().ok_or(ProtocolError::Short(field))?;
    *rest = tail;
    Ok(i32::from_be_bytes(*head))
}

fn version(rest: &mut &[u8]) -> Result<i16, ProtocolError> {
    let version = int16(rest, "version")?;
    if version < 0 { Err(ProtocolError::Version(version)) } else { Ok(version) }
}

fn length(rest: &mut &[u8], field: &'static str) -> Result<usize, ProtocolError> {
    usize::try_from(int32(rest, field)?).map_err(|_| ProtocolError::NegativeLength(field))
}

fn string(rest: &mut &[u8], field: &'static str) -> Result<Arc<str>, ProtocolError> {
    nullable_string(rest, field)?.ok_or(ProtocolError::NegativeLength(field))
}

fn nullable_string(rest: &mut &[u8], field: &'static str) -> Result<Option<Arc<str>>, ProtocolError> {
    let length = match int16(rest, field)? {
        -1 => return Ok(None),
        n => usize::try_from(n).map_err(|_| ProtocolError::NegativeLength(field))?,
    };
    let text = std::str::from_utf8(take(rest, length, field)?).map_err(|_| ProtocolError::NotUtf8(field))?;
    Ok(Some(Arc::from(text)))
}

fn nullable_bytes(rest: &mut &[u8], field: &'static str) -> Result<Option<Bytes>, ProtocolError> {
    let length = match int32(rest, field)? {
        -1 => return Ok(None),
        n => usize::try_from(n).map_err(|_| ProtocolError::NegativeLength(field))?,
    };
    Ok(Some(Bytes::copy_from_slice(take(rest, length, field)?)))
}

fn partitions(rest: &mut &[u8]) -> Result<Vec<TopicPartition>, ProtocolError> {
    let mut list = Vec::new();
    for _ in 0..length(rest, "partitions by topic")? {
        let topic = string(rest, "topic")?;
        for _ in 0..length(rest, "partitions")? {
            list.push(TopicPartition { topic: Arc::clone(&topic), partition: int32(rest, "partition")? });
        }
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tp(topic: &str, partition: i32) -> TopicPartition {
        TopicPartition { topic: topic.into(), partition }
    }

    /// Version 1 as the Java client 2.4 writes it: one topic "t", no user data, owns t-0 and t-1.
    const JAVA_V1: &[u8] = &[
        0, 1, 0, 0, 0, 1, 0, 1, b't', 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0,
        1,
    ];

    #[test]
    fn reads_a_subscription_laid_out_by_hand() {
        let read = Subscription::decode(JAVA_V1).unwrap();
        assert_eq!(read.topics, vec![Arc::from("t")]);
        assert_eq!(read.owned, vec![tp("t", 0), tp("t", 1)]);
        assert_eq!((read.user_data, read.generation, read.rack), (None, None, None));
    }

    #[test]
    fn a_subscription_round_trips() {
        let subscription = Subscription {
            topics: vec!["a".into(), "b".into()],
            user_data: Some(Bytes::from_static(b"xyz")),
            owned: vec![tp("a", 3), tp("b", 0)],
            generation: Some(Generation(7)),
            rack: Some("use1-az1".into()),
        };
        assert_eq!(Subscription::decode(&subscription.encode()), Ok(subscription));
    }

    #[test]
    fn a_future_version_is_read_as_the_newest_known() {
        let mut bytes = Subscription::to(["t".into()]).encode().to_vec();
        bytes[1] = 9;
        bytes.extend_from_slice(b"appended");
        assert_eq!(Subscription::decode(&bytes).unwrap().topics, vec![Arc::from("t")]);
    }

    #[test]
    fn garbage_after_the_topics_keeps_the_topics_and_owns_nothing() {
        let cut = &JAVA_V1[..JAVA_V1.len() - 3];
        let (subscription, fault) = Subscription::decode_tolerant(cut);
        assert_eq!(subscription.topics, vec![Arc::from("t")]);
        assert!(subscription.owned.is_empty());
        assert_eq!(fault, Some(ProtocolError::Short("partition")));
    }

    #[test]
    fn a_count_of_two_billion_costs_an_error_and_no_memory() {
        let bytes = [0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 1, b't'];
        assert_eq!(Subscription::decode(&bytes), Err(ProtocolError::Short("topic")));
        assert_eq!(decode_assignment(&bytes), Err(ProtocolError::Short("partitions")));
    }

    #[test]
    fn an_assignment_round_trips_and_no_bytes_are_no_partitions() {
        let assigned = vec![tp("a", 0), tp("a", 2), tp("b", 1)];
        assert_eq!(decode_assignment(&encode_assignment(&assigned)), Ok(assigned));
        assert_eq!(decode_assignment(&[]), Ok(Vec::new()));
        assert_eq!(decode_assignment(&[0xff, 0xff]), Err(ProtocolError::Version(-1)));
    }

    #[test]
    fn sticky_user_data_without_a_generation_is_the_older_schema() {
        let data = StickyUserData { previous: vec![tp("t", 4)], generation: Some(Generation(2)) };
        let bytes = data.encode();
        assert_eq!(StickyUserData::decode_tolerant(&bytes), data);
        let older = StickyUserData::decode_tolerant(&bytes[..bytes.len() - 4]);
        assert_eq!(older, StickyUserData { previous: vec![tp("t", 4)], generation: None });
        assert_eq!(StickyUserData::decode_tolerant(b"junk"), StickyUserData::default());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Subscription::decode_tolerant(&bytes);
            let _ = decode_assignment(&bytes);
            let _ = StickyUserData::decode_tolerant(&bytes);
        }
    }
}
