//! One member, and the answers that it waits for.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::{JoinAnswer, SyncAnswer};

/// One member of a group.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) id: String,
    pub(crate) instance_id: Option<String>,
    pub(crate) client_id: String,
    pub(super) session_timeout: Duration,
    pub(super) rebalance_timeout: Duration,
    /// Assignors by preference, each with what the member tells the leader.
    pub(super) protocols: Vec<(String, Bytes)>,
    pub(crate) assignment: Bytes,
    session_deadline: Instant,
    join: Option<oneshot::Sender<JoinAnswer>>,
    sync: Option<oneshot::Sender<SyncAnswer>>,
    /// Has the assignment of this generation, or waits for it.
    pub(super) synced: bool,
}

impl Member {
    pub(super) fn new(id: String, ask: &super::JoinAsk, now: Instant) -> Self {
        Self {
            id,
            instance_id: ask.instance_id.clone(),
            client_id: ask.client_id.clone(),
            session_timeout: ask.session_timeout,
            rebalance_timeout: ask.rebalance_timeout,
            protocols: ask.protocols.clone(),
            assignment: Bytes::new(),
            session_deadline: now + ask.session_timeout,
            join: None,
            sync: None,
            synced: false,
        }
    }

    /// Takes over what a repeated join says.
    pub(super) fn update(&mut self, ask: &super::JoinAsk) {
        self.session_timeout = ask.session_timeout;
        self.rebalance_timeout = ask.rebalance_timeout;
        self.protocols.clone_from(&ask.protocols);
        self.client_id.clone_from(&ask.client_id);
    }

    /// The session begins anew.
    pub(super) fn touch(&mut self, now: Instant) {
        self.session_deadline = now + self.session_timeout;
    }

    /// When the session ends; never while the member waits for an answer of ours.
    pub(super) fn session_deadline(&self) -> Option<Instant> {
        (self.join.is_none() && self.sync.is_none()).then_some(self.session_deadline)
    }

    pub(super) fn metadata_of(&self, protocol: &str) -> Bytes {
        let own = self.protocols.iter().find(|(name, _)| name == protocol);
        own.map(|(_, metadata)| metadata.clone()).unwrap_or_default()
    }

    pub(super) fn supports(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|(name, _)| name == protocol)
    }

    pub(super) fn has_joined(&self) -> bool {
        self.join.is_some()
    }

    /// Parks the join; one that was parked before is dropped, as its connection is gone.
    pub(super) fn park_join(&mut self) -> oneshot::Receiver<JoinAnswer> {
        let (answer, waiting) = oneshot::channel();
        self.join = Some(answer);
        waiting
    }

    pub(super) fn park_sync(&mut self) -> oneshot::Receiver<SyncAnswer> {
        let (answer, waiting) = oneshot::channel();
        self.sync = Some(answer);
        waiting
    }

    /// Answers a parked join; whoever waited may be gone, which the session will find out.
    pub(super) fn answer_join(&mut self, answer: JoinAnswer) {
        if let Some(waiting) = self.join.take() {
            let _gone = waiting.send(answer);
        }
    }

    /// Answers a parked sync.
    pub(super) fn answer_sync(&mut self, answer: SyncAnswer) {
        if let Some(waiting) = self.sync.take() {
            let _gone = waiting.send(answer);
        }
    }
}
