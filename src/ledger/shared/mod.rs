//! The ledger as a topic that many replicas write, and of which each keeps a copy.
//!
//! Promised: an append returns when its line was read back and accepted; a line that lost its race is an error that says so
//! and has changed nothing. Every replica comes to the same, because all fold the same log by the same pure function
//! ([`crate::ledger::claim`]). While the topic cannot be written callers wait and [`Health`] says why. A topic that cannot be
//! understood, or whose log was cut below what was read, stops the service.
//! Absent: the client, behind [`Topic`] and [`Tail`]; what is done with an episode.

mod reading;
#[cfg(test)]
mod tests;
pub(crate) mod topic;
mod wire;
mod writing;

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::ledger::Health;
use crate::ledger::claim::{Course, Lease, Line, Lives, Refused, Said, Session, Standing, Turn};
use crate::ledger::entry::{Note, Record};
use crate::ledger::episode::EpisodeKey;
use crate::ledger::error::{AppendError, HoldError, OpenError};
use crate::ledger::fold::State;
use crate::ledger::lock::{Acquired, FileLock};
use crate::ledger::shared::topic::{Tail, Topic, TopicError, TopicRecord};
use crate::ledger::shared::writing::Writing;
use crate::ledger::store::Store;
use tokio_util::task::AbortOnDropHandle;

/// Signs of life in a lease: some may be lost.
const SIGNS_PER_LEASE: u32 = 5;
/// Wait before what was not appended is sent again.
const REPEAT_AFTER: Duration = Duration::from_millis(500);
/// Episodes whose records are removed with one call.
const FORGOTTEN_PER_CALL: usize = 200;
/// A session that was silent for so many leases is forgotten, and its sign of life removed.
const LEASES_REMEMBERED: u32 = 1000;

/// How far the start has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Records of the topic that were read.
    pub read: u64,
    /// Offsets that are still to be read.
    pub left: u64,
}

/// What became of a line.
type Verdict = Result<(), Refused>;

/// This replica: what it has heard, and what it may do. Its tasks share it.
pub(crate) struct Replica {
    session: Session,
    store: Arc<Store>,
    topic: Arc<dyn Topic>,
    began: Instant,
    lease_length: Duration,
    lease: Mutex<Lease>,
    lives: Mutex<Lives>,
    /// Lines that were sent and not read back, by their number.
    waiting: Mutex<HashMap<u64, mpsc::UnboundedSender<Verdict>>>,
    numbers: AtomicU64,
    /// Counts the pages that were read.
    read: watch::Sender<u64>,
    writing: Writing,
    // The copy is this process's alone.
    _lock: FileLock,
}

/// The replica and its tasks, which end with it.
pub(crate) struct Following {
    pub(crate) replica: Arc<Replica>,
    _tasks: [AbortOnDropHandle<()>; 2],
}

/// What a replica is made with.
pub struct SharedBy {
    /// This process, unlike any other that ever was.
    pub session: String,
    /// How long another replica waits for a sign of life before it takes over.
    pub lease: Duration,
    /// Where the copy lies; what is there is replaced.
    pub copy: std::path::PathBuf,
    /// Appends.
    pub topic: Arc<dyn Topic>,
    /// Reads.
    pub tail: Box<dyn Tail>,
}

impl Following {
    /// Reads the topic up to its end, and follows it from then on.
    pub(crate) async fn start(by: SharedBy, progress: &mut (dyn FnMut(Progress) + Send)) -> Result<Self, OpenError> {
        let SharedBy { session, lease, copy, topic, mut tail } = by;
        let (store, lock) = blocking(&copy, fresh).await??;
        let writing = Writing::new(topic.name());
        let replica = Replica {
            session: Session::new(&session.replace('/', "-")),
            store: Arc::new(store),
            topic,
            began: Instant::now(),
            lease_length: lease,
            lease: Mutex::new(Lease::new(lease)),
            lives: Mutex::new(Lives::new(lease)),
            waiting: Mutex::default(),
            numbers: AtomicU64::new(0),
            read: watch::channel(0).0,
            writing,
            _lock: lock,
        };
        let replica = Arc::new(replica);
        let mut read = 0_u64;
        progress(Progress { read, left: tail.left() });
        while tail.left() > 0 {
            let records = tail.next().await;
            let count = records.as_ref().map_or(0, Vec::len);
            let taken = match records {
                Ok(records) => replica.take(records).await,
                Err(detail) => Err(detail),
            };
            let path = copy.clone();
            taken.map_err(|detail| OpenError::Topic { topic: replica.topic.name().to_owned(), detail, path })?;
            read = read.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
            progress(Progress { read, left: tail.left() });
        }
        let follow = AbortOnDropHandle::new(tokio::spawn(Arc::clone(&replica).follow(tail)));
        let live = AbortOnDropHandle::new(tokio::spawn(Arc::clone(&replica).live()));
        Ok(Self { replica, _tasks: [follow, live] })
    }
}

/// An empty copy. Of an earlier one nothing is needed.
fn fresh(path: &Path) -> Result<(Store, FileLock), OpenError> {
    let lock = match FileLock::acquire(path, "")? {
        Acquired::Held(lock) => lock,
        Acquired::Elsewhere { .. } => return Err(OpenError::CopyInUse { path: path.to_path_buf() }),
    };
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(crate::ledger::error::open_error(path, error));
        }
        Ok(()) | Err(_) => {}
    }
    Ok((Store::open(path)?, lock))
}

async fn blocking<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce(&Path) -> T + Send + 'static,
) -> Result<T, OpenError> {
    let (at, path) = (path.to_path_buf(), path.to_path_buf());
    tokio::task::spawn_blocking(move || work(&at)).await.map_err(|_| OpenError::Panicked { path })
}

impl Replica {
    pub(crate) fn store(&self) -> &Arc<Store> {
        &self.store
    }

    pub(crate) fn health(&self) -> watch::Receiver<Health> {
        self.writing.health()
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn lease(&self) -> MutexGuard<'_, Lease> {
        self.lease.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lives(&self) -> MutexGuard<'_, Lives> {
        self.lives.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The right to start something. Waits as long as the lease has run out.
    pub(crate) async fn turn(&self) -> Turn {
        loop {
            let turn = self.lease().turn(self.now());
            match turn {
                Some(turn) => return turn,
                None => tokio::time::sleep(self.sign_every()).await,
            }
        }
    }

    /// Whether a right that was had before still is.
    pub(crate) fn holds(&self, turn: Turn) -> bool {
        self.lease().holds(turn, self.now())
    }

    fn sign_every(&self) -> Duration {
        self.lease_length.checked_div(SIGNS_PER_LEASE).unwrap_or_default()
    }

    async fn standing(&self, key: &EpisodeKey) -> Result<Standing, HoldError> {
        let (store, key) = (Arc::clone(&self.store), key.clone());
        let path = store.path().to_path_buf();
        let read = tokio::task::spawn_blocking(move || store.standing(&key)).await;
        Ok(read.map_err(|_| crate::ledger::error::LedgerError::Panicked { path })??)
    }

    /// Waits until this replica may write about an episode, or it has ended.
    ///
    /// Cancel-safe: a claim that is under way then is let go when it succeeds.
    pub(crate) async fn hold(self: &Arc<Self>, key: &EpisodeKey) -> Result<State, HoldError> {
        let mut read = self.read.subscribe();
        let mut told = false;
        loop {
            read.mark_unchanged();
            self.turn().await;
            let standing = self.standing(key).await?;
            let course = {
                let mut lives = self.lives();
                if let Some(holder) = &standing.holder {
                    lives.named(holder, self.now());
                }
                standing.course(&self.session, &lives)
            };
            match course {
                Course::Ended | Course::Write => return Ok(standing.state),
                Course::Claim => {
                    let from = standing.holder.as_ref().map_or_else(|| "nobody".to_owned(), ToString::to_string);
                    match self.claim(key).await {
                        Ok(()) => tracing::info!(episode = %key, from, "episode taken over"),
                        Err(AppendError::Lost { .. }) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                Course::Wait => {
                    if !std::mem::replace(&mut told, true) {
                        let holder = standing.holder.as_ref().map(ToString::to_string);
                        tracing::info!(episode = %key, holder, "another replica is at it: waiting for what comes of that");
                    }
                    // Nobody else tells that time goes by.
                    let _ = tokio::time::timeout(self.sign_every(), read.changed()).await;
                }
            }
        }
    }

    async fn claim(self: &Arc<Self>, key: &EpisodeKey) -> Result<(), AppendError> {
        let (answer, answered) = oneshot::channel();
        let (replica, key) = (Arc::clone(self), key.clone());
        tokio::spawn(async move {
            let claimed = replica.say(&key, wall_clock_ms(), Said::Claim).await;
            let ours = claimed.is_ok();
            // Whoever asked for it is gone: nobody would ever let it go.
            if answer.send(claimed).is_err() && ours {
                replica.release(&key).await;
            }
        });
        answered.await.unwrap_or(Err(AppendError::Closed))
    }

    async fn release(&self, key: &EpisodeKey) {
        match self.say(key, wall_clock_ms(), Said::Release).await {
            Ok(()) => tracing::debug!(episode = %key, "let go"),
            Err(error) => tracing::debug!(episode = %key, %error, "not let go"),
        }
    }

    /// Lets go of what this replica holds of an incident, so that another need not wait for its lease to run out.
    pub(crate) async fn let_go(self: &Arc<Self>, incident: String) {
        let store = Arc::clone(&self.store);
        let open = tokio::task::spawn_blocking(move || store.unfinished_of(&incident)).await;
        for episode in open.into_iter().flatten().flatten() {
            let ours = self.standing(&episode.key).await;
            if ours.is_ok_and(|standing| standing.holder.as_ref() == Some(&self.session)) {
                self.release(&episode.key).await;
            }
        }
    }

    /// Appends. The records one after the other: each is durable, and accepted, before the next is sent.
    pub(crate) async fn append(&self, records: Vec<Record>, notes: Vec<Note>) -> Result<(), AppendError> {
        if !notes.is_empty() {
            // Before what they count: a crash in between counts one too many rather than one too few.
            let notes: Vec<TopicRecord> = notes.into_iter().map(wire::note).collect();
            let writer = self.writing.writer(0);
            while let Some(trouble) = self.send(0, notes.clone()).await? {
                writer.waits(&trouble);
                tokio::time::sleep(REPEAT_AFTER).await;
            }
        }
        for Record { key, at_ms, entry } in records {
            self.say(&key, at_ms, Said::Entry(entry)).await?;
        }
        Ok(())
    }

    /// Writes a line and waits for what becomes of it.
    async fn say(&self, key: &EpisodeKey, at_ms: i64, said: Said) -> Result<(), AppendError> {
        let standing = self.standing(key).await.map_err(|error| AppendError::Broken { reason: error.to_string() })?;
        let line = Line { by: self.session.clone(), after: standing.lines, said };
        // What cannot be accepted need not be written.
        standing.apply(&line).map_err(|refused| self.refused(key, &standing, refused))?;
        let partition = wire::partition(&key.to_string(), self.topic.partitions());
        let (verdicts, mut verdict) = mpsc::unbounded_channel();
        let mut numbers = Numbers { replica: self, used: Vec::new() };
        let writer = self.writing.writer(partition);
        loop {
            let number = numbers.next(verdicts.clone());
            match self.send(partition, vec![wire::line(number, key, at_ms, &line)]).await? {
                None => break,
                // It may be in the log all the same. Then this copy of it builds on too few lines and changes nothing.
                Some(trouble) => writer.waits(&trouble),
            }
            tokio::time::sleep(REPEAT_AFTER).await;
        }
        drop((verdicts, writer));
        match verdict.recv().await {
            Some(Ok(())) => Ok(()),
            Some(Err(refused)) => {
                let now = self.standing(key).await.unwrap_or_default();
                Err(self.refused(key, &now, refused))
            }
            None => Err(AppendError::Closed),
        }
    }

    fn refused(&self, key: &EpisodeKey, standing: &Standing, refused: Refused) -> AppendError {
        let key = Box::new(key.clone());
        match refused {
            // Nobody else has written since: it is our own mistake.
            Refused::Contradiction(contradiction) if standing.holder.as_ref() == Some(&self.session) => {
                AppendError::Contradiction { key, contradiction }
            }
            Refused::Late | Refused::Held | Refused::Contradiction(_) => {
                let holder = standing.holder.as_ref().map_or_else(|| "nobody any more".to_owned(), ToString::to_string);
                AppendError::Lost { key, holder }
            }
        }
    }

    /// One call. `Some`: it may be repeated, and this is why it has to be.
    async fn send(&self, partition: u32, records: Vec<TopicRecord>) -> Result<Option<String>, AppendError> {
        if let Some(reason) = self.writing.broken() {
            return Err(AppendError::Broken { reason });
        }
        match self.topic.append(partition, records).await {
            Ok(()) => Ok(None),
            Err(TopicError::Again(trouble)) => Ok(Some(trouble)),
            Err(TopicError::Never(reason)) => {
                let reason = format!("the ledger topic {} refuses: {reason}", self.topic.name());
                Err(AppendError::Broken { reason })
            }
        }
    }

    /// Removes the records of episodes that ended before `before_ms`; how many episodes.
    pub(crate) async fn expire(&self, before_ms: i64) -> Result<u64, AppendError> {
        let broken = |error: &dyn std::fmt::Display| AppendError::Broken { reason: error.to_string() };
        let (mut after, mut count) = (None, 0_u64);
        loop {
            let (store, from) = (Arc::clone(&self.store), after.clone());
            let old = tokio::task::spawn_blocking(move || store.ended(from.as_ref(), before_ms, FORGOTTEN_PER_CALL));
            let old = old.await.map_err(|_| AppendError::Closed)?.map_err(|error| broken(&error))?;
            let Some(last) = old.last() else { return Ok(count) };
            after = Some(last.place.clone());
            let mut calls: HashMap<u32, Vec<TopicRecord>> = HashMap::new();
            for episode in &old {
                let (_, text) = &episode.place;
                let call = calls.entry(wire::partition(text, self.topic.partitions())).or_default();
                // All of an episode in one call: the first of them that is read forgets it.
                call.extend(episode.names.iter().map(|name| wire::removal(name, text)));
            }
            for (partition, records) in calls {
                // What is not removed now is removed an hour later.
                if let Some(trouble) = self.send(partition, records).await? {
                    return Err(broken(&trouble));
                }
            }
            count = count.saturating_add(u64::try_from(old.len()).unwrap_or(u64::MAX));
        }
    }

    /// Gives signs of life, for ever.
    async fn live(self: Arc<Self>) {
        let mut signs = tokio::time::interval(self.sign_every());
        signs.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            signs.tick().await;
            let sent = self.now();
            let ms = u64::try_from(sent.as_millis()).unwrap_or(u64::MAX);
            match self.topic.append(0, vec![wire::alive(&self.session, ms)]).await {
                Ok(()) => self.acknowledged(sent),
                Err(error) => self.writing.signs(Some(error.to_string())),
            }
            self.forget_the_dead().await;
        }
    }

    fn acknowledged(&self, sent: Duration) {
        let now = self.now();
        self.lease().acknowledged(sent, now);
        let unread = match self.lives().mark() {
            Some(mark) => now.saturating_sub(mark),
            None => now,
        };
        let late = unread > self.lease_length;
        let late = late.then(|| format!("what is written does not come back within {} s", unread.as_secs()));
        self.writing.signs(late);
    }

    async fn forget_the_dead(&self) {
        let Some(before) = self.now().checked_sub(self.lease_length.saturating_mul(LEASES_REMEMBERED)) else { return };
        let gone = self.lives().forget(before);
        let records: Vec<TopicRecord> = gone.iter().map(wire::ended).collect();
        if !records.is_empty() {
            // It costs a few bytes until somebody else tries.
            let _ = self.topic.append(0, records).await;
        }
    }
}

/// The numbers under which one line was sent. Whatever comes of it, nobody waits for them afterwards.
struct Numbers<'r> {
    replica: &'r Replica,
    used: Vec<u64>,
}

impl Numbers<'_> {
    fn next(&mut self, verdict: mpsc::UnboundedSender<Verdict>) -> u64 {
        let number = self.replica.numbers.fetch_add(1, Ordering::Relaxed);
        self.used.push(number);
        self.replica.waiting().insert(number, verdict);
        number
    }
}

impl Drop for Numbers<'_> {
    fn drop(&mut self) {
        let mut waiting = self.replica.waiting();
        for number in &self.used {
            waiting.remove(number);
        }
    }
}

/// When a claim was written, for people: nothing is decided by it.
fn wall_clock_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
