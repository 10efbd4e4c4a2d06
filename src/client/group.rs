//! Joins the group and keeps the membership alive.
//!
//! This is the seam to the consumer's engine: what it is told, what it may say.

use std::sync::Arc;
use std::time::Instant;

use kafka_proto::error_code::ErrorCode;
use kafka_proto::id::{BrokerId, Generation, TopicPartition};
use kafka_proto::membership::{AskId, Assigned, FatalCause, LostCause, MembershipConfig};
use tokio::sync::watch;

use crate::client::cluster::Cluster;
use crate::client::ownership::SessionFence;

/// What the membership tells the engine, in order.
#[derive(Debug)]
pub(crate) enum GroupEvent {
    /// A new assignment.
    Assign(Assigned),
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
#[derive(Clone, Debug, Default)]
pub(crate) struct GroupStatus {
    /// Kafka's name of the state.
    pub(crate) state: String,
    pub(crate) member_id: Option<Arc<str>>,
    pub(crate) generation: Option<Generation>,
    pub(crate) coordinator: Option<BrokerId>,
    pub(crate) trouble: Option<String>,
}

/// The membership, which lives on a thread of its own. Dropping this ends the thread without leaving the group.
pub(crate) struct Group {
    status: watch::Sender<GroupStatus>,
}

impl Group {
    /// Starts joining. The thread keeps `fence` at the moment after which the member must believe itself expired.
    pub(crate) fn spawn(_config: MembershipConfig, _cluster: Cluster, _fence: Arc<SessionFence>) -> Self {
        Self { status: watch::Sender::new(GroupStatus::default()) }
    }

    /// The next event; `None` when the thread is gone without a word. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<GroupEvent> {
        std::future::pending().await
    }

    /// Where the membership stands.
    pub(crate) fn status(&self) -> watch::Receiver<GroupStatus> {
        self.status.subscribe()
    }

    /// The application came back after [`Group::poll_deadline_passed`].
    pub(crate) fn polled(&self) {}

    /// The application did not ask for records within `max.poll.interval.ms`.
    pub(crate) fn poll_deadline_passed(&self) {}

    /// Everything about that revocation is done.
    pub(crate) fn revocation_done(&self, _id: AskId) {}

    /// The coordinator refused a commit of that generation.
    pub(crate) fn commit_rejected(&self, _generation: Generation, _error: ErrorCode) {}

    /// Leave for good; [`GroupEvent::Left`] comes when that is done or has taken too long.
    pub(crate) fn leave(&self, _reason: String) {}
}
