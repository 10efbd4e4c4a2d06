//! Real Apache Kafkas for the whole test binary: started when first asked for, ended when the binary is gone.
//!
//! A shell waits on a pipe whose other end this process holds: however the tests end (return, panic, kill), the pipe
//! closes and the shell takes the cluster down.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use super::port;

/// Where the cluster answers.
#[derive(Debug)]
pub(crate) struct Cluster {
    /// `host:port` of every node in the order of their numbers, with commas between them.
    pub(crate) plaintext: String,
    pub(crate) sasl_ssl: String,
    pub(crate) ca_file: PathBuf,
    pub(crate) username: String,
    pub(crate) password: String,
    /// For clients that read a properties file with the names of the Java clients.
    pub(crate) client_properties: PathBuf,
    pub(crate) version: String,
    folder: PathBuf,
    /// Holds the pipe that the guard waits on.
    _guard: Child,
}

/// A cluster of one node, or `None` when it cannot be started here and need not be. Says loudly why.
///
/// With `KAFKA_TESTS=required` a machine without a JDK or Maven fails the test instead.
pub(crate) fn cluster() -> Option<&'static Cluster> {
    static CLUSTER: OnceLock<Option<Cluster>> = OnceLock::new();
    CLUSTER.get_or_init(|| start_if_possible("4", &["--nodes", "1"])).as_ref()
}

/// A cluster of one node of the last version with `ZooKeeper` in it, for what differs there.
pub(crate) fn elder() -> Option<&'static Cluster> {
    static CLUSTER: OnceLock<Option<Cluster>> = OnceLock::new();
    CLUSTER.get_or_init(|| start_if_possible("3.9", &["--nodes", "1", "--heap", "512m"])).as_ref()
}

/// A cluster of one node for one test, which tells who logs in to come to `host`: what stands there is the test's.
pub(crate) fn behind(host: &str) -> Option<Cluster> {
    start_if_possible("4", &["--nodes", "1", "--heap", "512m", "--advertise", host])
}

/// A cluster of three nodes for one test at a time, all of them up. A dead node is noticed within four seconds, and
/// every SASL session ends after five.
pub(crate) fn three_nodes() -> Option<MutexGuard<'static, Cluster>> {
    const SETTINGS: [&str; 10] = [
        "--nodes",
        "3",
        "--reauth-ms",
        "5000",
        "--set",
        "broker.session.timeout.ms=4000",
        "--set",
        "broker.heartbeat.interval.ms=500",
        "--set",
        "auto.leader.rebalance.enable=false",
    ];
    static CLUSTER: OnceLock<Option<Mutex<Cluster>>> = OnceLock::new();
    let cluster = CLUSTER.get_or_init(|| start_if_possible("4", &SETTINGS).map(Mutex::new)).as_ref()?;
    // A test that failed says so itself; what it left behind is put right here.
    let cluster = cluster.lock().unwrap_or_else(PoisonError::into_inner);
    cluster.all_up();
    Some(cluster)
}

impl Cluster {
    /// The numbers of the nodes.
    pub(crate) fn nodes(&self) -> std::ops::RangeInclusive<i32> {
        1..=i32::try_from(self.plaintext.split(',').count()).expect("few")
    }

    /// Ends a node at once, as a power cut does.
    pub(crate) fn kill(&self, node: i32) {
        self.launcher(&["kill", &node.to_string()]);
    }

    /// Lets a node hand over its partitions and end.
    pub(crate) fn stop(&self, node: i32) {
        self.launcher(&["stop", &node.to_string()]);
    }

    /// Starts a node again with its data, and waits until every running node knows it.
    pub(crate) fn start(&self, node: i32) {
        self.launcher(&["start", &node.to_string()]);
    }

    fn all_up(&self) {
        let status = self.launcher(&["status"]);
        let down: Vec<&str> = status
            .lines()
            .filter(|line| line.ends_with("not running"))
            .filter_map(|line| line.strip_prefix("node ")?.split(':').next())
            .collect();
        if !down.is_empty() {
            self.launcher(&[&["start"], down.as_slice()].concat());
        }
    }

    /// A command of the launcher, to its end; returns what it printed.
    fn launcher(&self, words: &[&str]) -> String {
        let done = Command::new(launcher()).args(words).arg("--dir").arg(&self.folder).output().expect("the launcher");
        assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).into_owned()
    }

    /// One of Kafka's own tools. Its process becomes the tool's, so that it can be signalled.
    pub(crate) fn tool(&self, name: &str, words: &[&str]) -> Command {
        let mut command = Command::new(launcher());
        command.args(["tool", "--dir"]).arg(&self.folder).arg(name);
        command.args(["--bootstrap-server", &self.plaintext]).args(words);
        command
    }
}

fn start_if_possible(version: &str, more: &[&str]) -> Option<Cluster> {
    let absent: Vec<&str> =
        [("java", "a JDK 17 or newer"), ("mvn", "Maven"), ("python3", "Python 3.9"), ("openssl", "OpenSSL")]
            .into_iter()
            .filter(|(program, _)| !on_path(program))
            .map(|(_, name)| name)
            .collect();
    if absent.is_empty() {
        return Some(start(version, more));
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

fn start(version: &str, more: &[&str]) -> Cluster {
    /// Two clusters that start at once would choose the same ports.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let port = port::free_block(30);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("kafka-{}-{port}", std::process::id()));
    let guard = guard(&folder);
    let up = Command::new(launcher())
        .args(["up", "--version", version, "--timeout", "120", "--port-base", &port.to_string(), "--dir"])
        .arg(&folder)
        .args(more)
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
        client_properties: get("KAFKA_CLIENT_PROPERTIES").into(),
        version: get("KAFKA_VERSION"),
        folder,
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
