//! The consumer: events out, commits in.

mod board;
mod builder;
mod config;
mod engine;
mod error;
mod handle;
mod opening;
mod poll_clock;
mod start;

pub(crate) use board::Board;
pub use builder::ConsumerBuilder;
pub use config::{AutoOffsetReset, ConsumerConfig, CorruptBatchPolicy};
pub use error::{BuildError, CloseError, FatalError};
pub use handle::ConsumerHandle;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use kafka_proto::compression::Decompressor;
use kafka_proto::error_code::ErrorCode;
use tokio::sync::{mpsc, oneshot, watch};

use crate::client::cluster::Cluster;
use crate::client::event::Event;
use crate::client::flight::{FlightEntry, FlightStep};
use crate::client::group::GroupStatus;
use crate::client::offsets::CommitJob;
use crate::client::ownership::SessionFence;
use crate::client::queue::{Popped, Queues};
use crate::client::snapshot::{GroupSnapshot, Snapshot};
use engine::Command;
use poll_clock::{Entered, PollClock};

/// What the consumer, its handles and its engine have in common.
pub(crate) struct Shared {
    pub(crate) queues: Queues,
    pub(crate) board: Arc<Board>,
    pub(crate) poll: PollClock,
    pub(crate) commits: mpsc::Sender<CommitJob>,
    pub(crate) commit_timeout: Duration,
    pub(crate) cluster: Cluster,
    pub(crate) fence: Arc<SessionFence>,
    group: watch::Receiver<GroupStatus>,
    fatal: OnceLock<FatalError>,
}

impl Shared {
    /// The consumer cannot go on. The first reason counts.
    pub(crate) fn fail(&self, error: FatalError) {
        self.fatal.get_or_init(|| {
            // A later reason is a consequence of the first.
            let flight = self.cluster.flight();
            flight.record(FlightStep::Ended, &error);
            match error {
                FatalError::Group(_) | FatalError::Defect => flight.dump(&error),
                FatalError::Closed => {}
            }
            error
        });
        self.fence.end_term();
        self.queues.wake();
    }

    /// The group as it is now.
    fn group_snapshot(&self, now: Instant) -> GroupSnapshot {
        let status = self.group.borrow().clone();
        GroupSnapshot {
            state: status.state,
            member_id: status.member_id.map(|id| id.to_string()),
            generation: status.generation,
            coordinator: status.coordinator,
            session_left: self.fence.remaining(now),
            last_error: status.trouble,
            joins: status.joins,
            last_join: status.last_join,
        }
    }

    fn topics_in_error(&self) -> Vec<(String, ErrorCode)> {
        let metadata = self.cluster.current();
        metadata.topics.iter().filter_map(|(name, topic)| Some((name.to_string(), topic.error?))).collect()
    }
}

/// A member of a consumer group.
///
/// One task calls [`Consumer::next`] and acts on the [`Event`]s; any number of tasks process records and commit through
/// [`ConsumerHandle`]s. Dropping the consumer stops fetching and heartbeats at once, without leaving the group;
/// [`Consumer::close`] leaves it.
pub struct Consumer {
    shared: Arc<Shared>,
    config: Arc<ConsumerConfig>,
    commands: mpsc::UnboundedSender<Command>,
    decompressor: Decompressor,
    /// What must not be handed out as long as the session is in doubt.
    held: Option<Popped>,
}

/// How often a session in doubt is looked at, while nothing else happens.
const DOUBT_PAUSE: Duration = Duration::from_millis(20);

impl Consumer {
    /// Collects the settings.
    pub fn builder() -> ConsumerBuilder {
        ConsumerBuilder::new()
    }

    /// The next event. Waits as long as there is none.
    ///
    /// Cancel-safe: dropping the future loses nothing. Call it again within `max.poll.interval.ms`, or the member leaves
    /// the group until the next call (KIP-62); waiting inside counts as calling.
    pub async fn next(&mut self) -> Result<Event, FatalError> {
        let shared = Arc::clone(&self.shared);
        let (_polling, entered) = shared.poll.enter();
        if entered == Entered::Expired {
            // Without an engine there is a fatal error to be returned.
            let _ = self.commands.send(Command::Polled);
        }
        loop {
            if let Some(event) = self.take() {
                return Ok(event);
            }
            if let Some(fatal) = shared.fatal.get() {
                return Err(fatal.clone());
            }
            if self.held.is_some() {
                // Either the loss of the partition arrives, or a heartbeat that was under way.
                let _ = tokio::time::timeout(DOUBT_PAUSE, shared.queues.arrived()).await;
            } else {
                shared.queues.arrived().await;
            }
        }
    }

    /// A handle for the tasks that process records.
    pub fn handle(&self) -> ConsumerHandle {
        ConsumerHandle::new(Arc::clone(&self.shared))
    }

    /// The consumer as it is now; the same as [`ConsumerHandle::snapshot`].
    pub fn snapshot(&self) -> Snapshot {
        self.handle().snapshot()
    }

    /// The newest decisive steps of the protocol; the same as [`ConsumerHandle::flight_recorder`].
    pub fn flight_recorder(&self) -> Vec<FlightEntry> {
        self.handle().flight_recorder()
    }

    /// Stops fetching, finishes commits that were asked for, leaves the group. Nothing is committed that was not asked
    /// for before.
    pub async fn close(self, deadline: Duration) -> Result<(), CloseError> {
        let until = Instant::now() + deadline;
        self.finish_commits(until).await;
        let (answer, answered) = oneshot::channel();
        if self.commands.send(Command::Close { answer }).is_err() {
            // The engine ended before, by itself: there is no membership to leave.
            return Ok(());
        }
        match tokio::time::timeout_at(until.into(), answered).await {
            Ok(_) => Ok(()),
            Err(_) => Err(CloseError::Deadline { deadline }),
        }
    }

    /// Commits are sent in order, so one of nothing comes back after all others.
    async fn finish_commits(&self, until: Instant) {
        // What did not finish is reported to those who asked for it.
        let _ = self.handle().commit_before(crate::client::offsets::Commit::new(), until).await;
    }
}

/// Entropy for jitter; not for anything that must not be guessed.
pub(crate) fn random() -> u64 {
    getrandom::u64().unwrap_or_default()
}
