//! Incidents of which an earlier process or assignment left an episode without its end.
//!
//! Their next record settles it even if it matches nothing any more: it may have aged out of its condition while the process was
//! down, or the rules may have changed. Without this an attempt of unknown fate would stay unknown silently.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Shared between those who decide, those who act, and whoever reopens what was held. As large as the number of open
/// episodes, which is bounded by what can be in work at a time. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Left(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    incidents: Mutex<HashSet<Arc<str>>>,
    /// Read first: nearly always nothing was left, and every record asks.
    count: AtomicUsize,
}

impl Left {
    pub(crate) fn contains(&self, incident: &str) -> bool {
        self.0.count.load(Ordering::Acquire) > 0 && self.change(|incidents| incidents.contains(incident))
    }

    /// Something of this incident is open that no record has led to yet.
    pub fn add(&self, incident: Arc<str>) {
        self.change(|incidents| incidents.insert(incident));
    }

    pub(crate) fn remove(&self, incident: &str) {
        self.change(|incidents| incidents.remove(incident));
    }

    fn change<T>(&self, change: impl FnOnce(&mut HashSet<Arc<str>>) -> T) -> T {
        let mut incidents = self.0.incidents.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = change(&mut incidents);
        self.0.count.store(incidents.len(), Ordering::Release);
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_incident_is_left_until_it_is_settled() {
        let left = Left::default();
        assert!(!left.contains("i"));
        left.add(Arc::from("i"));
        assert!(left.contains("i") && !left.contains("j"));
        left.remove("i");
        assert!(!left.contains("i"));
    }
}
