//! What a file of records holds, one JSON value a line: an incident as it is in Kafka, a dead letter, or a record as `kcat -J` and
//! `kafka-console-consumer` wrappers print it (`{topic, partition, offset, ts, payload}`).
//!
//! Promised: a line that is none of these is counted and told with its place; nothing is skipped in silence.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

/// One record to be decided again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    /// Where it stood, for people: `sre/0@7`, `line 12`.
    pub(super) place: String,
    /// The record's own time, milliseconds since the epoch, where that is known.
    pub(super) at_ms: Option<i64>,
    /// Its value.
    pub(super) value: Vec<u8>,
}

/// A line from which no record can be had, and why the whole file is probably the wrong one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "line {line} belongs to an export of the ledger: that says what was done and holds no incidents; give it to --ledger"
)]
pub(super) struct NotRecords {
    line: u64,
}

/// The fields by which an envelope is known. Most lines are incidents and have none of them.
#[derive(Deserialize)]
struct Envelope {
    topic: Option<String>,
    partition: Option<i32>,
    offset: Option<i64>,
    timestamp_ms: Option<i64>,
    timestamp: Option<i64>,
    ts: Option<i64>,
    value_base64: Option<String>,
    payload: Option<String>,
    value: Option<Value>,
    previous: Option<IgnoredAny>,
    record: Option<IgnoredAny>,
}

/// Reads one line; `None` for an empty one. What it holds need not be an incident: that is for the parser to say.
pub(super) fn item(line: &[u8], number: u64) -> Result<Option<Item>, NotRecords> {
    let line = line.trim_ascii();
    if line.is_empty() {
        return Ok(None);
    }
    let bare = || Item { place: format!("line {number}"), at_ms: None, value: line.to_vec() };
    let Ok(envelope) = serde_json::from_slice::<Envelope>(line) else { return Ok(Some(bare())) };
    if envelope.previous.is_some() && envelope.record.is_some() {
        return Err(NotRecords { line: number });
    }
    let Some(value) = envelope.inner() else { return Ok(Some(bare())) };
    let at_ms = envelope.timestamp_ms.or(envelope.ts).or(envelope.timestamp);
    let place = match (&envelope.topic, envelope.partition, envelope.offset) {
        (Some(topic), Some(partition), Some(offset)) => format!("{topic}/{partition}@{offset}"),
        _ => format!("line {number}"),
    };
    Ok(Some(Item { place, at_ms: at_ms.filter(|at| *at > 0), value }))
}

impl Envelope {
    /// The record's value, if this is an envelope at all.
    fn inner(&self) -> Option<Vec<u8>> {
        if let Some(encoded) = &self.value_base64 {
            return STANDARD.decode(encoded).ok();
        }
        // An incident may have any field, so an envelope must also say where it comes from.
        self.offset.and(self.topic.as_ref())?;
        if let Some(payload) = &self.payload {
            return Some(payload.clone().into_bytes());
        }
        // Either the JSON itself or, quoted, its text.
        match self.value.as_ref()? {
            Value::String(text) => Some(text.clone().into_bytes()),
            value => Some(value.to_string().into_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, place: &str, at_ms: Option<i64>) {
        let item = item(line.as_bytes(), 3).expect("a record").expect("one");
        assert_eq!((item.place.as_str(), item.at_ms), (place, at_ms), "{line}");
        assert_eq!(String::from_utf8_lossy(&item.value), r#"{"id":"i"}"#, "{line}");
    }

    #[test]
    fn an_incident_a_dead_letter_and_a_printed_record_are_read_alike() {
        check(r#"{"id":"i"}"#, "line 3", None);
        check(
            r#"{"topic":"t","partition":0,"offset":7,"timestamp_ms":5,"reason":"r","key_base64":null,"value_base64":"eyJpZCI6ImkifQ=="}"#,
            "t/0@7",
            Some(5),
        );
        check(r#"{"topic":"t","partition":0,"offset":7,"ts":5,"payload":"{\"id\":\"i\"}"}"#, "t/0@7", Some(5));
        check(r#"{"topic":"t","partition":0,"offset":7,"timestamp":5,"value":{"id":"i"}}"#, "t/0@7", Some(5));
        check(r#"{"topic":"t","offset":7,"value":"{\"id\":\"i\"}"}"#, "line 3", None);
    }

    #[test]
    fn an_incident_with_fields_of_an_envelope_stays_an_incident() {
        let line = br#"{"id":"i","topic":"t","value":"x","payload":"y"}"#;
        assert_eq!(item(line, 1).expect("a record").expect("one").value, line);
    }

    #[test]
    fn what_is_not_json_is_left_to_the_parser_and_an_export_is_refused() {
        assert_eq!(item(b"{", 1).expect("a record").expect("one").value, b"{");
        assert_eq!(item(b"  ", 1), Ok(None));
        let export = br#"{"previous":"0000","record":{"key":"i/-/5/c/a"}}"#;
        assert!(item(export, 9).is_err_and(|why| why.to_string().starts_with("line 9 belongs to an export")));
    }
}
