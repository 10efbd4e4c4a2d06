//! What a template is filled with, and how its names are looked up. Nothing is copied that is not asked for.

use std::collections::BTreeMap;
use std::sync::Arc;

use minijinja::value::{Object, Value as Jinja};

use crate::incident::{Alert, Found, Incident, Path, Tags, Value};
use crate::secret::Secret;
use crate::template::SECRETS;
use crate::template::text::plain;

/// What a template is filled with. Cheap to clone; made once per incident and then narrowed to an alert or an attempt.
#[derive(Clone, Debug)]
pub struct Context {
    incident: Arc<Incident<'static>>,
    alert: Option<usize>,
    /// The alerts that the match is about; `None`: all.
    supported: Option<Arc<[usize]>>,
    episode: Option<Arc<str>>,
    attempt: Option<u32>,
    secrets: Option<Revealed>,
}

/// The values of secrets, and how they go into the text.
#[derive(Clone, Debug)]
struct Revealed {
    values: Arc<BTreeMap<String, Secret>>,
    /// As they are: a whole URL may be a secret, and none of it comes from an incident.
    raw: bool,
}

impl Context {
    /// The incident alone.
    pub fn new(incident: &Incident<'_>) -> Self {
        Self::shared(Arc::new(incident.clone().into_owned()))
    }

    /// The incident alone, without a copy.
    pub fn shared(incident: Arc<Incident<'static>>) -> Self {
        Self { incident, alert: None, supported: None, episode: None, attempt: None, secrets: None }
    }

    /// The same for one alert, by its place in the incident.
    #[must_use]
    pub fn for_alert(&self, index: usize) -> Self {
        Self { alert: Some(index), ..self.clone() }
    }

    /// The same with the alerts that the match is about, by their places.
    #[must_use]
    pub fn about(&self, supported: impl Into<Arc<[usize]>>) -> Self {
        Self { supported: Some(supported.into()), ..self.clone() }
    }

    /// The places of the alerts that the match is about.
    pub fn supported(&self) -> Vec<usize> {
        match &self.supported {
            Some(supported) => supported.to_vec(),
            None => (0..self.incident.alerts.len()).collect(),
        }
    }

    /// The id of the alert, when there is one.
    pub fn alert_id(&self) -> Option<&str> {
        self.alert()?.id.as_deref()
    }

    /// A field of the alert as a template would print it; `None` where it has none.
    pub fn alert_field(&self, name: &str) -> Option<String> {
        printed(&alert_field(self.alert()?, name))
    }

    /// A tag of the alert as a template would print it; `None` where it has none.
    pub fn alert_tag(&self, name: &str) -> Option<String> {
        printed(&tag(&self.alert()?.tags, name))
    }

    /// The same with `episode.key`.
    #[must_use]
    pub fn with_episode(&self, key: impl Into<Arc<str>>) -> Self {
        Self { episode: Some(key.into()), ..self.clone() }
    }

    /// The same with `attempt`, from 1.
    #[must_use]
    pub fn with_attempt(&self, attempt: u32) -> Self {
        Self { attempt: Some(attempt), ..self.clone() }
    }

    /// The same with `***` for every secret.
    pub(super) fn without_secrets(&self) -> Self {
        Self { secrets: None, ..self.clone() }
    }

    /// The same with the values of secrets; `raw` means that they are written as they are.
    pub(super) fn with_secrets(&self, values: Arc<BTreeMap<String, Secret>>, raw: bool) -> Self {
        Self { secrets: Some(Revealed { values, raw }), ..self.clone() }
    }

    /// What minijinja looks names up in.
    pub(super) fn into_root(self) -> Jinja {
        Jinja::from_object(View { context: self, place: Place::Root })
    }

    /// The incident.
    pub fn incident(&self) -> &Incident<'static> {
        &self.incident
    }

    fn alert(&self) -> Option<&Alert<'static>> {
        self.alert.and_then(|index| self.incident.alerts.get(index))
    }

    /// What a name without a root means.
    fn bare(&self, name: &str) -> Jinja {
        let of_alert = self.alert().and_then(|alert| {
            let tag = alert.tags.get(name).map(Value::found).filter(|found| !found.is_missing());
            tag.or_else(|| Path::alert(name).ok().map(|path| alert.get(&path))).filter(|found| !found.is_missing())
        });
        of_alert.or_else(|| self.incident.tags.get(name).map(Value::found)).map_or(Jinja::UNDEFINED, jinja)
    }

    /// What a root means, or a bare name.
    fn root(&self, name: &str) -> Jinja {
        let place = match name {
            "incident" => Place::Incident,
            "incident_tags" => Place::IncidentTags,
            "alert" if self.alert().is_some() => Place::Alert,
            "tags" if self.alert().is_some() => Place::AlertTags,
            "episode" if self.episode.is_some() => Place::Episode,
            "attempt" => return self.attempt.map_or(Jinja::UNDEFINED, Jinja::from),
            "alert" | "tags" | "episode" => return Jinja::UNDEFINED,
            SECRETS => Place::Secrets,
            bare => return self.bare(bare),
        };
        Jinja::from_object(View { context: self.clone(), place })
    }
}

/// A root as minijinja sees it: looked into, never copied as a whole.
#[derive(Clone, Debug)]
struct View {
    context: Context,
    place: Place,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    Root,
    Incident,
    IncidentTags,
    Alert,
    AlertTags,
    Episode,
    Secrets,
}

impl Object for View {
    fn get_value(self: &Arc<Self>, key: &Jinja) -> Option<Jinja> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, name: &str) -> Option<Jinja> {
        let context = &self.context;
        let value = match self.place {
            Place::Root => context.root(name),
            Place::Incident => incident_field(context, name),
            Place::IncidentTags => tag(&context.incident.tags, name),
            Place::Alert => context.alert().map_or(Jinja::UNDEFINED, |alert| alert_field(alert, name)),
            Place::AlertTags => context.alert().map_or(Jinja::UNDEFINED, |alert| tag(&alert.tags, name)),
            Place::Episode => match (name, &context.episode) {
                ("key", Some(key)) => Jinja::from(&**key),
                _ => Jinja::UNDEFINED,
            },
            Place::Secrets => match &context.secrets {
                None => Jinja::from_safe_string("***".to_owned()),
                Some(Revealed { values, raw }) => match values.get(name) {
                    None => Jinja::UNDEFINED,
                    Some(secret) if *raw => Jinja::from_safe_string(secret.reveal().to_owned()),
                    Some(secret) => Jinja::from(secret.reveal()),
                },
            },
        };
        (!value.is_undefined()).then_some(value)
    }
}

fn incident_field(context: &Context, name: &str) -> Jinja {
    let incident = &context.incident;
    match name {
        "alerts" => (0..incident.alerts.len())
            .map(|index| Jinja::from_object(View { context: context.for_alert(index), place: Place::Alert }))
            .collect(),
        "tags" | "incident_tags" | "incidentTags" => {
            Jinja::from_object(View { context: context.clone(), place: Place::IncidentTags })
        }
        name => Path::incident(name).map_or(Jinja::UNDEFINED, |path| jinja(incident.get(&path))),
    }
}

fn alert_field(alert: &Alert<'_>, name: &str) -> Jinja {
    Path::alert(name).map_or(Jinja::UNDEFINED, |path| jinja(alert.get(&path)))
}

fn printed(value: &Jinja) -> Option<String> {
    (!value.is_undefined()).then(|| plain(value))
}

fn tag(tags: &Tags<'_>, name: &str) -> Jinja {
    tags.get(name).map_or(Jinja::UNDEFINED, |value| jinja(value.found()))
}

fn jinja(found: Found<'_, '_>) -> Jinja {
    match found {
        Found::Missing => Jinja::UNDEFINED,
        Found::Bool(value) => Jinja::from(value),
        Found::Int(value) => Jinja::from(value),
        Found::Float(value) => Jinja::from(value),
        Found::Text(text) => Jinja::from(text),
        Found::List(items) => items.iter().map(|item| jinja(item.found())).collect(),
        Found::Map(entries) => {
            Jinja::from_pairs(entries.iter().map(|(name, value)| (name.to_string(), jinja(value.found()))))
        }
    }
}
