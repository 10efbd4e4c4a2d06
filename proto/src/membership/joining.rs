//! Preparing a rebalance, joining it, and taking the assignment: the way from any state to Stable.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use crate::assignor::protocol::{self, StickyUserData, Subscription};
use crate::assignor::{AssignorKind, RebalanceProtocol};
use crate::id::{Generation, TopicPartition};
use crate::membership::Membership;
use crate::membership::asks::{AskKind, Pending};
use crate::membership::exchange::{
    AskFailure, AskId, Assigned, FatalCause, JoinAnswer, JoinAsk, LostCause, Output, SyncAnswer, SyncAsk,
};
use crate::membership::state::{Completing, Leaving, Preparing, RebalanceReason, Revocation, State};
use crate::membership::verdict::Verdict;

/// Kafka cuts reasons there (KIP-800).
const REASON_CHARS_MAX: usize = 255;

/// A reason as it may be sent.
pub(super) fn cut_reason(reason: &str) -> String {
    reason.chars().take(REASON_CHARS_MAX).collect()
}

impl Membership {
    /// Starts to rejoin. An eager member gives everything up first; a cooperative one nothing yet.
    pub(super) fn prepare(&mut self, now: Instant, reason: RebalanceReason) {
        self.asks.cancel(AskKind::Join);
        self.asks.cancel(AskKind::Sync);
        self.asks.cancel(AskKind::DescribeTopics);
        let give_up = match self.rebalance_protocol() {
            RebalanceProtocol::Eager => self.owned.iter().cloned().collect(),
            RebalanceProtocol::Cooperative => Vec::new(),
        };
        self.revoke_then_join(now, give_up, reason);
    }

    /// Has `partitions` given up, within the time that the rebalance leaves for it (fault G7), and joins then.
    fn revoke_then_join(&mut self, now: Instant, partitions: Vec<TopicPartition>, reason: RebalanceReason) {
        let preparing = if partitions.is_empty() {
            Preparing::Joining { not_before: now }
        } else {
            // Time for the join itself is left before the round could end without us.
            let reserve = self.config.fence_margin.min(self.config.rebalance_timeout / 8);
            let fence = self.liveness.rebalance_fence().unwrap_or(now + self.config.rebalance_timeout);
            let deadline = fence.checked_sub(reserve).unwrap_or(now).max(now);
            Preparing::Revoking(self.start_revocation(partitions, deadline))
        };
        self.state = State::PreparingRebalance(preparing, reason);
    }

    pub(super) fn start_revocation(&mut self, partitions: Vec<TopicPartition>, deadline: Instant) -> Revocation {
        let id = self.asks.name();
        self.outputs.push_back(Output::Revoke { id, partitions: partitions.clone(), deadline });
        Revocation { id, partitions, deadline }
    }

    /// The application has given up what that revocation asked for. A late word about an older one changes nothing.
    pub(super) fn on_revocation_done(&mut self, now: Instant, id: AskId) {
        match &self.state {
            State::PreparingRebalance(Preparing::Revoking(revocation), reason) if revocation.id == id => {
                let (given_up, reason) = (revocation.partitions.clone(), reason.clone());
                self.owned.retain(|p| !given_up.contains(p));
                self.state = State::PreparingRebalance(Preparing::Joining { not_before: now }, reason);
            }
            State::Leaving(Leaving::Revoking { revocation, reason, deadline }) if revocation.id == id => {
                let sending = Leaving::Sending { reason: reason.clone(), deadline: *deadline, not_before: now };
                self.owned.clear();
                self.state = State::Leaving(sending);
            }
            State::Unjoined(..)
            | State::PreparingRebalance(..)
            | State::CompletingRebalance(_)
            | State::Stable
            | State::Leaving(_)
            | State::Left
            | State::Fatal(_) => {}
        }
    }

    /// The application did not finish in time: what it was to give up is lost, and the rebalance goes on.
    pub(super) fn revocation_expired(&mut self) {
        let State::PreparingRebalance(Preparing::Revoking(revocation), reason) = &self.state else { return };
        let not_before = revocation.deadline;
        let (partitions, reason) = (revocation.partitions.clone(), reason.clone());
        self.owned.retain(|p| !partitions.contains(p));
        self.outputs.push_back(Output::Lost { partitions, cause: LostCause::RevocationTimedOut });
        self.state = State::PreparingRebalance(Preparing::Joining { not_before }, reason);
    }

    /// Joins if the coordinator is known and no join is under way.
    pub(super) fn send_join(&mut self, now: Instant) {
        // Without an id the coordinator answers at once, with one (KIP-394); only what it may hold back may take long.
        let at_once = self.member_id.is_empty() && self.config.group_instance_id.is_none();
        let wait = if at_once { self.config.request_timeout } else { self.config.rebalance_deadline() };
        let Some(call) = self.call(now, AskKind::Join, wait) else { return };
        let State::PreparingRebalance(_, reason) = &self.state else { return };
        let reason = reason.clone();
        self.joined_counts.clone_from(&self.counts);
        self.claimed.clone_from(&self.owned);
        let ask = JoinAsk {
            call,
            identity: self.identity(),
            session_timeout: self.config.session_timeout,
            rebalance_timeout: self.config.rebalance_timeout,
            protocols: self
                .config
                .assignors
                .iter()
                .map(|kind| (kind.name(), self.subscription(*kind).encode()))
                .collect(),
            reason,
        };
        self.outputs.push_back(Output::Join(ask));
    }

    /// What we tell the leader for that assignor. A cooperative member claims what it owns under the newest generation
    /// that it joined, even where it missed the sync, as the Java client does: an older one would cost it the claim.
    fn subscription(&self, kind: AssignorKind) -> Subscription {
        let generation = Some(self.generation).filter(|g| *g != Generation::NONE);
        let user_data = match kind {
            AssignorKind::Range => None,
            AssignorKind::Sticky => {
                let (previous, generation) = self.previous.clone();
                let generation = Some(generation).filter(|g| *g != Generation::NONE);
                Some(StickyUserData { previous, generation }.encode())
            }
            AssignorKind::CooperativeSticky => Some(protocol::cooperative_user_data(generation)),
        };
        Subscription {
            topics: self.config.topics.clone(),
            user_data,
            owned: self.owned.iter().cloned().collect(),
            generation,
            rack: self.config.client_rack.clone(),
        }
    }

    pub(super) fn on_joined(&mut self, now: Instant, pending: &Pending, answer: JoinAnswer) {
        match Verdict::of(answer.error) {
            Verdict::Accepted => self.accept_join(now, answer),
            Verdict::MemberIdRequired => {
                self.member_id = answer.member_id;
                self.join_again(now, RebalanceReason::MemberIdAssigned);
            }
            Verdict::MemberUnknown => self.member_unknown(now),
            Verdict::GenerationStale => self.generation_stale(now),
            Verdict::CoordinatorMoved => {
                self.refused(answer.error);
                self.coordinator_lost(now, pending.coordinator);
                self.join_again(now, RebalanceReason::Refused(answer.error));
            }
            Verdict::Later | Verdict::GroupRebalancing => {
                self.refused(answer.error);
                self.join_again_later(now, RebalanceReason::Refused(answer.error));
            }
            Verdict::Fatal(cause) => self.fatal(cause),
        }
    }

    fn accept_join(&mut self, now: Instant, answer: JoinAnswer) {
        let chosen = answer.protocol_name.as_deref().unwrap_or("");
        let Some(kind) = AssignorKind::from_name(chosen).filter(|kind| self.config.assignors.contains(kind)) else {
            return self.fatal(FatalCause::UnknownAssignor(chosen.to_owned()));
        };
        self.coordinator_backoff.reset();
        self.liveness.joined(answer.generation != self.generation);
        self.assignor = Some(kind);
        self.generation = answer.generation;
        self.member_id = answer.member_id;
        // Who owns something hears of the new generation at once, because the join itself proves nothing of the session. Who owns
        // nothing has nothing to act on before its sync, which is a proof.
        self.next_heartbeat = if self.owned.is_empty() { now + self.config.heartbeat_interval } else { now };
        // A heartbeat of the old generation would only be told so.
        self.asks.cancel(AskKind::Heartbeat);
        let leads = answer.leader == self.member_id && !answer.skip_assignment;
        self.state = State::CompletingRebalance(if leads {
            Completing::Describing { members: answer.members, not_before: now }
        } else {
            Completing::Syncing { assignments: Vec::new() }
        });
    }

    pub(super) fn send_sync(&mut self, now: Instant) {
        let Some(assignor) = self.assignor else { return };
        let Some(call) = self.call(now, AskKind::Sync, self.config.rebalance_deadline()) else { return };
        let State::CompletingRebalance(Completing::Syncing { assignments }) = &self.state else { return };
        let ask = SyncAsk {
            call,
            identity: self.identity(),
            generation: self.generation,
            protocol_name: assignor.name(),
            assignments: assignments.clone(),
        };
        self.outputs.push_back(Output::Sync(ask));
    }

    pub(super) fn on_synced(&mut self, now: Instant, pending: &Pending, answer: &SyncAnswer) {
        match Verdict::of(answer.error) {
            Verdict::Accepted => match protocol::decode_assignment(&answer.assignment) {
                Ok(assigned) => self.accept_assignment(now, pending, assigned),
                Err(_) => self.join_again_later(now, RebalanceReason::AssignmentUnreadable),
            },
            Verdict::MemberUnknown => self.member_unknown(now),
            Verdict::GenerationStale => self.generation_stale(now),
            Verdict::GroupRebalancing => self.join_again_soon(now, RebalanceReason::GroupRebalancing),
            Verdict::CoordinatorMoved => {
                self.refused(answer.error);
                self.coordinator_lost(now, pending.coordinator);
                self.join_again_soon(now, RebalanceReason::Refused(answer.error));
            }
            Verdict::Later | Verdict::MemberIdRequired => {
                self.refused(answer.error);
                self.join_again_later(now, RebalanceReason::Refused(answer.error));
            }
            Verdict::Fatal(cause) => self.fatal(cause),
        }
    }

    fn accept_assignment(&mut self, now: Instant, pending: &Pending, assigned: Vec<TopicPartition>) {
        self.liveness.synced(pending.sent_at);
        if self.liveness.fence().is_some_and(|(at, _)| now >= at) {
            // The answer lay around for a whole session: whatever it gave us may be somebody else's by now.
            return self.join_again(now, RebalanceReason::Expired);
        }
        self.trouble = None;
        // Not earlier: a round that joins and then fails to sync, again and again, must slow down.
        self.join_backoff.reset();
        self.synced = self.generation;
        self.synced_at = Some(now);
        self.previous = (assigned.clone(), self.generation);
        let ours = |p: &TopicPartition| self.config.topics.contains(&p.topic);
        let assigned: BTreeSet<TopicPartition> = assigned.into_iter().filter(ours).collect();
        let added: Vec<TopicPartition> = assigned.difference(&self.owned).cloned().collect();
        let taken_away: Vec<TopicPartition> = self.owned.difference(&assigned).cloned().collect();
        // What was lost since the join counts too: the leader withholds it until we come without it.
        let awaited = self.claimed.difference(&assigned).count();
        self.owned.extend(added.iter().cloned());
        self.outputs.push_back(Output::Assign(Assigned {
            added,
            all: self.owned.iter().cloned().collect(),
            generation: self.generation,
            member_id: Arc::clone(&self.member_id),
        }));
        if awaited == 0 && taken_away.is_empty() {
            self.state = State::Stable;
        } else {
            self.revoke_then_join(now, taken_away, RebalanceReason::PartitionsRevoked(awaited));
        }
    }

    /// Joins at once.
    fn join_again(&mut self, now: Instant, reason: RebalanceReason) {
        self.state = State::PreparingRebalance(Preparing::Joining { not_before: now }, reason);
    }

    /// Joins at once the first time, and after pauses that grow when rounds go on failing.
    pub(super) fn join_again_soon(&mut self, now: Instant, reason: RebalanceReason) {
        let first = self.join_backoff.failures() == 0;
        let pause = self.join_pause(now);
        let not_before = if first { now } else { pause };
        self.state = State::PreparingRebalance(Preparing::Joining { not_before }, reason);
    }

    /// Joins after a pause that grows with the failures.
    pub(super) fn join_again_later(&mut self, now: Instant, reason: RebalanceReason) {
        let not_before = self.join_pause(now);
        self.state = State::PreparingRebalance(Preparing::Joining { not_before }, reason);
    }

    fn refused(&mut self, error: crate::error_code::ErrorCode) {
        self.trouble = Some(AskFailure::Refused(error));
    }
}
