//! The first process of the container: waits for what must be there, starts the service, reaps, forwards, ends as it did.
//!
//! It never restarts the service: that is the platform's work, and a second restart policy would hide the first
//! failure. As process 1 it inherits orphans and has to wait for them, or they stay as zombies.

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};
use tokio::signal::unix::{SignalKind, signal};

use super::RuntimeDir;

/// The end of process 1 kills whoever else runs in the container: a prestop that waits gets this long to see the end.
const LAST_LOOK: Duration = Duration::from_millis(250);

/// What to wait for, and what to run.
#[derive(Debug)]
pub struct StartPlan {
    /// Files that must be there and not empty, such as certificate and key; none where nothing needs them.
    pub wait_for: Vec<PathBuf>,
    /// How long to wait for them.
    pub patience: Duration,
    /// How often to look, and to say that it still waits.
    pub look_every: Duration,
    /// The service.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<std::ffi::OsString>,
    /// Where the PID file goes.
    pub runtime: RuntimeDir,
}

/// Why the service was not started. Each text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Files did not appear.
    #[error(
        "waited {seconds} s for {missing}: not there. Is the certificate container (sia) running, and requireTLSCerts set?"
    )]
    Missing {
        /// How long it waited, in seconds.
        seconds: u64,
        /// The names, separated by commas.
        missing: String,
    },
    /// SIGTERM came while waiting.
    #[error("asked to stop while waiting")]
    Asked,
    /// A file or a process could not be made.
    #[error("{what}: {source}")]
    Io {
        /// What was tried, on what.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
}

/// Waits, starts, supervises. Returns the exit code to end with: the service's own, or 128 and the signal's number.
///
/// `say` receives one line for each thing worth telling.
pub async fn start(plan: &StartPlan, say: impl Fn(&str)) -> Result<u8, StartError> {
    // Before anything else: as process 1 an unhandled SIGTERM would be ignored by the kernel.
    let mut signals = Signals::listen()?;
    wait_for_files(plan, &mut signals, &say).await?;
    let child = spawn(plan)?;
    let pid = i32::try_from(child.id()).unwrap_or(i32::MAX);
    let path = plan.runtime.pid_file();
    super::replace(&path, &format!("{pid}\n"))
        .map_err(|source| StartError::Io { what: format!("{}: cannot be written", path.display()), source })?;
    say(&format!("started {} (PID: {pid})", plan.program.display()));
    let code = supervise(pid, &mut signals).await;
    say(&format!("{} (PID: {pid}) ended with {code}", plan.program.display()));
    if std::process::id() == 1 {
        tokio::time::sleep(LAST_LOOK).await;
    }
    Ok(code)
}

/// The signals that reach the first process.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
    child: tokio::signal::unix::Signal,
}

/// What came.
enum Came {
    Forward(Signal),
    ChildEnded,
}

impl Signals {
    fn listen() -> Result<Self, StartError> {
        let listen = |kind| signal(kind).map_err(|source| StartError::Io { what: "signals".into(), source });
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
            child: listen(SignalKind::child())?,
        })
    }

    async fn next(&mut self) -> Came {
        tokio::select! {
            _ = self.terminate.recv() => Came::Forward(Signal::TERM),
            _ = self.interrupt.recv() => Came::Forward(Signal::INT),
            _ = self.hangup.recv() => Came::Forward(Signal::HUP),
            _ = self.child.recv() => Came::ChildEnded,
        }
    }

    /// Until somebody asks us to stop; a hang-up before the service runs asks for nothing.
    async fn asked_to_stop(&mut self) {
        loop {
            match self.next().await {
                Came::Forward(Signal::TERM | Signal::INT) => return,
                Came::Forward(_) | Came::ChildEnded => {}
            }
        }
    }
}

async fn wait_for_files(plan: &StartPlan, signals: &mut Signals, say: &impl Fn(&str)) -> Result<(), StartError> {
    let begun = Instant::now();
    loop {
        let missing: Vec<_> = plan.wait_for.iter().filter(|path| !is_there(path)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let missing = missing.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
        let waited = begun.elapsed();
        if waited >= plan.patience {
            return Err(StartError::Missing { seconds: waited.as_secs(), missing });
        }
        say(&format!("waiting for {missing} ({} of {} s)", waited.as_secs(), plan.patience.as_secs()));
        tokio::select! {
            () = tokio::time::sleep(plan.look_every.min(plan.patience.saturating_sub(waited))) => {}
            () = signals.asked_to_stop() => return Err(StartError::Asked),
        }
    }
}

fn is_there(path: &PathBuf) -> bool {
    std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() > 0)
}

fn spawn(plan: &StartPlan) -> Result<Child, StartError> {
    Command::new(&plan.program)
        // Whatever the file is called: the child is the service, not a second first process.
        .arg0("kafka_consumer")
        .args(&plan.arguments)
        .spawn()
        .map_err(|source| StartError::Io { what: format!("{}: cannot be started", plan.program.display()), source })
}

/// Until the service ends. Forwards what it is told, waits for every child that ends.
async fn supervise(service: i32, signals: &mut Signals) -> u8 {
    loop {
        // One SIGCHLD may stand for many children, and one may have ended before we listened.
        if let Some(code) = reap(service) {
            return code;
        }
        match signals.next().await {
            Came::ChildEnded => {}
            Came::Forward(signal) => {
                if let Some(pid) = Pid::from_raw(service) {
                    // It may have ended in this instant; the next turn sees that.
                    let _ended = rustix::process::kill_process(pid, signal);
                }
            }
        }
    }
}

fn reap(service: i32) -> Option<u8> {
    while let Ok(Some((pid, status))) = rustix::process::waitpid(None, WaitOptions::NOHANG) {
        if pid.as_raw_nonzero().get() == service {
            return Some(exit_code(status));
        }
    }
    None
}

/// As a shell reports it: the code, or 128 and the number of the signal.
fn exit_code(status: WaitStatus) -> u8 {
    let code = match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => signal.saturating_add(128),
        (None, None) => 1,
    };
    u8::try_from(code).unwrap_or(1)
}
