//! The word of a person about an episode that waits for one. Pure; who may say it and where it is written is others' affair.

use crate::guard::one_line;
use crate::ledger::{Outcome, State, Terminal};

/// What a person knows about an episode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settle {
    /// It was done.
    Succeeded,
    /// It was not done and shall not be.
    Failed,
    /// It was not done and shall be tried again.
    Retry,
}

/// Who works on the ledger while the word is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meanwhile {
    /// Nobody: what is on record as running was cut off.
    Nobody,
    /// A running service: what is on record as running may be running, and it settles what was cut off by itself.
    TheService,
}

impl Settle {
    /// By its name, as in the API.
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "succeeded" => Some(Self::Succeeded),
            "failed" => Some(Self::Failed),
            "retry" => Some(Self::Retry),
            _ => None,
        }
    }

    /// The name, as in the API.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Retry => "retry",
        }
    }

    /// What follows from it.
    pub(super) const fn then(self) -> &'static str {
        match self {
            Self::Succeeded => "counts as done",
            Self::Failed => "counts as failed; nothing more is tried",
            Self::Retry => "is tried again at the next snapshot of its incident",
        }
    }
}

/// What is to be written; or why nobody is asked about this episode.
pub(super) fn settlement(
    state: &State,
    how: Settle,
    who: &str,
    why: &str,
    meanwhile: Meanwhile,
) -> Result<Outcome, String> {
    let (who, why) = (one_line(who), one_line(why));
    if who.is_empty() || why.is_empty() {
        return Err("who says so and how it is known must be given: they are kept for ever".to_owned());
    }
    match (state, meanwhile) {
        (State::Finished { how: Terminal::Held, .. }, _)
        | (State::Unknown { .. } | State::Attempting { .. } | State::Started { .. }, Meanwhile::Nobody) => {}
        (State::Unknown { .. } | State::Attempting { .. } | State::Started { .. }, Meanwhile::TheService) => {
            return Err(format!(
                "it is {}, and the running service is on it: it ends by itself, as held if nobody but a person can tell",
                state.name()
            ));
        }
        (State::Absent, _) => return Err("the ledger knows no such episode".to_owned()),
        (State::Intended { .. } | State::Shadowed { .. } | State::Finished { .. }, _) => {
            return Err(format!(
                "it is {}; only what is held, unknown, attempting or started waits for a person",
                state.name()
            ));
        }
    }
    let reason = format!("settled by {who}: {why}");
    Ok(match how {
        Settle::Succeeded => Outcome::Succeeded { detail: reason },
        Settle::Failed => Outcome::Failed { reason },
        Settle::Retry => Outcome::Retrying { reason },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settle(state: &State, meanwhile: Meanwhile) -> Result<Outcome, String> {
        settlement(state, Settle::Succeeded, "ann", "build 7\nran", meanwhile)
    }

    #[test]
    fn what_is_held_can_always_be_settled_and_who_and_why_are_kept() {
        let held = State::Finished { how: Terminal::Held, reason: String::new(), attempts: 1 };
        for meanwhile in [Meanwhile::Nobody, Meanwhile::TheService] {
            let detail = "settled by ann: build 7 ran".to_owned();
            assert_eq!(settle(&held, meanwhile), Ok(Outcome::Succeeded { detail }));
        }
        assert!(settlement(&held, Settle::Retry, " ", "x", Meanwhile::Nobody).is_err());
    }

    #[test]
    fn what_may_be_running_is_left_to_the_service_that_runs() {
        let running = State::Attempting { attempt: 1 };
        assert!(settle(&running, Meanwhile::Nobody).is_ok());
        assert!(settle(&running, Meanwhile::TheService).is_err_and(|why| why.contains("the running service is on it")));
    }

    #[test]
    fn what_waits_for_nobody_is_refused() {
        let done = State::Finished { how: Terminal::Succeeded, reason: String::new(), attempts: 1 };
        for state in [State::Absent, State::Intended { attempts: 0 }, done] {
            assert!(settle(&state, Meanwhile::Nobody).is_err(), "{state:?}");
        }
    }
}
