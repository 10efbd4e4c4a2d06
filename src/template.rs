//! Templates in action definitions.
//!
//! minijinja with strict undefined values and a fuel limit. Names mean exactly one thing: `incident.…`, `alert.…`, `tags.…` (the
//! alert's), `incident_tags.…`, `episode.key`, `attempt`; a bare name is looked up among the alert's tags, the alert's
//! fields, the incident's tags, in this order. `$secret:NAME` may stand anywhere outside `{{ }}`; it shows as `***` in
//! [`Template::render`] and as its value only in [`Template::reveal`]. What comes from an incident is never read as a template or
//! as a reference to a secret.
//!
//! **Escaping** ([`Escape`]): a text that is itself JSON is a JSON template, in which every value is escaped as the inside of a
//! JSON string, so that a quote in a host name cannot break out of the body; outside quotes write `{{ x | tojson }}`. In a
//! URL every value of an incident is percent-encoded as one component (a secret is not: it may be the whole URL). Anything else takes values as they are. A list prints its
//! items with commas between them.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::sync::{Arc, LazyLock};

use minijinja::value::{Object, Value as Jinja, ValueKind};
use minijinja::{AutoEscape, Environment, ErrorKind, Output, UndefinedBehavior};

use crate::incident::{Alert, Found, Incident, Path, Tags, Value};
use crate::secret::{self, Part, Secret};
use crate::yaml::nearest;

/// Steps that one rendering may take; a plain template takes a few per variable.
const FUEL: u64 = 100_000;
/// The longest template.
const MAX_BYTES: usize = 256 * 1024;
/// The name under which secrets stand in a template; no tag can take it.
const SECRETS: &str = "__secret";
/// The roots with names inside.
const ROOTS: [&str; 6] = ["incident", "alert", "tags", "incident_tags", "episode", "attempt"];

/// What is done to a value before it goes into the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escape {
    /// Nothing.
    None,
    /// As the inside of a JSON string.
    Json,
    /// As one component of a URL.
    Url,
}

/// A template, checked and compiled once. Cheap to clone.
#[derive(Clone)]
pub struct Template(Arc<Compiled>);

struct Compiled {
    source: String,
    environment: Environment<'static>,
    escape: Escape,
    /// Names the template looks up, with what follows them: `host`, `incident.id`.
    names: Vec<String>,
    secrets: Vec<String>,
}

/// What is wrong with a template, known when it is loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// Longer than the limit.
    #[error("the template is longer than {MAX_BYTES} bytes")]
    TooLong,
    /// Not a template.
    #[error("line {line} of the template: {what}")]
    Syntax {
        /// Line within the template, from 1.
        line: usize,
        /// The reader's complaint.
        what: String,
    },
    /// A `$secret:` between braces.
    #[error("$secret:{name} must stand outside {{{{ }}}} and {{% %}}")]
    SecretInside {
        /// The secret's name.
        name: String,
    },
    /// A name with something inside that can never be defined.
    #[error("`{name}` is never defined{}", suggestion(.nearest.as_deref()))]
    Undefined {
        /// The name.
        name: String,
        /// The known name that is nearest.
        nearest: Option<String>,
    },
}

fn suggestion(nearest: Option<&str>) -> String {
    match nearest {
        Some(nearest) => format!(" (did you mean `{nearest}`?)"),
        None => format!("; names with a dot begin with one of {}", ROOTS.join(", ")),
    }
}

/// Why a template could not be filled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// Names that this incident does not have.
    #[error("undefined in this incident: {}", names.join(", "))]
    Undefined {
        /// The names.
        names: Vec<String>,
    },
    /// It took more steps than allowed.
    #[error("the template takes more than {FUEL} steps")]
    OutOfFuel,
    /// Anything else, such as adding text to a number.
    #[error("{0}")]
    Failed(String),
    /// A secret that was not given.
    #[error("the secret `{0}` was not fetched")]
    NoSecret(String),
}

/// What a template is filled with. Cheap to clone; made once per incident and then narrowed to an alert or an attempt.
#[derive(Clone, Debug)]
pub struct Context {
    incident: Arc<Incident<'static>>,
    alert: Option<usize>,
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
        Self { incident, alert: None, episode: None, attempt: None, secrets: None }
    }

    /// The same for one alert, by its place in the incident.
    #[must_use]
    pub fn for_alert(&self, index: usize) -> Self {
        Self { alert: Some(index), ..self.clone() }
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

impl Template {
    /// Compiles a text, as JSON when it is JSON.
    pub fn compile(source: &str) -> Result<Self, TemplateError> {
        Self::compile_as(source, if is_json(source) { Escape::Json } else { Escape::None })
    }

    /// Compiles a text with the escaping of one's choice.
    pub fn compile_as(source: &str, escape: Escape) -> Result<Self, TemplateError> {
        if source.len() > MAX_BYTES {
            return Err(TemplateError::TooLong);
        }
        let (inner, secrets) = with_secrets(source)?;
        let mut environment = environment(escape);
        environment.add_template_owned(NAME, inner).map_err(|error| syntax(&error))?;
        let template = environment.get_template(NAME).map_err(|error| syntax(&error))?;
        let functions: Vec<_> = environment.globals().map(|(name, _)| name.to_owned()).collect();
        let mut names: Vec<_> = template
            .undeclared_variables(true)
            .into_iter()
            .filter(|name| !functions.contains(name) && root_of(name) != SECRETS)
            .collect();
        names.sort();
        names.iter().try_for_each(|name| possible(name))?;
        Ok(Self(Arc::new(Compiled { source: source.to_owned(), environment, escape, names, secrets })))
    }

    /// The text as written.
    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// How values are escaped.
    pub fn escape(&self) -> Escape {
        self.0.escape
    }

    /// The names it looks up in an incident, in order.
    pub fn undeclared(&self) -> impl Iterator<Item = &str> {
        self.0.names.iter().map(String::as_str)
    }

    /// The secrets it refers to.
    pub fn secret_names(&self) -> impl Iterator<Item = &str> {
        self.0.secrets.iter().map(String::as_str)
    }

    /// It looks at `alert` or `tags`, so it makes no sense in an action on an incident as a whole.
    pub fn needs_alert(&self) -> bool {
        self.undeclared().any(|name| matches!(root_of(name), "alert" | "tags"))
    }

    /// It differs from attempt to attempt.
    pub fn needs_attempt(&self) -> bool {
        self.undeclared().any(|name| root_of(name) == "attempt")
    }

    /// The text, with `***` for every secret: for plans, logs and the ledger.
    pub fn render(&self, context: &Context) -> Result<String, RenderError> {
        self.fill(Context { secrets: None, ..context.clone() })
    }

    /// The text with the given secrets in it: for the request itself, right before it is made.
    pub fn reveal(&self, context: &Context, secrets: &Arc<BTreeMap<String, Secret>>) -> Result<Secret, RenderError> {
        if let Some(missing) = self.secret_names().find(|name| !secrets.contains_key(*name)) {
            return Err(RenderError::NoSecret(missing.to_owned()));
        }
        let revealed = Revealed { values: Arc::clone(secrets), raw: self.0.escape == Escape::Url };
        self.fill(Context { secrets: Some(revealed), ..context.clone() }).map(Secret::new)
    }

    fn fill(&self, context: Context) -> Result<String, RenderError> {
        let root = Jinja::from_object(View { context, place: Place::Root });
        let template = self.0.environment.get_template(NAME).map_err(|error| RenderError::Failed(error.to_string()))?;
        template.render(root.clone()).map_err(|error| self.explain(&error, &root))
    }

    /// minijinja says that something is undefined, but not what.
    fn explain(&self, error: &minijinja::Error, root: &Jinja) -> RenderError {
        let undefined = |name: &&String| {
            let mut value = root.clone();
            name.split('.').any(|part| {
                value = value.get_attr(part).unwrap_or(Jinja::UNDEFINED);
                value.is_undefined()
            })
        };
        match error.kind() {
            ErrorKind::OutOfFuel => RenderError::OutOfFuel,
            ErrorKind::UndefinedError => {
                let names: Vec<_> = self.0.names.iter().filter(undefined).cloned().collect();
                if names.is_empty() { RenderError::Failed(error.to_string()) } else { RenderError::Undefined { names } }
            }
            _ => RenderError::Failed(error.to_string()),
        }
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Template").field(&self.0.source).finish()
    }
}

impl PartialEq for Template {
    fn eq(&self, other: &Self) -> bool {
        self.0.source == other.0.source && self.0.escape == other.0.escape
    }
}

impl Eq for Template {}

/// The name of the only template of an environment, as errors show it.
const NAME: &str = "template";

fn root_of(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

/// A name with a dot begins with a root; below `episode` and `attempt` it is known what there is.
fn possible(name: &str) -> Result<(), TemplateError> {
    let undefined = |nearest: Option<String>| Err(TemplateError::Undefined { name: name.to_owned(), nearest });
    match name.split_once('.') {
        None => Ok(()),
        Some(("episode", "key")) => Ok(()),
        Some(("episode", _)) => undefined(Some("episode.key".to_owned())),
        Some(("attempt", _)) => undefined(Some("attempt".to_owned())),
        Some((root, _)) if ROOTS.contains(&root) => Ok(()),
        Some((root, rest)) => undefined(nearest(root, ROOTS).map(|near| format!("{near}.{rest}"))),
    }
}

fn syntax(error: &minijinja::Error) -> TemplateError {
    let what = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    TemplateError::Syntax { line: error.line().unwrap_or(1), what }
}

/// An environment with everything but the template.
fn environment(escape: Escape) -> Environment<'static> {
    static BASE: LazyLock<Environment<'static>> = LazyLock::new(|| {
        let mut base = Environment::new();
        base.set_undefined_behavior(UndefinedBehavior::Strict);
        base.set_fuel(Some(FUEL));
        base.set_auto_escape_callback(|_| AutoEscape::None);
        base
    });
    let mut environment = BASE.clone();
    environment.set_formatter(move |out, _state, value| {
        if value.is_undefined() {
            return Err(minijinja::Error::from(ErrorKind::UndefinedError));
        }
        write_value(out, escape, value)
    });
    environment
}

fn write_value(out: &mut Output<'_>, escape: Escape, value: &Jinja) -> Result<(), minijinja::Error> {
    let text = plain(value);
    let written = match escape {
        _ if value.is_safe() => out.write_str(&text),
        Escape::None => out.write_str(&text),
        Escape::Json => {
            let quoted = serde_json::Value::from(text).to_string();
            out.write_str(quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default())
        }
        Escape::Url => text.bytes().try_for_each(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.write_char(char::from(byte)),
            _ => write!(out, "%{byte:02X}"),
        }),
    };
    written.map_err(minijinja::Error::from)
}

/// A value as text: the items of a list with commas between them, `true` and `false` as JSON has them.
fn plain(value: &Jinja) -> String {
    match value.kind() {
        ValueKind::Seq => {
            let items: Vec<_> = value.try_iter().into_iter().flatten().map(|item| plain(&item)).collect();
            items.join(",")
        }
        // JSON's words, not Python's.
        ValueKind::Bool => value.is_true().to_string(),
        _ => value.to_string(),
    }
}

/// Turns `$secret:NAME` outside of tags into a look-up that no incident can answer.
fn with_secrets(source: &str) -> Result<(String, Vec<String>), TemplateError> {
    let (mut inner, mut found) = (String::with_capacity(source.len()), Vec::new());
    let mut rest = source;
    while !rest.is_empty() {
        let (outside, tag, after) = next_tag(rest);
        for part in secret::parts(outside) {
            match part {
                Part::Text(text) => inner.push_str(text),
                Part::Secret(name) => {
                    let _ = write!(inner, "{{{{ {SECRETS}[\"{name}\"] }}}}");
                    if !found.iter().any(|known| known == name) {
                        found.push(name.to_owned());
                    }
                }
            }
        }
        if let Some(name) = secret::names(tag).next() {
            return Err(TemplateError::SecretInside { name: name.to_owned() });
        }
        inner.push_str(tag);
        rest = after;
    }
    Ok((inner, found))
}

/// The text before the next tag, the tag with its braces, and what follows.
fn next_tag(text: &str) -> (&str, &str, &str) {
    let begin = ["{{", "{%", "{#"].iter().filter_map(|open| text.find(open)).min().unwrap_or(text.len());
    let (outside, tag) = text.split_at_checked(begin).unwrap_or((text, ""));
    let close = match tag.as_bytes().get(1) {
        Some(b'{') => "}}",
        Some(b'%') => "%}",
        _ => "#}",
    };
    let end = tag.find(close).map_or(tag.len(), |at| at.saturating_add(close.len()));
    let (tag, after) = tag.split_at_checked(end).unwrap_or((tag, ""));
    (outside, tag, after)
}

/// Whether a template makes JSON: it is JSON when `0` stands for every expression, or it begins as an object or a list of
/// texts or objects does (loops leave commas that JSON does not have).
fn is_json(source: &str) -> bool {
    let begins = source.trim_start();
    let (first, second) = (begins.get(..1), begins.get(1..).map(str::trim_start));
    let object = first == Some("{") && second.is_some_and(|rest| rest.starts_with('"'));
    let list = first == Some("[") && second.is_some_and(|rest| rest.starts_with('"') || is_json(rest));
    if object || list {
        return true;
    }
    if !matches!(first, Some("{" | "[")) {
        return false;
    }
    let (mut text, mut rest) = (String::new(), source);
    while !rest.is_empty() {
        let (outside, tag, after) = next_tag(rest);
        text.push_str(outside);
        text.push_str(if tag.starts_with("{{") { "0" } else { "" });
        rest = after;
    }
    // A text that is one expression is no JSON of its own.
    text.trim_start().starts_with(['{', '[']) && serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &str = r#"{"incident": {"id": "60f1", "status": "critical", "updatedOn": 5, "assignee": null, "snooze": {"snoozed": false},
        "incidentTags": [{"id": "alert_type", "value": "oozie"}, {"id": "priority", "value": ["P1", "P2"]}, {"id": "host", "value": "of-incident"}],
        "alerts": [{"id": "a1", "host": "of-field", "description": "say \"hi\"\n", "tags": [{"name": "host", "value": "h1"}, {"name": "evil", "value": "{{ attempt }} $secret:key"}]}]}}"#;

    fn context() -> Context {
        let incident = Incident::parse(RECORD.as_bytes()).expect("record");
        Context::new(&incident).for_alert(0).with_episode("e/1").with_attempt(2)
    }

    #[track_caller]
    fn check(source: &str, expected: &str) {
        let template = Template::compile(source).expect("compiles");
        assert_eq!(template.render(&context()).expect("renders"), expected, "{source}");
    }

    #[test]
    fn exact_names_and_bare_names_are_found() {
        check("{{incident.id}} {{ alert.id }} {{ tags.host }} {{incident_tags.host}}", "60f1 a1 h1 of-incident");
        check("{{ host }} {{ alert_type }} {{ description }}", "h1 oozie say \"hi\"\n");
        check("{{ episode.key }} {{ attempt }}", "e/1 2");
        check("{{ incident.updated_on }} {{ incident.updatedOn }} {{ incident.snooze.snoozed }}", "5 5 false");
        check("{{ incident.tags.priority }} {{ priority | tojson }}", r#"P1,P2 ["P1", "P2"]"#);
        check("{% for a in incident.alerts %}{{ a.id }};{% endfor %}{{ incident.alerts | length }}", "a1;1");
    }

    #[test]
    fn values_cannot_break_out_of_a_json_body() {
        check(r#"{"text": "{{ description }}"}"#, r#"{"text": "say \"hi\"\n"}"#);
        check(r#"{"text": {{ description | tojson }}, "n": {{ attempt }}}"#, r#"{"text": "say \"hi\"\n", "n": 2}"#);
        check(r#"[{% for a in incident.alerts %}"{{ a.description }}"{% endfor %}]"#, r#"["say \"hi\"\n"]"#);
        check("[{{ incident.id }}] {{ description }}", "[60f1] say \"hi\"\n");
    }

    #[test]
    fn values_stay_one_component_of_a_url() {
        let template = Template::compile_as("https://x/{{ description }}?a=1", Escape::Url).expect("compiles");
        assert_eq!(template.render(&context()).expect("renders"), "https://x/say%20%22hi%22%0A?a=1");
    }

    #[test]
    fn an_undefined_name_is_told_at_load_or_when_rendered() {
        let wrong = Template::compile("{{ incidnet.id }}").expect_err("unknown root").to_string();
        assert_eq!(wrong, "`incidnet.id` is never defined (did you mean `incident.id`?)");
        let wrong = Template::compile("{{ episode.id }}").expect_err("unknown name").to_string();
        assert_eq!(wrong, "`episode.id` is never defined (did you mean `episode.key`?)");
        let template = Template::compile("{{ nobody }} {{ incident.id }} {{ tags.nothing }}").expect("compiles");
        let undefined = RenderError::Undefined { names: vec!["nobody".to_owned(), "tags.nothing".to_owned()] };
        assert_eq!(template.render(&context()), Err(undefined));
        let null = Template::compile("{{ incident.assignee }}").expect("compiles");
        assert!(matches!(null.render(&context()), Err(RenderError::Undefined { .. })));
        check("{{ nobody | default('x') }}", "x");
    }

    #[test]
    fn without_an_alert_its_names_are_undefined_and_the_template_says_that_it_needs_one() {
        let incident = Incident::parse(RECORD.as_bytes()).expect("record");
        let template = Template::compile("{{ alert.id }}").expect("compiles");
        assert!(template.needs_alert());
        assert!(template.render(&Context::new(&incident)).is_err());
        let bare = Template::compile("{{ host }}").expect("compiles");
        assert_eq!(bare.render(&Context::new(&incident)).expect("renders"), "of-incident");
    }

    #[test]
    fn secrets_show_only_when_revealed_and_never_come_from_an_incident() {
        let template = Template::compile("Bearer $secret:key {{ evil }}").expect("compiles");
        assert_eq!(template.secret_names().collect::<Vec<_>>(), ["key"]);
        assert_eq!(template.render(&context()).expect("renders"), "Bearer *** {{ attempt }} $secret:key");
        let secrets = Arc::new(BTreeMap::from([("key".to_owned(), Secret::new("hunter2"))]));
        let revealed = template.reveal(&context(), &secrets).expect("renders");
        assert_eq!(revealed.reveal(), "Bearer hunter2 {{ attempt }} $secret:key");
        assert_eq!(template.reveal(&context(), &Arc::default()), Err(RenderError::NoSecret("key".to_owned())));
        let inside = Template::compile("{{ '$secret:key' }}").expect_err("inside").to_string();
        assert_eq!(inside, "$secret:key must stand outside {{ }} and {% %}");
    }

    #[test]
    fn a_whole_url_may_be_a_secret() {
        let template = Template::compile_as("$secret:hook?d={{ host }}%20", Escape::Url).expect("compiles");
        let secrets = Arc::new(BTreeMap::from([("hook".to_owned(), Secret::new("https://x/y?z=1"))]));
        assert_eq!(template.reveal(&context(), &secrets).expect("renders").reveal(), "https://x/y?z=1?d=h1%20");
    }

    #[test]
    fn endless_work_is_stopped() {
        let template =
            Template::compile("{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}");
        assert_eq!(template.expect("compiles").render(&context()), Err(RenderError::OutOfFuel));
    }

    #[test]
    fn a_broken_template_names_its_line() {
        let error = Template::compile("fine\n{{ x").expect_err("broken").to_string();
        assert!(error.starts_with("line 2 of the template: "), "{error}");
    }

    proptest::proptest! {
        #[test]
        fn a_json_body_stays_json_whatever_the_value(value in ".*") {
            let record = serde_json::json!({"id": "i", "tags": [{"id": "v", "value": value}]}).to_string();
            let incident = Incident::parse(record.as_bytes()).expect("record");
            let template = Template::compile(r#"{"v": "{{ v }}"}"#).expect("compiles");
            let body: serde_json::Value = serde_json::from_str(&template.render(&Context::new(&incident)).expect("renders")).expect("json");
            proptest::prop_assert_eq!(body["v"].as_str(), Some(value.as_str()));
        }
    }
}
