//! A log file that does not grow without end: `consumer.log`, and what was before in `consumer.log.1`, `consumer.log.2`, ...
//!
//! Promised: a line is whole in one file and in no other; rotating renames, so no line is lost by it, and where it cannot be
//! done the file goes on and it is tried again later; what cannot be written leaves no half of a line. A file that was taken
//! away from under the process is made anew. Nothing here ends the process: whoever writes hears of the error and goes on.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// After something went wrong with the files' names.
const TRIES_AGAIN_AFTER: Duration = Duration::from_secs(10);

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// A file that would become larger is rotated, bytes.
    pub bytes_max: u64,
    /// How many older files stay.
    pub keep: u32,
}

impl Default for Rotation {
    fn default() -> Self {
        Self { bytes_max: 50 * 1024 * 1024, keep: 5 }
    }
}

/// The log file.
#[derive(Debug)]
pub(super) struct Rotating {
    path: PathBuf,
    rotation: Rotation,
    /// Open, with its size; `None` while it cannot be opened.
    current: Option<(File, u64)>,
    /// When opening or renaming may be tried again.
    not_before: Option<Instant>,
}

impl Rotating {
    /// A file that is opened with the first line.
    pub(super) fn new(path: PathBuf, rotation: Rotation) -> Self {
        Self { path, rotation, current: None, not_before: None }
    }

    /// Opens it, so that whoever starts hears of what is wrong.
    pub(super) fn open(&mut self) -> io::Result<()> {
        self.current(Instant::now()).map(|_| ())
    }

    /// Appends a line with its end, at a moment.
    pub(super) fn write(&mut self, line: &str, now: Instant) -> io::Result<()> {
        let added = u64::try_from(line.len()).unwrap_or(u64::MAX);
        let (_, size) = self.current(now)?;
        let full = *size > 0 && size.saturating_add(added) > self.rotation.bytes_max;
        if full && self.may_try(now) && self.rotate().is_err() {
            self.not_before = now.checked_add(TRIES_AGAIN_AFTER);
        }
        let (file, size) = self.current(now)?;
        match file.write_all(line.as_bytes()) {
            Ok(()) => {
                *size = size.saturating_add(added);
                Ok(())
            }
            Err(error) => {
                // What was written of it goes again; if even that fails, half a line stays.
                let _ = file.set_len(*size);
                Err(error)
            }
        }
    }

    fn may_try(&self, now: Instant) -> bool {
        self.not_before.is_none_or(|at| now >= at)
    }

    /// The open file and its size.
    fn current(&mut self, now: Instant) -> io::Result<&mut (File, u64)> {
        let gone = self.current.as_ref().is_some_and(|(file, _)| file.metadata().is_ok_and(|about| about.nlink() == 0));
        if gone {
            self.current = None;
        }
        if self.current.is_none() {
            if !self.may_try(now) {
                return Err(io::Error::other("the log file could not be opened a moment ago"));
            }
            match open(&self.path) {
                Ok(opened) => self.current = Some(opened),
                Err(error) => {
                    self.not_before = now.checked_add(TRIES_AGAIN_AFTER);
                    return Err(error);
                }
            }
        }
        self.current.as_mut().ok_or_else(|| io::Error::other("the log file is not open"))
    }

    /// Makes room: the oldest goes, every other becomes one older, and the current one is begun anew.
    fn rotate(&mut self) -> io::Result<()> {
        if self.rotation.keep == 0 {
            let Some((file, size)) = &mut self.current else { return Ok(()) };
            file.set_len(0)?;
            *size = 0;
            return Ok(());
        }
        for number in (1..self.rotation.keep).rev() {
            match std::fs::rename(older(&self.path, number), older(&self.path, number.saturating_add(1))) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        std::fs::rename(&self.path, older(&self.path, 1))?;
        // If there can be no new file, the lines go on into the renamed one.
        self.current = Some(open(&self.path)?);
        Ok(())
    }
}

/// The name of an older file, the youngest of which is 1.
fn older(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

/// Opens a file to append to, with its size; others on the machine may not read it.
fn open(path: &Path) -> io::Result<(File, u64)> {
    let file = OpenOptions::new().create(true).append(true).mode(0o640).open(path)?;
    let size = file.metadata()?.len();
    Ok((file, size))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    struct Logs {
        folder: tempfile::TempDir,
        log: Rotating,
        now: Instant,
    }

    impl Logs {
        /// Files of at most 20 bytes.
        fn new(keep: u32) -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let log = Rotating::new(folder.path().join("consumer.log"), Rotation { bytes_max: 20, keep });
            Self { folder, log, now: Instant::now() }
        }

        fn write(&mut self, line: &str) -> io::Result<()> {
            self.log.write(&format!("{line}\n"), self.now)
        }

        fn holds(&self, name: &str) -> String {
            std::fs::read_to_string(self.folder.path().join(name)).unwrap_or_else(|error| error.kind().to_string())
        }
    }

    #[test]
    fn every_line_is_whole_in_one_file_and_the_oldest_go() {
        let mut logs = Logs::new(2);
        for number in 0..8 {
            logs.write(&format!("line {number:04}")).expect("written");
        }
        assert_eq!(logs.holds("consumer.log"), "line 0006\nline 0007\n");
        assert_eq!(logs.holds("consumer.log.1"), "line 0004\nline 0005\n");
        assert_eq!(logs.holds("consumer.log.2"), "line 0002\nline 0003\n");
        assert_eq!(logs.holds("consumer.log.3"), "entity not found");
    }

    #[test]
    fn a_line_that_is_larger_than_a_file_may_be_is_written_whole() {
        let mut logs = Logs::new(1);
        let long = "x".repeat(50);
        logs.write("short").expect("written");
        logs.write(&long).expect("written");
        logs.write("short").expect("written");
        assert_eq!(logs.holds("consumer.log.1"), format!("{long}\n"));
        assert_eq!(logs.holds("consumer.log"), "short\n");
    }

    #[test]
    fn a_process_that_starts_goes_on_with_the_file_of_the_one_before() {
        let mut logs = Logs::new(1);
        logs.write("line 0001").expect("written");
        logs.log = Rotating::new(logs.folder.path().join("consumer.log"), logs.log.rotation);
        logs.write("line 0002").expect("written");
        logs.write("line 0003").expect("written");
        assert_eq!((logs.holds("consumer.log.1"), logs.holds("consumer.log")).0, "line 0001\nline 0002\n");
        assert_eq!(logs.holds("consumer.log"), "line 0003\n");
    }

    #[test]
    fn what_cannot_be_renamed_loses_no_line_and_is_tried_again() {
        let mut logs = Logs::new(1);
        // A folder that is not empty cannot be replaced by a file.
        let obstacle = logs.folder.path().join("consumer.log.1");
        std::fs::create_dir(&obstacle).expect("a folder");
        std::fs::write(obstacle.join("x"), "").expect("written");
        for number in 0..4 {
            logs.write(&format!("line {number:04}")).expect("written all the same");
        }
        assert_eq!(logs.holds("consumer.log").lines().count(), 4);
        std::fs::remove_dir_all(&obstacle).expect("removed");
        logs.write("line 0004").expect("written");
        assert_eq!(logs.holds("consumer.log").lines().count(), 5, "not yet");
        logs.now += TRIES_AGAIN_AFTER;
        logs.write("line 0005").expect("written");
        assert_eq!(logs.holds("consumer.log"), "line 0005\n");
        assert_eq!(logs.holds("consumer.log.1").lines().count(), 5);
    }

    #[test]
    fn a_file_that_was_removed_is_made_anew_and_one_that_cannot_be_made_is_asked_for_again() {
        let mut logs = Logs::new(1);
        logs.write("line 0001").expect("written");
        std::fs::remove_file(logs.folder.path().join("consumer.log")).expect("removed");
        logs.write("line 0002").expect("written");
        assert_eq!(logs.holds("consumer.log"), "line 0002\n");

        let nowhere = logs.folder.path().join("not").join("yet");
        logs.log = Rotating::new(nowhere.join("consumer.log"), logs.log.rotation);
        logs.write("line 0003").expect_err("no folder");
        std::fs::create_dir_all(&nowhere).expect("made");
        logs.write("line 0004").expect_err("not asked for every line");
        logs.now += TRIES_AGAIN_AFTER;
        logs.write("line 0005").expect("written");
        let mode = std::fs::metadata(nowhere.join("consumer.log")).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
    }

    #[test]
    fn a_full_disk_is_an_error_for_the_line_and_for_nothing_else() {
        let mut logs = Logs::new(1);
        logs.log = Rotating::new("/dev/full".into(), logs.log.rotation);
        for _ in 0..3 {
            let error = logs.write("line 0001").expect_err("full");
            assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        }
    }
}
