//! The one thread that writes. Whatever has arrived while the last fsync ran goes into the next one.
//!
//! A write that fails in a way that may heal is repeated, on the database opened anew, until it succeeds or everybody
//! has gone; the callers wait. Damage ends it: every later append is told so.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, oneshot, watch};

use crate::ledger::Health;
use crate::ledger::entry::{Note, Record};
use crate::ledger::error::{AppendError, Fault, OpenError};
use crate::ledger::lock::FileLock;
use crate::ledger::store::{Appended, Expired, Store};

/// How many append calls may wait for the writer before the next one waits for room.
const APPENDS_WAITING_MAX: usize = 1024;
/// Appends in one transaction at most: bounds the time that the first of them waits.
const GROUP_MAX: usize = 512;
/// Wait before a failed write is repeated.
const REPEAT_AFTER: Duration = Duration::from_millis(500);

pub(crate) enum Command {
    Append { records: Vec<Record>, notes: Vec<Note>, answer: oneshot::Sender<Appended> },
    Expire { before_ms: i64, answer: oneshot::Sender<Result<u64, AppendError>> },
}

impl Command {
    pub(crate) fn append(records: Vec<Record>, notes: Vec<Note>) -> (Self, oneshot::Receiver<Appended>) {
        let (answer, receiver) = oneshot::channel();
        (Self::Append { records, notes, answer }, receiver)
    }

    pub(crate) fn expire(before_ms: i64) -> (Self, oneshot::Receiver<Result<u64, AppendError>>) {
        let (answer, receiver) = oneshot::channel();
        (Self::Expire { before_ms, answer }, receiver)
    }
}

pub(crate) struct Writer {
    store: Arc<Store>,
    inbox: mpsc::Receiver<Command>,
    health: watch::Sender<Health>,
    // Dropped last: the lock outlives every use of the file.
    _lock: FileLock,
}

struct Append {
    records: Vec<Record>,
    notes: Vec<Note>,
    answer: oneshot::Sender<Appended>,
}

/// What the thread turns to.
enum Next {
    Command(Command),
    /// Nobody asks for anything; forgetting goes on.
    OldWork,
    /// Everybody has gone.
    Closed,
}

struct Expiry {
    before_ms: i64,
    total: u64,
    answer: oneshot::Sender<Result<u64, AppendError>>,
}

/// The thread, as its owner holds it. Dropping it waits until everything received is written and the file let go.
pub(crate) struct WriterThread {
    commands: Option<mpsc::Sender<Command>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl WriterThread {
    /// Hands a command to the thread, waiting while too many are before it.
    pub(crate) async fn send(&self, command: Command) -> Result<(), AppendError> {
        let commands = self.commands.as_ref().ok_or(AppendError::Closed)?;
        commands.send(command).await.map_err(|_| AppendError::Closed)
    }
}

impl Drop for WriterThread {
    fn drop(&mut self) {
        self.commands = None;
        // A panic of the thread was told where it happened; there is nothing to add here.
        let _ = self.thread.take().map(thread::JoinHandle::join);
    }
}

impl Writer {
    /// Starts the thread. It ends when its handle is dropped and everything received is written.
    pub(crate) fn start(store: Arc<Store>, lock: FileLock, health: watch::Sender<Health>) -> io::Result<WriterThread> {
        let (commands, inbox) = mpsc::channel(APPENDS_WAITING_MAX);
        let mut writer = Self { store, inbox, health, _lock: lock };
        let thread = thread::Builder::new().name("ledger".to_owned()).spawn(move || writer.run())?;
        Ok(WriterThread { commands: Some(commands), thread: Some(thread) })
    }

    fn run(&mut self) {
        let mut expiries = VecDeque::new();
        loop {
            let first = match self.next(&expiries) {
                Next::Command(command) => Some(command),
                Next::OldWork => None,
                Next::Closed => break,
            };
            let group = self.gather(first, &mut expiries);
            self.write(group);
            // One round at a time: appends do not wait until everything old is gone.
            if let Some(expiry) = expiries.pop_front()
                && let Some(unfinished) = self.expire(expiry)
            {
                expiries.push_front(unfinished);
            }
        }
    }

    /// Waits for a command, unless there is old work to go on with.
    fn next(&mut self, expiries: &VecDeque<Expiry>) -> Next {
        if expiries.is_empty() {
            return self.inbox.blocking_recv().map_or(Next::Closed, Next::Command);
        }
        match self.inbox.try_recv() {
            Ok(command) => Next::Command(command),
            Err(TryRecvError::Empty) => Next::OldWork,
            Err(TryRecvError::Disconnected) => Next::Closed,
        }
    }

    /// Takes whatever has arrived.
    fn gather(&mut self, first: Option<Command>, expiries: &mut VecDeque<Expiry>) -> Vec<Append> {
        let mut group = Vec::new();
        let mut next = first;
        while let Some(command) = next.take() {
            match command {
                Command::Append { records, notes, answer } => group.push(Append { records, notes, answer }),
                Command::Expire { before_ms, answer } => expiries.push_back(Expiry { before_ms, total: 0, answer }),
            }
            if group.len() < GROUP_MAX {
                next = self.inbox.try_recv().ok();
            }
        }
        group
    }

    fn write(&mut self, group: Vec<Append>) {
        let records: Vec<_> = group.iter().map(|append| (append.records.as_slice(), append.notes.as_slice())).collect();
        let written =
            if records.is_empty() { Ok(Vec::new()) } else { self.until_written(|store| store.append(&records)) };
        match written {
            Ok(results) => {
                for (append, result) in group.into_iter().zip(results) {
                    let _ = append.answer.send(result);
                }
            }
            Err(End::Broken(reason)) => {
                for append in group {
                    let _ = append.answer.send(Err(AppendError::Broken { reason: reason.clone() }));
                }
            }
            // Dropping the answers tells the callers.
            Err(End::Abandoned) => {}
        }
    }

    /// Forgets some old episodes; the rest of the work, if there is any.
    fn expire(&mut self, mut expiry: Expiry) -> Option<Expiry> {
        let before_ms = expiry.before_ms;
        let answer = match self.until_written(|store| store.expire(before_ms)) {
            Ok(Expired::Some(count)) => {
                expiry.total += count;
                return Some(expiry);
            }
            Ok(Expired::All(count)) => Ok(expiry.total + count),
            Err(End::Broken(reason)) => Err(AppendError::Broken { reason }),
            Err(End::Abandoned) => Err(AppendError::Closed),
        };
        // Nobody left to hear it is no reason not to have done it.
        let _ = expiry.answer.send(answer);
        None
    }

    /// Repeats `attempt` until it succeeds, the file turns out damaged, or nobody is left who could care.
    fn until_written<T>(&mut self, attempt: impl Fn(&Store) -> Result<T, Fault>) -> Result<T, End> {
        if let Health::Broken { reason } = &*self.health.borrow() {
            return Err(End::Broken(reason.clone()));
        }
        loop {
            match attempt(&self.store) {
                Ok(value) => {
                    self.healthy();
                    return Ok(value);
                }
                Err(Fault::Damaged(detail)) => return Err(self.broken(&detail)),
                Err(Fault::Heals(detail)) => self.stalled(&detail),
            }
            if self.inbox.is_closed() {
                return Err(End::Abandoned);
            }
            #[expect(
                clippy::disallowed_methods,
                reason = "a thread of its own, pacing repeats against a disk that says no"
            )]
            thread::sleep(REPEAT_AFTER);
            match self.store.reopen() {
                Ok(()) => {}
                Err(error @ (OpenError::Damaged { .. } | OpenError::Newer { .. })) => {
                    return Err(self.broken(&error.to_string()));
                }
                Err(error) => self.stalled(&error.to_string()),
            }
        }
    }

    fn healthy(&self) {
        let changed = self.health.send_if_modified(|health| {
            let recovered = *health != Health::Writable;
            *health = Health::Writable;
            recovered
        });
        if changed {
            tracing::info!(path = %self.store.path().display(), "the ledger can be written again");
        }
    }

    fn stalled(&self, detail: &str) {
        let reason = format!(
            "the ledger {} cannot be written: {detail}; nothing new starts until it can",
            self.store.path().display()
        );
        let news = Health::Stalled { reason: reason.clone() };
        let changed = self.health.send_if_modified(|health| {
            let changed = !matches!(health, Health::Stalled { .. });
            *health = news;
            changed
        });
        if changed {
            tracing::error!(reason, "the ledger is stalled");
        }
    }

    fn broken(&self, detail: &str) -> End {
        let reason = format!(
            "the ledger {} is damaged: {detail}. It was left as it is; restore it from a backup",
            self.store.path().display()
        );
        tracing::error!(reason, "the ledger is broken");
        self.health.send_replace(Health::Broken { reason: reason.clone() });
        End::Broken(reason)
    }
}

enum End {
    Broken(String),
    Abandoned,
}
