//! Attempts of one step, until one ends it or the policy's are spent.

use std::time::Duration;

use futures::FutureExt as _;
use kafka_proto::backoff::Backoff;
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::action::{Network, Report, Retries, Task};
use crate::guard::Refusal;
use crate::ledger::{Attempt, Entry, Outcome, Started, Terminal};
use crate::pipeline::feed::Right;
use crate::pipeline::guard::{Interrupt, ours, pause, unless_stopped};
use crate::pipeline::guards::{Pass, Turn};
use crate::pipeline::observe::Occurrence;
use crate::pipeline::run::{Run, random};
use crate::pipeline::trace;
use crate::plan::Step;

/// What one attempt leaves to be done.
enum After {
    /// The step has ended.
    Ended(Terminal),
    /// Another attempt may follow.
    Again { reason: String },
}

impl<R: Right> Run<'_, R> {
    /// Attempts until one ends it or the policy's are spent. Attempts of earlier processes are numbered on, not counted.
    pub(crate) async fn attempts(&self, step: &Step, began: u32, network: &Network) -> Result<Terminal, Interrupt> {
        let Retries { attempts: most, backoff, max_backoff } = step.definition.policy.retries;
        let mut backoff = Backoff::new(backoff, max_backoff);
        for tried in 1..=most {
            let number = began.saturating_add(tried);
            let (report, passed) = match self.attempt(step, number, network).await? {
                Ok(made) => made,
                Err(refusal) => return self.refused(step, refusal).await,
            };
            let reason = match self.after(step, (number, tried), report, passed, network).await? {
                After::Ended(how) => return Ok(how),
                After::Again { reason } => reason,
            };
            if tried < most {
                let wait = backoff.next(random());
                tracing::warn!(episode = %step.episode, attempt = number, reason, ?wait, "attempt to be repeated");
                pause(wait, &self.job.stop).await?;
            }
        }
        let reason = format!("gave up after {most} attempts, the last of which was not done");
        self.end(step, Outcome::Failed { reason }, Terminal::Failed).await
    }

    /// What follows from the report on an attempt, given with its number and how many this process has made.
    async fn after(
        &self,
        step: &Step,
        (number, tried): (u32, u32),
        report: Report,
        passed: Pass,
        network: &Network,
    ) -> Result<After, Interrupt> {
        let ended = match report {
            Report::Succeeded { detail } => self.end(step, Outcome::Succeeded { detail }, Terminal::Succeeded).await?,
            Report::Failed { reason } => self.end(step, Outcome::Failed { reason }, Terminal::Failed).await?,
            Report::Found { reason } => self.end(step, Outcome::Found { reason }, Terminal::Found).await?,
            Report::Started { id } => {
                self.append(step, Entry::Started(Started { id: id.clone() })).await?;
                self.watch(step, &id, Some((self.domain.now_ms)()), network, passed).await?
            }
            // What the service asks for has been heard: its next turn comes after that.
            Report::Retryable { reason, after: _ } if tried < step.definition.policy.retries.attempts => {
                self.append(step, Entry::Outcome(Outcome::Retrying { reason: reason.clone() })).await?;
                return Ok(After::Again { reason });
            }
            Report::Retryable { reason, .. } => {
                let reason = format!("gave up after {tried} attempts: {reason}");
                self.end(step, Outcome::Failed { reason }, Terminal::Failed).await?
            }
            Report::Unknown { reason } => {
                drop(passed);
                self.append(step, Entry::Outcome(Outcome::Unknown { reason: reason.clone() })).await?;
                match self.settle(step, number, &reason, network).await? {
                    Some(how) => how,
                    None => return Ok(After::Again { reason }),
                }
            }
        };
        Ok(After::Ended(ended))
    }

    /// One attempt: guards, ATTEMPT, guard, network.
    async fn attempt(
        &self,
        step: &Step,
        number: u32,
        network: &Network,
    ) -> Result<Result<(Report, Pass), Refusal>, Interrupt> {
        let (job, action) = (self.job, &step.definition.action);
        let (mut passed, _turn) = match self.turn(step, network).await? {
            Turn::Go(passed, permit) => (passed, permit),
            Turn::Refused(refusal) => return Ok(Err(refusal)),
        };
        let right = unless_stopped(&job.stop, self.domain.ledger.turn()).await?;
        let record = self.record_of(&step.key, Entry::Attempt(Attempt { number }));
        self.append_all(vec![record], passed.take_notes()).await?;
        // The disk may have kept us waiting for longer than the session lasts.
        if let Err(gone) = ours(&job.right, &job.stop) {
            let reason = "not begun: the partition was taken while the attempt was recorded".to_owned();
            self.append(step, Entry::Outcome(Outcome::Retrying { reason })).await?;
            return Err(gone);
        }
        // Last: from here to the first byte of the request there is nothing to wait for.
        if !self.domain.ledger.holds(right) {
            let reason = "not begun: the lease on the ledger ran out while the attempt was recorded".to_owned();
            self.append(step, Entry::Outcome(Outcome::Retrying { reason: reason.clone() })).await?;
            return Err(Interrupt::Again(reason));
        }
        let context = step.context(number);
        let task = Task { context: &context, episode: &step.episode, timeout: step.definition.policy.timeout };
        let began = Instant::now();
        let span = trace::attempt(step, number);
        let attempt = std::panic::AssertUnwindSafe(action.execute(task, network)).catch_unwind();
        let report = attempt.instrument(span.clone()).await;
        let report =
            report.unwrap_or_else(|_| Report::Unknown { reason: "the action panicked; see the log above".to_owned() });
        let report = self.heard(step, report);
        self.tell(step, number, &report, began.elapsed());
        let works = match report {
            Report::Succeeded { .. } | Report::Failed { .. } | Report::Found { .. } | Report::Started { .. } => true,
            Report::Retryable { .. } | Report::Unknown { .. } => false,
        };
        trace::reported(&span, &report);
        drop(span);
        let notes = passed.report(works, (self.domain.now_ms)());
        if !notes.is_empty() {
            self.append_all(Vec::new(), notes).await?;
        }
        Ok(Ok((report, passed)))
    }

    /// A service that asks to be left alone (`Retry-After`) is left alone by everybody, and the reason says so.
    fn heard(&self, step: &Step, report: Report) -> Report {
        let Report::Retryable { reason, after: Some(length) } = report else { return report };
        if length.is_zero() {
            return Report::Retryable { reason, after: None };
        }
        let service = step.service();
        let left_alone = self.shared.guards.leave_alone(&service, length);
        tracing::warn!(service, ?left_alone, asked = ?length, "the service asks to be left alone");
        Report::Retryable {
            reason: format!("{reason}; {service} is left alone for {left_alone:?}"),
            after: Some(length),
        }
    }

    fn tell(&self, step: &Step, attempt: u32, report: &Report, took: Duration) {
        let (name, text) = (report.name(), report.text());
        tracing::info!(episode = %step.episode, attempt, report = name, detail = text, ?took, "attempt ended");
        let action_type = step.definition.type_name;
        self.domain.observer.observe(&Occurrence::Attempted { key: &step.key, action_type, report: name, took });
    }
}
