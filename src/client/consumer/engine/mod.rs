//! The engine: one task that owns the assigned partitions and everything that happens to them.
//!
//! It takes in what the group, the brokers, the metadata and the application say, lets the machines of `fetcher` decide,
//! and sends what is due; every wait for the network is a task of its own that comes back as an [`Outcome`]. So nothing in
//! here blocks, and no state needs a lock. Where things are: assignments in [`group`], questions about offsets in
//! [`questions`], fetching in [`fetches`].

mod fetches;
mod group;
mod questions;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kafka_proto::backoff::Backoff;
use kafka_proto::error_code::ErrorCode;
use kafka_proto::id::{BrokerId, Generation, TopicPartition};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use crate::client::cluster::{Cluster, Metadata};
use crate::client::consumer::config::ConsumerConfig;
use crate::client::consumer::{ConsumerHandle, FatalError, Shared};
use crate::client::fetcher::{Broker, Damage, Effect, Leader, Partition, Policies, Stage, Work};
use crate::client::flight::{FlightRecorder, FlightStep, Named};
use crate::client::group::Group;
use crate::client::offsets::{Coordinator, Member};
use crate::client::ownership::{Ownership, Standing};
use crate::client::queue::Item;
use crate::client::reader::StartAt;
use crate::client::request::TopicId;

use fetches::Fetched;
use group::PendingRevocation;
use questions::Answered;

/// The longest the engine sleeps without looking at its deadlines.
const NAP_MAX: Duration = Duration::from_secs(1);

/// What the application asks of the engine.
pub(crate) enum Command {
    /// It came back after `max.poll.interval.ms` had passed.
    Polled,
    /// A batch could not be opened.
    Damaged { ownership: Ownership, at: kafka_proto::id::Offset, damage: Damage },
    /// Stop fetching, leave the group, answer.
    Close { answer: oneshot::Sender<()> },
}

/// What came of something that waited for the network.
enum Outcome {
    Answered(Answered),
    Fetched(Fetched),
    Revoked(PendingRevocation),
    /// A connection is open, or is not: whoever needs it will see.
    Warmed,
}

/// Whether the engine goes on.
enum Flow {
    On,
    /// After those that have something to do now.
    OnAfterOthers,
    Stop,
}

/// The group, and what of it is told to others.
pub(crate) struct InGroup {
    pub(crate) group: Group,
    /// Whom the offsets are asked of.
    pub(crate) coordinator: Arc<Coordinator>,
    /// As whom the committer commits.
    pub(crate) member: watch::Sender<Option<Member>>,
}

/// What others want of the engine.
pub(crate) struct Inbox {
    /// The application.
    pub(crate) commands: mpsc::UnboundedReceiver<Command>,
    /// The committer: refusals that concern the membership.
    pub(crate) rejections: mpsc::UnboundedReceiver<(Generation, ErrorCode)>,
}

/// What the engine is made of; see the module.
pub(crate) struct Engine {
    shared: Arc<Shared>,
    config: Arc<ConsumerConfig>,
    cluster: Cluster,
    membership: InGroup,
    inbox: Inbox,
    /// Where to begin, for a reader without a group.
    starts: BTreeMap<TopicPartition, StartAt>,
    metadata: watch::Receiver<Arc<Metadata>>,
    policies: Policies,
    partitions: BTreeMap<TopicPartition, Partition>,
    brokers: BTreeMap<BrokerId, Broker>,
    topic_ids: BTreeMap<Arc<str>, TopicId>,
    /// The partitions of each topic that are not new.
    baseline: BTreeMap<Arc<str>, i32>,
    assignments: u64,
    reserved_bytes: usize,
    tasks: JoinSet<Outcome>,
    closing: Option<oneshot::Sender<()>>,
}

impl Engine {
    pub(crate) fn new(
        shared: Arc<Shared>,
        config: Arc<ConsumerConfig>,
        membership: InGroup,
        inbox: Inbox,
        starts: BTreeMap<TopicPartition, StartAt>,
    ) -> Self {
        let client = &config.client;
        let retry = Backoff::new(client.retry_backoff, client.retry_backoff_max);
        let policies = Policies {
            reset: config.auto_offset_reset,
            corrupt: config.corrupt_batch_policy,
            fetch_bytes: config.max_partition_fetch_bytes,
            fetch_bytes_cap: client.receive_message_max_bytes.saturating_sub(64 * 1024),
            retry,
        };
        Self {
            metadata: shared.cluster.metadata(),
            cluster: shared.cluster.clone(),
            shared,
            config,
            membership,
            inbox,
            starts,
            policies,
            partitions: BTreeMap::new(),
            brokers: BTreeMap::new(),
            topic_ids: BTreeMap::new(),
            baseline: BTreeMap::new(),
            assignments: 0,
            reserved_bytes: 0,
            tasks: JoinSet::new(),
            closing: None,
        }
    }

    /// Runs until the group is left, the member is refused for good, or the consumer is dropped.
    pub(crate) async fn run(mut self) {
        self.follow_metadata();
        self.warm_up();
        loop {
            let now = Instant::now();
            self.look_at_the_poll_interval(now);
            self.fetch_what_is_due(now);
            // After the fetches, which questions must not wait behind.
            self.ask_what_is_due(now);
            match self.step(now).await {
                Flow::On => {}
                Flow::OnAfterOthers => tokio::task::yield_now().await,
                Flow::Stop => break,
            }
        }
        self.let_everything_go(Standing::Lost);
    }

    /// While the group is being joined, connections to the leaders are opened. Not before the group has its own, which is what
    /// everything waits for. A reader was told where to begin and reads at once.
    fn warm_up(&mut self) {
        if self.starts.is_empty() {
            let cluster = self.cluster.clone();
            let mut group = self.shared.group.clone();
            self.tasks.spawn(async move {
                // An error is a group that has ended.
                if group.wait_for(|status| status.coordinator.is_some()).await.is_ok() {
                    cluster.warm_leaders().await;
                }
                Outcome::Warmed
            });
        }
    }

    async fn step(&mut self, now: Instant) -> Flow {
        let nap = self.nap(now);
        tokio::select! {
            event = self.membership.group.next() => self.group_says(event),
            Some(outcome) = self.tasks.join_next() => self.came_back(outcome),
            Ok(()) = self.metadata.changed() => {
                self.follow_metadata();
                Flow::On
            }
            command = self.inbox.commands.recv() => self.obey(command),
            Some((generation, error)) = self.inbox.rejections.recv() => {
                self.membership.group.commit_rejected(generation, error);
                Flow::On
            }
            () = self.shared.queues.drained() => Flow::On,
            () = tokio::time::sleep(nap) => Flow::On,
        }
    }

    /// Until the nearest deadline.
    fn nap(&self, now: Instant) -> Duration {
        let retries = self.partitions.values().filter_map(|partition| match &partition.work {
            Work::Waiting { until, .. } => Some(*until),
            Work::Idle | Work::InFlight => None,
        });
        let brokers = self.brokers.values().filter_map(Broker::wakes_at);
        // What is in the past was looked at just now and waits for something else.
        let questions = self.brokers.values().filter_map(|broker| broker.questions_from);
        let nearest = retries.chain(brokers).chain(questions).filter(|at| *at > now).min();
        let until = nearest.map_or(NAP_MAX, |at| at.saturating_duration_since(now));
        until
            .min(NAP_MAX)
            .min(self.shared.poll.remaining(now, self.config.max_poll_interval))
            .max(Duration::from_millis(1))
    }

    fn came_back(&mut self, outcome: Result<Outcome, tokio::task::JoinError>) -> Flow {
        match outcome {
            Ok(Outcome::Answered(answered)) => self.answered(answered),
            Ok(Outcome::Fetched(fetched)) => return self.fetched(fetched),
            Ok(Outcome::Revoked(revocation)) => self.revoked(&revocation),
            Err(error) if error.is_panic() => {
                self.shared.fail(FatalError::Defect);
                return Flow::Stop;
            }
            Ok(Outcome::Warmed) | Err(_) => {}
        }
        Flow::On
    }

    fn obey(&mut self, command: Option<Command>) -> Flow {
        match command {
            // The consumer was dropped without a word: no leave, the group notices at the session timeout.
            None => return Flow::Stop,
            Some(Command::Polled) => self.membership.group.polled(),
            Some(Command::Damaged { ownership, at, damage }) => self.damaged_at_opening(&ownership, at, damage),
            Some(Command::Close { answer }) => self.close(answer),
        }
        Flow::On
    }

    fn close(&mut self, answer: oneshot::Sender<()>) {
        self.let_everything_go(Standing::Revoking);
        self.membership.group.leave("the consumer was closed".to_owned());
        self.closing = Some(answer);
    }

    fn look_at_the_poll_interval(&mut self, now: Instant) {
        if self.closing.is_none() && self.shared.poll.expire(now, self.config.max_poll_interval) {
            self.flight().record(FlightStep::PollIntervalPassed, format_args!("{:?}", self.config.max_poll_interval));
            tracing::warn!(limit = ?self.config.max_poll_interval, "next() was not called within max.poll.interval.ms: leaving the group until it is");
            self.membership.group.poll_deadline_passed();
        }
    }

    /// Ends all assignments.
    fn let_everything_go(&mut self, standing: Standing) {
        for (_, partition) in std::mem::take(&mut self.partitions) {
            self.close_partition(&partition, standing);
        }
    }

    fn close_partition(&self, partition: &Partition, standing: Standing) {
        partition.ownership.become_at_least(standing);
        self.shared.queues.close(&partition.ownership);
        self.shared.board.close(partition.name());
    }

    /// Leaders, epochs and topic ids as the brokers see them now. What moved is one step for each new leader.
    fn follow_metadata(&mut self) {
        let metadata = Arc::clone(&self.metadata.borrow_and_update());
        // Not before the first assignment: a topic may be in error for a moment, and have no partitions as long.
        if self.assignments > 0 {
            self.learn_baseline(&metadata);
        }
        let mut moved: BTreeMap<Leader, Vec<TopicPartition>> = BTreeMap::new();
        for partition in self.partitions.values_mut() {
            if let (true, Some(leader)) =
                (partition.leader_is(leader_in(&metadata, partition.name())), partition.leader)
            {
                moved.entry(leader).or_default().push(partition.name().clone());
            }
        }
        for (Leader { id, epoch }, partitions) in moved {
            let detail = format_args!("broker {id} in epoch {epoch}: {}", Named(&partitions));
            self.flight().record(FlightStep::LeaderMoved, detail);
        }
        for (name, id) in topic_ids_in(&metadata) {
            let before = self.topic_ids.insert(Arc::clone(&name), id);
            if before.is_some_and(|before| before != id) {
                self.topic_was_recreated(&name);
                for partition in self.partitions.values_mut().filter(|partition| partition.name().topic == name) {
                    partition.leader_is(leader_in(&metadata, partition.name()));
                }
            }
        }
        self.want_leaders();
        self.note_all();
    }

    /// A partition that is ours and that the metadata does not know yet was seen by another member first (fault G20).
    fn want_leaders(&self) {
        if self.partitions.values().any(|partition| partition.leader.is_none()) {
            self.cluster.request_refresh();
        }
    }

    fn topic_was_recreated(&mut self, topic: &Arc<str>) {
        self.flight().record(FlightStep::TopicRecreated, topic);
        tracing::warn!(%topic, "the topic was deleted and created again: its offsets start anew");
        let names: Vec<_> = self.partitions.keys().filter(|name| name.topic == *topic).cloned().collect();
        for name in names {
            let Some(partition) = self.partitions.get_mut(&name) else { continue };
            let effects = partition.topic_was_recreated();
            self.apply(&name, effects);
        }
    }

    /// Does what a partition wants done, and notes where it stands.
    fn apply(&mut self, name: &TopicPartition, effects: Vec<Effect>) {
        let Some(partition) = self.partitions.get(name) else { return };
        for effect in effects {
            match effect {
                Effect::Push(item) => {
                    self.count(&item);
                    self.shared.queues.push(&partition.ownership, item);
                }
                Effect::TruncateQueue(from) => {
                    self.shared.queues.truncate(&partition.ownership, from);
                    partition.ownership.rewind(from);
                }
                Effect::RefreshMetadata => self.cluster.request_refresh(),
            }
        }
        self.note(name);
    }

    fn count(&self, item: &Item) {
        use crate::client::event::Event;
        match item {
            Item::Notice(Event::OffsetReset { partition, from, to, cause }) => {
                tracing::warn!(%partition, ?from, %to, ?cause, "the position was reset");
                let before = from.map_or_else(|| "nowhere".to_owned(), |from| from.to_string());
                let detail = format_args!("{partition} from {before} to {to}: {cause:?}");
                self.flight().record(FlightStep::PositionReset, detail);
                self.shared.board.count(|counters| counters.resets = counters.resets.saturating_add(1));
            }
            Item::Notice(Event::Skipped { partition, first, last, cause }) => {
                tracing::error!(%partition, %first, %last, ?cause, "an unreadable batch was passed over");
                let detail = format_args!("{partition} from {first} to {last}: {cause:?}");
                self.flight().record(FlightStep::Skipped, detail);
                self.shared
                    .board
                    .count(|counters| counters.skipped_batches = counters.skipped_batches.saturating_add(1));
            }
            Item::Notice(Event::Truncated { partition, position, diverged_at }) => {
                tracing::warn!(%partition, %position, %diverged_at, "the log was truncated below what was read");
                let detail = format_args!("{partition} at {position}: the log differs from {diverged_at} on");
                self.flight().record(FlightStep::Truncated, detail);
            }
            Item::Notice(_) | Item::Batch { .. } | Item::Gap { .. } => {}
        }
    }

    fn note(&self, name: &TopicPartition) {
        if let Some(partition) = self.partitions.get(name) {
            if let (Stage::Parked { at, cause }, Work::Idle) = (&partition.stage, &partition.work) {
                tracing::error!(partition = %name, ?at, ?cause, "the partition is parked");
                self.flight().record(FlightStep::Parked, format_args!("{name}: {cause:?}"));
            }
            self.shared.board.note(name, |notes| notes.follow(partition));
        }
    }

    fn note_all(&self) {
        for (name, partition) in &self.partitions {
            self.shared.board.note(name, |notes| notes.follow(partition));
        }
    }

    /// The partition, if `ownership` is still its assignment.
    fn partition_of(&mut self, ownership: &Ownership) -> Option<&mut Partition> {
        self.partitions.get_mut(ownership.partition()).filter(|partition| partition.ownership == *ownership)
    }

    fn flight(&self) -> &FlightRecorder {
        self.cluster.flight()
    }

    fn handle(&self) -> ConsumerHandle {
        ConsumerHandle::new(Arc::clone(&self.shared))
    }
}

fn leader_in(metadata: &Metadata, name: &TopicPartition) -> Option<Leader> {
    metadata.leader(name).map(|(id, epoch)| Leader { id, epoch })
}

fn topic_ids_in(metadata: &Metadata) -> Vec<(Arc<str>, TopicId)> {
    metadata.topics.iter().filter_map(|(name, topic)| Some((Arc::clone(name), topic.id?))).collect()
}
