//! Load from Apache Kafka's own `kafka-verifiable-producer`: idempotent, acks=all, and every acknowledgement a line.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::story::longest_gap;
use crate::world::kafka::Cluster;
use crate::world::process::wait_for;

/// A JVM on a busy machine starts slowly; a producer without a leader waits for one.
const PATIENCE: Duration = Duration::from_mins(1);

/// What was acknowledged, by partition: the offset, and when the line was read.
type Acknowledged = BTreeMap<i32, BTreeMap<i64, Instant>>;

/// A running producer. Killed when dropped.
pub(super) struct Producer {
    child: Child,
    acknowledged: Arc<Mutex<Acknowledged>>,
    _settings: tempfile::NamedTempFile,
}

impl Producer {
    /// Starts producing to all partitions of a topic.
    pub(super) fn start(cluster: &Cluster, topic: &str, per_second: u32) -> Self {
        let mut settings = tempfile::NamedTempFile::new().expect("a file");
        // The tool itself never tries again unless it is told to.
        writeln!(settings, "retries=1000000\nenable.idempotence=true\nlinger.ms=5\nretry.backoff.ms=50")
            .expect("written");
        let path = settings.path().to_str().expect("a path");
        let rate = per_second.to_string();
        let file = if cluster.version.starts_with('3') { "--producer.config" } else { "--command-config" };
        let words = ["--topic", topic, "--throughput", &rate, "--acks", "-1", "--repeating-keys", "60", file, path];
        let mut child = cluster
            .tool("kafka-verifiable-producer", &words)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the producer");
        let acknowledged: Arc<Mutex<Acknowledged>> = Arc::default();
        let out = BufReader::new(child.stdout.take().expect("a pipe"));
        let book = Arc::clone(&acknowledged);
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                note(&book, &line);
            }
        });
        let producer = Self { child, acknowledged, _settings: settings };
        producer.go_on(1);
        producer
    }

    /// How many records were acknowledged.
    pub(super) fn count(&self) -> usize {
        self.acknowledged.lock().expect("no holder panicked").values().map(BTreeMap::len).sum()
    }

    /// Waits until so many more records are acknowledged.
    pub(super) fn go_on(&self, more: usize) {
        let goal = self.count() + more;
        wait_for(
            || format!("{goal} acknowledged, {}", self.count()),
            PATIENCE,
            || (self.count() >= goal).then_some(()),
        );
    }

    /// When a record at this offset or a later one was first acknowledged.
    pub(super) fn acknowledged_from(&self, partition: i32, offset: i64) -> Option<Instant> {
        let book = self.acknowledged.lock().expect("no holder panicked");
        book.get(&partition)?.range(offset..).map(|(_, at)| *at).min()
    }

    /// The longest time in a span without an acknowledgement for a partition.
    pub(super) fn longest_gap(&self, partition: i32, from: Instant, to: Instant) -> Duration {
        let book = self.acknowledged.lock().expect("no holder panicked");
        longest_gap(book.get(&partition).into_iter().flat_map(BTreeMap::values).copied(), from, to)
    }

    /// Ends it, and returns every offset that it had acknowledged.
    pub(super) fn finish(mut self) -> BTreeMap<i32, BTreeSet<i64>> {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a pid")).expect("a pid");
        kill_process(pid, Signal::TERM).expect("signalled");
        let words = || "the end of the producer".to_owned();
        wait_for(words, PATIENCE, || self.child.try_wait().expect("its state"));
        let book = self.acknowledged.lock().expect("no holder panicked");
        book.iter().map(|(partition, offsets)| (*partition, offsets.keys().copied().collect())).collect()
    }
}

fn note(book: &Mutex<Acknowledged>, line: &str) {
    let Ok(event) = serde_json::from_str::<Value>(line) else { return };
    if event["name"] != "producer_send_success" {
        return;
    }
    let number = |field: &str| event[field].as_i64().expect("a number");
    let partition = i32::try_from(number("partition")).expect("a partition");
    let now = Instant::now();
    book.lock().expect("no holder panicked").entry(partition).or_default().insert(number("offset"), now);
}

impl Drop for Producer {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
