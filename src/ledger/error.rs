//! What can go wrong with the ledger file, each with the path and what to do.

use std::io;
use std::path::{Path, PathBuf};

use crate::ledger::episode::EpisodeKey;
use crate::ledger::fold::Contradiction;

/// Why the ledger could not be opened. None of these changes the file.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory is not there.
    #[error("the ledger {path} cannot be created: its directory does not exist; is the volume mounted?")]
    NoDirectory {
        /// The ledger file.
        path: PathBuf,
    },
    /// Read-only file system or missing permission.
    #[error(
        "the ledger {path} cannot be written: {source}; mount its directory read-write and let this user write to it"
    )]
    NotWritable {
        /// The ledger file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// No space or quota left.
    #[error("the ledger {path} cannot be opened: {source}; free space on its volume")]
    Full {
        /// The ledger file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// Damaged, cut off, or something else altogether.
    #[error(
        "the ledger {path} is damaged: {detail}. It was left as it is, and nothing will be done without it. Restore it from a \
         backup; or move it aside to start an empty one, after which every past episode counts as new"
    )]
    Damaged {
        /// The ledger file.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// Written by a newer program.
    #[error("the ledger {path} was written in format {found}, newer than this program reads; run the newer version")]
    Newer {
        /// The ledger file.
        path: PathBuf,
        /// The format it has.
        found: u64,
    },
    /// Held by another process that does not use our lock file; becomes a standby.
    #[error("the ledger {path} is open in another process")]
    AlreadyOpen {
        /// The ledger file.
        path: PathBuf,
    },
    /// The disk said no, in another way.
    #[error("the ledger {path} cannot be opened: {source}")]
    Io {
        /// The ledger file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// The ledger topic cannot be read, or not be understood.
    #[error("the ledger topic {topic} cannot be read: {detail}")]
    Topic {
        /// The topic.
        topic: String,
        /// The local copy.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// The local copy of a ledger topic belongs to one process.
    #[error(
        "{path}, the local copy of the ledger topic, is in use by another process; give every replica a storage.path of its own"
    )]
    CopyInUse {
        /// The local copy.
        path: PathBuf,
    },
    /// A bug: opening panicked.
    #[error("opening the ledger {path} panicked; see the log above")]
    Panicked {
        /// The ledger file.
        path: PathBuf,
    },
}

/// Why the ledger could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The file cannot be trusted.
    #[error("the ledger {path} is damaged: {detail}. It was left as it is; restore it from a backup")]
    Damaged {
        /// The ledger file.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// The disk said no.
    #[error("the ledger {path} cannot be read: {detail}")]
    Unreadable {
        /// The ledger file.
        path: PathBuf,
        /// The system's words.
        detail: String,
    },
    /// A bug: reading panicked.
    #[error("reading the ledger {path} panicked; see the log above")]
    Panicked {
        /// The ledger file.
        path: PathBuf,
    },
}

/// Why records were not appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The records do not follow from what the ledger holds. Nothing of this append was written.
    #[error("episode {key}: {contradiction}")]
    Contradiction {
        /// The episode.
        key: Box<EpisodeKey>,
        /// What does not follow from what.
        contradiction: Contradiction,
    },
    /// Another replica has written about the episode since. Nothing of this append was accepted; what is to be done now is
    /// decided anew, from where the episode stands.
    #[error("episode {key}: {holder} has it")]
    Lost {
        /// The episode.
        key: Box<EpisodeKey>,
        /// Who holds it now.
        holder: String,
    },
    /// The ledger cannot be trusted any more; the service has to stop.
    #[error("{reason}")]
    Broken {
        /// What failed, where, and what to do.
        reason: String,
    },
    /// The writer is gone: the ledger was closed, or the writer panicked.
    #[error("the ledger is closed")]
    Closed,
}

/// Why it is not known whether an episode may be acted upon.
#[derive(Debug, thiserror::Error)]
pub enum HoldError {
    /// Its state cannot be read.
    #[error(transparent)]
    Read(#[from] LedgerError),
    /// It cannot be claimed.
    #[error(transparent)]
    Claim(#[from] AppendError),
}

/// A failure of the store below, sorted by what can be done about it.
#[derive(Debug)]
pub(crate) enum Fault {
    /// May heal: a full disk, a volume that went away. The database has to be opened again.
    Heals(String),
    /// Will not heal by waiting.
    Damaged(String),
}

impl Fault {
    pub(crate) fn of(error: redb::Error) -> Self {
        match error {
            redb::Error::Corrupted(detail) => Self::Damaged(detail),
            redb::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => Self::Damaged(error.to_string()),
            redb::Error::Io(error) => Self::Heals(explain(&error)),
            error @ (redb::Error::PreviousIo | redb::Error::DatabaseClosed | redb::Error::DatabaseAlreadyOpen) => {
                Self::Heals(error.to_string())
            }
            error => Self::Damaged(error.to_string()),
        }
    }

    pub(crate) fn into_ledger_error(self, path: &Path) -> LedgerError {
        let path = path.to_path_buf();
        match self {
            Self::Heals(detail) => LedgerError::Unreadable { path, detail },
            Self::Damaged(detail) => LedgerError::Damaged { path, detail },
        }
    }
}

/// The system's words, and what to do where that is known.
pub(crate) fn explain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => format!("{error}; free space on its volume"),
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
            format!("{error}; mount its volume read-write and let this user write to it")
        }
        io::ErrorKind::StaleNetworkFileHandle => format!("{error}; the network volume was replaced: mount it again"),
        _ => error.to_string(),
    }
}

/// Sorts an I/O error met while opening.
pub(crate) fn open_error(path: &Path, source: io::Error) -> OpenError {
    let path = path.to_path_buf();
    match source.kind() {
        io::ErrorKind::NotFound => OpenError::NoDirectory { path },
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => OpenError::NotWritable { path, source },
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => OpenError::Full { path, source },
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
            OpenError::Damaged { path, detail: source.to_string() }
        }
        _ => OpenError::Io { path, source },
    }
}
