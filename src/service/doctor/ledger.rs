//! The ledger's place: who holds it, its size, the free disk, how long an fsync takes. The ledger itself is not opened.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::config::{Backend, Config};

use super::Notes;
use super::report::Layer;

/// A network file system that takes longer hangs.
const WITHIN: Duration = Duration::from_secs(6);
/// Below this an incident storm may fill the disk.
const FREE_LOW: u64 = 100 << 20;

/// What was seen.
struct Seen {
    size: Option<u64>,
    holder: Option<String>,
    free: u64,
    fsync: Duration,
}

pub(super) async fn look(config: &Config, notes: &Notes) {
    let begun = Instant::now();
    let path = match &config.storage.backend {
        Backend::File => config.storage.path.clone(),
        // Of the topic the brokers tell; here is its copy.
        Backend::Kafka(_) => config.storage.path.with_added_extension("copy"),
    };
    let subject = path.display().to_string();
    let looked = tokio::task::spawn_blocking(move || see(&path));
    match tokio::time::timeout(WITHIN, looked).await {
        Ok(Ok(Ok(seen))) => tell(&subject, &seen, notes, begun),
        Ok(Ok(Err(what))) => {
            let advice = "is the volume mounted there, and writable by user 1000?";
            notes.bad(Layer::Ledger, &subject, what, advice, begun);
        }
        Ok(Err(error)) => notes.bad(Layer::Ledger, &subject, error.to_string(), "this is a defect", begun),
        Err(_) => {
            let what = format!("the file system gave no answer within {} s", WITHIN.as_secs());
            notes.bad(Layer::Ledger, &subject, what, "the volume hangs: look at its mount (NFS, EFS)", begun);
        }
    }
}

fn tell(subject: &str, seen: &Seen, notes: &Notes, begun: Instant) {
    let size = seen.size.map_or_else(|| "not made yet".to_owned(), |size| format!("{} KiB", size / 1024));
    let held = seen.holder.as_ref().map_or_else(|| "held by nobody".to_owned(), |holder| format!("held by {holder}"));
    let (free, fsync) = (seen.free >> 20, seen.fsync.as_millis());
    let what = format!("{size}, {held}, {free} MiB free, fsync {fsync} ms");
    if seen.free < FREE_LOW {
        notes.bad(Layer::Ledger, &subject, what, "the disk is nearly full: nothing starts when it is", begun);
    } else {
        notes.good(Layer::Ledger, &subject, what, begun);
    }
}

fn see(path: &Path) -> Result<Seen, String> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let wrong = |what: &str, error: &dyn std::fmt::Display| format!("{}: {what}: {error}", folder.display());
    let disk = rustix::fs::statvfs(folder).map_err(|error| wrong("cannot be looked at", &error))?;
    let size = std::fs::metadata(path).ok().map(|file| file.len());
    let fsync = fsync(folder).map_err(|error| wrong("cannot be written", &error))?;
    Ok(Seen { size, holder: holder(path), free: disk.f_bavail.saturating_mul(disk.f_frsize), fsync })
}

/// Who holds the lock beside the ledger. It is asked for shared and let go at once; a missing file is not made.
fn holder(path: &Path) -> Option<String> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let file = File::open(PathBuf::from(name)).ok()?;
    match file.try_lock_shared() {
        Ok(()) | Err(TryLockError::Error(_)) => None,
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            let _ = (&file).take(256).read_to_string(&mut text);
            Some(if text.trim().is_empty() { "somebody".to_owned() } else { text.trim().to_owned() })
        }
    }
}

/// With a file of our own beside the ledger, gone afterwards.
fn fsync(folder: &Path) -> std::io::Result<Duration> {
    let path = folder.join(format!(".doctor-{}", std::process::id()));
    let measured = OpenOptions::new().write(true).create_new(true).open(&path).and_then(|mut file| {
        file.write_all(b"how long does this take")?;
        let begun = Instant::now();
        file.sync_all()?;
        Ok(begun.elapsed())
    });
    let _ = std::fs::remove_file(&path);
    measured
}
