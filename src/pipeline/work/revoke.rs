//! Giving partitions back: nothing new starts, what runs ends, what is finished is committed, then the rebalance goes on.

use std::sync::Arc;
use std::time::Duration;

use kafka_proto::id::TopicPartition;
use tokio::time::Instant;

use crate::pipeline::feed::{Right as _, Source};
use crate::pipeline::work::Work;
use crate::pipeline::work::commit::commit_last;

/// Before a revocation's deadline by this much, its commit is sent whatever still runs.
const COMMIT_MARGIN: Duration = Duration::from_millis(1500);

/// Partitions on their way out.
pub(super) struct Revoking<G> {
    partitions: Vec<(TopicPartition, u64)>,
    due: Instant,
    guard: G,
}

impl<S: Source> Work<S> {
    pub(super) fn revoking(&mut self, rights: &[S::Right], deadline: Instant, guard: S::Guard) {
        let mut partitions = Vec::new();
        for right in rights {
            let Some(partition) = self.partitions.get(right.partition()).filter(|of| of.right.is(right)) else {
                continue;
            };
            partition.stop.cancel();
            let assignment = partition.assignment;
            let left = self.order.forget(|job| job.assignment == assignment);
            tracing::info!(partition = %right.partition(), running = partition.running, left, "partition revoked: nothing new starts");
            partitions.push((right.partition().clone(), assignment));
        }
        let due = deadline.checked_sub(COMMIT_MARGIN).unwrap_or(deadline);
        self.revocations.push(Revoking { partitions, due, guard });
        self.finish_revocations();
    }

    /// When the next revocation has to be finished, whatever runs.
    pub(crate) fn revocation_due(&self) -> Option<Instant> {
        self.revocations.iter().map(|revoking| revoking.due).min()
    }

    /// Commits and lets go of the partitions whose work has ended or whose time is up.
    pub(crate) fn finish_revocations(&mut self) {
        let now = Instant::now();
        let (ready, waiting): (Vec<_>, Vec<_>) = std::mem::take(&mut self.revocations)
            .into_iter()
            .partition(|revoking| revoking.due <= now || self.idle(revoking));
        self.revocations = waiting;
        for revoking in ready {
            let ended = revoking.partitions.iter().filter_map(|(name, assignment)| {
                let ours = self.partitions.get(name)?.assignment == *assignment;
                if ours { self.partitions.remove(name) } else { None }
            });
            let offsets: Vec<_> = ended.filter_map(|partition| partition.to_commit()).collect();
            let (control, domain, guard) = (self.control.clone(), Arc::clone(&self.domain), revoking.guard);
            self.tasks.spawn(async move {
                commit_last(&control, &domain, offsets).await;
                drop(guard);
            });
        }
    }

    fn idle(&self, revoking: &Revoking<S::Guard>) -> bool {
        revoking.partitions.iter().all(|(name, assignment)| {
            self.partitions.get(name).is_none_or(|of| of.assignment != *assignment || of.running == 0)
        })
    }
}
