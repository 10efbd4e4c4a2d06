//! The ledger as redb tables: file I/O and fsync, no memory map, so that it may lie on NFS.
//!
//! | table | key | value |
//! |---|---|---|
//! | `log` | sequence number | a [`Record`] |
//! | `episodes` | text of the key | a [`Summary`]: the fold of its records, and their sequence numbers |
//! | `open` | text of the key | nothing; the episodes without a terminal entry |
//! | `notes` | text | text: what others keep beside the records |
//! | `ended` | time of the terminal entry, text of the key | nothing; what retention walks (held ones are not in it) |
//!
//! A new ledger is built under another name and renamed, so a file of this name was always complete: an empty or
//! foreign one is damage, never an invitation to start afresh.

mod copy;

use std::fs::{self, File};
use std::io;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use redb::{
    Database, DatabaseError, ReadTransaction, ReadableDatabase as _, ReadableTable, Table, TableDefinition, TableError,
    WriteTransaction,
};

use crate::ledger::Written;
use crate::ledger::entry::{DecodeError, Note, Record, decode, encode};
use crate::ledger::episode::EpisodeKey;
use crate::ledger::error::{AppendError, Fault, LedgerError, OpenError, open_error};
use crate::ledger::fold::{State, Terminal, fold};
use crate::ledger::history::{Filter, Summary};

const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");
const EPISODES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("episodes");
const OPEN: TableDefinition<'_, &str, ()> = TableDefinition::new("open");
const ENDED: TableDefinition<'_, (i64, &str), ()> = TableDefinition::new("ended");
const NOTES: TableDefinition<'_, &str, &str> = TableDefinition::new("notes");

/// Pages kept in memory. The working set is the right edge of the log and the open episodes.
const CACHE_BYTES: usize = 8 << 20;
/// Episodes forgotten per transaction, so that appends do not wait long.
const EXPIRED_PER_COMMIT_MAX: usize = 512;

pub(crate) use copy::Heard;

/// How a database file is opened; tests put a failing disk in between.
pub type OpenDatabase = Box<dyn Fn(&Path) -> Result<Database, DatabaseError> + Send + Sync>;

pub(crate) struct Store {
    path: PathBuf,
    open: OpenDatabase,
    database: RwLock<Option<Arc<Database>>>,
    commits: AtomicU64,
    records: AtomicU64,
}

/// What became of one append of a group.
pub(crate) type Appended = Result<(), AppendError>;

impl Store {
    pub(crate) fn open(path: &Path) -> Result<Self, OpenError> {
        Self::open_with(path, Box::new(open_file))
    }

    pub(crate) fn open_with(path: &Path, open: OpenDatabase) -> Result<Self, OpenError> {
        if !path.try_exists().map_err(|error| open_error(path, error))? {
            create(path)?;
        }
        let database = open_checked(path, &open)?;
        Ok(Self {
            path: path.to_path_buf(),
            open,
            database: RwLock::new(Some(Arc::new(database))),
            commits: AtomicU64::new(0),
            records: AtomicU64::new(0),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn written(&self) -> Written {
        Written { commits: self.commits.load(Ordering::Relaxed), records: self.records.load(Ordering::Relaxed) }
    }

    /// Lets go of the database and opens it again: what redb asks for after any I/O error.
    pub(crate) fn reopen(&self) -> Result<(), OpenError> {
        let mut database = self.database.write().unwrap_or_else(PoisonError::into_inner);
        *database = None;
        *database = Some(Arc::new(open_checked(&self.path, &self.open)?));
        Ok(())
    }

    fn database(&self) -> Result<Arc<Database>, Fault> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        database.clone().ok_or_else(|| Fault::Heals("the file is being opened again".to_owned()))
    }

    /// Writes a group of appends in one durable transaction. Each is all or nothing by itself; `Err` means that none was
    /// written.
    pub(crate) fn append(&self, group: &[(&[Record], &[Note])]) -> Result<Vec<Appended>, Fault> {
        let database = self.database()?;
        let transaction = database.begin_write().map_err(fault)?;
        let appended = {
            let mut tables = Tables::open(&transaction)?;
            group.iter().map(|(records, _)| tables.append(records)).collect::<Result<Vec<_>, Fault>>()?
        };
        let written = group.iter().zip(&appended).filter(|(_, appended)| appended.is_ok()).map(|(group, _)| group);
        note(&transaction, written.flat_map(|(_, notes)| *notes))?;
        transaction.commit().map_err(fault)?;
        let written =
            group.iter().zip(&appended).filter(|(_, appended)| appended.is_ok()).map(|((records, _), _)| records.len());
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.records.fetch_add(written.sum::<usize>() as u64, Ordering::Relaxed);
        Ok(appended)
    }

    /// Forgets some episodes that ended before `before_ms`; how many, less than the bound when none is left.
    pub(crate) fn expire(&self, before_ms: i64) -> Result<Expired, Fault> {
        let database = self.database()?;
        let transaction = database.begin_write().map_err(fault)?;
        let count = Tables::open(&transaction)?.expire(before_ms)?;
        transaction.commit().map_err(fault)?;
        Ok(if count < EXPIRED_PER_COMMIT_MAX { Expired::All(count as u64) } else { Expired::Some(count as u64) })
    }

    pub(crate) fn state(&self, key: &EpisodeKey) -> Result<State, LedgerError> {
        self.states(std::slice::from_ref(key)).map(|states| states.into_iter().next().unwrap_or_default())
    }

    pub(crate) fn states(&self, keys: &[EpisodeKey]) -> Result<Vec<State>, LedgerError> {
        self.read(|transaction| {
            let Some(episodes) = existing(transaction.open_table(EPISODES))? else {
                return Ok(vec![State::Absent; keys.len()]);
            };
            keys.iter()
                .map(|key| Ok(summary(&episodes, &key.to_string())?.map_or(State::Absent, |s| s.state)))
                .collect()
        })
    }

    pub(crate) fn entries(&self, key: &EpisodeKey) -> Result<Vec<Record>, LedgerError> {
        self.read(|transaction| {
            let Some(episodes) = existing(transaction.open_table(EPISODES))? else { return Ok(Vec::new()) };
            let Some(summary) = summary(&episodes, &key.to_string())? else { return Ok(Vec::new()) };
            let log = transaction.open_table(LOG).map_err(fault)?;
            let mut records = Vec::with_capacity(summary.sequence.len());
            for sequence in &summary.sequence {
                let stored = log.get(sequence).map_err(fault)?;
                let stored = stored.ok_or_else(|| Fault::Damaged(format!("record {sequence} of {key} is missing")))?;
                records.push(readable(decode(stored.value()), "a record")?);
            }
            Ok(records)
        })
    }

    pub(crate) fn notes(&self) -> Result<Vec<(String, String)>, LedgerError> {
        self.read(|transaction| {
            let Some(notes) = existing(transaction.open_table(NOTES))? else { return Ok(Vec::new()) };
            let text =
                |entry: Result<(redb::AccessGuard<'_, &str>, redb::AccessGuard<'_, &str>), redb::StorageError>| {
                    let (key, value) = entry.map_err(fault)?;
                    Ok((key.value().to_owned(), value.value().to_owned()))
                };
            notes.iter().map_err(fault)?.map(text).collect()
        })
    }

    pub(crate) fn unfinished(&self) -> Result<Vec<Summary>, LedgerError> {
        self.read(|transaction| {
            let Some(open) = existing(transaction.open_table(OPEN))? else { return Ok(Vec::new()) };
            let episodes = transaction.open_table(EPISODES).map_err(fault)?;
            let mut found = Vec::new();
            for entry in open.iter().map_err(fault)? {
                let (key, ()) = entry.map(|(key, _)| (key, ())).map_err(fault)?;
                let summary = summary(&episodes, key.value())?;
                found.push(summary.ok_or_else(|| Fault::Damaged(format!("episode {} is missing", key.value())))?);
            }
            Ok(found)
        })
    }

    pub(crate) fn unfinished_of(&self, incident: &str) -> Result<Vec<Summary>, LedgerError> {
        let mut open = Vec::new();
        let filter = Filter { incident: Some(incident.to_owned()), ..Filter::default() };
        self.history(&filter, &mut |episode| {
            if !episode.state.is_terminal() {
                open.push(episode);
            }
            ControlFlow::Continue(())
        })?;
        Ok(open)
    }

    pub(crate) fn history(
        &self,
        filter: &Filter,
        visit: &mut dyn FnMut(Summary) -> ControlFlow<()>,
    ) -> Result<(), LedgerError> {
        self.read(|transaction| {
            let Some(episodes) = existing(transaction.open_table(EPISODES))? else { return Ok(()) };
            let (from, to) = filter.key_range();
            let range = match &to {
                Some(to) => episodes.range::<&str>(from.as_str()..to.as_str()),
                None => episodes.range::<&str>(from.as_str()..),
            };
            for entry in range.map_err(fault)? {
                let (_, stored) = entry.map_err(fault)?;
                let summary: Summary = readable(decode(stored.value()), "an episode")?;
                if filter.admits(&summary) && visit(summary).is_break() {
                    break;
                }
            }
            Ok(())
        })
    }

    fn read<T>(&self, query: impl FnOnce(&ReadTransaction) -> Result<T, Fault>) -> Result<T, LedgerError> {
        let answer = self.database().and_then(|database| query(&database.begin_read().map_err(fault)?));
        answer.map_err(|fault| fault.into_ledger_error(&self.path))
    }
}

/// How far a round of forgetting came.
pub(crate) enum Expired {
    /// Nothing is left to forget.
    All(u64),
    /// There is more.
    Some(u64),
}

/// The tables of one write transaction.
struct Tables<'t> {
    log: Table<'t, u64, &'static [u8]>,
    episodes: Table<'t, &'static str, &'static [u8]>,
    open: Table<'t, &'static str, ()>,
    ended: Table<'t, (i64, &'static str), ()>,
    next: u64,
}

impl<'t> Tables<'t> {
    fn open(transaction: &'t WriteTransaction) -> Result<Self, Fault> {
        let log = transaction.open_table(LOG).map_err(fault)?;
        let next = log.last().map_err(fault)?.map_or(0, |(sequence, _)| sequence.value() + 1);
        Ok(Self {
            episodes: transaction.open_table(EPISODES).map_err(fault)?,
            open: transaction.open_table(OPEN).map_err(fault)?,
            ended: transaction.open_table(ENDED).map_err(fault)?,
            log,
            next,
        })
    }

    fn append(&mut self, records: &[Record]) -> Result<Appended, Fault> {
        let mut changed: Vec<(String, Option<Summary>, Summary)> = Vec::with_capacity(records.len());
        for (position, record) in (0_u64..).zip(records) {
            let text = record.key.to_string();
            let index = if let Some(index) = changed.iter().position(|(known, ..)| *known == text) {
                index
            } else {
                let before = summary(&self.episodes, &text)?;
                let after = before.clone().unwrap_or_else(|| Summary::new(record));
                changed.push((text, before, after));
                changed.len() - 1
            };
            let Some((_, _, after)) = changed.get_mut(index) else { continue };
            match fold(&after.state, &record.entry) {
                Ok(state) => after.extend(record, state, self.next + position),
                Err(contradiction) => {
                    return Ok(Err(AppendError::Contradiction { key: Box::new(record.key.clone()), contradiction }));
                }
            }
        }
        for record in records {
            self.log.insert(self.next, encode(record).as_slice()).map_err(fault)?;
            self.next += 1;
        }
        for (text, before, after) in &changed {
            self.index(text, before.as_ref(), after)?;
        }
        Ok(Ok(()))
    }

    fn index(&mut self, text: &str, before: Option<&Summary>, after: &Summary) -> Result<(), Fault> {
        self.episodes.insert(text, encode(after).as_slice()).map_err(fault)?;
        if let Some(before) = before.filter(|before| expires(before)) {
            self.ended.remove((before.last_ms, text)).map_err(fault)?;
        }
        if after.state.is_terminal() {
            self.open.remove(text).map_err(fault)?;
        } else {
            self.open.insert(text, ()).map_err(fault)?;
        }
        if expires(after) {
            self.ended.insert((after.last_ms, text), ()).map_err(fault)?;
        }
        Ok(())
    }

    fn expire(&mut self, before_ms: i64) -> Result<usize, Fault> {
        let mut old = Vec::new();
        for entry in self.ended.range(..(before_ms, "")).map_err(fault)?.take(EXPIRED_PER_COMMIT_MAX) {
            let (key, _) = entry.map_err(fault)?;
            let (at, text) = key.value();
            old.push((at, text.to_owned()));
        }
        for (_, text) in &old {
            self.forget(text)?;
        }
        Ok(old.len())
    }

    /// Removes an episode and its records.
    fn forget(&mut self, text: &str) -> Result<(), Fault> {
        let Some(known) = summary(&self.episodes, text)? else { return Ok(()) };
        for number in known.sequence {
            self.log.remove(number).map_err(fault)?;
        }
        self.episodes.remove(text).map_err(fault)?;
        self.open.remove(text).map_err(fault)?;
        self.ended.remove((known.last_ms, text)).map_err(fault)?;
        Ok(())
    }
}

/// Writes notes; the table comes into being with the first.
fn note<'n>(transaction: &WriteTransaction, notes: impl Iterator<Item = &'n Note>) -> Result<(), Fault> {
    let mut notes = notes.peekable();
    if notes.peek().is_none() {
        return Ok(());
    }
    let mut table = transaction.open_table(NOTES).map_err(fault)?;
    for Note { key, value } in notes {
        match value {
            Some(value) => table.insert(key.as_str(), value.as_str()).map(drop).map_err(fault)?,
            None => table.remove(key.as_str()).map(drop).map_err(fault)?,
        }
    }
    Ok(())
}

/// Whether retention may ever forget the episode: it ended, and nobody is waiting for a person.
fn expires(summary: &Summary) -> bool {
    match summary.state.terminal() {
        Some(Terminal::Succeeded | Terminal::Failed | Terminal::Skipped | Terminal::Found) => true,
        Some(Terminal::Held) => false,
        None => summary.state.is_terminal(),
    }
}

fn summary(episodes: &impl ReadableTable<&'static str, &'static [u8]>, text: &str) -> Result<Option<Summary>, Fault> {
    let stored = episodes.get(text).map_err(fault)?;
    stored.map(|stored| readable(decode(stored.value()), "an episode")).transpose()
}

fn readable<T>(decoded: Result<T, DecodeError>, what: &str) -> Result<T, Fault> {
    decoded.map_err(|error| Fault::Damaged(format!("{what} cannot be read: {error}")))
}

/// A table that nothing was written to yet does not exist.
fn existing<T>(opened: Result<T, TableError>) -> Result<Option<T>, Fault> {
    match opened {
        Ok(table) => Ok(Some(table)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(fault(error)),
    }
}

fn fault(error: impl Into<redb::Error>) -> Fault {
    Fault::of(error.into())
}

/// Opens an existing file and verifies every page: redb may panic later on a page that was altered outside.
pub(crate) fn open_file(path: &Path) -> Result<Database, DatabaseError> {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true).open(path)
}

fn open_checked(path: &Path, open: &OpenDatabase) -> Result<Database, OpenError> {
    let length = fs::metadata(path).map_err(|error| open_error(path, error))?.len();
    if length == 0 {
        let detail = "the file is empty, and this program never leaves an empty one".to_owned();
        return Err(OpenError::Damaged { path: path.to_path_buf(), detail });
    }
    if let Ok(opened) = catch_unwind(AssertUnwindSafe(|| open(path))) {
        opened.map_err(|error| database_error(path, error))
    } else {
        let detail = "its structure contradicts itself".to_owned();
        Err(OpenError::Damaged { path: path.to_path_buf(), detail })
    }
}

fn database_error(path: &Path, error: DatabaseError) -> OpenError {
    let owned = path.to_path_buf();
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
            OpenError::AlreadyOpen { path: owned }
        }
        DatabaseError::Storage(redb::StorageError::Io(source)) => open_error(path, source),
        DatabaseError::UpgradeRequired(format) => {
            OpenError::Damaged { path: owned, detail: format!("it is a database of the old format {format}") }
        }
        error => OpenError::Damaged { path: owned, detail: error.to_string() },
    }
}

/// Builds an empty ledger beside `path` and renames it, so that a crash leaves either nothing or a whole file.
fn create(path: &Path) -> Result<(), OpenError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let draft = PathBuf::from(name);
    let failed = |error: io::Error| open_error(path, error);
    match fs::remove_file(&draft) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let database =
        Database::builder().set_cache_size(CACHE_BYTES).create(&draft).map_err(|error| database_error(path, error))?;
    let transaction = database.begin_write().map_err(|error| built(path, error))?;
    Tables::open(&transaction).map(drop).map_err(|fault| match fault {
        Fault::Heals(detail) | Fault::Damaged(detail) => {
            OpenError::Io { path: path.to_path_buf(), source: io::Error::other(detail) }
        }
    })?;
    transaction.commit().map_err(|error| built(path, error))?;
    drop(database);
    fs::rename(&draft, path).map_err(failed)?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)
}

fn built(path: &Path, error: impl Into<redb::Error>) -> OpenError {
    match error.into() {
        redb::Error::Io(source) => open_error(path, source),
        other => OpenError::Io { path: path.to_path_buf(), source: io::Error::other(other.to_string()) },
    }
}
