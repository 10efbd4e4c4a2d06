//! The tags of a record: a list of name and value under any of their names, or a map.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::incident::tolerant::{FEW, anything_else_is_nothing, id, only_an_object_counts, set};
use crate::incident::value::Text;
use crate::incident::{Tags, Value};

/// Tags are a list of name and value, or a map from name to value.
pub(super) struct TagsSeed;

impl<'de> DeserializeSeed<'de> for TagsSeed {
    type Value = Tags<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for TagsSeed {
    type Value = Tags<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tags")
    }

    anything_else_is_nothing!(visit_bool(bool), visit_i64(i64), visit_u64(u64), visit_f64(f64), visit_str(&str));

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut tags = Vec::with_capacity(FEW);
        while let Some(tag) = items.next_element_seed(TagSeed)? {
            tags.extend(tag);
        }
        Ok(Tags(tags))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut tags = Vec::with_capacity(FEW);
        while let Some(Text(name)) = entries.next_key()? {
            tags.push((name, entries.next_value()?));
        }
        Ok(Tags(tags))
    }
}

struct TagSeed;

impl<'de> DeserializeSeed<'de> for TagSeed {
    type Value = Option<(Cow<'de, str>, Value<'de>)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for TagSeed {
    type Value = Option<(Cow<'de, str>, Value<'de>)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a tag")
    }

    only_an_object_counts!();

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let (mut name, mut value) = (None, None);
        while let Some(Text(key)) = entries.next_key()? {
            match key.as_ref() {
                "id" | "name" | "tag_id" | "tagId" | "tag_name" | "tagName" | "key" => {
                    set(&mut name, id(entries.next_value()?));
                }
                "value" | "tag_value" | "tagValue" | "values" => set(&mut value, Some(entries.next_value()?)),
                _ => {
                    entries.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(name.map(|name| (name, value.unwrap_or_default())))
    }
}

/// The first tags of a record count.
pub(super) fn keep_tags<'a>(tags: &mut Tags<'a>, more: Tags<'a>) {
    if tags.0.is_empty() {
        *tags = more;
    }
}
