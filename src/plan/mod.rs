//! From a match to the steps to take. Pure: an incident, a match and the definitions in, steps with episode keys out.
//!
//! Promised: every step's templates have been filled once, so that what the incident lacks is known before anything is
//! done; the same snapshot always gives the same keys. Which step comes next is [`next`]'s to say, from nothing but the
//! plan and how its steps stand, so that a restart continues where the ledger says the flow was.
//! The predecessor's flow also assigns, splits and resolves the incident; those become steps of their own stages here.

mod flow;

use std::sync::Arc;

pub use crate::plan::flow::{Next, Standing, Tally, next};

use crate::action::{Definition, Definitions, Scope};
use crate::condition::{ActionRef, Condition, Match};
use crate::incident::{Alert, Incident};
use crate::ledger::EpisodeKey;
use crate::template::{Context, Template};

/// Fallbacks have episodes of their own: the same action may also be a regular one of the same condition.
const FALLBACK_PREFIX: &str = "fallback:";

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
    /// `incident_actions`.
    Incident,
    /// `alert_actions` of an alert.
    Alert(usize),
    /// `alert_fallback_actions` of an alert.
    AlertFallback(usize),
    /// `incident_fallback_actions`.
    IncidentFallback,
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
        let mut steps = planner.of_incident(Stage::Incident, &condition.incident_actions);
        for (ordinal, alert) in matched.supported_alerts.iter().enumerate() {
            steps.extend(planner.of_alert(Stage::Alert(ordinal), *alert, &condition.alert_actions));
            steps.extend(planner.of_alert(Stage::AlertFallback(ordinal), *alert, &condition.alert_fallback_actions));
        }
        steps.extend(planner.of_incident(Stage::IncidentFallback, &condition.incident_fallback_actions));
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
        definitions.map(|definition| self.step(stage, definition, None, started, self.context)).collect()
    }

    fn of_alert(&self, stage: Stage, index: usize, actions: &[ActionRef]) -> Vec<Step> {
        let incident = self.context.incident();
        let Some(alert) = incident.alerts.get(index) else { return Vec::new() };
        let started = alert.started_on.or(incident.started_on).unwrap_or_default();
        let id = alert_id(alert, index);
        let definitions = actions.iter().filter_map(|action| self.definitions.get(Scope::Alert, &action.name));
        let step = |definition| self.step(stage, definition, Some(id.clone()), started, &self.context.for_alert(index));
        definitions.map(step).collect()
    }

    fn step(
        &self,
        stage: Stage,
        definition: &Arc<Definition>,
        alert: Option<String>,
        started: i64,
        context: &Context,
    ) -> Step {
        let action = match stage {
            Stage::Incident | Stage::Alert(_) => definition.name.to_string(),
            Stage::AlertFallback(_) | Stage::IncidentFallback => format!("{FALLBACK_PREFIX}{}", definition.name),
        };
        let incident = context.incident().id.to_string();
        let key = EpisodeKey { incident, alert, started, condition: self.condition.name.clone(), action };
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
