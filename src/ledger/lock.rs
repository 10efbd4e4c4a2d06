//! One process per ledger.
//!
//! A lock on a file beside the ledger, held for the life of the process, rather than on the ledger itself: the database
//! is opened again after a full disk, and a standby must not slip in between. The lock is `flock`, which NFS clients
//! turn into a lock at the server; it goes away with the process, however that ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use crate::ledger::error::{OpenError, open_error};

/// How much of a holder's description is shown.
const HOLDER_BYTES_MAX: u64 = 256;

/// The lock; let go on drop.
#[derive(Debug)]
pub(crate) struct FileLock {
    _file: File,
}

pub(crate) enum Acquired {
    Held(FileLock),
    Elsewhere { holder: String },
}

impl FileLock {
    /// Takes the lock for the ledger at `path`, or says who has it.
    pub(crate) fn acquire(path: &Path, holder: &str) -> Result<Acquired, OpenError> {
        let lock_path = beside(path);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&lock_path)
            .map_err(|error| open_error(path, error))?;
        match file.try_lock() {
            Ok(()) => {
                describe(&mut file, holder);
                Ok(Acquired::Held(Self { _file: file }))
            }
            Err(TryLockError::WouldBlock) => Ok(Acquired::Elsewhere { holder: described(file) }),
            Err(TryLockError::Error(error)) => Err(open_error(path, error)),
        }
    }
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}

/// The description is a courtesy to the operator: a full disk must not keep the lock from being taken.
fn describe(file: &mut File, holder: &str) {
    let written = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(holder.as_bytes()));
    if let Err(error) = written {
        tracing::debug!(%error, "the holder of the ledger lock could not be noted");
    }
}

fn described(file: File) -> String {
    let mut text = String::new();
    match file.take(HOLDER_BYTES_MAX).read_to_string(&mut text) {
        Ok(_) => text.trim().to_owned(),
        Err(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_taker_learns_who_has_it_and_gets_it_when_it_is_free() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.redb");
        let Acquired::Held(first) = FileLock::acquire(&path, "pod a, pid 7").unwrap() else { panic!("free") };
        let Acquired::Elsewhere { holder } = FileLock::acquire(&path, "pod b").unwrap() else { panic!("held") };
        assert_eq!(holder, "pod a, pid 7");
        drop(first);
        assert!(matches!(FileLock::acquire(&path, "pod b").unwrap(), Acquired::Held(_)));
    }

    #[test]
    fn a_missing_directory_is_named() {
        let error = FileLock::acquire(Path::new("/nowhere/at/all/ledger.redb"), "").err().unwrap().to_string();
        assert!(error.contains("/nowhere/at/all/ledger.redb") && error.contains("mounted"), "{error}");
    }
}
