//! What goes into the machine and what comes out: values, no sockets.
//!
//! An ask is a request that the owner of the machine must send; its [`Call`] names it and says where to and until when.
//! The answer carries the name back. An answer to an ask that the machine no longer awaits (an older attempt, a lost
//! membership) changes nothing, so late and duplicated answers need no care outside.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use thiserror::Error;

use crate::assignor::PartitionCounts;
use crate::error_code::ErrorCode;
use crate::id::{BrokerId, Generation, TopicPartition};
use crate::membership::state::RebalanceReason;

/// Names one ask or one revocation of one machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskId(pub(super) u64);

/// Which request, to whom, and until when it is awaited. After the deadline the machine goes on without the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// To be given back with the answer.
    pub id: AskId,
    /// The coordinator to send it to.
    pub coordinator: BrokerId,
    /// When the machine stops waiting.
    pub deadline: Instant,
}

/// Who speaks: the head of every group request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// `group.id`.
    pub group_id: Arc<str>,
    /// Empty before the coordinator gave one.
    pub member_id: Arc<str>,
    /// `group.instance.id`.
    pub group_instance_id: Option<Arc<str>>,
}

/// Ask any broker for the coordinator of the group, and have a connection to it ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FindCoordinatorAsk {
    /// To be given back with the answer.
    pub id: AskId,
    /// When the machine stops waiting.
    pub deadline: Instant,
    /// The group.
    pub group_id: Arc<str>,
}

/// A `JoinGroup` request (v5 to v9). The coordinator may hold the answer back for the whole rebalance, so it must not
/// share a connection with heartbeats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinAsk {
    /// Name, addressee and deadline.
    pub call: Call,
    /// Who joins.
    pub identity: Identity,
    /// `session.timeout.ms`.
    pub session_timeout: Duration,
    /// The rebalance timeout.
    pub rebalance_timeout: Duration,
    /// Assignor name and subscription bytes, most wanted first.
    pub protocols: Vec<(&'static str, Bytes)>,
    /// Why; its text is what the coordinator is told (KIP-800).
    pub reason: RebalanceReason,
}

/// A `SyncGroup` request (v3 to v5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncAsk {
    /// Name, addressee and deadline.
    pub call: Call,
    /// Who syncs.
    pub identity: Identity,
    /// The generation that the join gave.
    pub generation: Generation,
    /// The assignor that the group chose.
    pub protocol_name: &'static str,
    /// Assignment bytes by member id; empty unless we lead.
    pub assignments: Vec<(Arc<str>, Bytes)>,
}

/// A `Heartbeat` request (v3 to v4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeartbeatAsk {
    /// Name, addressee and deadline.
    pub call: Call,
    /// Who is alive.
    pub identity: Identity,
    /// In which generation.
    pub generation: Generation,
}

/// A `LeaveGroup` request (v3 to v5). Send it on the heartbeat connection: a join may be held back on the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaveAsk {
    /// Name, addressee and deadline.
    pub call: Call,
    /// Who leaves.
    pub identity: Identity,
    /// Why (KIP-800), at most 255 characters.
    pub reason: String,
}

/// Fresh partition counts, wanted by the leader before it assigns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribeTopicsAsk {
    /// To be given back with the answer.
    pub id: AskId,
    /// When the machine stops waiting.
    pub deadline: Instant,
    /// The topics of all members, foreign ones included.
    pub topics: Vec<Arc<str>>,
}

/// One member in the answer to the leader's join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinedMember {
    /// Its id.
    pub member_id: Arc<str>,
    /// Its `group.instance.id`.
    pub instance_id: Option<Arc<str>>,
    /// Its subscription bytes, of which nothing may be believed.
    pub metadata: Bytes,
}

/// The answer to a [`JoinAsk`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinAnswer {
    /// The error code; with `MEMBER_ID_REQUIRED` only `member_id` means something.
    pub error: ErrorCode,
    /// The new generation.
    pub generation: Generation,
    /// The assignor that the group chose.
    pub protocol_name: Option<Arc<str>>,
    /// The leader's member id.
    pub leader: Arc<str>,
    /// Our member id.
    pub member_id: Arc<str>,
    /// The leader must not assign, the current assignment stands (KIP-814, v9).
    pub skip_assignment: bool,
    /// All members, if we lead.
    pub members: Vec<JoinedMember>,
}

/// The answer to a [`SyncAsk`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncAnswer {
    /// The error code.
    pub error: ErrorCode,
    /// Our assignment bytes.
    pub assignment: Bytes,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AskFailure {
    /// Nothing came in time.
    #[error("no answer before the deadline")]
    TimedOut,
    /// No connection, or it broke; whether the request was carried out is unknown.
    #[error("no connection: {0}")]
    Disconnected(String),
    /// An answer with this error code where the exchange has no other content.
    #[error("the broker answered {0:?}")]
    Refused(ErrorCode),
    /// The broker speaks no version that we speak.
    #[error("the broker speaks no common version: {0}")]
    Unsupported(String),
}

/// What came back for an ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The coordinator is known and connected.
    Coordinator(BrokerId),
    /// To a [`JoinAsk`].
    Joined(JoinAnswer),
    /// To a [`SyncAsk`].
    Synced(SyncAnswer),
    /// To a [`HeartbeatAsk`].
    HeartbeatAnswered(ErrorCode),
    /// To a [`LeaveAsk`].
    LeftGroup(ErrorCode),
    /// To a [`DescribeTopicsAsk`]; topics that do not exist are absent or have no partitions.
    TopicsDescribed(PartitionCounts),
    /// To any ask.
    Failed(AskFailure),
}

/// What the machine is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Time passed; to be given when [`super::Membership::poll_timeout`] is reached, and harmless at any other moment.
    Tick,
    /// An ask was answered.
    Answered(AskId, Answer),
    /// The coordinator's connection broke while nothing was asked.
    CoordinatorLost(BrokerId),
    /// What the metadata says of the subscribed topics. A topic that is absent keeps its last known count (fault G18).
    TopicsChanged(PartitionCounts),
    /// The partitions of that revocation are given up: nothing acts on them and last commits are sent.
    RevocationDone(AskId),
    /// The coordinator refused a commit of that generation.
    CommitRejected(Generation, ErrorCode),
    /// The application did not ask for records within `max.poll.interval.ms` (fault G1).
    PollDeadlinePassed,
    /// The application asked for records; rejoins after [`Input::PollDeadlinePassed`].
    Polled,
    /// Leave for good.
    Leave {
        /// Why, told to the coordinator (KIP-800).
        reason: String,
    },
}

/// What the machine wants done, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Find the coordinator and connect to it.
    FindCoordinator(FindCoordinatorAsk),
    /// Send a join.
    Join(JoinAsk),
    /// Send a sync.
    Sync(SyncAsk),
    /// Send a heartbeat.
    Heartbeat(HeartbeatAsk),
    /// Send a leave.
    Leave(LeaveAsk),
    /// Fetch partition counts.
    DescribeTopics(DescribeTopicsAsk),
    /// Give these up in good order: stop, commit what was processed, then [`Input::RevocationDone`]. At the deadline
    /// they are lost ([`LostCause::RevocationTimedOut`]).
    Revoke {
        /// To be given back when done.
        id: AskId,
        /// What to give up.
        partitions: Vec<TopicPartition>,
        /// Until when.
        deadline: Instant,
    },
    /// A new assignment.
    Assign(Assigned),
    /// These are not ours any more, as of now and without a last word: nothing may act or commit.
    Lost {
        /// What was lost.
        partitions: Vec<TopicPartition>,
        /// Why.
        cause: LostCause,
    },
    /// The member has left, or has given up trying; nothing follows.
    Left,
    /// The machine has stopped and will not recover; nothing follows.
    Fatal(FatalCause),
}

/// A new assignment and the identity under which it is committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assigned {
    /// What was not ours before.
    pub added: Vec<TopicPartition>,
    /// All that is ours now, including what a following [`Output::Revoke`] asks back.
    pub all: Vec<TopicPartition>,
    /// For commits.
    pub generation: Generation,
    /// For commits.
    pub member_id: Arc<str>,
}

/// Why partitions were lost.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LostCause {
    /// No acknowledged heartbeat for the session timeout less the margin (fault G3).
    #[error("no heartbeat was acknowledged within the session timeout less its margin")]
    SessionExpired,
    /// A rebalance could not be joined within its timeout less the margin.
    #[error("the rebalance could not be joined within its timeout less the margin")]
    RebalanceExpired,
    /// The revocation was not finished by its deadline (fault G7).
    #[error("the revocation was not finished by its deadline")]
    RevocationTimedOut,
    /// The application did not ask for records in time (fault G1).
    #[error("the application did not ask for records within max.poll.interval.ms")]
    PollDeadlinePassed,
    /// The coordinator does not know us.
    #[error("the coordinator does not know this member")]
    UnknownMember,
    /// The group has moved on without us.
    #[error("the group has a newer generation")]
    IllegalGeneration,
    /// The machine stopped.
    #[error("the member stopped: {0}")]
    Fatal(FatalCause),
}

/// Why the machine stopped for good: only an operator can help.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FatalCause {
    /// Another process runs with our `group.instance.id` (fault G14).
    #[error("another member with the same group.instance.id has taken over")]
    FencedInstanceId,
    /// A refusal that repeating does not change.
    #[error("the coordinator refused the member for good: {0:?}")]
    Refused(ErrorCode),
    /// The group chose an assignor that we never offered.
    #[error("the group chose the assignor {0:?}, which was not offered")]
    UnknownAssignor(String),
    /// The broker is too old or too new.
    #[error("no common version of the group protocol: {0}")]
    Unsupported(String),
}

impl fmt::Display for AskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}
