//! One real Apache Kafka for the whole test binary: started when first asked for, ended when the binary is gone.
//!
//! A shell waits on a pipe whose other end this process holds: however the tests end (return, panic, kill), the pipe
//! closes and the shell takes the cluster down.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use super::port;

/// Where the cluster answers.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) plaintext: String,
    pub(crate) sasl_ssl: String,
    pub(crate) ca_file: PathBuf,
    pub(crate) username: String,
    pub(crate) password: String,
    /// Holds the pipe that the guard waits on.
    _guard: Child,
}

/// The cluster, or `None` when it cannot be started here and need not be. Says loudly why.
///
/// With `KAFKA_TESTS=required` a machine without a JDK or Maven fails the test instead.
pub(crate) fn cluster() -> Option<&'static Cluster> {
    static CLUSTER: OnceLock<Option<Cluster>> = OnceLock::new();
    CLUSTER.get_or_init(start_if_possible).as_ref()
}

fn start_if_possible() -> Option<Cluster> {
    let absent: Vec<&str> =
        [("java", "a JDK 17 or newer"), ("mvn", "Maven"), ("python3", "Python 3.9"), ("openssl", "OpenSSL")]
            .into_iter()
            .filter(|(program, _)| !on_path(program))
            .map(|(_, name)| name)
            .collect();
    if absent.is_empty() {
        return Some(start());
    }
    let text = format!(
        "the tests on a real Kafka were SKIPPED: this machine has no {}. \
         On Debian: apt-get install default-jdk-headless maven python3 openssl",
        absent.join(", no ")
    );
    assert!(!required(), "{text}");
    // Past the capture of test output, so that it is seen.
    let line = format!("\n!!! {text}\n");
    if std::fs::write("/dev/tty", &line).is_err() {
        eprintln!("{line}");
    }
    None
}

#[expect(clippy::disallowed_methods, reason = "how a test run is told that a real Kafka is not optional")]
fn required() -> bool {
    std::env::var("KAFKA_TESTS").is_ok_and(|value| value == "required")
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn launcher() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kafka/kafka")
}

fn start() -> Cluster {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("kafka-{}", std::process::id()));
    let guard = guard(&folder);
    let up = Command::new(launcher())
        .args(["up", "--version", "4", "--nodes", "1", "--timeout", "120"])
        .args(["--port-base", &port::free_block(10).to_string(), "--dir"])
        .arg(&folder)
        .output()
        .expect("the launcher runs");
    let said = String::from_utf8_lossy(&up.stderr);
    assert!(up.status.success(), "Kafka does not start: {said}");
    let variables = variables(&String::from_utf8_lossy(&up.stdout));
    let get = |name: &str| variables.get(name).unwrap_or_else(|| panic!("{name} in {variables:?}")).clone();
    Cluster {
        plaintext: get("KAFKA_BOOTSTRAP_PLAINTEXT"),
        sasl_ssl: get("KAFKA_BOOTSTRAP_SASL_SSL"),
        ca_file: get("KAFKA_CA_FILE").into(),
        username: get("KAFKA_USERNAME"),
        password: get("KAFKA_PASSWORD"),
        _guard: guard,
    }
}

/// Takes the cluster down once our end of the pipe is closed. In a process group of its own, so that Ctrl-C spares it.
fn guard(folder: &Path) -> Child {
    use std::os::unix::process::CommandExt as _;
    Command::new("sh")
        .args(["-c", "cat >/dev/null; exec \"$0\" down --rm --dir \"$1\""])
        .arg(launcher())
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .expect("a guard")
}

fn variables(lines: &str) -> BTreeMap<String, String> {
    let one = |line: &str| {
        let (name, value) = line.strip_prefix("export ")?.split_once('=')?;
        Some((name.to_owned(), value.trim_matches('\'').to_owned()))
    };
    lines.lines().filter_map(one).collect()
}
