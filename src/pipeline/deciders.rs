//! The tasks that decide, and how much they have to do.
//!
//! One partition always goes to the same task, so that its batches, and the offsets that were passed over between them,
//! come back in the order in which they went in.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use kafka_proto::id::{Offset, TopicPartition};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::pipeline::decide::{Decided, decide};
use crate::pipeline::feed::Batch;
use crate::pipeline::lookback::Lookback;
use crate::pipeline::run::Shared;
use crate::pipeline::work::News;

/// One core decides hundreds of thousands of records a second; two keep a slow batch from holding up the others.
const DECIDERS: usize = 2;

/// What a decider is given.
pub(crate) enum Ask<B> {
    /// Records.
    Decide { assignment: u64, batch: B },
    /// There is nothing to decide below this offset.
    PassedOver { partition: TopicPartition, assignment: u64, to: Offset },
}

/// The tasks, and what they have been given and not answered.
pub(crate) struct Deciders<B> {
    inboxes: Vec<mpsc::UnboundedSender<Ask<B>>>,
    batches: usize,
    bytes: usize,
}

impl<B: Batch> Deciders<B> {
    pub(crate) fn start(
        shared: &Arc<Shared>,
        tell: &mpsc::UnboundedSender<News<B::Right>>,
        tasks: &mut JoinSet<()>,
    ) -> Self {
        let inboxes = (0..DECIDERS).map(|_| {
            let (sender, inbox) = mpsc::unbounded_channel();
            tasks.spawn(work_off(inbox, Arc::clone(shared), tell.clone()));
            sender
        });
        Self { inboxes: inboxes.collect(), batches: 0, bytes: 0 }
    }

    /// Gives a batch to the task of its partition.
    pub(crate) fn decide(&mut self, partition: &TopicPartition, assignment: u64, batch: B) {
        let size = batch.size();
        if self.give(partition, Ask::Decide { assignment, batch }) {
            self.batches += 1;
            self.bytes += size;
        }
    }

    /// Lets an offset pass through behind the batches of its partition.
    pub(crate) fn pass_over(&mut self, partition: &TopicPartition, assignment: u64, to: Offset) {
        self.give(partition, Ask::PassedOver { partition: partition.clone(), assignment, to });
    }

    fn give(&self, partition: &TopicPartition, ask: Ask<B>) -> bool {
        let mut hasher = DefaultHasher::new();
        partition.hash(&mut hasher);
        let slot = hasher.finish().checked_rem(self.inboxes.len() as u64).and_then(|slot| usize::try_from(slot).ok());
        slot.and_then(|slot| self.inboxes.get(slot)).is_some_and(|inbox| inbox.send(ask).is_ok())
    }

    /// A batch came back.
    pub(crate) fn answered(&mut self, decided: &Decided<B::Right>) {
        self.batches -= 1;
        self.bytes -= decided.size;
    }

    /// Takes nothing more.
    pub(crate) fn close(&mut self) {
        self.inboxes.clear();
    }

    /// Batches that are not decided yet.
    pub(crate) fn batches(&self) -> usize {
        self.batches
    }

    /// The memory they hold, bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

async fn work_off<B: Batch>(
    mut inbox: mpsc::UnboundedReceiver<Ask<B>>,
    shared: Arc<Shared>,
    tell: mpsc::UnboundedSender<News<B::Right>>,
) {
    while let Some(ask) = inbox.recv().await {
        let news = match ask {
            Ask::Decide { assignment, batch } => {
                let mut decided = decide(&batch, assignment, &shared);
                // Its memory is free from here on.
                drop(batch);
                shared.guards.flush(&shared.domain);
                if let Err(error) = Lookback::keep(&shared.domain, std::mem::take(&mut decided.notes)).await {
                    // The ledger is gone, which ends the pipeline; this batch is read again by whoever comes next.
                    tracing::error!(%error, "what conditions remember could not be recorded");
                    break;
                }
                News::Decided(decided)
            }
            Ask::PassedOver { partition, assignment, to } => News::PassedOver { partition, assignment, to },
        };
        if tell.send(news).is_err() {
            break;
        }
        // A batch can take milliseconds; others on this thread may be waiting.
        tokio::task::yield_now().await;
    }
}
