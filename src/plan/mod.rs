//! From a match to the steps to take. Pure: an incident, a match and the definitions in, steps with episode keys out.
//!
//! Promised: every step's templates have been filled once, so that what the incident lacks is known before anything is
//! done; the same snapshot always gives the same keys. Which step comes next is [`next`]'s to say, from nothing but the
//! plan and how its steps stand, so that a restart continues where the ledger says the flow was.
//! The flow's own steps (assign, split, resolve, unassign) have stages and episodes like all others. They are planned where
//! the actions do something about the incident: a message alone neither takes an incident nor resolves it. Their episode
//! begins with the youngest supported alert, so that an alert which comes later is taken care of to the end.

mod flow;

use std::sync::Arc;

pub use crate::plan::flow::{Next, Standing, Tally, next};

use crate::action::{Definition, Definitions, FlowStep, Scope};
use crate::condition::{ActionRef, Condition, Match};
use crate::incident::{Alert, Incident};
use crate::ledger::EpisodeKey;
use crate::template::{Context, Template};

/// Fallbacks have episodes of their own: the same action may also be a regular one of the same condition.
const FALLBACK_PREFIX: &str = "fallback:";

/// What follows a failed verification.
const ESCALATION_PREFIX: &str = "escalate:";
/// The flow's own steps: an action of the configuration may bear the same name.
const FLOW_PREFIX: &str = "flow:";

/// What is to be done about one snapshot of an incident.
#[derive(Debug)]
pub struct Plan {
    /// The condition that matched.
    pub condition: Arc<Condition>,
    /// The steps, in the order in which the flow looks at them.
    pub steps: Vec<Step>,
}

/// The part of the flow that a step belongs to. Alerts are counted among the supported ones, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The incident is assigned to the service's account.
    Assign,
    /// `incident_actions`.
    Incident,
    /// Alerts that no condition supports get an incident of their own.
    Split,
    /// `alert_actions` of an alert.
    Alert(usize),
    /// `alert_fallback_actions` of an alert.
    AlertFallback(usize),
    /// What follows when the verification right before it fails.
    Escalation,
    /// The incident is resolved.
    Resolve,
    /// `incident_fallback_actions`.
    IncidentFallback,
    /// The incident is given back.
    Unassign,
}

/// One action for one episode.
#[derive(Debug)]
pub struct Step {
    /// The episode.
    pub key: EpisodeKey,
    /// Its key as text.
    pub episode: Arc<str>,
    /// Where in the flow it stands.
    pub stage: Stage,
    /// The action.
    pub definition: Arc<Definition>,
    /// The request in a few words; or why it cannot be made from this incident.
    pub request: Result<String, String>,
    context: Context,
}

impl Step {
    /// The value of a name, as a template would fill it in; `None` where the incident has none.
    pub fn value_of(&self, name: &str) -> Option<String> {
        let template = Template::compile(&format!("{{{{ {name} }}}}")).ok()?;
        template.render(&self.context(1)).ok().filter(|value| !value.is_empty())
    }

    /// The service that an attempt asks: the authority of the request's URL, else the type of the action.
    pub fn service(&self) -> String {
        let url = self.request.as_ref().ok().and_then(|request| request.split_once("://"));
        let authority = url.and_then(|(_, rest)| rest.split(['/', '?', '#', ' ']).next());
        let host = authority.map(|authority| authority.rsplit('@').next().unwrap_or(authority));
        host.filter(|host| !host.is_empty()).unwrap_or(self.definition.type_name).to_owned()
    }

    /// It only looks whether an action has helped.
    pub fn is_verification(&self) -> bool {
        self.definition.verifies
    }

    /// A step of the flow itself: it counts against no budget.
    pub fn is_of_flow(&self) -> bool {
        matches!(self.stage, Stage::Assign | Stage::Split | Stage::Resolve | Stage::Unassign)
    }

    /// It acts upon nothing, or gives back what was taken, so neither the age nor the state of the incident keeps it from
    /// being taken; kill switches and ownership do.
    pub fn is_harmless(&self) -> bool {
        self.stage == Stage::Unassign || self.is_verification()
    }

    /// What the templates are filled with in an attempt.
    pub fn context(&self, attempt: u32) -> Context {
        self.context.with_attempt(attempt)
    }
}

impl Plan {
    /// The steps of a match. An action that no definition has is left out: loading the configuration refuses that.
    pub fn new(incident: Incident<'static>, matched: &Match, definitions: &Definitions) -> Self {
        let context = Context::shared(Arc::new(incident)).about(matched.supported_alerts.clone());
        let planner = Planner { condition: &matched.condition, definitions, context: &context };
        let condition = &matched.condition;
        let of_incident = planner.of_incident(Stage::Incident, &condition.incident_actions);
        let mut of_alerts = Vec::new();
        for (ordinal, alert) in matched.supported_alerts.iter().enumerate() {
            of_alerts.extend(planner.of_alert(Stage::Alert(ordinal), *alert, &condition.alert_actions));
            of_alerts.extend(planner.of_alert(
                Stage::AlertFallback(ordinal),
                *alert,
                &condition.alert_fallback_actions,
            ));
        }
        let remedies = of_incident
            .iter()
            .chain(&of_alerts)
            .any(|step| matches!(step.stage, Stage::Incident | Stage::Alert(_)) && step.definition.remedies());
        let own = |stage| if remedies { planner.of_flow(stage, &matched.supported_alerts) } else { None };
        let mut steps: Vec<Step> = own(Stage::Assign).into_iter().chain(of_incident).collect();
        steps.extend(own(Stage::Split));
        steps.extend(of_alerts);
        steps.extend(own(Stage::Resolve));
        steps.extend(planner.of_incident(Stage::IncidentFallback, &condition.incident_fallback_actions));
        steps.extend(own(Stage::Unassign));
        let mut seen = std::collections::HashSet::new();
        // An action listed twice, or an alert that stands twice in the record, is one episode.
        steps.retain(|step| seen.insert(step.key.clone()));
        Self { condition: Arc::clone(condition), steps }
    }

    /// The keys of all steps, in order.
    pub fn keys(&self) -> Vec<EpisodeKey> {
        self.steps.iter().map(|step| step.key.clone()).collect()
    }
}

/// What a step is about.
struct Place<'a> {
    /// The alert's id; none: the incident as a whole.
    alert: Option<String>,
    /// When its episode began.
    started: i64,
    context: &'a Context,
}

struct Planner<'a> {
    condition: &'a Condition,
    definitions: &'a Definitions,
    context: &'a Context,
}

impl Planner<'_> {
    fn of_incident(&self, stage: Stage, actions: &[ActionRef]) -> Vec<Step> {
        let incident = self.context.incident();
        let started = incident.started_on.unwrap_or_default();
        let definitions = actions.iter().filter_map(|action| self.definitions.get(Scope::Incident, &action.name));
        let of = |definition| self.verified(stage, definition, &Place { alert: None, started, context: self.context });
        definitions.flat_map(of).collect()
    }

    /// A step of the flow itself, where the configuration has it.
    fn of_flow(&self, stage: Stage, supported: &[usize]) -> Option<Step> {
        let flow = self.definitions.flow();
        let incident = self.context.incident();
        let step = match stage {
            Stage::Assign if flow.assign => FlowStep::Assign,
            Stage::Unassign if flow.assign => FlowStep::Unassign,
            Stage::Resolve if flow.resolve => FlowStep::Resolve,
            Stage::Split if flow.split => FlowStep::Split { alerts: self.unsupported(supported)? },
            _ => return None,
        };
        let youngest = supported.iter().filter_map(|place| incident.alerts.get(*place)?.started_on).max();
        let started = youngest.max(incident.started_on).unwrap_or_default();
        let definition = Arc::new(Definition::of_flow(step));
        Some(self.step(stage, &definition, &Place { alert: None, started, context: self.context }))
    }

    /// The ids of the alerts that go on and that no condition supports; `None` where there are none, or only those.
    fn unsupported(&self, supported: &[usize]) -> Option<Vec<String>> {
        let alerts = self.context.incident().alerts.iter().enumerate();
        let others = alerts.filter(|(place, alert)| !supported.contains(place) && alert.is_active() != Some(false));
        let ids: Vec<String> = others.filter_map(|(_, alert)| alert.id.as_deref().map(str::to_owned)).collect();
        (!ids.is_empty() && !supported.is_empty()).then_some(ids)
    }

    fn of_alert(&self, stage: Stage, index: usize, actions: &[ActionRef]) -> Vec<Step> {
        let incident = self.context.incident();
        let Some(alert) = incident.alerts.get(index) else { return Vec::new() };
        let started = alert.started_on.or(incident.started_on).unwrap_or_default();
        let id = alert_id(alert, index);
        let definitions = actions.iter().filter_map(|action| self.definitions.get(Scope::Alert, &action.name));
        let context = self.context.for_alert(index);
        let place = Place { alert: Some(id), started, context: &context };
        definitions.flat_map(|definition| self.verified(stage, definition, &place)).collect()
    }

    /// A step, and where it is one of the regular ones what looks whether it has helped.
    fn verified(&self, stage: Stage, definition: &Arc<Definition>, place: &Place<'_>) -> Vec<Step> {
        let mut steps = vec![self.step(stage, definition, place)];
        let regular = matches!(stage, Stage::Incident | Stage::Alert(_));
        if let Some(verify) = definition.verify.as_ref().filter(|_| regular) {
            steps.push(self.step(stage, &verify.definition, place));
            let escalate = verify.escalate.as_ref().and_then(|name| self.definitions.get(definition.scope, name));
            steps.extend(escalate.map(|escalate| self.step(Stage::Escalation, escalate, place)));
        }
        steps
    }

    fn step(&self, stage: Stage, definition: &Arc<Definition>, place: &Place<'_>) -> Step {
        let action = match stage {
            Stage::Incident | Stage::Alert(_) => definition.name.to_string(),
            Stage::AlertFallback(_) | Stage::IncidentFallback => format!("{FALLBACK_PREFIX}{}", definition.name),
            Stage::Escalation => format!("{ESCALATION_PREFIX}{}", definition.name),
            Stage::Assign => format!("{FLOW_PREFIX}assign"),
            Stage::Split => format!("{FLOW_PREFIX}split"),
            Stage::Resolve => format!("{FLOW_PREFIX}resolve"),
            Stage::Unassign => format!("{FLOW_PREFIX}unassign"),
        };
        let Place { alert, started, context } = place;
        let incident = context.incident().id.to_string();
        let condition = self.condition.name.clone();
        let key = EpisodeKey { incident, alert: alert.clone(), started: *started, condition, action };
        let episode: Arc<str> = Arc::from(key.to_string());
        let context = context.with_episode(Arc::clone(&episode));
        let request = definition.action.preview(&context.with_attempt(1)).map_err(|error| error.to_string());
        Step { key, episode, stage, definition: Arc::clone(definition), request, context }
    }
}

/// An alert without an id goes by its place, which a later snapshot may change: better than not acting on it.
fn alert_id(alert: &Alert<'_>, index: usize) -> String {
    match alert.id.as_deref() {
        Some(id) => id.to_owned(),
        None => format!("#{index}"),
    }
}
