//! What conditions remember: which incidents or alerts passed their tests, and since when.
//!
//! Pure: what changes is handed back as notes for the ledger, one for each sighting under a key of its own, only ever added
//! and removed. Promised: bounded per test of a condition by number and age; an incident or alert that is seen again (a
//! redelivered record, a later snapshot) is recognised and counts once; what was read back decides as before the restart.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use crate::guard::Note;

/// What the keys of its notes begin with.
const PREFIX: &str = "seen/";
/// Sightings kept for one test of one condition; the oldest goes first.
const KEPT_MAX: usize = 10_000;
/// How long after its window a sighting is kept for records that come late, in seconds.
const LATE: i64 = 24 * 3600;

/// A note that this program did not write.
#[derive(Debug, thiserror::Error)]
#[error("the conditions' note `{key}` in the ledger cannot be read: {why}")]
pub struct Unreadable {
    key: String,
    why: String,
}

/// What all conditions remember.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    series: HashMap<SeriesKey, Series>,
    next: u64,
    /// Keys of notes that nothing needs any more.
    obsolete: Vec<String>,
}

/// Which test of which condition remembers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(in crate::condition) struct SeriesKey {
    pub(super) condition: String,
    pub(super) test: String,
}

/// An incident or alert that passed a condition's tests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    #[serde(flatten)]
    pub(super) series: SeriesKey,
    /// The values of `by`.
    pub(super) by: String,
    /// The incident or alert with its start.
    pub(super) who: String,
    /// Its date, seconds since the epoch.
    pub(super) at: i64,
    /// The test that remembers was true for it, and stays so.
    pub(super) passed: bool,
}

#[derive(Clone, Debug, Default)]
struct Series {
    by: HashMap<String, Kin>,
    /// Every sighting by its date.
    order: BTreeMap<(i64, u64), (String, String)>,
}

/// The sightings that share the values of `by`.
#[derive(Clone, Debug, Default)]
struct Kin {
    who: HashMap<String, Sighting>,
    dates: BTreeSet<(i64, u64)>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Sighting {
    pub(super) at: i64,
    pub(super) passed: bool,
    number: u64,
}

impl Memory {
    /// Whether a note of the ledger is one of these.
    pub fn owns(key: &str) -> bool {
        key.starts_with(PREFIX)
    }

    /// Reads back what [`Self::enter`] has noted. `kept` says for how long a test looks back, in seconds; what no test
    /// remembers any more is removed with the next write.
    pub(in crate::condition) fn load<'n>(
        notes: impl IntoIterator<Item = (&'n str, &'n str)>,
        kept: &HashMap<SeriesKey, i64>,
        now: i64,
    ) -> Result<Self, Unreadable> {
        let mut memory = Self::default();
        let mut read = Vec::new();
        for (key, value) in notes.into_iter().filter(|(key, _)| Self::owns(key)) {
            let wrong = |why: String| Unreadable { key: key.to_owned(), why };
            let number = key.strip_prefix(PREFIX).and_then(|number| number.parse::<u64>().ok());
            let number = number.ok_or_else(|| wrong("its key is not one of this program".to_owned()))?;
            let seen: Seen = serde_json::from_str(value).map_err(|error| wrong(error.to_string()))?;
            read.push((number, seen));
        }
        read.sort_by_key(|(number, _)| *number);
        for (number, seen) in read {
            memory.next = memory.next.max(number.saturating_add(1));
            match kept.get(&seen.series) {
                Some(window) if seen.at > now.saturating_sub(window.saturating_add(7 * LATE)) => {
                    let replaced = memory.put(seen, number);
                    memory.obsolete.extend(replaced);
                }
                Some(_) | None => memory.obsolete.push(key_of(number)),
            }
        }
        Ok(memory)
    }

    /// Remembers sightings; the notes belong on disk before their record is done. `kept` as in [`Self::load`].
    pub(in crate::condition) fn enter(&mut self, seen: Vec<Seen>, kept: &HashMap<SeriesKey, i64>) -> Vec<Note> {
        let mut removed = std::mem::take(&mut self.obsolete);
        let mut notes = Vec::new();
        for seen in seen {
            let window = kept.get(&seen.series).copied().unwrap_or_default();
            let (series, number) = (seen.series.clone(), self.next);
            let value = serde_json::to_string(&seen).expect("plain structs of text and numbers always serialise");
            notes.push(Note { key: key_of(number), value: Some(value) });
            removed.extend(self.put(seen, number));
            self.next = self.next.saturating_add(1);
            removed.extend(self.prune(&series, window));
        }
        // A sighting that came and went in one call never reaches the disk.
        let (never, gone): (Vec<_>, Vec<_>) = removed.into_iter().partition(|key| notes.iter().any(|n| n.key == *key));
        notes.retain(|note| !never.contains(&note.key));
        notes.extend(gone.into_iter().map(|key| Note { key, value: None }));
        notes
    }

    pub(super) fn sighting(&self, series: &SeriesKey, by: &str, who: &str) -> Option<Sighting> {
        self.series.get(series)?.by.get(by)?.who.get(who).copied()
    }

    /// The dates of all that share the values of `by`, from one to another, both included, latest first.
    pub(super) fn dates(&self, series: &SeriesKey, by: &str, from: i64, to: i64) -> impl Iterator<Item = i64> {
        let kin = self.series.get(series).and_then(|series| series.by.get(by));
        let range = (from <= to).then(|| kin.map(|kin| kin.dates.range((from, 0)..=(to, u64::MAX)).rev()));
        range.flatten().into_iter().flatten().map(|(at, _)| *at)
    }

    /// How many sightings are remembered.
    pub fn len(&self) -> usize {
        self.series.values().map(|series| series.order.len()).sum()
    }

    /// Nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a sighting in place of an earlier one of the same. The key of the note that is obsolete by that.
    fn put(&mut self, seen: Seen, number: u64) -> Option<String> {
        let Seen { series, by, who, at, passed } = seen;
        let series = self.series.entry(series).or_default();
        series.order.insert((at, number), (by.clone(), who.clone()));
        let kin = series.by.entry(by).or_default();
        kin.dates.insert((at, number));
        let before = kin.who.insert(who, Sighting { at, passed, number })?;
        kin.dates.remove(&(before.at, before.number));
        series.order.remove(&(before.at, before.number));
        Some(key_of(before.number))
    }

    /// Forgets what is too old, measured by the latest date, and what is too much. Keys of obsolete notes.
    fn prune(&mut self, series: &SeriesKey, window: i64) -> Vec<String> {
        let Some(series) = self.series.get_mut(series) else { return Vec::new() };
        let latest = series.order.last_key_value().map_or(0, |((at, _), _)| *at);
        let horizon = latest.saturating_sub(window.saturating_add(LATE));
        let mut gone = Vec::new();
        let mut many = series.order.len();
        while let Some(entry) = series.order.first_entry() {
            let (at, number) = *entry.key();
            if at >= horizon && many <= KEPT_MAX {
                break;
            }
            let (by, who) = entry.remove();
            many = many.saturating_sub(1);
            if let Some(kin) = series.by.get_mut(&by) {
                kin.dates.remove(&(at, number));
                kin.who.remove(&who);
                if kin.who.is_empty() {
                    series.by.remove(&by);
                }
            }
            gone.push(key_of(number));
        }
        gone
    }
}

fn key_of(number: u64) -> String {
    format!("{PREFIX}{number}")
}
