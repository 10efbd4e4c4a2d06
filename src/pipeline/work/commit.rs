//! Commits: periodic, one at a time, of what is new; and the last ones.

use kafka_proto::id::{Offset, TopicPartition};

use crate::pipeline::domain::Domain;
use crate::pipeline::feed::{Commit, CommitFailed, Control, Right as _, Source};
use crate::pipeline::observe::Occurrence;
use crate::pipeline::partition::Partition;
use crate::pipeline::work::{News, Work};

/// Whether a periodic commit is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Committer {
    Idle,
    Busy,
}

impl<S: Source> Work<S> {
    /// Commits what is new, unless a commit is under way.
    pub(crate) fn commit(&mut self) {
        let offsets: Vec<_> = self.partitions.values().filter_map(Partition::to_commit).collect();
        if offsets.is_empty() || self.committer == Committer::Busy {
            return;
        }
        self.committer = Committer::Busy;
        let (control, tell) = (self.control.clone(), self.tell.clone());
        let assignments: Vec<_> = offsets.iter().filter_map(|commit| self.named(commit)).collect();
        self.tasks.spawn(async move {
            let how = control.commit(offsets).await;
            let _ = tell.send(News::Committed { offsets: assignments, how });
        });
    }

    fn named(&self, commit: &Commit<S::Right>) -> Option<(TopicPartition, u64, Offset)> {
        let name = commit.right.partition();
        Some((name.clone(), self.partitions.get(name)?.assignment, commit.next))
    }

    pub(super) fn committed(&mut self, offsets: Vec<(TopicPartition, u64, Offset)>, how: Result<(), CommitFailed>) {
        if let Err(error) = how {
            tracing::warn!(%error, "commit to be repeated");
            self.domain.observer.observe(&Occurrence::CommitFailed);
            return;
        }
        for (name, assignment, next) in offsets {
            self.domain.observer.observe(&Occurrence::Committed { partition: &name, next });
            if let Some(partition) = self.partitions.get_mut(&name).filter(|of| of.assignment == assignment) {
                partition.committed(next);
            }
        }
    }

    /// Commits everything that is finished; whether that succeeded.
    pub(crate) async fn last_commit(&mut self) -> bool {
        let offsets: Vec<_> = self.partitions.values().filter_map(Partition::to_commit).collect();
        commit_last(&self.control, &self.domain, offsets).await
    }
}

/// Commits without a second try; whether it succeeded.
pub(super) async fn commit_last<C: Control>(control: &C, domain: &Domain, offsets: Vec<Commit<C::Right>>) -> bool {
    if offsets.is_empty() {
        return true;
    }
    let names: Vec<_> = offsets.iter().map(|commit| (commit.right.partition().clone(), commit.next)).collect();
    match control.commit(offsets).await {
        Ok(()) => {
            for (partition, next) in &names {
                domain.observer.observe(&Occurrence::Committed { partition, next: *next });
            }
            true
        }
        Err(error) => {
            tracing::warn!(%error, "the last commit failed: finished records will be read again, and recognised");
            domain.observer.observe(&Occurrence::CommitFailed);
            false
        }
    }
}
