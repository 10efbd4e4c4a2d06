//! Partitions on their way to another member, and the last commit that goes with them.
//!
//! The rebalance waits for [`Revocation`] to be dropped, at most until its deadline (fault G7: a commit on revocation that
//! hangs must not hang the group).

use std::time::Instant;

use kafka_proto::id::TopicPartition;
use tokio::sync::oneshot;

use crate::client::consumer::ConsumerHandle;
use crate::client::offsets::{Commit, CommitError, CommitReport};
use crate::client::ownership::Ownership;

/// Told when the application has finished with a revocation.
pub(crate) type RevocationDone = oneshot::Receiver<()>;

/// Partitions that a rebalance takes from this member.
///
/// Work on them may not start any more ([`Ownership::check`] fails already); what was finished can still be committed
/// with [`Revocation::commit`]. Drop the value, or call [`Revocation::done`], to let the rebalance go on.
#[derive(Debug)]
pub struct Revocation {
    ownerships: Vec<Ownership>,
    deadline: Instant,
    handle: ConsumerHandle,
    // Dropping the sender is what the consumer waits for.
    _done: oneshot::Sender<()>,
}

impl Revocation {
    pub(crate) fn new(ownerships: Vec<Ownership>, deadline: Instant, handle: ConsumerHandle) -> (Self, RevocationDone) {
        let (sender, receiver) = oneshot::channel();
        (Self { ownerships, deadline, handle, _done: sender }, receiver)
    }

    /// The partitions that are taken.
    pub fn partitions(&self) -> impl Iterator<Item = &TopicPartition> {
        self.ownerships.iter().map(Ownership::partition)
    }

    /// The assignments that end.
    pub fn ownerships(&self) -> &[Ownership] {
        &self.ownerships
    }

    /// The moment at which the rebalance goes on, finished or not. A commit after it is reported as dropped.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Commits what was processed, before the deadline. May be called more than once.
    pub async fn commit(&self, offsets: Commit) -> Result<CommitReport, CommitError> {
        self.handle.commit_before(offsets, self.deadline).await
    }

    /// Lets the rebalance go on. The same as dropping it, by a name.
    pub fn done(self) {}
}
