//! What the ledger knows: what is open, what was recorded lately, and the whole story of one incident.

use std::time::Duration;

use crate::http::{Cell, Part, Row, Section, Table};
use crate::ledger::{Entry, Record, Summary, Terminal};
use crate::pipeline::wall_clock_ms;

use super::super::tools::{detail, time};
use super::view::View;
use super::{length, toned};

/// Episodes of one incident whose story is told.
const EPISODES_MAX: usize = 40;

pub(super) fn open(view: Option<&View>) -> Section {
    let table = Table {
        caption: None,
        columns: &["Incident", "For", "State", "Action", "Alert", "Condition", "Why"],
        numbers: &[],
        rows: view.map(|view| view.open.iter().map(row).collect()).unwrap_or_default(),
        empty: "nothing is running, held or unknown",
    };
    let mut parts = trouble(view);
    let held = view.and_then(|view| view.open.iter().find(|episode| episode.state.terminal() == Some(Terminal::Held)));
    parts.push(Part::Table(table));
    if let Some(held) = held {
        parts.push(Part::Text("What is held waits for a person, who says what became of it:".to_owned()));
        parts.push(Part::Lines(format!(
            "kafka_consumer history settle {} --succeeded|--failed|--retry --who NAME --why TEXT",
            held.key
        )));
    }
    Section { id: "actions", title: "Actions running, held and unknown".to_owned(), folded: false, parts }
}

pub(super) fn recent(view: Option<&View>) -> Section {
    let table = Table {
        caption: Some("Of the last hour, the newest first.".to_owned()),
        columns: &["Incident", "Ago", "State", "Action", "Alert", "Condition", "Why"],
        numbers: &[],
        rows: view.map(|view| view.recent.iter().map(row).collect()).unwrap_or_default(),
        empty: "nothing was recorded in the last hour",
    };
    let mut parts = vec![Part::Search { value: String::new() }];
    parts.extend(trouble(view));
    parts.push(Part::Table(table));
    Section { id: "decisions", title: "Recent decisions".to_owned(), folded: false, parts }
}

/// Why there is nothing to show.
fn trouble(view: Option<&View>) -> Vec<Part> {
    match view {
        None => vec![Part::Text("The ledger is being read; load the page again.".to_owned())],
        Some(view) => view.trouble.clone().map(Part::Text).into_iter().collect(),
    }
}

fn row(episode: &Summary) -> Row {
    let age = wall_clock_ms().saturating_sub(episode.last_ms).max(0);
    vec![
        Cell::incident(episode.key.incident.as_str()),
        length(Duration::from_millis(u64::try_from(age).unwrap_or(0))).into(),
        toned(episode.state.name()),
        episode.key.action.as_str().into(),
        episode.key.alert.as_deref().unwrap_or_default().into(),
        episode.key.condition.as_str().into(),
        episode.state.reason().into(),
    ]
}

/// Everything that was recorded of one incident: per episode its entries, and what the condition saw.
pub(in crate::service) fn story(incident: &str, episodes: &[(Summary, Vec<Record>)]) -> Section {
    let mut parts = vec![Part::Search { value: incident.to_owned() }];
    if episodes.is_empty() {
        let why = "The ledger has nothing of this incident: no condition took it, or it was forgotten since, or it was only \
                   watched (mode: shadow). `kafka_consumer explain` says for its record why.";
        parts.push(Part::Text(why.to_owned()));
    }
    for (episode, records) in episodes.iter().take(EPISODES_MAX) {
        parts.push(Part::Heading(episode.key.to_string()));
        let table = Table {
            caption: None,
            columns: &["When", "What", "Detail"],
            numbers: &[],
            rows: records.iter().map(entry).collect(),
            empty: "",
        };
        parts.push(Part::Table(table));
        let because = records.iter().find_map(|record| match &record.entry {
            Entry::Intent(intent) if !intent.because.is_empty() => Some(intent.because.join("\n")),
            _ => None,
        });
        if let Some(because) = because {
            parts.push(Part::Text(format!("Because condition {} saw:", episode.key.condition)));
            parts.push(Part::Lines(because));
        }
    }
    if episodes.len() > EPISODES_MAX {
        parts.push(Part::Text(format!(
            "and {} more episodes: `kafka_consumer history list`",
            episodes.len() - EPISODES_MAX
        )));
    }
    Section { id: "decisions", title: format!("Decisions about incident {incident}"), folded: false, parts }
}

fn entry(record: &Record) -> Row {
    let what = match &record.entry {
        Entry::Outcome(outcome) => toned(outcome.name()),
        other => other.to_string().to_lowercase().into(),
    };
    vec![time(record.at_ms).into(), what, detail(&record.entry).trim_start_matches(": ").into()]
}
