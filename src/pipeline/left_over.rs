//! Settling episodes whose record does not lead to them any more.
//!
//! What may have been done is reconciled or held, as its action says; what was only intended is skipped. Nothing is begun.

use std::sync::Arc;

use crate::action::Network;
use crate::condition::Match;
use crate::incident::Incident;
use crate::ledger::{Entry, LedgerError, Outcome, State, Summary, Terminal};
use crate::pipeline::feed::Right;
use crate::pipeline::guard::{Interrupt, pause};
use crate::pipeline::run::{ASKS_AGAIN_AFTER, Run};
use crate::plan::{Plan, Step};

const NO_MATCH: &str = "the incident does not match the condition any more";

impl<R: Right> Run<'_, R> {
    /// Settles what is open of the incident, but for the episodes of one condition, which its own flow takes care of.
    pub(crate) async fn settle_left_over(
        &self,
        incident: &Incident<'static>,
        but_for: Option<&str>,
    ) -> Result<(), Interrupt> {
        for episode in self.open_episodes().await? {
            if but_for.is_some_and(|condition| condition == episode.key.condition) {
                continue;
            }
            let state = self.hold(&episode.key).await?;
            if state.is_terminal() {
                continue;
            }
            let episode = Summary { state, ..episode };
            match self.planned(incident, &episode) {
                Some((step, network)) => self.close(&step, &episode.state, network).await?,
                None => self.abandon(&episode).await?,
            }
        }
        if but_for.is_none() {
            self.shared.left.remove(&self.job.incident);
        }
        Ok(())
    }

    async fn open_episodes(&self) -> Result<Vec<Summary>, Interrupt> {
        loop {
            match self.domain.ledger.unfinished_of(self.job.incident.to_string()).await {
                Ok(episodes) => return Ok(episodes),
                Err(LedgerError::Unreadable { .. }) => pause(ASKS_AGAIN_AFTER, &self.job.stop).await?,
                Err(error) => return Err(Interrupt::Broken(error.to_string())),
            }
        }
    }

    /// The step of an episode, as the rules have it now.
    fn planned(&self, incident: &Incident<'static>, episode: &Summary) -> Option<(Step, &Network)> {
        let rules = self.domain.rulebook.now();
        let condition = rules.conditions.iter().find(|condition| condition.name == episode.key.condition)?;
        let network = self.domain.way_out(condition)?;
        let supported_alerts = (0..incident.alerts.len()).collect();
        let matched = Match { condition: Arc::clone(condition), index: 0, supported_alerts };
        let plan = Plan::new(incident.clone(), &matched, &rules.definitions);
        let step = plan.steps.into_iter().find(|step| step.key == episode.key)?;
        Some((step, network))
    }

    async fn close(&self, step: &Step, state: &State, network: &Network) -> Result<(), Interrupt> {
        if self.settle_begun(step, state, network).await?.is_none() {
            self.end(step, Outcome::Skipped { reason: NO_MATCH.to_owned() }, Terminal::Skipped).await?;
        }
        Ok(())
    }

    /// The rules have no such step any more, so nobody can be asked.
    async fn abandon(&self, episode: &Summary) -> Result<(), Interrupt> {
        let outcome = match &episode.state {
            State::Attempting { attempt } | State::Unknown { attempt } => Outcome::Held {
                reason: format!("attempt {attempt} may have been done, and the rules do not have its action any more"),
            },
            State::Started { id, .. } => Outcome::Held {
                reason: format!("{id} was started at its target, and the rules do not have its action any more"),
            },
            State::Absent | State::Shadowed { .. } | State::Intended { .. } | State::Finished { .. } => {
                Outcome::Skipped { reason: "the rules do not have its action any more".to_owned() }
            }
        };
        tracing::warn!(episode = %episode.key, outcome = outcome.name(), reason = outcome.reason(), "episode ended");
        self.append_to(&episode.key, Entry::Outcome(outcome)).await
    }
}
