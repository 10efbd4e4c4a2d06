//! `BigPanda` incidents, parsed once, borrowed from the record.
//!
//! The record is templated by the customer, so reading is tolerant: wrapped in `incident` or bare, camelCase or
//! `snake_case`, one alert or a list of them, times in seconds or milliseconds or as text, tags as a list or a map. What
//! has no field of its own here is kept and reached by [`Path`]. Nothing here panics on any bytes, and text without
//! escapes is not copied. Absent: judgement about what an incident means; that belongs to conditions.

mod alerts;
mod head;
mod parse;
mod path;
mod tags;
mod time;
mod tolerant;
mod unread;
mod value;

use std::borrow::Cow;

pub use crate::incident::head::Head;
pub use crate::incident::parse::{Limits, ParseError};
pub use crate::incident::path::{Path, PathError, Scope};
pub use crate::incident::unread::Unread;
pub use crate::incident::value::{Found, Value};

/// A full snapshot of one incident.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Incident<'a> {
    /// The incident's id; never empty.
    pub id: Cow<'a, str>,
    /// `critical`, `warning`, `ok`, ... as written; compare without letter case.
    pub status: Option<Cow<'a, str>>,
    /// As written; compare without letter case.
    pub severity: Option<Cow<'a, str>>,
    /// Still going on.
    pub active: Option<bool>,
    /// Marked as resolved.
    pub resolved: Option<bool>,
    /// Opening and closing again and again.
    pub flapping: Option<bool>,
    /// When it began, in seconds since the epoch.
    pub started_on: Option<i64>,
    /// When its state last changed, in seconds since the epoch.
    pub changed_on: Option<i64>,
    /// When this snapshot was made, in seconds since the epoch; of two snapshots the one with the larger counts.
    pub updated_on: Option<i64>,
    /// When it ended, in seconds since the epoch.
    pub ended_on: Option<i64>,
    /// The tags of the incident itself.
    pub tags: Tags<'a>,
    /// Its alerts, in the order of the record.
    pub alerts: Vec<Alert<'a>>,
    /// Every other field, under the name it has in the record.
    pub fields: Vec<(Cow<'a, str>, Value<'a>)>,
}

/// One alert of an incident.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Alert<'a> {
    /// The alert's id, when it has one.
    pub id: Option<Cow<'a, str>>,
    /// As written; compare without letter case.
    pub status: Option<Cow<'a, str>>,
    /// As written; compare without letter case.
    pub severity: Option<Cow<'a, str>>,
    /// Still going on.
    pub active: Option<bool>,
    /// When it began, in seconds since the epoch.
    pub started_on: Option<i64>,
    /// When its state last changed, in seconds since the epoch.
    pub changed_on: Option<i64>,
    /// When it was last heard of, in seconds since the epoch.
    pub updated_on: Option<i64>,
    /// When it ended, in seconds since the epoch.
    pub ended_on: Option<i64>,
    /// Its tags.
    pub tags: Tags<'a>,
    /// Every other field, under the name it has in the record.
    pub fields: Vec<(Cow<'a, str>, Value<'a>)>,
}

/// Tags in the order of the record. Few, so that a scan is the quickest look-up.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tags<'a>(pub Vec<(Cow<'a, str>, Value<'a>)>);

impl<'a> Tags<'a> {
    /// The value of a tag, by its exact name.
    pub fn get(&self, name: &str) -> Option<&Value<'a>> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, value)| value)
    }

    /// The text of a tag: of a list its first item.
    pub fn text(&self, name: &str) -> Option<Cow<'_, str>> {
        self.get(name).and_then(Value::text)
    }
}

impl<'a> Incident<'a> {
    /// Reads a record under the default [`Limits`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseError> {
        parse::incident(bytes, &Limits::default())
    }

    /// Reads a record under limits of one's own.
    pub fn parse_within(bytes: &'a [u8], limits: &Limits) -> Result<Self, ParseError> {
        parse::incident(bytes, limits)
    }

    /// Whether it is over: the field `resolved`, else what the status says, else unknown.
    pub fn is_resolved(&self) -> Option<bool> {
        self.resolved.or_else(|| self.status.as_deref().map(is_over))
    }

    /// Whether it goes on: the field `active`, else the opposite of [`Self::is_resolved`].
    pub fn is_active(&self) -> Option<bool> {
        self.active.or_else(|| self.is_resolved().map(|resolved| !resolved))
    }

    /// What a path of the incident leads to.
    pub fn get<'s>(&'s self, path: &Path) -> Found<'s, 'a> {
        path::of_incident(self, path)
    }

    /// The same, independent of the record's bytes.
    pub fn into_owned(self) -> Incident<'static> {
        Incident {
            id: own(self.id),
            status: self.status.map(own),
            severity: self.severity.map(own),
            tags: self.tags.into_owned(),
            alerts: self.alerts.into_iter().map(Alert::into_owned).collect(),
            fields: own_fields(self.fields),
            active: self.active,
            resolved: self.resolved,
            flapping: self.flapping,
            started_on: self.started_on,
            changed_on: self.changed_on,
            updated_on: self.updated_on,
            ended_on: self.ended_on,
        }
    }
}

impl<'a> Alert<'a> {
    /// Whether it goes on: the field `active`, else what the status says, else unknown.
    pub fn is_active(&self) -> Option<bool> {
        self.active.or_else(|| self.status.as_deref().map(|status| !is_over(status)))
    }

    /// What a path of the alert leads to.
    pub fn get<'s>(&'s self, path: &Path) -> Found<'s, 'a> {
        path::of_alert(self, path)
    }

    /// The same, independent of the record's bytes.
    pub fn into_owned(self) -> Alert<'static> {
        Alert {
            id: self.id.map(own),
            status: self.status.map(own),
            severity: self.severity.map(own),
            tags: self.tags.into_owned(),
            fields: own_fields(self.fields),
            active: self.active,
            started_on: self.started_on,
            changed_on: self.changed_on,
            updated_on: self.updated_on,
            ended_on: self.ended_on,
        }
    }
}

impl Tags<'_> {
    fn into_owned(self) -> Tags<'static> {
        Tags(own_fields(self.0))
    }
}

/// The statuses with which `BigPanda` says that something is over.
fn is_over(status: &str) -> bool {
    ["ok", "resolved", "closed"].iter().any(|over| status.eq_ignore_ascii_case(over))
}

fn own(text: Cow<'_, str>) -> Cow<'static, str> {
    Cow::Owned(text.into_owned())
}

fn own_fields(fields: Vec<(Cow<'_, str>, Value<'_>)>) -> Vec<(Cow<'static, str>, Value<'static>)> {
    fields.into_iter().map(|(name, value)| (own(name), value.into_owned())).collect()
}
