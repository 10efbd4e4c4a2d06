//! Where Kafka and incidents meet: from a record to a committed offset.
//!
//! One task polls the source and keeps the books; it never waits for anything else. Batches are decided on tasks of
//! their own, matched records run as jobs, one at a time per incident ([`order`]), and an offset is committed when
//! everything below it is dealt with. Promised: the source is polled however much work waits (then the partitions are
//! paused); nothing begins after a partition is taken; what has not begun then is left, without an outcome, to whoever
//! reads the record next; what has begun ends and is recorded. Absent: judgement about incidents, and retries of its own.

mod attempt;
mod busy;
mod cleared;
mod decide;
mod deciders;
mod desk;
mod domain;
mod feed;
mod guard;
mod guards;
pub mod imported;
mod kafka;
mod ledger_topic;
mod left;
mod left_over;
mod letters;
mod lookback;
mod newest;
mod observe;
mod order;
mod partition;
mod pressure;
mod rulebook;
mod run;
mod settle;
mod shadow;
mod shown;
mod trace;
mod watch;
mod work;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::ledger::Health;
pub use crate::pipeline::desk::{Desk, guard_books, reset_at_rest};
pub use crate::pipeline::domain::{Domain, Executor, Limits, wall_clock_ms};
pub use crate::pipeline::feed::{Batch, Commit, CommitFailed, Control, Feed, NotOurs, Right, Source, SourceError};
use crate::pipeline::guards::Guards;
use crate::pipeline::imported::Imported;
pub use crate::pipeline::kafka::KafkaSource;
pub use crate::pipeline::ledger_topic::{KafkaTail, KafkaTopic};
pub use crate::pipeline::left::Left;
pub use crate::pipeline::letters::{LetterTopic, Letters};
use crate::pipeline::lookback::Lookback;
use crate::pipeline::observe::Halt;
pub use crate::pipeline::observe::{IncidentEnd, Observer, Occurrence, Status};
pub use crate::pipeline::rulebook::{Edition, Rulebook};
pub use crate::pipeline::shown::Budget;
pub use crate::pipeline::trace::Adopt;
use crate::pipeline::work::{Remembered, Work};

/// How often terminal entries that are old enough are forgotten.
const FORGETS_EVERY: Duration = Duration::from_hours(1);
/// How long the last commit of a drain may take.
const LAST_COMMIT: Duration = Duration::from_secs(10);

/// Why the pipeline ended before it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The consumer cannot go on.
    #[error("{0}")]
    Source(#[from] SourceError),
    /// The ledger cannot be trusted, or something that cannot happen has happened. Nothing was lost: what is not done is
    /// not committed.
    #[error("{0}")]
    Broken(String),
}

/// How a pipeline that was asked to end came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Incidents that were still running when the time was up. Their attempts are unknown to the ledger.
    pub cut_off: usize,
    /// Whether every finished offset was committed.
    pub committed: bool,
}

/// Runs until `stop` is cancelled, then drains: running attempts end within `Limits::drain`, finished offsets are committed. The
/// source is left open, so that the caller can leave the group.
pub async fn run<S: Source>(
    source: &mut S,
    domain: Arc<Domain>,
    stop: CancellationToken,
) -> Result<Drained, PipelineError> {
    let left = unfinished(&domain).await?;
    let guards = Guards::load(&domain).await?;
    domain.desk.open(&guards);
    let imported = Imported::load(&domain).await?;
    let lookback = Lookback::load(&domain).await?;
    let limits = domain.limits;
    let mut health = domain.ledger.health();
    let mut work: Work<S> =
        Work::new(source.control(), Arc::clone(&domain), Remembered { left, guards, imported, lookback });
    let mut commits = interval(limits.commit_interval.max(Duration::from_millis(10)));
    commits.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut forgets = interval(FORGETS_EVERY);
    loop {
        let revocation_due = work.revocation_due();
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            changed = health.changed() => {
                let now = health.borrow_and_update().clone();
                ledger_health(&domain, changed.is_ok(), &now)?;
            }
            news = work.news() => work.hear(news)?,
            () = due(revocation_due) => work.finish_revocations(),
            _ = commits.tick() => {
                work.commit();
                work.show_guards();
            }
            _ = forgets.tick() => forget(&domain),
            // Last: a source that always has something must not keep commits from being sent.
            feed = source.next() => work.take(feed?),
        }
        work.go_on();
    }
    drain(source, work, limits.drain).await
}

/// Ends what runs, commits what is finished.
async fn drain<S: Source>(source: &mut S, mut work: Work<S>, within: Duration) -> Result<Drained, PipelineError> {
    let deadline = Instant::now() + within;
    work.call_off();
    tracing::info!(running = work.running(), ?within, "draining: nothing new starts, running incidents end");
    while work.running() > 0 {
        let revocation_due = work.revocation_due();
        tokio::select! {
            biased;
            () = tokio::time::sleep_until(deadline) => break,
            news = work.news() => work.hear(news)?,
            () = due(revocation_due) => work.finish_revocations(),
            // The group may still rebalance; records are not taken any more.
            feed = source.next() => match feed? {
                Feed::Records(_) => {}
                other => work.take(other),
            },
        }
    }
    let cut_off = work.running();
    let committed = tokio::time::timeout(LAST_COMMIT, work.last_commit()).await.unwrap_or(false);
    Ok(Drained { cut_off, committed })
}

async fn due(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// What an earlier process left: told once, dealt with when a record of its incident is read.
async fn unfinished(domain: &Domain) -> Result<Left, PipelineError> {
    let left = domain.left.clone();
    let unfinished = domain.ledger.unfinished().await.map_err(|error| PipelineError::Broken(error.to_string()))?;
    for episode in &unfinished {
        tracing::warn!(
            episode = %episode.key, state = episode.state.name(), attempts = episode.state.attempts(),
            "left unfinished by an earlier process; dealt with when a record of its incident is read"
        );
        left.add(Arc::from(episode.key.incident.as_str()));
    }
    Ok(left)
}

fn ledger_health(domain: &Domain, writer_lives: bool, health: &Health) -> Result<(), PipelineError> {
    match health {
        Health::Broken { reason } => return Err(PipelineError::Broken(reason.clone())),
        Health::Stalled { reason } => domain.status.halt(Halt::Ledger, Some(reason.clone())),
        Health::Writable => domain.status.halt(Halt::Ledger, None),
    };
    if writer_lives {
        Ok(())
    } else {
        Err(PipelineError::Broken("the ledger's writer has ended; see the log above".to_owned()))
    }
}

fn forget(domain: &Arc<Domain>) {
    let domain = Arc::clone(domain);
    let ttl_ms = i64::try_from(domain.limits.ledger_ttl.as_millis()).unwrap_or(i64::MAX);
    let before = (domain.now_ms)().saturating_sub(ttl_ms);
    tokio::spawn(async move {
        match domain.ledger.expire(before).await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "old episodes were forgotten"),
            Err(error) => tracing::warn!(%error, "old episodes could not be forgotten"),
        }
    });
}
