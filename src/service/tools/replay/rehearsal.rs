//! Deciding records again and counting what would have been begun. Pure: no ledger, no network, and the clock is the record's.
//!
//! Counted is what the engine would do: an episode once, however often its incident was published; nothing for a snapshot
//! older than one already seen. What conditions remember of the records before is kept, from nothing on; a service that had run
//! before may have remembered more. Fallbacks depend on outcomes that nobody knows here, so they are left out. A dry run decides
//! each record at the time it was published: conditions that speak of ages see what they saw then.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::action::Definitions;
use crate::condition::{Conditions, Memory, Mode};
use crate::incident::{Incident, Limits};
use crate::ledger::EpisodeKey;
use crate::plan::{Plan, Stage};

use super::input::Item;

/// Malformed records and changed decisions that are kept as examples.
const EXAMPLES_MAX: usize = 5;

/// Conditions and the actions they name.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) conditions: Conditions,
    pub(super) actions: Definitions,
    /// Without a mode of its own a condition has this one.
    pub(super) shadow: bool,
    /// What the conditions remember of the records before.
    memory: Memory,
}

impl Rules {
    /// Rules that have seen nothing yet.
    pub(super) fn new(conditions: Conditions, actions: Definitions, shadow: bool) -> Self {
        Self { conditions, actions, shadow, memory: Memory::default() }
    }
}

/// What one set of rules would have done.
#[derive(Debug, Default)]
pub(super) struct Fired {
    /// In the order of the rules; every condition, also those that never matched.
    pub(super) conditions: Vec<Counted>,
    /// Records that met no condition.
    pub(super) unmatched: u64,
    /// Records that met one, but of which a later snapshot had been seen.
    pub(super) stale: u64,
    /// Episodes that would have been begun.
    pub(super) episodes: BTreeMap<EpisodeKey, Begun>,
}

/// One condition's share.
#[derive(Debug, Default, Clone)]
pub(super) struct Counted {
    pub(super) name: String,
    /// It watches only.
    pub(super) shadow: bool,
    pub(super) records: u64,
    pub(super) incidents: BTreeSet<String>,
    pub(super) episodes: u64,
}

/// Where an episode would have come from.
#[derive(Debug, Clone)]
pub(super) struct Begun {
    pub(super) place: String,
    pub(super) at_ms: i64,
    pub(super) shadow: bool,
}

/// Records that the current and the candidate rules decide otherwise.
#[derive(Debug, Default)]
pub(super) struct Moved {
    pub(super) records: u64,
    /// Incident and reason, of the first few.
    pub(super) examples: Vec<Example>,
}

#[derive(Debug, Clone)]
pub(super) struct Example {
    pub(super) place: String,
    pub(super) incident: String,
    /// Why the candidate does not take what the current rules take; or why it takes something else.
    pub(super) why: String,
}

/// From which condition to which.
pub(super) type Move = (Option<String>, Option<String>);

/// The whole rehearsal.
#[derive(Debug)]
pub(super) struct Rehearsal {
    current: Rules,
    candidate: Option<Rules>,
    limits: Limits,
    /// Seconds since the epoch: from, and up to but not including.
    window: (Option<i64>, Option<i64>),
    now_s: i64,
    newest: HashMap<String, i64>,
    pub(super) tally: Tally,
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) records: u64,
    pub(super) outside: u64,
    pub(super) malformed: u64,
    /// Place and reason, of the first few.
    pub(super) malformed_examples: Vec<(String, String)>,
    /// Of the records that were decided, milliseconds since the epoch.
    pub(super) first_ms: Option<i64>,
    pub(super) last_ms: Option<i64>,
    pub(super) current: Fired,
    pub(super) candidate: Option<Fired>,
    pub(super) moved: BTreeMap<Move, Moved>,
}

impl Rehearsal {
    pub(super) fn new(
        current: Rules,
        candidate: Option<Rules>,
        limits: Limits,
        window: (Option<i64>, Option<i64>),
        now_s: i64,
    ) -> Self {
        let tally =
            Tally { current: Fired::of(&current), candidate: candidate.as_ref().map(Fired::of), ..Tally::default() };
        Self { current, candidate, limits, window, now_s, newest: HashMap::new(), tally }
    }

    /// Decides one record.
    pub(super) fn see(&mut self, item: &Item) {
        let tally = &mut self.tally;
        tally.records = tally.records.saturating_add(1);
        let incident = match Incident::parse_within(&item.value, &self.limits) {
            Ok(incident) => incident,
            Err(error) => {
                // Without an incident there may be no time; what is known to lie outside is not counted.
                if item.at_ms.is_some_and(|at| !within(self.window, at.div_euclid(1000))) {
                    tally.outside = tally.outside.saturating_add(1);
                    return;
                }
                tally.malformed(&item.place, &error.to_string());
                return;
            }
        };
        let at_ms = item.at_ms.unwrap_or_else(|| own_time(&incident).unwrap_or(self.now_s).saturating_mul(1000));
        let at_s = at_ms.div_euclid(1000);
        if !within(self.window, at_s) {
            tally.outside = tally.outside.saturating_add(1);
            return;
        }
        tally.first_ms = Some(tally.first_ms.map_or(at_ms, |first| first.min(at_ms)));
        tally.last_ms = Some(tally.last_ms.map_or(at_ms, |last| last.max(at_ms)));
        let stale = stale(&mut self.newest, &incident);
        let seen = Seen { item, incident: &incident, at_ms, stale };
        let before = tally.current.see(&seen, &mut self.current);
        if let (Some(rules), Some(fired)) = (&mut self.candidate, &mut tally.candidate) {
            let after = fired.see(&seen, rules);
            if before != after {
                let why = reason(&incident, at_s, rules, before.as_deref(), after.as_deref());
                tally.moved.entry((before, after)).or_default().note(item, &incident, why);
            }
        }
    }

    /// Counts records that cannot be read at all.
    pub(super) fn unreadable(&mut self, place: &str, why: &str) {
        self.tally.records = self.tally.records.saturating_add(1);
        self.tally.malformed(place, why);
    }
}

impl Tally {
    fn malformed(&mut self, place: &str, why: &str) {
        self.malformed = self.malformed.saturating_add(1);
        if self.malformed_examples.len() < EXAMPLES_MAX {
            self.malformed_examples.push((place.to_owned(), why.to_owned()));
        }
    }
}

/// One record on its way through the rules.
struct Seen<'s, 'i> {
    item: &'s Item,
    incident: &'s Incident<'i>,
    at_ms: i64,
    stale: bool,
}

impl Fired {
    fn of(rules: &Rules) -> Self {
        let counted = |condition: &std::sync::Arc<crate::condition::Condition>| Counted {
            name: condition.name.clone(),
            shadow: condition.mode.map_or(rules.shadow, |mode| mode == Mode::Shadow) || rules.shadow,
            ..Counted::default()
        };
        Self { conditions: rules.conditions.iter().map(counted).collect(), ..Self::default() }
    }

    /// The condition that takes the record.
    fn see(&mut self, seen: &Seen<'_, '_>, rules: &mut Rules) -> Option<String> {
        let at_s = seen.at_ms.div_euclid(1000);
        // Here nothing outlives the process, so there is nothing to write down.
        let (decision, _notes) = rules.conditions.decide_remembering(seen.incident, at_s, &mut rules.memory);
        let Some(matched) = decision.matched else {
            self.unmatched = self.unmatched.saturating_add(1);
            return None;
        };
        let name = matched.condition.name.clone();
        let Some(counted) = self.conditions.get_mut(matched.index) else { return Some(name) };
        counted.records = counted.records.saturating_add(1);
        counted.incidents.insert(seen.incident.id.to_string());
        if seen.stale {
            self.stale = self.stale.saturating_add(1);
            return Some(name);
        }
        let plan = Plan::new(seen.incident.clone().into_owned(), &matched, &rules.actions);
        for step in plan.steps.into_iter().filter(|step| is_sure(step.stage)) {
            if let std::collections::btree_map::Entry::Vacant(new) = self.episodes.entry(step.key) {
                let (place, shadow) = (seen.item.place.clone(), counted.shadow);
                new.insert(Begun { place, at_ms: seen.at_ms, shadow });
                counted.episodes = counted.episodes.saturating_add(1);
            }
        }
        Some(name)
    }
}

/// Whether a step of a plan is begun when all goes well.
fn is_sure(stage: Stage) -> bool {
    match stage {
        Stage::Assign | Stage::Incident | Stage::Split | Stage::Alert(_) | Stage::Resolve => true,
        Stage::AlertFallback(_) | Stage::IncidentFallback | Stage::Escalation | Stage::Unassign => false,
    }
}

impl Moved {
    fn note(&mut self, item: &Item, incident: &Incident<'_>, why: String) {
        self.records = self.records.saturating_add(1);
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(Example { place: item.place.clone(), incident: incident.id.to_string(), why });
        }
    }
}

/// What the candidate saw: of the condition that takes the record now; else of the one that did before.
fn reason(incident: &Incident<'_>, at_s: i64, rules: &Rules, before: Option<&str>, after: Option<&str>) -> String {
    let explanation = rules.conditions.explain_with(incident, at_s, &rules.memory);
    let of = |name: &str| explanation.conditions.iter().find(|explained| explained.name == name);
    let told = after.or(before).and_then(of);
    told.map_or_else(|| "the candidate has no such condition".to_owned(), |explained| explained.reason.clone())
}

fn within((from, to): (Option<i64>, Option<i64>), at_s: i64) -> bool {
    from.is_none_or(|from| at_s >= from) && to.is_none_or(|to| at_s < to)
}

/// When the snapshot was made, seconds since the epoch.
fn own_time(incident: &Incident<'_>) -> Option<i64> {
    incident.updated_on.or(incident.changed_on).or(incident.started_on)
}

/// Whether a later snapshot of the incident was seen before.
fn stale(newest: &mut HashMap<String, i64>, incident: &Incident<'_>) -> bool {
    let Some(updated_on) = incident.updated_on else { return false };
    match newest.get_mut(&*incident.id) {
        Some(known) if updated_on < *known => true,
        Some(known) => {
            *known = updated_on;
            false
        }
        None => {
            newest.insert(incident.id.to_string(), updated_on);
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::Surroundings;
    use crate::yaml::{Mistakes, parse};

    fn rules(conditions: &str) -> Rules {
        let text = format!(
            "incident_conditions: [{conditions}]\nincident_actions: [{{name: tell, type: webhook, url: 'http://t/'}}]\nalert_actions: []\n"
        );
        let mistakes = Mistakes::default();
        let root = parse(&text, &mistakes).expect("yaml");
        let actions = Definitions::read(
            root.get("incident_actions"),
            root.get("alert_actions"),
            &Surroundings::default(),
            &mistakes,
        );
        let conditions = Conditions::compile(root.get("incident_conditions"), "incident_conditions", &mistakes);
        assert!(mistakes.is_empty(), "{mistakes}");
        Rules::new(conditions, actions, false)
    }

    fn rehearse(candidate: Option<&str>, window: (Option<i64>, Option<i64>), lines: &[&str]) -> Tally {
        let current = rules("{name: hot, status: critical, incident_actions: [tell]}");
        let mut rehearsal = Rehearsal::new(current, candidate.map(rules), Limits::default(), window, 1_000);
        for (number, line) in (1..).zip(lines) {
            let item = super::super::input::item(line.as_bytes(), number).expect("a record").expect("one");
            rehearsal.see(&item);
        }
        rehearsal.tally
    }

    const HOT: &str = r#"{"id": "a", "status": "critical", "startedOn": 5, "updatedOn": 20}"#;

    #[test]
    fn an_episode_counts_once_however_often_its_incident_is_published() {
        let later = r#"{"id": "a", "status": "critical", "startedOn": 5, "updatedOn": 30}"#;
        let again = r#"{"id": "a", "status": "critical", "startedOn": 40, "updatedOn": 41}"#;
        let tally = rehearse(None, (None, None), &[HOT, later, HOT, again]);
        let counted = &tally.current.conditions[0];
        assert_eq!((counted.records, counted.incidents.len(), counted.episodes), (4, 1, 2));
        assert_eq!((tally.current.stale, tally.first_ms, tally.last_ms), (1, Some(20_000), Some(41_000)));
    }

    #[test]
    fn the_window_and_malformed_records_are_counted() {
        let tally = rehearse(None, (Some(21), None), &[HOT, "{", r#"{"id": "b", "updatedOn": 21}"#]);
        assert_eq!((tally.records, tally.outside, tally.malformed, tally.current.unmatched), (3, 1, 1, 1));
        assert_eq!(tally.malformed_examples[0].0, "line 2");
    }

    #[test]
    fn what_the_candidate_decides_otherwise_is_told_with_its_reason() {
        let candidate = "{name: hot, status: critical, severity: high, incident_actions: [tell]}";
        let tally = rehearse(Some(candidate), (None, None), &[HOT, r#"{"id": "b", "status": "ok", "updatedOn": 3}"#]);
        assert_eq!(tally.moved.len(), 1);
        let moved = &tally.moved[&(Some("hot".to_owned()), None)];
        assert_eq!((moved.records, moved.examples[0].incident.as_str()), (1, "a"));
        assert!(moved.examples[0].why.contains("severity"), "{}", moved.examples[0].why);
    }

    #[test]
    fn a_record_is_decided_at_its_own_time() {
        let young = "{name: young, max_seconds_since_updated: 60, incident_actions: [tell]}";
        let tally = rehearse(Some(young), (None, None), &[HOT]);
        assert_eq!(tally.candidate.expect("a candidate").conditions[0].records, 1);
    }

    #[test]
    fn conditions_remember_the_records_before_each_set_of_rules_for_itself() {
        let third = "{name: third, occurrences: {at_least: 3, within: 10m}, incident_actions: [tell]}";
        let line = |id: &str, at: u32| format!(r#"{{"id": "{id}", "startedOn": {at}, "updatedOn": {at}}}"#);
        let lines = [line("a", 100), line("b", 200), line("b", 200), line("c", 300), line("d", 1_000)];
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let tally = rehearse(Some(third), (None, None), &lines);
        assert_eq!((tally.current.unmatched, tally.candidate.expect("a candidate").conditions[0].records), (5, 1));
        let moved = &tally.moved[&(None, Some("third".to_owned()))];
        assert_eq!(moved.examples[0].incident, "c");
        assert!(moved.examples[0].why.contains("3 of 3 within 10m"), "{}", moved.examples[0].why);
    }
}
