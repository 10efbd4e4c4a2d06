//! From the record's bytes to an [`Incident`], in one pass.
//!
//! The visitors take each field as whatever JSON value it is and keep what makes sense; a field of an unexpected type is
//! treated as absent, not as an error. Of a field that stands twice the first value counts.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::de::Read;

use crate::incident::alerts::AlertsSeed;
use crate::incident::path::Field;
use crate::incident::tags::{TagsSeed, keep_tags};
use crate::incident::tolerant::{FEW, boolean, id, only_an_object_counts, set, text};
use crate::incident::value::Text;
use crate::incident::{Incident, Value};

/// How large a record may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the record.
    pub bytes: usize,
    /// Alerts in one incident.
    pub alerts: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 8 * 1024 * 1024, alerts: 10_000 }
    }
}

/// Why a record is no incident.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Larger than the limit.
    #[error("the record has {size} bytes, over the limit of {limit}")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// More alerts than the limit.
    #[error("the incident has more than {limit} alerts")]
    TooManyAlerts {
        /// The limit.
        limit: usize,
    },
    /// Nothing at all, as in a tombstone.
    #[error("the record is empty")]
    Empty,
    /// Not JSON.
    #[error("not JSON at line {line}, column {column}: {what}")]
    NotJson {
        /// Line from 1.
        line: usize,
        /// Column from 1.
        column: usize,
        /// The reader's complaint.
        what: String,
    },
    /// JSON, but not an object.
    #[error("the record is JSON, but not an object")]
    NotAnObject,
    /// An object without an id.
    #[error("the incident has no id")]
    NoId,
}

impl ParseError {
    /// A short fixed word for counting.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "too_large",
            Self::TooManyAlerts { .. } => "too_many_alerts",
            Self::Empty => "empty",
            Self::NotJson { .. } => "not_json",
            Self::NotAnObject => "not_an_object",
            Self::NoId => "no_id",
        }
    }
}

/// Reads one record.
pub(super) fn incident<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Incident<'a>, ParseError> {
    if bytes.len() > limits.bytes {
        return Err(ParseError::TooLarge { size: bytes.len(), limit: limits.bytes });
    }
    // A byte order mark is no JSON, and some producers write one.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if bytes.trim_ascii().is_empty() {
        return Err(ParseError::Empty);
    }
    // Text is proven once for the whole record, which costs far less than string by string. What is not text is read all the
    // same: the reader says where, or the bytes stand in a value that is passed over.
    match std::str::from_utf8(bytes) {
        Ok(text) => whole(serde_json::Deserializer::from_str(text), limits),
        Err(_) => whole(serde_json::Deserializer::from_slice(bytes), limits),
    }
}

/// One incident, and nothing behind it.
fn whole<'a, R: Read<'a>>(
    mut reader: serde_json::Deserializer<R>,
    limits: &Limits,
) -> Result<Incident<'a>, ParseError> {
    let too_many_alerts = Cell::new(false);
    let seed = Records { alerts_limit: limits.alerts, too_many_alerts: &too_many_alerts };
    let read = IncidentSeed(seed).deserialize(&mut reader).and_then(|read| reader.end().map(|()| read));
    if too_many_alerts.get() {
        return Err(ParseError::TooManyAlerts { limit: limits.alerts });
    }
    let incident = read.map_err(|error| not_json(&error))?.ok_or(ParseError::NotAnObject)?;
    if incident.id.is_empty() { Err(ParseError::NoId) } else { Ok(incident) }
}

fn not_json(error: &serde_json::Error) -> ParseError {
    let what = error.to_string();
    let what = what.split(" at line ").next().unwrap_or_default().to_owned();
    ParseError::NotJson { line: error.line(), column: error.column(), what }
}

/// What the visitors share.
#[derive(Clone, Copy)]
pub(super) struct Records<'l> {
    pub(super) alerts_limit: usize,
    pub(super) too_many_alerts: &'l Cell<bool>,
}

struct IncidentSeed<'l>(Records<'l>);

impl<'de> DeserializeSeed<'de> for IncidentSeed<'_> {
    type Value = Option<Incident<'de>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for IncidentSeed<'_> {
    type Value = Option<Incident<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an incident")
    }

    only_an_object_counts!();

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut incident = Incident { fields: Vec::with_capacity(FEW), ..Incident::default() };
        let mut wrapped = None;
        while let Some(Text(name)) = entries.next_key()? {
            if name == "incident" && wrapped.is_none() {
                wrapped = entries.next_value_seed(IncidentSeed(self.0))?;
                continue;
            }
            match Field::of_incident(&name) {
                Some(Field::Tags) => keep_tags(&mut incident.tags, entries.next_value_seed(TagsSeed)?),
                Some(Field::Alerts) => {
                    let alerts = entries.next_value_seed(AlertsSeed(self.0))?;
                    if incident.alerts.is_empty() {
                        incident.alerts = alerts;
                    }
                }
                Some(field) => set_field(&mut incident, field, entries.next_value()?),
                None => incident.fields.push((name, entries.next_value()?)),
            }
        }
        Ok(Some(unwrap(incident, wrapped)))
    }
}

/// What stands beside the wrapped incident (alerts, tags, other fields) fills what it lacks.
fn unwrap<'a>(outer: Incident<'a>, wrapped: Option<Incident<'a>>) -> Incident<'a> {
    let Some(mut inner) = wrapped.filter(|inner| !inner.id.is_empty()) else { return outer };
    if inner.alerts.is_empty() {
        inner.alerts = outer.alerts;
    }
    if inner.tags.0.is_empty() {
        inner.tags = outer.tags;
    }
    for (name, value) in outer.fields {
        if !inner.fields.iter().any(|(own, _)| *own == name) {
            inner.fields.push((name, value));
        }
    }
    inner
}

fn set_field<'a>(incident: &mut Incident<'a>, field: Field, value: Value<'a>) {
    match field {
        Field::Id if incident.id.is_empty() => incident.id = id(value).unwrap_or_default(),
        Field::Status => set(&mut incident.status, text(value)),
        Field::Severity => set(&mut incident.severity, text(value)),
        Field::Active => set(&mut incident.active, boolean(&value)),
        Field::Resolved => set(&mut incident.resolved, boolean(&value)),
        Field::Flapping => set(&mut incident.flapping, boolean(&value)),
        Field::StartedOn => set(&mut incident.started_on, value.found().seconds()),
        Field::ChangedOn => set(&mut incident.changed_on, value.found().seconds()),
        Field::UpdatedOn => set(&mut incident.updated_on, value.found().seconds()),
        Field::EndedOn => set(&mut incident.ended_on, value.found().seconds()),
        Field::Id | Field::Tags | Field::Alerts => {}
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use proptest::prelude::*;

    use super::*;

    const CAMEL: &str = r#"{"incident": {"id": "60f1", "status": "critical", "severity": "critical", "active": true, "flapping": false, "resolved": false,
        "startedOn": 1769755513, "changedOn": 1769755540, "updatedOn": 1769755540, "endedOn": null,
        "snooze": {"snoozed": false, "end_time": null}, "environments": ["sre"], "assignee": null,
        "incidentTags": [{"id": "alert_type", "value": "oozie"}, {"id": "priority", "value": ["P2"]}],
        "alerts": [{"id": "60f1a", "status": "critical", "active": true, "startedOn": 1769755513, "updatedOn": 1769755540, "endedOn": null,
          "source_system": "nagios.prod", "host": "h1.example", "description": "...",
          "tags": [{"name": "host", "value": "h1.example"}, {"name": "coordinator_id", "value": "0001-C"}]}]}}"#;
    const SNAKE: &str = r#"{"id": "60f1", "status": "CRITICAL", "severity": "critical", "active": true, "flapping": false, "resolved": false,
        "start": 1769755513, "changed_at": 1769755540000, "updated_at": "1769755540", "end": null, "maintenance": false,
        "incident_tags": [{"tag_id": "alert_type", "tag_value": "oozie"}, {"tag_id": "priority", "tag_value": ["P2"]}],
        "alerts": {"alert_id": "60f1a", "status": "critical", "active": true, "start": 1769755513, "last_event_at": 1769755540,
          "primary_property": "host", "tags": {"host": "h1.example", "coordinator_id": "0001-C"}}}"#;

    fn parse(text: &str) -> Result<Incident<'_>, ParseError> {
        Incident::parse(text.as_bytes())
    }

    #[test]
    fn both_shapes_and_spellings_give_the_same_incident() {
        for text in [CAMEL, SNAKE] {
            let incident = parse(text).expect("incident");
            assert_eq!(incident.id, "60f1");
            assert!(incident.status.as_deref().is_some_and(|status| status.eq_ignore_ascii_case("critical")));
            assert_eq!(
                (incident.is_active(), incident.is_resolved(), incident.flapping),
                (Some(true), Some(false), Some(false))
            );
            assert_eq!((incident.started_on, incident.changed_on), (Some(1_769_755_513), Some(1_769_755_540)));
            assert_eq!((incident.updated_on, incident.ended_on), (Some(1_769_755_540), None));
            assert_eq!(incident.tags.text("alert_type").as_deref(), Some("oozie"));
            assert_eq!(incident.tags.get("priority"), Some(&Value::List(vec![Value::Text("P2".into())])));
            assert_eq!(incident.alerts.len(), 1);
            let alert = &incident.alerts[0];
            assert_eq!((alert.id.as_deref(), alert.started_on), (Some("60f1a"), Some(1_769_755_513)));
            assert_eq!(alert.updated_on, Some(1_769_755_540));
            assert_eq!(alert.tags.text("coordinator_id").as_deref(), Some("0001-C"));
        }
    }

    #[test]
    fn text_without_escapes_is_borrowed() {
        let incident = parse(CAMEL).expect("incident");
        assert!(matches!(incident.id, Cow::Borrowed(_)));
        assert!(incident.alerts[0].tags.0.iter().all(|(name, _)| matches!(name, Cow::Borrowed(_))));
    }

    #[test]
    fn an_owned_incident_equals_the_borrowed_one() {
        let incident = parse(CAMEL).expect("incident");
        assert_eq!(incident.clone().into_owned(), incident);
    }

    #[test]
    fn what_is_no_incident_says_why() {
        assert_eq!(parse(""), Err(ParseError::Empty));
        assert_eq!(parse(" \n"), Err(ParseError::Empty));
        assert_eq!(parse("[1]"), Err(ParseError::NotAnObject));
        assert_eq!(parse("5"), Err(ParseError::NotAnObject));
        assert_eq!(parse("{}"), Err(ParseError::NoId));
        assert_eq!(parse(r#"{"incident": {"id": ""}}"#), Err(ParseError::NoId));
        let error = parse("{\"id\": \"x\",\n nonsense").expect_err("not JSON").to_string();
        assert_eq!(error, "not JSON at line 2, column 2: key must be a string");
        assert!(matches!(parse("{\"id\": \"x\"} trailing"), Err(ParseError::NotJson { .. })));
        assert!(matches!(Incident::parse(b"{\"id\": \"\xff\"}"), Err(ParseError::NotJson { .. })));
        assert!(matches!(
            parse(&format!("{{\"id\":\"x\",\"a\":{}", "[".repeat(5000))),
            Err(ParseError::NotJson { .. })
        ));
    }

    #[test]
    fn limits_hold() {
        let limits = Limits { bytes: 60, alerts: 2 };
        let read = |text: &str| Incident::parse_within(text.as_bytes(), &limits).map(|incident| incident.alerts.len());
        assert_eq!(read(r#"{"id":"x","alerts":[{},{}]}"#), Ok(2));
        assert_eq!(read(r#"{"id":"x","alerts":[{},{},{}]}"#), Err(ParseError::TooManyAlerts { limit: 2 }));
        assert_eq!(read(&" ".repeat(61)), Err(ParseError::TooLarge { size: 61, limit: 60 }));
    }

    #[test]
    fn fields_of_unexpected_types_count_as_absent() {
        let incident = parse(
            r#"{"id": 17, "active": {}, "status": [1], "updatedOn": "soon", "alerts": "none", "incidentTags": 5, "tags": [{"value": 1}, 7]}"#,
        );
        let incident = incident.expect("incident");
        assert_eq!((incident.id.as_ref(), incident.active, incident.status.as_deref()), ("17", None, None));
        assert_eq!((incident.updated_on, incident.alerts.len(), incident.tags.0.len()), (None, 0, 0));
    }

    #[test]
    fn what_stands_beside_the_wrapped_incident_is_kept() {
        let incident =
            parse(r#"{"event": "updated", "incident": {"id": "x"}, "alerts": [{"id": "a"}]}"#).expect("incident");
        assert_eq!((incident.id.as_ref(), incident.alerts.len()), ("x", 1));
        assert_eq!(incident.fields, [(Cow::Borrowed("event"), Value::Text("updated".into()))]);
    }

    #[test]
    fn bytes_that_are_no_text_are_an_error_where_they_are_read_and_nothing_where_they_are_passed_over() {
        let error = Incident::parse(b"{\"id\": \"x\",\n \"a\": \"b\xff\"}").expect_err("no text").to_string();
        assert_eq!(error, "not JSON at line 2, column 9: invalid unicode code point");
        let passed_over =
            Incident::parse(b"{\"id\": \"x\", \"tags\": [{\"name\": \"n\", \"value\": 1, \"note\": \"\xff\"}]}");
        assert_eq!(passed_over.expect("an incident").tags.0, [(Cow::Borrowed("n"), Value::Int(1))]);
    }

    /// Any JSON value, with names and texts that need escapes and those that are longer than a byte a letter.
    fn json() -> impl Strategy<Value = serde_json::Value> {
        let text = || proptest::string::string_regex("[a-z\"\\\\\n\u{e9}\u{1f600}]{0,6}").expect("a pattern");
        let scalar = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(serde_json::Value::from),
            any::<i64>().prop_map(serde_json::Value::from),
            text().prop_map(serde_json::Value::from),
        ];
        scalar.prop_recursive(3, 16, 4, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
                proptest::collection::hash_map(text(), inner, 0..4)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn every_json_value_is_kept_as_serde_json_reads_it(value in json(), pretty in any::<bool>()) {
            let record = serde_json::json!({"incident": {"id": "x", "alerts": [{"other": value}], "tags": {"t": value}, "other": value}});
            let text = if pretty { serde_json::to_string_pretty(&record) } else { serde_json::to_string(&record) };
            let text = text.expect("JSON");
            let incident = Incident::parse(text.as_bytes()).expect("an incident");
            for kept in [&incident.fields[0].1, &incident.tags.0[0].1, &incident.alerts[0].fields[0].1] {
                prop_assert_eq!(serde_json::to_value(kept).expect("JSON"), value.clone());
            }
        }

        #[test]
        fn proving_text_once_or_string_by_string_comes_to_the_same(
            edits in proptest::collection::vec((0usize..1200, prop_oneof![any::<u8>(), proptest::sample::select(b"{}[]\",:0tn\\".to_vec())]), 0..4),
            written_twice in proptest::sample::select(vec!["", "\"id\": \"60f2\", ", "\"status\": \"\\u006fk\", ", "\"alerts\": \"\\ud800\", "]),
        ) {
            let mut bytes = CAMEL.replacen("\"status\"", &format!("{written_twice}\"status\""), 1).into_bytes();
            for (at, byte) in edits {
                if let Some(place) = bytes.get_mut(at) {
                    *place = byte;
                }
            }
            let limits = Limits::default();
            prop_assert_eq!(incident(&bytes, &limits), whole(serde_json::Deserializer::from_slice(&bytes), &limits));
        }

        #[test]
        fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _result = Incident::parse(&bytes);
        }

        #[test]
        fn no_mutation_of_a_record_makes_the_parser_panic(
            edits in proptest::collection::vec((0usize..1200, prop_oneof![any::<u8>(), proptest::sample::select(b"{}[]\",:0tn\\".to_vec())]), 1..8),
            cut in 0usize..1300,
        ) {
            let mut bytes = CAMEL.as_bytes().to_vec();
            for (at, byte) in edits {
                if let Some(place) = bytes.get_mut(at) {
                    *place = byte;
                }
            }
            bytes.truncate(cut);
            if let Ok(incident) = Incident::parse(&bytes) {
                prop_assert!(!incident.id.is_empty());
                prop_assert_eq!(incident.clone().into_owned(), incident);
            }
        }
    }
}
