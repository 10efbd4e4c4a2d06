//! What looks back against a slow, obvious memory: a list of everything that was seen, searched from end to end.

use proptest::prelude::*;

use super::*;
use crate::condition::Conditions;
use crate::yaml::{Mistakes, parse};

/// A record: incident, start, host, and how much later than the one before it is read.
type Read = (u8, i64, u8, i64);

/// Something that was seen once.
#[derive(Clone, Debug)]
struct Known {
    who: (u8, i64),
    host: u8,
    at: i64,
    passed: bool,
}

/// Whether a record passes, and what is known after it.
fn look(kind: Kind, within: i64, known: &mut Vec<Known>, (id, start, host, _): Read, now: i64) -> bool {
    let who = (id, start);
    let own = known.iter().position(|one| one.who == who && one.host == host);
    let dated = if kind == Kind::OnceWithin { now } else { start.min(now) };
    let at = own.map_or(dated, |own| known[own].at);
    let others = || {
        known.iter().enumerate().filter(|(place, one)| one.host == host && Some(*place) != own).map(|(_, one)| one.at)
    };
    let passes = match kind {
        Kind::AtLeast(wanted) => 1 + others().filter(|other| *other > at - within && *other <= at).count() >= wanted,
        Kind::Quiet => !others().any(|other| other >= at - within && other <= at),
        Kind::OnceWithin => own.is_some() || !others().any(|other| (other - at).abs() < within),
    };
    let Some(own) = own else {
        if passes || kind != Kind::OnceWithin {
            known.push(Known { who, host, at, passed: passes });
        }
        return passes;
    };
    // What was let through stays so.
    known[own].passed |= passes;
    known[own].passed
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![(2..4usize).prop_map(Kind::AtLeast), Just(Kind::Quiet), Just(Kind::OnceWithin)]
}

proptest! {
    #[test]
    fn what_is_remembered_is_what_a_list_of_everything_would_say(
        kind in kinds(),
        within in 1..8i64,
        reads in proptest::collection::vec((0..4u8, 100..120i64, 0..2u8, 0..4i64), 1..30),
    ) {
        let settings = match kind {
            Kind::AtLeast(wanted) => format!("occurrences: {{at_least: {wanted}, within: {within}, by: tags.host}}"),
            Kind::Quiet => format!("quiet_for: {{for: {within}, by: tags.host}}"),
            Kind::OnceWithin => format!("throttle: {{once_within: {within}, by: tags.host}}"),
        };
        let mistakes = Mistakes::default();
        let node = parse(&format!("[{{name: c, active: true, incident_actions: [a], {settings}}}]"), &mistakes).expect("yaml");
        let conditions = Conditions::compile(Some(&node), "conditions", &mistakes);
        prop_assert!(mistakes.is_empty(), "{}", mistakes);
        let (mut memory, mut known, mut now) = (Memory::default(), Vec::new(), 105);
        for (place, read) in reads.iter().enumerate() {
            let (id, start, host, later) = read;
            now += later;
            let record = format!(
                r#"{{"id": "i{id}", "active": true, "started_on": {start}, "tags": [{{"id": "host", "value": "h{host}"}}]}}"#
            );
            let incident = Incident::parse(record.as_bytes()).expect("record");
            let (decision, _) = conditions.decide_remembering(&incident, now, &mut memory);
            let expected = look(kind, within, &mut known, *read, now);
            prop_assert_eq!(decision.matched.is_some(), expected, "record {} at {}: {}", place, now, record);
        }
    }
}
