//! The classic group coordinator: two-step join (KIP-394), static members (KIP-345), generations, sessions on real time.
//!
//! A machine: every input carries the time, every deadline is in [`Group::next_deadline`]. A join or a sync that has to
//! wait is parked as the sending half of a channel, which the caller awaits. What is promised: states, order of checks and
//! error codes are those of Kafka's GroupCoordinator. Absent: KIP-848, persistence, group size limits.

mod assignment;
mod clock;
mod expiry;
mod join;
mod leave;
mod member;
mod rebalance;
mod sync;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use kafka_protocol::ResponseError;

pub(crate) use clock::run as run_clock;
pub(crate) use join::{JoinAnswer, JoinAsk, Joining};
pub(crate) use member::Member;
pub(crate) use sync::{SyncAnswer, SyncAsk, Syncing};

/// State of a group, by Kafka's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupState {
    /// No members; committed offsets may exist.
    Empty,
    /// Members are to join again.
    PreparingRebalance,
    /// The leader is computing the assignment.
    CompletingRebalance,
    /// Every member has its assignment.
    Stable,
}

impl GroupState {
    /// Kafka's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }
}

/// Settings of the coordinator, by the broker's names.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GroupSettings {
    /// `group.initial.rebalance.delay.ms`; 0 unless a test wants it.
    pub(crate) initial_rebalance_delay: Duration,
    /// `group.min.session.timeout.ms`; 0, so that tests are quick.
    pub(crate) session_timeout_min: Duration,
    /// `group.max.session.timeout.ms`.
    pub(crate) session_timeout_max: Duration,
}

impl Default for GroupSettings {
    fn default() -> Self {
        Self {
            initial_rebalance_delay: Duration::ZERO,
            session_timeout_min: Duration::ZERO,
            session_timeout_max: Duration::from_mins(30),
        }
    }
}

/// Who a request says it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claim<'a> {
    pub(crate) member_id: &'a str,
    pub(crate) instance_id: Option<&'a str>,
    pub(crate) generation: i32,
}

/// One group.
#[derive(Debug)]
pub(crate) struct Group {
    state: GroupState,
    generation: i32,
    protocol_type: Option<String>,
    protocol: Option<String>,
    leader: Option<String>,
    /// In the order in which they joined.
    members: Vec<Member>,
    /// Member id of each static member, by instance id.
    instances: HashMap<String, String>,
    /// Ids given out by the first step of a join, until when they are good.
    pending: HashMap<String, Instant>,
    /// When joining ends at the latest, while it goes on.
    join_deadline: Option<Instant>,
    /// The first rebalance of an empty group waits for its whole delay.
    holds_first_join: bool,
    /// When those that have not synced are removed.
    sync_deadline: Option<Instant>,
}

/// A group as a test sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupSnapshot {
    /// Its state.
    pub state: GroupState,
    /// Counts the rebalances.
    pub generation: i32,
    /// The assignor that all members had in common.
    pub protocol: Option<String>,
    /// Member id of the leader.
    pub leader: Option<String>,
    /// Its members, in the order in which they joined.
    pub members: Vec<MemberSnapshot>,
}

/// A member as a test sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemberSnapshot {
    /// Id given by the coordinator.
    pub member_id: String,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<String>,
    /// Client id of its connection.
    pub client_id: String,
    /// Topic and partition, as far as its assignment decodes.
    pub assignment: Vec<(String, i32)>,
}

impl Group {
    /// A group nobody has joined.
    pub(crate) fn new() -> Self {
        Self {
            state: GroupState::Empty,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: Vec::new(),
            instances: HashMap::new(),
            pending: HashMap::new(),
            join_deadline: None,
            holds_first_join: false,
            sync_deadline: None,
        }
    }

    /// Whether it has no members.
    pub(crate) fn is_empty(&self) -> bool {
        self.state == GroupState::Empty
    }

    pub(crate) fn snapshot(&self) -> GroupSnapshot {
        let members = self.members.iter().map(|member| MemberSnapshot {
            member_id: member.id.clone(),
            instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            assignment: assignment::decode(&member.assignment).unwrap_or_default(),
        });
        GroupSnapshot {
            state: self.state,
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            members: members.collect(),
        }
    }

    pub(crate) fn members(&self) -> &[Member] {
        &self.members
    }

    pub(crate) fn protocol_type(&self) -> &str {
        self.protocol_type.as_deref().unwrap_or_default()
    }

    fn member(&self, id: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.id == id)
    }

    fn member_mut(&mut self, id: &str) -> Option<&mut Member> {
        self.members.iter_mut().find(|member| member.id == id)
    }

    /// Whether the claimed member exists, and is the one that its instance id stands for.
    fn check_identity(&self, claim: &Claim<'_>) -> Result<(), ResponseError> {
        if let Some(instance) = claim.instance_id {
            match self.instances.get(instance) {
                None => return Err(ResponseError::UnknownMemberId),
                Some(known) if known != claim.member_id => return Err(ResponseError::FencedInstanceId),
                Some(_) => {}
            }
        }
        self.member(claim.member_id).map(|_| ()).ok_or(ResponseError::UnknownMemberId)
    }

    fn check_generation(&self, claim: &Claim<'_>) -> Result<(), ResponseError> {
        if claim.generation == self.generation { Ok(()) } else { Err(ResponseError::IllegalGeneration) }
    }

    /// A heartbeat: keeps the session alive, tells of a rebalance.
    pub(crate) fn heartbeat(&mut self, claim: &Claim<'_>, now: Instant) -> Result<(), ResponseError> {
        self.check_identity(claim)?;
        self.check_generation(claim)?;
        if let Some(member) = self.member_mut(claim.member_id) {
            member.touch(now);
        }
        if self.state == GroupState::PreparingRebalance { Err(ResponseError::RebalanceInProgress) } else { Ok(()) }
    }

    /// Whether a member may commit now; a good commit keeps the session alive as a heartbeat does.
    pub(crate) fn check_commit(&mut self, claim: &Claim<'_>, now: Instant) -> Result<(), ResponseError> {
        if claim.generation < 0 && claim.member_id.is_empty() && claim.instance_id.is_none() {
            // Not a member, while the group has members.
            return Err(ResponseError::UnknownMemberId);
        }
        self.check_identity(claim)?;
        self.check_generation(claim)?;
        if self.state == GroupState::CompletingRebalance {
            return Err(ResponseError::RebalanceInProgress);
        }
        if let Some(member) = self.member_mut(claim.member_id) {
            member.touch(now);
        }
        Ok(())
    }

    /// The coordinator went elsewhere: those who wait are told, the members stay.
    pub(crate) fn moved(&mut self, now: Instant) {
        for member in &mut self.members {
            member.answer_join(JoinAnswer::refused(ResponseError::NotCoordinator, &member.id.clone()));
            member.answer_sync(Err(ResponseError::NotCoordinator));
            member.touch(now);
        }
    }
}
