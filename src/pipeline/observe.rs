//! What the pipeline lets others see: occurrences as they happen, and how it stands.
//!
//! Telemetry counts occurrences; probes and the status page read [`Status`]. Nothing here steers anything.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use kafka_proto::id::{Offset, TopicPartition};

use crate::guard::Reset;
use crate::ledger::{EpisodeKey, Terminal};
use crate::pipeline::shown::Budget;

/// Something that happened, for counters and histograms.
#[derive(Clone, Debug)]
pub enum Occurrence<'a> {
    /// The records of one batch were decided.
    Decided {
        /// Where they stood.
        partition: &'a TopicPartition,
        /// Records.
        records: usize,
        /// Decoded bytes.
        bytes: usize,
        /// Records that matched a condition.
        matched: usize,
        /// Records that are no incident.
        malformed: usize,
        /// How long deciding took.
        took: Duration,
    },
    /// An attempt ended.
    Attempted {
        /// The episode.
        key: &'a EpisodeKey,
        /// Type of the action.
        action_type: &'static str,
        /// `succeeded`, `retryable`, `failed`, `unknown`, `started` or `found`.
        report: &'static str,
        /// From the start of the attempt to its report.
        took: Duration,
    },
    /// A guard kept an attempt from being made.
    Refused {
        /// The episode.
        key: &'a EpisodeKey,
        /// The name of the guard.
        guard: &'static str,
    },
    /// An attempt, or a question about what an attempt has started, waited for the rate limit of its service.
    Waited {
        /// The episode.
        key: &'a EpisodeKey,
        /// Type of the action.
        action_type: &'static str,
        /// How long.
        took: Duration,
    },
    /// Something long that an attempt had started at its target has ended, or is not waited for any longer.
    JobEnded {
        /// The episode.
        key: &'a EpisodeKey,
        /// Type of the action.
        action_type: &'static str,
        /// How.
        how: Terminal,
        /// From its start, also where an earlier process started it.
        took: Duration,
    },
    /// An episode ended.
    StepEnded {
        /// The episode.
        key: &'a EpisodeKey,
        /// Type of the action.
        action_type: &'static str,
        /// How.
        how: Terminal,
    },
    /// A matched record is dealt with.
    IncidentEnded {
        /// Name of the condition.
        condition: &'a str,
        /// How.
        how: IncidentEnd,
        /// From the record's arrival.
        took: Duration,
    },
    /// An offset was committed.
    Committed {
        /// Of this partition.
        partition: &'a TopicPartition,
        /// The next offset to read.
        next: Offset,
    },
    /// A commit did not succeed and will be repeated.
    CommitFailed,
    /// Partitions were paused (`true`) because too much waits, or resumed.
    BackPressure(bool),
}

/// How a matched record ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IncidentEnd {
    /// Every step succeeded.
    Succeeded,
    /// At least one step failed or was skipped after a failure.
    Failed,
    /// At least one step waits for a person.
    Held,
    /// A check found what it looks for, and the flow ended there.
    Found,
    /// Every step had ended before: a redelivery or a repeated snapshot.
    AlreadyDone,
    /// A later snapshot of the incident was seen.
    Stale,
    /// It matched nothing; what an earlier process had left open of it was settled.
    Settled,
    /// Nothing was done because of shadow mode.
    Shadow,
    /// Not finished here: the partition or the process is going away.
    Dropped,
}

impl IncidentEnd {
    /// The name, for metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Held => "held",
            Self::Found => "found",
            Self::AlreadyDone => "already_done",
            Self::Stale => "stale",
            Self::Settled => "settled",
            Self::Shadow => "shadow",
            Self::Dropped => "dropped",
        }
    }
}

/// Is told of every occurrence, on the task that caused it: must be quick.
pub trait Observer: Send + Sync + 'static {
    /// Something happened.
    fn observe(&self, occurrence: &Occurrence<'_>);
}

/// Nobody looks.
impl Observer for () {
    fn observe(&self, _: &Occurrence<'_>) {}
}

/// How the pipeline stands, read at any time.
#[derive(Debug, Default)]
pub struct Status {
    running: AtomicUsize,
    waiting: AtomicUsize,
    deciding: AtomicUsize,
    owned: AtomicUsize,
    halts: Mutex<Vec<(Halt, String)>>,
    tripped: Mutex<Vec<String>>,
    budgets: Mutex<Vec<Budget>>,
    resets: Mutex<Vec<Reset>>,
}

/// What keeps actions from starting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Halt {
    KillSwitch,
    DeadLetters,
    Ledger,
}

impl Status {
    /// Incidents being worked on.
    pub fn running(&self) -> usize {
        self.running.load(Ordering::Relaxed)
    }

    /// Matched records that wait for their turn.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Batches being decided.
    pub fn deciding(&self) -> usize {
        self.deciding.load(Ordering::Relaxed)
    }

    /// Partitions owned.
    pub fn owned(&self) -> usize {
        self.owned.load(Ordering::Relaxed)
    }

    /// Why nothing new starts, if so: the kill switch, a dead letter file or a ledger that cannot be written.
    pub fn halted(&self) -> Option<String> {
        let halts = self.halts.lock().unwrap_or_else(PoisonError::into_inner);
        let reasons: Vec<_> = halts.iter().map(|(_, reason)| reason.as_str()).collect();
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }

    /// Why dead letters cannot be kept, if so: their partitions are not committed past them.
    pub fn dead_letters_wait(&self) -> Option<String> {
        let halts = self.halts.lock().unwrap_or_else(PoisonError::into_inner);
        halts.iter().find(|(halt, _)| *halt == Halt::DeadLetters).map(|(_, reason)| reason.clone())
    }

    /// The guards that are tripped, each in a line: open circuits, storm mode.
    pub fn tripped(&self) -> Vec<String> {
        self.tripped.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Every budget of the rules with what is used of it.
    pub fn budgets(&self) -> Vec<Budget> {
        self.budgets.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What persons made the guards forget, the oldest first.
    pub fn resets(&self) -> Vec<Reset> {
        self.resets.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn reset(&self, resets: Vec<Reset>) {
        *self.resets.lock().unwrap_or_else(PoisonError::into_inner) = resets;
    }

    pub(crate) fn spend(&self, budgets: Vec<Budget>) {
        *self.budgets.lock().unwrap_or_else(PoisonError::into_inner) = budgets;
    }

    pub(crate) fn trip(&self, tripped: Vec<String>) {
        *self.tripped.lock().unwrap_or_else(PoisonError::into_inner) = tripped;
    }

    pub(crate) fn set(&self, running: usize, waiting: usize, deciding: usize, owned: usize) {
        self.running.store(running, Ordering::Relaxed);
        self.waiting.store(waiting, Ordering::Relaxed);
        self.deciding.store(deciding, Ordering::Relaxed);
        self.owned.store(owned, Ordering::Relaxed);
    }

    /// Notes or clears a halt; whether that is news.
    pub(crate) fn halt(&self, halt: Halt, reason: Option<String>) -> bool {
        let mut halts = self.halts.lock().unwrap_or_else(PoisonError::into_inner);
        let before = halts.iter().position(|(known, _)| *known == halt);
        match (before, reason) {
            (None, None) => false,
            (None, Some(reason)) => {
                halts.push((halt, reason));
                true
            }
            (Some(at), None) => {
                halts.swap_remove(at);
                true
            }
            (Some(at), Some(reason)) => {
                let changed = halts.get(at).is_some_and(|(_, known)| *known != reason);
                if let Some(slot) = halts.get_mut(at) {
                    slot.1 = reason;
                }
                changed
            }
        }
    }
}
