//! Definitions of actions, as `incident_actions` and `alert_actions` list them.
//!
//! What all types share is read here: name, type, timeout, retries, `on_unknown`. The rest is the type's own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::action::incident_call::{Ask, IncidentCall};
use crate::action::verify::Verification;
use crate::action::{Action, Read, ReadAction, TYPES};
use crate::guard;
use crate::template::{Escape, Template};
use crate::yaml::{Mistake, Mistakes, Node, Position, Reader};

/// Beginnings of names that the episodes of other steps have.
const RESERVED: [&str; 4] = ["flow:", "fallback:", "escalate:", "verify:"];
const TIMEOUT: Duration = Duration::from_secs(10);
const TIMEOUT_MAX: Duration = Duration::from_mins(5);
const ATTEMPTS: u32 = 4;
const ATTEMPTS_MAX: u32 = 100;
const BACKOFF: Duration = Duration::from_secs(1);
const MAX_BACKOFF: Duration = Duration::from_secs(30);

/// What a definition may rely on.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// `bigpanda` is configured.
    pub bigpanda: bool,
    /// The names under `secrets`.
    pub secrets: Vec<String>,
    /// Which steps the flow takes by itself.
    pub flow: Flow,
}

/// Which steps the flow takes by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// Assigns the incident to the service's account, and gives back what was not resolved.
    pub assign: bool,
    /// Splits off the alerts that no condition supports.
    pub split: bool,
    /// Resolves the incident when everything has succeeded.
    pub resolve: bool,
}

impl Flow {
    /// All of them.
    pub const ALL: Self = Self { assign: true, split: true, resolve: true };
}

/// How it is seen whether an action has helped.
#[derive(Clone, Debug)]
pub struct Verify {
    /// The step that looks.
    pub definition: Arc<Definition>,
    /// The action that follows when it has not; of the same scope.
    pub escalate: Option<Arc<str>>,
}

/// Whether an action is done once per incident or once per alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// Listed under `incident_actions`.
    Incident,
    /// Listed under `alert_actions`.
    Alert,
}

impl Scope {
    /// The key of the configuration under which such definitions stand.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Incident => "incident_actions",
            Self::Alert => "alert_actions",
        }
    }
}

/// What to do about an attempt that may have been done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnUnknown {
    /// Ask the target; hold when it cannot say.
    Reconcile,
    /// Do it again.
    Retry,
    /// Wait for a person.
    Hold,
}

/// How often and with which pauses a retryable failure is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retries {
    /// Attempts in all, the first included.
    pub attempts: u32,
    /// The first pause; it doubles, with jitter.
    pub backoff: Duration,
    /// The longest pause.
    pub max_backoff: Duration,
}

/// What all types of action share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How long one attempt may take.
    pub timeout: Duration,
    /// Repeats.
    pub retries: Retries,
    /// What to do when it is not known whether an attempt was done.
    pub on_unknown: OnUnknown,
}

/// One action of the configuration.
#[derive(Debug)]
pub struct Definition {
    /// Its name, unique within its scope.
    pub name: Arc<str>,
    /// Its type's name.
    pub type_name: &'static str,
    /// Once per incident or once per alert.
    pub scope: Scope,
    /// Timeout, repeats, unknown outcomes.
    pub policy: Policy,
    /// Its budgets and limits.
    pub guards: guard::Own,
    /// It only tells people, so it goes on in a storm.
    pub notify: bool,
    /// How it is seen whether it has helped.
    pub verify: Option<Verify>,
    /// It looks whether another action has helped.
    pub verifies: bool,
    /// Where it stands in the file.
    pub at: Position,
    /// What it does.
    pub action: Box<dyn Action>,
}

/// A step that the flow takes by itself, without a definition in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlowStep {
    /// Assigns the incident to the service's account.
    Assign,
    /// Gives it back.
    Unassign,
    /// Moves alerts into an incident of their own.
    Split {
        /// Their ids.
        alerts: Vec<String>,
    },
    /// Resolves the incident.
    Resolve,
}

impl Definition {
    /// The definition of a step of the flow. All but the split may be repeated without harm.
    pub fn of_flow(step: FlowStep) -> Self {
        let (name, ask, on_unknown) = match step {
            FlowStep::Assign => ("assign_incident", Ask::Assign, OnUnknown::Retry),
            FlowStep::Unassign => ("unassign_incident", Ask::Unassign, OnUnknown::Retry),
            FlowStep::Split { alerts } => {
                let comment = "These alerts are supported by no condition of the automated remediation.".to_owned();
                ("split_incident", Ask::Split { alerts, comment }, OnUnknown::Reconcile)
            }
            FlowStep::Resolve => {
                let comment = "The automated remediation succeeded.".to_owned();
                ("resolve_incident", Ask::Resolve { comment }, OnUnknown::Retry)
            }
        };
        let retries = Retries { attempts: ATTEMPTS, backoff: BACKOFF, max_backoff: MAX_BACKOFF };
        Self {
            guards: guard::Own::default(),
            // What was taken is given back also in a storm.
            notify: name == "unassign_incident",
            verify: None,
            verifies: false,
            at: Position::default(),
            name: Arc::from(name),
            type_name: name,
            scope: Scope::Incident,
            policy: Policy { timeout: TIMEOUT, retries, on_unknown },
            action: Box::new(IncidentCall(ask)),
        }
    }
}

impl Definition {
    /// It does something about the incident: when all such actions have succeeded, the incident may be resolved.
    pub fn remedies(&self) -> bool {
        self.action.remedies() && !self.notify
    }
}

/// All actions of the configuration. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Definitions {
    by_name: Arc<ByName>,
    flow: Flow,
}

type ByName = BTreeMap<(Scope, Arc<str>), Arc<Definition>>;

impl Definitions {
    /// Reads the two lists of the document; every mistake goes to `mistakes`.
    pub fn read(
        incident_actions: Option<&Node>,
        alert_actions: Option<&Node>,
        surroundings: &Surroundings,
        mistakes: &Mistakes,
    ) -> Self {
        let mut by_name = BTreeMap::new();
        for (scope, node) in [(Scope::Incident, incident_actions), (Scope::Alert, alert_actions)] {
            let Some(node) = node.filter(|node| !node.is_null()) else { continue };
            let Some(items) = node.as_list() else {
                mistakes.add(scope.key(), node.at(), format!("expected a list of actions, found {}", node.describe()));
                continue;
            };
            for (index, item) in items.iter().enumerate() {
                let reader = Reader::new(item, format!("{}[{index}]", scope.key()), mistakes);
                let Some(definition) = definition(reader, scope, surroundings) else { continue };
                let key = (scope, Arc::clone(&definition.name));
                if by_name.contains_key(&key) {
                    let path = format!("{}[{index}].name", scope.key());
                    mistakes.add(path, item.at(), format!("another action is named `{}` already", definition.name));
                    continue;
                }
                by_name.insert(key, Arc::new(definition));
            }
        }
        check_escalations(&by_name, mistakes);
        Self { by_name: Arc::new(by_name), flow: surroundings.flow }
    }

    /// Which steps the flow takes by itself.
    pub fn flow(&self) -> Flow {
        self.flow
    }

    /// The action of that name.
    pub fn get(&self, scope: Scope, name: &str) -> Option<&Arc<Definition>> {
        // The map is small and this runs per match: a look-up key costs less than a second index.
        self.by_name.get(&(scope, Arc::from(name)))
    }

    /// The names of a scope, in order.
    pub fn names(&self, scope: Scope) -> impl Iterator<Item = &str> {
        self.by_name.keys().filter(move |(of, _)| *of == scope).map(|(_, name)| &**name)
    }

    /// All definitions.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Definition>> {
        self.by_name.values()
    }
}

fn check_escalations(by_name: &ByName, mistakes: &Mistakes) {
    for ((scope, name), definition) in by_name {
        let Some(escalate) = definition.verify.as_ref().and_then(|verify| verify.escalate.as_ref()) else { continue };
        if !by_name.contains_key(&(*scope, Arc::clone(escalate))) {
            let path = format!("{}.{name}.verify.escalate", scope.key());
            mistakes.add(path, definition.at, format!("no action named `{escalate}` under `{}`", scope.key()));
        }
    }
}

fn definition(reader: Reader<'_, '_>, scope: Scope, surroundings: &Surroundings) -> Option<Definition> {
    let before = reader.mistakes().len();
    let name = reader.required_string("name");
    let type_name = reader.required_string("type");
    let found = type_name.as_deref().and_then(|type_name| known(&reader, type_name));
    let Some((type_name, read)) = found else {
        // The keys of a type that is not known cannot be judged.
        return None;
    };
    let read = read(&reader, scope, surroundings);
    let policy = policy(&reader, read.as_ref().map_or(OnUnknown::Hold, |read| read.on_unknown));
    let guards = guard::Own::read(&reader);
    let notify = reader.boolean("notify").unwrap_or(false);
    let verify = name.as_deref().and_then(|name| verify(&reader, name, scope));
    reader.ignored("description", "it is for the reader of the file");
    let reader_at = reader.at();
    if let Some(prefix) = RESERVED.iter().find(|prefix| name.as_deref().is_some_and(|name| name.starts_with(**prefix)))
    {
        reader.wrong("name", format!("must not begin with `{prefix}`, which the ledger uses for steps of its own"));
    }
    if let Some(Read { action, .. }) = &read {
        for secret in action.secret_names() {
            if !surroundings.secrets.contains(&secret) {
                reader.wrong("name", format!("uses $secret:{secret}, which is not configured under `secrets`"));
            }
        }
    }
    let mistakes = reader.mistakes();
    reader.close();
    if mistakes.len() > before {
        return None;
    }
    let (name, at, action) = (Arc::from(name?), reader_at, read?.action);
    Some(Definition { name, type_name, scope, policy, guards, notify, verify, verifies: false, at, action })
}

fn known(reader: &Reader<'_, '_>, name: &str) -> Option<(&'static str, ReadAction)> {
    let found = TYPES.iter().find(|(known, _)| *known == name);
    if found.is_none() {
        let at = reader.node("type").map_or(reader.at(), Node::at);
        let mistake = Mistake::at(reader.path_of("type"), at, format!("there is no action type `{name}`"));
        reader.mistakes().push(mistake.suggest(name, TYPES.iter().map(|(known, _)| *known)));
    }
    found.copied()
}

fn verify(reader: &Reader<'_, '_>, name: &str, scope: Scope) -> Option<Verify> {
    let section = reader.child("verify")?;
    let read = Verification::read(&section);
    let escalate = section.string("escalate").map(Arc::from);
    section.close();
    let action = Box::new(read?);
    let retries = Retries { attempts: ATTEMPTS, backoff: BACKOFF, max_backoff: MAX_BACKOFF };
    let definition = Definition {
        name: Arc::from(format!("verify:{name}")),
        type_name: "verify",
        scope,
        // Looking again does no harm.
        policy: Policy { timeout: TIMEOUT, retries, on_unknown: OnUnknown::Retry },
        guards: guard::Own::default(),
        notify: true,
        verify: None,
        verifies: true,
        at: section_at(reader),
        action,
    };
    Some(Verify { definition: Arc::new(definition), escalate })
}

fn section_at(reader: &Reader<'_, '_>) -> Position {
    reader.node("verify").map_or(reader.at(), Node::at)
}

fn policy(reader: &Reader<'_, '_>, default: OnUnknown) -> Policy {
    let timeout = reader.duration("timeout").unwrap_or(TIMEOUT);
    if timeout.is_zero() || timeout > TIMEOUT_MAX {
        reader.wrong("timeout", format!("must be above 0 and at most {TIMEOUT_MAX:?}"));
    }
    Policy { timeout, retries: retries(reader), on_unknown: reader_on_unknown(reader).unwrap_or(default) }
}

/// The value of `on_unknown`, when it is written.
pub(crate) fn reader_on_unknown(reader: &Reader<'_, '_>) -> Option<OnUnknown> {
    let choices = [("reconcile", OnUnknown::Reconcile), ("retry", OnUnknown::Retry), ("hold", OnUnknown::Hold)];
    reader.choice("on_unknown", &choices)
}

fn retries(reader: &Reader<'_, '_>) -> Retries {
    let defaults = Retries { attempts: ATTEMPTS, backoff: BACKOFF, max_backoff: MAX_BACKOFF };
    let Some(retries) = reader.child("retries") else { return defaults };
    let attempts = retries.integer("attempts").unwrap_or(defaults.attempts);
    if attempts == 0 || attempts > ATTEMPTS_MAX {
        retries.wrong("attempts", format!("must be between 1 (no repeat) and {ATTEMPTS_MAX}"));
    }
    let backoff = retries.duration("backoff").unwrap_or(defaults.backoff);
    let max_backoff = retries.duration("max_backoff").unwrap_or(defaults.max_backoff.max(backoff));
    if max_backoff < backoff {
        retries.wrong("max_backoff", "must not be less than backoff");
    }
    retries.close();
    Retries { attempts, backoff, max_backoff }
}

/// A template under a key: compiled, and checked against the scope it is used in.
pub(crate) fn template(reader: &Reader<'_, '_>, key: &str, scope: Scope, escape: Option<Escape>) -> Option<Template> {
    let node = reader.node(key)?;
    let Some(text) = node.text() else {
        reader.wrong(key, format!("expected text, found {}", node.describe()));
        return None;
    };
    compiled(reader, key, text, scope, escape)
}

/// The same for a text that was not written as one.
pub(crate) fn compiled(
    reader: &Reader<'_, '_>,
    key: &str,
    text: &str,
    scope: Scope,
    escape: Option<Escape>,
) -> Option<Template> {
    let compiled = match escape {
        Some(escape) => Template::compile_as(text, escape),
        None => Template::compile(text),
    };
    match compiled {
        Ok(template) if scope == Scope::Incident && template.needs_alert() => {
            reader.wrong(
                key,
                "looks at an alert, but an action under `incident_actions` runs once for the whole incident",
            );
            None
        }
        Ok(template) => Some(template),
        Err(error) => {
            reader.wrong(key, error.to_string());
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::parse;

    fn read(text: &str) -> (Definitions, Vec<String>) {
        let mistakes = Mistakes::default();
        let root = parse(text, &mistakes).expect("yaml");
        let surroundings = Surroundings { bigpanda: false, secrets: vec!["known".into()], flow: Flow::default() };
        let definitions =
            Definitions::read(root.get("incident_actions"), root.get("alert_actions"), &surroundings, &mistakes);
        (definitions, mistakes.all().iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_whole_webhook_is_read() {
        let (definitions, mistakes) = read(
            r#"
alert_actions:
  - {name: hook, type: webhook, method: POST, url: "https://hooks.example/{{incident.id}}", headers: {X-Episode: "{{episode.key}}"},
     body: '{"incident": "{{incident.id}}", "host": "{{host}}"}', expect_status: [200, 201], timeout: 3s,
     retries: {attempts: 2, backoff: 1s, max_backoff: 3s}, idempotent: true}
"#,
        );
        assert_eq!(mistakes, Vec::<String>::new());
        let hook = definitions.get(Scope::Alert, "hook").unwrap();
        assert_eq!(hook.policy.on_unknown, OnUnknown::Retry, "idempotent makes retry the default");
        assert_eq!(hook.policy.retries.attempts, 2);
        assert_eq!(hook.policy.timeout, Duration::from_secs(3));
        assert!(definitions.get(Scope::Incident, "hook").is_none());
    }

    #[test]
    fn every_mistake_is_placed() {
        let (_, mistakes) = read(
            r#"
incident_actions:
  - {name: a, type: webhok, url: "http://x/"}
  - {name: b, type: k8s_job, namespace: x, auth_secret: known}
  - {name: c, type: webhook}
  - {name: d, type: webhook, url: "http://x/{{alert.id}}", bodi: x}
  - {name: e, type: webhook, url: "http://x/{{", on_unknown: reconcile}
  - {name: f, type: webhook, url: "http://x/", headers: {Authorization: "Bearer $secret:other"}}
  - {name: g, type: comment_on_incident, comment: hello}
  - {name: h, type: webhook, url: "http://x/"}
  - {name: h, type: webhook, url: "http://x/"}
"#,
        );
        let expected = [
            ("line 3", "there is no action type `webhok` (did you mean `webhook`?)"),
            ("line 4", "incident_actions[1].spec: is required and missing"),
            ("line 5", "incident_actions[2].url: is required and missing"),
            ("line 6", "looks at an alert"),
            ("line 6", "bodi: unknown key (did you mean `body`?)"),
            ("line 7", "incident_actions[4].url"),
            ("line 7", "a webhook cannot be asked"),
            ("line 8", "$secret:other, which is not configured"),
            ("line 9", "needs `bigpanda`"),
            ("line 11", "another action is named `h` already"),
        ];
        for (line, text) in expected {
            assert!(
                mistakes.iter().any(|m| m.starts_with(line) && m.contains(text)),
                "{line} {text} in\n{}",
                mistakes.join("\n")
            );
        }
        assert_eq!(mistakes.len(), expected.len(), "{}", mistakes.join("\n"));
    }

    #[test]
    fn every_type_of_the_predecessor_is_known_by_name() {
        assert_eq!(TYPES.len(), 16 + 4);
        let mut names: Vec<_> = TYPES.iter().map(|(name, _)| *name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 20);
    }
}
