//! What the guards keep in the ledger file: small notes under keys of their own, written beside the records.
//!
//! | key | value |
//! |---|---|
//! | `spent/NUMBER` | one charge: owner, target, when |
//! | `breaker/SERVICE` | a circuit that is open: until when, after how many failures |
//! | `storm` | storm mode: until when |
//! | `reset/TIME` | what a person made the guards forget: who, why |
//!
//! Charges are only ever added and removed, never rewritten, so that the order in which concurrent appends reach the disk
//! does not matter.

use serde::{Deserialize, Serialize};

use crate::guard::reset::Reset;

/// A note to write, or to remove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Its key.
    pub key: String,
    /// Its value; none: it is removed.
    pub value: Option<String>,
}

/// A note that this program did not write.
#[derive(Debug, thiserror::Error)]
#[error("the guards' note `{key}` in the ledger cannot be read: {why}")]
pub struct Unreadable {
    /// The key of the note.
    pub key: String,
    /// What is wrong with it.
    pub why: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SpentNote {
    pub(super) owner: String,
    pub(super) target: String,
    pub(super) at: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct BreakerNote {
    pub(super) until: i64,
    pub(super) failures: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StormNote {
    pub(super) until: i64,
}

/// A note as read back.
pub(super) enum Kept {
    Spent { number: u64, note: SpentNote },
    Breaker { service: String, note: BreakerNote },
    Storm(StormNote),
    Reset(Reset),
}

pub(super) const STORM: &str = "storm";

const RESET: &str = "reset/";

/// In the order of their times.
pub(super) fn reset_key(reset: &Reset) -> String {
    format!("{RESET}{:020}", reset.at)
}

pub(super) fn spent_key(number: u64) -> String {
    format!("spent/{number}")
}

pub(super) fn breaker_key(service: &str) -> String {
    format!("breaker/{service}")
}

impl Note {
    pub(super) fn put(key: String, value: &impl Serialize) -> Self {
        let value = serde_json::to_string(value).expect("plain structs of text and numbers always serialise");
        Self { key, value: Some(value) }
    }

    pub(super) fn remove(key: String) -> Self {
        Self { key, value: None }
    }
}

/// Reads one note back.
pub(super) fn read(key: &str, value: &str) -> Result<Kept, Unreadable> {
    let wrong = |why: String| Unreadable { key: key.to_owned(), why };
    let json = |error: serde_json::Error| wrong(error.to_string());
    if key == STORM {
        return Ok(Kept::Storm(serde_json::from_str(value).map_err(json)?));
    }
    if let Some(service) = key.strip_prefix("breaker/") {
        return Ok(Kept::Breaker { service: service.to_owned(), note: serde_json::from_str(value).map_err(json)? });
    }
    if key.starts_with(RESET) {
        return Ok(Kept::Reset(serde_json::from_str(value).map_err(json)?));
    }
    let number = key.strip_prefix("spent/").and_then(|number| number.parse().ok());
    let number = number.ok_or_else(|| wrong("its key is not one of this program".to_owned()))?;
    Ok(Kept::Spent { number, note: serde_json::from_str(value).map_err(json)? })
}
