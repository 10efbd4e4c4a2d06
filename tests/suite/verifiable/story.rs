//! What several consumers printed, put together: who owned what when, what was reported, what was committed.
//!
//! All of them run on one machine, so their timestamps can be compared.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Subject;

/// One life of one member: its lines, up to the moment at which it was killed or stopped.
pub(super) struct Member {
    name: &'static str,
    events: Vec<Value>,
    until_ms: u64,
}

impl Member {
    pub(super) fn of(name: &'static str, subject: &Subject) -> Self {
        Self { name, events: subject.events(), until_ms: u64::MAX }
    }

    /// What it held at that moment counts as given up then; its later lines are left out.
    pub(super) fn until(mut self, at_ms: u64) -> Self {
        self.events.retain(|event| at(event) <= at_ms);
        self.until_ms = at_ms;
        self
    }

    /// Its earlier lines are left out.
    pub(super) fn since(mut self, at_ms: u64) -> Self {
        self.events.retain(|event| at(event) > at_ms);
        self
    }

    /// `(partition, from, to)` in milliseconds.
    fn holdings(&self) -> Vec<(i64, u64, u64)> {
        let mut open: BTreeMap<i64, u64> = BTreeMap::new();
        let mut closed = Vec::new();
        for event in &self.events {
            match event["name"].as_str() {
                Some("partitions_assigned") => open.extend(partitions(event).map(|partition| (partition, at(event)))),
                Some("partitions_revoked") => {
                    let ended = |partition| Some((partition, open.remove(&partition)?, at(event)));
                    closed.extend(partitions(event).filter_map(ended));
                }
                _ => {}
            }
        }
        closed.extend(open.into_iter().map(|(partition, from)| (partition, from, self.until_ms)));
        closed
    }
}

fn at(event: &Value) -> u64 {
    event["timestamp"].as_u64().expect("a timestamp")
}

fn partitions(event: &Value) -> impl Iterator<Item = i64> {
    event["partitions"].as_array().into_iter().flatten().filter_map(|name| name["partition"].as_i64())
}

/// Holds what must be true of every group: no partition with two owners at one moment, commits that never go back, and
/// every offset below `log_ends` reported by somebody.
pub(super) fn judge(members: &[Member], log_ends: &BTreeMap<i32, i64>) {
    one_owner(members);
    commits_go_on(members);
    nothing_lost(members, log_ends);
}

fn one_owner(members: &[Member]) {
    let mut all: Vec<_> = members
        .iter()
        .flat_map(|member| {
            member.holdings().into_iter().map(|(partition, from, to)| (partition, from, to, member.name))
        })
        .collect();
    all.sort_unstable();
    for pair in all.windows(2) {
        let [(first, _, until, one), (second, from, _, other)] = pair else { continue };
        assert!(first != second || from >= until, "{one} and {other} both own partition {first}: {pair:?}\n{all:?}");
    }
}

fn commits_go_on(members: &[Member]) {
    let committed = |event: &&Value| event["name"] == "offsets_committed" && event["success"] == true;
    let mut all: Vec<_> = members.iter().flat_map(|member| member.events.iter().filter(committed)).collect();
    all.sort_by_key(|event| at(event));
    let mut last: BTreeMap<i64, i64> = BTreeMap::new();
    for offset in all.iter().flat_map(|event| event["offsets"].as_array().into_iter().flatten()) {
        let (partition, next) = (offset["partition"].as_i64().expect("one"), offset["offset"].as_i64().expect("one"));
        let before = last.insert(partition, next).unwrap_or(0);
        assert!(next >= before, "partition {partition} went back from {before} to {next}");
    }
}

fn nothing_lost(members: &[Member], log_ends: &BTreeMap<i32, i64>) {
    let mut missing: BTreeMap<i64, BTreeSet<i64>> =
        log_ends.iter().map(|(partition, end)| (i64::from(*partition), (0..*end).collect())).collect();
    for event in members.iter().flat_map(|member| &member.events).filter(|event| event["name"] == "records_consumed") {
        for part in event["partitions"].as_array().into_iter().flatten() {
            let number = |field: &str| part[field].as_i64().expect("a number");
            let left = missing.get_mut(&number("partition")).expect("a partition of the topic");
            let span = number("minOffset")..=number("maxOffset");
            assert_eq!(number("count"), span.end() - span.start() + 1, "{event}");
            left.retain(|offset| !span.contains(offset));
        }
    }
    missing.retain(|_, offsets| !offsets.is_empty());
    assert!(missing.is_empty(), "never reported: {missing:?}");
}
