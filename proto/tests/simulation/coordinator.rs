//! A model of Kafka's classic group coordinator, with its timers: sessions, the rebalance timeout, the wait for syncs.
//! What survives a move to another broker is what Kafka writes to `__consumer_offsets`: the group as of its last
//! assignment, and the committed offsets.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_proto::error_code::ErrorCode;
use kafka_proto::id::{Generation, TopicPartition};
use kafka_proto::membership::{Answer, HeartbeatAsk, JoinAnswer, JoinAsk, JoinedMember, LeaveAsk, SyncAnswer, SyncAsk};

use crate::world::{Reply, ReplyTo};

/// `group.initial.rebalance.delay.ms`.
const INITIAL_DELAY: Duration = Duration::from_millis(300);

/// Answers to be sent.
pub(crate) type Replies = Vec<(ReplyTo, Reply)>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Empty,
    PreparingRebalance { until: Instant },
    CompletingRebalance,
    Stable,
}

#[derive(Clone, Debug)]
struct Member {
    protocols: Vec<(&'static str, Bytes)>,
    session_timeout: Duration,
    rebalance_timeout: Duration,
    session_until: Instant,
    waiting_join: Option<ReplyTo>,
    waiting_sync: Option<ReplyTo>,
    assignment: Bytes,
}

#[derive(Clone, Debug)]
struct Group {
    phase: Phase,
    generation: i32,
    leader: Option<Arc<str>>,
    protocol: &'static str,
    members: BTreeMap<Arc<str>, Member>,
    /// Ids that were given out and not yet used, with their end.
    pending: BTreeMap<Arc<str>, Instant>,
    sync_pending: BTreeSet<Arc<str>>,
    sync_until: Option<Instant>,
}

/// The coordinator of the one group.
pub(crate) struct Coordinator {
    group: Group,
    written: Group,
    pub(crate) committed: BTreeMap<TopicPartition, i64>,
    ids: u64,
}

impl Coordinator {
    pub(crate) fn new() -> Self {
        let group = Group {
            phase: Phase::Empty,
            generation: 0,
            leader: None,
            protocol: "",
            members: BTreeMap::new(),
            pending: BTreeMap::new(),
            sync_pending: BTreeSet::new(),
            sync_until: None,
        };
        Self { written: group.clone(), group, committed: BTreeMap::new(), ids: 0 }
    }

    /// Another broker takes over: waiting requests are refused, the group is as it was written, sessions start anew.
    pub(crate) fn moved(&mut self, now: Instant) -> Replies {
        let mut replies = Replies::new();
        for member in self.group.members.values_mut() {
            refuse_waiting(member, ErrorCode::NotCoordinator, &mut replies);
        }
        self.group = self.written.clone();
        for member in self.group.members.values_mut() {
            member.session_until = now + member.session_timeout;
        }
        replies
    }

    pub(crate) fn join(&mut self, now: Instant, ask: &JoinAsk, to: ReplyTo) -> Replies {
        let id = Arc::clone(&ask.identity.member_id);
        let mut replies = Replies::new();
        if id.is_empty() {
            self.ids += 1;
            let id: Arc<str> = format!("member-{}", self.ids).into();
            self.group.pending.insert(Arc::clone(&id), now + ask.session_timeout);
            replies.push((to, join_refused(ErrorCode::MemberIdRequired, &id)));
            return replies;
        }
        if self.group.pending.remove(&id).is_some() {
            self.group.members.insert(Arc::clone(&id), new_member(now, ask, to));
            self.prepare(now, &mut replies);
        } else if let Some(member) = self.group.members.get_mut(&id) {
            let changed = member.protocols != ask.protocols;
            let leads = self.group.leader.as_ref() == Some(&id);
            let rebalance = match self.group.phase {
                Phase::PreparingRebalance { .. } => true,
                Phase::CompletingRebalance => changed,
                Phase::Stable => changed || leads,
                Phase::Empty => unreachable!("a group with members is not empty"),
            };
            if rebalance {
                member.protocols.clone_from(&ask.protocols);
                member.waiting_join = Some(to);
                self.prepare(now, &mut replies);
            } else {
                replies.push((to, self.join_answer(&id)));
            }
        } else {
            replies.push((to, join_refused(ErrorCode::UnknownMemberId, &id)));
        }
        self.try_complete(now, &mut replies);
        replies
    }

    pub(crate) fn sync(&mut self, now: Instant, ask: &SyncAsk, to: ReplyTo) -> Replies {
        let id = &ask.identity.member_id;
        let mut replies = Replies::new();
        let leads = self.group.leader.as_ref() == Some(id);
        let error = match self.check(id, ask.generation) {
            Some(error) => Some(error),
            None => match self.group.phase {
                Phase::PreparingRebalance { .. } => Some(ErrorCode::RebalanceInProgress),
                Phase::Empty => Some(ErrorCode::UnknownMemberId),
                Phase::CompletingRebalance | Phase::Stable => None,
            },
        };
        if let Some(error) = error {
            replies.push((to, synced(error, Bytes::new())));
            return replies;
        }
        self.group.sync_pending.remove(id);
        let stable = self.group.phase == Phase::Stable;
        let member = self.group.members.get_mut(id).expect("checked");
        if stable {
            member.session_until = now + member.session_timeout;
            replies.push((to, synced(ErrorCode::None, member.assignment.clone())));
            return replies;
        }
        member.waiting_sync = Some(to);
        if leads {
            self.take_assignments(now, ask, &mut replies);
        }
        replies
    }

    fn take_assignments(&mut self, now: Instant, ask: &SyncAsk, replies: &mut Replies) {
        for (id, bytes) in &ask.assignments {
            if let Some(member) = self.group.members.get_mut(id) {
                member.assignment = bytes.clone();
            }
        }
        self.group.phase = Phase::Stable;
        for member in self.group.members.values_mut() {
            if let Some(to) = member.waiting_sync.take() {
                member.session_until = now + member.session_timeout;
                replies.push((to, synced(ErrorCode::None, member.assignment.clone())));
            }
        }
        self.write();
    }

    fn write(&mut self) {
        self.written = self.group.clone();
        self.written.pending.clear();
        self.written.sync_pending.clear();
        self.written.sync_until = None;
        for member in self.written.members.values_mut() {
            (member.waiting_join, member.waiting_sync) = (None, None);
        }
    }

    pub(crate) fn heartbeat(&mut self, now: Instant, ask: &HeartbeatAsk) -> ErrorCode {
        if let Some(error) = self.check(&ask.identity.member_id, ask.generation) {
            return error;
        }
        let member = self.group.members.get_mut(&ask.identity.member_id).expect("checked");
        member.session_until = now + member.session_timeout;
        match self.group.phase {
            Phase::PreparingRebalance { .. } => ErrorCode::RebalanceInProgress,
            Phase::Empty | Phase::CompletingRebalance | Phase::Stable => ErrorCode::None,
        }
    }

    pub(crate) fn leave(&mut self, now: Instant, ask: &LeaveAsk) -> (ErrorCode, Replies) {
        let mut replies = Replies::new();
        let id = &ask.identity.member_id;
        if self.group.pending.remove(id).is_none() && !self.remove(now, id, &mut replies) {
            return (ErrorCode::UnknownMemberId, replies);
        }
        (ErrorCode::None, replies)
    }

    /// Member and generation are all that the classic protocol checks.
    pub(crate) fn may_commit(&self, member_id: &Arc<str>, generation: Generation) -> ErrorCode {
        match self.check(member_id, generation) {
            Some(error) => error,
            None if self.group.phase == Phase::CompletingRebalance => ErrorCode::RebalanceInProgress,
            None => ErrorCode::None,
        }
    }

    /// When [`Self::on_timer`] has something to do.
    pub(crate) fn next_timer(&self) -> Option<Instant> {
        let sessions = self.group.members.values().filter(|m| !m.waits()).map(|m| m.session_until);
        let pending = self.group.pending.values().copied();
        let phase = match self.group.phase {
            Phase::PreparingRebalance { until } => Some(until),
            Phase::Empty | Phase::CompletingRebalance | Phase::Stable => None,
        };
        sessions.chain(pending).chain(phase).chain(self.group.sync_until).min()
    }

    pub(crate) fn on_timer(&mut self, now: Instant) -> Replies {
        let mut replies = Replies::new();
        self.group.pending.retain(|_, until| now < *until);
        let expired = |(id, m): (&Arc<str>, &Member)| (!m.waits() && now >= m.session_until).then(|| Arc::clone(id));
        let gone: Vec<Arc<str>> = self.group.members.iter().filter_map(expired).collect();
        for id in gone {
            self.remove(now, &id, &mut replies);
        }
        if self.group.sync_until.is_some_and(|until| now >= until) {
            self.group.sync_until = None;
            for id in std::mem::take(&mut self.group.sync_pending) {
                self.remove(now, &id, &mut replies);
            }
        }
        if matches!(self.group.phase, Phase::PreparingRebalance { until } if now >= until) {
            self.group.members.retain(|_, m| m.waiting_join.is_some());
            self.complete(now, &mut replies);
        }
        self.try_complete(now, &mut replies);
        replies
    }

    fn check(&self, id: &Arc<str>, generation: Generation) -> Option<ErrorCode> {
        if !self.group.members.contains_key(id) {
            return Some(ErrorCode::UnknownMemberId);
        }
        (generation.get() != self.group.generation).then_some(ErrorCode::IllegalGeneration)
    }

    fn remove(&mut self, now: Instant, id: &Arc<str>, replies: &mut Replies) -> bool {
        let Some(mut member) = self.group.members.remove(id) else { return false };
        refuse_waiting(&mut member, ErrorCode::UnknownMemberId, replies);
        self.group.sync_pending.remove(id);
        if matches!(self.group.phase, Phase::CompletingRebalance | Phase::Stable) {
            self.prepare(now, replies);
        }
        self.try_complete(now, replies);
        true
    }

    fn prepare(&mut self, now: Instant, replies: &mut Replies) {
        if matches!(self.group.phase, Phase::PreparingRebalance { .. }) {
            return;
        }
        for member in self.group.members.values_mut() {
            if let Some(to) = member.waiting_sync.take() {
                replies.push((to, synced(ErrorCode::RebalanceInProgress, Bytes::new())));
            }
        }
        self.group.sync_pending.clear();
        self.group.sync_until = None;
        let wait = if self.group.phase == Phase::Empty { INITIAL_DELAY } else { self.rebalance_timeout() };
        self.group.phase = Phase::PreparingRebalance { until: now + wait };
    }

    fn rebalance_timeout(&self) -> Duration {
        self.group.members.values().map(|m| m.rebalance_timeout).max().unwrap_or(INITIAL_DELAY)
    }

    fn try_complete(&mut self, now: Instant, replies: &mut Replies) {
        let first_round = self.group.generation == 0;
        let all_here = self.group.pending.is_empty() && self.group.members.values().all(|m| m.waiting_join.is_some());
        if matches!(self.group.phase, Phase::PreparingRebalance { .. }) && all_here && !first_round {
            self.complete(now, replies);
        }
    }

    fn complete(&mut self, now: Instant, replies: &mut Replies) {
        self.group.generation += 1;
        if self.group.members.is_empty() {
            self.group.phase = Phase::Empty;
            self.group.leader = None;
            self.write();
            return;
        }
        self.group.phase = Phase::CompletingRebalance;
        if self.group.leader.as_ref().is_none_or(|leader| !self.group.members.contains_key(leader)) {
            self.group.leader = self.group.members.keys().next().cloned();
        }
        self.group.protocol = self.group.members.values().next().expect("not empty").protocols[0].0;
        self.group.sync_pending = self.group.members.keys().cloned().collect();
        self.group.sync_until = Some(now + self.rebalance_timeout());
        for id in self.group.sync_pending.clone() {
            let answer = self.join_answer(&id);
            let member = self.group.members.get_mut(&id).expect("listed above");
            member.assignment = Bytes::new();
            member.session_until = now + member.session_timeout;
            if let Some(to) = member.waiting_join.take() {
                replies.push((to, answer));
            }
        }
    }

    fn join_answer(&self, id: &Arc<str>) -> Reply {
        let leader = self.group.leader.clone().expect("a group with members has a leader");
        let member = |(id, m): (&Arc<str>, &Member)| JoinedMember {
            member_id: Arc::clone(id),
            instance_id: None,
            metadata: m.protocols[0].1.clone(),
        };
        let members = if leader == *id { self.group.members.iter().map(member).collect() } else { Vec::new() };
        Reply::Machine(Answer::Joined(JoinAnswer {
            error: ErrorCode::None,
            generation: Generation(self.group.generation),
            protocol_name: Some(self.group.protocol.into()),
            leader,
            member_id: Arc::clone(id),
            skip_assignment: false,
            members,
        }))
    }
}

impl Member {
    /// A member whose join or sync is held back is alive whatever its session says.
    fn waits(&self) -> bool {
        self.waiting_join.is_some() || self.waiting_sync.is_some()
    }
}

fn new_member(now: Instant, ask: &JoinAsk, to: ReplyTo) -> Member {
    Member {
        protocols: ask.protocols.clone(),
        session_timeout: ask.session_timeout,
        rebalance_timeout: ask.rebalance_timeout,
        session_until: now + ask.session_timeout,
        waiting_join: Some(to),
        waiting_sync: None,
        assignment: Bytes::new(),
    }
}

fn refuse_waiting(member: &mut Member, error: ErrorCode, replies: &mut Replies) {
    if let Some(to) = member.waiting_join.take() {
        replies.push((to, join_refused(error, &Arc::from(""))));
    }
    if let Some(to) = member.waiting_sync.take() {
        replies.push((to, synced(error, Bytes::new())));
    }
}

pub(crate) fn join_refused(error: ErrorCode, member_id: &Arc<str>) -> Reply {
    Reply::Machine(Answer::Joined(JoinAnswer {
        error,
        generation: Generation::NONE,
        protocol_name: None,
        leader: Arc::from(""),
        member_id: Arc::clone(member_id),
        skip_assignment: false,
        members: Vec::new(),
    }))
}

pub(crate) fn synced(error: ErrorCode, assignment: Bytes) -> Reply {
    Reply::Machine(Answer::Synced(SyncAnswer { error, assignment }))
}
