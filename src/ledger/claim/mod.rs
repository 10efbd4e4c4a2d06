//! Who may act, when several replicas could: decided by the order of the ledger topic, and by nothing else.
//!
//! Every line about an episode says on how many accepted lines it builds. [`Standing::apply`] accepts it only if that is
//! where the episode stands, so of two lines that race the first in the log wins, everywhere; the other is passed over
//! by every replica alike. Promised: accepting needs no clock, so whoever reads the whole log, a compacted log or
//! follows it live comes to the same. A writer reads its own line back before it goes by it. Clocks decide only *when* a
//! replica asks for what another holds ([`Lives`]) and when it must not start anything any more ([`Lease`]); a wrong
//! guess costs a lost race, not a second start.
//!
//! | holder | line of S | accepted | holder then |
//! |---|---|---|---|
//! | nobody, S | an entry that [`fold`] admits | yes | S; nobody at an end and after it |
//! | another | an entry | no | |
//! | anybody | CLAIM, while the episode has not ended | yes | S |
//! | S | RELEASE | yes | nobody |
//!
//! Absent: reading and writing the topic (the `pipeline` has the client), and what to do with an episode once it is held.

mod lease;
mod lives;
#[cfg(test)]
mod model;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use crate::ledger::claim::lease::Turn;
pub(crate) use crate::ledger::claim::{lease::Lease, lives::Lives};
use crate::ledger::entry::Entry;
use crate::ledger::fold::{State, fold};

/// One run of one replica. A process that starts again is another session.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Session(Arc<str>);

impl Session {
    /// The session of this name, which no other process may have.
    pub(crate) fn new(name: &str) -> Self {
        Self(Arc::from(name))
    }
}

impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a line says.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Said {
    /// From here on it is mine: its holder let it go, or has not been heard of for a lease.
    Claim,
    /// I do nothing more about it.
    Release,
    /// The story goes on.
    Entry(Entry),
}

/// A line about an episode, as far as accepting it goes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Line {
    /// Who wrote it.
    pub(crate) by: Session,
    /// How many accepted lines the writer had seen.
    pub(crate) after: u64,
    /// What it says.
    pub(crate) said: Said,
}

/// Where an episode stands after some prefix of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Standing {
    /// What its entries add up to.
    pub(crate) state: State,
    /// How many lines were accepted.
    pub(crate) lines: u64,
    /// Who may write the next entry; nobody: everybody, and the first is the holder.
    pub(crate) holder: Option<Session>,
}

/// The line lost its race, or does not follow from what was accepted. It changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The episode had moved on.
    Late,
    /// Another session holds it.
    Held,
    /// It does not follow: the writer is at fault.
    Contradiction(crate::ledger::fold::Contradiction),
}

impl Standing {
    /// Takes the next line of the log, or passes it over.
    pub(crate) fn apply(&self, line: &Line) -> Result<Self, Refused> {
        if line.after != self.lines {
            return Err(Refused::Late);
        }
        let ours = self.holder.as_ref().is_none_or(|holder| *holder == line.by);
        let (state, holder) = match &line.said {
            Said::Claim if self.ended() => return Err(Refused::Late),
            Said::Claim => (self.state.clone(), Some(line.by.clone())),
            Said::Release | Said::Entry(_) if !ours => return Err(Refused::Held),
            Said::Release => (self.state.clone(), None),
            Said::Entry(entry) => {
                let state = fold(&self.state, entry).map_err(Refused::Contradiction)?;
                // What a person says of something held leaves it to whoever reads its record next.
                let goes_on = !state.is_terminal() && !self.ended();
                (state, goes_on.then(|| line.by.clone()))
            }
        };
        Ok(Self { state, lines: self.lines.saturating_add(1), holder })
    }

    /// Nothing more is done by itself. What only shadow mode has met may still be done in earnest.
    fn ended(&self) -> bool {
        self.state.terminal().is_some()
    }

    /// What `session` has to do before it may write the next entry.
    pub(crate) fn course(&self, session: &Session, lives: &Lives) -> Course {
        match &self.holder {
            _ if self.ended() => Course::Ended,
            Some(holder) if holder == session => Course::Write,
            // The first entry of an episode claims it: one line less for each.
            None if self.state.is_new() => Course::Write,
            None => Course::Claim,
            Some(holder) if lives.lapsed(holder) => Course::Claim,
            Some(_) => Course::Wait,
        }
    }
}

/// The way to an episode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Course {
    /// There is nothing to be done.
    Ended,
    /// Write.
    Write,
    /// Claim it first.
    Claim,
    /// Another replica is at it.
    Wait,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::entry::{Attempt, Intent, Origin, Outcome};

    fn session(name: &str) -> Session {
        Session::new(name)
    }

    fn intent() -> Said {
        let origin = Origin { topic: String::new(), partition: 0, offset: 0, generation: 0 };
        Said::Entry(Entry::Intent(Intent {
            action_type: String::new(),
            request: String::new(),
            origin,
            by: String::new(),
            because: Vec::new(),
        }))
    }

    fn attempt(number: u32) -> Said {
        Said::Entry(Entry::Attempt(Attempt { number }))
    }

    fn succeeded() -> Said {
        Said::Entry(Entry::Outcome(Outcome::Succeeded { detail: String::new() }))
    }

    fn line(by: &str, after: u64, said: Said) -> Line {
        Line { by: session(by), after, said }
    }

    fn after(lines: &[Line]) -> Standing {
        lines.iter().fold(Standing::default(), |standing, line| standing.apply(line).unwrap_or(standing))
    }

    #[test]
    fn the_first_intent_in_the_log_wins_and_the_other_changes_nothing() {
        let won = after(&[line("a", 0, intent())]);
        assert_eq!(won.apply(&line("b", 0, intent())), Err(Refused::Late));
        assert_eq!(won.apply(&line("b", 1, attempt(1))), Err(Refused::Held));
        assert_eq!(won.holder, Some(session("a")));
    }

    #[test]
    fn a_claim_fences_whoever_held_it_before() {
        let taken = after(&[line("a", 0, intent()), line("a", 1, attempt(1)), line("b", 2, Said::Claim)]);
        assert_eq!((taken.state.attempts(), &taken.holder), (1, &Some(session("b"))));
        assert_eq!(taken.apply(&line("a", 2, succeeded())), Err(Refused::Late));
        assert_eq!(taken.apply(&line("a", 3, succeeded())), Err(Refused::Held));
        assert!(taken.apply(&line("b", 3, succeeded())).is_ok());
    }

    #[test]
    fn a_claim_that_its_holder_has_overtaken_is_lost() {
        let begun = after(&[line("a", 0, intent()), line("a", 1, attempt(1))]);
        assert_eq!(begun.apply(&line("b", 1, Said::Claim)), Err(Refused::Late));
    }

    #[test]
    fn what_has_ended_cannot_be_claimed() {
        let ended = after(&[line("a", 0, intent()), line("a", 1, attempt(1)), line("a", 2, succeeded())]);
        assert_eq!(ended.holder, None);
        assert_eq!(ended.apply(&line("b", 3, Said::Claim)), Err(Refused::Late));
    }

    #[test]
    fn a_line_that_was_sent_twice_counts_once() {
        let once = after(&[line("a", 0, intent())]);
        assert_eq!(after(&[line("a", 0, intent()), line("a", 0, intent())]), once);
    }

    #[test]
    fn what_was_let_go_is_claimed_at_once() {
        let free = after(&[line("a", 0, intent()), line("a", 1, Said::Release)]);
        assert_eq!(free.course(&session("b"), &Lives::default()), Course::Claim);
        assert_eq!(free.apply(&line("a", 1, Said::Release)), Err(Refused::Late));
    }
}
