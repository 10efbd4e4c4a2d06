//! What the pipeline is made with: rules, actions, the ledger, limits.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::action::Network;
use crate::condition::{Condition, Mode};
use crate::incident;
use crate::ledger::Ledger;
use crate::pipeline::desk::Desk;
use crate::pipeline::left::Left;
use crate::pipeline::letters::Letters;
use crate::pipeline::observe::{Observer, Status};
use crate::pipeline::rulebook::Rulebook;
use crate::pipeline::trace::Adopt;

/// Everything that decides and acts. Built once by the service.
pub struct Domain {
    /// Conditions, actions and the guards for all, as they are in force.
    pub rulebook: Arc<Rulebook>,
    /// The durable record.
    pub ledger: Ledger,
    /// Whether anything can be reached at all.
    pub executor: Executor,
    /// Where records go that are no incidents; without it they are logged and passed over.
    pub dead_letters: Option<Letters>,
    /// While this file exists nothing starts; its text is the reason.
    pub kill_switch_file: Option<PathBuf>,
    /// Bounds.
    pub limits: Limits,
    /// How large a record may be.
    pub incident_limits: incident::Limits,
    /// A record of which a search of its bytes proves that no condition can match it is passed over without being read, even if it
    /// is no incident.
    pub passes_over_unread: bool,
    /// Who counts.
    pub observer: Arc<dyn Observer>,
    /// How the pipeline stands.
    pub status: Arc<Status>,
    /// Incidents with something left open.
    pub left: Left,
    /// Where a person makes the guards forget.
    pub desk: Desk,
    /// Puts the trace of a record under the one that its headers name.
    pub adopt: Adopt,
    /// This process, as the ledger names it.
    pub name: String,
    /// The wall clock, milliseconds since the epoch.
    pub now_ms: fn() -> i64,
}

/// Whether actions are carried out.
#[derive(Clone, Debug)]
pub enum Executor {
    /// They are, through this way out.
    Live(Network),
    /// There is no way out: matches are traced and nothing is done or recorded.
    Shadow,
}

/// Bounds of the pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Incidents worked on at a time.
    pub max_concurrent_incidents: usize,
    /// Attempts on the network at a time.
    pub max_concurrent_actions: usize,
    /// How often finished offsets are committed.
    pub commit_interval: Duration,
    /// How long terminal entries are kept in the ledger.
    pub ledger_ttl: Duration,
    /// How long running incidents may take to finish when the pipeline stops.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_concurrent_incidents: 64,
            max_concurrent_actions: 16,
            commit_interval: Duration::from_secs(1),
            ledger_ttl: Duration::from_hours(7 * 24),
            drain: Duration::from_secs(30),
        }
    }
}

/// The system's clock, milliseconds since the epoch.
pub fn wall_clock_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

impl Domain {
    /// The clock in whole seconds, as conditions count.
    pub(crate) fn now_s(&self) -> i64 {
        (self.now_ms)().div_euclid(1000)
    }

    /// The way out for a condition's actions, unless they are only to be shown.
    pub(crate) fn way_out(&self, condition: &Condition) -> Option<&Network> {
        match (&self.executor, condition.mode) {
            (Executor::Live(network), None | Some(Mode::Live)) => Some(network),
            (Executor::Live(_), Some(Mode::Shadow)) | (Executor::Shadow, _) => None,
        }
    }
}
