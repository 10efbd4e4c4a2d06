//! The service as a process: the binary itself, with a configuration file of its own.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How often something outside is looked at while waiting for it.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A command that runs the binary in a clean environment: the one built with the tests, or the one that
/// `KAFKA_CONSUMER_BINARY` names, such as the static one.
pub(crate) fn binary() -> Command {
    let named = std::env::var_os("KAFKA_CONSUMER_BINARY");
    let mut command = Command::new(named.unwrap_or_else(|| env!("CARGO_BIN_EXE_kafka_consumer").into()));
    command.env_clear().env("RUST_BACKTRACE", "1").stdin(Stdio::null());
    command
}

/// Waits until `found` gives something; panics with what `what` says after `patience`.
pub(crate) fn wait_for<T>(what: impl Fn() -> String, patience: Duration, mut found: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(value) = found() {
            return value;
        }
        assert!(begun.elapsed() < patience, "waited {patience:?} for {}", what());
        pause();
    }
}

/// Asks whoever listens at a port of this machine; `None` while nobody answers.
pub(crate) fn get(port: u16, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let code = answer.split_whitespace().nth(1)?.parse().ok()?;
    let body = answer.split_once("\r\n\r\n")?.1.to_owned();
    Some((code, body))
}

#[expect(clippy::disallowed_methods, reason = "between two looks at another process; the wait has a deadline")]
fn pause() {
    std::thread::sleep(LOOK_EVERY);
}

/// A running service. Killed when dropped.
pub(crate) struct Service {
    child: Child,
    log: PathBuf,
    port: u16,
}

impl Service {
    /// Starts the service; its standard output and error go to `service.log` in `folder`, appended.
    pub(crate) fn start(folder: &Path, config: &str, port: u16) -> Self {
        std::fs::write(folder.join("config.yaml"), config).expect("a configuration");
        Self::start_as_it_is(folder, port)
    }

    /// The same with the `config.yaml` that lies in `folder` already.
    pub(crate) fn start_as_it_is(folder: &Path, port: u16) -> Self {
        Self::start_with(folder, port, &[])
    }

    /// The same with more variables in its environment.
    pub(crate) fn start_with(folder: &Path, port: u16, variables: &[(&str, &str)]) -> Self {
        let file = folder.join("config.yaml");
        let log = folder.join("service.log");
        let out = File::options().create(true).append(true).open(&log).expect("a log");
        let child = binary()
            .arg("--config")
            .arg(&file)
            .env("RUNTIME_DIR", folder)
            // The deployed binary has musl's one heap; glibc would make eight for each core.
            .env("MALLOC_ARENA_MAX", "2")
            .envs(variables.iter().copied())
            .stdout(out.try_clone().expect("a handle"))
            .stderr(out)
            .spawn()
            .expect("the binary starts");
        Self { child, log, port }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything it has said.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The last lines of what it has said, for messages.
    pub(crate) fn last_words(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(15)..].join("\n");
        format!("/readyz: {:?}\n{last}", self.get("/readyz"))
    }

    /// Asks the HTTP listener; `None` while nobody answers.
    pub(crate) fn get(&self, path: &str) -> Option<(u16, String)> {
        get(self.port, path)
    }

    /// Waits until `/readyz` answers 200.
    pub(crate) fn wait_ready(&mut self, patience: Duration) {
        self.wait_readyz("readiness", patience, |code, _| code == 200);
    }

    /// Waits until `/readyz` answers as `wanted`; returns its body.
    pub(crate) fn wait_readyz(&mut self, what: &str, patience: Duration, wanted: impl Fn(u16, &str) -> bool) -> String {
        let begun = Instant::now();
        let mut last = None;
        while begun.elapsed() < patience {
            if let Some(status) = self.child.try_wait().expect("its state") {
                panic!("the service ended ({status}) instead of {what}:\n{}", self.last_words());
            }
            last = self.get("/readyz").or(last);
            if let Some((code, body)) = &last
                && wanted(*code, body)
            {
                return body.clone();
            }
            pause();
        }
        panic!("waited {patience:?} for {what}; /readyz: {last:?}\n{}", self.last_words());
    }

    /// SIGKILL, and gone.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("reaped");
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.child.id()).expect("a pid")).expect("a pid");
        rustix::process::kill_process(pid, signal).expect("signalled");
    }

    /// Waits for its end.
    pub(crate) fn wait_end(&mut self, patience: Duration) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("its state") {
                return status;
            }
            assert!(begun.elapsed() < patience, "it still runs after {patience:?}:\n{}", self.last_words());
            pause();
        }
    }

    /// SIGTERM, and the exit status.
    pub(crate) fn stop(&mut self, patience: Duration) -> ExitStatus {
        self.signal(rustix::process::Signal::TERM);
        self.wait_end(patience)
    }

    /// A field of `/proc/PID/status` in KiB, such as `VmHWM`.
    pub(crate) fn memory_kib(&self, field: &str) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find(|line| line.starts_with(field))?;
        line.split_whitespace().nth(1)?.parse().ok()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
