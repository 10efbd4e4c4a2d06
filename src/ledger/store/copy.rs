//! The store as the copy of a ledger topic: lines go in by the order of the log, and each is told what became of it.
//!
//! The topic is the ledger; the copy is built anew at every start and saves nothing but memory. So most of its
//! transactions are not waited for, and only the space that they hold is given back now and then.
//!
//! | table | key | value |
//! |---|---|---|
//! | `claims` | text of an episode's key | how many lines were accepted, who holds it, and what its records in the topic are called |

use std::sync::atomic::Ordering;

use redb::{Durability, Table, TableDefinition};
use serde::{Deserialize, Serialize};

use super::{ENDED, EPISODES, OPEN, Store, Tables, existing, fault, note, summary};
use crate::ledger::claim::{Line, Refused, Said, Session, Standing};
use crate::ledger::entry::{Note, Record, Stored, decode, encode};
use crate::ledger::episode::EpisodeKey;
use crate::ledger::error::{Fault, LedgerError};
use crate::ledger::fold::State;

const CLAIMS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("claims");

/// Pages after which the space of old ones is given back.
const PAGES_PER_SYNC: u64 = 256;

/// What a record of the topic says to the copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// A line about an episode.
    Line {
        /// The episode.
        key: EpisodeKey,
        /// When it was written, milliseconds since the epoch.
        at_ms: i64,
        /// What the record is called in the topic.
        name: String,
        /// What it says.
        line: Box<Line>,
    },
    /// A record of an episode is gone.
    Gone {
        /// The text of the episode's key.
        episode: String,
        /// What it was called.
        name: String,
    },
    /// Something that is kept beside.
    Note(Note),
}

/// Beside the summary of an episode.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Claims {
    lines: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    holder: Option<Session>,
    /// Of every line that was read, refused ones included: all of them are removed together.
    names: Vec<String>,
}

impl Stored for Claims {
    fn version(&self) -> u8 {
        1
    }
}

/// An episode that retention may forget, and what its records are called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Old {
    /// Where it stands in the order of retention.
    pub(crate) place: (i64, String),
    /// Its records in the topic.
    pub(crate) names: Vec<String>,
}

impl Store {
    /// Takes a page of the log, in order. One verdict for each line, `None` for what is no line.
    pub(crate) fn follow(&self, page: &[Heard]) -> Result<Vec<Option<Result<(), Refused>>>, Fault> {
        let database = self.database()?;
        let mut transaction = database.begin_write().map_err(fault)?;
        if !self.commits.load(Ordering::Relaxed).is_multiple_of(PAGES_PER_SYNC) {
            transaction.set_durability(Durability::None).map_err(|error| Fault::Damaged(error.to_string()))?;
        }
        let mut accepted = 0;
        let verdicts = {
            let mut tables = Tables::open(&transaction)?;
            let mut claims = transaction.open_table(CLAIMS).map_err(fault)?;
            let mut verdicts = Vec::with_capacity(page.len());
            for heard in page {
                let verdict = match heard {
                    Heard::Line { key, at_ms, name, line } => {
                        let verdict = take(&mut tables, &mut claims, key, *at_ms, (name, line))?;
                        accepted += u64::from(verdict.is_ok());
                        Some(verdict)
                    }
                    Heard::Gone { episode, name } => {
                        forget(&mut tables, &mut claims, episode, name)?;
                        None
                    }
                    Heard::Note(_) => None,
                };
                verdicts.push(verdict);
            }
            verdicts
        };
        note(
            &transaction,
            page.iter().filter_map(|heard| if let Heard::Note(note) = heard { Some(note) } else { None }),
        )?;
        transaction.commit().map_err(fault)?;
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.records.fetch_add(accepted, Ordering::Relaxed);
        Ok(verdicts)
    }

    /// Where an episode stands in the log as far as it was read.
    pub(crate) fn standing(&self, key: &EpisodeKey) -> Result<Standing, LedgerError> {
        let text = key.to_string();
        self.read(|transaction| {
            let Some(claims) = existing(transaction.open_table(CLAIMS))? else { return Ok(Standing::default()) };
            let Some(Claims { lines, holder, names: _ }) = claims_of(&claims, &text)? else {
                return Ok(Standing::default());
            };
            let episodes = transaction.open_table(EPISODES).map_err(fault)?;
            let state = summary(&episodes, &text)?.map_or(State::Absent, |summary| summary.state);
            Ok(Standing { state, lines, holder })
        })
    }

    /// Whether an incident has an episode that has not ended.
    pub(crate) fn has_open(&self, incident: &str) -> Result<bool, LedgerError> {
        let (from, to) = crate::ledger::history::of_incident(incident);
        self.read(|transaction| {
            let Some(open) = existing(transaction.open_table(OPEN))? else { return Ok(false) };
            let mut range = open.range::<&str>(from.as_str()..to.as_str()).map_err(fault)?;
            Ok(range.next().is_some())
        })
    }

    /// Some episodes that ended before `before_ms`, from behind `after` on; as many as `most`.
    pub(crate) fn ended(
        &self,
        after: Option<&(i64, String)>,
        before_ms: i64,
        most: usize,
    ) -> Result<Vec<Old>, LedgerError> {
        let nowhere = (i64::MIN, String::new());
        let (at, text) = after.unwrap_or(&nowhere);
        self.read(|transaction| {
            let Some(ended) = existing(transaction.open_table(ENDED))? else { return Ok(Vec::new()) };
            let Some(claims) = existing(transaction.open_table(CLAIMS))? else { return Ok(Vec::new()) };
            let mut found = Vec::new();
            // Nothing sorts between a text and the same text with a zero byte after it.
            let from = format!("{text}\0");
            let range = ended.range::<(i64, &str)>((*at, from.as_str())..(before_ms, "")).map_err(fault)?;
            for entry in range.take(most) {
                let (key, _) = entry.map_err(fault)?;
                let (at, text) = key.value();
                let names = claims_of(&claims, text)?.unwrap_or_default().names;
                found.push(Old { place: (at, text.to_owned()), names });
            }
            Ok(found)
        })
    }
}

type ClaimsTable<'t> = Table<'t, &'static str, &'static [u8]>;

fn claims_of(
    claims: &impl redb::ReadableTable<&'static str, &'static [u8]>,
    text: &str,
) -> Result<Option<Claims>, Fault> {
    let stored = claims.get(text).map_err(fault)?;
    stored.map(|stored| super::readable(decode(stored.value()), "a claim")).transpose()
}

/// Takes the next line of an episode.
fn take(
    tables: &mut Tables<'_>,
    claims: &mut ClaimsTable<'_>,
    key: &EpisodeKey,
    at_ms: i64,
    (name, line): (&str, &Line),
) -> Result<Result<(), Refused>, Fault> {
    let text = key.to_string();
    let mut known = claims_of(claims, &text)?.unwrap_or_default();
    let state = summary(&tables.episodes, &text)?.map_or(State::Absent, |summary| summary.state);
    let standing = Standing { state, lines: known.lines, holder: known.holder.take() };
    let (holder, verdict) = match standing.apply(line) {
        Ok(next) => {
            if let Said::Entry(entry) = &line.said {
                let record = Record { key: key.clone(), at_ms, entry: entry.clone() };
                tables.append(&[record])?.map_err(|error| Fault::Damaged(error.to_string()))?;
            }
            known.lines = next.lines;
            (next.holder, Ok(()))
        }
        Err(refused) => (standing.holder, Err(refused)),
    };
    known.holder = holder;
    known.names.push(name.to_owned());
    claims.insert(text.as_str(), encode(&known).as_slice()).map_err(fault)?;
    Ok(verdict)
}

/// Whoever removes one record of an episode removes all of them, in one batch: with the first the episode is forgotten.
fn forget(tables: &mut Tables<'_>, claims: &mut ClaimsTable<'_>, text: &str, name: &str) -> Result<(), Fault> {
    let known = claims_of(claims, text)?.unwrap_or_default();
    // A record of an episode of the same name that was forgotten before says nothing about this one.
    if !known.names.iter().any(|of| of == name) {
        return Ok(());
    }
    tables.forget(text)?;
    claims.remove(text).map(drop).map_err(fault)
}
