//! What looks back, one case a promise; the memory goes through its notes, as over a restart, after every record.

use std::collections::BTreeMap;

use super::*;
use crate::condition::{Conditions, Decision};
use crate::yaml::{Mistakes, parse};

const MINUTE: i64 = 60;

/// Conditions with the memory of one service, whose ledger is a map.
struct Service {
    conditions: Conditions,
    memory: Memory,
    disk: BTreeMap<String, String>,
}

impl Service {
    fn new(rules: &str) -> Self {
        let mistakes = Mistakes::default();
        let node = parse(rules, &mistakes).expect("yaml");
        let conditions = Conditions::compile(Some(&node), "incident_conditions", &mistakes);
        assert!(mistakes.is_empty(), "{mistakes}");
        Self { conditions, memory: Memory::default(), disk: BTreeMap::new() }
    }

    fn of(settings: &str) -> Self {
        Self::new(&format!("[{{name: c, active: true, incident_actions: [a], {settings}}}]"))
    }

    /// Decides a record and remembers it, on disk too.
    fn decide(&mut self, record: &str, now: i64) -> Decision {
        let incident = Incident::parse(record.as_bytes()).expect("record");
        let decision = self.conditions.decide_with(&incident, now, &self.memory);
        for note in self.conditions.remember(decision.seen.clone(), &mut self.memory) {
            match note.value {
                Some(value) => self.disk.insert(note.key, value),
                None => self.disk.remove(&note.key),
            };
        }
        decision
    }

    fn matches(&mut self, record: &str, now: i64) -> bool {
        self.decide(record, now).matched.is_some()
    }

    /// The process ends, and another begins.
    fn restart(&mut self, now: i64) {
        let notes = self.disk.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        self.memory = self.conditions.recall(notes, now).expect("its own notes");
        assert_eq!(self.memory.len(), self.disk.len());
    }

    fn explain(&self, record: &str, now: i64) -> String {
        let incident = Incident::parse(record.as_bytes()).expect("record");
        self.conditions.explain_with(&incident, now, &self.memory).to_string()
    }
}

/// An active incident of a host.
fn incident(id: &str, host: &str, started: i64) -> String {
    format!(
        r#"{{"id": "{id}", "active": true, "started_on": {started}, "tags": [{{"id": "host", "value": "{host}"}}]}}"#
    )
}

/// An active incident with an alert on each host.
fn alerts(id: &str, hosts: &[&str], started: i64) -> String {
    let alerts = hosts.iter().map(|host| {
        format!(r#"{{"id": "{id}-{host}", "started_on": {started}, "host": "{host}", "tags": [{{"name": "sev", "value": "1"}}]}}"#)
    });
    let alerts = alerts.collect::<Vec<_>>().join(",");
    format!(r#"{{"id": "{id}", "active": true, "started_on": {started}, "alerts": [{alerts}]}}"#)
}

const THREE: &str = "occurrences: {at_least: 3, within: 10m, by: tags.host}";

#[test]
fn so_many_within_a_window_match_from_the_last_of_them_on() {
    let mut service = Service::of(THREE);
    let now = 100 * MINUTE;
    assert!(!service.matches(&incident("a", "h1", 0), now));
    assert!(!service.matches(&incident("b", "h1", MINUTE), now));
    assert!(!service.matches(&incident("x", "h2", MINUTE), now), "another host counts for itself");
    assert!(service.matches(&incident("c", "h1", 9 * MINUTE), now));
    assert!(!service.matches(&incident("d", "h1", 12 * MINUTE), now), "a and b are more than ten minutes older");
    assert!(service.matches(&incident("e", "h1", 13 * MINUTE), now), "c, d, e");
}

#[test]
fn a_record_that_comes_again_and_a_later_snapshot_of_its_incident_count_once_also_after_a_restart() {
    let mut service = Service::of(THREE);
    let (a, b, c) = (incident("a", "h1", 0), incident("b", "h1", 1), incident("c", "h1", 2));
    for _ in 0..5 {
        assert!(!service.matches(&a, MINUTE));
        service.restart(MINUTE);
    }
    assert!(!service.matches(&b, MINUTE));
    assert!(service.matches(&c, MINUTE));
    service.restart(3 * 3600);
    for (record, expected) in [(&a, false), (&b, false), (&c, true)] {
        assert_eq!(service.matches(record, 3 * 3600), expected, "read again hours later: {record}");
    }
    assert_eq!(service.memory.len(), 3);
    assert!(service.matches(&incident("a", "h1", 3), 3 * 3600), "a genuine re-fire is another occurrence");
}

#[test]
fn what_comes_late_counts_where_it_belongs() {
    let mut service = Service::of(THREE);
    let now = 100 * MINUTE;
    assert!(!service.matches(&incident("b", "h1", 10 * MINUTE), now));
    assert!(!service.matches(&incident("c", "h1", 11 * MINUTE), now));
    assert!(!service.matches(&incident("a", "h1", 5 * MINUTE), now), "the third, but the first to begin");
    assert!(service.matches(&incident("c", "h1", 11 * MINUTE), now), "its next snapshot knows better");
}

#[test]
fn silence_before_an_incident_is_measured_from_the_start_of_the_one_before() {
    let mut service = Service::of("quiet_for: {for: 30m, by: tags.host}");
    let now = 1000 * MINUTE;
    assert!(service.matches(&incident("a", "h1", 0), now));
    assert!(!service.matches(&incident("b", "h1", 10 * MINUTE), now));
    assert!(!service.matches(&incident("c", "h1", 40 * MINUTE), now), "b was not acted on, and still it was noise");
    assert!(service.matches(&incident("x", "h2", 40 * MINUTE), now));
    assert!(service.matches(&incident("d", "h1", 71 * MINUTE), now));
    service.restart(now);
    assert!(service.matches(&incident("d", "h1", 71 * MINUTE), now));
    assert!(!service.matches(&incident("b", "h1", 10 * MINUTE), now));
    assert!(Service::of("quiet_for: 30m").matches(&incident("a", "h1", 0), now));
}

#[test]
fn a_throttle_gives_one_incident_its_turn_and_keeps_it_for_all_its_snapshots() {
    let mut service = Service::of("throttle: {once_within: 1h, by: tags.host}");
    let (a, b) = (incident("a", "h1", 0), incident("b", "h1", 1));
    assert!(service.matches(&a, 10));
    assert!(!service.matches(&b, 20));
    assert!(service.matches(&incident("x", "h2", 1), 20));
    service.restart(30);
    assert!(service.matches(&a, 30), "the record that had the turn may come again");
    assert!(!service.matches(&b, 3609));
    assert!(service.matches(&b, 3610), "an hour after a had its turn");
    assert!(service.matches(&a, 3620), "a had its turn and needs no other");
    assert!(!service.matches(&incident("c", "h1", 2), 3620));
}

#[test]
fn a_throttle_is_not_used_up_by_what_does_not_match() {
    let mut service = Service::of("occurrences: {at_least: 2, within: 10m}, throttle: {once_within: 1h}");
    assert!(!service.matches(&incident("a", "h1", 0), 10));
    assert!(service.matches(&incident("b", "h1", 1), 10));
    assert!(!service.matches(&incident("c", "h1", 2), 10));
}

#[test]
fn by_a_field_of_the_alerts_each_alert_has_its_own_turn() {
    let mut service = Service::of("alert_conditions: {tags: {sev: 1}}, throttle: {once_within: 1h, by: alert.host}");
    let supported = |decision: Decision| decision.matched.map(|found| found.supported_alerts);
    assert_eq!(supported(service.decide(&alerts("a", &["h1", "h2"], 0), 10)), Some(vec![0, 1]));
    assert_eq!(supported(service.decide(&alerts("b", &["h2", "h3", "h3"], 0), 20)), Some(vec![1]));
    assert_eq!(supported(service.decide(&alerts("c", &["h1", "h2"], 0), 30)), None);
    assert_eq!(supported(service.decide(&alerts("a", &["h1", "h2"], 0), 40)), Some(vec![0, 1]));
}

#[test]
fn alerts_of_one_record_count_too() {
    let mut service = Service::of("occurrences: {at_least: 3, within: 10m, by: alert.tags.sev}");
    assert!(service.matches(&alerts("a", &["h1", "h2", "h3"], 0), 10));
    assert!(
        !Service::of("occurrences: {at_least: 4, within: 10m, by: alert.tags.sev}")
            .matches(&alerts("a", &["h1", "h2", "h3"], 0), 10)
    );
}

#[test]
fn what_by_names_and_is_not_there_is_missing() {
    let bare = r#"{"id": "a", "active": true, "started_on": 1}"#;
    for settings in [THREE, "throttle: {once_within: 1h, by: [tags.host, status]}"] {
        let mut service = Service::of(settings);
        let decision = service.decide(bare, 10);
        assert!(decision.matched.is_none() && decision.undecided.is_none() && decision.seen.is_empty());
        let mut strict = Service::of(&format!("{settings}, missing: error"));
        assert!(strict.decide(bare, 10).undecided.is_some(), "{settings}");
    }
}

#[test]
fn only_what_passes_all_other_tests_is_counted_and_an_earlier_match_keeps_it_from_being() {
    let mut service = Service::new(
        "- {name: first, tags: {host: h0}, incident_actions: [a]}\n\
         - {name: c, active: true, incident_actions: [a], occurrences: {at_least: 2, within: 10m}}\n",
    );
    let inactive = incident("z", "h1", 0).replace("true", "false");
    for record in [&inactive, &incident("y", "h0", 0)] {
        assert!(service.decide(record, 10).seen.is_empty());
    }
    assert!(!service.matches(&incident("a", "h1", 0), 10));
    assert!(service.matches(&incident("b", "h1", 0), 10));
}

#[test]
fn the_explanation_has_the_values() {
    let mut service = Service::of(&format!("{THREE}, throttle: {{once_within: 1h}}"));
    service.decide(&incident("a", "h1", 0), 10);
    let text = service.explain(&incident("b", "h1", 1), 10);
    assert!(text.contains("false   occurrences by tags.host at_least 3 within 10m: found 2 of 3 within 10m"), "{text}");
    assert!(text.contains("throttle once_within 1h: found not asked: another test failed"), "{text}");
    assert!(
        service.explain(&incident("b", "h1", 1).replace("true", "false"), 10).contains("not asked: the tests before"),
        "{text}"
    );
    assert!(service.memory.len() == 1, "an explanation remembers nothing");
}

#[test]
fn memory_is_bounded_by_number_and_age_and_the_disk_with_it() {
    let mut service = Service::of("occurrences: {at_least: 3, within: 10m, by: id}");
    for number in 0..10_050 {
        service.decide(&incident(&number.to_string(), "h", number), 1_000_000);
    }
    assert_eq!((service.memory.len(), service.disk.len()), (10_000, 10_000));
    service.decide(&incident("late", "h", 200_000), 1_000_000);
    assert_eq!(
        (service.memory.len(), service.disk.len()),
        (1, 1),
        "a day and ten minutes later the others are too old"
    );
}

#[test]
fn notes_of_tests_that_are_gone_are_removed_with_the_next_write() {
    let mut service = Service::of(THREE);
    service.decide(&incident("a", "h1", 0), 10);
    let mut other = Service::of("throttle: {once_within: 1h}");
    let notes: Vec<_> = service.disk.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    other.memory = other.conditions.recall(notes, 10).expect("its own notes");
    assert!(other.memory.is_empty());
    let decision = other.conditions.decide_with(
        &Incident::parse(incident("b", "h", 1).as_bytes()).expect("record"),
        10,
        &other.memory,
    );
    let notes = other.conditions.remember(decision.seen, &mut other.memory);
    assert_eq!(
        notes.iter().map(|note| (note.key.as_str(), note.value.is_some())).collect::<Vec<_>>(),
        [("seen/1", true), ("seen/0", false)]
    );
}

#[test]
fn a_note_of_somebody_else_is_named() {
    let conditions = Service::of(THREE).conditions;
    let error = conditions.recall([("seen/x", "{}")], 0).expect_err("no number").to_string();
    assert!(error.contains("`seen/x`"), "{error}");
    assert!(conditions.recall([("storm", "not ours"), ("spent/1", "nor this")], 0).expect("others' notes").is_empty());
}

#[test]
fn every_mistake_is_placed() {
    let mistakes = Mistakes::default();
    let node = parse(
        "- name: c\n  active: true\n  incident_actions: [a]\n  occurrences: {at_least: 1, within: 9d, by: hosst}\n\
        \x20 throttle: {by: alert.host}\n  quiet_for: never\n",
        &mistakes,
    );
    Conditions::compile(node.as_ref(), "incident_conditions", &mistakes);
    let found: Vec<_> = mistakes.all().iter().map(ToString::to_string).collect();
    let expected = [
        "line 4, column 27: incident_conditions[0].occurrences.at_least: expected a whole number from 2 to 1000, found `1`",
        "line 4, column 38: incident_conditions[0].occurrences.within: expected a duration from 1s to 7d, such as 10m",
        "line 4, column 46: incident_conditions[0].occurrences.by: expected fields such as tags.host, incident.source_system, alert.host or alert.tags.host",
        "line 5, column 13: incident_conditions[0].throttle.once_within: is required and missing",
        "line 6, column 14: incident_conditions[0].quiet_for: expected a duration from 1s to 7d, such as 10m",
    ];
    assert_eq!(found, expected);
}

#[test]
fn lengths_are_written_as_people_write_them() {
    assert_eq!([length(0), length(45), length(600), length(7200), length(172_800)], ["0s", "45s", "10m", "2h", "2d"]);
}
