//! The promise of the whole: whenever the process is killed, every matched episode ends with exactly one success.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use kafka_broker_double::incidents::Seed;
use kafka_broker_double::target::{HttpRequest, Reply, Target};
use kafka_consumer::ledger::{Entry, Filter, Ledger, Opened, Outcome, Record, Summary, Terminal};

use crate::world::kafka::cluster;
use crate::world::process::{Service, wait_for};
use crate::world::settings::{self, Brokers};
use crate::world::wire::Wire;
use crate::world::{port, produce};

const INCIDENTS: usize = 10_000;
const PARTITIONS: i32 = 4;
const MATCH_EVERY: usize = 10;
const KILLS: usize = 5;
const TOPIC: &str = "crash";
const GROUP: &str = "crash-group";

/// How long the target takes, so that a kill finds attempts on the network.
const TARGET_TAKES: Duration = Duration::from_millis(40);

#[test]
fn every_matched_episode_succeeds_exactly_once_through_five_kills() {
    let Some(cluster) = cluster() else { return };
    let seed_number = produce::now_ms().unsigned_abs();
    let mut seed = Seed::new(seed_number);
    println!("seed {seed_number}");

    let mut wire = Wire::connect(&cluster.plaintext);
    wire.create_topic(TOPIC, PARTITIONS, &[]);
    let kind = |n: usize| if n.is_multiple_of(MATCH_EVERY) { "oozie" } else { "other" };
    let incidents: Vec<(String, String)> = (0..INCIDENTS).map(|n| incident(n, kind(n))).collect();
    produce::spread(&mut wire, TOPIC, PARTITIONS, 100, &incidents);
    let log_ends = wire.log_ends(TOPIC, PARTITIONS);

    let target = Target::start();
    target.default_reply(Reply::status(200).after(TARGET_TAKES));
    let folder = tempfile::tempdir().expect("a folder");
    let port = port::free();
    let rules = format!("limits: {{max_concurrent_actions: 8}}\n{}", settings::hook(&target.url("/{{incident.id}}")));
    let config = settings::config(&Brokers::real(cluster), folder.path(), GROUP, TOPIC, port, &rules);

    for kill in 1..=KILLS {
        let mut service = Service::start(folder.path(), &config, port);
        let kill_at = target.request_count() + 20 + usize::try_from(seed.below(130)).expect("small");
        let words = || format!("call {kill_at} before kill {kill}\n{}", service.last_words());
        wait_for(words, Duration::from_mins(1), || (target.request_count() >= kill_at).then_some(()));
        service.kill();
    }
    let mut service = Service::start(folder.path(), &config, port);
    let words = || format!("the committed offsets to reach {log_ends:?}\n{}", service.last_words());
    wait_for(words, Duration::from_mins(2), || (wire.committed(GROUP, TOPIC, PARTITIONS) == log_ends).then_some(()));
    let status = service.stop(Duration::from_secs(30));
    assert!(status.success(), "{status}\n{}", service.last_words());

    let story = read(&folder.path().join("ledger.redb"));
    let told = judge(&story, INCIDENTS / MATCH_EVERY, &target.requests());
    println!("after {KILLS} kills: {told}");
    assert_eq!(wire.committed(GROUP, TOPIC, PARTITIONS), log_ends, "committed offsets are the log end");
}

/// An incident of its own, as key and value.
pub(super) fn incident(n: usize, alert_type: &str) -> (String, String) {
    let now = produce::now_ms() / 1000;
    let id = format!("incident-{n}");
    let json = format!(
        r#"{{"incident": {{"id": "{id}", "status": "critical", "active": true, "resolved": false,
            "startedOn": {now}, "changedOn": {now}, "updatedOn": {now}, "endedOn": null,
            "incidentTags": [{{"id": "alert_type", "value": "{alert_type}"}}],
            "alerts": [{{"id": "{id}-a", "status": "critical", "active": true, "startedOn": {now}, "updatedOn": {now},
                         "tags": [{{"name": "host", "value": "h{n}.example"}}]}}]}}}}"#
    );
    (id, json)
}

/// What the ledger says, by episode.
pub(super) type Story = BTreeMap<String, Vec<Record>>;

fn read(path: &Path) -> Story {
    let Opened::Ledger(ledger) = Ledger::open(path, "the test").expect("the ledger") else {
        panic!("somebody still holds the ledger");
    };
    let mut summaries = Vec::new();
    let mut collect = |summary| {
        summaries.push(summary);
        ControlFlow::Continue(())
    };
    ledger.history(&Filter::default(), &mut collect).expect("the history");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let entries = |summary: Summary| {
        assert_eq!(summary.state.terminal(), Some(Terminal::Succeeded), "{}", summary.key);
        let entries = runtime.block_on(ledger.entries(summary.key.clone())).expect("the entries");
        (summary.key.to_string(), entries)
    };
    summaries.into_iter().map(entries).collect()
}

/// Holds what the ledger says against what the target saw: every episode succeeded once, and what the target saw beside that
/// is in doubt in the ledger. A line about it.
pub(super) fn judge(story: &Story, episodes: usize, calls: &[HttpRequest]) -> String {
    assert_eq!(story.len(), episodes, "one episode for each matched incident");
    let mut seen = attempts_seen(calls);
    let mut seen_twice = BTreeSet::new();
    let mut in_doubt = BTreeSet::new();
    for (key, entries) in story {
        let successes =
            entries.iter().filter(|record| matches!(record.entry, Entry::Outcome(Outcome::Succeeded { .. })));
        assert_eq!(successes.count(), 1, "{key}: {entries:?}");

        let attempts = seen.remove(key).unwrap_or_else(|| panic!("the target never saw {key}: {entries:?}"));
        let distinct: BTreeSet<u32> = attempts.iter().copied().collect();
        assert_eq!(distinct.len(), attempts.len(), "{key}: one attempt was sent twice: {attempts:?}");
        // Each attempt but the last was cut off by a kill, and nothing but a kill cuts one off: the ledger calls it
        // unknown, then retried. Of what the target saw, all but the success is exactly that.
        let (last, repeated) = attempts_written(entries);
        assert!(distinct.contains(&last), "{key}: the target never saw attempt {last}, which succeeded: {entries:?}");
        let beyond: BTreeSet<u32> = distinct.iter().copied().filter(|number| *number != last).collect();
        assert!(beyond.is_subset(&repeated), "{key}: {beyond:?} were seen, in doubt are {repeated:?}: {entries:?}");
        if attempts.len() > 1 {
            seen_twice.insert(key.clone());
        }
        if !repeated.is_empty() {
            in_doubt.insert(key.clone());
        }
    }
    assert!(seen.is_empty(), "the target saw episodes that the ledger does not know: {:?}", seen.keys());
    // The rest of these doubts are kills between ATTEMPT and the network: the target never saw those attempts.
    assert!(seen_twice.is_subset(&in_doubt), "seen twice, and no doubt in the ledger: {seen_twice:?} {in_doubt:?}");
    format!(
        "{} episodes, {} calls, {} in doubt, {} of these seen twice",
        story.len(),
        calls.len(),
        in_doubt.len(),
        seen_twice.len()
    )
}

/// The numbers of the attempts that the target saw, by episode.
fn attempts_seen(calls: &[HttpRequest]) -> BTreeMap<String, Vec<u32>> {
    let mut seen: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for call in calls {
        let episode = call.header("x-episode").expect("an episode").to_owned();
        let attempt = call.header("x-attempt").and_then(|text| text.parse().ok()).expect("an attempt");
        seen.entry(episode).or_default().push(attempt);
    }
    seen
}

/// The number of the attempt that succeeded, and of those that the ledger calls unknown, then retried. Any other story
/// of a succeeded episode is a fault.
fn attempts_written(entries: &[Record]) -> (u32, BTreeSet<u32>) {
    let mut repeated = BTreeSet::new();
    let mut rest = entries.iter().map(|record| &record.entry);
    assert!(matches!(rest.next(), Some(Entry::Intent(_))), "{entries:?}");
    loop {
        let Some(Entry::Attempt(attempt)) = rest.next() else { panic!("an attempt in {entries:?}") };
        match rest.next() {
            Some(Entry::Outcome(Outcome::Succeeded { .. })) => {
                assert!(rest.next().is_none(), "{entries:?}");
                return (attempt.number, repeated);
            }
            Some(Entry::Outcome(Outcome::Unknown { .. })) => {
                repeated.insert(attempt.number);
            }
            // Not begun, because the partition went away meanwhile: the target must not have seen this one.
            Some(Entry::Outcome(Outcome::Retrying { .. })) => continue,
            _ => panic!("success or doubt after attempt {} in {entries:?}", attempt.number),
        }
        assert!(matches!(rest.next(), Some(Entry::Outcome(Outcome::Retrying { .. }))), "{entries:?}");
    }
}
