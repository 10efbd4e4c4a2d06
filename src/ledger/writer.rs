//! The one thread that writes. Whatever has arrived while the last fsync ran goes into the next one.
//!
//! A write that fails in a way that may heal is repeated, on the database opened anew, until it succeeds or everybody
//! has gone; the callers wait. Damage ends it: every later append is told so.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use crate::ledger::Health;
use crate::ledger::entry::Record;
use crate::ledger::error::{AppendError, Fault, OpenError};
use crate::ledger::lock::FileLock;
use crate::ledger::store::{Appended, Expired, Store};

/// Appends in one transaction at most: bounds the time that the first of them waits.
const GROUP_MAX: usize = 512;
/// Wait before a failed write is repeated.
const REPEAT_AFTER: Duration = Duration::from_millis(500);

pub(crate) enum Command {
    Append { records: Vec<Record>, answer: oneshot::Sender<Appended> },
    Expire { before_ms: i64, answer: oneshot::Sender<Result<u64, AppendError>> },
}

impl Command {
    pub(crate) fn append(records: Vec<Record>) -> (Self, oneshot::Receiver<Appended>) {
        let (answer, receiver) = oneshot::channel();
        (Self::Append { records, answer }, receiver)
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
    answer: oneshot::Sender<Appended>,
}

impl Writer {
    /// Starts the thread. It ends when the last sender is dropped and everything received is written.
    pub(crate) fn start(
        store: Arc<Store>,
        lock: FileLock,
        inbox: mpsc::Receiver<Command>,
        health: watch::Sender<Health>,
    ) -> io::Result<()> {
        let mut writer = Self { store, inbox, health, _lock: lock };
        thread::Builder::new().name("ledger".to_owned()).spawn(move || writer.run())?;
        Ok(())
    }

    fn run(&mut self) {
        let mut group = Vec::new();
        while let Some(command) = self.inbox.blocking_recv() {
            let mut next = Some(command);
            while let Some(command) = next.take() {
                match command {
                    Command::Append { records, answer } => group.push(Append { records, answer }),
                    Command::Expire { before_ms, answer } => {
                        // Nobody left to hear it is no reason not to do it.
                        let _ = answer.send(self.expire(before_ms));
                    }
                }
                if group.len() < GROUP_MAX {
                    next = self.inbox.try_recv().ok();
                }
            }
            self.write(std::mem::take(&mut group));
        }
    }

    fn write(&mut self, group: Vec<Append>) {
        let records: Vec<&[Record]> = group.iter().map(|append| append.records.as_slice()).collect();
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

    fn expire(&mut self, before_ms: i64) -> Result<u64, AppendError> {
        let mut total = 0;
        loop {
            match self.until_written(|store| store.expire(before_ms)) {
                Ok(Expired::Some(count)) => total += count,
                Ok(Expired::All(count)) => return Ok(total + count),
                Err(End::Broken(reason)) => return Err(AppendError::Broken { reason }),
                Err(End::Abandoned) => return Err(AppendError::Closed),
            }
        }
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
