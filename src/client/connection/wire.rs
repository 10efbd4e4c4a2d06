//! How frames come and go on a connection: many exchanges at a time, or one after the other in buffers used again.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tokio_util::task::AbortOnDropHandle;

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
    /// Our own frames, and the watch over them while nobody talks; it ends with the wire.
    Frames(Arc<Frames>, Option<AbortOnDropHandle<()>>),
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
            Load::Records => Self::Frames(Arc::new(Frames::new(stream, response_bytes_max, client_id, fate)), None),
        }
    }

    /// Tells which versions the broker speaks.
    pub(super) fn set_ranges(&mut self, ranges: &BTreeMap<i16, VersionRange>) {
        match self {
            Self::Messages(messages) => messages.set_ranges(ranges),
            Self::Frames(frames, _) => {
                if let Some(frames) = Arc::get_mut(frames) {
                    frames.set_ranges(ranges);
                }
            }
        }
    }

    /// From here on an end of the connection is noticed when it comes, also while nobody talks; the versions stand. The
    /// Messenger's reader does so by itself.
    pub(super) fn watch(&mut self) {
        if let Self::Frames(frames, watch) = self {
            let frames = Arc::clone(frames);
            *watch = Some(AbortOnDropHandle::new(tokio::spawn(async move { frames.watch().await })));
        }
    }

    /// One request in the newest common version, and its answer.
    pub(super) async fn exchange<R: Exchange>(&self, request: &R) -> Result<Answered, WireError> {
        match self {
            Self::Messages(messages) => messages.exchange(request).await,
            Self::Frames(frames, _) => frames.exchange(request).await,
        }
    }

    /// Closes the socket of a connection that is over. The Messenger's reader does so by itself.
    pub(super) async fn hang_up(&self) {
        match self {
            Self::Messages(_) => {}
            Self::Frames(frames, _) => frames.hang_up().await,
        }
    }
}
