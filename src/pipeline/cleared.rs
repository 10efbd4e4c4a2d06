//! What later snapshots say of incidents whose verification waits: that the alert, or the incident, is over.
//!
//! Whoever decides looks at every record anyway; nearly always nobody waits, and then this costs one load of a number. A
//! snapshot counts when it is later than the one that was acted upon: an older one may tell of an earlier end.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::action::is_over;
use crate::incident::Incident;

/// Shared between those who decide and those who verify.
#[derive(Debug, Default)]
pub(crate) struct Cleared {
    waiting: Mutex<HashMap<Arc<str>, Vec<Waiter>>>,
    /// Read first.
    count: AtomicUsize,
}

#[derive(Debug)]
struct Waiter {
    alert: Option<String>,
    /// `updatedOn` of the snapshot that was acted upon.
    later_than: i64,
    over: watch::Sender<bool>,
}

/// Somebody waits for the end of an alert, or of an incident, until this is dropped.
pub(crate) struct Waiting<'c> {
    cleared: &'c Cleared,
    incident: Arc<str>,
    over: watch::Receiver<bool>,
}

impl Cleared {
    /// Waits for a snapshot of this incident that is later than this one. One without a time has nothing later.
    pub(crate) fn wait(&self, incident: &Incident<'_>, alert: Option<&str>) -> Waiting<'_> {
        let (over, heard) = watch::channel(false);
        let id: Arc<str> = Arc::from(&*incident.id);
        let later_than = incident.updated_on.unwrap_or(i64::MAX);
        self.change(|waiting| {
            let waiters = waiting.entry(Arc::clone(&id)).or_default();
            // What has been heard since the flow began counts.
            let known = |other: &Waiter| other.alert.as_deref() == alert && other.later_than >= later_than;
            over.send_replace(waiters.iter().any(|other| known(other) && *other.over.borrow()));
            waiters.push(Waiter { alert: alert.map(str::to_owned), later_than, over });
        });
        Waiting { cleared: self, incident: id, over: heard }
    }

    /// Whether anybody waits for anything.
    pub(crate) fn is_awaited(&self) -> bool {
        self.count.load(Ordering::Acquire) > 0
    }

    /// A snapshot was read.
    pub(crate) fn seen(&self, incident: &Incident<'_>) {
        if !self.is_awaited() {
            return;
        }
        self.change(|waiting| {
            for waiter in waiting.get(&*incident.id).into_iter().flatten() {
                let later = incident.updated_on.is_some_and(|updated_on| updated_on > waiter.later_than);
                if later && is_over(incident, waiter.alert.as_deref()) {
                    waiter.over.send_replace(true);
                }
            }
        });
    }

    fn change(&self, change: impl FnOnce(&mut HashMap<Arc<str>, Vec<Waiter>>)) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut waiting);
        self.count.store(waiting.len(), Ordering::Release);
    }
}

impl Waiting<'_> {
    /// Returns when a later snapshot says that it is over.
    pub(crate) async fn over(&mut self) {
        if self.over.wait_for(|over| *over).await.is_err() {
            // The sender goes with this only.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let ours = self.over.clone();
        self.cleared.change(|waiting| {
            if let Some(waiters) = waiting.get_mut(&self.incident) {
                waiters.retain(|waiter| !ours.same_channel(&waiter.over.subscribe()));
                if waiters.is_empty() {
                    waiting.remove(&self.incident);
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    fn snapshot(updated_on: i64, status: &str) -> Incident<'static> {
        let text = format!(
            r#"{{"id": "i", "updatedOn": {updated_on}, "active": true, "alerts": [{{"id": "a", "status": "{status}"}}]}}"#
        );
        Incident::parse(text.as_bytes()).expect("an incident").into_owned()
    }

    #[test]
    fn only_a_later_snapshot_that_says_so_ends_the_wait() {
        let cleared = Cleared::default();
        let mut alert = cleared.wait(&snapshot(10, "critical"), Some("a"));
        let mut incident = cleared.wait(&snapshot(10, "critical"), None);
        for (updated_on, status) in [(9, "ok"), (10, "ok"), (11, "critical")] {
            cleared.seen(&snapshot(updated_on, status));
            assert!(alert.over().now_or_never().is_none(), "{updated_on} {status}");
        }
        cleared.seen(&snapshot(12, "ok"));
        assert!(cleared.wait(&snapshot(10, "critical"), Some("a")).over().now_or_never().is_some(), "heard before");
        assert!(cleared.wait(&snapshot(13, "critical"), Some("a")).over().now_or_never().is_none(), "another start");
        assert!(alert.over().now_or_never().is_some());
        assert!(incident.over().now_or_never().is_none(), "the incident goes on");
        drop((alert, incident));
        assert_eq!(cleared.count.load(Ordering::Acquire), 0, "nobody waits any more");
    }
}
