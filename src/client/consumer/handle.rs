//! What can be done with a consumer from anywhere: commit, pause, resume, look.

use std::fmt;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use kafka_proto::id::TopicPartition;
use tokio::sync::oneshot;

use crate::client::consumer::Shared;
use crate::client::flight::{FlightEntry, FlightStep};
use crate::client::offsets::{Commit, CommitError, CommitJob, CommitReport};
use crate::client::snapshot::{Counters, Snapshot};

/// A handle on a consumer, for the tasks that process its records. Cheap to clone; does not keep the consumer alive.
#[derive(Clone)]
pub struct ConsumerHandle {
    shared: Arc<Shared>,
}

impl ConsumerHandle {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Commits offsets, trying again on errors that pass, for at most `default.api.timeout.ms`.
    ///
    /// Offsets that were read under an assignment which is over, or which would go back, are not sent; the report says
    /// so. Commits are sent one after the other, in the order of the calls. Dropping the future does not take back a
    /// commit that is under way.
    pub async fn commit(&self, offsets: Commit) -> Result<CommitReport, CommitError> {
        self.commit_before(offsets, Instant::now() + self.shared.commit_timeout).await
    }

    /// The same, with a deadline.
    pub async fn commit_before(&self, offsets: Commit, deadline: Instant) -> Result<CommitReport, CommitError> {
        let (answer, answered) = oneshot::channel();
        let job = CommitJob { offsets, deadline, answer };
        let sent = tokio::time::timeout_at(deadline.into(), self.shared.commits.send(job)).await;
        match sent {
            Err(_) => return Err(CommitError::Deadline { last: "waiting for earlier commits".to_owned() }),
            Ok(Err(_)) => return Err(CommitError::Closed),
            Ok(Ok(())) => {}
        }
        answered.await.unwrap_or(Err(CommitError::Closed))
    }

    /// Stops handing out records of these partitions, and fetching for them. What was fetched already is kept and comes
    /// after [`ConsumerHandle::resume`]. Partitions that are not assigned are left alone; an assignment starts unpaused.
    pub fn pause(&self, partitions: &[TopicPartition]) {
        self.shared.queues.pause(partitions);
    }

    /// Goes on where [`ConsumerHandle::pause`] stopped.
    pub fn resume(&self, partitions: &[TopicPartition]) {
        self.shared.queues.resume(partitions);
    }

    /// The newest decisive steps of the protocol, oldest first: at most 256 that tell of the membership, and as many others.
    /// Also after the consumer has ended. Does not wait for anything.
    pub fn flight_recorder(&self) -> Vec<FlightEntry> {
        self.shared.cluster.flight().entries()
    }

    /// The consumer as it is now. Does not wait for anything.
    pub fn snapshot(&self) -> Snapshot {
        let shared = &self.shared;
        let now = Instant::now();
        let steps = shared.cluster.flight().counts();
        let throttles = steps.get(&FlightStep::Throttled).copied().unwrap_or_default();
        Snapshot {
            taken_at: SystemTime::now(),
            group: shared.group_snapshot(now),
            partitions: shared.board.partitions(&shared.queues, now),
            connections: shared.cluster.connections(),
            metadata_error: shared.cluster.refresh_error(),
            topics_in_error: shared.topics_in_error(),
            buffered_bytes: shared.queues.buffered_total(),
            counters: Counters { throttles, ..shared.board.counters() },
            steps,
        }
    }
}

impl fmt::Debug for ConsumerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConsumerHandle")
    }
}
