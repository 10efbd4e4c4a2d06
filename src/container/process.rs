//! Which process is meant: a number alone is not enough, because the kernel uses numbers again.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// A process, told apart from a later one with the same number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The process id.
    pub pid: i32,
    /// When it started, in clock ticks since the machine did (`proc(5)`, field 22 of `stat`).
    pub started_ticks: u64,
    /// The program file it runs.
    pub executable: PathBuf,
}

/// What the kernel says of a process now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Presence {
    /// No such process.
    Absent,
    /// It ended and nobody has waited for it.
    Zombie,
    /// It runs; the program file is unknown where the kernel does not let us see it.
    Running { started_ticks: u64, executable: Option<PathBuf> },
}

impl Identity {
    /// This process.
    pub fn own() -> std::io::Result<Self> {
        let pid = i32::try_from(std::process::id()).map_err(std::io::Error::other)?;
        match Presence::of(pid) {
            Presence::Running { started_ticks, executable } => {
                Ok(Self { pid, started_ticks, executable: executable.unwrap_or_default() })
            }
            Presence::Absent | Presence::Zombie => Err(std::io::Error::other("/proc does not show this process")),
        }
    }

    /// Whether what runs under the number is the process that was meant.
    pub(super) fn matches(&self, presence: &Presence) -> bool {
        match presence {
            Presence::Absent | Presence::Zombie => false,
            Presence::Running { started_ticks, executable } => {
                let same_file = executable.as_ref().is_none_or(|now| same_program(now, &self.executable));
                *started_ticks == self.started_ticks && same_file
            }
        }
    }
}

impl Presence {
    /// Looks into `/proc`.
    pub(super) fn of(pid: i32) -> Self {
        let folder = PathBuf::from(format!("/proc/{pid}"));
        let Ok(stat) = std::fs::read_to_string(folder.join("stat")) else { return Self::Absent };
        match parse_stat(&stat) {
            None => Self::Absent,
            Some(('Z' | 'X', _)) => Self::Zombie,
            Some((_, started_ticks)) => {
                Self::Running { started_ticks, executable: std::fs::read_link(folder.join("exe")).ok() }
            }
        }
    }
}

/// State letter and start time. The name in the second field may hold spaces and brackets, so count from its end.
fn parse_stat(stat: &str) -> Option<(char, u64)> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    // The state is field 3; the start time is field 22, so the nineteenth after it.
    let started = fields.nth(18)?.parse().ok()?;
    Some((state, started))
}

/// A binary that was replaced on disk while it runs is shown with a suffix, and is still the same process.
fn same_program(now: &Path, then: &Path) -> bool {
    let strip = |path: &Path| path.to_string_lossy().trim_end_matches(" (deleted)").to_owned();
    strip(now) == strip(then)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_spaces_does_not_shift_the_fields() {
        let stat = "42 (a) b (c)) S 1 42 42 0 -1 4194560 1 0 0 0 2 1 0 0 20 0 3 0 987654 1000 200";
        assert_eq!(parse_stat(stat), Some(('S', 987_654)));
        assert_eq!(parse_stat("42 (a"), None);
        assert_eq!(parse_stat("42 (a) S 1 2"), None);
    }

    #[test]
    fn this_process_is_itself_and_a_recycled_number_is_not() {
        let own = Identity::own().expect("own identity");
        assert!(own.matches(&Presence::of(own.pid)));
        let recycled = Identity { started_ticks: own.started_ticks + 1, ..own.clone() };
        assert!(!recycled.matches(&Presence::of(own.pid)));
        let other = Identity { executable: "/bin/other".into(), ..own };
        assert!(!other.matches(&Presence::of(other.pid)));
    }

    #[test]
    fn a_child_nobody_waited_for_is_a_zombie() {
        let mut child = std::process::Command::new("true").spawn().expect("spawn");
        let pid = i32::try_from(child.id()).expect("pid");
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
        while Presence::of(pid) != Presence::Zombie {
            assert!(std::time::Instant::now() < deadline, "the child did not end");
            std::thread::yield_now();
        }
        child.wait().expect("wait");
        assert_eq!(Presence::of(pid), Presence::Absent);
    }
}
