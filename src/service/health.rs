//! What the service is doing, with reasons; and the judgement of whether that is ready.
//!
//! One enum, changed in one place, each change logged once. What the consumer, the ledger and the pipeline know of
//! themselves is not copied here: it is asked for when somebody looks.

use std::fmt::{self, Write as _};
use std::time::Instant;

use tokio::sync::watch;

use crate::client::{FetchState, Snapshot};
use crate::http::Readiness;
use crate::ledger;

/// Where the service is in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    /// Getting what it needs: secrets, the ledger, a consumer.
    Starting {
        /// What it is at.
        doing: String,
        /// What went wrong last; it is tried again.
        trouble: Option<String>,
    },
    /// Another process holds the ledger; this one waits, and is meant to.
    Standby {
        /// Who holds what.
        waiting: String,
    },
    /// Consumer and pipeline run.
    Running,
    /// Asked to stop; what runs is being finished.
    Draining {
        /// Who asked.
        why: String,
        /// When it is cut off.
        until: Instant,
    },
    /// Cannot go on.
    Failed {
        /// Why.
        why: String,
    },
}

impl State {
    /// One word, as in logs and metrics.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Starting { .. } => "starting",
            Self::Standby { .. } => "standby",
            Self::Running => "running",
            Self::Draining { .. } => "draining",
            Self::Failed { .. } => "failed",
        }
    }

    /// Every name there is, for metrics.
    pub(super) const NAMES: [&'static str; 5] = ["starting", "standby", "running", "draining", "failed"];
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting { doing, trouble: None } => f.write_str(doing),
            Self::Starting { doing, trouble: Some(trouble) } => write!(f, "{doing}: {trouble}"),
            Self::Standby { waiting } => f.write_str(waiting),
            Self::Running => f.write_str("running"),
            Self::Draining { why, .. } => write!(f, "{why}; finishing what runs"),
            Self::Failed { why } => f.write_str(why),
        }
    }
}

/// The state, to be changed and looked at from anywhere.
#[derive(Debug, Clone)]
pub(super) struct Health(watch::Sender<State>);

impl Health {
    pub(super) fn new() -> Self {
        let doing = "reading the configuration".to_owned();
        Self(watch::Sender::new(State::Starting { doing, trouble: None }))
    }

    /// Moves on, and logs it once.
    pub(super) fn enter(&self, next: State) {
        let from = self.now();
        if from == next {
            return;
        }
        let (from, to) = (from.name(), next.name());
        match &next {
            State::Failed { why } => tracing::error!(from, to, "{why}"),
            State::Starting { trouble: Some(_), .. } | State::Standby { .. } => tracing::warn!(from, to, "{next}"),
            _ => tracing::info!(from, to, "{next}"),
        }
        self.0.send_replace(next);
    }

    pub(super) fn now(&self) -> State {
        self.0.borrow().clone()
    }
}

/// What the parts say of themselves while the service runs.
#[derive(Debug, Clone)]
pub(super) struct Parts {
    pub(super) consumer: Snapshot,
    pub(super) ledger: ledger::Health,
    /// Why nothing new is started: the kill switch, dead letters or the ledger.
    pub(super) halted: Option<String>,
    /// Why dead letters cannot be kept, if so.
    pub(super) dead_letters_wait: Option<String>,
}

/// Whether the service does what it is there for. Standing by counts: a rolling update waits for it.
pub(super) fn readiness(state: &State, parts: Option<&Parts>) -> Readiness {
    match (state, parts) {
        (State::Standby { waiting }, _) => Readiness::Ready(format!("standby: {waiting}")),
        (State::Running, Some(parts)) => of_parts(parts),
        (other, _) => Readiness::NotReady(vec![format!("{}: {other}", other.name())]),
    }
}

fn of_parts(parts: &Parts) -> Readiness {
    let mut reasons = Vec::new();
    match &parts.ledger {
        ledger::Health::Writable => {}
        ledger::Health::Stalled { reason } => {
            reasons.push(format!("the ledger is stalled: {reason}"));
        }
        ledger::Health::Broken { reason } => reasons.push(format!("the ledger is broken: {reason}")),
    }
    let waiting = parts.dead_letters_wait.as_ref();
    reasons.extend(waiting.map(|why| format!("dead letters cannot be kept, so nothing is committed past them: {why}")));
    reasons.extend(of_consumer(&parts.consumer));
    if !reasons.is_empty() {
        return Readiness::NotReady(reasons);
    }
    let mut what = super::check::count(parts.consumer.partitions.len(), "partition");
    // The kill switch is a person's wish, so the service is as ready as it is meant to be.
    if let Some(reason) = &parts.halted {
        let _ = write!(what, "; nothing new starts: {reason}");
    }
    Readiness::Ready(what)
}

/// What keeps the consumer from reading; empty while it reads.
fn of_consumer(consumer: &Snapshot) -> Vec<String> {
    let topics = consumer.topics_in_error.iter();
    let mut reasons: Vec<String> = topics
        .map(|(topic, error)| format!("kafka: topic {topic}: {} ({topic} is in kafka.topics)", error.name()))
        .collect();
    let group = &consumer.group;
    if group.state != "Stable" {
        let why = group.last_error.as_deref().unwrap_or("nothing went wrong so far");
        reasons.push(format!("kafka: the group is not joined ({}): {why}", group.state));
        // The group only knows that it got no answer; the connections know why.
        let mut errors: Vec<&String> = consumer.connections.iter().filter_map(|c| c.last_error.as_ref()).collect();
        errors.extend(&consumer.metadata_error);
        errors.sort_unstable();
        errors.dedup();
        reasons.extend(errors.into_iter().map(|error| format!("kafka: {error}")));
    }
    // One partition in trouble is for the metrics; all of them are a reason.
    let stuck: Option<Vec<String>> = consumer.partitions.iter().map(|partition| trouble(&partition.state)).collect();
    reasons.extend(stuck.and_then(|all| all.first().map(|first| format!("kafka: nothing can be fetched: {first}"))));
    reasons
}

fn trouble(state: &FetchState) -> Option<String> {
    match state {
        FetchState::BackingOff { error, .. } => Some(error.clone()),
        FetchState::AwaitingLeader => Some("no partition has a leader".to_owned()),
        FetchState::Parked(cause) => Some(format!("given up: {cause:?}")),
        FetchState::Fetching
        | FetchState::AwaitingCommittedOffset
        | FetchState::Resetting
        | FetchState::CheckingRange
        | FetchState::Validating
        | FetchState::Paused
        | FetchState::QueueFull => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standing_by_is_ready_so_that_a_rolling_update_goes_on() {
        let state = State::Standby { waiting: "the ledger /l is held by pod-1".to_owned() };
        assert_eq!(readiness(&state, None), Readiness::Ready("standby: the ledger /l is held by pod-1".to_owned()));
    }

    #[test]
    fn every_other_state_before_and_after_running_is_not_ready_and_says_why() {
        let trouble = Some("no such host".to_owned());
        let state = State::Starting { doing: "fetching secrets".to_owned(), trouble };
        let reasons = vec!["starting: fetching secrets: no such host".to_owned()];
        assert_eq!(readiness(&state, None), Readiness::NotReady(reasons));
        let draining = State::Draining { why: "SIGTERM received".to_owned(), until: Instant::now() };
        assert!(matches!(readiness(&draining, None), Readiness::NotReady(_)));
    }

    #[test]
    fn every_state_has_its_name_in_the_list_for_metrics() {
        for state in [State::Running, State::Standby { waiting: String::new() }, State::Failed { why: String::new() }] {
            assert!(State::NAMES.contains(&state.name()));
        }
    }
}
