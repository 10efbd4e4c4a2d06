//! Attempts of unknown fate: reconciled with the target, repeated or held, as their action says.

use kafka_proto::backoff::Backoff;

use crate::action::{Network, OnUnknown, Reconciled, Task};
use crate::ledger::{Entry, Outcome, Started, State, Terminal};
use crate::pipeline::feed::Right;
use crate::pipeline::guard::{Interrupt, pass, pause, unless_stopped};
use crate::pipeline::run::{Run, random};
use crate::plan::{Plan, Step};

impl<R: Right> Run<'_, R> {
    /// A stale snapshot begins nothing, but an attempt that a former process left on the network is still on it: its fate
    /// is settled before the offset counts as done. What was only intended is left to the later snapshot.
    pub(crate) async fn settle_what_was_begun(&self, plan: &Plan, network: &Network) -> Result<(), Interrupt> {
        for (step, state) in plan.steps.iter().zip(self.states(plan).await?) {
            if state.is_begun() {
                let state = self.hold(&step.key).await?;
                self.settle_begun(step, &state, network).await?;
            }
        }
        Ok(())
    }

    /// Settles an attempt of unknown fate. `None`: there was none, or it was not done.
    pub(crate) async fn settle_begun(
        &self,
        step: &Step,
        state: &State,
        network: &Network,
    ) -> Result<Option<Terminal>, Interrupt> {
        match state {
            State::Attempting { attempt } => {
                if self.domain.ledger.is_shared() {
                    // The replica that sent it may have been cut off from the ledger only: its request may be on the way still.
                    pause(step.definition.policy.timeout, &self.job.stop).await?;
                }
                let reason = format!("the process ended during attempt {attempt}");
                self.append(step, Entry::Outcome(Outcome::Unknown { reason: reason.clone() })).await?;
                self.settle(step, *attempt, &reason, network).await
            }
            State::Unknown { attempt } => self.settle(step, *attempt, "its outcome was not known", network).await,
            State::Started { id, .. } => {
                let passed = self.occupied(step).await;
                self.watch(step, id, None, network, passed).await.map(Some)
            }
            State::Absent | State::Shadowed { .. } | State::Intended { .. } | State::Finished { .. } => Ok(None),
        }
    }

    /// Decides about an attempt of unknown fate: `None` means that another attempt may follow.
    pub(crate) async fn settle(
        &self,
        step: &Step,
        attempt: u32,
        why: &str,
        network: &Network,
    ) -> Result<Option<Terminal>, Interrupt> {
        tracing::warn!(episode = %step.episode, attempt, reason = why, "it is not known whether the attempt was done");
        match step.definition.policy.on_unknown {
            OnUnknown::Retry => {
                let reason = "unknown, and repeated because on_unknown says retry".to_owned();
                self.append(step, Entry::Outcome(Outcome::Retrying { reason })).await?;
                Ok(None)
            }
            OnUnknown::Hold => {
                let reason = format!("attempt {attempt} may have been done ({why}), and on_unknown says hold");
                self.end(step, Outcome::Held { reason }, Terminal::Held).await.map(Some)
            }
            OnUnknown::Reconcile => self.reconcile(step, attempt, network).await,
        }
    }

    async fn reconcile(&self, step: &Step, attempt: u32, network: &Network) -> Result<Option<Terminal>, Interrupt> {
        let policy = &step.definition.policy;
        let mut backoff = Backoff::new(policy.retries.backoff, policy.retries.max_backoff);
        let context = step.context(attempt);
        let task = Task { context: &context, episode: &step.episode, timeout: policy.timeout };
        let mut last = String::new();
        for _ in 0..policy.retries.attempts {
            self.wait_parked(step, self.until_turn(step)).await?;
            pass(self.domain, &self.job.right, &self.job.stop).await?;
            match unless_stopped(&self.job.stop, step.definition.action.reconcile(task, network)).await? {
                Reconciled::Done { detail } => {
                    let detail = format!("attempt {attempt} was done: {detail}");
                    return self.end(step, Outcome::Succeeded { detail }, Terminal::Succeeded).await.map(Some);
                }
                Reconciled::Started { id } => {
                    self.append(step, Entry::Started(Started { id: id.clone() })).await?;
                    let passed = self.occupied(step).await;
                    return self.watch(step, &id, None, network, passed).await.map(Some);
                }
                Reconciled::NotDone { detail } => {
                    let reason = format!("attempt {attempt} was not done: {detail}");
                    self.append(step, Entry::Outcome(Outcome::Retrying { reason })).await?;
                    return Ok(None);
                }
                Reconciled::CannotTell { reason } => last = reason,
            }
            pause(backoff.next(random()), &self.job.stop).await?;
        }
        let reason = format!("attempt {attempt} may have been done, and the target cannot say: {last}");
        self.end(step, Outcome::Held { reason }, Terminal::Held).await.map(Some)
    }
}
