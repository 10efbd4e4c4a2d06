//! The alerts of a record: a list of them, or one.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::incident::parse::Records;
use crate::incident::path::Field;
use crate::incident::tags::{TagsSeed, keep_tags};
use crate::incident::tolerant::{FEW, anything_else_is_nothing, boolean, id, only_an_object_counts, set, text};
use crate::incident::value::{Text, skip_rest};
use crate::incident::{Alert, Value};

pub(super) struct AlertsSeed<'l>(pub(super) Records<'l>);

impl<'de> DeserializeSeed<'de> for AlertsSeed<'_> {
    type Value = Vec<Alert<'de>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for AlertsSeed<'_> {
    type Value = Vec<Alert<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("alerts")
    }

    anything_else_is_nothing!(visit_bool(bool), visit_i64(i64), visit_u64(u64), visit_f64(f64), visit_str(&str));

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut alerts = Vec::new();
        while let Some(alert) = items.next_element_seed(AlertSeed)? {
            if alerts.len() >= self.0.alerts_limit {
                self.0.too_many_alerts.set(true);
                skip_rest(&mut items)?;
                break;
            }
            alerts.extend(alert);
        }
        Ok(alerts)
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<Self::Value, A::Error> {
        Ok(AlertSeed.visit_map(entries)?.into_iter().collect())
    }
}

struct AlertSeed;

impl<'de> DeserializeSeed<'de> for AlertSeed {
    type Value = Option<Alert<'de>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for AlertSeed {
    type Value = Option<Alert<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an alert")
    }

    only_an_object_counts!();

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut alert = Alert { fields: Vec::with_capacity(FEW), ..Alert::default() };
        while let Some(Text(name)) = entries.next_key()? {
            match Field::of_alert(&name) {
                Some(Field::Tags) => keep_tags(&mut alert.tags, entries.next_value_seed(TagsSeed)?),
                Some(field) => set_alert_field(&mut alert, field, entries.next_value()?),
                None => alert.fields.push((name, entries.next_value()?)),
            }
        }
        Ok(Some(alert))
    }
}

fn set_alert_field<'a>(alert: &mut Alert<'a>, field: Field, value: Value<'a>) {
    match field {
        Field::Id => set(&mut alert.id, id(value)),
        Field::Status => set(&mut alert.status, text(value)),
        Field::Severity => set(&mut alert.severity, text(value)),
        Field::Active => set(&mut alert.active, boolean(&value)),
        Field::StartedOn => set(&mut alert.started_on, value.found().seconds()),
        Field::ChangedOn => set(&mut alert.changed_on, value.found().seconds()),
        Field::UpdatedOn => set(&mut alert.updated_on, value.found().seconds()),
        Field::EndedOn => set(&mut alert.ended_on, value.found().seconds()),
        Field::Resolved | Field::Flapping | Field::Tags | Field::Alerts => {}
    }
}
