//! What we can prove about how the coordinator sees us, and so until when we may act.
//!
//! Two clocks of the coordinator can take our partitions away. The session runs from the last request that it heard;
//! a rebalance runs from its start, or for a member that has joined, until its sync. We cannot see either start, but
//! each began no earlier than some request of ours was *sent* whose answer proves it. Counting from the sending, and
//! ending a margin early, we stop before anyone else may begin (fault G3), also after the process was paused (fault A5).

use std::time::{Duration, Instant};

use crate::membership::exchange::LostCause;

/// The evidence.
#[derive(Debug)]
pub(super) struct Liveness {
    session_limit: Duration,
    rebalance_limit: Duration,
    /// When the last request was sent that the coordinator answered as one of a live member.
    acknowledged: Option<Instant>,
    /// When the last request was sent whose answer proves that no rebalance or sync was waiting for us.
    settled: Option<Instant>,
    /// When the last heartbeat was sent that was answered with `REBALANCE_IN_PROGRESS`.
    rebalancing: Option<Instant>,
}

impl Liveness {
    pub(super) fn new(session_timeout: Duration, rebalance_timeout: Duration, margin: Duration) -> Self {
        Self {
            session_limit: session_timeout.saturating_sub(margin),
            rebalance_limit: rebalance_timeout.saturating_sub(margin.min(rebalance_timeout / 4)),
            acknowledged: None,
            settled: None,
            rebalancing: None,
        }
    }

    /// Nothing is proven any more.
    pub(super) fn reset(&mut self) {
        self.acknowledged = None;
        self.settled = None;
        self.rebalancing = None;
    }

    /// A heartbeat of that moment was answered without error. It settles the rebalance clock only when the member has
    /// synced this generation: otherwise the coordinator is still waiting for that.
    pub(super) fn heartbeat_accepted(&mut self, sent_at: Instant, synced: bool) {
        self.acknowledged = self.acknowledged.max(Some(sent_at));
        if synced {
            self.settled = self.settled.max(Some(sent_at));
        }
    }

    /// A heartbeat of that moment was answered with `REBALANCE_IN_PROGRESS`: alive (fault G2), but the clock runs.
    pub(super) fn heartbeat_during_rebalance(&mut self, sent_at: Instant) {
        self.acknowledged = self.acknowledged.max(Some(sent_at));
        self.rebalancing = self.rebalancing.max(Some(sent_at));
    }

    /// A join was accepted. The round ended after the last heartbeat that saw it going on; a join that came back with
    /// the generation we had proves nothing. It proves nothing of the session either: to a join that is repeated after
    /// the round the coordinator repeats its answer, and the session goes on running from the end of the round.
    pub(super) fn joined(&mut self, new_generation: bool) {
        if new_generation {
            self.settled = self.settled.max(self.rebalancing.take());
        }
    }

    /// A sync of that moment was accepted: nothing waits for us.
    pub(super) fn synced(&mut self, sent_at: Instant) {
        self.acknowledged = self.acknowledged.max(Some(sent_at));
        self.settled = self.settled.max(Some(sent_at));
        self.rebalancing = None;
    }

    /// When the session must be believed over.
    pub(super) fn session_fence(&self) -> Option<Instant> {
        self.acknowledged?.checked_add(self.session_limit)
    }

    /// When a rebalance that we may not have seen must be believed to have ended without us.
    pub(super) fn rebalance_fence(&self) -> Option<Instant> {
        self.settled?.checked_add(self.rebalance_limit)
    }

    /// The moment at which nothing may be acted on any more, and what it means.
    pub(super) fn fence(&self) -> Option<(Instant, LostCause)> {
        let session = self.session_fence().map(|at| (at, LostCause::SessionExpired));
        let rebalance = self.rebalance_fence().map(|at| (at, LostCause::RebalanceExpired));
        match (session, rebalance) {
            (Some(session), Some(rebalance)) if rebalance.0 < session.0 => Some(rebalance),
            (Some(session), _) => Some(session),
            (None, rebalance) => rebalance,
        }
    }
}
