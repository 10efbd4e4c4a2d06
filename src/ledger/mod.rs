//! The durable record of intents, attempts and outcomes.
//!
//! Promised: an [`append`](Ledger::append) returns when its records are on disk; many appends share one fsync. An
//! episode that succeeded can never be attempted again, because the transition is refused here and not only planned
//! away. A file that cannot be understood stops the service and is left as it is. A second process on the same file
//! becomes a [`Standby`]; with a topic in the file's place ([`Ledger::share`]) many processes work side by side. A full disk pauses (the caller waits, [`Health`] says why); nothing is dropped.
//! Absent: what an entry means for the world. That is decided by `plan` and done by `pipeline`.

pub(crate) mod claim;
mod entry;
mod episode;
mod error;
mod fold;
mod history;
mod lock;
mod shared;
mod store;
mod writer;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

pub use crate::ledger::claim::Turn;
pub use crate::ledger::entry::{Attempt, Entry, Intent, Note, Origin, Outcome, Record, Started};
pub use crate::ledger::episode::{EpisodeKey, EpisodeKeyError};
pub use crate::ledger::error::{AppendError, HoldError, LedgerError, OpenError};
pub use crate::ledger::fold::{Contradiction, State, Terminal, fold};
pub use crate::ledger::history::{Filter, Summary};
use crate::ledger::lock::{Acquired, FileLock};
use crate::ledger::shared::Following;
pub use crate::ledger::shared::topic::{Tail, Topic, TopicError, TopicRecord};
pub use crate::ledger::shared::{Progress, SharedBy};
pub use crate::ledger::store::OpenDatabase;
use crate::ledger::store::{Store, open_file};
use crate::ledger::writer::{Command, Writer, WriterThread};

/// How often a standby looks whether the other process has let go.
const STANDBY_LOOKS_EVERY: Duration = Duration::from_secs(1);

/// Whether the ledger can be written just now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// The last write succeeded, or there was none yet.
    Writable,
    /// Writes fail in a way that may heal (a full disk, say); they are repeated, and callers wait.
    Stalled {
        /// What failed, on which path, and what to do.
        reason: String,
    },
    /// The file cannot be trusted any more. Nothing will be written until an operator has looked.
    Broken {
        /// What failed, on which path, and what to do.
        reason: String,
    },
}

/// What opening the file came to.
#[derive(Debug)]
pub enum Opened {
    /// This process holds the ledger.
    Ledger(Ledger),
    /// Another process holds it.
    Standby(Standby),
}

/// Another process holds the ledger: this one may wait for it and must not act.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standby {
    /// The ledger file.
    pub path: PathBuf,
    /// How the holder described itself when it took the lock; may be empty.
    pub holder: String,
}

impl std::fmt::Display for Standby {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let holder = if self.holder.is_empty() { "another process" } else { &self.holder };
        write!(f, "the ledger {} is held by {holder}; standing by until it lets go", self.path.display())
    }
}

/// The ledger: a file that this process holds, or a topic that it shares. Cheap to clone. Dropping the last clone of a file
/// writes what was received and lets the file go before it returns (an fsync, or half a second where the disk refuses):
/// whoever opens it next finds it free.
#[derive(Clone)]
pub struct Ledger {
    shared: Arc<Shared>,
}

struct Shared {
    health: watch::Receiver<Health>,
    store: Arc<Store>,
    // After the store: the thread closes the file as its last user, then lets the lock go, and only then is this dropped.
    kept: Kept,
}

/// What makes an append durable.
enum Kept {
    /// This process alone, in the file.
    Alone(WriterThread),
    /// The topic, of which the file is a copy.
    Shared(Following),
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger").field("path", &self.shared.store.path()).finish_non_exhaustive()
    }
}

impl Ledger {
    /// Opens or creates the ledger at `path`. Blocks on disk: it verifies every page, so that a damaged file is found now.
    ///
    /// `holder` describes this process to a standby (host name and process id, say).
    pub fn open(path: &Path, holder: &str) -> Result<Opened, OpenError> {
        Self::open_through(path, holder, Box::new(open_file))
    }

    /// The same with the file opened by `open`, again after each write that failed: whoever wants to see what becomes of a
    /// ledger on a disk that fails puts one in between.
    pub fn open_through(path: &Path, holder: &str, open: OpenDatabase) -> Result<Opened, OpenError> {
        let lock = match FileLock::acquire(path, holder)? {
            Acquired::Held(lock) => lock,
            Acquired::Elsewhere { holder } => return Ok(Opened::Standby(Standby { path: path.to_path_buf(), holder })),
        };
        let store = match Store::open_with(path, open) {
            Ok(store) => Arc::new(store),
            Err(OpenError::AlreadyOpen { .. }) => {
                return Ok(Opened::Standby(Standby { path: path.to_path_buf(), holder: String::new() }));
            }
            Err(error) => return Err(error),
        };
        let (health_sender, health) = watch::channel(Health::Writable);
        let writer = Writer::start(Arc::clone(&store), lock, health_sender)
            .map_err(|source| OpenError::Io { path: path.to_path_buf(), source })?;
        Ok(Opened::Ledger(Self { shared: Arc::new(Shared { health, store, kept: Kept::Alone(writer) }) }))
    }

    /// Reads a ledger topic up to its end, telling `progress` how far that is, and follows it from then on.
    pub async fn share(by: SharedBy, progress: &mut (dyn FnMut(Progress) + Send)) -> Result<Self, OpenError> {
        let following = Following::start(by, progress).await?;
        let (health, store) = (following.replica.health(), Arc::clone(following.replica.store()));
        Ok(Self { shared: Arc::new(Shared { health, store, kept: Kept::Shared(following) }) })
    }

    /// Opens the ledger, waiting as long as another process holds it. `on_standby` is told once per holder.
    ///
    /// Cancel-safe: dropping the future stops waiting.
    pub async fn open_or_wait(
        path: &Path,
        holder: &str,
        mut on_standby: impl FnMut(&Standby) + Send,
    ) -> Result<Self, OpenError> {
        let mut told: Option<Standby> = None;
        loop {
            let (at, by) = (path.to_path_buf(), holder.to_owned());
            let opened = tokio::task::spawn_blocking(move || Self::open(&at, &by)).await;
            match opened.map_err(|_| OpenError::Panicked { path: path.to_path_buf() })?? {
                Opened::Ledger(ledger) => return Ok(ledger),
                Opened::Standby(standby) => {
                    if told.as_ref() != Some(&standby) {
                        on_standby(&standby);
                        told = Some(standby);
                    }
                }
            }
            tokio::time::sleep(STANDBY_LOOKS_EVERY).await;
        }
    }

    /// Appends records, all or none, and returns when they are durable.
    ///
    /// While the disk refuses writes this waits. Cancelling the wait does not take the records back: they may still be
    /// written.
    pub async fn append(&self, records: Vec<Record>) -> Result<(), AppendError> {
        self.append_noting(records, Vec::new()).await
    }

    /// The same with notes in the same write: either all of it is on disk or none. In a topic notes come first, then
    /// one record after the other, so that some may be written when an error is returned.
    pub async fn append_noting(&self, records: Vec<Record>, notes: Vec<Note>) -> Result<(), AppendError> {
        match &self.shared.kept {
            Kept::Alone(writer) => {
                let (command, answer) = Command::append(records, notes);
                writer.send(command).await?;
                answer.await.map_err(|_| AppendError::Closed)?
            }
            Kept::Shared(following) => {
                // What was begun is not taken back when nobody waits for it any more.
                let replica = Arc::clone(&following.replica);
                let append = tokio::spawn(async move { replica.append(records, notes).await });
                append.await.map_err(|_| AppendError::Closed)?
            }
        }
    }

    /// Where an episode stands, as soon as this process may write about it or it has ended. With a topic this waits while
    /// another replica is at it, and takes over from one that is dead.
    ///
    /// Cancel-safe: nothing stays claimed.
    pub async fn hold(&self, key: &EpisodeKey) -> Result<State, HoldError> {
        match &self.shared.kept {
            Kept::Alone(_) => Ok(self.state(key.clone()).await?),
            Kept::Shared(following) => following.replica.hold(key).await,
        }
    }

    /// Lets go of what is held of an incident and has not ended: another replica may go on with it.
    pub async fn let_go(&self, incident: &str) {
        match &self.shared.kept {
            Kept::Alone(_) => {}
            Kept::Shared(following) => following.replica.let_go(incident.to_owned()).await,
        }
    }

    /// The right to start something, to be had before the ATTEMPT is appended. With a topic this waits as long as the
    /// other replicas may take this one for dead.
    pub async fn turn(&self) -> Turn {
        match &self.shared.kept {
            Kept::Alone(_) => Turn::ALONE,
            Kept::Shared(following) => following.replica.turn().await,
        }
    }

    /// Whether the right still holds. To be asked after the ATTEMPT is durable, right before the network is touched.
    pub fn holds(&self, turn: Turn) -> bool {
        match &self.shared.kept {
            Kept::Alone(_) => true,
            Kept::Shared(following) => following.replica.holds(turn),
        }
    }

    /// Whether other processes may be at work beside this one.
    pub fn is_shared(&self) -> bool {
        matches!(self.shared.kept, Kept::Shared(_))
    }

    /// Whether another replica may have left something of an incident open. Never waits for long; where this process is
    /// alone the answer is no, since it has read at its start what was left.
    pub fn may_be_left(&self, incident: &str) -> bool {
        match &self.shared.kept {
            Kept::Alone(_) => false,
            // In doubt the ledger is asked again, by who can wait.
            Kept::Shared(_) => self.shared.store.has_open(incident).unwrap_or(true),
        }
    }

    /// All notes by key.
    pub async fn notes(&self) -> Result<Vec<(String, String)>, LedgerError> {
        self.read(Store::notes).await
    }

    /// Where these episodes stand, in the order asked.
    pub async fn states(&self, keys: Vec<EpisodeKey>) -> Result<Vec<State>, LedgerError> {
        self.read(move |store| store.states(&keys)).await
    }

    /// Where one episode stands.
    pub async fn state(&self, key: EpisodeKey) -> Result<State, LedgerError> {
        self.read(move |store| store.state(&key)).await
    }

    /// Every episode that has no terminal entry: after a start, those in [`State::Attempting`] are unknown.
    pub async fn unfinished(&self) -> Result<Vec<Summary>, LedgerError> {
        self.read(Store::unfinished).await
    }

    /// The episodes of one incident that have no terminal entry.
    pub async fn unfinished_of(&self, incident: String) -> Result<Vec<Summary>, LedgerError> {
        self.read(move |store| store.unfinished_of(&incident)).await
    }

    /// The entries of one episode, oldest first.
    pub async fn entries(&self, key: EpisodeKey) -> Result<Vec<Record>, LedgerError> {
        self.read(move |store| store.entries(&key)).await
    }

    /// Shows `visit` every episode that passes the filter, by key, until it breaks. Blocks on disk; memory does not grow
    /// with the ledger.
    pub fn history(
        &self,
        filter: &Filter,
        visit: &mut dyn FnMut(Summary) -> std::ops::ControlFlow<()>,
    ) -> Result<(), LedgerError> {
        self.shared.store.history(filter, visit)
    }

    /// Forgets episodes whose terminal entry is older than `before_ms` (milliseconds since the epoch); how many. Held
    /// and unfinished episodes are never forgotten.
    pub async fn expire(&self, before_ms: i64) -> Result<u64, AppendError> {
        match &self.shared.kept {
            Kept::Alone(writer) => {
                let (command, answer) = Command::expire(before_ms);
                writer.send(command).await?;
                answer.await.map_err(|_| AppendError::Closed)?
            }
            Kept::Shared(following) => following.replica.expire(before_ms).await,
        }
    }

    /// How many fsyncs the writer has made and how many records they carried.
    pub fn written(&self) -> Written {
        self.shared.store.written()
    }

    /// Whether the ledger can be written, and news of it.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.shared.health.clone()
    }

    /// The file, or the copy of the topic.
    pub fn path(&self) -> &Path {
        self.shared.store.path()
    }

    async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Store) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, LedgerError> {
        let store = Arc::clone(&self.shared.store);
        let path = store.path().to_path_buf();
        tokio::task::spawn_blocking(move || query(&store)).await.map_err(|_| LedgerError::Panicked { path })?
    }
}

/// What the writer has done so far: the quotient is the effect of group commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Durable transactions.
    pub commits: u64,
    /// Records in them.
    pub records: u64,
}
