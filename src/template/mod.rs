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
//! URL every value of an incident is percent-encoded as one component (a secret is not: it may be the whole URL). Anything else
//! takes values as they are. A list prints its items with commas between them.

mod context;
mod text;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use minijinja::value::Value as Jinja;
use minijinja::{Environment, ErrorKind};

pub use crate::template::context::Context;

use crate::secret::Secret;
use crate::template::text::{environment, is_json, with_secrets};
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
    /// As plain text in a message of Slack, so that no value can mention a channel or hide a link.
    Slack,
    /// As one value in an encoded query of ServiceNow: it adds no condition, and none that would be run as a script is taken.
    ServiceNow,
    /// As the name of one host in a pattern of Ansible: what would choose other hosts, or all, is refused.
    Host,
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
        self.fill(context.without_secrets())
    }

    /// The text with the given secrets in it: for the request itself, right before it is made.
    pub fn reveal(&self, context: &Context, secrets: &Arc<BTreeMap<String, Secret>>) -> Result<Secret, RenderError> {
        if let Some(missing) = self.secret_names().find(|name| !secrets.contains_key(*name)) {
            return Err(RenderError::NoSecret(missing.to_owned()));
        }
        let context = context.with_secrets(Arc::clone(secrets), self.0.escape == Escape::Url);
        self.fill(context).map(Secret::new)
    }

    fn fill(&self, context: Context) -> Result<String, RenderError> {
        let root = context.into_root();
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
        None | Some(("episode", "key")) => Ok(()),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incident::Incident;

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
