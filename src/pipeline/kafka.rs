//! The client as a source: one to one, so that nothing is decided here.

use kafka_proto::id::{Generation, LeaderEpoch, Offset, TopicPartition};
use kafka_proto::record::Record;

use crate::client::{self, Consumer, ConsumerHandle, Event, Ownership, Records, Revocation};
use crate::pipeline::feed::{Batch, Commit, CommitFailed, Control, Feed, NotOurs, Right, Source, SourceError};

/// A consumer as the pipeline sees it.
pub struct KafkaSource(pub Consumer);

impl Right for Ownership {
    fn partition(&self) -> &TopicPartition {
        Ownership::partition(self)
    }

    fn generation(&self) -> Generation {
        Ownership::generation(self)
    }

    fn check(&self) -> Result<(), NotOurs> {
        Ownership::check(self).map_err(|gone| NotOurs(gone.to_string()))
    }

    fn is(&self, other: &Self) -> bool {
        self == other
    }
}

impl Batch for Records {
    type Right = Ownership;

    fn right(&self) -> &Ownership {
        self.ownership()
    }

    fn first_offset(&self) -> Offset {
        Records::first_offset(self)
    }

    fn next_offset(&self) -> Offset {
        Records::next_offset(self)
    }

    fn leader_epoch(&self) -> LeaderEpoch {
        Records::leader_epoch(self)
    }

    fn size(&self) -> usize {
        Records::size(self)
    }

    fn each(&self, visit: &mut dyn FnMut(Record<'_>)) {
        self.batch().for_each(visit);
    }
}

impl Source for KafkaSource {
    type Right = Ownership;
    type Batch = Records;
    type Guard = Revocation;
    type Control = ConsumerHandle;

    async fn next(&mut self) -> Result<Feed<Records, Revocation>, SourceError> {
        let event = self.0.next().await.map_err(|error| SourceError(error.to_string()))?;
        Ok(match event {
            Event::Assigned { partitions } => Feed::Assigned(partitions),
            Event::Records(records) => Feed::Records(records),
            Event::Revoking(revocation) => Feed::Revoking {
                rights: revocation.ownerships().to_vec(),
                deadline: revocation.deadline(),
                guard: revocation,
            },
            Event::Lost { partitions, cause } => Feed::Lost { partitions, cause: format!("{cause:?}") },
            Event::OffsetReset { partition, to, cause, .. } => {
                Feed::Moved { partition, to, cause: format!("{cause:?}") }
            }
            Event::Truncated { partition, diverged_at, .. } => Feed::Moved {
                partition,
                to: diverged_at,
                cause: "the log was truncated below what was read".to_owned(),
            },
            Event::Skipped { partition, last, cause, .. } => {
                Feed::PassedOver { partition, last, cause: format!("{cause:?}") }
            }
        })
    }

    fn control(&self) -> ConsumerHandle {
        self.0.handle()
    }
}

impl Control for ConsumerHandle {
    type Right = Ownership;

    fn pause(&self, partitions: &[TopicPartition]) {
        ConsumerHandle::pause(self, partitions);
    }

    fn resume(&self, partitions: &[TopicPartition]) {
        ConsumerHandle::resume(self, partitions);
    }

    async fn commit(&self, offsets: Vec<Commit<Ownership>>) -> Result<(), CommitFailed> {
        let mut commit = client::Commit::new();
        for offset in &offsets {
            commit.add(&offset.right, offset.next, offset.leader_epoch);
        }
        let report = ConsumerHandle::commit(self, commit).await.map_err(|error| CommitFailed(error.to_string()))?;
        match report.rejected.first() {
            Some(rejected) => Err(CommitFailed(format!("{}: {}", rejected.partition, rejected.error))),
            None => Ok(()),
        }
    }
}
