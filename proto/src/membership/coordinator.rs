//! The coordinator: found, believed in until something speaks against it, found again (fault G10); and the one way in
//! which it is asked.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::id::{BrokerId, Generation};
use crate::membership::asks::{AskKind, Pending};
use crate::membership::exchange::{Call, FindCoordinatorAsk, Output};
use crate::membership::state::{State, Wake};
use crate::membership::{Coordinator, Membership};

impl Membership {
    /// What was asked before was asked of another broker or over another connection, and may never be answered. Asking
    /// again is harmless: the coordinator keeps the newest request of a member.
    pub(super) fn coordinator_found(&mut self, now: Instant, broker: BrokerId) {
        self.coordinator = Coordinator::Known(broker);
        self.asks.cancel(AskKind::Join);
        self.asks.cancel(AskKind::Sync);
        self.asks.cancel(AskKind::Heartbeat);
        self.asks.cancel(AskKind::Leave);
        self.next_heartbeat = now;
    }

    /// The coordinator is to be found again, if it was that broker.
    pub(super) fn coordinator_lost(&mut self, now: Instant, broker: BrokerId) {
        if self.coordinator == Coordinator::Known(broker) {
            self.coordinator = Coordinator::Unknown { retry_at: self.coordinator_pause(now) };
        }
    }

    pub(super) fn coordinator_pause(&mut self, now: Instant) -> Instant {
        let random = self.random();
        now + self.coordinator_backoff.next(random)
    }
    pub(super) fn look_for_coordinator(&mut self, now: Instant) {
        let Coordinator::Unknown { retry_at } = self.coordinator else { return };
        if now < retry_at || !self.wants_coordinator() {
            return;
        }
        let id = self.asks.name();
        let deadline = now + self.config.request_timeout;
        self.asks.insert(Pending {
            id,
            kind: AskKind::FindCoordinator,
            sent_at: now,
            deadline,
            coordinator: BrokerId::NONE,
            generation: Generation::NONE,
            member_id: Arc::clone(&self.member_id),
        });
        self.coordinator = Coordinator::Finding;
        let group_id = Arc::clone(&self.config.group_id);
        self.outputs.push_back(Output::FindCoordinator(FindCoordinatorAsk { id, deadline, group_id }));
    }

    pub(super) fn wants_coordinator(&self) -> bool {
        !self.state.is_over() && !matches!(self.state, State::Unjoined(Wake::Polled, _))
    }

    /// The call of a request to the coordinator, if there is one and nothing of the kind is under way.
    pub(super) fn call(&mut self, now: Instant, kind: AskKind, wait: Duration) -> Option<Call> {
        let Coordinator::Known(coordinator) = self.coordinator else { return None };
        if self.asks.is_pending(kind) {
            return None;
        }
        let call = Call { id: self.asks.name(), coordinator, deadline: now + wait };
        self.asks.insert(Pending {
            id: call.id,
            kind,
            sent_at: now,
            deadline: call.deadline,
            coordinator,
            generation: self.generation,
            member_id: Arc::clone(&self.member_id),
        });
        Some(call)
    }
}
