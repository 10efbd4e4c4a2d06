//! What came in, what matched and why, what was done; and whether it is as it should be.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use anyhow::Context as _;
use kafka_consumer::condition::Conditions;
use kafka_consumer::incident::Incident;
use kafka_consumer::ledger::{Filter, Ledger, Opened, Summary};
use kafka_consumer::yaml::{self, Mistakes};

use crate::story::{FLAKY_FAILURES, Story};
use crate::world::{GROUP, TOPIC, World};

/// The comparisons; each is printed as it is made.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    failed: usize,
}

impl Checks {
    /// Notes whether something is as it should be.
    pub(crate) fn hold(&mut self, what: &str, holds: bool) {
        println!("  {} {what}", if holds { "ok  " } else { "FAIL" });
        self.failed += usize::from(!holds);
    }

    fn equal(&mut self, what: &str, found: usize, expected: usize) {
        let detail = if found == expected { format!("{found}") } else { format!("{found}, expected {expected}") };
        self.hold(&format!("{what}: {detail}"), found == expected);
    }

    /// Whether everything was.
    pub(crate) fn all_hold(&self) -> bool {
        println!(
            "{}",
            if self.failed == 0 { "everything is as it should be" } else { "NOT everything is as it should be" }
        );
        self.failed == 0
    }
}

/// What is there before the service starts.
pub(crate) fn opening(story: &Story, world: &World) {
    println!("broker     {} (TLS, SCRAM-SHA-512, topic {TOPIC}, group {GROUP})", world.cluster.bootstrap());
    println!("target     {}", world.target.url("/"));
    println!("came in    {} records, {} of them no incidents", story.records.len(), story.expected.malformed);
    println!("page       http://{}/status.html", world.listen());
}

/// One incident of each kind, with the reasons: decided here by the same rules that the service has.
pub(crate) fn decisions(story: &Story, world: &World, checks: &mut Checks) -> anyhow::Result<()> {
    println!("\nwhat matched, and why");
    let conditions = conditions(world)?;
    let mut shown = BTreeMap::new();
    for record in &story.records {
        let Ok(incident) = Incident::parse(&record.value) else { continue };
        let explanation = conditions.explain(&incident, crate::now_unix_s()?);
        let kind = explanation.matched.clone();
        if shown.contains_key(&kind) {
            continue;
        }
        println!("  {} → {}", record.key, kind.as_deref().unwrap_or("no condition"));
        for condition in &explanation.conditions {
            println!("      {}: {}", condition.name, condition.evidence.reason());
        }
        shown.insert(kind, record.key.clone());
    }
    checks.equal("kinds of decisions", shown.len(), 3);
    Ok(())
}

fn conditions(world: &World) -> anyhow::Result<Conditions> {
    let mistakes = Mistakes::default();
    let text = std::fs::read_to_string(world.config_file())?;
    let document = yaml::parse(&text, &mistakes).context("the demo's configuration is not YAML")?;
    let conditions = Conditions::compile(document.get("incident_conditions"), "incident_conditions", &mistakes);
    mistakes.into_result().map_err(|mistakes| anyhow::anyhow!("{mistakes:?}"))?;
    Ok(conditions)
}

/// What the ledger, the target, the dead letters and the metrics say.
pub(crate) fn outcomes(story: &Story, world: &World, metrics: &str, checks: &mut Checks) -> anyhow::Result<()> {
    println!("\nwhat was done");
    let expected = &story.expected;
    let episodes = history(world)?;
    let mut by_state: BTreeMap<(String, String), usize> = BTreeMap::new();
    for summary in &episodes {
        *by_state.entry((summary.key.condition.clone(), summary.state.name().to_owned())).or_default() += 1;
    }
    for ((condition, state), count) in &by_state {
        println!("  {condition}: {count} actions {state}");
    }
    let succeeded: usize = by_state.iter().filter(|((_, state), _)| state == "succeeded").map(|(_, count)| count).sum();
    checks.equal("actions that succeeded", succeeded, expected.actions);
    checks.equal("actions that ended in any other way", episodes.len() - succeeded, 0);
    let requests = world.target.request_count();
    checks.equal(
        "requests at the target, the two that it failed included",
        requests,
        expected.actions + FLAKY_FAILURES,
    );
    checks.equal("incidents dealt with", ended(metrics, "succeeded"), expected.episodes);
    checks.equal("skipped as already done", ended(metrics, "already_done") + ended(metrics, "stale"), expected.repeats);
    let snapshots = story.records.len() - expected.malformed - expected.episodes - expected.repeats;
    checks.equal("snapshots that match nothing", snapshots, expected.unmatched);
    let letters = std::fs::read_to_string(world.dead_letter_file()).context("there is no dead letter file")?;
    for line in letters.lines().take(3) {
        println!("  dead letter: {}", line.get(..110).unwrap_or(line));
    }
    checks.equal("dead letters", letters.lines().count(), expected.malformed);
    Ok(())
}

/// The sum of a counter over all conditions.
fn ended(metrics: &str, end: &str) -> usize {
    let label = format!("end=\"{end}\"");
    metrics
        .lines()
        .filter(|line| line.starts_with("kafka_consumer_incidents_total{") && line.contains(&label))
        .filter_map(|line| line.rsplit(' ').next()?.trim_end_matches(".0").parse::<usize>().ok())
        .sum()
}

fn history(world: &World) -> anyhow::Result<Vec<Summary>> {
    let Opened::Ledger(ledger) = Ledger::open(&world.ledger_file(), "demo")? else {
        anyhow::bail!("the service still holds the ledger");
    };
    let mut episodes = Vec::new();
    ledger.history(&Filter::default(), &mut |summary| {
        episodes.push(summary);
        ControlFlow::Continue(())
    })?;
    Ok(episodes)
}

/// Committed offsets against the ends of the log.
pub(crate) fn offsets(world: &World, checks: &mut Checks) {
    println!("\ncommitted offsets and log ends");
    for (partition, committed, end) in world.offsets() {
        checks.hold(&format!("{TOPIC}-{partition}: {} of {end}", committed.unwrap_or(-1)), committed == Some(end));
    }
}
