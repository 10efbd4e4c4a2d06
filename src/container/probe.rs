//! The two probes: judged from the PID file, `/proc` and the heartbeat file, without a network and without waiting.

use std::time::Duration;

use super::RuntimeDir;
use super::heartbeat::{Heartbeat, Readiness, millis, since_boot};
use super::process::{Identity, Presence};

/// How old a heartbeat may be. Many times what a loaded machine needs, well below what an operator waits.
pub(super) const HEARTBEAT_AGE_MAX: Duration = Duration::from_secs(30);

/// What a probe found; the platform needs the exit code, people the line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Exit 0 and this line.
    Pass(String),
    /// Exit 1 and this line.
    Fail(String),
}

/// Whether the process lives: it exists, is the one that wrote the heartbeat, and its poll loop goes round.
pub fn liveness(dir: &RuntimeDir) -> Verdict {
    match living(dir) {
        Ok(beat) => Verdict::Pass(format!("kafka_consumer process (PID: {}) is running.", beat.process.pid)),
        Err(why) => Verdict::Fail(why),
    }
}

/// Whether the process lives and does its work.
pub fn readiness(dir: &RuntimeDir) -> Verdict {
    match living(dir) {
        Err(why) => Verdict::Fail(why),
        Ok(beat) => match beat.readiness {
            Readiness::Ready => {
                Verdict::Pass(format!("kafka_consumer process (PID: {}) is running and ready.", beat.process.pid))
            }
            Readiness::NotReady { reasons } => Verdict::Fail(format!(
                "kafka_consumer process (PID: {}) is running but not ready: {}",
                beat.process.pid,
                reasons.join("; ")
            )),
        },
    }
}

fn living(dir: &RuntimeDir) -> Result<Heartbeat, String> {
    let pid = read_pid(dir)?;
    let beat = Heartbeat::read(&dir.heartbeat_file())?;
    judge(pid, &beat, &Presence::of(pid), millis(since_boot()))?;
    Ok(beat)
}

/// The number in the PID file.
pub(super) fn read_pid(dir: &RuntimeDir) -> Result<i32, String> {
    let path = dir.pid_file();
    let text = std::fs::read_to_string(&path).map_err(|error| format!("no PID file: {}: {error}", path.display()))?;
    let text = text.trim();
    text.parse().map_err(|_| format!("{}: `{text}` is not a process id", path.display()))
}

/// The whole judgement, without looking at anything.
fn judge(pid: i32, beat: &Heartbeat, presence: &Presence, now_ms: u64) -> Result<(), String> {
    match presence {
        Presence::Absent => return Err(format!("kafka_consumer process (PID: {pid}) is not running")),
        Presence::Zombie => return Err(format!("kafka_consumer process (PID: {pid}) has ended and is a zombie")),
        Presence::Running { .. } => {}
    }
    if beat.process.pid != pid {
        return Err(format!("the heartbeat is of PID {}, the PID file names {pid}", beat.process.pid));
    }
    if !beat.process.matches(presence) {
        let Identity { executable, .. } = &beat.process;
        return Err(format!("PID {pid} is another process by now: {} has ended", executable.display()));
    }
    fresh("the heartbeat file was written", beat.written_ms, now_ms)?;
    fresh("the poll loop went round", beat.polled_ms, now_ms)
}

fn fresh(what: &str, at_ms: u64, now_ms: u64) -> Result<(), String> {
    let age = Duration::from_millis(now_ms.saturating_sub(at_ms));
    if age > HEARTBEAT_AGE_MAX {
        return Err(format!("{what} {} s ago, more than {} s", age.as_secs(), HEARTBEAT_AGE_MAX.as_secs()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::Pulse;

    fn beat() -> Heartbeat {
        let process = Identity { pid: 42, started_ticks: 7, executable: "/opt/y/1.0/bin/kafka_consumer".into() };
        Heartbeat { process, written_ms: 100_000, polled_ms: 100_000, readiness: Readiness::Ready }
    }

    fn running(started_ticks: u64) -> Presence {
        Presence::Running { started_ticks, executable: Some("/opt/y/1.0/bin/kafka_consumer".into()) }
    }

    #[track_caller]
    fn refused(beat: &Heartbeat, presence: &Presence, now_ms: u64, word: &str) {
        let why = judge(42, beat, presence, now_ms).expect_err(word);
        assert!(why.contains(word), "{why}");
    }

    #[test]
    fn a_running_process_with_a_fresh_pulse_lives() {
        assert_eq!(judge(42, &beat(), &running(7), 100_500), Ok(()));
    }

    #[test]
    fn a_dead_a_zombie_and_a_recycled_process_do_not_live() {
        refused(&beat(), &Presence::Absent, 100_500, "not running");
        refused(&beat(), &Presence::Zombie, 100_500, "zombie");
        refused(&beat(), &running(8), 100_500, "another process");
        let shell = Presence::Running { started_ticks: 7, executable: Some("/bin/sh".into()) };
        refused(&beat(), &shell, 100_500, "another process");
    }

    #[test]
    fn a_wedged_poll_loop_and_a_wedged_writer_are_told_apart() {
        let polled = Heartbeat { written_ms: 131_000, ..beat() };
        refused(&polled, &running(7), 131_000, "poll loop went round 31 s ago");
        let written = Heartbeat { polled_ms: 131_000, ..beat() };
        refused(&written, &running(7), 131_000, "file was written 31 s ago");
    }

    #[test]
    fn both_probes_say_the_platforms_sentences() {
        let folder = tempfile::tempdir().expect("folder");
        let dir = RuntimeDir::new(folder.path());
        assert!(matches!(liveness(&dir), Verdict::Fail(why) if why.contains("no PID file")));
        let own = Identity::own().expect("own");
        let pid = own.pid;
        std::fs::write(dir.pid_file(), format!("{pid}\n")).expect("pid file");
        let waiting = Readiness::NotReady { reasons: vec!["group: joining".into()] };
        Heartbeat::now(own.clone(), &Pulse::new(), waiting).write(&dir.heartbeat_file()).expect("heartbeat");
        assert_eq!(liveness(&dir), Verdict::Pass(format!("kafka_consumer process (PID: {pid}) is running.")));
        assert!(matches!(readiness(&dir), Verdict::Fail(why) if why.ends_with("group: joining")));
        Heartbeat::now(own, &Pulse::new(), Readiness::Ready).write(&dir.heartbeat_file()).expect("heartbeat");
        assert_eq!(
            readiness(&dir),
            Verdict::Pass(format!("kafka_consumer process (PID: {pid}) is running and ready."))
        );
    }
}
