//! The parameters of a job at a target: from fields and tags of the alert, of all alerts as lists, and from templates.

use serde_json::json;

use crate::action::Secrets;
use crate::action::definition::{Scope, template};
use crate::template::{Context, Escape, RenderError, Template};
use crate::yaml::Reader;

/// Which parameters a job gets.
#[derive(Debug, Default)]
pub(crate) struct Parameters {
    fields: Vec<String>,
    tags: Vec<String>,
    /// Of every alert that the match is about, as a JSON list.
    batch_fields: Vec<String>,
    batch_tags: Vec<String>,
    extra: Vec<(String, Template)>,
}

/// Whether a job is about one alert (or the incident), or about all alerts at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum About {
    One,
    All,
}

impl Parameters {
    /// `extra` is the key under which the templates stand.
    pub(crate) fn read(reader: &Reader<'_, '_>, scope: Scope, about: About, extra: &str) -> Option<Self> {
        let names = |key: &str| reader.strings(key).unwrap_or_default();
        let mut parameters = match about {
            About::One => {
                Self { fields: names("alert_parameters"), tags: names("alert_tag_parameters"), ..Self::default() }
            }
            About::All => Self {
                batch_fields: names("batch_alert_parameters"),
                batch_tags: names("batch_alert_tag_parameters"),
                ..Self::default()
            },
        };
        if scope == Scope::Incident && !(parameters.fields.is_empty() && parameters.tags.is_empty()) {
            let key = if parameters.fields.is_empty() { "alert_tag_parameters" } else { "alert_parameters" };
            reader.wrong(
                key,
                "looks at an alert, but an action under `incident_actions` runs once for the whole incident; \
                screwdriver_batch takes the values of all alerts",
            );
        }
        if let Some(section) = reader.child(extra) {
            for entry in section.rest() {
                parameters.extra.push((entry.key.clone(), template(&section, &entry.key, scope, Some(Escape::None))?));
            }
        }
        Some(parameters)
    }

    pub(crate) fn secret_names(&self) -> Vec<String> {
        self.extra.iter().flat_map(|(_, template)| template.secret_names()).map(str::to_owned).collect()
    }

    /// Whether all can be filled.
    pub(crate) fn check(&self, context: &Context) -> Result<(), RenderError> {
        self.of_alerts(context)?;
        self.extra.iter().try_for_each(|(_, template)| template.render(context).map(drop))
    }

    /// Their names and values, in the order of the definition.
    pub(crate) fn filled(&self, context: &Context, secrets: &Secrets) -> Result<Vec<(String, String)>, RenderError> {
        let mut values = self.of_alerts(context)?;
        for (name, template) in &self.extra {
            values.push((name.clone(), template.reveal(context, secrets)?.reveal().to_owned()));
        }
        Ok(values)
    }

    fn of_alerts(&self, context: &Context) -> Result<Vec<(String, String)>, RenderError> {
        let mut values = Vec::new();
        let mut missing = Vec::new();
        let one = |names: &[String],
                   kind: &str,
                   value: &dyn Fn(&Context, &str) -> Option<String>,
                   values: &mut Vec<_>,
                   missing: &mut Vec<_>| {
            for name in names {
                match value(context, name) {
                    Some(value) => values.push((name.clone(), value)),
                    None => missing.push(format!("{kind}.{name}")),
                }
            }
        };
        one(&self.fields, "alert", &|context, name| context.alert_field(name), &mut values, &mut missing);
        one(&self.tags, "tags", &|context, name| context.alert_tag(name), &mut values, &mut missing);
        one(
            &self.batch_fields,
            "alert",
            &|context, name| listed(context, |alert| alert.alert_field(name)),
            &mut values,
            &mut missing,
        );
        one(
            &self.batch_tags,
            "tags",
            &|context, name| listed(context, |alert| alert.alert_tag(name)),
            &mut values,
            &mut missing,
        );
        if missing.is_empty() { Ok(values) } else { Err(RenderError::Undefined { names: missing }) }
    }
}

/// The values of all alerts as a JSON list, null where an alert has none: the places of all lists agree. `None` where no
/// alert has any.
fn listed(context: &Context, value: impl Fn(&Context) -> Option<String>) -> Option<String> {
    let values: Vec<_> = context.supported().into_iter().map(|place| value(&context.for_alert(place))).collect();
    values.iter().any(Option::is_some).then(|| json!(values).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incident::Incident;
    use crate::yaml::{Mistakes, parse};
    use std::sync::Arc;

    fn filled(text: &str, scope: Scope, about: About) -> Result<Vec<(String, String)>, String> {
        let mistakes = Mistakes::default();
        let node = parse(text, &mistakes).unwrap();
        let reader = Reader::new(&node, "", &mistakes);
        let parameters = Parameters::read(&reader, scope, about, "extra_parameters");
        reader.close();
        let all: Vec<_> = mistakes.all().iter().map(ToString::to_string).collect();
        if !all.is_empty() {
            return Err(all.join("\n"));
        }
        let incident = Incident::parse(
            br#"{"id": "i", "alerts": [{"id": "a", "host": "h1", "tags": [{"name": "x.y-z", "value": "1"}]}, {"id": "b", "host": "h\"2"}, {"id": "c"}]}"#,
        )
        .unwrap();
        let context = Context::new(&incident).about(vec![0, 1]);
        let context = if scope == Scope::Alert { context.for_alert(0) } else { context };
        parameters.unwrap().filled(&context, &Arc::default()).map_err(|error| error.to_string())
    }

    fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn fields_tags_and_templates_become_parameters() {
        let text = r#"{alert_parameters: [host, id], alert_tag_parameters: [x.y-z], extra_parameters: {n: 5, who: "{{incident.id}}/{{host}}"}}"#;
        let expected = [("host", "h1"), ("id", "a"), ("x.y-z", "1"), ("n", "5"), ("who", "i/h1")];
        assert_eq!(filled(text, Scope::Alert, About::One), Ok(owned(&expected)));
    }

    #[test]
    fn a_batch_lists_the_values_of_the_supported_alerts() {
        let text = "{batch_alert_parameters: [host], batch_alert_tag_parameters: [x.y-z]}";
        let expected = [("host", r#"["h1","h\"2"]"#), ("x.y-z", r#"["1",null]"#)];
        assert_eq!(filled(text, Scope::Incident, About::All), Ok(owned(&expected)));
    }

    #[test]
    fn what_the_alert_lacks_is_named() {
        let wrong = filled("{alert_parameters: [nosuch], alert_tag_parameters: [neither]}", Scope::Alert, About::One);
        assert_eq!(wrong, Err("undefined in this incident: alert.nosuch, tags.neither".to_owned()));
        assert!(filled("{batch_alert_parameters: [nosuch]}", Scope::Incident, About::All).is_err());
    }

    #[test]
    fn an_incident_has_no_alert_to_look_at() {
        let wrong = filled("{alert_parameters: [host]}", Scope::Incident, About::One).unwrap_err();
        assert!(wrong.contains("screwdriver_batch"), "{wrong}");
    }
}
