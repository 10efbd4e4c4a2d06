//! Joins the group and keeps the membership alive, on a thread of its own.
//!
//! Promised: nothing that the application or the engine does can delay a heartbeat; the fence is set before an
//! assignment is told and everything is fenced when the thread ends, however it ends; a panic in it is an event, not
//! silence. What is decided is decided by [`kafka_proto::membership`]; [`thread`] carries it out with [`exchange`].
//! Absent: offsets and commits, which have a connection of their own.

mod exchange;
mod thread;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use kafka_proto::error_code::ErrorCode;
use kafka_proto::id::{BrokerId, Generation, TopicPartition};
use kafka_proto::membership::{AskId, Assigned, FatalCause, Input, LostCause, MembershipConfig};
use tokio::sync::{mpsc, watch};

use crate::client::cluster::Cluster;
use crate::client::ownership::{SessionFence, SessionTerm};

/// Events that the engine may leave lying. Every round of a group makes at most three, so an engine that is so far
/// behind has stopped.
const EVENTS_MAX: usize = 1024;

/// What the membership tells the engine, in order.
#[derive(Debug)]
pub(crate) enum GroupEvent {
    /// A new assignment, valid in that term.
    Assign { assigned: Assigned, term: SessionTerm },
    /// Give these back; answered by [`Group::revocation_done`].
    Revoke { id: AskId, partitions: Vec<TopicPartition>, deadline: Instant },
    /// Gone.
    Lost { partitions: Vec<TopicPartition>, cause: LostCause },
    /// The group was left; nothing follows.
    Left,
    /// The member is refused for good; nothing follows.
    Fatal(FatalCause),
}

/// Where the membership stands, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct GroupStatus {
    /// Kafka's name of the state.
    pub(crate) state: String,
    pub(crate) member_id: Option<Arc<str>>,
    pub(crate) generation: Option<Generation>,
    pub(crate) coordinator: Option<BrokerId>,
    pub(crate) trouble: Option<String>,
    /// How often was joined, by reason.
    pub(crate) joins: BTreeMap<&'static str, u64>,
    /// The last of these reasons, in words.
    pub(crate) last_join: Option<String>,
}

impl GroupStatus {
    /// Whether a rebalance is under way: the coordinator may have begun a generation that no assignment has come for.
    pub(crate) fn is_rebalancing(&self) -> bool {
        ["PreparingRebalance", "CompletingRebalance"].contains(&self.state.as_str())
    }
}

/// The membership, which lives on a thread of its own. Dropping this ends the thread without leaving the group.
pub(crate) struct Group {
    inputs: mpsc::UnboundedSender<Input>,
    events: mpsc::Receiver<GroupEvent>,
    status: watch::Receiver<GroupStatus>,
}

impl Group {
    /// Starts joining. The thread keeps `fence` at the moment after which the member must believe itself expired.
    pub(crate) fn spawn(config: MembershipConfig, cluster: Cluster, fence: Arc<SessionFence>) -> Self {
        let (inputs, commands) = mpsc::unbounded_channel();
        let (events, told) = mpsc::channel(EVENTS_MAX);
        let (status, shown) = watch::channel(GroupStatus::default());
        thread::spawn(config, cluster, thread::Outlets { fence, events, status }, commands);
        Self { inputs, events: told, status: shown }
    }

    /// No group at all: the partitions are assigned once and stay until [`Group::leave`].
    pub(crate) fn fixed(partitions: Vec<TopicPartition>, fence: &Arc<SessionFence>) -> Self {
        let (inputs, mut commands) = mpsc::unbounded_channel();
        let (events, told) = mpsc::channel(EVENTS_MAX);
        let (_, status) = watch::channel(GroupStatus { state: "NoGroup".to_owned(), ..GroupStatus::default() });
        let term = fence.term();
        tokio::spawn(async move {
            let all = partitions.clone();
            let generation = Generation::NONE;
            let assigned = Assigned { added: partitions, all, generation, member_id: Arc::from("") };
            // The engine may be gone already; then nobody asks for anything either.
            let _ = events.send(GroupEvent::Assign { assigned, term }).await;
            while let Some(input) = commands.recv().await {
                if let Input::Leave { .. } = input {
                    let _ = events.send(GroupEvent::Left).await;
                    return;
                }
            }
        });
        Self { inputs, events: told, status }
    }

    /// The next event; `None` when the thread is gone without a word. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<GroupEvent> {
        self.events.recv().await
    }

    /// Where the membership stands.
    pub(crate) fn status(&self) -> watch::Receiver<GroupStatus> {
        self.status.clone()
    }

    /// The application came back after [`Group::poll_deadline_passed`].
    pub(crate) fn polled(&self) {
        self.tell(Input::Polled);
    }

    /// The application did not ask for records within `max.poll.interval.ms`.
    pub(crate) fn poll_deadline_passed(&self) {
        self.tell(Input::PollDeadlinePassed);
    }

    /// Everything about that revocation is done.
    pub(crate) fn revocation_done(&self, id: AskId) {
        self.tell(Input::RevocationDone(id));
    }

    /// The coordinator refused a commit of that generation.
    pub(crate) fn commit_rejected(&self, generation: Generation, error: ErrorCode) {
        self.tell(Input::CommitRejected(generation, error));
    }

    /// Leave for good; [`GroupEvent::Left`] comes when that is done or has taken too long.
    pub(crate) fn leave(&self, reason: String) {
        self.tell(Input::Leave { reason });
    }

    /// The channel is bounded by who writes to it: one engine, at most one input per event or answer it got.
    fn tell(&self, input: Input) {
        // A thread that is gone has said why through the events.
        let _ = self.inputs.send(input);
    }
}
