//! Looking back: one summary per episode, and which of them are wanted.

use serde::{Deserialize, Serialize};

use crate::ledger::entry::Record;
use crate::ledger::episode::EpisodeKey;
use crate::ledger::fold::State;

/// An episode and what its entries add up to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// The episode.
    pub key: EpisodeKey,
    /// Where it stands.
    pub state: State,
    /// Time of its first entry, milliseconds since the epoch.
    pub first_ms: i64,
    /// Time of its last entry, milliseconds since the epoch.
    pub last_ms: i64,
    /// The numbers of its records in the log.
    #[serde(rename = "log")]
    pub(crate) sequence: Vec<u64>,
}

impl Summary {
    /// An episode before its first record.
    pub(crate) fn new(record: &Record) -> Self {
        Self {
            key: record.key.clone(),
            state: State::Absent,
            first_ms: record.at_ms,
            last_ms: record.at_ms,
            sequence: Vec::new(),
        }
    }

    pub(crate) fn extend(&mut self, record: &Record, state: State, sequence: u64) {
        self.state = state;
        self.last_ms = record.at_ms;
        self.sequence.push(sequence);
    }
}

/// Which episodes are wanted; what is `None` is not asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of this incident. Looks at this incident's episodes only, however long the ledger.
    pub incident: Option<String>,
    /// Of this condition.
    pub condition: Option<String>,
    /// In the state of this name: `succeeded`, `failed`, `skipped`, `held`, `found`, `shadow`, `intended`, `attempting`, `started`,
    /// `unknown`.
    pub state: Option<String>,
    /// With a last entry at this time or later, milliseconds since the epoch.
    pub from_ms: Option<i64>,
    /// With a last entry before this time.
    pub to_ms: Option<i64>,
    /// Beyond this key in the order of the ledger: where an earlier look ended.
    pub after: Option<EpisodeKey>,
}

impl Filter {
    /// The keys to look at: from, and up to but not including.
    pub(crate) fn key_range(&self) -> (String, Option<String>) {
        let (from, to) = self.incident_range();
        // Nothing sorts between a text and the same text with a zero byte after it.
        let after = self.after.as_ref().map(|key| format!("{key}\0"));
        let from = after.filter(|after| *after > from).unwrap_or(from);
        // A range that ends before it begins is an empty one.
        (to.clone().filter(|to| *to < from).unwrap_or(from), to)
    }

    fn incident_range(&self) -> (String, Option<String>) {
        let Some(incident) = &self.incident else { return (String::new(), None) };
        let (from, to) = of_incident(incident);
        (from, Some(to))
    }

    pub(crate) fn admits(&self, summary: &Summary) -> bool {
        let same = |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|wanted| wanted == is);
        same(&self.incident, &summary.key.incident)
            && same(&self.condition, &summary.key.condition)
            && same(&self.state, summary.state.name())
            && self.from_ms.is_none_or(|from| summary.last_ms >= from)
            && self.to_ms.is_none_or(|to| summary.last_ms < to)
    }
}

/// The keys of an incident's episodes: from, and up to but not including.
pub(crate) fn of_incident(incident: &str) -> (String, String) {
    let key = EpisodeKey {
        incident: incident.to_owned(),
        alert: None,
        started: 0,
        condition: String::new(),
        action: String::new(),
    };
    let text = key.to_string();
    let incident = text.split('/').next().unwrap_or_default();
    // `0` is the character after `/`, so this is just past every key of the incident.
    (format!("{incident}/"), format!("{incident}0"))
}
