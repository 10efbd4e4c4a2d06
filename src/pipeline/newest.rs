//! Of two snapshots of one incident the one with the later `updatedOn` counts.
//!
//! Remembers the incidents that matched lately, within a bound; what was forgotten counts as new, which costs a look
//! into the ledger and nothing else, since episodes there are done once anyway.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

/// Incidents remembered.
const REMEMBERED_MAX: usize = 16 * 1024;

/// Shared between those who decide and those who act.
#[derive(Debug, Default)]
pub(crate) struct Newest {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    updated_on: HashMap<Arc<str>, i64>,
    /// In the order they were first seen.
    age: VecDeque<Arc<str>>,
}

/// What a snapshot is, compared with those seen before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The latest so far, or as late as it, or not comparable.
    Current,
    /// A later one was seen.
    Stale {
        /// Its `updatedOn`, seconds since the epoch.
        newest: i64,
    },
}

impl Newest {
    /// Notes a snapshot that matched.
    pub(crate) fn matched(&self, incident: &Arc<str>, updated_on: Option<i64>) {
        let Some(updated_on) = updated_on else { return };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.updated_on.contains_key(incident) {
            if known.age.len() >= REMEMBERED_MAX
                && let Some(oldest) = known.age.pop_front()
            {
                known.updated_on.remove(&oldest);
            }
            known.age.push_back(Arc::clone(incident));
            known.updated_on.insert(Arc::clone(incident), updated_on);
        }
        note(&mut known, incident, updated_on);
    }

    /// Notes a snapshot that did not match: it counts only for incidents that did.
    pub(crate) fn unmatched(&self, incident: &str, updated_on: Option<i64>) {
        let Some(updated_on) = updated_on else { return };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        note(&mut known, incident, updated_on);
    }

    /// Whether snapshots of this incident count, since one of them matched.
    pub(crate) fn knows(&self, incident: &str) -> bool {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).updated_on.contains_key(incident)
    }

    /// What a snapshot is by now.
    pub(crate) fn standing(&self, incident: &str, updated_on: Option<i64>) -> Standing {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match (known.updated_on.get(incident), updated_on) {
            (Some(newest), Some(updated_on)) if updated_on < *newest => Standing::Stale { newest: *newest },
            _ => Standing::Current,
        }
    }
}

fn note(known: &mut Known, incident: &str, updated_on: i64) {
    if let Some(newest) = known.updated_on.get_mut(incident) {
        *newest = updated_on.max(*newest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_earlier_snapshot_is_stale_and_an_equal_one_is_not() {
        let (newest, id) = (Newest::default(), Arc::from("i"));
        newest.matched(&id, Some(20));
        newest.matched(&id, Some(10));
        assert_eq!(newest.standing("i", Some(10)), Standing::Stale { newest: 20 });
        assert_eq!(newest.standing("i", Some(20)), Standing::Current);
        assert_eq!(newest.standing("i", None), Standing::Current);
    }

    #[test]
    fn a_later_snapshot_that_does_not_match_makes_the_waiting_one_stale() {
        let (newest, id) = (Newest::default(), Arc::from("i"));
        newest.matched(&id, Some(20));
        newest.unmatched("i", Some(30));
        newest.unmatched("never matched", Some(30));
        assert_eq!(newest.standing("i", Some(20)), Standing::Stale { newest: 30 });
        assert_eq!(newest.standing("never matched", Some(1)), Standing::Current);
    }

    #[test]
    fn memory_is_bounded() {
        let newest = Newest::default();
        for number in 0..REMEMBERED_MAX + 100 {
            newest.matched(&Arc::from(number.to_string()), Some(1));
        }
        assert_eq!(newest.known.lock().unwrap().updated_on.len(), REMEMBERED_MAX);
    }
}
