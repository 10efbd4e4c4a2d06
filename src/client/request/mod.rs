//! One file per exchange with a broker: what is asked, and the small typed answer.
//!
//! A request is written with `kafka-protocol`'s schemas. An answer is read by [`Reader`], not by that crate: its
//! decoder allocates whatever an array's length prefix claims before it looks at a single element, so that a few
//! hostile bytes end the process. Tests hold every answer against that crate's encoder, in every version.
//!
//! Absent on purpose: error handling. An answer carries the broker's error codes; what to do about them belongs to
//! whoever asked, in the state it was in.

pub(crate) mod api_versions;
pub(crate) mod create_topics;
pub(crate) mod describe_configs;
pub(crate) mod fetch;
pub(crate) mod find_coordinator;
pub(crate) mod heartbeat;
pub(crate) mod init_producer_id;
pub(crate) mod join_group;
pub(crate) mod leave_group;
pub(crate) mod list_offsets;
pub(crate) mod metadata;
pub(crate) mod offset_commit;
pub(crate) mod offset_fetch;
pub(crate) mod offset_for_leader_epoch;
pub(crate) mod produce;
mod reader;
pub(crate) mod sasl_authenticate;
pub(crate) mod sasl_handshake;
pub(crate) mod sync_group;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use kafka_proto::id::{BrokerId, TopicPartition};
use kafka_protocol::messages::TopicName;
use kafka_protocol::protocol::{Encodable, StrBytes};

pub use reader::Malformed;
pub(crate) use reader::Reader;

/// The number of an API in the protocol, with its name for people.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ApiKey {
    /// The number on the wire.
    pub code: i16,
    /// Kafka's name of the API.
    pub name: &'static str,
}

impl ApiKey {
    const fn new(code: i16, name: &'static str) -> Self {
        Self { code, name }
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// The versions of an API that one side speaks, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionRange {
    /// The oldest version.
    pub min: i16,
    /// The newest version.
    pub max: i16,
}

impl VersionRange {
    /// From `min` to `max`, both included.
    pub const fn new(min: i16, max: i16) -> Self {
        Self { min, max }
    }

    /// The newest version that both sides speak.
    pub fn newest_common(self, other: Self) -> Option<i16> {
        let newest = self.max.min(other.max);
        (newest >= self.min.max(other.min)).then_some(newest)
    }
}

/// One request and its answer.
pub(crate) trait Exchange: Send + Sync + 'static {
    /// The API.
    const KEY: ApiKey;
    /// The versions this client speaks.
    const VERSIONS: VersionRange;
    /// The first version whose headers and body are flexible (KIP-482); `i16::MAX` if there is none.
    const FIRST_FLEXIBLE: i16;
    /// `kafka-protocol`'s type for the request.
    type Body: Encodable;
    /// What the broker answered.
    type Response: Send + fmt::Debug + 'static;

    /// The request's body for `version`.
    fn body(&self, version: i16) -> Self::Body;

    /// Reads the answer's body; the reader knows the version and must be left empty.
    fn read(answer: &mut Reader) -> Result<Self::Response, Malformed>;
}

/// The same exchange, but in no version above `MAX`: for a broker or a request that cannot use a newer one.
#[derive(Debug)]
pub(crate) struct AtMost<const MAX: i16, R>(pub(crate) R);

impl<const MAX: i16, R: Exchange> Exchange for AtMost<MAX, R> {
    const KEY: ApiKey = R::KEY;
    const VERSIONS: VersionRange =
        VersionRange { min: R::VERSIONS.min, max: if R::VERSIONS.max < MAX { R::VERSIONS.max } else { MAX } };
    const FIRST_FLEXIBLE: i16 = R::FIRST_FLEXIBLE;
    type Body = R::Body;
    type Response = R::Response;

    fn body(&self, version: i16) -> Self::Body {
        self.0.body(version)
    }

    fn read(answer: &mut Reader) -> Result<Self::Response, Malformed> {
        R::read(answer)
    }
}

/// A topic's id (KIP-516): survives nothing but the topic itself, so a topic that was deleted and made anew has another.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct TopicId(pub [u8; 16]);

impl TopicId {
    /// What brokers send where an id is unknown.
    pub const ZERO: Self = Self([0; 16]);

    /// Whether this names no topic.
    pub fn is_zero(self) -> bool {
        self == Self::ZERO
    }
}

impl fmt::Debug for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Which records a read may see (KIP-98).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum IsolationLevel {
    /// Everything up to the high watermark.
    ReadUncommitted,
    /// Nothing above the last stable offset, nothing of an aborted transaction.
    #[default]
    ReadCommitted,
}

impl IsolationLevel {
    pub(crate) fn code(self) -> i8 {
        match self {
            Self::ReadUncommitted => 0,
            Self::ReadCommitted => 1,
        }
    }
}

/// Where a broker listens, as another broker told it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) id: BrokerId,
    pub(crate) host: Arc<str>,
    pub(crate) port: u16,
    pub(crate) rack: Option<Arc<str>>,
}

fn text(value: &str) -> StrBytes {
    StrBytes::from_string(value.to_owned())
}

fn optional_text(value: Option<&str>) -> Option<StrBytes> {
    value.map(text)
}

fn topic_name(value: &str) -> TopicName {
    TopicName(text(value))
}

/// Groups items by topic, topics in the order of their first appearance; the protocol nests partitions that way.
fn by_topic<I, O>(
    items: &[I],
    partition: impl Fn(&I) -> &TopicPartition,
    convert: impl Fn(&I) -> O,
) -> Vec<(Arc<str>, Vec<O>)> {
    let mut topics: Vec<(Arc<str>, Vec<O>)> = Vec::new();
    let mut places: HashMap<Arc<str>, usize> = HashMap::new();
    for item in items {
        let name = &partition(item).topic;
        let place = *places.entry(Arc::clone(name)).or_insert_with(|| {
            topics.push((Arc::clone(name), Vec::new()));
            topics.len() - 1
        });
        if let Some((_, converted)) = topics.get_mut(place) {
            converted.push(convert(item));
        }
    }
    topics
}

#[cfg(test)]
pub(crate) mod golden;
#[cfg(test)]
mod real;
