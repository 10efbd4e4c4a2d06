//! The life of the consumer: build, events, reports, commits, end.
//!
//! Promised: a signal ends it within ten seconds whatever the brokers do; `partitions_revoked` is printed before the
//! rebalance goes on, for lost partitions too; after anything that ends the consumer comes `shutdown_complete`.
//! Without `--enable-autocommit` each report is committed before the next one. With it, what was reported is committed
//! every `auto.commit.interval.ms`, when partitions are revoked, and at the end; as in Apache's tool these commits are
//! no events.

use std::collections::BTreeSet;
use std::future::Future;
use std::io;
use std::time::Duration;

use futures::FutureExt as _;
use kafka_consumer::client::{
    BuildError, Commit, CommitError, CommitReport, Consumer, ConsumerHandle, Event as Happened, FatalError,
    PropertiesError, TopicPartition,
};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::events::{Committed, Event, Partition, print};
use crate::options::Options;
use crate::slices::{Report, Waiting};

/// `max.poll.records` unless said.
const MAX_POLL_RECORDS: usize = 500;
/// `auto.commit.interval.ms` unless said.
const AUTO_COMMIT_INTERVAL: Duration = Duration::from_secs(5);
/// How long commits may still take once the end was asked for; closing then has as much again.
const LAST_COMMITS: Duration = Duration::from_secs(4);

/// Why the consumer did not end in peace.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{0}")]
    Settings(#[from] PropertiesError),
    #[error("{0}")]
    Build(#[from] BuildError),
    #[error("the consumer cannot go on: {0}")]
    Fatal(#[from] FatalError),
    #[error("standard output or signals: {0}")]
    Io(#[from] io::Error),
}

/// Runs a consumer to its end.
pub(crate) async fn run(options: Options) -> Result<(), Failure> {
    tracing_subscriber::fmt().with_writer(io::stderr).with_ansi(false).with_max_level(tracing::Level::INFO).init();
    let mut tool = Tool::new(options, stop_on_signals()?)?;
    print(&Event::StartupComplete)?;
    let ended = tool.work().await;
    tool.end(ended.is_ok()).await?;
    // Apache's tool logs why its work ended, says `shutdown_complete` and ends with 0; harnesses rely on it.
    if let Err(error) = ended {
        eprintln!("verifiable_consumer: {error}");
    }
    Ok(())
}

/// Cancelled by the first SIGTERM or SIGINT.
fn stop_on_signals() -> io::Result<CancellationToken> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stop = CancellationToken::new();
    let told = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        told.cancel();
    });
    Ok(stop)
}

/// A commit under way, beside what it was asked to commit.
type Committing = JoinHandle<(Commit, Result<CommitReport, CommitError>)>;

struct Tool {
    consumer: Consumer,
    handle: ConsumerHandle,
    stop: CancellationToken,
    verbose: bool,
    max_poll_records: usize,
    /// How many records may still be reported.
    left: Option<u64>,
    owned: BTreeSet<TopicPartition>,
    waiting: Waiting,
    /// What came while records were gathered.
    pending: Option<Happened>,
    periodic: Option<Periodic>,
}

/// The commits of `--enable-autocommit`.
struct Periodic {
    interval: Duration,
    due: Instant,
    uncommitted: Commit,
    under_way: Option<Committing>,
}

impl Tool {
    fn new(options: Options, stop: CancellationToken) -> Result<Self, Failure> {
        let builder = Consumer::builder().topics([options.topic]);
        let (builder, applied) = builder.properties(&options.properties)?;
        for warning in applied.warnings {
            eprintln!("warning: {warning}");
        }
        let consumer = builder.build()?;
        let interval = applied.auto_commit_interval.unwrap_or(AUTO_COMMIT_INTERVAL).max(Duration::from_millis(1));
        Ok(Self {
            handle: consumer.handle(),
            consumer,
            stop,
            verbose: options.verbose,
            max_poll_records: applied.max_poll_records.unwrap_or(MAX_POLL_RECORDS),
            left: options.max_messages,
            owned: BTreeSet::new(),
            waiting: Waiting::default(),
            pending: None,
            periodic: options.autocommit.then(|| Periodic::new(interval)),
        })
    }

    /// Until the limit is reached, the end is asked for, or the consumer cannot go on.
    async fn work(&mut self) -> Result<(), Failure> {
        while self.left != Some(0) && !self.stop.is_cancelled() {
            if !self.waiting.is_empty() {
                self.report().await?;
                self.commit_periodically();
                continue;
            }
            let Some(event) = self.next().await? else { continue };
            self.take(event).await?;
        }
        Ok(())
    }

    /// The next event; `None` when it is time for something else.
    async fn next(&mut self) -> Result<Option<Happened>, FatalError> {
        if let Some(event) = self.pending.take() {
            return Ok(Some(event));
        }
        self.commit_periodically();
        let wake = self.periodic.as_ref().map_or_else(far_away, Periodic::wake);
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Ok(None),
            event = self.consumer.next() => event.map(Some),
            () = tokio::time::sleep_until(wake) => Ok(None),
        }
    }

    async fn take(&mut self, event: Happened) -> Result<(), Failure> {
        match event {
            Happened::Records(records) => {
                self.waiting.push(records);
                self.gather()?;
            }
            Happened::Assigned { partitions } => {
                let names: Vec<_> = partitions.iter().map(|owned| owned.partition().clone()).collect();
                print(&Event::PartitionsAssigned { partitions: names.iter().map(Partition::from).collect() })?;
                self.owned.extend(names);
            }
            Happened::Revoking(revocation) => {
                self.revoked(revocation.partitions())?;
                if let Some(offsets) = self.periodic.as_mut().and_then(Periodic::take) {
                    match bounded(&self.stop, revocation.commit(offsets)).await {
                        Ok(report) => tell_incomplete(&report),
                        Err(error) => eprintln!("not committed on revocation: {error}"),
                    }
                }
            }
            Happened::Lost { partitions, cause } => {
                eprintln!("lost {}: {cause}", names(&partitions));
                self.revoked(partitions.iter())?;
            }
            event @ (Happened::OffsetReset { .. } | Happened::Truncated { .. } | Happened::Skipped { .. }) => {
                eprintln!("{event:?}");
            }
        }
        Ok(())
    }

    /// Takes what is there already, so that a report is as large as one of Java's polls.
    fn gather(&mut self) -> Result<(), Failure> {
        while self.waiting.len() < self.max_poll_records {
            match self.consumer.next().now_or_never() {
                Some(Ok(Happened::Records(records))) => self.waiting.push(records),
                Some(Ok(other)) => {
                    self.pending = Some(other);
                    break;
                }
                Some(Err(fatal)) => return Err(fatal.into()),
                None => break,
            }
        }
        Ok(())
    }

    fn revoked<'a>(&mut self, partitions: impl Iterator<Item = &'a TopicPartition>) -> io::Result<()> {
        let gone: Vec<_> = partitions.filter(|name| self.owned.remove(*name)).map(Partition::from).collect();
        if gone.is_empty() { Ok(()) } else { print(&Event::PartitionsRevoked { partitions: gone }) }
    }

    /// Reports what waits, up to the limits, and commits it or keeps it for the next periodic commit.
    async fn report(&mut self) -> io::Result<()> {
        let left = self.left.map_or(usize::MAX, |left| usize::try_from(left).unwrap_or(usize::MAX));
        let Report { records, partitions, count, reported, position } =
            self.waiting.take(self.max_poll_records.min(left), self.verbose);
        if count > 0 {
            records.iter().try_for_each(print)?;
            print(&Event::RecordsConsumed { count, partitions })?;
            self.left = self.left.map(|left| left.saturating_sub(count));
        }
        match &mut self.periodic {
            Some(periodic) => periodic.uncommitted.merge(&position),
            None if count > 0 => self.commit(reported).await?,
            None => {}
        }
        Ok(())
    }

    /// Commits at once, and prints what became of it.
    async fn commit(&self, offsets: Commit) -> io::Result<()> {
        let asked: Vec<_> = offsets.offsets().map(|(name, next)| Committed::new(name, next.get())).collect();
        let failed = |offsets, error: String| Event::OffsetsCommitted { offsets, error: Some(error), success: false };
        let report = match bounded(&self.stop, self.handle.commit(offsets)).await {
            Ok(report) => report,
            Err(error) => return print(&failed(asked, error.to_string())),
        };
        let stored: Vec<_> =
            report.committed.iter().map(|done| Committed::new(&done.partition, done.offset.get())).collect();
        if !stored.is_empty() {
            print(&Event::OffsetsCommitted { offsets: stored, error: None, success: true })?;
        }
        for dropped in &report.dropped {
            let offset = Committed::new(&dropped.partition, dropped.offset.get());
            print(&failed(vec![offset], format!("not sent: {:?}", dropped.cause)))?;
        }
        for rejected in &report.rejected {
            let offset = Committed::new(&rejected.partition, rejected.offset.get());
            print(&failed(vec![offset], rejected.error.to_owned()))?;
        }
        Ok(())
    }

    fn commit_periodically(&mut self) {
        if let Some(periodic) = &mut self.periodic {
            periodic.turn(&self.handle);
        }
    }

    /// The last commit, the last events, and out of the group.
    async fn end(mut self, in_peace: bool) -> io::Result<()> {
        if self.stop.is_cancelled() {
            print(&Event::ShutdownRequested)?;
        }
        // From here on commits have a deadline.
        self.stop.cancel();
        if let Some(offsets) = self.periodic.as_mut().and_then(Periodic::take).filter(|_| in_peace) {
            match bounded(&self.stop, self.handle.commit(offsets)).await {
                Ok(report) => tell_incomplete(&report),
                Err(error) => eprintln!("not committed at the end: {error}"),
            }
        }
        let owned: Vec<_> = std::mem::take(&mut self.owned).into_iter().collect();
        if !owned.is_empty() {
            print(&Event::PartitionsRevoked { partitions: owned.iter().map(Partition::from).collect() })?;
        }
        // A revocation that nobody answered must not hold up the leave.
        self.pending = None;
        if let Err(error) = self.consumer.close(LAST_COMMITS).await {
            eprintln!("{error}");
        }
        print(&Event::ShutdownComplete)
    }
}

impl Periodic {
    fn new(interval: Duration) -> Self {
        Self { interval, due: Instant::now() + interval, uncommitted: Commit::new(), under_way: None }
    }

    /// When to look again.
    fn wake(&self) -> Instant {
        let soon = Instant::now() + Duration::from_millis(100);
        if self.under_way.is_some() { soon } else { self.due }
    }

    /// What no commit was asked for yet. Commits are sent in order, so one that is under way comes before the next.
    fn take(&mut self) -> Option<Commit> {
        Some(std::mem::take(&mut self.uncommitted)).filter(|offsets| !offsets.is_empty())
    }

    /// Looks after the commit that is under way, and begins the next one when it is time.
    fn turn(&mut self, handle: &ConsumerHandle) {
        if let Some(finished) = self.under_way.as_mut().and_then(futures::FutureExt::now_or_never) {
            self.under_way = None;
            match finished {
                Ok((_, Ok(report))) => tell_incomplete(&report),
                Ok((offsets, Err(error))) => {
                    eprintln!("not committed: {error}");
                    self.uncommitted.merge(&offsets);
                }
                Err(error) => eprintln!("not committed: {error}"),
            }
        }
        if self.under_way.is_none() && Instant::now() >= self.due {
            self.due = Instant::now() + self.interval;
            if let Some(offsets) = self.take() {
                let handle = handle.clone();
                self.under_way = Some(tokio::spawn(async move {
                    let outcome = handle.commit(offsets.clone()).await;
                    (offsets, outcome)
                }));
            }
        }
    }
}

/// Waits for a commit, but not for long once the end was asked for.
async fn bounded(
    stop: &CancellationToken,
    commit: impl Future<Output = Result<CommitReport, CommitError>>,
) -> Result<CommitReport, CommitError> {
    let given_up = async {
        stop.cancelled().await;
        tokio::time::sleep(LAST_COMMITS).await;
    };
    tokio::select! {
        outcome = commit => outcome,
        () = given_up => Err(CommitError::Deadline { last: "the end was asked for".to_owned() }),
    }
}

fn tell_incomplete(report: &CommitReport) {
    if !report.dropped.is_empty() || !report.rejected.is_empty() {
        eprintln!("not committed: {:?} {:?}", report.dropped, report.rejected);
    }
}

fn names(partitions: &[TopicPartition]) -> String {
    partitions.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn far_away() -> Instant {
    Instant::now() + Duration::from_hours(24)
}
