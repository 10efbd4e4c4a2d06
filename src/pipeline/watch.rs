//! Something long that an attempt has started: asked for by its id until it ends.
//!
//! Promised: it holds no action slot and, while nothing else of its incident runs, no incident slot; the targets that it acts
//! upon stay counted; when the partition goes it is left as it is, and whoever reads the record next asks on by the id in
//! the ledger. It is never started again.

use std::time::Duration;

use crate::action::{Network, Progress, Task, Watch};
use crate::ledger::{Entry, LedgerError, Outcome, Terminal};
use crate::pipeline::feed::Right;
use crate::pipeline::guard::{Interrupt, ours, pause, unless_stopped};
use crate::pipeline::guards::Pass;
use crate::pipeline::observe::Occurrence;
use crate::pipeline::run::{ASKS_AGAIN_AFTER, Run, random};
use crate::plan::Step;

/// So that jobs which were started together are not asked for together: up to a tenth longer.
const JITTER: u32 = 10;

impl<R: Right> Run<'_, R> {
    /// Asks until it ends. `since_ms` is when it was started, `None` to look it up; `passed` is what it counts against.
    pub(crate) async fn watch(
        &self,
        step: &Step,
        id: &str,
        since_ms: Option<i64>,
        network: &Network,
        passed: Pass,
    ) -> Result<Terminal, Interrupt> {
        let Some(watch) = step.definition.action.watch() else {
            let reason = format!("{id} was started, and the action as it is configured now does not ask for it");
            return self.end(step, Outcome::Held { reason }, Terminal::Held).await;
        };
        let resumed = since_ms.is_none();
        let since_ms = match since_ms {
            Some(since_ms) => since_ms,
            None => self.started_at(step).await?,
        };
        tracing::info!(episode = %step.episode, id, resumed, interval = ?watch.interval, "it runs at its target");
        let (outcome, how) = self.asked_to_the_end(step, id, (watch, since_ms, resumed), network).await?;
        drop(passed);
        if !step.is_verification() {
            let took = u64::try_from((self.domain.now_ms)().saturating_sub(since_ms)).unwrap_or_default();
            let (action_type, took) = (step.definition.type_name, Duration::from_millis(took));
            self.domain.observer.observe(&Occurrence::JobEnded { key: &step.key, action_type, how, took });
        }
        self.end(step, outcome, how).await
    }

    async fn asked_to_the_end(
        &self,
        step: &Step,
        id: &str,
        (watch, since_ms, resumed): (Watch, i64, bool),
        network: &Network,
    ) -> Result<(Outcome, Terminal), Interrupt> {
        let _parked = self.busy.wait();
        let action = &step.definition.action;
        let context = step.context(1);
        let task = Task { context: &context, episode: &step.episode, timeout: step.definition.policy.timeout };
        let wait_for = || self.shared.cleared.wait(context.incident(), context.alert_id());
        let mut waiting = step.is_verification().then(wait_for);
        let mut wait = if resumed { Duration::ZERO } else { spread(watch.interval) };
        loop {
            let rest = wait.min(left(watch.timeout, since_ms, (self.domain.now_ms)()));
            if let Some(waiting) = &mut waiting {
                tokio::select! {
                    biased;
                    () = waiting.over() => {
                        let detail = "a later snapshot says that it is over".to_owned();
                        return Ok((Outcome::Succeeded { detail }, Terminal::Succeeded));
                    }
                    paused = pause(rest, &self.job.stop) => paused?,
                }
            } else {
                pause(rest, &self.job.stop).await?;
            }
            ours(&self.job.right, &self.job.stop)?;
            self.wait_for_turn(step, self.until_turn(step)).await?;
            unless_stopped(&self.job.stop, action.admitted(network)).await?;
            let progress = unless_stopped(&self.job.stop, action.poll(task, id, network)).await?;
            let late = left(watch.timeout, since_ms, (self.domain.now_ms)()).is_zero();
            match progress {
                Progress::Succeeded { detail } => return Ok((Outcome::Succeeded { detail }, Terminal::Succeeded)),
                Progress::Failed { reason } => return Ok((Outcome::Failed { reason }, Terminal::Failed)),
                Progress::Running { detail } if late => {
                    let reason = format!("{id} did not end within {:?}: {detail}", watch.timeout);
                    return Ok((Outcome::Failed { reason }, Terminal::Failed));
                }
                Progress::CannotTell { reason } if late => {
                    let reason = format!("{id} was started, and its target cannot say what became of it: {reason}");
                    return Ok((Outcome::Held { reason }, Terminal::Held));
                }
                Progress::Running { detail } => tracing::debug!(episode = %step.episode, id, detail, "goes on"),
                Progress::CannotTell { reason } => {
                    tracing::warn!(episode = %step.episode, id, reason, "cannot be asked for just now");
                }
            }
            wait = spread(watch.interval);
        }
    }

    /// When the ledger says that it was started.
    async fn started_at(&self, step: &Step) -> Result<i64, Interrupt> {
        loop {
            match self.domain.ledger.entries(step.key.clone()).await {
                Ok(entries) => {
                    let started = entries.iter().rev().find(|record| matches!(record.entry, Entry::Started(_)));
                    return Ok(started.map_or_else(|| (self.domain.now_ms)(), |record| record.at_ms));
                }
                Err(LedgerError::Unreadable { .. }) => pause(ASKS_AGAIN_AFTER, &self.job.stop).await?,
                Err(error) => return Err(Interrupt::Broken(error.to_string())),
            }
        }
    }
}

fn left(timeout: Duration, since_ms: i64, now_ms: i64) -> Duration {
    let gone = u64::try_from(now_ms.saturating_sub(since_ms)).unwrap_or_default();
    timeout.saturating_sub(Duration::from_millis(gone))
}

fn spread(interval: Duration) -> Duration {
    let most = interval / JITTER;
    let nanos = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX);
    interval.saturating_add(Duration::from_nanos(random().checked_rem(nanos).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_counts_from_the_start_whatever_happened_since() {
        let timeout = Duration::from_secs(10);
        assert_eq!(left(timeout, 1_000, 4_000), Duration::from_secs(7));
        assert_eq!(left(timeout, 1_000, 99_000), Duration::ZERO);
        assert_eq!(left(timeout, 4_000, 1_000), timeout, "a clock that went back costs patience only");
    }

    #[test]
    fn a_pause_is_at_most_a_tenth_longer() {
        for _ in 0..100 {
            let wait = spread(Duration::from_secs(10));
            assert!((10..=11).contains(&wait.as_secs()), "{wait:?}");
        }
    }
}
