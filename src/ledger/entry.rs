//! What is written down, and in which form.
//!
//! One JSON object per record with a version number: the lowest whose readers understand it. A record of an older version is
//! read for ever; one of a newer version is an error that says so, because guessing about remediations is not an option.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ledger::episode::EpisodeKey;
use crate::ledger::fold::{State, Terminal};
use crate::ledger::history::Summary;

/// The newest version this program reads and writes.
const VERSION: u8 = 2;
/// The first version, without what [`Stored::version`] counts as younger.
const FIRST: u8 = 1;

/// One line of an episode's story.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The episode.
    pub key: EpisodeKey,
    /// Wall clock, milliseconds since the epoch.
    #[serde(rename = "at")]
    pub at_ms: i64,
    /// What happened.
    pub entry: Entry,
}

/// Something small that is kept beside the records and means nothing to the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Its key.
    pub key: String,
    /// Its value; none: it is removed.
    pub value: Option<String>,
}

/// What can happen to an episode. Each is durable before the next step is taken.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// This will be done.
    Intent(Intent),
    /// The network is about to be touched.
    Attempt(Attempt),
    /// It runs at the target, which is asked under this name from now on.
    Started(Started),
    /// What came of it.
    Outcome(Outcome),
}

/// What will be done, and under which right.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Intent {
    /// Type of the action, as in the configuration.
    pub action_type: String,
    /// The request in a few words, without secrets.
    pub request: String,
    /// The record that asked for it.
    pub origin: Origin,
    /// The process that wrote this.
    pub by: String,
    /// What the condition saw when it matched, one test a line. Records of older versions have none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub because: Vec<String>,
}

/// Where the record stood, and under which generation of the group it was read.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Origin {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// Generation of the consumer group.
    pub generation: i32,
}

/// One attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Attempt {
    /// Counts from 1, over restarts too.
    pub number: u32,
}

/// Something long that the attempt has begun.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Started {
    /// The target's name for it: an event, a job.
    pub id: String,
}

/// What came of an attempt, or of the decision to make none.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Done. Terminal.
    Succeeded {
        /// What the target said, in a few words.
        detail: String,
    },
    /// Not done, and not to be tried again. Terminal.
    Failed {
        /// Why.
        reason: String,
    },
    /// Deliberately not done. Terminal.
    Skipped {
        /// Why.
        reason: String,
    },
    /// Waits for a person. Terminal for the offset, never forgotten.
    Held {
        /// Why.
        reason: String,
    },
    /// It may have been done or not. On its way to one of the others.
    Unknown {
        /// Why.
        reason: String,
    },
    /// This attempt certainly did not do it (or may be repeated safely); another will follow.
    Retrying {
        /// Why.
        reason: String,
    },
    /// A check found what it looks for, so nothing more is done. Terminal, and no failure.
    Found {
        /// What.
        reason: String,
    },
    /// Shadow mode would have done this. Says nothing about a later live run.
    Shadow {
        /// What.
        reason: String,
    },
}

impl Outcome {
    /// The name of the outcome, as in the file and in metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Succeeded { .. } => "succeeded",
            Self::Failed { .. } => "failed",
            Self::Skipped { .. } => "skipped",
            Self::Held { .. } => "held",
            Self::Unknown { .. } => "unknown",
            Self::Retrying { .. } => "retrying",
            Self::Found { .. } => "found",
            Self::Shadow { .. } => "shadow",
        }
    }

    /// The text that goes with it.
    pub fn reason(&self) -> &str {
        match self {
            Self::Succeeded { detail: text }
            | Self::Failed { reason: text }
            | Self::Skipped { reason: text }
            | Self::Held { reason: text }
            | Self::Unknown { reason: text }
            | Self::Retrying { reason: text }
            | Self::Found { reason: text }
            | Self::Shadow { reason: text } => text,
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Intent(_) => f.write_str("INTENT"),
            Self::Attempt(attempt) => write!(f, "ATTEMPT {}", attempt.number),
            Self::Started(started) => write!(f, "STARTED {}", started.id),
            Self::Outcome(outcome) => write!(f, "OUTCOME {}", outcome.name()),
        }
    }
}

/// Why stored bytes could not be read back.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DecodeError {
    #[error("it was written by a newer version of this program (format {found}, this one reads up to {VERSION})")]
    Newer { found: u64 },
    #[error("it is not what this program writes: {0}")]
    Malformed(#[from] serde_json::Error),
}

#[derive(Serialize)]
struct Versioned<'a, T> {
    v: u8,
    #[serde(flatten)]
    body: &'a T,
}

#[derive(Deserialize)]
struct VersionOnly {
    v: u64,
}

/// What is stored.
pub(crate) trait Stored {
    /// The first version whose readers understand it: a file without anything newer stays readable by an older program.
    fn version(&self) -> u8;
}

impl Stored for Record {
    fn version(&self) -> u8 {
        match &self.entry {
            Entry::Started(_) | Entry::Outcome(Outcome::Found { .. } | Outcome::Shadow { .. }) => VERSION,
            Entry::Intent(_) | Entry::Attempt(_) | Entry::Outcome(_) => FIRST,
        }
    }
}

impl Stored for Summary {
    fn version(&self) -> u8 {
        match &self.state {
            State::Started { .. } | State::Shadowed { .. } | State::Finished { how: Terminal::Found, .. } => VERSION,
            State::Absent
            | State::Intended { .. }
            | State::Attempting { .. }
            | State::Unknown { .. }
            | State::Finished { .. } => FIRST,
        }
    }
}

/// Any stored value, with the version in front.
pub(crate) fn encode<T: Serialize + Stored>(value: &T) -> Vec<u8> {
    serde_json::to_vec(&Versioned { v: value.version(), body: value })
        .expect("plain structs of text and numbers always serialise")
}

/// Reads back what [`encode`] of this or an older version wrote.
pub(crate) fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, DecodeError> {
    let VersionOnly { v } = serde_json::from_slice(bytes)?;
    if v > u64::from(VERSION) {
        return Err(DecodeError::Newer { found: v });
    }
    Ok(serde_json::from_slice(bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_one_is_read_for_ever() {
        let stored = br#"{"v":1,"key":"60f1/-/5/oozie/restart","at":7,"entry":{"attempt":{"number":2}}}"#;
        let record: Record = decode(stored).unwrap();
        assert_eq!(record.entry, Entry::Attempt(Attempt { number: 2 }));
        assert_eq!(encode(&record), stored, "the form on disk has changed: old files must stay readable");
    }

    #[test]
    fn what_the_first_version_does_not_know_is_marked_as_of_the_second() {
        let stored = br#"{"v":2,"key":"60f1/-/5/oozie/restart","at":7,"entry":{"started":{"id":"99"}}}"#;
        let record: Record = decode(stored).unwrap();
        assert_eq!(record.entry, Entry::Started(Started { id: "99".into() }));
        assert_eq!(encode(&record), stored);
        for outcome in [Outcome::Found { reason: "x".into() }, Outcome::Shadow { reason: "x".into() }] {
            let record = Record { entry: Entry::Outcome(outcome), ..record.clone() };
            assert!(encode(&record).starts_with(br#"{"v":2,"#));
        }
    }

    #[test]
    fn a_newer_version_is_refused_by_name() {
        let error = decode::<Record>(br#"{"v":9,"anything":true}"#).unwrap_err();
        assert!(error.to_string().contains("format 9"), "{error}");
    }

    #[test]
    fn a_torn_value_is_an_error() {
        assert!(matches!(decode::<Record>(br#"{"v":1,"key":"#), Err(DecodeError::Malformed(_))));
    }
}
