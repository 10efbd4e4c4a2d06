//! One consumer of a group on a thread and a runtime of its own, which acts on what it reads and commits what it did.
//!
//! It does what the documentation of the client tells applications to do: ask the ownership before each record, commit
//! what was processed, answer a revocation with a last commit.

use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use kafka_consumer::client::{
    Commit, CommitError, CommitReport, Consumer, ConsumerBuilder, ConsumerHandle, Event, Ownership, Records,
};
use tokio_util::sync::CancellationToken;

use super::story::Story;

/// How often what was done is committed.
const COMMIT_EVERY: Duration = Duration::from_millis(100);

/// How long closing and its last commit may take each.
const LAST_WORDS: Duration = Duration::from_secs(20);

/// Assignments, each with its number in the story.
pub(super) type Owned = Arc<Mutex<Vec<(Ownership, usize)>>>;

/// A running member.
pub(super) struct Member {
    pub(super) name: &'static str,
    pub(super) handle: ConsumerHandle,
    pub(super) owned: Owned,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Member {
    /// Starts a member that takes so long to give something up.
    pub(super) fn start(
        name: &'static str,
        builder: ConsumerBuilder,
        story: &Arc<Story>,
        revocation_takes: Duration,
    ) -> Self {
        let (stop, owned) = (CancellationToken::new(), Owned::default());
        let (told, heard) = std::sync::mpsc::channel();
        let life = (Arc::clone(story), Arc::clone(&owned), stop.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let consumer = builder.build().expect("a valid configuration");
                told.send(consumer.handle()).expect("somebody waits for it");
                let (story, owned, stop) = life;
                let hands = Hands { name, handle: consumer.handle(), story, owned, revocation_takes };
                hands.live(consumer, stop).await;
            });
        });
        let handle = heard.recv().expect("a consumer");
        Self { name, handle, owned, stop, thread: Some(thread) }
    }

    /// The partitions in which it believes now.
    pub(super) fn partitions(&self) -> Vec<i32> {
        let owned = self.owned.lock().expect("no holder panicked");
        let valid = owned.iter().filter(|(ownership, _)| ownership.check().is_ok());
        let mut partitions: Vec<i32> = valid.map(|(ownership, _)| ownership.partition().partition).collect();
        partitions.sort_unstable();
        partitions
    }

    /// Commits, leaves the group, and waits for the end.
    pub(super) fn stop(mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the member did not panic");
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A commit under way: when it was sent, and its answer.
type Committing = tokio::task::JoinHandle<(Instant, Result<CommitReport, CommitError>)>;

struct Hands {
    name: &'static str,
    handle: ConsumerHandle,
    story: Arc<Story>,
    owned: Owned,
    revocation_takes: Duration,
}

impl Hands {
    async fn live(&self, mut consumer: Consumer, stop: CancellationToken) {
        let mut done = Commit::new();
        let mut under_way: Option<Committing> = None;
        let mut tick = tokio::time::interval(COMMIT_EVERY);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                _ = tick.tick() => self.go_on_committing(&mut done, &mut under_way).await,
                event = consumer.next() => self.take(event.expect("no fatal error"), &mut done).await,
            }
        }
        let sent = Instant::now();
        let last = self.handle.commit_before(done, sent + LAST_WORDS).await;
        self.note(sent, last);
        if let Some(under_way) = under_way {
            let (sent, answer) = under_way.await.expect("no panic");
            self.note(sent, answer);
        }
        // What it owned it gives back; from here on nobody acts.
        self.owned.lock().expect("no holder panicked").clear();
        if let Err(error) = consumer.close(LAST_WORDS).await {
            self.story.happens(&format!("{}: {error}", self.name));
        }
    }

    async fn go_on_committing(&self, done: &mut Commit, under_way: &mut Option<Committing>) {
        if let Some(finished) = under_way.take_if(|commit| commit.is_finished()) {
            let (sent, answer) = finished.await.expect("no panic");
            self.note(sent, answer);
        }
        if under_way.is_none() && !done.is_empty() {
            let (offsets, handle, sent) = (std::mem::take(done), self.handle.clone(), Instant::now());
            *under_way = Some(tokio::spawn(async move { (sent, handle.commit(offsets).await) }));
        }
    }

    fn note(&self, sent: Instant, answer: Result<CommitReport, CommitError>) {
        match answer {
            Ok(report) => {
                for stored in report.committed {
                    self.story.commits(self.name, stored.partition.partition, stored.offset.get(), sent);
                }
                if !report.rejected.is_empty() || !report.dropped.is_empty() {
                    self.story.happens(&format!("{}: {:?} {:?}", self.name, report.rejected, report.dropped));
                }
            }
            Err(error) => self.story.happens(&format!("{}: commit: {error}", self.name)),
        }
    }

    async fn take(&self, event: Event, done: &mut Commit) {
        match event {
            Event::Records(records) => self.act(&records, done),
            Event::Assigned { partitions } => {
                let text = format!("{}: assigned {partitions:?}", self.name);
                self.story.happens(&text);
                let now = Instant::now();
                let number = |ownership: Ownership| {
                    let belief = self.story.begins(self.name, ownership.partition().partition, now);
                    (ownership, belief)
                };
                self.owned.lock().expect("no holder panicked").extend(partitions.into_iter().map(number));
            }
            Event::Revoking(revocation) => {
                self.story.happens(&format!("{}: revoking {:?}", self.name, revocation.ownerships()));
                let sent = Instant::now();
                let answer = revocation.commit(std::mem::take(done)).await;
                self.note(sent, answer);
                self.forget();
                // A slow member holds its revocation on a task, so that it goes on reading what it keeps.
                let takes = self.revocation_takes;
                tokio::spawn(async move {
                    tokio::time::sleep(takes).await;
                    revocation.done();
                });
            }
            Event::Lost { .. } => {
                self.story.happens(&format!("{}: {event:?}", self.name));
                self.forget();
            }
            Event::OffsetReset { ref partition, .. } => {
                self.story.happens(&format!("{}: {event:?}", self.name));
                self.jumps(partition.partition);
            }
            Event::Truncated { .. } | Event::Skipped { .. } => {
                self.story.happens(&format!("{}: {event:?}", self.name));
            }
        }
    }

    fn jumps(&self, partition: i32) {
        let mut owned = self.owned.lock().expect("no holder panicked");
        for (_, number) in owned.iter_mut().filter(|(ownership, _)| ownership.partition().partition == partition) {
            *number = self.story.jumps(*number, Instant::now());
        }
    }

    /// Leaves off assignments that are over.
    fn forget(&self) {
        self.owned.lock().expect("no holder panicked").retain(|(ownership, _)| ownership.check().is_ok());
    }

    fn act(&self, records: &Records, done: &mut Commit) {
        let ownership = records.ownership();
        let number = {
            let owned = self.owned.lock().expect("no holder panicked");
            owned.iter().find(|(known, _)| known == ownership).map(|(_, number)| *number)
        };
        for _ in records {
            if ownership.check().is_err() {
                return;
            }
        }
        let now = Instant::now();
        if ownership.check().is_err() {
            return;
        }
        let number = number.expect("records come after their assignment");
        self.story.believes(number, now);
        self.story.acts(number, records.first_offset().get(), records.next_offset().get(), now);
        done.processed(records);
    }
}
