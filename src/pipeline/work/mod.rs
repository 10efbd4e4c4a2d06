//! The books of the polling task: partitions, what is being decided, what runs, what may be committed.
//!
//! Every method returns at once; whatever takes time runs on a task of its own and comes back as [`News`].

mod commit;
mod revoke;

use std::collections::HashMap;
use std::sync::Arc;

use kafka_proto::id::{Offset, TopicPartition};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::dead_letter::DeadLetter;
use crate::pipeline::PipelineError;
use crate::pipeline::cleared::Cleared;
use crate::pipeline::decide::{Candidate, Decided, Open};
use crate::pipeline::deciders::Deciders;
use crate::pipeline::domain::Domain;
use crate::pipeline::feed::{Batch as _, CommitFailed, Control as _, Feed, Right as _, Source};
use crate::pipeline::guard::Interrupt;
use crate::pipeline::guards::Guards;
use crate::pipeline::imported::Imported;
use crate::pipeline::left::Left;
use crate::pipeline::letters;
use crate::pipeline::lookback::Lookback;
use crate::pipeline::newest::Newest;
use crate::pipeline::observe::{IncidentEnd, Occurrence};
use crate::pipeline::order::Order;
use crate::pipeline::partition::Partition;
use crate::pipeline::pressure::{Flow, Load};
use crate::pipeline::run::{Job, Shared, run};
use crate::pipeline::work::commit::Committer;
use crate::pipeline::work::revoke::Revoking;

/// What came of something that took time.
pub(crate) enum News<R> {
    Decided(Decided<R>),
    PassedOver {
        partition: TopicPartition,
        assignment: u64,
        to: Offset,
    },
    Kept {
        partition: TopicPartition,
        assignment: u64,
        offsets: Vec<Offset>,
    },
    Ended {
        job: Box<Job<R>>,
        how: Result<IncidentEnd, Interrupt>,
    },
    /// The running job of an incident only waits for something long at a target.
    Parked {
        incident: Arc<str>,
    },
    /// It does something again.
    Resumed {
        incident: Arc<str>,
    },
    Committed {
        offsets: Vec<(TopicPartition, u64, Offset)>,
        how: Result<(), CommitFailed>,
    },
}

pub(crate) struct Work<S: Source> {
    control: S::Control,
    domain: Arc<Domain>,
    shared: Arc<Shared>,
    partitions: HashMap<TopicPartition, Partition<S::Right>>,
    order: Order<Job<S::Right>>,
    deciders: Deciders<S::Batch>,
    tell: mpsc::UnboundedSender<News<S::Right>>,
    hear: mpsc::UnboundedReceiver<News<S::Right>>,
    flow: Flow,
    committer: Committer,
    revocations: Vec<Revoking<S::Guard>>,
    assignments: u64,
    stop: CancellationToken,
    /// Everything that takes time. Dropped with the books: no task outlives the pipeline.
    tasks: JoinSet<()>,
}

/// What the ledger tells a pipeline that begins.
pub(crate) struct Remembered {
    pub(crate) left: Left,
    pub(crate) guards: Arc<Guards>,
    pub(crate) imported: Imported,
    pub(crate) lookback: Lookback,
}

impl<S: Source> Work<S> {
    pub(crate) fn new(control: S::Control, domain: Arc<Domain>, remembered: Remembered) -> Self {
        let Remembered { left, guards, imported, lookback } = remembered;
        let limits = domain.limits;
        let shared = Arc::new(Shared {
            domain: Arc::clone(&domain),
            newest: Newest::default(),
            left,
            actions: Semaphore::new(limits.max_concurrent_actions.max(1)),
            guards,
            imported,
            lookback,
            cleared: Cleared::default(),
        });
        let (tell, hear) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        let deciders = Deciders::start(&shared, &tell, &mut tasks);
        Self {
            control,
            shared,
            partitions: HashMap::new(),
            order: Order::new(limits.max_concurrent_incidents),
            deciders,
            tell,
            hear,
            flow: Flow::Open,
            committer: Committer::Idle,
            revocations: Vec::new(),
            assignments: 0,
            stop: CancellationToken::new(),
            tasks,
            domain,
        }
    }

    /// Waits for the next news. Cancel-safe.
    pub(crate) async fn news(&mut self) -> Option<News<S::Right>> {
        self.hear.recv().await
    }

    /// Lets others see which guards are tripped.
    pub(crate) fn show_guards(&self) {
        self.shared.guards.show(&self.domain);
    }

    pub(crate) fn running(&self) -> usize {
        self.order.running() + self.order.parked()
    }

    /// Takes what the source says.
    pub(crate) fn take(&mut self, feed: Feed<S::Batch, S::Guard>) {
        match feed {
            Feed::Assigned(rights) => self.assigned(rights),
            Feed::Records(batch) => self.records(batch),
            Feed::Revoking { rights, deadline, guard } => self.revoking(&rights, deadline.into(), guard),
            Feed::Lost { partitions, cause } => {
                for partition in &partitions {
                    tracing::warn!(%partition, cause, "partition lost: what has not begun is left to its new owner");
                    self.forget(partition);
                }
            }
            // The client has logged these two, with all it knows of them.
            Feed::Moved { partition, to, cause: _ } => self.moved(&partition, to),
            Feed::PassedOver { partition, last, cause: _ } => self.moved(&partition, last.next()),
        }
    }

    /// Forwards, what was read before is finished as usual. Backwards, it is read again, so what has not begun is dropped.
    fn moved(&mut self, name: &TopicPartition, to: Offset) {
        let Some(partition) = self.partitions.get(name) else { return };
        if partition.would_repeat(to) {
            let right = partition.right.clone();
            self.assigned(vec![right]);
        } else {
            self.deciders.pass_over(name, partition.assignment, to);
        }
    }

    fn assigned(&mut self, rights: Vec<S::Right>) {
        for right in rights {
            let partition = right.partition().clone();
            self.forget(&partition);
            self.assignments += 1;
            tracing::info!(%partition, generation = right.generation().get(), "partition assigned");
            if self.flow == Flow::Paused {
                self.control.pause(std::slice::from_ref(&partition));
            }
            self.partitions.insert(partition, Partition::new(right, self.assignments, self.stop.child_token()));
        }
    }

    /// Drops a partition without a commit.
    fn forget(&mut self, partition: &TopicPartition) {
        let Some(gone) = self.partitions.remove(partition) else { return };
        gone.stop.cancel();
        self.order.forget(|job| job.assignment == gone.assignment);
    }

    fn records(&mut self, batch: S::Batch) {
        let name = batch.right().partition().clone();
        let Some(partition) = self.partitions.get_mut(&name).filter(|of| of.right.is(batch.right())) else { return };
        partition.read(batch.next_offset());
        self.deciders.decide(&name, partition.assignment, batch);
    }

    /// Takes what a task came to.
    pub(crate) fn hear(&mut self, news: Option<News<S::Right>>) -> Result<(), PipelineError> {
        match news {
            Some(News::Decided(decided)) => self.decided(decided)?,
            Some(News::PassedOver { partition, assignment, to }) => {
                if let Some(partition) = self.partitions.get_mut(&partition).filter(|of| of.assignment == assignment) {
                    partition.passed_over(to);
                }
            }
            Some(News::Kept { partition, assignment, offsets }) => {
                for offset in offsets {
                    self.done(&partition, assignment, offset);
                }
            }
            Some(News::Ended { job, how }) => self.ended(&job, how)?,
            Some(News::Parked { incident }) => self.order.park(&incident),
            Some(News::Resumed { incident }) => self.order.resume(&incident),
            Some(News::Committed { offsets, how }) => {
                self.committer = Committer::Idle;
                self.committed(offsets, how);
            }
            // We hold a sender ourselves.
            None => {}
        }
        Ok(())
    }

    fn decided(&mut self, decided: Decided<S::Right>) -> Result<(), PipelineError> {
        self.deciders.answered(&decided);
        let name = decided.right.partition().clone();
        let partition = self.partitions.get_mut(&name);
        // What is on its way out takes nothing more: its records are read again by whoever gets it.
        let current = |of: &&mut Partition<S::Right>| of.assignment == decided.assignment && !of.stop.is_cancelled();
        let Some(partition) = partition.filter(current) else { return Ok(()) };
        partition.decided(&decided).map_err(|error| PipelineError::Broken(format!("{name}: {error}")))?;
        let (assignment, stop, right) = (partition.assignment, partition.stop.clone(), partition.right.clone());
        let mut letters = Vec::new();
        let (arrived, records, bytes) = (decided.arrived, decided.records, decided.size);
        let rules = decided.rules;
        let open = decided.open.len();
        for open in decided.open {
            match open {
                Open::Malformed(letter) => letters.push(letter),
                Open::Matched(Candidate { offset, incident, updated_on, matched, value, span }) => {
                    let (right, stop, rules) = (right.clone(), stop.clone(), Arc::clone(&rules));
                    self.order.push(Job {
                        incident,
                        updated_on,
                        matched,
                        rules,
                        value,
                        span,
                        offset,
                        right,
                        assignment,
                        stop,
                        arrived,
                    });
                }
            }
        }
        let (malformed, took) = (letters.len(), arrived.elapsed());
        let seen = Occurrence::Decided { partition: &name, records, bytes, matched: open - malformed, malformed, took };
        self.domain.observer.observe(&seen);
        if !letters.is_empty() {
            self.keep(name, assignment, stop, letters);
        }
        Ok(())
    }

    fn keep(&mut self, partition: TopicPartition, assignment: u64, stop: CancellationToken, letters: Vec<DeadLetter>) {
        let (domain, tell) = (Arc::clone(&self.domain), self.tell.clone());
        self.tasks.spawn(async move {
            let offsets = letters.iter().map(|letter| Offset(letter.offset)).collect();
            if letters::keep(&domain, &stop, letters).await.is_ok() {
                let _ = tell.send(News::Kept { partition, assignment, offsets });
            }
        });
    }

    fn ended(&mut self, job: &Job<S::Right>, how: Result<IncidentEnd, Interrupt>) -> Result<(), PipelineError> {
        self.order.finished(&job.incident);
        if let Some(partition) = self.partitions.get_mut(job.partition()).filter(|of| of.assignment == job.assignment) {
            partition.running -= 1;
        }
        match how {
            Ok(_) => self.done(job.partition(), job.assignment, job.offset),
            Err(Interrupt::Dropped(_) | Interrupt::Again(_)) => {}
            Err(Interrupt::Broken(reason)) => return Err(PipelineError::Broken(reason)),
        }
        self.finish_revocations();
        Ok(())
    }

    fn done(&mut self, partition: &TopicPartition, assignment: u64, offset: Offset) {
        if let Some(partition) = self.partitions.get_mut(partition).filter(|of| of.assignment == assignment) {
            partition.done(offset);
        }
    }

    /// Starts what may start, and lets records flow or not.
    pub(crate) fn go_on(&mut self) {
        while let Some(mut job) = self.order.start() {
            if let Some(partition) =
                self.partitions.get_mut(job.partition()).filter(|of| of.assignment == job.assignment)
            {
                partition.running += 1;
            }
            let (shared, tell) = (Arc::clone(&self.shared), self.tell.clone());
            let span = tracing::info_span!(
                "incident", incident = %job.incident, condition = job.condition(),
                partition = %job.partition(), offset = job.offset.get()
            );
            let whole = job.span.clone();
            let task = async move {
                let how = run(&mut job, &shared, tell.clone()).await;
                let _ = tell.send(News::Ended { job: Box::new(job), how });
            };
            self.tasks.spawn(task.instrument(span).instrument(whole));
        }
        while self.tasks.try_join_next().is_some() {}
        self.press();
        let (running, waiting) = (self.order.running(), self.order.waiting());
        self.domain.status.set(running, waiting, self.deciders.batches(), self.partitions.len());
    }

    fn press(&mut self) {
        let load = Load {
            batches: self.deciders.batches(),
            batch_bytes: self.deciders.bytes(),
            jobs: self.order.waiting(),
            job_bytes: self.order.waiting_bytes(),
            open: self.partitions.values().map(Partition::open).max().unwrap_or_default(),
        };
        let flow = self.flow.under(&load);
        if flow == self.flow {
            return;
        }
        self.flow = flow;
        let all: Vec<_> = self.partitions.keys().cloned().collect();
        match flow {
            Flow::Paused => self.control.pause(&all),
            Flow::Open => self.control.resume(&all),
        }
        tracing::debug!(?flow, ?load, "back-pressure");
        self.domain.observer.observe(&Occurrence::BackPressure(flow == Flow::Paused));
    }

    /// Nothing new starts from here on.
    pub(crate) fn call_off(&mut self) {
        self.stop.cancel();
        self.order.forget(|_| true);
        self.deciders.close();
    }
}
