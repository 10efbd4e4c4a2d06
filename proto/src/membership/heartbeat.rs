//! Heartbeats: when they are due, and what their answers mean in which state.

use std::time::Instant;

use crate::error_code::ErrorCode;
use crate::id::Generation;
use crate::membership::asks::{AskKind, Pending};
use crate::membership::exchange::{AskFailure, HeartbeatAsk, Output};
use crate::membership::state::{Completing, Leaving, Preparing, RebalanceReason, State};
use crate::membership::verdict::Verdict;
use crate::membership::{Coordinator, Membership};

impl Membership {
    /// A member of a generation is heard of all the time, also while its join or sync is held back: the coordinator
    /// may not have received that.
    pub(super) fn heartbeats(&self) -> bool {
        let present = match &self.state {
            State::PreparingRebalance(..)
            | State::CompletingRebalance(_)
            | State::Stable
            | State::Leaving(Leaving::Revoking { .. }) => true,
            State::Unjoined(..) | State::Leaving(Leaving::Sending { .. }) | State::Left | State::Fatal(_) => false,
        };
        present && self.generation != Generation::NONE
    }

    /// Sends a heartbeat if one is due.
    pub(super) fn beat(&mut self, now: Instant) {
        if now < self.next_heartbeat || !self.heartbeats() {
            return;
        }
        let Some(call) = self.call(now, AskKind::Heartbeat, self.config.heartbeat_deadline()) else { return };
        self.next_heartbeat = now + self.config.heartbeat_interval;
        let ask = HeartbeatAsk { call, identity: self.identity(), generation: self.generation };
        self.outputs.push_back(Output::Heartbeat(ask));
    }

    /// When the next heartbeat can be sent.
    pub(super) fn heartbeat_due(&self) -> Option<Instant> {
        let possible = matches!(self.coordinator, Coordinator::Known(_)) && !self.asks.is_pending(AskKind::Heartbeat);
        (possible && self.heartbeats()).then_some(self.next_heartbeat)
    }

    pub(super) fn on_heartbeat(&mut self, now: Instant, pending: &Pending, error: ErrorCode) {
        if pending.generation != self.generation || pending.member_id != self.member_id {
            return;
        }
        match Verdict::of(error) {
            Verdict::Accepted => {
                self.trouble = None;
                self.coordinator_backoff.reset();
                self.liveness.heartbeat_accepted(pending.sent_at, self.synced == self.generation);
            }
            Verdict::GroupRebalancing => {
                self.coordinator_backoff.reset();
                self.liveness.heartbeat_during_rebalance(pending.sent_at);
                self.on_group_rebalancing(now, pending.sent_at);
            }
            Verdict::MemberUnknown => self.member_unknown(now),
            Verdict::GenerationStale => self.on_heartbeat_stale(now),
            Verdict::CoordinatorMoved => {
                self.trouble = Some(AskFailure::Refused(error));
                self.coordinator_lost(now, pending.coordinator);
            }
            Verdict::Later | Verdict::MemberIdRequired => self.trouble = Some(AskFailure::Refused(error)),
            Verdict::Fatal(cause) => self.fatal(cause),
        }
    }

    /// Joins anew, if the answer is about the round that we are in. One to a heartbeat that was sent before the assignment
    /// arrived may be about the time before it: were it believed, a coordinator that always answers so would be joined
    /// again without a pause. What did begin since is told by the next heartbeat, or by the answer to a sync under way.
    fn on_group_rebalancing(&mut self, now: Instant, sent_at: Instant) {
        match &self.state {
            State::Stable if self.synced_at.is_some_and(|synced_at| sent_at > synced_at) => {
                self.prepare(now, RebalanceReason::GroupRebalancing);
            }
            // The leader would assign for a round that is over.
            State::CompletingRebalance(Completing::Describing { .. }) => {
                self.join_again_soon(now, RebalanceReason::GroupRebalancing);
            }
            State::Stable
            | State::CompletingRebalance(Completing::Syncing { .. })
            | State::Unjoined(..)
            | State::PreparingRebalance(..)
            | State::Leaving(_)
            | State::Left
            | State::Fatal(_) => {}
        }
    }

    /// While a join is on its way the group may already be one generation further, with us in it.
    fn on_heartbeat_stale(&mut self, now: Instant) {
        if !matches!(self.state, State::PreparingRebalance(Preparing::Joining { .. }, _)) {
            self.generation_stale(now);
        }
    }
}
