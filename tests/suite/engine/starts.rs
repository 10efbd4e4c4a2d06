//! How a target answers when a job is to be started: well, badly, late, or not at all.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::world::target::Reply;

/// What becomes of a request that starts a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    Well,
    /// It is started and the answer does not arrive whole.
    MadeAndTorn,
    /// It is started and the answer comes too late.
    MadeAndLate,
    /// It is started, and then something behind it fails.
    MadeAndFailed,
    /// It is not started.
    Refused(u16),
    /// It is not started, and nobody says so.
    Torn,
}

impl Start {
    /// Whether there is a job afterwards.
    pub(super) fn makes(self) -> bool {
        !matches!(self, Self::Refused(_) | Self::Torn)
    }

    /// The answer, made of those of one target.
    pub(super) fn reply(self, made: Reply, failed: Reply, refused: impl FnOnce(u16) -> Reply) -> Reply {
        match self {
            Self::Well => made,
            Self::MadeAndTorn | Self::Torn => made.torn(),
            Self::MadeAndLate => made.after(Duration::from_millis(900)),
            Self::MadeAndFailed => failed,
            Self::Refused(status) => refused(status).with("Retry-After", "0"),
        }
    }
}

/// What becomes of the next requests, in their order; the last stays.
#[derive(Clone)]
pub(super) struct Starts(Arc<Mutex<Vec<Start>>>);

impl Starts {
    pub(super) fn new(starts: &[Start]) -> Self {
        Self(Arc::new(Mutex::new(starts.iter().rev().copied().collect())))
    }

    pub(super) fn next(&self) -> Start {
        let mut starts = self.0.lock().expect("no panic while holding it");
        if starts.len() > 1 { starts.pop() } else { starts.last().copied() }.unwrap_or(Start::Well)
    }
}
