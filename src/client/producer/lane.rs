//! The calls for one partition, one batch after the other.
//!
//! A batch takes what waits, and the next one is made when its fate is known; so order needs no numbers beyond those of
//! [`kafka_proto::idempotence`], and a lane that is behind makes its batches larger by itself.

use std::sync::Arc;

use kafka_proto::id::{Offset, TopicPartition};
use kafka_proto::idempotence::Sequence;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::Instant;

use crate::client::cluster::Cluster;
use crate::client::producer::{Appended, ProduceError, ProducerConfig, ProducerRecord};

/// One call of `Producer::send`.
pub(super) struct Job {
    pub(super) records: Vec<ProducerRecord>,
    pub(super) bytes: usize,
    pub(super) deadline: Instant,
    pub(super) answer: oneshot::Sender<Result<Appended, ProduceError>>,
    /// Its share of `buffer.memory`.
    pub(super) _room: OwnedSemaphorePermit,
}

/// The way to one partition: what is in flight and how it is numbered.
pub(super) struct Lane {
    pub(super) config: Arc<ProducerConfig>,
    pub(super) cluster: Cluster,
    pub(super) partition: TopicPartition,
    pub(super) sequence: Sequence,
}

impl Lane {
    pub(super) fn new(config: Arc<ProducerConfig>, cluster: Cluster, partition: TopicPartition) -> Self {
        Self { config, cluster, partition, sequence: Sequence::new() }
    }

    /// Until the producer is gone and everything that was handed over is answered.
    pub(super) async fn run(mut self, mut jobs: mpsc::UnboundedReceiver<Job>) {
        let mut held = None;
        loop {
            let first = match held.take() {
                Some(job) => job,
                None => match jobs.recv().await {
                    Some(job) => job,
                    None => return,
                },
            };
            let mut batch = vec![first];
            held = self.fill(&mut batch, &mut jobs);
            // Whoever does not wait any more has given up before anything was sent.
            batch.retain(|job| !job.answer.is_closed());
            if !batch.is_empty() {
                self.deliver(batch).await;
            }
        }
    }

    /// Adds what waits, in order. The first job that does not fit is given back.
    fn fill(&self, batch: &mut Vec<Job>, jobs: &mut mpsc::UnboundedReceiver<Job>) -> Option<Job> {
        let limit = self.config.batch_size.min(self.config.max_request_size);
        let mut bytes: usize = batch.iter().map(|job| job.bytes).sum();
        while let Ok(job) = jobs.try_recv() {
            bytes = bytes.saturating_add(job.bytes);
            if bytes > limit {
                return Some(job);
            }
            batch.push(job);
        }
        None
    }

    async fn deliver(&mut self, batch: Vec<Job>) {
        let outcome = self.append(&batch).await;
        match outcome {
            // One call's record may be what the broker refuses; the others must not suffer for it.
            Err(ProduceError::Refused { .. }) if batch.len() > 1 => {
                for job in batch {
                    let outcome = self.append(std::slice::from_ref(&job)).await;
                    answer(vec![job], &outcome);
                }
            }
            outcome => answer(batch, &outcome),
        }
    }
}

/// Tells every call where its records are. Whoever stopped waiting has chosen not to know.
fn answer(batch: Vec<Job>, outcome: &Result<Appended, ProduceError>) {
    let mut before: i64 = 0;
    for job in batch {
        let shifted = |all: Appended| Appended { base_offset: Offset(all.base_offset.get() + before), ..all };
        let _ = job.answer.send(outcome.clone().map(shifted));
        before += i64::try_from(job.records.len()).unwrap_or(0);
    }
}
