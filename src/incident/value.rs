//! JSON values borrowed from the record, and what a path found.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};

/// A JSON value; text without escapes points into the record.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value<'a> {
    /// `null`.
    #[default]
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// Text.
    Text(Cow<'a, str>),
    /// A list.
    List(Vec<Value<'a>>),
    /// An object, in the order of the record.
    Map(Vec<(Cow<'a, str>, Value<'a>)>),
}

/// What a path led to: a value of its own type, or nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Found<'s, 'a> {
    /// No such field, or null.
    Missing,
    /// A boolean.
    Bool(bool),
    /// A whole number; times are in seconds since the epoch.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// Text.
    Text(&'s str),
    /// A list.
    List(&'s [Value<'a>]),
    /// An object.
    Map(&'s [(Cow<'a, str>, Value<'a>)]),
}

impl<'a> Value<'a> {
    /// The text of a scalar (of a list, its first item); nothing for null and objects.
    pub fn text(&self) -> Option<Cow<'_, str>> {
        match self {
            Value::Null | Value::Map(_) => None,
            Value::Bool(value) => Some(value.to_string().into()),
            Value::Int(value) => Some(value.to_string().into()),
            Value::Float(value) => Some(value.to_string().into()),
            Value::Text(text) => Some(Cow::Borrowed(text)),
            Value::List(items) => items.first().and_then(Value::text),
        }
    }

    /// A view of it in which null counts as missing.
    pub fn found(&self) -> Found<'_, 'a> {
        match self {
            Value::Null => Found::Missing,
            Value::Bool(value) => Found::Bool(*value),
            Value::Int(value) => Found::Int(*value),
            Value::Float(value) => Found::Float(*value),
            Value::Text(text) => Found::Text(text),
            Value::List(items) => Found::List(items),
            Value::Map(entries) => Found::Map(entries),
        }
    }

    /// The same, independent of the record's bytes.
    pub fn into_owned(self) -> Value<'static> {
        match self {
            Value::Null => Value::Null,
            Value::Bool(value) => Value::Bool(value),
            Value::Int(value) => Value::Int(value),
            Value::Float(value) => Value::Float(value),
            Value::Text(text) => Value::Text(Cow::Owned(text.into_owned())),
            Value::List(items) => Value::List(items.into_iter().map(Value::into_owned).collect()),
            Value::Map(entries) => Value::Map(
                entries.into_iter().map(|(key, value)| (Cow::Owned(key.into_owned()), value.into_owned())).collect(),
            ),
        }
    }
}

impl Found<'_, '_> {
    /// Nothing there.
    pub fn is_missing(&self) -> bool {
        matches!(self, Found::Missing)
    }

    /// The value as a moment, in seconds since the epoch.
    pub fn seconds(self) -> Option<i64> {
        crate::incident::time::seconds(self)
    }
}

impl fmt::Display for Found<'_, '_> {
    /// As JSON, with `missing` for nothing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Found::Missing => f.write_str("missing"),
            other => f.write_str(&serde_json::to_string(other).unwrap_or_else(|_| "?".to_owned())),
        }
    }
}

impl Serialize for Found<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Found::Missing => serializer.serialize_none(),
            Found::Bool(value) => serializer.serialize_bool(*value),
            Found::Int(value) => serializer.serialize_i64(*value),
            Found::Float(value) => serializer.serialize_f64(*value),
            Found::Text(text) => serializer.serialize_str(text),
            Found::List(items) => serializer.collect_seq(*items),
            Found::Map(entries) => map(entries, serializer),
        }
    }
}

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.found().serialize(serializer)
    }
}

fn map<S: Serializer>(entries: &[(Cow<'_, str>, Value<'_>)], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(entries.len()))?;
    for (key, value) in entries {
        map.serialize_entry(key, value)?;
    }
    map.end()
}

impl<'de: 'a, 'a> Deserialize<'de> for Value<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

/// Text that borrows where it can; serde's own `Cow` copies always.
pub(super) struct Text<'a>(pub(super) Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(AnyText)
    }
}

struct AnyText;

impl<'de> Visitor<'de> for AnyText {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text")
    }
    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Borrowed(text)))
    }
    fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Owned(text.to_owned())))
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Value::Bool(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Value::Int(value))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        #[expect(clippy::cast_precision_loss, reason = "JSON numbers beyond i64 are floats to everyone else, too")]
        Ok(i64::try_from(value).map_or(Value::Float(value as f64), Value::Int))
    }
    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Value::Float(value))
    }
    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Value::Text(Cow::Borrowed(text)))
    }
    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Value::Text(Cow::Owned(text.to_owned())))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut map = Vec::new();
        while let Some(Text(key)) = entries.next_key()? {
            map.push((key, entries.next_value()?));
        }
        Ok(Value::Map(map))
    }
}

/// Reads past the items of a list that is too long, so that the error comes from the limit and not from the syntax.
pub(super) fn skip_rest<'de, A: SeqAccess<'de>>(items: &mut A) -> Result<(), A::Error> {
    while items.next_element::<IgnoredAny>()?.is_some() {}
    Ok(())
}
