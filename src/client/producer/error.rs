//! How an append can fail, by what is known of the log afterwards.

use std::time::Duration;

use kafka_proto::error_code::ErrorCode;
use kafka_proto::id::TopicPartition;

/// Records were not acknowledged. Ask [`ProduceError::is_unknown`] before anything else: only then the log may hold them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProduceError {
    /// Not in the log, and sending the same again would not help: too large for the topic, not authorized, no key for a
    /// compacted topic.
    #[error("{partition}: refused with {}{}", code.name(), message.as_deref().map(|m| format!(": {m}")).unwrap_or_default())]
    Refused {
        /// Where to.
        partition: TopicPartition,
        /// The broker's code.
        code: ErrorCode,
        /// The broker's words.
        message: Option<String>,
    },
    /// Not in the log: larger than `max.request.size`, so never sent.
    #[error("{partition}: {bytes} bytes in one call exceed max.request.size, {limit}")]
    TooLarge {
        /// Where to.
        partition: TopicPartition,
        /// The size before compression.
        bytes: usize,
        /// The setting.
        limit: usize,
    },
    /// Not in the log, and will not be: it could not be sent, or was refused for a reason that passes, until its time was
    /// over. May be sent again.
    #[error("{partition}: not appended within {} ms: {last}", after.as_millis())]
    NotAppended {
        /// Where to.
        partition: TopicPartition,
        /// `delivery.timeout.ms`.
        after: Duration,
        /// What failed last.
        last: String,
    },
    /// May be in the log: it was sent, and no answer settled what became of it before its time was over. A copy may still
    /// arrive, but not once a later append of this producer to the same partition has succeeded.
    #[error("{partition}: unknown whether appended: {last}")]
    Unknown {
        /// Where to.
        partition: TopicPartition,
        /// What failed last.
        last: String,
    },
    /// There was no record to append.
    #[error("no record to append")]
    Empty,
    /// The producer was closed before it was sent. Not in the log.
    #[error("the producer is closed")]
    Closed,
}

impl ProduceError {
    /// Whether the log may hold the records. Otherwise it does not and will not.
    pub const fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown { .. })
    }

    /// Whether sending the same records again may work, and cannot append them twice.
    pub const fn is_retriable(&self) -> bool {
        matches!(self, Self::NotAppended { .. })
    }
}
