//! Why a consumer cannot be built, cannot go on, or did not close cleanly.

use std::time::Duration;

use kafka_proto::membership::FatalCause;

use crate::client::config::ConfigMistake;

/// The consumer cannot go on; every further `Consumer::next` returns the same.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FatalError {
    /// The group does not take this member, and trying again would not help: it was fenced by another process with the
    /// same `group.instance.id` (KIP-345), or it is refused.
    #[error("{0}")]
    Group(FatalCause),
    /// A task of the consumer ended by a panic. The message is in the log.
    #[error("a task of the consumer failed; its panic is in the log")]
    Defect,
    /// The consumer was closed.
    #[error("the consumer is closed")]
    Closed,
}

/// Closing did not finish in time. The consumer is gone all the same; the group notices at the session timeout.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CloseError {
    /// The deadline passed.
    #[error(
        "leaving the group did not finish within {deadline:?}; the coordinator removes the member at its session timeout"
    )]
    Deadline {
        /// The deadline that was given.
        deadline: Duration,
    },
}

/// A configuration that cannot work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// Settings that are missing, out of their range, or name files that cannot be used: all of them at once.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Settings(Vec<ConfigMistake>),
    /// There is no tokio runtime around the call.
    #[error("a client is built inside a tokio runtime, and there is none")]
    NoRuntime,
}
