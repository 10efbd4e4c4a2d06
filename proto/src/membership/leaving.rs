//! Leaving the group: on request, bounded even when no coordinator is there (fault G16), and for a while when the
//! application is too slow (fault G1). A static member goes without a word, so that its restart moves nothing.

use std::time::Instant;

use crate::error_code::ErrorCode;
use crate::id::Generation;
use crate::membership::Membership;
use crate::membership::asks::{AskKind, Pending};
use crate::membership::exchange::{LeaveAsk, LostCause, Output};
use crate::membership::joining::cut_reason;
use crate::membership::state::{Leaving, RebalanceReason, State, Wake};
use crate::membership::verdict::Verdict;

impl Membership {
    /// Whether the coordinator has to be told that we go.
    fn has_to_say_goodbye(&self) -> bool {
        self.config.group_instance_id.is_none() && !self.member_id.is_empty()
    }

    /// A revocation under way is replaced by one of everything.
    pub(super) fn on_leave(&mut self, now: Instant, reason: String) {
        if matches!(self.state, State::Leaving(_)) {
            return;
        }
        self.asks.cancel(AskKind::Join);
        self.asks.cancel(AskKind::Sync);
        self.asks.cancel(AskKind::DescribeTopics);
        self.asks.cancel(AskKind::Leave);
        let deadline = now + self.config.leave_timeout;
        self.state = State::Leaving(if self.owned.is_empty() {
            Leaving::Sending { reason, deadline, not_before: now }
        } else {
            // The last fifth is for the goodbye.
            let by_request = now + self.config.leave_timeout.mul_f64(0.8);
            let until = self.liveness.rebalance_fence().map_or(by_request, |fence| fence.min(by_request));
            let revocation = self.start_revocation(self.owned.iter().cloned().collect(), until);
            Leaving::Revoking { revocation, reason, deadline }
        });
    }

    /// One step on the way out. True when the state has changed.
    pub(super) fn step_out(&mut self, now: Instant) -> bool {
        match &self.state {
            State::Leaving(Leaving::Revoking { revocation, reason, deadline }) if now >= revocation.deadline => {
                let sending = Leaving::Sending { reason: reason.clone(), deadline: *deadline, not_before: now };
                self.lose(LostCause::RevocationTimedOut);
                self.state = State::Leaving(sending);
                true
            }
            State::Leaving(Leaving::Sending { deadline, .. }) if now >= *deadline || !self.has_to_say_goodbye() => {
                self.left();
                true
            }
            State::Leaving(Leaving::Sending { reason, not_before, deadline }) if now >= *not_before => {
                let (reason, deadline) = (reason.clone(), *deadline);
                self.say_goodbye(now, &reason, deadline);
                false
            }
            _ => false,
        }
    }

    fn say_goodbye(&mut self, now: Instant, reason: &str, until: Instant) {
        let wait = self.config.request_timeout.min(until.saturating_duration_since(now));
        let Some(call) = self.call(now, AskKind::Leave, wait) else { return };
        let ask = LeaveAsk { call, identity: self.identity(), reason: cut_reason(reason) };
        self.outputs.push_back(Output::Leave(ask));
    }

    pub(super) fn on_left(&mut self, now: Instant, pending: &Pending, error: ErrorCode) {
        if !matches!(self.state, State::Leaving(_)) {
            return;
        }
        match Verdict::of(error) {
            Verdict::CoordinatorMoved => {
                self.coordinator_lost(now, pending.coordinator);
                self.leave_again_later(now);
            }
            Verdict::Later => self.leave_again_later(now),
            Verdict::Accepted
            | Verdict::MemberIdRequired
            | Verdict::MemberUnknown
            | Verdict::GenerationStale
            | Verdict::GroupRebalancing
            | Verdict::Fatal(_) => self.left(),
        }
    }

    pub(super) fn leave_again_later(&mut self, now: Instant) {
        let pause = self.join_pause(now);
        if let State::Leaving(Leaving::Sending { not_before, .. }) = &mut self.state {
            *not_before = pause;
        }
    }

    fn left(&mut self) {
        self.asks = super::Asks::default();
        self.generation = Generation::NONE;
        self.state = State::Left;
        self.outputs.push_back(Output::Left);
    }

    /// Everything is lost at once, and the group is told, so that others can take over without waiting for the session.
    pub(super) fn on_poll_deadline(&mut self, now: Instant) {
        match self.state {
            State::Leaving(_) | State::Left | State::Fatal(_) | State::Unjoined(Wake::Polled, _) => return,
            State::Unjoined(Wake::At(_), _)
            | State::PreparingRebalance(..)
            | State::CompletingRebalance(_)
            | State::Stable => {}
        }
        self.drop_membership(now, LostCause::PollDeadlinePassed, Wake::Polled, RebalanceReason::PolledAgain);
        if self.has_to_say_goodbye() {
            let until = now + self.config.leave_timeout;
            self.say_goodbye(now, "consumer poll timeout has expired", until);
            self.forget_member_id();
        }
    }

    pub(super) fn on_polled(&mut self, now: Instant) {
        if let State::Unjoined(Wake::Polled, reason) = &self.state {
            self.state = State::Unjoined(Wake::At(now), reason.clone());
        }
    }
}
