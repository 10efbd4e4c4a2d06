//! All deadlines of the machine in one table.

use std::time::Instant;

use crate::membership::asks::AskKind;
use crate::membership::state::{Completing, Leaving, Preparing, State, Wake};
use crate::membership::{Coordinator, Membership};

/// What a deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    /// Nothing may be acted on any more.
    Fence,
    /// A request is not awaited any longer.
    Ask,
    /// The next heartbeat.
    Heartbeat,
    /// The next search for the coordinator.
    Coordinator,
    /// The next step of the state.
    Step,
}

impl Membership {
    /// When [`super::Input::Tick`] is due. `None` when only an input can move the machine.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers().into_iter().filter_map(|(_, at)| at).min()
    }

    pub(super) fn timers(&self) -> [(Timer, Option<Instant>); 5] {
        if self.state.is_over() {
            return [Timer::Fence, Timer::Ask, Timer::Heartbeat, Timer::Coordinator, Timer::Step].map(|t| (t, None));
        }
        [
            (Timer::Fence, self.fenced_after()),
            (Timer::Ask, self.asks.earliest_deadline()),
            (Timer::Heartbeat, self.heartbeat_due()),
            (Timer::Coordinator, self.search_due()),
            (Timer::Step, self.step_due()),
        ]
    }

    fn search_due(&self) -> Option<Instant> {
        match self.coordinator {
            Coordinator::Unknown { retry_at } if self.wants_coordinator() => Some(retry_at),
            Coordinator::Unknown { .. } | Coordinator::Finding | Coordinator::Known(_) => None,
        }
    }

    fn step_due(&self) -> Option<Instant> {
        let can_ask = |kind| matches!(self.coordinator, Coordinator::Known(_)) && !self.asks.is_pending(kind);
        match &self.state {
            State::Unjoined(Wake::At(at), _) => Some(*at),
            State::PreparingRebalance(Preparing::Revoking(revocation), _)
            | State::Leaving(Leaving::Revoking { revocation, .. }) => Some(revocation.deadline),
            State::PreparingRebalance(Preparing::Joining { not_before }, _) => {
                can_ask(AskKind::Join).then_some(*not_before)
            }
            State::CompletingRebalance(Completing::Describing { not_before, .. }) => {
                (!self.asks.is_pending(AskKind::DescribeTopics)).then_some(*not_before)
            }
            State::Leaving(Leaving::Sending { deadline, not_before, .. }) => {
                let due = can_ask(AskKind::Leave).then_some(*not_before);
                Some(due.map_or(*deadline, |at| at.min(*deadline)))
            }
            State::Unjoined(Wake::Polled, _)
            | State::CompletingRebalance(Completing::Syncing { .. })
            | State::Stable
            | State::Left
            | State::Fatal(_) => None,
        }
    }
}
