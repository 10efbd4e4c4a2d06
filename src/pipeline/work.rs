//! The books of the polling task: partitions, what is being decided, what runs, what may be committed.
//!
//! Every method returns at once; whatever takes time runs on a task of its own and comes back as [`News`].

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use kafka_proto::id::{Offset, TopicPartition};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::dead_letter::DeadLetter;
use crate::pipeline::PipelineError;
use crate::pipeline::decide::{Candidate, Decided, Open, decide};
use crate::pipeline::domain::Domain;
use crate::pipeline::feed::{Batch as _, Commit, CommitFailed, Control as _, Feed, Right as _, Source};
use crate::pipeline::guard::{Interrupt, pause};
use crate::pipeline::newest::Newest;
use crate::pipeline::observe::{Halt, IncidentEnd, Occurrence};
use crate::pipeline::order::Order;
use crate::pipeline::partition::Partition;
use crate::pipeline::run::{Job, Shared, run};

/// Tasks that decide. One core decides more than a gigabyte a minute; two keep a slow batch from holding up the others.
const DECIDERS: usize = 2;
/// Above this partitions are paused; below half of it they are resumed.
const HIGH: Load = Load { batches: 8, batch_bytes: 8 << 20, jobs: 1024, job_bytes: 8 << 20, open: 8192 };
/// Before a revocation's deadline by this much, its commit is sent whatever still runs.
const COMMIT_MARGIN: Duration = Duration::from_millis(1500);
/// Wait before dead letters that could not be kept are tried again.
const KEEPS_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// What came of something that took time.
pub(crate) enum News<R> {
    Decided(Decided<R>),
    PassedOver { partition: TopicPartition, assignment: u64, to: Offset },
    Kept { partition: TopicPartition, assignment: u64, offsets: Vec<Offset> },
    Ended { job: Box<Job<R>>, how: Result<IncidentEnd, Interrupt> },
    Committed { offsets: Vec<(TopicPartition, u64, Offset)>, how: Result<(), CommitFailed> },
}

/// How much waits.
#[derive(Clone, Copy, Debug)]
struct Load {
    batches: usize,
    batch_bytes: usize,
    jobs: usize,
    job_bytes: usize,
    /// In one partition, behind an unfinished record.
    open: usize,
}

impl Load {
    fn exceeds(&self, of: usize) -> bool {
        let over = |is: usize, most: usize| is > most / of;
        over(self.batches, HIGH.batches)
            || over(self.batch_bytes, HIGH.batch_bytes)
            || over(self.jobs, HIGH.jobs)
            || over(self.job_bytes, HIGH.job_bytes)
            || over(self.open, HIGH.open)
    }
}

/// Whether records flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    Open,
    Paused,
}

/// Whether a periodic commit is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Committer {
    Idle,
    Busy,
}

/// What a decider is given. Offsets that were passed over go the same way as records, so that the order is kept.
enum Ask<B> {
    Decide { assignment: u64, batch: B },
    PassedOver { partition: TopicPartition, assignment: u64, to: Offset },
}

struct Revoking<G> {
    partitions: Vec<(TopicPartition, u64)>,
    due: Instant,
    guard: G,
}

pub(crate) struct Work<S: Source> {
    control: S::Control,
    domain: Arc<Domain>,
    shared: Arc<Shared>,
    partitions: HashMap<TopicPartition, Partition<S::Right>>,
    order: Order<Job<S::Right>>,
    deciders: Vec<mpsc::UnboundedSender<Ask<S::Batch>>>,
    tell: mpsc::UnboundedSender<News<S::Right>>,
    hear: mpsc::UnboundedReceiver<News<S::Right>>,
    deciding: usize,
    deciding_bytes: usize,
    flow: Flow,
    committer: Committer,
    revocations: Vec<Revoking<S::Guard>>,
    assignments: u64,
    stop: CancellationToken,
}

impl<S: Source> Work<S> {
    pub(crate) fn new(control: S::Control, domain: Arc<Domain>) -> Self {
        let limits = domain.limits;
        let shared = Arc::new(Shared {
            domain: Arc::clone(&domain),
            newest: Newest::default(),
            actions: Semaphore::new(limits.max_concurrent_actions.max(1)),
        });
        let (tell, hear) = mpsc::unbounded_channel();
        let deciders = (0..DECIDERS).map(|_| decider::<S>(Arc::clone(&shared), tell.clone())).collect();
        Self {
            control,
            shared,
            partitions: HashMap::new(),
            order: Order::new(limits.max_concurrent_incidents),
            deciders,
            tell,
            hear,
            deciding: 0,
            deciding_bytes: 0,
            flow: Flow::Open,
            committer: Committer::Idle,
            revocations: Vec::new(),
            assignments: 0,
            stop: CancellationToken::new(),
            domain,
        }
    }

    /// Waits for the next news. Cancel-safe.
    pub(crate) async fn news(&mut self) -> Option<News<S::Right>> {
        self.hear.recv().await
    }

    pub(crate) fn running(&self) -> usize {
        self.order.running()
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
            Feed::Moved { partition, to, cause } => {
                tracing::warn!(%partition, to = to.get(), cause, "reading goes on at another offset");
                self.moved(&partition, to);
            }
            Feed::PassedOver { partition, last, cause } => {
                tracing::error!(%partition, last = last.get(), cause, "offsets that cannot be read were passed over");
                self.moved(&partition, last.next());
            }
        }
    }

    /// Forwards, what was read before is finished as usual. Backwards, it is read again, so what has not begun is dropped.
    fn moved(&mut self, name: &TopicPartition, to: Offset) {
        let Some(partition) = self.partitions.get(name) else { return };
        if partition.would_repeat(to) {
            let right = partition.right.clone();
            self.assigned(vec![right]);
        } else {
            let assignment = partition.assignment;
            let _ = self
                .decider(name)
                .map(|decider| decider.send(Ask::PassedOver { partition: name.clone(), assignment, to }));
        }
    }

    /// One partition always goes to the same task, so that its batches stay in order.
    fn decider(&self, partition: &TopicPartition) -> Option<&mpsc::UnboundedSender<Ask<S::Batch>>> {
        let mut hasher = DefaultHasher::new();
        partition.hash(&mut hasher);
        let slot = hasher.finish().checked_rem(self.deciders.len() as u64)?;
        self.deciders.get(usize::try_from(slot).ok()?)
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
        let (assignment, size) = (partition.assignment, batch.size());
        if self.decider(&name).is_some_and(|decider| decider.send(Ask::Decide { assignment, batch }).is_ok()) {
            self.deciding += 1;
            self.deciding_bytes += size;
        }
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
        self.deciding -= 1;
        self.deciding_bytes -= decided.size;
        let name = decided.right.partition().clone();
        let Some(partition) = self.partitions.get_mut(&name).filter(|of| of.assignment == decided.assignment) else {
            return Ok(());
        };
        partition.decided(&decided).map_err(|error| PipelineError::Broken(format!("{name}: {error}")))?;
        let (assignment, stop, right) = (partition.assignment, partition.stop.clone(), partition.right.clone());
        let mut letters = Vec::new();
        let (arrived, records, bytes) = (decided.arrived, decided.records, decided.size);
        let open = decided.open.len();
        for open in decided.open {
            match open {
                Open::Malformed(letter) => letters.push(letter),
                Open::Matched(Candidate { offset, incident, updated_on, matched, value }) => {
                    let (right, stop) = (right.clone(), stop.clone());
                    self.order.push(Job {
                        incident,
                        updated_on,
                        matched,
                        value,
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

    fn keep(&self, partition: TopicPartition, assignment: u64, stop: CancellationToken, letters: Vec<DeadLetter>) {
        let (domain, tell) = (Arc::clone(&self.domain), self.tell.clone());
        tokio::spawn(async move {
            let offsets = letters.iter().map(|letter| Offset(letter.offset)).collect();
            if kept(&domain, &stop, letters).await.is_ok() {
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
            Err(Interrupt::Dropped(_)) => {}
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
        while let Some(job) = self.order.start() {
            if let Some(partition) =
                self.partitions.get_mut(job.partition()).filter(|of| of.assignment == job.assignment)
            {
                partition.running += 1;
            }
            let (shared, tell) = (Arc::clone(&self.shared), self.tell.clone());
            let span = tracing::info_span!(
                "incident", incident = %job.incident, condition = %job.matched.condition.name,
                partition = %job.partition(), offset = job.offset.get()
            );
            let task = async move {
                let how = run(&job, &shared).await;
                let _ = tell.send(News::Ended { job: Box::new(job), how });
            };
            tokio::spawn(task.instrument(span));
        }
        self.press();
        self.domain.status.set(self.order.running(), self.order.waiting(), self.deciding, self.partitions.len());
    }

    fn press(&mut self) {
        let load = Load {
            batches: self.deciding,
            batch_bytes: self.deciding_bytes,
            jobs: self.order.waiting(),
            job_bytes: self.order.waiting_bytes(),
            open: self.partitions.values().map(Partition::open).max().unwrap_or_default(),
        };
        let flow = match self.flow {
            Flow::Open if load.exceeds(1) => Flow::Paused,
            Flow::Paused if !load.exceeds(2) => Flow::Open,
            same => same,
        };
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

    fn revoking(&mut self, rights: &[S::Right], deadline: Instant, guard: S::Guard) {
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
            tokio::spawn(async move {
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

    /// Commits what is new, unless a commit is under way.
    pub(crate) fn commit(&mut self) {
        let offsets: Vec<_> = self.partitions.values().filter_map(Partition::to_commit).collect();
        if offsets.is_empty() || self.committer == Committer::Busy {
            return;
        }
        self.committer = Committer::Busy;
        let (control, tell) = (self.control.clone(), self.tell.clone());
        let assignments: Vec<_> = offsets.iter().filter_map(|commit| self.named(commit)).collect();
        tokio::spawn(async move {
            let how = control.commit(offsets).await;
            let _ = tell.send(News::Committed { offsets: assignments, how });
        });
    }

    fn named(&self, commit: &Commit<S::Right>) -> Option<(TopicPartition, u64, Offset)> {
        let name = commit.right.partition();
        Some((name.clone(), self.partitions.get(name)?.assignment, commit.next))
    }

    fn committed(&mut self, offsets: Vec<(TopicPartition, u64, Offset)>, how: Result<(), CommitFailed>) {
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

    /// Nothing new starts from here on.
    pub(crate) fn call_off(&mut self) {
        self.stop.cancel();
        self.order.forget(|_| true);
        self.deciders.clear();
    }

    /// Commits everything that is finished; whether that succeeded.
    pub(crate) async fn last_commit(&mut self) -> bool {
        let offsets: Vec<_> = self.partitions.values().filter_map(Partition::to_commit).collect();
        commit_last(&self.control, &self.domain, offsets).await
    }
}

async fn commit_last<C: crate::pipeline::feed::Control>(
    control: &C,
    domain: &Domain,
    offsets: Vec<Commit<C::Right>>,
) -> bool {
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

fn decider<S: Source>(
    shared: Arc<Shared>,
    tell: mpsc::UnboundedSender<News<S::Right>>,
) -> mpsc::UnboundedSender<Ask<S::Batch>> {
    let (sender, mut inbox) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(ask) = inbox.recv().await {
            let news = match ask {
                Ask::Decide { assignment, batch } => {
                    News::Decided(decide::<S::Batch>(&batch, assignment, &shared.domain, &shared.newest))
                }
                Ask::PassedOver { partition, assignment, to } => News::PassedOver { partition, assignment, to },
            };
            if tell.send(news).is_err() {
                break;
            }
        }
    });
    sender
}

/// Keeps dead letters, trying again while the disk refuses.
async fn kept(domain: &Domain, stop: &CancellationToken, letters: Vec<DeadLetter>) -> Result<(), Interrupt> {
    for letter in &letters {
        let DeadLetter { topic, partition, offset, reason, .. } = letter;
        tracing::warn!(topic, partition, offset, reason, "dead letter: the record is no incident");
    }
    let Some(file) = &domain.dead_letters else { return Ok(()) };
    loop {
        match file.keep(letters.clone()).await {
            Ok(()) => {
                domain.status.halt(Halt::DeadLetters, None);
                return Ok(());
            }
            Err(error) => {
                if domain.status.halt(Halt::DeadLetters, Some(error.to_string())) {
                    tracing::error!(%error, "dead letters wait; their partitions are not committed past them");
                }
                pause(KEEPS_AGAIN_AFTER, stop).await?;
            }
        }
    }
}
