//! What the service says of itself, once a second, in a file that the probes read.
//!
//! Ages are counted on the clock that runs from the start of the machine, suspended time included, so a jump of the wall
//! clock neither kills a healthy process nor hides a stuck one.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::process::Identity;

/// Whether the service does its work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Readiness {
    /// Secrets are loaded and the group is joined, or the service waits as standby on purpose.
    Ready,
    /// Not yet, or no longer; the reasons, most important first.
    NotReady {
        /// One line each.
        reasons: Vec<String>,
    },
}

/// One heartbeat, as it stands in the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Who wrote it.
    pub process: Identity,
    /// When the file was written, in milliseconds since the machine started.
    pub written_ms: u64,
    /// When the poll loop last went round, on the same clock.
    pub polled_ms: u64,
    /// Whether the service is ready.
    pub readiness: Readiness,
}

impl Heartbeat {
    /// Reads the file that a service writes. The error is a sentence.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        serde_json::from_slice(&text).map_err(|error| format!("{}: not a heartbeat: {error}", path.display()))
    }

    /// Replaces the file in one step.
    pub fn write(&self, path: &Path) -> std::io::Result<()> {
        super::replace(path, &serde_json::to_string(self).map_err(std::io::Error::other)?)
    }
}

/// The poll loop's own mark: it beats, the writer of the file reads. Cheap enough to beat on every turn.
#[derive(Debug, Clone)]
pub struct Pulse(Arc<AtomicU64>);

impl Pulse {
    /// A pulse that has just beaten.
    pub fn new() -> Self {
        Self(Arc::new(AtomicU64::new(millis(since_boot()))))
    }

    /// The loop went round.
    pub fn beat(&self) {
        self.0.store(millis(since_boot()), Ordering::Relaxed);
    }

    /// How long ago it last did.
    pub fn silent_for(&self) -> Duration {
        Duration::from_millis(millis(since_boot()).saturating_sub(self.last_ms()))
    }

    /// When it last did, in milliseconds since the machine started.
    pub fn last_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Default for Pulse {
    fn default() -> Self {
        Self::new()
    }
}

/// Time since the machine started, suspended time included.
pub(super) fn since_boot() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Whole milliseconds, saturating.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A heartbeat of this process, written now.
impl Heartbeat {
    /// What to write now: `process` is this process, `pulse` the poll loop's mark.
    pub fn now(process: Identity, pulse: &Pulse, readiness: Readiness) -> Self {
        Self { process, written_ms: millis(since_boot()), polled_ms: pulse.last_ms(), readiness }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("heartbeat.json");
        let readiness = Readiness::NotReady { reasons: vec!["kafka: connecting".into()] };
        let beat = Heartbeat::now(Identity::own().expect("own"), &Pulse::new(), readiness);
        beat.write(&path).expect("write");
        assert_eq!(Heartbeat::read(&path), Ok(beat));
    }

    #[test]
    fn a_torn_file_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("heartbeat.json");
        std::fs::write(&path, "{\"process\":").expect("write");
        let error = Heartbeat::read(&path).expect_err("torn");
        assert!(error.contains("heartbeat.json") && error.contains("not a heartbeat"), "{error}");
    }
}
