//! What mostly shows already that nothing matches an incident: its id, its time and its own tags.
//!
//! The rest, alerts before all, is proven to be JSON and not kept, which takes about two thirds of the time of reading it. Whoever needs more, or
//! gets nothing here, reads the record whole; so the errors are those of [`Incident::parse`](crate::incident::Incident::parse).

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::incident::parse::Limits;
use crate::incident::path::Field;
use crate::incident::tags::{TagsSeed, keep_tags};
use crate::incident::tolerant::{anything_else_is_nothing, id, only_an_object_counts, set};
use crate::incident::value::Text;
use crate::incident::{Tags, Value};

/// The part of an incident that is looked at first. Its members mean what those of
/// [`Incident`](crate::incident::Incident) do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Head<'a> {
    /// The incident's id; never empty.
    pub id: Cow<'a, str>,
    /// When this snapshot was made, in seconds since the epoch.
    pub updated_on: Option<i64>,
    /// The tags of the incident itself.
    pub tags: Tags<'a>,
}

impl<'a> Head<'a> {
    /// Reads the head of a record, where the head alone says what the whole would.
    ///
    /// `None` where the record is no incident, is over a limit, or holds an escape by number, which may be half of a letter:
    /// only reading it whole tells.
    pub fn parse_within(bytes: &'a [u8], limits: &Limits) -> Option<Self> {
        let text =
            std::str::from_utf8(bytes).ok().filter(|text| text.len() <= limits.bytes && !text.contains("\\u"))?;
        let mut reader = serde_json::Deserializer::from_str(text);
        let head = HeadSeed { alerts_limit: limits.alerts }.deserialize(&mut reader).ok()??;
        reader.end().ok()?;
        (!head.id.is_empty()).then_some(head)
    }
}

/// `None`: it takes a closer look.
#[derive(Clone, Copy)]
struct HeadSeed {
    alerts_limit: usize,
}

impl<'de> DeserializeSeed<'de> for HeadSeed {
    type Value = Option<Head<'de>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for HeadSeed {
    type Value = Option<Head<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an incident")
    }

    only_an_object_counts!();

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut head = Head::default();
        let mut wrapped = None;
        let mut is_told = true;
        while let Some(Text(name)) = entries.next_key()? {
            if name == "incident" && wrapped.is_none() {
                wrapped = entries.next_value_seed(self)?;
                is_told &= wrapped.is_some();
                continue;
            }
            match Field::of_incident(&name) {
                Some(Field::Id) if head.id.is_empty() => {
                    head.id = id(entries.next_value::<Value<'de>>()?).unwrap_or_default();
                }
                Some(Field::UpdatedOn) => {
                    set(&mut head.updated_on, entries.next_value::<Value<'de>>()?.found().seconds());
                }
                Some(Field::Tags) => keep_tags(&mut head.tags, entries.next_value_seed(TagsSeed)?),
                Some(Field::Alerts) => {
                    is_told &= !entries.next_value_seed(AlertsCount { limit: self.alerts_limit })?.0;
                }
                Some(_) | None => {
                    entries.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(is_told.then(|| unwrap(head, wrapped)))
    }
}

/// What stands beside the wrapped incident fills what it lacks, as it does of the whole.
fn unwrap<'a>(outer: Head<'a>, wrapped: Option<Head<'a>>) -> Head<'a> {
    let Some(mut inner) = wrapped.filter(|inner| !inner.id.is_empty()) else { return outer };
    if inner.tags.0.is_empty() {
        inner.tags = outer.tags;
    }
    inner
}

/// Counts the items of a list, up to where it has too many. None of them is kept.
struct AlertsCount {
    limit: usize,
}

/// As many as the limit, or more.
#[derive(Default)]
struct Many(bool);

impl<'de> DeserializeSeed<'de> for AlertsCount {
    type Value = Many;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Many, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for AlertsCount {
    type Value = Many;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("alerts")
    }

    anything_else_is_nothing!(visit_bool(bool), visit_i64(i64), visit_u64(u64), visit_f64(f64), visit_str(&str));

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Many, A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Many(false))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Many, A::Error> {
        let mut count = 0_usize;
        while items.next_element::<IgnoredAny>()?.is_some() {
            count = count.saturating_add(1);
        }
        Ok(Many(count >= self.limit))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::incident::{Incident, ParseError};

    const RECORD: &str = r#"{"updated_at": 7, "incident": {"incident_id": "60f1", "status": "ok", "updatedOn": 1769755540, "endedOn": null,
        "incidentTags": [{"id": "alert_type", "value": "oozie"}, {"id": "priority", "value": ["P2", 3]}], "snooze": {"id": "no"},
        "alerts": [{"id": "a", "tags": {"host": "h1"}}, {"id": "b"}], "id": "too late"}, "tags": {"beside": "it"}}"#;

    fn head(text: &str) -> Option<Head<'_>> {
        Head::parse_within(text.as_bytes(), &Limits::default())
    }

    #[track_caller]
    fn is_that_of_the_whole(text: &str) {
        let (head, whole) = (head(text).expect("a head"), Incident::parse(text.as_bytes()).expect("an incident"));
        assert_eq!(head, Head { id: whole.id, updated_on: whole.updated_on, tags: whole.tags });
    }

    #[test]
    fn the_head_is_that_of_the_whole() {
        for text in [
            RECORD,
            &RECORD.replace("incident_id", "other").replace("\"id\": \"too late\"", "\"id\": 17"),
            &RECORD.replace("incidentTags", "labels"),
            r#"{"id": "x", "alerts": {"id": "one"}}"#,
            r#"{"id": "x", "incident": {"no": "id", "tags": {"a": 1}}}"#,
            r#"{"id": "x", "alerts": "none", "tags": 5}"#,
        ] {
            is_that_of_the_whole(text);
        }
    }

    #[test]
    fn where_the_whole_is_none_or_could_be_none_there_is_no_head() {
        let limits = Limits { bytes: 80, alerts: 2 };
        for text in [
            "",
            "[]",
            "{}",
            "5",
            r#"{"id": "x"} trailing"#,
            r#"{"id": "x", "alerts": [{"id": "a" 5}]}"#,
            r#"{"id": "x", "alerts": [{"id": "\ud800"}]}"#,
            r#"{"id": "x", "alerts": [{}, {}]}"#,
            r#"{"id": "x", "incident": 7}"#,
            &format!(r#"{{"id": "x{}"}}"#, " ".repeat(80)),
        ] {
            assert_eq!(Head::parse_within(text.as_bytes(), &limits), None, "{text}");
        }
        assert_eq!(Head::parse_within(b"{\"id\": \"\xff\"}", &limits), None);
    }

    proptest! {
        #[test]
        fn no_mutation_of_a_record_has_another_head_than_its_whole(
            edits in proptest::collection::vec((0usize..500, prop_oneof![any::<u8>(), proptest::sample::select(b"{}[]\",:0tn\\".to_vec())]), 0..6),
        ) {
            let mut bytes = RECORD.as_bytes().to_vec();
            for (at, byte) in edits {
                if let Some(place) = bytes.get_mut(at) {
                    *place = byte;
                }
            }
            if let Some(head) = Head::parse_within(&bytes, &Limits::default()) {
                match Incident::parse(&bytes) {
                    Ok(whole) => prop_assert_eq!(head, Head { id: whole.id, updated_on: whole.updated_on, tags: whole.tags }),
                    // Of what is passed over, only the size of numbers is not looked at.
                    Err(ParseError::NotJson { what, .. }) => prop_assert_eq!(what, "number out of range"),
                    Err(other) => prop_assert!(false, "{}", other),
                }
            }
        }
    }
}
