//! How frames come and go on a connection: many exchanges at a time, or one after the other in buffers used again.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::client::connection::frames::Frames;
use crate::client::connection::guard::{Fate, Stream};
use crate::client::connection::messenger::Messages;
use crate::client::request::{Exchange, VersionRange};

/// What a connection is going to carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    /// Small questions and answers, several at a time.
    Questions,
    /// Megabytes of records, one answer after the other.
    Records,
}

/// A stream that speaks in requests and answers.
pub(super) enum Wire {
    /// rskafka's Messenger.
    Messages(Messages),
    /// Our own frames.
    Frames(Box<Frames>),
}

/// An answer: everything after the correlation id.
pub(super) struct Answered {
    pub(super) version: i16,
    pub(super) bytes: Bytes,
}

/// Why there is no answer.
pub(super) enum WireError {
    /// The request cannot be written; nothing was sent.
    Encode(String),
    /// No version in common; nothing was sent.
    NoVersion,
    /// The connection is over.
    Broken(String),
}

impl Wire {
    pub(super) fn new(load: Load, stream: Stream, response_bytes_max: usize, client_id: &str, fate: Arc<Fate>) -> Self {
        match load {
            Load::Questions => Self::Messages(Messages::new(stream, response_bytes_max, Arc::from(client_id), fate)),
            Load::Records => Self::Frames(Box::new(Frames::new(stream, response_bytes_max, client_id, fate))),
        }
    }

    /// Tells which versions the broker speaks.
    pub(super) fn set_ranges(&mut self, ranges: &BTreeMap<i16, VersionRange>) {
        match self {
            Self::Messages(messages) => messages.set_ranges(ranges),
            Self::Frames(frames) => frames.set_ranges(ranges),
        }
    }

    /// One request in the newest common version, and its answer.
    pub(super) async fn exchange<R: Exchange>(&self, request: &R) -> Result<Answered, WireError> {
        match self {
            Self::Messages(messages) => messages.exchange(request).await,
            Self::Frames(frames) => frames.exchange(request).await,
        }
    }

    /// Closes the socket of a connection that is over. The Messenger's reader does so by itself.
    pub(super) async fn hang_up(&self) {
        match self {
            Self::Messages(_) => {}
            Self::Frames(frames) => frames.hang_up().await,
        }
    }
}
