//! The requests under way: at most one of each kind, each with its name, moment and deadline.

use std::sync::Arc;
use std::time::Instant;

use crate::id::{BrokerId, Generation};
use crate::membership::exchange::AskId;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AskKind {
    FindCoordinator,
    Join,
    Sync,
    DescribeTopics,
    Heartbeat,
    Leave,
}

/// One request under way, with the identity that it was sent under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pending {
    pub(super) id: AskId,
    pub(super) kind: AskKind,
    pub(super) sent_at: Instant,
    pub(super) deadline: Instant,
    /// [`BrokerId::NONE`] for what does not go to the coordinator.
    pub(super) coordinator: BrokerId,
    pub(super) generation: Generation,
    pub(super) member_id: Arc<str>,
}

/// All requests under way. Replacing one forgets the older: its answer will not be recognised.
#[derive(Debug, Default)]
pub(super) struct Asks {
    named: u64,
    pending: Vec<Pending>,
}

impl Asks {
    /// A name that was never used.
    pub(super) fn name(&mut self) -> AskId {
        self.named += 1;
        AskId(self.named)
    }

    pub(super) fn insert(&mut self, pending: Pending) {
        self.cancel(pending.kind);
        self.pending.push(pending);
    }

    /// The request of that name, which from now on is answered.
    pub(super) fn take(&mut self, id: AskId) -> Option<Pending> {
        let place = self.pending.iter().position(|p| p.id == id)?;
        Some(self.pending.swap_remove(place))
    }

    /// A request whose deadline has passed.
    pub(super) fn take_expired(&mut self, now: Instant) -> Option<Pending> {
        let id = self.pending.iter().find(|p| now >= p.deadline)?.id;
        self.take(id)
    }

    pub(super) fn is_pending(&self, kind: AskKind) -> bool {
        self.pending.iter().any(|p| p.kind == kind)
    }

    pub(super) fn cancel(&mut self, kind: AskKind) {
        self.pending.retain(|p| p.kind != kind);
    }

    /// Forgets everything that belongs to one membership; finding the coordinator and leaving go on.
    pub(super) fn cancel_membership(&mut self) {
        self.pending.retain(|p| matches!(p.kind, AskKind::FindCoordinator | AskKind::Leave));
    }

    pub(super) fn earliest_deadline(&self) -> Option<Instant> {
        self.pending.iter().map(|p| p.deadline).min()
    }
}
