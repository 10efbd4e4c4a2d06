//! Paths into an incident or alert, resolved once: `status`, `tags.host`, `snooze.snoozed`, `environments.0`.

use std::fmt;

use crate::incident::{Alert, Found, Incident, Value};

/// What a path starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// The incident.
    Incident,
    /// One of its alerts.
    Alert,
}

/// A path, with known names resolved to fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    scope: Scope,
    written: String,
    place: Place,
}

/// Why a text is no path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Nothing between two dots, or at an end.
    #[error("a path has a name between its dots")]
    EmptyName,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Field(Field),
    /// A tag by its exact name, which may hold dots.
    Tag(String),
    /// A field without a member of its own, then names inside it.
    Other(Name, Vec<Name>),
}

/// A name in every spelling under which it may stand in a record.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Name {
    written: String,
    camel: String,
    snake: String,
}

/// The fields that have a member of their own in [`Incident`] or [`Alert`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Id,
    Status,
    Severity,
    Active,
    Resolved,
    Flapping,
    StartedOn,
    ChangedOn,
    UpdatedOn,
    EndedOn,
    Tags,
    Alerts,
}

impl Field {
    /// The field that a name of an incident's record means, in both spellings (contract of the record).
    pub(super) fn of_incident(name: &str) -> Option<Self> {
        // By first letter, because this runs for every key of every record and text is compared one by one.
        Some(match (name.as_bytes().first()?, name) {
            (b'i', "id" | "incident_id" | "incidentId") => Self::Id,
            (b'i', "incidentTags" | "incident_tags") | (b't', "tags") => Self::Tags,
            (b'r', "resolved") => Self::Resolved,
            (b'f', "flapping") => Self::Flapping,
            (b'a', "alerts") => Self::Alerts,
            (first, name) => return Self::of_both(*first, name),
        })
    }

    /// The field that a name of an alert's record means.
    pub(super) fn of_alert(name: &str) -> Option<Self> {
        Some(match (name.as_bytes().first()?, name) {
            (b'i', "id") | (b'a', "alert_id" | "alertId") => Self::Id,
            (b't', "tags") => Self::Tags,
            (b'l', "last_event_at" | "lastEventAt") => Self::UpdatedOn,
            (first, name) => return Self::of_both(*first, name),
        })
    }

    fn of_both(first: u8, name: &str) -> Option<Self> {
        Some(match (first, name) {
            (b's', "status") => Self::Status,
            (b's', "severity") => Self::Severity,
            (b's', "startedOn" | "started_on" | "start" | "started_at" | "startedAt") => Self::StartedOn,
            (b'a', "active") => Self::Active,
            (b'c', "changedOn" | "changed_on" | "changed_at" | "changedAt") => Self::ChangedOn,
            (b'u', "updatedOn" | "updated_on" | "updated_at" | "updatedAt") => Self::UpdatedOn,
            (b'e', "endedOn" | "ended_on" | "end" | "ended_at" | "endedAt") => Self::EndedOn,
            _ => return None,
        })
    }
}

impl Path {
    /// Every field of an incident that records are known to have.
    pub const INCIDENT_FIELDS: &'static [&'static str] = &[
        "id",
        "status",
        "severity",
        "active",
        "resolved",
        "flapping",
        "started_on",
        "changed_on",
        "updated_on",
        "ended_on",
        "alerts",
        "environments",
        "assignee",
        "snooze",
        "maintenance",
    ];
    /// Every field of an alert that records are known to have.
    pub const ALERT_FIELDS: &'static [&'static str] = &[
        "id",
        "status",
        "severity",
        "active",
        "started_on",
        "changed_on",
        "updated_on",
        "ended_on",
        "source_system",
        "host",
        "description",
        "primary_property",
        "secondary_property",
        "maintenance",
    ];

    /// It begins with a field that records are known to have, in any spelling.
    pub fn is_known(&self) -> bool {
        let known = match self.scope {
            Scope::Incident => Self::INCIDENT_FIELDS,
            Scope::Alert => Self::ALERT_FIELDS,
        };
        match &self.place {
            Place::Field(_) | Place::Tag(_) => true,
            Place::Other(first, _) => known.iter().any(|name| first.is(name)),
        }
    }

    /// A path of the incident: `status`, `tags.NAME`, or any field with names inside it, `snooze.snoozed`.
    pub fn incident(text: &str) -> Result<Self, PathError> {
        Self::new(Scope::Incident, text)
    }

    /// A path of an alert.
    pub fn alert(text: &str) -> Result<Self, PathError> {
        Self::new(Scope::Alert, text)
    }

    /// A tag by its exact name.
    pub fn tag(scope: Scope, name: &str) -> Self {
        Self { scope, written: format!("tags.{name}"), place: Place::Tag(name.to_owned()) }
    }

    /// What the path starts from.
    pub fn scope(&self) -> Scope {
        self.scope
    }

    /// The name of the tag, when the path names one.
    pub fn tag_name(&self) -> Option<&str> {
        match &self.place {
            Place::Tag(name) => Some(name),
            Place::Field(_) | Place::Other(..) => None,
        }
    }

    /// Status and severity are words without letter case.
    pub fn ignores_case(&self) -> bool {
        matches!(self.place, Place::Field(Field::Status | Field::Severity))
    }

    fn new(scope: Scope, text: &str) -> Result<Self, PathError> {
        let (first, rest) = text.split_once('.').map_or((text, None), |(first, rest)| (first, Some(rest)));
        let field = match scope {
            Scope::Incident => Field::of_incident(first),
            Scope::Alert => Field::of_alert(first),
        };
        if text.split('.').any(str::is_empty) {
            return Err(PathError::EmptyName);
        }
        let place = match (field, rest) {
            (Some(Field::Tags), Some(tag)) => Place::Tag(tag.to_owned()),
            (Some(field), None) => Place::Field(field),
            // Names inside a scalar: nothing is ever found there, and the explanation says so.
            (Some(_) | None, rest) => Place::Other(
                Name::new(first),
                rest.into_iter().flat_map(|rest| rest.split('.')).map(Name::new).collect(),
            ),
        };
        Ok(Self { scope, written: text.to_owned(), place })
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl Name {
    fn new(written: &str) -> Self {
        Self { written: written.to_owned(), camel: camel(written), snake: snake(written) }
    }

    fn is(&self, name: &str) -> bool {
        name == self.written || name == self.camel || name == self.snake
    }
}

fn camel(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |mut camel, word| {
        let mut letters = word.chars();
        camel.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
        camel.push_str(letters.as_str());
        camel
    })
}

fn snake(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

/// What a path of the incident leads to.
pub(super) fn of_incident<'s, 'a>(incident: &'s Incident<'a>, path: &Path) -> Found<'s, 'a> {
    match &path.place {
        Place::Tag(name) => incident.tags.get(name).map_or(Found::Missing, Value::found),
        Place::Other(first, rest) => inside(&incident.fields, first, rest),
        Place::Field(field) => match field {
            Field::Id => Found::Text(&incident.id),
            Field::Status => text(incident.status.as_deref()),
            Field::Severity => text(incident.severity.as_deref()),
            Field::Active => boolean(incident.is_active()),
            Field::Resolved => boolean(incident.is_resolved()),
            Field::Flapping => boolean(incident.flapping),
            Field::StartedOn => int(incident.started_on),
            Field::ChangedOn => int(incident.changed_on),
            Field::UpdatedOn => int(incident.updated_on),
            Field::EndedOn => int(incident.ended_on),
            Field::Tags => Found::Map(&incident.tags.0),
            Field::Alerts => i64::try_from(incident.alerts.len()).map_or(Found::Missing, Found::Int),
        },
    }
}

/// What a path of an alert leads to.
pub(super) fn of_alert<'s, 'a>(alert: &'s Alert<'a>, path: &Path) -> Found<'s, 'a> {
    match &path.place {
        Place::Tag(name) => alert.tags.get(name).map_or(Found::Missing, Value::found),
        Place::Other(first, rest) => inside(&alert.fields, first, rest),
        Place::Field(field) => match field {
            Field::Id => text(alert.id.as_deref()),
            Field::Status => text(alert.status.as_deref()),
            Field::Severity => text(alert.severity.as_deref()),
            Field::Active => boolean(alert.is_active()),
            Field::StartedOn => int(alert.started_on),
            Field::ChangedOn => int(alert.changed_on),
            Field::UpdatedOn => int(alert.updated_on),
            Field::EndedOn => int(alert.ended_on),
            Field::Tags => Found::Map(&alert.tags.0),
            Field::Resolved | Field::Flapping | Field::Alerts => Found::Missing,
        },
    }
}

fn inside<'s, 'a>(fields: &'s [(std::borrow::Cow<'a, str>, Value<'a>)], first: &Name, rest: &[Name]) -> Found<'s, 'a> {
    let Some((_, value)) = fields.iter().find(|(name, _)| first.is(name)) else { return Found::Missing };
    match (rest.split_first(), value) {
        (None, value) => value.found(),
        (Some((next, rest)), Value::Map(entries)) => inside(entries, next, rest),
        (Some((next, rest)), Value::List(items)) => {
            match next.written.parse::<usize>().ok().and_then(|at| items.get(at)) {
                Some(item) if rest.is_empty() => item.found(),
                Some(Value::Map(entries)) => {
                    rest.split_first().map_or(Found::Missing, |(next, rest)| inside(entries, next, rest))
                }
                Some(_) | None => Found::Missing,
            }
        }
        (Some(_), _) => Found::Missing,
    }
}

fn text<'a>(text: Option<&str>) -> Found<'_, 'a> {
    text.map_or(Found::Missing, Found::Text)
}

fn boolean<'s, 'a>(value: Option<bool>) -> Found<'s, 'a> {
    value.map_or(Found::Missing, Found::Bool)
}

fn int<'s, 'a>(value: Option<i64>) -> Found<'s, 'a> {
    value.map_or(Found::Missing, Found::Int)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &str = r#"{"incident": {"id": "i", "status": "Critical", "updatedOn": 7, "snooze": {"snoozed": false, "end_time": null},
        "incidentTags": [{"id": "a.b", "value": "dotted"}], "environments": ["sre", "dev"], "sourceSystem": "nagios",
        "alerts": [{"alert_id": "x", "host": "h1", "tags": [{"name": "host", "value": "h2"}]}]}}"#;

    #[track_caller]
    fn check(path: &str, expected: Found<'_, '_>) {
        let incident = Incident::parse(RECORD.as_bytes()).expect("record");
        assert_eq!(incident.get(&Path::incident(path).expect("path")).to_string(), expected.to_string(), "{path}");
    }

    #[test]
    fn known_fields_are_found_under_either_spelling() {
        check("updated_on", Found::Int(7));
        check("updated_at", Found::Int(7));
        check("updatedOn", Found::Int(7));
        check("status", Found::Text("Critical"));
        check("source_system", Found::Text("nagios"));
        check("sourceSystem", Found::Text("nagios"));
    }

    #[test]
    fn fields_inside_fields_and_lists_are_found_and_null_is_missing() {
        check("snooze.snoozed", Found::Bool(false));
        check("snooze.end_time", Found::Missing);
        check("environments.1", Found::Text("dev"));
        check("environments.9", Found::Missing);
        check("status.deeper", Found::Missing);
        check("tags.a.b", Found::Text("dotted"));
    }

    #[test]
    fn alert_paths_start_at_the_alert() {
        let incident = Incident::parse(RECORD.as_bytes()).expect("record");
        let alert = &incident.alerts[0];
        assert_eq!(alert.get(&Path::alert("host").expect("path")), Found::Text("h1"));
        assert_eq!(alert.get(&Path::alert("tags.host").expect("path")), Found::Text("h2"));
        assert_eq!(alert.get(&Path::alert("id").expect("path")), Found::Text("x"));
    }

    #[test]
    fn paths_with_empty_names_are_refused() {
        for text in ["", ".", "a.", ".a", "a..b"] {
            assert_eq!(Path::incident(text), Err(PathError::EmptyName), "{text:?}");
        }
    }
}
