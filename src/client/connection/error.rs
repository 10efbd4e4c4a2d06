//! How a connection ends, and what that means for a request on it.

use std::time::Duration;

use crate::client::request::{ApiKey, Malformed, VersionRange};

/// Why a connection is over; one cause for everyone who used it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CloseCause {
    /// The broker closed it.
    #[error("the broker closed the connection")]
    ClosedByPeer,
    /// The socket failed.
    #[error("the socket failed: {0}")]
    Io(String),
    /// A request was not answered in time; those behind it could not be either.
    #[error("no answer to {api} within {} ms", after.as_millis())]
    TimedOut {
        /// The API.
        api: ApiKey,
        /// The deadline.
        after: Duration,
    },
    /// A frame announces a length that cannot be.
    #[error("a frame announces {0} bytes")]
    FrameLength(i32),
    /// A frame is larger than `receive.message.max.bytes`.
    #[error("a response of {length} bytes exceeds receive.message.max.bytes, {limit}")]
    TooLarge {
        /// What the frame announces.
        length: usize,
        /// The setting.
        limit: usize,
    },
    /// An answer to another request than the oldest one, or to none.
    #[error("an answer with correlation id {got} where {} was due", expected.map_or("none".to_owned(), |id| id.to_string()))]
    Correlation {
        /// The oldest unanswered request's.
        expected: Option<i32>,
        /// The answer's.
        got: i32,
    },
    /// An answer that does not follow the protocol.
    #[error("the answer to {api} v{version} is malformed: {what}")]
    Malformed {
        /// The API.
        api: ApiKey,
        /// Its version.
        version: i16,
        /// What is wrong.
        what: Malformed,
    },
    /// Planned: nothing was asked for longer than `connections.max.idle.ms`.
    #[error("closed after {} s without use", .0.as_secs())]
    Idle(Duration),
    /// Planned: the SASL session is about to end.
    #[error("closed before the SASL session ends")]
    SessionEnding,
    /// Planned: it goes on for another purpose.
    #[error("handed over for another purpose")]
    HandedOver,
    /// Planned: this side does not need it any more.
    #[error("closed by this client")]
    ClosedByUs,
}

impl CloseCause {
    /// Whether this side meant it: not an error, no reason to back off.
    pub fn is_planned(&self) -> bool {
        matches!(self, Self::Idle(_) | Self::SessionEnding | Self::HandedOver | Self::ClosedByUs)
    }
}

/// Why a request has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The connection is over. Whether the broker acted on the request is unknown.
    #[error("{0}")]
    Closed(CloseCause),
    /// The broker and this client have no version of the API in common.
    #[error("{api}: the broker speaks {}, this client {}..{}", theirs.map_or("none".to_owned(), |r| format!("{}..{}", r.min, r.max)), ours.min, ours.max)]
    Unsupported {
        /// The API.
        api: ApiKey,
        /// This client's versions.
        ours: VersionRange,
        /// The broker's, if it has the API at all.
        theirs: Option<VersionRange>,
    },
    /// The request cannot be written, for example because a name is too long for the protocol. Nothing was sent.
    #[error("{api}: the request cannot be written: {what}")]
    Encode {
        /// The API.
        api: ApiKey,
        /// What the encoder says.
        what: String,
    },
}

impl RequestError {
    /// Whether this side closed the connection on purpose: take a new one and ask again at once.
    pub fn is_planned(&self) -> bool {
        matches!(self, Self::Closed(cause) if cause.is_planned())
    }
}
