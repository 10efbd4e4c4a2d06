//! The thread: a runtime of its own, the membership machine, and the loop that carries out what it wants.
//!
//! Every wait for the network is a task that comes back as an answer, so the loop itself never waits for anything but
//! the next thing to happen.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use kafka_proto::assignor::PartitionCounts;
use kafka_proto::error_code::ErrorCode;
use kafka_proto::id::{BrokerId, Generation};
use kafka_proto::membership::{Answer, AskId, Coordinator, Input, JoinAsk, Membership, MembershipConfig, Output};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};

use crate::client::cluster::{Cluster, Metadata};
use crate::client::flight::{FlightRecorder, FlightStep};
use crate::client::group::exchange::{self, HeldBack};
use crate::client::group::{GroupEvent, GroupStatus};
use crate::client::ownership::SessionFence;

/// Where the thread says what became of the membership.
pub(super) struct Outlets {
    pub(super) fence: Arc<SessionFence>,
    pub(super) events: mpsc::Sender<GroupEvent>,
    pub(super) status: watch::Sender<GroupStatus>,
}

/// However the thread ends, nothing is owned after it.
impl Drop for Outlets {
    fn drop(&mut self) {
        self.fence.end_term();
    }
}

/// Starts the thread. If that is impossible the events end at once, which the engine reports.
pub(super) fn spawn(
    config: MembershipConfig,
    cluster: Cluster,
    outlets: Outlets,
    commands: mpsc::UnboundedReceiver<Input>,
) {
    let life = move || {
        let ended = std::panic::catch_unwind(AssertUnwindSafe(|| live(config, cluster, outlets, commands)));
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the group thread has no runtime"),
            Err(_) => tracing::error!("the group thread panicked; the membership is over"),
        }
    };
    if let Err(error) = std::thread::Builder::new().name("kafka-group".to_owned()).spawn(life) {
        tracing::error!(%error, "cannot start the group thread");
    }
}

fn live(
    config: MembershipConfig,
    cluster: Cluster,
    outlets: Outlets,
    commands: mpsc::UnboundedReceiver<Input>,
) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(Life::new(config, cluster, outlets).run(commands));
    // A task that hangs in a resolver thread is not waited for.
    runtime.shutdown_background();
    Ok(())
}

/// Whether the loop goes on.
#[derive(PartialEq, Eq)]
enum Flow {
    On,
    Stop,
}

struct Life {
    machine: Membership,
    topics: Vec<Arc<str>>,
    cluster: Cluster,
    outlets: Outlets,
    tasks: JoinSet<(AskId, Answer)>,
    held_back: HeldBack,
    /// The join or sync under way, or the question in between.
    rebalancing: Option<AbortHandle>,
    /// How often was joined, by reason, and the last one.
    joins: BTreeMap<&'static str, u64>,
    last_join: Option<String>,
}

impl Life {
    fn new(config: MembershipConfig, cluster: Cluster, outlets: Outlets) -> Self {
        Self {
            topics: config.topics.clone(),
            machine: Membership::new(config, Instant::now()),
            cluster,
            outlets,
            tasks: JoinSet::new(),
            held_back: HeldBack::default(),
            rebalancing: None,
            joins: BTreeMap::new(),
            last_join: None,
        }
    }

    /// Until the group is left, refused for good, or dropped.
    async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Input>) {
        let mut metadata = self.cluster.metadata();
        metadata.mark_changed();
        let mut before = Stand::of(&self.machine);
        while self.carry_out() == Flow::On && !self.machine.state().is_over() {
            let due = self.machine.poll_timeout();
            let input = tokio::select! {
                biased;
                command = commands.recv() => match command {
                    Some(input) => input,
                    None => return,
                },
                Some(ended) = self.tasks.join_next() => match ended {
                    Ok((id, answer)) => Input::Answered(id, answer),
                    Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                    Err(_) => Input::Tick,
                },
                () = sleep_until(due) => Input::Tick,
                Ok(()) = metadata.changed() => match topic_counts(&metadata.borrow_and_update(), &self.topics) {
                    Some(counts) => Input::TopicsChanged(counts),
                    None => continue,
                },
            };
            let what = name(&input);
            self.note_refusal(&input);
            self.machine.handle(Instant::now(), input);
            before = before.log_change(Stand::of(&self.machine), what, self.cluster.flight());
        }
    }

    /// Sends what is to be sent and tells what is to be told. A loss is fenced before anything else happens, and a new
    /// deadline stands before the assignment that relies on it is told.
    fn carry_out(&mut self) -> Flow {
        let mut outputs = Vec::new();
        while let Some(output) = self.machine.poll() {
            outputs.push(output);
        }
        let lost = outputs.iter().any(|output| matches!(output, Output::Lost { .. }));
        if lost && self.machine.owned().is_empty() {
            self.outlets.fence.end_term();
        }
        self.outlets.fence.set(self.machine.fenced_after());
        self.show();
        for output in outputs {
            if self.perform(output) == Flow::Stop {
                return Flow::Stop;
            }
        }
        Flow::On
    }

    fn perform(&mut self, output: Output) -> Flow {
        let cluster = self.cluster.clone();
        match output {
            Output::FindCoordinator(ask) => {
                self.tasks.spawn(async move { (ask.id, exchange::find_coordinator(&cluster, &ask).await) });
            }
            Output::Join(ask) => {
                self.count_join(&ask);
                let held_back = self.supersede();
                let task = async move { (ask.call.id, exchange::join(&cluster, &ask, &held_back).await) };
                self.rebalancing = Some(self.tasks.spawn(task));
            }
            Output::Sync(ask) => {
                let held_back = self.supersede();
                let task = async move { (ask.call.id, exchange::sync(&cluster, &ask, &held_back).await) };
                self.rebalancing = Some(self.tasks.spawn(task));
            }
            Output::Heartbeat(ask) => {
                self.tasks.spawn(async move { (ask.call.id, exchange::heartbeat(&cluster, &ask).await) });
            }
            Output::Leave(ask) => {
                self.tasks.spawn(async move { (ask.call.id, exchange::leave(&cluster, &ask).await) });
            }
            Output::DescribeTopics(ask) => {
                let (held_back, coordinator) = (self.supersede(), coordinator_of(&self.machine));
                let task =
                    async move { (ask.id, exchange::describe_topics(&cluster, &ask, coordinator, &held_back).await) };
                self.rebalancing = Some(self.tasks.spawn(task));
            }
            Output::Revoke { id, partitions, deadline } => {
                return self.tell(GroupEvent::Revoke { id, partitions, deadline });
            }
            Output::Assign(assigned) => {
                let term = self.outlets.fence.term();
                return self.tell(GroupEvent::Assign { assigned, term });
            }
            Output::Lost { partitions, cause } => return self.tell(GroupEvent::Lost { partitions, cause }),
            Output::Left => return self.tell(GroupEvent::Left),
            Output::Fatal(cause) => return self.tell(GroupEvent::Fatal(cause)),
        }
        Flow::On
    }

    fn count_join(&mut self, ask: &JoinAsk) {
        let (reason, member) = (&ask.reason, member_name(&ask.identity.member_id));
        let detail = format_args!("{reason}; as {member} at broker {}", ask.call.coordinator);
        self.cluster.flight().record(FlightStep::Joining, detail);
        let count = self.joins.entry(reason.name()).or_default();
        *count = count.saturating_add(1);
        self.last_join = Some(reason.to_string());
        self.show();
    }

    /// Errors in answers, and requests that got none, for the flight recorder; what they mean is the machine's to say.
    fn note_refusal(&self, input: &Input) {
        let refused = |what: &str, error: ErrorCode| {
            if error != ErrorCode::None {
                self.cluster.flight().record(FlightStep::GroupRefused, format_args!("{what}: {error}"));
            }
        };
        match input {
            Input::Answered(_, Answer::Joined(answer)) => refused("JoinGroup", answer.error),
            Input::Answered(_, Answer::Synced(answer)) => refused("SyncGroup", answer.error),
            Input::Answered(_, Answer::HeartbeatAnswered(error)) => refused("Heartbeat", *error),
            Input::Answered(_, Answer::LeftGroup(error)) => refused("LeaveGroup", *error),
            Input::Answered(_, Answer::Failed(failure)) => {
                self.cluster.flight().record(FlightStep::GroupRefused, failure);
            }
            Input::Answered(_, Answer::Coordinator(_) | Answer::TopicsDescribed(_))
            | Input::Tick
            | Input::CoordinatorLost(_)
            | Input::TopicsChanged(_)
            | Input::RevocationDone(_)
            | Input::CommitRejected(..)
            | Input::PollDeadlinePassed
            | Input::Polled
            | Input::Leave { .. } => {}
        }
    }

    /// A join or sync that the machine has given up must not stand in the way of the next.
    fn supersede(&mut self) -> HeldBack {
        if let Some(task) = self.rebalancing.take() {
            task.abort();
        }
        self.held_back.close();
        self.held_back.clone()
    }

    /// Never waits: heartbeats come first. An engine that takes nothing any more is the end.
    fn tell(&self, event: GroupEvent) -> Flow {
        match self.outlets.events.try_send(event) {
            Ok(()) => Flow::On,
            Err(mpsc::error::TrySendError::Closed(_)) => Flow::Stop,
            Err(mpsc::error::TrySendError::Full(_)) => {
                tracing::error!("the consumer takes no news of its group; the membership is over");
                Flow::Stop
            }
        }
    }

    fn show(&self) {
        let (joins, last_join) = (self.joins.clone(), self.last_join.clone());
        let status = GroupStatus { joins, last_join, ..status_of(&self.machine) };
        let flight = self.cluster.flight();
        self.outlets.status.send_if_modified(|shown| {
            let changed = *shown != status;
            if changed {
                match (shown.coordinator, status.coordinator) {
                    (before, now) if before == now => {}
                    (_, Some(id)) => flight.record(FlightStep::Coordinator, format_args!("broker {id}")),
                    (_, None) => {
                        let why = status.trouble.as_deref().unwrap_or("its connection is over");
                        flight.record(FlightStep::Coordinator, format_args!("to be found again: {why}"));
                    }
                }
                *shown = status;
            }
            changed
        });
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

fn coordinator_of(machine: &Membership) -> Option<BrokerId> {
    match machine.coordinator() {
        Coordinator::Known(id) => Some(id),
        Coordinator::Unknown { .. } | Coordinator::Finding => None,
    }
}

fn status_of(machine: &Membership) -> GroupStatus {
    GroupStatus {
        state: machine.state().name().to_owned(),
        member_id: Some(Arc::clone(machine.member_id())).filter(|id| !id.is_empty()),
        generation: Some(machine.generation()).filter(|generation| *generation != Generation::NONE),
        coordinator: coordinator_of(machine),
        trouble: machine.trouble().map(ToString::to_string),
        ..GroupStatus::default()
    }
}

/// The partition counts of the subscribed topics; `None` before any metadata arrived. A topic in error keeps what was
/// known of it.
fn topic_counts(metadata: &Metadata, topics: &[Arc<str>]) -> Option<PartitionCounts> {
    let counts =
        topics.iter().filter_map(|name| Some((Arc::clone(name), metadata.topics.get(name)?.partition_count())));
    (metadata.revision > 0).then(|| counts.collect())
}

/// What a change of is worth a line in the log.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stand {
    state: &'static str,
    generation: Generation,
}

impl Stand {
    fn of(machine: &Membership) -> Self {
        Self { state: machine.state().name(), generation: machine.generation() }
    }

    fn log_change(self, now: Self, cause: &str, flight: &FlightRecorder) -> Self {
        if self != now {
            let detail = format_args!("{} -> {}, generation {}: {cause}", self.state, now.state, now.generation);
            flight.record(FlightStep::State, detail);
            tracing::info!(from = self.state, to = now.state, generation = %now.generation, cause, "group membership");
        }
        now
    }
}

fn member_name(id: &str) -> &str {
    if id.is_empty() { "a new member" } else { id }
}

/// What happened, in a word for the log.
fn name(input: &Input) -> &'static str {
    match input {
        Input::Tick => "deadline",
        Input::Answered(_, answer) => match answer {
            Answer::Coordinator(_) => "coordinator found",
            Answer::Joined(_) => "join answered",
            Answer::Synced(_) => "sync answered",
            Answer::HeartbeatAnswered(_) => "heartbeat answered",
            Answer::LeftGroup(_) => "leave answered",
            Answer::TopicsDescribed(_) => "topics described",
            Answer::Failed(_) => "request failed",
        },
        Input::CoordinatorLost(_) => "coordinator lost",
        Input::TopicsChanged(_) => "topics changed",
        Input::RevocationDone(_) => "revocation done",
        Input::CommitRejected(..) => "commit rejected",
        Input::PollDeadlinePassed => "max.poll.interval.ms passed",
        Input::Polled => "polled",
        Input::Leave { .. } => "leaving",
    }
}
