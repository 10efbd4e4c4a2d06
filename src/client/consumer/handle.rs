//! What can be done with a consumer from anywhere: commit, pause, resume, look.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;

use crate::client::consumer::Shared;
use crate::client::offsets::{Commit, CommitError, CommitJob, CommitReport};

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
}

impl fmt::Debug for ConsumerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConsumerHandle")
    }
}
