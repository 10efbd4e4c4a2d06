//! Before the platform stops a container: ask the service to drain, and wait for it.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use super::RuntimeDir;
use super::heartbeat::Heartbeat;
use super::probe::read_pid;
use super::process::{Identity, Presence};

/// How the wait ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stopped {
    /// It ended within the time.
    Ended {
        /// How long it took.
        after: Duration,
    },
    /// There was nothing to stop.
    NotRunning {
        /// Why we think so.
        why: String,
    },
    /// It still runs; the platform's own deadline will end it.
    StillRunning {
        /// The process.
        pid: i32,
    },
}

/// Sends SIGTERM to the service and waits until it has ended, at most `patience`.
///
/// The identity in the heartbeat file keeps a number that was used again from being signalled.
pub fn stop(dir: &RuntimeDir, patience: Duration) -> Stopped {
    let target = match target(dir) {
        Ok(target) => target,
        Err(why) => return Stopped::NotRunning { why },
    };
    let begun = Instant::now();
    if let Some(pid) = Pid::from_raw(target.pid)
        && let Err(error) = rustix::process::kill_process(pid, Signal::TERM)
    {
        return Stopped::NotRunning { why: format!("PID {}: {error}", target.pid) };
    }
    while begun.elapsed() < patience {
        if !target.matches(&Presence::of(target.pid)) {
            return Stopped::Ended { after: begun.elapsed() };
        }
        pause();
    }
    Stopped::StillRunning { pid: target.pid }
}

fn target(dir: &RuntimeDir) -> Result<Identity, String> {
    let pid = read_pid(dir)?;
    let process = Heartbeat::read(&dir.heartbeat_file())?.process;
    if process.pid == pid && process.matches(&Presence::of(pid)) {
        return Ok(process);
    }
    Err(format!("kafka_consumer process (PID: {pid}) is not running"))
}

/// Another process's end cannot be awaited without being its parent, so it is looked for.
#[expect(clippy::disallowed_methods, reason = "a program of its own whose only work is to wait; it has no runtime")]
fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::{Pulse, Readiness};

    fn said(dir: &RuntimeDir, process: Identity) {
        std::fs::write(dir.pid_file(), format!("{}\n", process.pid)).expect("pid file");
        Heartbeat::now(process, &Pulse::new(), Readiness::Ready).write(&dir.heartbeat_file()).expect("heartbeat");
    }

    fn identity(pid: u32) -> Identity {
        let pid = i32::try_from(pid).expect("pid");
        match Presence::of(pid) {
            Presence::Running { started_ticks, executable } => {
                Identity { pid, started_ticks, executable: executable.unwrap_or_default() }
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_service_that_ends_on_sigterm_is_waited_for() {
        let folder = tempfile::tempdir().expect("folder");
        let dir = RuntimeDir::new(folder.path());
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("spawn");
        said(&dir, identity(child.id()));
        let stopped = stop(&dir, Duration::from_secs(20));
        child.wait().expect("wait");
        assert!(matches!(stopped, Stopped::Ended { .. }), "{stopped:?}");
    }

    #[test]
    fn a_number_that_was_used_again_is_not_signalled() {
        let folder = tempfile::tempdir().expect("folder");
        let dir = RuntimeDir::new(folder.path());
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("spawn");
        said(&dir, Identity { started_ticks: 1, ..identity(child.id()) });
        assert!(matches!(stop(&dir, Duration::from_secs(20)), Stopped::NotRunning { .. }));
        assert_eq!(child.try_wait().expect("try_wait"), None);
        child.kill().expect("kill");
        child.wait().expect("wait");
    }
}
