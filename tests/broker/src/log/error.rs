//! Why an append is refused.

use kafka_protocol::ResponseError;

/// Why bytes could not be appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// There is no such partition.
    #[error("no such partition")]
    UnknownPartition,
    /// The bytes are not whole batches of magic 2.
    #[error("not whole record batches of magic 2")]
    NotABatch,
    /// The checksum of a batch is wrong.
    #[error("a batch with a wrong checksum")]
    WrongChecksum,
    /// An idempotent producer left a gap.
    #[error("out of order sequence number")]
    OutOfOrderSequence,
    /// The producer has a newer epoch.
    #[error("invalid producer epoch")]
    FencedProducer,
}

impl AppendError {
    /// The error a broker answers with.
    pub(crate) fn code(self) -> ResponseError {
        match self {
            Self::UnknownPartition => ResponseError::UnknownTopicOrPartition,
            Self::NotABatch | Self::WrongChecksum => ResponseError::CorruptMessage,
            Self::OutOfOrderSequence => ResponseError::OutOfOrderSequenceNumber,
            Self::FencedProducer => ResponseError::InvalidProducerEpoch,
        }
    }
}
