//! A record to be appended.

use bytes::Bytes;

/// What a record costs in a batch beside its key, value and headers; a little more than the encoding ever needs.
const OVERHEAD_BYTES: usize = 32;

/// A record to be appended. Without a value it is a tombstone, which a compacted topic takes as "forget this key".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProducerRecord {
    pub(super) key: Option<Bytes>,
    pub(super) value: Option<Bytes>,
    pub(super) headers: Vec<(Bytes, Option<Bytes>)>,
    pub(super) timestamp_ms: Option<i64>,
}

impl ProducerRecord {
    /// A record with this value and no key.
    pub fn new(value: impl Into<Bytes>) -> Self {
        Self { value: Some(value.into()), ..Self::default() }
    }

    /// A record with this key and no value.
    pub fn tombstone(key: impl Into<Bytes>) -> Self {
        Self { key: Some(key.into()), ..Self::default() }
    }

    /// Sets the value.
    #[must_use]
    pub fn value(mut self, value: impl Into<Bytes>) -> Self {
        self.value = Some(value.into());
        self
    }

    /// Sets the key. A compacted topic refuses records without one.
    #[must_use]
    pub fn key(mut self, key: impl Into<Bytes>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Adds a header. Names may repeat; Kafka expects them to be UTF-8.
    #[must_use]
    pub fn header(mut self, name: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        self.headers.push((name.into(), Some(value.into())));
        self
    }

    /// Adds a header without a value.
    #[must_use]
    pub fn null_header(mut self, name: impl Into<Bytes>) -> Self {
        self.headers.push((name.into(), None));
        self
    }

    /// Sets the time, in milliseconds since 1970; the time of sending unless set. A topic with
    /// `message.timestamp.type=LogAppendTime` goes by the broker's clock in its place.
    #[must_use]
    pub fn timestamp_ms(mut self, timestamp_ms: i64) -> Self {
        self.timestamp_ms = Some(timestamp_ms);
        self
    }

    /// How many bytes it takes in a batch, at most, before compression.
    pub(super) fn size(&self) -> usize {
        let of = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + of(value) + OVERHEAD_BYTES / 2).sum();
        OVERHEAD_BYTES + of(&self.key) + of(&self.value) + headers
    }
}

impl From<ProducerRecord> for Vec<ProducerRecord> {
    fn from(record: ProducerRecord) -> Self {
        vec![record]
    }
}
