//! What a member needs to know about itself. Names are Kafka's where Kafka has one.

use std::sync::Arc;
use std::time::Duration;

use crate::assignor::AssignorKind;

/// Settings of one group member; fixed for its life.
#[derive(Clone, Debug)]
pub struct MembershipConfig {
    /// `group.id`.
    pub group_id: Arc<str>,
    /// `group.instance.id`: makes the member static (KIP-345).
    pub group_instance_id: Option<Arc<str>>,
    /// `client.rack`, told to the leader (KIP-881).
    pub client_rack: Option<Arc<str>>,
    /// `session.timeout.ms`: the coordinator expires a member that it has not heard of for that long.
    pub session_timeout: Duration,
    /// `max.poll.interval.ms`: how long the coordinator waits for members to join a rebalance.
    pub rebalance_timeout: Duration,
    /// `heartbeat.interval.ms`.
    pub heartbeat_interval: Duration,
    /// How long before the coordinator could expire us we stop acting ourselves.
    pub fence_margin: Duration,
    /// `request.timeout.ms`: the deadline of every request that the coordinator answers at once.
    pub request_timeout: Duration,
    /// The longest that leaving the group may take, last commits included.
    pub leave_timeout: Duration,
    /// `retry.backoff.ms`: the first pause after a failure.
    pub retry_backoff: Duration,
    /// `retry.backoff.max.ms`: the longest pause after repeated failures.
    pub retry_backoff_max: Duration,
    /// `partition.assignment.strategy`, most wanted first; not empty.
    pub assignors: Vec<AssignorKind>,
    /// The subscribed topics.
    pub topics: Vec<Arc<str>>,
    /// Seed of the jitter: entropy is an argument.
    pub seed: u64,
}

impl MembershipConfig {
    /// The defaults of Apache Kafka's consumer for a group and its topics; a fence margin of a tenth of the session.
    pub fn new(group_id: impl Into<Arc<str>>, topics: impl IntoIterator<Item = Arc<str>>) -> Self {
        Self {
            group_id: group_id.into(),
            group_instance_id: None,
            client_rack: None,
            session_timeout: Duration::from_secs(45),
            rebalance_timeout: Duration::from_mins(5),
            heartbeat_interval: Duration::from_secs(3),
            fence_margin: Duration::from_millis(4_500),
            request_timeout: Duration::from_secs(30),
            leave_timeout: Duration::from_secs(10),
            retry_backoff: Duration::from_millis(100),
            retry_backoff_max: Duration::from_secs(1),
            assignors: vec![AssignorKind::CooperativeSticky],
            topics: topics.into_iter().collect(),
            seed: 0,
        }
    }

    /// How long a heartbeat may take: one lost must leave time for others within the session.
    pub(super) fn heartbeat_deadline(&self) -> Duration {
        self.request_timeout.min((self.session_timeout / 3).max(self.heartbeat_interval))
    }

    /// How long a join or sync may take: the coordinator answers only when all have joined, and Kafka's clients allow
    /// it five seconds beyond that.
    pub(super) fn rebalance_deadline(&self) -> Duration {
        self.request_timeout.max(self.rebalance_timeout.saturating_add(Duration::from_secs(5)))
    }
}
