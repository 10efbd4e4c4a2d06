//! Keeps the metadata fresh: when asked, when old, and after a failure until it succeeds.
//!
//! A broker that does not answer costs one short deadline and the next one is asked, so that a dead broker cannot wedge
//! the refreshes. After `metadata.recovery.rebootstrap.trigger.ms` without success, counted from the first failure, or
//! when a broker says so (KIP-1102), all brokers are forgotten and the bootstrap servers are asked.

use std::sync::{Arc, Weak};
use std::time::Duration;

use kafka_proto::backoff::Backoff;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::client::cluster::{Inner, lock};
use crate::client::flight::FlightStep;
use crate::client::request::metadata::GetMetadata;

/// `REBOOTSTRAP_REQUIRED`.
const REBOOTSTRAP_REQUIRED: i16 = 129;

/// Where the refreshing stands.
struct Pace {
    backoff: Backoff,
    /// The first failure since the last success.
    failing_since: Option<Instant>,
    /// No refresh before this.
    not_before: Instant,
    /// A refresh by this at the latest.
    due: Instant,
}

/// Runs until the cluster is closed or dropped.
pub(super) async fn keep_fresh(cluster: Weak<Inner>, closing: CancellationToken) {
    let Some(mut pace) = cluster.upgrade().map(|inner| Pace::new(&inner)) else { return };
    loop {
        let Some(inner) = cluster.upgrade() else { return };
        tokio::select! {
            () = closing.cancelled() => return,
            () = pace.wait(&inner) => {}
        }
        tokio::select! {
            () = closing.cancelled() => return,
            () = round(&inner, &mut pace) => {}
        }
    }
}

impl Pace {
    fn new(inner: &Inner) -> Self {
        let now = Instant::now();
        let backoff = Backoff::new(inner.config.retry_backoff, inner.config.retry_backoff_max);
        Self { backoff, failing_since: None, not_before: now, due: now }
    }

    /// Until a refresh is asked for or due; then until the back-off is over.
    async fn wait(&mut self, inner: &Inner) {
        tokio::select! {
            () = tokio::time::sleep_until(self.due) => {}
            () = inner.wanted.notified() => {}
        }
        tokio::time::sleep_until(self.not_before).await;
    }

    /// Refreshes that follow each other closely are spaced out like retries; a quiet time starts afresh.
    fn space_out(&mut self, quiet_after: Duration) -> Instant {
        let now = Instant::now();
        if now.saturating_duration_since(self.not_before) > quiet_after {
            self.backoff.reset();
        }
        self.not_before = now + self.backoff.next(getrandom::u64().unwrap_or(0));
        self.not_before
    }
}

/// One refresh by one broker.
async fn round(inner: &Arc<Inner>, pace: &mut Pace) {
    let next = pace.space_out(inner.config.retry_backoff_max * 4);
    let question = || GetMetadata { topics: Some(lock(&inner.topics).clone()) };
    match inner.ask_any(question).await {
        Ok(answer) if answer.error.code() == REBOOTSTRAP_REQUIRED => {
            rebootstrap(inner, "a broker demands it");
            pace.due = next;
        }
        Ok(answer) => {
            let asked = lock(&inner.topics).clone();
            inner.change_metadata(|known| {
                let updated = known.updated(answer, &asked);
                inner.adopt_bootstrap(&updated);
                Some(updated)
            });
            let known = Arc::clone(&inner.metadata.borrow());
            inner.forget_links(&known);
            *lock(&inner.refresh_error) = None;
            pace.failing_since = None;
            pace.due = if known.is_incomplete() { next } else { Instant::now() + inner.config.metadata_max_age };
        }
        Err(error) => {
            *lock(&inner.refresh_error) = Some(error.to_string());
            inner.ask_another_next();
            let since = *pace.failing_since.get_or_insert_with(Instant::now);
            if since.elapsed() >= inner.config.metadata_recovery_rebootstrap_trigger {
                rebootstrap(inner, "no metadata for too long");
                pace.failing_since = None;
            }
            pace.due = next;
        }
    }
}

fn rebootstrap(inner: &Inner, why: &str) {
    tracing::warn!(why, "all brokers are forgotten; starting from bootstrap.servers");
    inner.connector.flight().record(FlightStep::Rebootstrap, why);
    inner.change_metadata(|known| Some(known.without_brokers()));
    let known = Arc::clone(&inner.metadata.borrow());
    inner.forget_links(&known);
}
