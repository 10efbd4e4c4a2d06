//! `history`: what the ledger says was done, and the word of a person about what it cannot know.
//!
//! The ledger has one holder. While the service has it these tools ask the service, and say what to do when they cannot;
//! while they have it, a starting service waits as standby. A ledger topic is asked for through a replica that runs. Nothing here
//! creates a ledger.
//!
//! An export is JSON lines, a record each, under the SHA-256 of the line before it (64 zeros before the first); the last line
//! says how many there are. Whoever keeps the hash of that last line can tell any later change.

use std::fmt::Write as _;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::ledger::{Entry, EpisodeKey, Filter, Record, Summary};

use super::super::settlement::Settle;
use super::books::Books;
use super::{Answer, Form, Options, Refused, Told, cannot, read, time};

/// Which episodes are looked at; times in seconds since the epoch.
#[derive(Clone, Debug, Default)]
pub struct Look {
    /// Of this incident.
    pub incident: Option<String>,
    /// Of this condition.
    pub condition: Option<String>,
    /// Standing like this: succeeded, failed, skipped, held, found, shadow, intended, attempting, started, unknown.
    pub outcome: Option<String>,
    /// Last heard of at this time or later.
    pub from: Option<i64>,
    /// Last heard of before this time.
    pub to: Option<i64>,
}

impl Look {
    pub(super) fn filter(&self) -> Filter {
        let ms = |seconds: i64| seconds.saturating_mul(1000);
        Filter {
            incident: self.incident.clone(),
            condition: self.condition.clone(),
            state: self.outcome.clone(),
            from_ms: self.from.map(ms),
            to_ms: self.to.map(ms),
            after: None,
        }
    }
}

/// Lists episodes, by key.
pub fn list(options: &Options, look: &Look, form: Form, out: &mut dyn Write) -> Answer {
    let books = Books::open(options)?;
    let mut broken = None;
    books.each(look, &mut |episode| match write_summary(&episode, form, out) {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => {
            broken = Some(error);
            ControlFlow::Break(())
        }
    })?;
    broken.map_or(Ok(Told::Yes), |error| Err(error.into()))
}

/// Shows the records of one episode, oldest first.
pub fn show(options: &Options, key: &str, form: Form, out: &mut dyn Write) -> Answer {
    let key = parse(key)?;
    let books = Books::open(options)?;
    let records = books.entries(&key)?;
    if records.is_empty() {
        return Err(cannot(format_args!("{} has no episode {key}; see `history list`", books.name())));
    }
    for record in &records {
        if form.json {
            writeln!(out, "{}", value(record)?)?;
        } else {
            writeln!(out, "{} {}{}", time(record.at_ms), record.entry, detail(&record.entry))?;
            for saw in because(&record.entry) {
                writeln!(out, "{:20}   because {saw}", "")?;
            }
        }
    }
    Ok(Told::Yes)
}

/// Writes every record of the wanted episodes under a hash chain.
pub fn export(options: &Options, look: &Look, out: &mut dyn Write) -> Answer {
    let books = Books::open(options)?;
    let mut chain = Chain::default();
    let mut failed = None;
    books.each(look, &mut |episode| {
        let written = books.entries(&episode.key).and_then(|records| {
            records.iter().try_for_each(|record| Ok(out.write_all(chain.line("record", &value(record)?).as_bytes())?))
        });
        match written {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        }
    })?;
    if let Some(error) = failed {
        return Err(error);
    }
    let count = chain.lines;
    out.write_all(chain.line("lines", &count.into()).as_bytes())?;
    Ok(Told::Yes)
}

/// Checks the chain of an export; needs neither ledger nor configuration.
pub fn verify(file: &Path, out: &mut dyn Write) -> Answer {
    let bytes = read(file)?;
    let text = String::from_utf8_lossy(&bytes);
    match chained(&text) {
        Ok((lines, last)) => {
            writeln!(out, "{} is whole: {lines} records; SHA-256 of its last line: {last}", file.display())?;
            Ok(Told::Yes)
        }
        Err(what) => {
            writeln!(out, "{} was changed: {what}", file.display())?;
            Ok(Told::No)
        }
    }
}

/// Writes down what a person knows of an episode that is held, or whose fate is unknown.
pub fn settle(options: &Options, key: &str, how: Settle, who: &str, why: &str, out: &mut dyn Write) -> Answer {
    let key = parse(key)?;
    Books::open(options)?.settle(&key, how, who, why)?;
    writeln!(out, "{key} {}", how.then())?;
    Ok(Told::Yes)
}

fn parse(key: &str) -> Result<EpisodeKey, Refused> {
    key.parse().map_err(cannot)
}

fn value(record: &Record) -> Result<Value, Refused> {
    serde_json::to_value(record).map_err(cannot)
}

fn write_summary(episode: &Summary, form: Form, out: &mut dyn Write) -> std::io::Result<()> {
    let (state, attempts, reason) = (episode.state.name(), episode.state.attempts(), episode.state.reason());
    if form.json {
        let EpisodeKey { incident, condition, .. } = &episode.key;
        let (key, first, last) = (episode.key.to_string(), episode.first_ms, episode.last_ms);
        let told = json!({
            "key": key, "incident": incident, "condition": condition, "outcome": state, "attempts": attempts,
            "first_ms": first, "last_ms": last, "reason": reason,
        });
        return writeln!(out, "{told}");
    }
    writeln!(out, "{} {state:10} {attempts:3} {} {reason}", time(episode.last_ms), episode.key)
}

/// What an entry says beside its name; empty, or after a colon.
pub(in crate::service) fn detail(entry: &Entry) -> String {
    match entry {
        Entry::Intent(intent) => {
            let origin = &intent.origin;
            let place = format!("{}/{}@{}", origin.topic, origin.partition, origin.offset);
            format!(": {} {} (record {place}, by {})", intent.action_type, intent.request, intent.by)
        }
        Entry::Attempt(_) | Entry::Started(_) => String::new(),
        Entry::Outcome(outcome) => format!(": {}", outcome.reason()),
    }
}

/// What the condition saw when it matched.
fn because(entry: &Entry) -> &[String] {
    match entry {
        Entry::Intent(intent) => &intent.because,
        Entry::Attempt(_) | Entry::Started(_) | Entry::Outcome(_) => &[],
    }
}

/// The lines of an export, each under the hash of the one before.
struct Chain {
    previous: String,
    lines: u64,
}

impl Default for Chain {
    fn default() -> Self {
        Self { previous: "0".repeat(64), lines: 0 }
    }
}

impl Chain {
    fn line(&mut self, name: &str, value: &Value) -> String {
        let line = json!({"previous": self.previous, name: value}).to_string();
        self.previous = hash(&line);
        self.lines = self.lines.saturating_add(1);
        format!("{line}\n")
    }
}

fn hash(line: &str) -> String {
    Sha256::digest(line).iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The number of records and the hash of the last line; or what is wrong, and in which line.
fn chained(text: &str) -> Result<(u64, String), String> {
    let (mut previous, mut records, mut closed) = ("0".repeat(64), 0_u64, false);
    for (number, line) in (1_u64..).zip(text.lines()) {
        let read: Value = serde_json::from_str(line).map_err(|error| format!("line {number} is not JSON: {error}"))?;
        if closed {
            return Err(format!("line {number} follows the last line"));
        }
        if read["previous"] != previous.as_str() {
            return Err(format!("line {number} does not follow the line before it"));
        }
        previous = hash(line);
        match read["lines"].as_u64() {
            Some(lines) if lines == records => closed = true,
            Some(lines) => return Err(format!("line {number} speaks of {lines} records, {records} are there")),
            None => records = records.saturating_add(1),
        }
    }
    if closed { Ok((records, previous)) } else { Err("its last lines are missing".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exported() -> String {
        let mut chain = Chain::default();
        let records: String = (0..3).map(|n| chain.line("record", &json!({"n": n}))).collect();
        records + &chain.line("lines", &3.into())
    }

    #[test]
    fn a_whole_chain_is_whole() {
        assert_eq!(chained(&exported()).expect("whole").0, 3);
    }

    #[test]
    fn a_changed_removed_added_or_cut_off_line_is_found() {
        let lines: Vec<String> = exported().lines().map(str::to_owned).collect();
        let changed = exported().replace("\"n\":1", "\"n\":7");
        let removed = [&lines[0], &lines[2], &lines[3]].map(String::as_str).join("\n");
        let cut_off = lines[..3].join("\n");
        let added = format!("{}{}\n", exported(), lines[0]);
        for damaged in [changed, removed, cut_off, added, String::new()] {
            assert!(chained(&damaged).is_err(), "{damaged}");
        }
    }
}
