//! `examples/verifiable_consumer.rs`, run as a process: its contract against the broker double, and group faults on a real
//! Kafka, judged by nothing but what it prints.

mod contract;
mod idle;
mod real;
mod story;

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::world::process::wait_for;

/// No condition takes longer.
const PATIENCE: Duration = Duration::from_secs(40);

/// Built with the tests; cargo puts examples beside the folder of the test executable. `VERIFIABLE_CONSUMER` names another
/// build of it, an optimised one for example.
fn example() -> PathBuf {
    if let Some(other) = std::env::var_os("VERIFIABLE_CONSUMER") {
        return other.into();
    }
    let test = std::env::current_exe().expect("the test's own path");
    let folder = test.ancestors().nth(2).expect("target/debug");
    let example = folder.join("examples/verifiable_consumer");
    assert!(example.is_file(), "{} is missing; `cargo build --examples` makes it", example.display());
    example
}

/// A running consumer and everything it printed. Killed when dropped.
pub(super) struct Subject {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    said: Arc<Mutex<String>>,
}

impl Subject {
    pub(super) fn start<S: AsRef<str>>(args: impl IntoIterator<Item = S>) -> Self {
        let mut command = Command::new(example());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.args(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        let mut child = command.spawn().expect("the example starts");
        let (lines, said): (Arc<Mutex<Vec<String>>>, Arc<Mutex<String>>) = Default::default();
        let mut errors = child.stderr.take().expect("a pipe");
        follow(child.stdout.take().expect("a pipe"), Arc::clone(&lines));
        let log = Arc::clone(&said);
        std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(count @ 1..) = errors.read(&mut chunk) {
                log.lock().expect("no holder panicked").push_str(&String::from_utf8_lossy(&chunk[..count]));
            }
        });
        Self { child, lines, said }
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.lines.lock().expect("no holder panicked").clone()
    }

    /// Standard output, each line of which must be an event.
    pub(super) fn events(&self) -> Vec<Value> {
        let parse = |line: &String| serde_json::from_str(line).unwrap_or_else(|_| panic!("no event: {line}"));
        self.lines().iter().map(parse).collect()
    }

    pub(super) fn named(&self, name: &str) -> Vec<Value> {
        self.events().into_iter().filter(|event| event["name"] == name).collect()
    }

    pub(super) fn stderr(&self) -> String {
        self.said.lock().expect("no holder panicked").clone()
    }

    /// Everything, for messages.
    fn words(&self) -> String {
        format!("{}\n{}", self.lines().join("\n"), self.stderr())
    }

    pub(super) fn wait(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        wait_for(|| format!("{what}\n{}", self.words()), PATIENCE, || is_so(self).then_some(()));
    }

    pub(super) fn wait_named(&self, name: &str, count: usize) {
        self.wait(&format!("{count} times {name}"), |subject| subject.named(name).len() >= count);
    }

    /// The partitions that it holds by its own account.
    pub(super) fn owned(&self) -> Vec<i64> {
        let mut owned = Vec::new();
        for event in self.events() {
            let partitions = event["partitions"].as_array().cloned().unwrap_or_default();
            let partitions = partitions.iter().filter_map(|name| name["partition"].as_i64());
            match event["name"].as_str() {
                Some("partitions_assigned") => owned.extend(partitions),
                Some("partitions_revoked") => {
                    let gone: Vec<i64> = partitions.collect();
                    owned.retain(|partition| !gone.contains(partition));
                }
                _ => {}
            }
        }
        owned
    }

    pub(super) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a pid")).expect("a pid");
        kill_process(pid, signal).expect("signalled");
    }

    /// What it has used of the processors since its start.
    fn processor_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("a running process");
        // After the name in brackets: the state is field 3, user and system time are 14 and 15, in hundredths.
        let (_, fields) = stat.rsplit_once(") ").expect("a name in brackets");
        let ticks: u64 = fields.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("ticks")).sum();
        Duration::from_millis(ticks * 10)
    }

    pub(super) fn wait_end(&mut self, patience: Duration) -> ExitStatus {
        let Self { child, lines, said } = self;
        let words = || {
            format!(
                "its end\n{}\n{}",
                lines.lock().expect("no holder panicked").join("\n"),
                said.lock().expect("no holder panicked")
            )
        };
        let status = wait_for(words, patience, || child.try_wait().expect("its state"));
        self.wait("the last line", |subject| {
            subject.lines().is_empty() || status.code().is_none() || !subject.named("shutdown_complete").is_empty()
        });
        status
    }

    /// SIGTERM, a clean end within ten seconds, and `shutdown_complete` as the last line.
    pub(super) fn stop(&mut self) {
        self.signal(Signal::TERM);
        let status = self.wait_end(Duration::from_secs(10));
        assert_eq!(status.code(), Some(0), "{}", self.words());
        let last = self.events().pop().expect("an event");
        assert_eq!(last["name"], "shutdown_complete", "{}", self.words());
    }
}

fn follow(out: ChildStdout, lines: Arc<Mutex<Vec<String>>>) {
    std::thread::spawn(move || {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            lines.lock().expect("no holder panicked").push(line);
        }
    });
}

impl Drop for Subject {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
