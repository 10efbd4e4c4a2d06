//! What a rehearsal came to, as text for people or one JSON object for programs.

use std::io::{self, Write};

use serde_json::{Value, json};

use crate::service::tools::clock::time;

use super::compare::{Comparison, Standings};
use super::rehearsal::{Fired, Move, Moved, Tally};

/// Everything there is to tell.
pub(super) struct Report<'r> {
    pub(super) source: &'r str,
    pub(super) tally: &'r Tally,
    /// The difference to the ledger; or why it was not compared.
    pub(super) ledger: Result<&'r Comparison, &'r str>,
    /// Where the ledger was read.
    pub(super) ledger_name: &'r str,
    /// Lines of each list of differences.
    pub(super) shown: usize,
}

impl Report<'_> {
    pub(super) fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        let Tally { records, outside, malformed, current, candidate, moved, .. } = self.tally;
        let decided = records.saturating_sub(*outside).saturating_sub(*malformed);
        write!(
            out,
            "{}: {records} records, {decided} decided, {malformed} malformed, {outside} outside the time",
            self.source
        )?;
        match (self.tally.first_ms, self.tally.last_ms) {
            (Some(first), Some(last)) => writeln!(out, "; {} to {}", time(first), time(last))?,
            _ => writeln!(out)?,
        }
        for (place, why) in &self.tally.malformed_examples {
            writeln!(out, "  malformed {place}: {why}")?;
        }
        writeln!(out, "\nwould fire{}", if candidate.is_some() { ", by the current rules" } else { "" })?;
        Self::fired(current, self.ledger.ok(), out)?;
        if let Some(candidate) = candidate {
            writeln!(out, "\nwould fire, by the candidate rules")?;
            Self::fired(candidate, None, out)?;
            self.moves(current, candidate, moved, out)?;
        }
        match self.ledger {
            Ok(comparison) => self.differences(comparison, out),
            Err(why) => writeln!(out, "\nnot compared with the ledger: {why}"),
        }
    }

    fn fired(fired: &Fired, ledger: Option<&Comparison>, out: &mut dyn Write) -> io::Result<()> {
        let width = fired.conditions.iter().map(|counted| counted.name.chars().count()).max().unwrap_or(0).max(12);
        write!(out, "  {:width$} {:>9} {:>9} {:>9}", "condition", "records", "incidents", "episodes")?;
        if ledger.is_some() {
            write!(
                out,
                " |{:>9} {:>7} {:>7} {:>6} {:>6} {:>7}",
                "succeeded", "failed", "skipped", "held", "open", "absent"
            )?;
        }
        writeln!(out)?;
        for counted in &fired.conditions {
            let (name, incidents) = (&counted.name, counted.incidents.len());
            write!(out, "  {name:width$} {:9} {incidents:9} {:9}", counted.records, counted.episodes)?;
            if counted.shadow {
                write!(out, " | shadow: it only watches")?;
            } else if let Some(ledger) = ledger {
                let Standings { succeeded, failed, skipped, held, open, absent } =
                    ledger.by_condition.get(name).copied().unwrap_or_default();
                write!(out, " |{succeeded:9} {failed:7} {skipped:7} {held:6} {open:6} {absent:7}")?;
            }
            writeln!(out)?;
        }
        writeln!(out, "  {:width$} {:9}", "(none)", fired.unmatched)?;
        if fired.stale > 0 {
            writeln!(
                out,
                "  {} of these records came after a later snapshot of their incident and begin nothing",
                fired.stale
            )?;
        }
        Ok(())
    }

    fn moves(
        &self,
        current: &Fired,
        candidate: &Fired,
        moved: &std::collections::BTreeMap<Move, Moved>,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let records: u64 = moved.values().map(|moved| moved.records).sum();
        writeln!(out, "\nthe candidate decides {records} records otherwise")?;
        for ((before, after), moved) in moved {
            writeln!(out, "  {} -> {}: {}", named(before.as_deref()), named(after.as_deref()), moved.records)?;
            for example in &moved.examples {
                writeln!(out, "    {} ({}): {}", example.incident, example.place, example.why)?;
            }
        }
        for (title, only) in
            [("only the current rules", only(current, candidate)), ("only the candidate", only(candidate, current))]
        {
            if !only.is_empty() {
                writeln!(out, "  episodes of {title}: {}", only.len())?;
                self.list(&only, out)?;
            }
        }
        Ok(())
    }

    fn differences(&self, comparison: &Comparison, out: &mut dyn Write) -> io::Result<()> {
        let Comparison { not_done, not_planned, .. } = comparison;
        writeln!(out, "\ncompared with {}", self.ledger_name)?;
        writeln!(out, "  would be begun, but not in the ledger: {}", not_done.len())?;
        let lines: Vec<String> =
            not_done.iter().map(|(key, begun)| format!("{key} ({}, {})", begun.place, time(begun.at_ms))).collect();
        self.list(&lines, out)?;
        writeln!(out, "  begun in that time, but not by these rules and records: {}", not_planned.len())?;
        let lines: Vec<String> = not_planned.iter().map(|(key, state)| format!("{key} {state}")).collect();
        self.list(&lines, out)
    }

    fn list(&self, lines: &[String], out: &mut dyn Write) -> io::Result<()> {
        for line in lines.iter().take(self.shown) {
            writeln!(out, "    {line}")?;
        }
        match lines.len().saturating_sub(self.shown) {
            0 => Ok(()),
            more => writeln!(out, "    and {more} more; --show {} lists them", lines.len()),
        }
    }

    pub(super) fn json(&self) -> Value {
        let tally = self.tally;
        let malformed: Vec<Value> =
            tally.malformed_examples.iter().map(|(place, why)| json!({"place": place, "why": why})).collect();
        let candidate = tally.candidate.as_ref().map(|candidate| {
            json!({
                "would_fire": conditions(candidate, None),
                "moved": tally.moved.iter().map(|(from_to, moved)| of_move(from_to, moved)).collect::<Vec<_>>(),
                "only_current": self.shortened(only(&tally.current, candidate)),
                "only_candidate": self.shortened(only(candidate, &tally.current)),
            })
        });
        let ledger = match self.ledger {
            Ok(comparison) => json!({
                "compared_with": self.ledger_name,
                "not_done": self.shortened(comparison.not_done.iter().map(|(key, _)| key.to_string()).collect()),
                "not_planned": self.shortened(comparison.not_planned.iter().map(|(key, _)| key.to_string()).collect()),
            }),
            Err(why) => json!({"not_compared": why}),
        };
        json!({
            "source": self.source,
            "records": tally.records,
            "outside": tally.outside,
            "malformed": tally.malformed,
            "malformed_examples": malformed,
            "first_ms": tally.first_ms,
            "last_ms": tally.last_ms,
            "stale": tally.current.stale,
            "would_fire": conditions(&tally.current, self.ledger.ok()),
            "candidate": candidate,
            "ledger": ledger,
        })
    }

    fn shortened(&self, lines: Vec<String>) -> Value {
        json!({"count": lines.len(), "episodes": lines.into_iter().take(self.shown).collect::<Vec<_>>()})
    }
}

fn conditions(fired: &Fired, ledger: Option<&Comparison>) -> Value {
    let one = |counted: &super::rehearsal::Counted| {
        let standings = ledger.map(|ledger| ledger.by_condition.get(&counted.name).copied().unwrap_or_default());
        json!({
            "condition": counted.name,
            "shadow": counted.shadow,
            "records": counted.records,
            "incidents": counted.incidents.len(),
            "episodes": counted.episodes,
            "ledger": standings.filter(|_| !counted.shadow).map(|s| json!({
                "succeeded": s.succeeded, "failed": s.failed, "skipped": s.skipped, "held": s.held, "open": s.open, "absent": s.absent,
            })),
        })
    };
    let matched: Vec<Value> = fired.conditions.iter().map(one).collect();
    json!({"conditions": matched, "unmatched": fired.unmatched})
}

fn of_move((before, after): &Move, moved: &Moved) -> Value {
    let examples: Vec<Value> = moved
        .examples
        .iter()
        .map(|example| json!({"incident": example.incident, "place": example.place, "why": example.why}))
        .collect();
    json!({"from": before, "to": after, "records": moved.records, "examples": examples})
}

fn named(condition: Option<&str>) -> &str {
    condition.unwrap_or("(none)")
}

/// Episodes of the first that the second does not have.
fn only(of: &Fired, without: &Fired) -> Vec<String> {
    of.episodes.keys().filter(|key| !without.episodes.contains_key(key)).map(ToString::to_string).collect()
}
