//! What would have been begun, beside what the ledger says was done.

use std::collections::BTreeMap;

use crate::ledger::{EpisodeKey, State};

use super::rehearsal::{Begun, Fired};

/// How the episodes of one condition stand in the ledger.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standings {
    pub(super) succeeded: u64,
    pub(super) failed: u64,
    pub(super) skipped: u64,
    pub(super) held: u64,
    /// Begun and not ended.
    pub(super) open: u64,
    pub(super) absent: u64,
}

/// The difference.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    pub(super) by_condition: BTreeMap<String, Standings>,
    /// Would have been begun, and the ledger does not know them.
    pub(super) not_done: Vec<(EpisodeKey, Begun)>,
    /// The ledger knows them as begun in the time that was replayed, and these rules would not begin them.
    pub(super) not_planned: Vec<(EpisodeKey, &'static str)>,
}

impl Comparison {
    pub(super) fn differs(&self) -> bool {
        !self.not_done.is_empty() || !self.not_planned.is_empty()
    }
}

/// Compares. `known` holds every episode of the ledger that is asked for or was begun in the replayed time; the second
/// part says whether it was.
pub(super) fn compare(fired: &Fired, known: &BTreeMap<EpisodeKey, (State, bool)>) -> Comparison {
    let mut comparison = Comparison::default();
    for (key, begun) in fired.episodes.iter().filter(|(_, begun)| !begun.shadow) {
        let state = known.get(key).map_or(&State::Absent, |(state, _)| state);
        comparison.by_condition.entry(key.condition.clone()).or_default().count(state);
        if state.is_new() {
            comparison.not_done.push((key.clone(), begun.clone()));
        }
    }
    let unplanned = known.iter().filter(|(key, (_, in_time))| *in_time && !fired.episodes.contains_key(key));
    // A fallback is taken when something failed, which no rehearsal knows.
    let unplanned = unplanned.filter(|(key, _)| !key.action.starts_with("fallback:"));
    comparison.not_planned = unplanned.map(|(key, (state, _))| (key.clone(), state.name())).collect();
    comparison
}

impl Standings {
    fn count(&mut self, state: &State) {
        let slot = match state.name() {
            "succeeded" => &mut self.succeeded,
            "failed" => &mut self.failed,
            // A check that found something ends the flow without having failed.
            "skipped" | "found" => &mut self.skipped,
            "held" => &mut self.held,
            "absent" | "shadow" => &mut self.absent,
            _ => &mut self.open,
        };
        *slot = slot.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Terminal;

    fn key(incident: &str, action: &str) -> EpisodeKey {
        EpisodeKey { incident: incident.into(), alert: None, started: 5, condition: "c".into(), action: action.into() }
    }

    #[test]
    fn what_is_missing_on_either_side_is_found_and_a_fallback_is_no_difference() {
        let begun = Begun { place: "line 1".into(), at_ms: 1, shadow: false };
        let mut fired = Fired::default();
        fired.episodes.insert(key("done", "a"), begun.clone());
        fired.episodes.insert(key("missing", "a"), begun.clone());
        fired.episodes.insert(key("watched", "a"), Begun { shadow: true, ..begun });
        let done = State::Finished { how: Terminal::Succeeded, reason: String::new(), attempts: 1 };
        let known = BTreeMap::from([
            (key("done", "a"), (done.clone(), true)),
            (key("done", "fallback:b"), (done.clone(), true)),
            (key("other", "a"), (done.clone(), true)),
            (key("old", "a"), (done, false)),
        ]);
        let found = compare(&fired, &known);
        assert_eq!(found.by_condition["c"], Standings { succeeded: 1, absent: 1, ..Standings::default() });
        assert_eq!(found.not_done.iter().map(|(key, _)| key.incident.as_str()).collect::<Vec<_>>(), ["missing"]);
        assert_eq!(found.not_planned, [(key("other", "a"), "succeeded")]);
    }
}
