//! What the entries of an episode add up to. One pure function, used by every backend.
//!
//! The table below is the whole law. What it does not list is a [`Contradiction`]: the file backend refuses to write it,
//! and a replicated backend ignores it as an entry that lost its race.
//!
//! | state | entry | next |
//! |---|---|---|
//! | absent | INTENT | intended, no attempts |
//! | intended | INTENT | intended (planned again after a restart) |
//! | intended, n attempts | ATTEMPT n+1 | attempting n+1 |
//! | attempting, unknown | STARTED id | started: the target is asked by that id, also after a restart |
//! | absent, intended | OUTCOME failed, skipped, held | finished |
//! | attempting, started, unknown | OUTCOME succeeded, failed, skipped, held, found | finished |
//! | attempting, unknown | OUTCOME unknown | unknown |
//! | attempting, started, unknown | OUTCOME retrying | intended, n attempts |
//! | held | OUTCOME succeeded, failed, skipped, retrying | a person settled it |
//! | absent, shadowed | OUTCOME shadow | shadowed: to everything else the same as absent |

use serde::{Deserialize, Serialize};

use crate::ledger::entry::{Entry, Outcome};

/// Where an episode stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Never heard of.
    #[default]
    Absent,
    /// Meant to be done; nothing is on the network.
    Intended {
        /// Attempts that have ended.
        attempts: u32,
    },
    /// On the network. Found like this after a start, it is unknown.
    Attempting {
        /// The number of the attempt.
        attempt: u32,
    },
    /// It runs at the target.
    Started {
        /// The number of the attempt that began it.
        attempt: u32,
        /// The target's name for it.
        id: String,
    },
    /// It may have been done or not.
    Unknown {
        /// The number of the attempt in doubt.
        attempt: u32,
    },
    /// Only shadow mode has met it. Nothing was done, and a live run starts from the beginning.
    Shadowed {
        /// What would have been done.
        reason: String,
    },
    /// Nothing more will be done by itself.
    Finished {
        /// How it ended.
        how: Terminal,
        /// The text that went with it.
        reason: String,
        /// How many attempts it took.
        attempts: u32,
    },
}

/// How an episode can end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Terminal {
    /// Done.
    Succeeded,
    /// Failed for good.
    Failed,
    /// Deliberately not done.
    Skipped,
    /// Waits for a person.
    Held,
    /// A check found what it looks for: the flow ends here without having failed.
    Found,
}

impl Terminal {
    /// The name, as in the file and in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Held => "held",
            Self::Found => "found",
        }
    }
}

impl State {
    /// Whether an offset may be committed past this.
    pub const fn is_terminal(&self) -> bool {
        matches!(self, Self::Finished { .. } | Self::Shadowed { .. })
    }

    /// Whether nothing was ever meant to be done about it in earnest.
    pub const fn is_new(&self) -> bool {
        matches!(self, Self::Absent | Self::Shadowed { .. })
    }

    /// Whether something may be on the network, or at its target.
    pub const fn is_begun(&self) -> bool {
        matches!(self, Self::Attempting { .. } | Self::Started { .. } | Self::Unknown { .. })
    }

    /// How it ended, if it has.
    pub const fn terminal(&self) -> Option<Terminal> {
        match self {
            Self::Finished { how, .. } => Some(*how),
            Self::Absent
            | Self::Intended { .. }
            | Self::Attempting { .. }
            | Self::Started { .. }
            | Self::Unknown { .. }
            | Self::Shadowed { .. } => None,
        }
    }

    /// How many attempts were begun.
    pub const fn attempts(&self) -> u32 {
        match self {
            Self::Absent | Self::Shadowed { .. } => 0,
            Self::Intended { attempts } | Self::Finished { attempts, .. } => *attempts,
            Self::Attempting { attempt } | Self::Started { attempt, .. } | Self::Unknown { attempt } => *attempt,
        }
    }

    /// The text that goes with it.
    pub fn reason(&self) -> &str {
        match self {
            Self::Finished { reason, .. } | Self::Shadowed { reason } => reason,
            Self::Started { id, .. } => id,
            Self::Absent | Self::Intended { .. } | Self::Attempting { .. } | Self::Unknown { .. } => "",
        }
    }

    /// The name, as in `history` and metrics.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Intended { .. } => "intended",
            Self::Attempting { .. } => "attempting",
            Self::Started { .. } => "started",
            Self::Unknown { .. } => "unknown",
            Self::Shadowed { .. } => "shadow",
            Self::Finished { how, .. } => how.name(),
        }
    }
}

/// The entry does not follow from the state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{entry} cannot follow {state} (attempt {attempts})")]
pub struct Contradiction {
    /// Name of the state.
    pub state: &'static str,
    /// Attempts begun so far.
    pub attempts: u32,
    /// The entry that was refused.
    pub entry: String,
}

/// The next state; the table at the top of this file.
pub fn fold(state: &State, entry: &Entry) -> Result<State, Contradiction> {
    let next = match entry {
        Entry::Intent(_) => intent(state),
        Entry::Attempt(attempt) => begin(state, attempt.number),
        Entry::Started(started) => started_at_target(state, &started.id),
        Entry::Outcome(outcome) => end(state, outcome),
    };
    next.ok_or_else(|| Contradiction { state: state.name(), attempts: state.attempts(), entry: entry.to_string() })
}

fn intent(state: &State) -> Option<State> {
    match state {
        State::Absent | State::Shadowed { .. } => Some(State::Intended { attempts: 0 }),
        State::Intended { attempts } => Some(State::Intended { attempts: *attempts }),
        State::Attempting { .. } | State::Started { .. } | State::Unknown { .. } | State::Finished { .. } => None,
    }
}

fn begin(state: &State, number: u32) -> Option<State> {
    match state {
        State::Intended { attempts } if attempts.checked_add(1) == Some(number) => {
            Some(State::Attempting { attempt: number })
        }
        State::Absent
        | State::Intended { .. }
        | State::Attempting { .. }
        | State::Started { .. }
        | State::Unknown { .. }
        | State::Shadowed { .. }
        | State::Finished { .. } => None,
    }
}

fn started_at_target(state: &State, id: &str) -> Option<State> {
    match state {
        State::Attempting { attempt } | State::Unknown { attempt } => {
            Some(State::Started { attempt: *attempt, id: id.to_owned() })
        }
        State::Absent
        | State::Intended { .. }
        | State::Started { .. }
        | State::Shadowed { .. }
        | State::Finished { .. } => None,
    }
}

fn end(state: &State, outcome: &Outcome) -> Option<State> {
    let attempts = state.attempts();
    let finished = |how| Some(State::Finished { how, reason: outcome.reason().to_owned(), attempts });
    let in_doubt = matches!(state, State::Attempting { .. } | State::Unknown { .. });
    let begun = in_doubt || matches!(state, State::Started { .. });
    let held = matches!(state, State::Finished { how: Terminal::Held, .. });
    let quiet = state.is_new() || matches!(state, State::Intended { .. });
    match outcome {
        Outcome::Succeeded { .. } if begun || held => finished(Terminal::Succeeded),
        Outcome::Failed { .. } if begun || held || quiet => finished(Terminal::Failed),
        Outcome::Skipped { .. } if begun || held || quiet => finished(Terminal::Skipped),
        Outcome::Held { .. } if begun || quiet => finished(Terminal::Held),
        Outcome::Found { .. } if begun => finished(Terminal::Found),
        Outcome::Shadow { reason } if state.is_new() => Some(State::Shadowed { reason: reason.clone() }),
        Outcome::Unknown { .. } if in_doubt => Some(State::Unknown { attempt: attempts }),
        Outcome::Retrying { .. } if begun || held => Some(State::Intended { attempts }),
        Outcome::Succeeded { .. }
        | Outcome::Failed { .. }
        | Outcome::Skipped { .. }
        | Outcome::Held { .. }
        | Outcome::Unknown { .. }
        | Outcome::Retrying { .. }
        | Outcome::Found { .. }
        | Outcome::Shadow { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::entry::{Attempt, Intent, Origin, Started};
    use proptest::prelude::*;

    fn intent_entry() -> Entry {
        let origin = Origin { topic: "sre".into(), partition: 0, offset: 1, generation: 1 };
        Entry::Intent(Intent {
            action_type: "webhook".into(),
            request: String::new(),
            origin,
            by: String::new(),
            because: Vec::new(),
        })
    }

    fn attempt(number: u32) -> Entry {
        Entry::Attempt(Attempt { number })
    }

    fn outcome(pick: u8) -> Entry {
        let reason = "because".to_owned();
        Entry::Outcome(match pick % 8 {
            0 => Outcome::Succeeded { detail: reason },
            1 => Outcome::Failed { reason },
            2 => Outcome::Skipped { reason },
            3 => Outcome::Held { reason },
            4 => Outcome::Unknown { reason },
            6 => Outcome::Found { reason },
            7 => Outcome::Shadow { reason },
            _ => Outcome::Retrying { reason },
        })
    }

    fn after(entries: &[Entry]) -> Result<State, Contradiction> {
        entries.iter().try_fold(State::Absent, |state, entry| fold(&state, entry))
    }

    #[test]
    fn the_usual_story_ends_succeeded() {
        let state = after(&[intent_entry(), attempt(1), outcome(5), attempt(2), outcome(0)]).unwrap();
        assert_eq!(state, State::Finished { how: Terminal::Succeeded, reason: "because".into(), attempts: 2 });
    }

    #[test]
    fn a_succeeded_episode_is_never_attempted_again() {
        let story = [intent_entry(), attempt(1), outcome(0)];
        for next in [intent_entry(), attempt(1), attempt(2), outcome(0), outcome(1), outcome(5)] {
            let mut longer = story.to_vec();
            longer.push(next.clone());
            assert!(after(&longer).is_err(), "{next}");
        }
    }

    #[test]
    fn an_attempt_in_doubt_is_not_repeated_before_it_is_settled() {
        assert!(after(&[intent_entry(), attempt(1), attempt(2)]).is_err());
        assert!(after(&[intent_entry(), attempt(1), outcome(4), attempt(2)]).is_err());
        assert!(after(&[intent_entry(), attempt(1), outcome(4), outcome(5), attempt(2)]).is_ok());
    }

    #[test]
    fn success_needs_an_attempt() {
        assert!(after(&[outcome(0)]).is_err());
        assert!(after(&[intent_entry(), outcome(0)]).is_err());
    }

    fn started() -> Entry {
        Entry::Started(Started { id: "99".into() })
    }

    #[test]
    fn what_runs_at_the_target_is_never_begun_again_before_it_has_ended() {
        let running = [intent_entry(), attempt(1), started()];
        assert_eq!(after(&running).unwrap(), State::Started { attempt: 1, id: "99".into() });
        for next in [intent_entry(), attempt(2), started(), outcome(4)] {
            let mut longer = running.to_vec();
            longer.push(next.clone());
            assert!(after(&longer).is_err(), "{next}");
        }
        for (end, name) in [(0, "succeeded"), (1, "failed"), (3, "held"), (6, "found"), (5, "intended")] {
            let mut longer = running.to_vec();
            longer.push(outcome(end));
            assert_eq!(after(&longer).unwrap().name(), name);
        }
    }

    #[test]
    fn what_was_in_doubt_may_turn_out_to_run() {
        assert_eq!(after(&[intent_entry(), attempt(1), outcome(4), started()]).unwrap().name(), "started");
    }

    #[test]
    fn shadow_leaves_no_trace_in_what_follows() {
        let shadowed = [outcome(7), outcome(7)];
        let state = after(&shadowed).unwrap();
        assert!(state.is_new() && state.is_terminal() && state.terminal().is_none(), "{state:?}");
        let live = [outcome(7), intent_entry(), attempt(1), outcome(0)];
        assert_eq!(after(&live).unwrap().terminal(), Some(Terminal::Succeeded));
        assert!(after(&[intent_entry(), outcome(7)]).is_err(), "what has begun in earnest is not shadow any more");
    }

    #[test]
    fn a_person_can_settle_what_is_held() {
        let held = [intent_entry(), attempt(1), outcome(3)];
        for (settlement, name) in [(0, "succeeded"), (1, "failed"), (5, "intended")] {
            let mut story = held.to_vec();
            story.push(outcome(settlement));
            assert_eq!(after(&story).unwrap().name(), name);
        }
    }

    proptest! {
        #[test]
        fn no_order_of_entries_reaches_a_second_success(picks in proptest::collection::vec(0_u8..16, 0..40)) {
            let mut state = State::Absent;
            let mut successes = 0;
            for pick in picks {
                let entry = match pick {
                    0..8 => outcome(pick),
                    8..10 => intent_entry(),
                    10..12 => started(),
                    _ => attempt(state.attempts() + 1),
                };
                let Ok(next) = fold(&state, &entry) else { continue };
                if next.terminal() == Some(Terminal::Succeeded) { successes += 1; }
                prop_assert!(next.attempts() >= state.attempts());
                state = next;
            }
            prop_assert!(successes <= 1);
        }
    }
}
