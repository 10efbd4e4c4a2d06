//! The programs that a container platform calls: start, liveness, readiness, prestop.
//!
//! A scratch image has no shell, so the platform's script names are this same binary, chosen by the name it is called
//! by ([`Program`]). The programs talk through files in one [`RuntimeDir`], never through the network: a probe must
//! answer within milliseconds and must not fail because Kafka or DNS does.
//!
//! What is deliberately absent: any knowledge of Kafka, incidents or the configuration's contents. Whoever starts a
//! program hands it paths.

mod heartbeat;
mod prestop;
mod probe;
mod process;
mod supervisor;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

pub use heartbeat::{Heartbeat, Pulse, Readiness};
pub use prestop::{Stopped, stop};
pub use probe::{Verdict, liveness, readiness};
pub use process::Identity;
pub use supervisor::{StartError, StartPlan, start};

use rustix::process::{Resource, Rlimit};

/// Which program the binary was called as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// `kafka_consumer`, and every name not listed here: the command line.
    Consumer,
    /// `app_start`: the first process of the container.
    Start,
    /// `app_liveness`: whether the process must be replaced.
    Liveness,
    /// `app_readiness`: whether the process does its work.
    Readiness,
    /// `app_prestop`: asks the process to stop and waits for it.
    Prestop,
    /// `app_configure`: says whether the configuration is valid.
    Configure,
}

impl Program {
    /// The program of a name or path, as in `argv[0]`.
    pub fn called(argv0: &OsStr) -> Self {
        match Path::new(argv0).file_name().and_then(OsStr::to_str) {
            Some("app_start") => Self::Start,
            Some("app_liveness") => Self::Liveness,
            Some("app_readiness") => Self::Readiness,
            Some("app_prestop") => Self::Prestop,
            Some("app_configure") => Self::Configure,
            _ => Self::Consumer,
        }
    }
}

/// The folder through which the programs know of each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeDir(PathBuf);

impl RuntimeDir {
    /// Where it lies unless the environment variable `RUNTIME_DIR` says otherwise.
    pub const DEFAULT: &'static str = "/var/run/kafka_consumer";

    /// A folder; it need not exist yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The process id of the service, as text and nothing else, for other tools to read.
    pub fn pid_file(&self) -> PathBuf {
        self.0.join("consumer.pid")
    }

    /// What the service says of itself once a second.
    pub fn heartbeat_file(&self) -> PathBuf {
        self.0.join("heartbeat.json")
    }
}

impl Default for RuntimeDir {
    fn default() -> Self {
        Self::new(Self::DEFAULT)
    }
}

/// Keeps this process and its children from leaving their memory, and the secrets in it, in a core file or with a program that
/// collects such.
///
/// The limit is one byte where it may be: for a `core_pattern` that is a pipe a limit of 0 means nothing, and the kernel takes
/// 1 for a no; a file of that size is not written either (`core(5)`, `fs/coredump.c`).
pub fn forbid_core_dumps() -> std::io::Result<()> {
    let most = rustix::process::getrlimit(Resource::Core).maximum.map_or(1, |most| most.min(1));
    rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(most), maximum: Some(most) })?;
    Ok(())
}

/// Replaces a file by a rename, so that a reader sees the old text or the new one, never half of it.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".new");
    std::fs::write(&draft, text)?;
    std::fs::rename(&draft, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_it_is_called_by_chooses_the_program() {
        let called = |name: &str| Program::called(OsStr::new(name));
        assert_eq!(called("/scripts/app_start"), Program::Start);
        assert_eq!(called("app_liveness"), Program::Liveness);
        assert_eq!(called("./app_readiness"), Program::Readiness);
        assert_eq!(called("/scripts/app_prestop"), Program::Prestop);
        assert_eq!(called("app_configure"), Program::Configure);
        assert_eq!(called("/opt/y/1.0/bin/kafka_consumer"), Program::Consumer);
        assert_eq!(called(""), Program::Consumer);
    }
}
