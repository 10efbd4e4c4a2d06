//! Actions: what can be done about an incident.
//!
//! One file per type, each one implementation of [`Action`] and one line in [`TYPES`]. A definition is read once, with
//! every mistake placed; [`Action::preview`] fills its templates without touching anything, so that planning is pure;
//! [`Action::execute`] makes one attempt and reports what is known of it. How often, when, and whether at all is decided
//! elsewhere: an action spends no attempts of its own and never waits for another one.
//! The [`Network`] is the only way out. Where there is none (shadow mode), nothing here can reach anything.

mod awx;
mod bearer;
mod bigpanda;
mod check;
mod comment;
mod definition;
mod escalation;
mod fresh;
mod http_call;
mod incident_call;
mod job;
mod json_api;
mod k8s_job;
mod network;
mod parameters;
mod rate;
mod rootly;
mod screwdriver;
mod signs;
mod slack;
mod verdict;
mod verify;
mod webhook;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;

pub use crate::action::bigpanda::{BigPanda, BigPandaSettings};
pub use crate::action::definition::{
    Definition, Definitions, Flow, FlowStep, OnUnknown, Policy, Retries, Scope, Surroundings, Verify,
};
pub use crate::action::fresh::read_again;
pub use crate::action::network::{Network, SecretsUnavailable};
pub use crate::action::verify::is_over;
use crate::secret::Secret;
use crate::template::{Context, RenderError};
use crate::yaml::Reader;

/// The values of the secrets that an action asks for, by name.
pub type Secrets = Arc<BTreeMap<String, Secret>>;

/// One thing to do, for one episode, in one attempt.
#[derive(Clone, Copy, Debug)]
pub struct Task<'a> {
    /// What the templates are filled with: incident, alert, `episode.key` and `attempt` included.
    pub context: &'a Context,
    /// The episode's key as text: the idempotency key, and what a reconciliation looks for.
    pub episode: &'a str,
    /// How long the attempt may take.
    pub timeout: Duration,
}

/// An action as defined in the configuration.
pub trait Action: fmt::Debug + Send + Sync {
    /// The request in a few words with the secrets masked. Fails where the incident lacks what a template needs.
    fn preview(&self, context: &Context) -> Result<String, RenderError>;

    /// The secrets it needs.
    fn secret_names(&self) -> Vec<String>;

    /// Waits until the target's rate limit has room. Called before the attempt is recorded.
    fn admitted<'a>(&'a self, network: &'a Network) -> BoxFuture<'a, ()> {
        let _ = network;
        Box::pin(std::future::ready(()))
    }

    /// It changes what the incident is about: when all such actions have succeeded the incident may be resolved. A message,
    /// a comment or a check is no remedy.
    fn remedies(&self) -> bool {
        false
    }

    /// How something long is looked after that an attempt starts; `None` where an attempt ends with its answer.
    fn watch(&self) -> Option<Watch> {
        None
    }

    /// Asks how it stands with what an attempt has started. Changes nothing at the target.
    fn poll<'a>(&'a self, task: Task<'a>, id: &'a str, network: &'a Network) -> BoxFuture<'a, Progress> {
        let _ = (task, id, network);
        Box::pin(std::future::ready(Progress::CannotTell { reason: "this target cannot be asked".to_owned() }))
    }

    /// Makes one attempt.
    fn execute<'a>(&'a self, task: Task<'a>, network: &'a Network) -> BoxFuture<'a, Report>;

    /// Asks the target whether an earlier attempt was done.
    fn reconcile<'a>(&'a self, task: Task<'a>, network: &'a Network) -> BoxFuture<'a, Reconciled> {
        let _ = (task, network);
        Box::pin(std::future::ready(Reconciled::CannotTell { reason: "this target cannot be asked".to_owned() }))
    }
}

/// What is known after an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// Done.
    Succeeded {
        /// What the target said.
        detail: String,
    },
    /// Not done; another attempt may succeed.
    Retryable {
        /// Why.
        reason: String,
        /// How long the target asked to be left alone.
        after: Option<Duration>,
    },
    /// Not done, and another attempt would fail the same way.
    Failed {
        /// Why.
        reason: String,
    },
    /// It may have been done.
    Unknown {
        /// Why.
        reason: String,
    },
    /// It was begun and takes its time; [`Action::poll`] asks for it by this id.
    Started {
        /// The target's name for it.
        id: String,
    },
    /// A check has found what it looks for: nothing more is to be done, and nothing has failed.
    Found {
        /// What.
        reason: String,
    },
}

/// How something long is looked after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watch {
    /// Between two questions.
    pub interval: Duration,
    /// From the start to the moment at which it counts as failed.
    pub timeout: Duration,
}

/// How it stands with something long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It goes on.
    Running {
        /// How far it is.
        detail: String,
    },
    /// It has ended well.
    Succeeded {
        /// What the target said.
        detail: String,
    },
    /// It has ended badly.
    Failed {
        /// Why, with where to look.
        reason: String,
    },
    /// The target cannot say, or not now.
    CannotTell {
        /// Why.
        reason: String,
    },
}

impl Report {
    /// The name, for logs and metrics.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Succeeded { .. } => "succeeded",
            Self::Retryable { .. } => "retryable",
            Self::Failed { .. } => "failed",
            Self::Unknown { .. } => "unknown",
            Self::Started { .. } => "started",
            Self::Found { .. } => "found",
        }
    }

    /// The text that goes with it.
    pub fn text(&self) -> &str {
        match self {
            Self::Succeeded { detail: text }
            | Self::Retryable { reason: text, .. }
            | Self::Failed { reason: text }
            | Self::Unknown { reason: text }
            | Self::Started { id: text }
            | Self::Found { reason: text } => text,
        }
    }

    /// The same with its text changed.
    pub(crate) fn with_text(self, change: impl FnOnce(String) -> String) -> Self {
        match self {
            Self::Succeeded { detail } => Self::Succeeded { detail: change(detail) },
            Self::Retryable { reason, after } => Self::Retryable { reason: change(reason), after },
            Self::Failed { reason } => Self::Failed { reason: change(reason) },
            Self::Unknown { reason } => Self::Unknown { reason: change(reason) },
            Self::Started { id } => Self::Started { id },
            Self::Found { reason } => Self::Found { reason: change(reason) },
        }
    }
}

impl Progress {
    /// The same with its text changed.
    pub(crate) fn with_text(self, change: impl FnOnce(String) -> String) -> Self {
        match self {
            Self::Running { detail } => Self::Running { detail: change(detail) },
            Self::Succeeded { detail } => Self::Succeeded { detail: change(detail) },
            Self::Failed { reason } => Self::Failed { reason: change(reason) },
            Self::CannotTell { reason } => Self::CannotTell { reason: change(reason) },
        }
    }
}

/// What the target says about an earlier attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reconciled {
    /// It was done.
    Done {
        /// How that was seen.
        detail: String,
    },
    /// It was begun and may still go on, under this id.
    Started {
        /// The target's name for it.
        id: String,
    },
    /// It was not done, so it may be done now.
    NotDone {
        /// How that was seen.
        detail: String,
    },
    /// The target cannot say, or not now.
    CannotTell {
        /// Why.
        reason: String,
    },
}

/// An action read from its definition, with the defaults of its type.
pub(crate) struct Read {
    pub(crate) action: Box<dyn Action>,
    pub(crate) on_unknown: OnUnknown,
}

/// How the definition of a type is read: takes its keys, notes mistakes, gives `None` when there were any.
pub(crate) type ReadAction = fn(&Reader<'_, '_>, Scope, &Surroundings) -> Option<Read>;

/// Every type, by the name it has in the configuration.
pub(crate) const TYPES: [(&str, ReadAction); 20] = [
    ("webhook", webhook::read),
    ("comment_on_incident", comment::read),
    ("alert_slack", slack::read),
    ("awx", awx::read),
    ("check_alert_volume", check::alert_volume::read),
    ("check_outage", check::outage::read),
    ("check_service_now_changes", check::service_now::read_changes),
    ("incident_slack", slack::read),
    ("k8s_job", k8s_job::read),
    ("ops_escalation", escalation::ops::read),
    ("rootly_escalation", escalation::rootly::read),
    ("scan_big_panda", check::big_panda::read),
    ("scan_rootly_alerts", check::rootly::read),
    ("scan_service_now_ops", check::service_now::read_ops),
    ("screwdriver", screwdriver::read),
    ("screwdriver_async", screwdriver::read_async),
    ("screwdriver_batch", screwdriver::read_batch),
    ("snooze_incident", incident_call::read_snooze),
    ("tag_incident", incident_call::read_tag),
    ("unassign_incident", incident_call::read_unassign),
];

/// The names of all types, as definitions may have them under `type`.
pub fn type_names() -> impl Iterator<Item = &'static str> {
    TYPES.iter().map(|(name, _)| *name)
}
