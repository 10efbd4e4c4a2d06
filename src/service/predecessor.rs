//! The predecessor's history file: a JSON object, alert id to `{time_actioned, last_action_executed, all_alert_actions_succeeded,
//! sd_failed_build_urls}`; and what an import of it changes.
//!
//! Promised: a file is taken whole or not at all; an import changes nothing when it is repeated; a later time wins over an
//! earlier one. What is recognised by it and how is told in [`crate::pipeline::imported`]. Assumed: `time_actioned` is UTC unless
//! said otherwise, because that is what a container's clock shows.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use jiff::civil::DateTime;
use jiff::tz::Offset;
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::ledger::Note;
use crate::pipeline::imported::{PREFIX, Past};

/// A time that lies so much in the future was written in another time zone.
const CLOCKS_DIFFER_S: i64 = 300;

/// The file cannot be imported; nothing was.
#[derive(Debug, thiserror::Error)]
#[error("{0}; nothing was imported")]
pub(super) struct Malformed(String);

#[derive(Deserialize)]
struct Entry {
    time_actioned: String,
    #[serde(default)]
    last_action_executed: Option<String>,
    #[serde(default)]
    all_alert_actions_succeeded: Option<bool>,
}

/// What an import comes to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Import {
    /// To be written, all or none.
    pub(super) notes: Vec<Note>,
    /// Alerts in the file.
    pub(super) alerts: usize,
    /// Of these, finished there.
    pub(super) finished: usize,
    /// Not known before.
    pub(super) added: usize,
    /// Known, with an earlier time or unfinished.
    pub(super) changed: usize,
}

/// The key of the note that remembers a file.
fn file_key(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes).iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    format!("{PREFIX}file/{digest}")
}

/// Whether anything was ever imported into the ledger that has these notes.
pub(super) fn imported_before(notes: &[(String, String)]) -> bool {
    notes.iter().any(|(key, _)| key.starts_with(PREFIX))
}

/// What importing a file changes in a ledger that has these notes. A file that was imported before changes nothing.
pub(super) fn import(
    file: &Path,
    bytes: &[u8],
    offset: Offset,
    notes: &[(String, String)],
    now_ms: i64,
) -> Result<Import, Malformed> {
    let entries = read(file, bytes)?;
    let key = file_key(bytes);
    let again = notes.iter().any(|(known, _)| *known == key);
    let known: HashMap<String, Past> =
        notes.iter().filter_map(|(key, value)| Past::read(key, value)).filter_map(Result::ok).collect();
    let mut import = Import { alerts: entries.len(), ..Import::default() };
    for (alert, entry) in entries {
        let past = past(file, &alert, &entry, offset, now_ms)?;
        import.finished = import.finished.saturating_add(usize::from(past.finished));
        let news = match known.get(&alert) {
            _ if again => continue,
            None => &mut import.added,
            Some(before) if (before.actioned_at, before.finished) < (past.actioned_at, past.finished) => {
                &mut import.changed
            }
            Some(_) => continue,
        };
        *news = news.saturating_add(1);
        import.notes.push(past.note(&alert));
    }
    if !again {
        let value = json!({"file": file.display().to_string(), "alerts": import.alerts, "at": now_ms}).to_string();
        import.notes.push(Note { key, value: Some(value) });
    }
    Ok(import)
}

fn read(file: &Path, bytes: &[u8]) -> Result<BTreeMap<String, Entry>, Malformed> {
    let place = file.display();
    serde_json::from_slice(bytes).map_err(|error| {
        let hint =
            if error.is_eof() { " (it ends in the middle: was it being written, or torn by a crash?)" } else { "" };
        Malformed(format!(
            "{place} is not the predecessor's history, alert id to {{time_actioned, ...}}: {error}{hint}"
        ))
    })
}

fn past(file: &Path, alert: &str, entry: &Entry, offset: Offset, now_ms: i64) -> Result<Past, Malformed> {
    let (place, text) = (file.display(), entry.time_actioned.trim());
    if alert.is_empty() {
        return Err(Malformed(format!("{place}: an alert without an id")));
    }
    let stamp = text.parse::<jiff::Timestamp>().ok();
    let local = || text.parse::<DateTime>().ok().and_then(|local| offset.to_timestamp(local).ok());
    let Some(at) = stamp.or_else(local) else {
        return Err(Malformed(format!(
            "{place}: alert {alert}: time_actioned is `{text}`, which is no time like 2026-03-14 15:30:00"
        )));
    };
    let actioned_at = at.as_second();
    if actioned_at > now_ms.div_euclid(1000).saturating_add(CLOCKS_DIFFER_S) {
        return Err(Malformed(format!(
            "{place}: alert {alert}: time_actioned `{text}` lies in the future: it was written in another time zone than {offset}; \
             say which with history import --utc-offset"
        )));
    }
    Ok(Past {
        actioned_at,
        // Written before acting, so only the word that all went well counts.
        finished: entry.all_alert_actions_succeeded == Some(true),
        last_action: entry.last_action_executed.clone().unwrap_or_else(|| "none".to_owned()),
        imported_ms: now_ms,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"{
        "60f1a": {"time_actioned": "2026-03-14 15:30:00", "last_action_executed": "restart", "all_alert_actions_succeeded": true, "sd_failed_build_urls": []},
        "60f1b": {"time_actioned": "2026-03-14 15:31:00", "last_action_executed": "restart", "all_alert_actions_succeeded": false, "sd_failed_build_urls": ["https://b/7"]}
    }"#;
    /// 2026-03-15.
    const NOW_MS: i64 = 1_773_532_800_000;

    fn run(text: &str, notes: &[(String, String)]) -> Result<Import, Malformed> {
        import(Path::new("h.json"), text.as_bytes(), Offset::UTC, notes, NOW_MS)
    }

    fn kept(import: Import) -> Vec<(String, String)> {
        import.notes.into_iter().filter_map(|note| Some((note.key, note.value?))).collect()
    }

    #[test]
    fn every_alert_is_taken_with_its_time_and_whether_it_was_finished() {
        let import = run(FILE, &[]).expect("valid");
        assert_eq!((import.alerts, import.finished, import.added), (2, 1, 2));
        let notes = kept(import);
        let past = |n: usize| Past::read(&notes[n].0, &notes[n].1).expect("an alert").expect("readable");
        assert_eq!((past(0).0.as_str(), past(0).1.actioned_at, past(0).1.finished), ("60f1a", 1_773_502_200, true));
        assert!(!past(1).1.finished);
    }

    #[test]
    fn a_second_import_changes_nothing_and_a_later_time_wins() {
        let notes = kept(run(FILE, &[]).expect("valid"));
        assert_eq!(run(FILE, &notes).expect("valid").notes, []);
        let later = FILE.replace("15:30:00", "16:30:00").replace("15:31:00", "14:00:00");
        let import = run(&later, &notes).expect("valid");
        assert_eq!((import.added, import.changed, import.notes.len()), (0, 1, 2), "one alert, and the file");
        assert!(imported_before(&notes) && !imported_before(&[]));
    }

    #[test]
    fn a_malformed_file_is_refused_whole_with_its_place() {
        let torn = FILE.split_at(120).0;
        for (text, what) in [
            (torn, "torn by a crash"),
            ("[]", "is not the predecessor's history"),
            (r#"{"a": {"last_action_executed": "x"}}"#, "missing field `time_actioned` at line 1"),
            (r#"{"a": {"time_actioned": "yesterday"}}"#, "alert a: time_actioned is `yesterday`"),
            (r#"{"a": {"time_actioned": "2027-01-01 00:00:00"}}"#, "lies in the future"),
            ("", "ends in the middle"),
        ] {
            let error = run(text, &[]).expect_err(text).to_string();
            assert!(error.contains(what) && error.ends_with("nothing was imported"), "{error}");
        }
    }

    #[test]
    fn a_time_zone_shifts_the_times() {
        let offset = Offset::constant(-8);
        let text = r#"{"a": {"time_actioned": "2026-03-14 07:30:00", "all_alert_actions_succeeded": true}}"#;
        let import = import(Path::new("h.json"), text.as_bytes(), offset, &[], NOW_MS).expect("valid");
        assert!(kept(import)[0].1.contains("1773502200"));
    }
}
