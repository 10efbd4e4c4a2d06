//! From a record's bytes to a decision: parsing, deciding among 10, 100 and 1,000 conditions, and explaining.
//!
//! Records are about 2 KiB with three alerts; one in ten matches. The figures are incidents and bytes a second on one core.

use std::fmt::Write as _;

use divan::counter::{BytesCount, ItemsCount};
use divan::{AllocProfiler, Bencher, black_box};
use kafka_consumer::condition::Conditions;
use kafka_consumer::incident::{Incident, Limits};
use kafka_consumer::yaml::{self, Mistakes};

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

/// The records' clock, in seconds since the epoch.
const NOW: i64 = 1_769_756_000;
/// Records of one round.
const RECORDS: usize = 100;
/// How many conditions there are.
const SIZES: [usize; 3] = [10, 100, 1000];

fn main() {
    divan::main();
}

/// `count` conditions on the alert type, of which the last is the one that some records match.
fn conditions(count: usize) -> Conditions {
    let mut text = String::new();
    for number in 0..count {
        let kind = if number + 1 == count { "oozie".to_owned() } else { format!("kind_{number}") };
        let _ = write!(
            text,
            "- {{name: c{number}, active: true, resolved: false, max_seconds_since_updated: 3600, tags: {{alert_type: {kind}}},\n   \
             alert_conditions: {{tags: {{severity: [critical, major]}}}}, alert_actions: [act]}}\n"
        );
    }
    compiled(&text)
}

/// As many conditions, none of which requires an exact tag: every one is tried.
fn patterns(count: usize) -> Conditions {
    let rules = (0..count).map(|number| {
        format!("- {{name: c{number}, tags: {{alert_type: {{starts_with: kind_{number}}}}}, alert_actions: [act]}}\n")
    });
    compiled(&rules.collect::<String>())
}

fn compiled(text: &str) -> Conditions {
    let mistakes = Mistakes::default();
    let node = yaml::parse(text, &mistakes).expect("YAML");
    let conditions = Conditions::compile(Some(&node), "incident_conditions", &mistakes);
    assert!(mistakes.is_empty(), "{mistakes}");
    conditions
}

/// One in ten of them is of the kind that matches.
fn records() -> Vec<String> {
    (0..RECORDS).map(|number| record(number, if number % 10 == 0 { "oozie" } else { "nothing_known" })).collect()
}

fn record(number: usize, kind: &str) -> String {
    let alerts: Vec<_> = (0..3)
        .map(|alert| {
            format!(
                r#"{{"id": "60f{number}a{alert}", "status": "critical", "active": true, "startedOn": 1769755513, "updatedOn": 1769755540,
                "endedOn": null, "source_system": "nagios.prod", "host": "worker-{alert}.grid.example", "description":
                "CRITICAL: coordinator 0001-C of the nightly aggregation has not finished within its window", "primary_property": "host",
                "secondary_property": "check", "tags": [{{"name": "host", "value": "worker-{alert}.grid.example"}},
                {{"name": "severity", "value": "critical"}}, {{"name": "coordinator_id", "value": "0001-C"}}]}}"#
            )
        })
        .collect();
    format!(
        r#"{{"incident": {{"id": "60f{number}", "status": "critical", "severity": "critical", "active": true, "flapping": false,
        "resolved": false, "startedOn": 1769755513, "changedOn": 1769755540, "updatedOn": 1769755540, "endedOn": null,
        "snooze": {{"snoozed": false, "end_time": null}}, "environments": ["sre"], "assignee": null, "incidentTags":
        [{{"id": "alert_type", "value": "{kind}"}}, {{"id": "priority", "value": ["P2"]}}, {{"id": "service", "value": "grid"}}],
        "alerts": [{}]}}}}"#,
        alerts.join(", ")
    )
}

#[divan::bench]
fn parse(bencher: Bencher<'_, '_>) {
    of_each_record(bencher, |record| black_box(Incident::parse(record.as_bytes())).is_ok());
}

/// What is done with each record by itself, and succeeds.
fn of_each_record(bencher: Bencher<'_, '_>, read: impl Fn(&str) -> bool) {
    let records = records();
    assert!(records.iter().all(|record| read(record)));
    let bytes: usize = records.iter().map(String::len).sum();
    bencher.counter(ItemsCount::new(records.len())).counter(BytesCount::new(bytes)).bench_local(|| {
        for record in &records {
            black_box(read(black_box(record)));
        }
    });
}

/// The least that the JSON reader can cost: structs that know every field beforehand, and drop what they do not know. An
/// incident keeps every field, since a condition may name any.
#[expect(dead_code, reason = "what is read from the records is for nobody")]
mod fixed {
    use serde::Deserialize;

    #[derive(Deserialize)]
    pub(super) struct Record<'a> {
        #[serde(borrow)]
        pub(super) incident: Incident<'a>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    pub(super) struct Incident<'a> {
        pub(super) id: &'a str,
        pub(super) status: &'a str,
        pub(super) severity: &'a str,
        pub(super) active: bool,
        pub(super) flapping: bool,
        pub(super) resolved: bool,
        pub(super) started_on: i64,
        pub(super) changed_on: i64,
        pub(super) updated_on: i64,
        pub(super) ended_on: Option<i64>,
        #[serde(borrow)]
        pub(super) alerts: Vec<Alert<'a>>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    pub(super) struct Alert<'a> {
        pub(super) id: &'a str,
        pub(super) status: &'a str,
        pub(super) active: bool,
        pub(super) started_on: i64,
        pub(super) updated_on: i64,
        #[serde(rename = "source_system")]
        pub(super) source_system: &'a str,
        pub(super) host: &'a str,
        pub(super) description: &'a str,
        #[serde(borrow)]
        pub(super) tags: Vec<Tag<'a>>,
    }

    #[derive(Deserialize)]
    pub(super) struct Tag<'a> {
        pub(super) name: &'a str,
        pub(super) value: &'a str,
    }
}

#[divan::bench]
fn parse_into_fixed_structs(bencher: Bencher<'_, '_>) {
    of_each_record(bencher, |record| black_box(serde_json::from_str::<fixed::Record<'_>>(record)).is_ok());
}

/// What proving costs that a record is JSON, and nothing else: no pre-filter that lets a broken record be told from an incident
/// that nothing matches is faster.
#[divan::bench]
fn prove_that_it_is_json(bencher: Bencher<'_, '_>) {
    of_each_record(bencher, |record| serde_json::from_slice::<serde::de::IgnoredAny>(record.as_bytes()).is_ok());
}

#[divan::bench(args = SIZES)]
fn parse_and_decide(bencher: Bencher<'_, '_>, count: usize) {
    let conditions = conditions(count);
    decide_each(bencher, &records(), RECORDS / 10, |record| matches_whole(&conditions, record));
}

/// As the pipeline does it: what its head rules out is not read whole.
#[divan::bench(args = SIZES)]
fn decide_from_bytes(bencher: Bencher<'_, '_>, count: usize) {
    let conditions = conditions(count);
    decide_each(bencher, &records(), RECORDS / 10, |record| {
        conditions.rule_out_by_head(record, &Limits::default()).is_none() && matches_whole(&conditions, record)
    });
}

/// Likewise with `limits.pass_over_unread`: what a search of its bytes rules out is not read at all.
#[divan::bench(args = SIZES)]
fn decide_from_bytes_searched_first(bencher: Bencher<'_, '_>, count: usize) {
    let conditions = conditions(count);
    decide_each(bencher, &records(), RECORDS / 10, |record| {
        !is_passed_over_unread(&conditions, record)
            && conditions.rule_out_by_head(record, &Limits::default()).is_none()
            && matches_whole(&conditions, record)
    });
}

/// Records of which a search proves that nothing matches.
#[divan::bench(args = SIZES)]
fn rule_out_by_a_search(bencher: Bencher<'_, '_>, count: usize) {
    let conditions = conditions(count);
    let records: Vec<_> = (0..RECORDS).map(|number| record(number, "nothing_known")).collect();
    decide_each(bencher, &records, 0, |record| !is_passed_over_unread(&conditions, record));
}

/// The ids that a record may be about are compared with those that somebody waits for: here with one.
fn is_passed_over_unread(conditions: &Conditions, record: &[u8]) -> bool {
    conditions.rule_out(record).is_some_and(|unread| !unread.may_be_about(|id| id == "awaited"))
}

fn matches_whole(conditions: &Conditions, record: &[u8]) -> bool {
    let incident = Incident::parse(record).expect("incident");
    conditions.decide(&incident, NOW).matched.is_some()
}

fn decide_each(bencher: Bencher<'_, '_>, records: &[String], matching: usize, decide: impl Fn(&[u8]) -> bool + Sync) {
    let bytes: usize = records.iter().map(String::len).sum();
    bencher.counter(ItemsCount::new(records.len())).counter(BytesCount::new(bytes)).bench(|| {
        let matched = records.iter().filter(|record| decide(black_box(record.as_bytes())));
        assert_eq!(matched.count(), matching);
    });
}

#[divan::bench(args = SIZES)]
fn decide(bencher: Bencher<'_, '_>, count: usize) {
    decide_with(bencher, &conditions(count));
}

#[divan::bench(args = SIZES)]
fn decide_without_a_required_tag(bencher: Bencher<'_, '_>, count: usize) {
    decide_with(bencher, &patterns(count));
}

fn decide_with(bencher: Bencher<'_, '_>, conditions: &Conditions) {
    let records = records();
    let incidents: Vec<_> =
        records.iter().map(|record| Incident::parse(record.as_bytes()).expect("incident")).collect();
    bencher.counter(ItemsCount::new(records.len())).bench(|| {
        for incident in &incidents {
            let _decision = black_box(conditions.decide(black_box(incident), NOW));
        }
    });
}

#[divan::bench(args = SIZES)]
fn explain(bencher: Bencher<'_, '_>, count: usize) {
    let (record, conditions) = (record(0, "oozie"), conditions(count));
    let incident = Incident::parse(record.as_bytes()).expect("incident");
    bencher.counter(ItemsCount::new(1_usize)).bench(|| conditions.explain(black_box(&incident), NOW));
}
