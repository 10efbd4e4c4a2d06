//! From a broker to committed offsets: the whole way, on loopback, with the ledger on disk.
//!
//! Three loads. `nothing matches`: a million records of 2 KiB are fetched, parsed, decided and committed; the memory of the
//! process, broker double included, stands beside the figures. `one in ten matches`: the matched ones are acted on at a
//! local HTTP target with every step durable; the fsyncs of the ledger stand beside the figures. `a million entries on disk`:
//! the same with a ledger that has seen a million entries, for the memory of it.
//! `cargo bench --bench pipeline -- 100000` sets the number of records.

#![expect(clippy::cast_precision_loss, reason = "figures for people: four digits are enough")]

mod disk;
mod episode;

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kafka_broker_double::target::{Reply, Target};
use kafka_broker_double::{Batch, Cluster};
use kafka_consumer::action::{Definitions, Network, Surroundings};
use kafka_consumer::client::{AutoOffsetReset, Consumer, Resolver, TlsSettings};
use kafka_consumer::condition::Conditions;
use kafka_consumer::incident;
use kafka_consumer::ledger::{Ledger, Opened};
use kafka_consumer::pipeline::{Domain, Edition, Executor, KafkaSource, Limits, Rulebook, run, wall_clock_ms};
use kafka_consumer::secret::Secrets;
use kafka_consumer::transport::{HttpClient, HttpSettings};
use kafka_consumer::yaml::{Mistakes, parse};
use tokio_util::sync::CancellationToken;

const PARTITIONS: i32 = 4;
const RECORD_BYTES: usize = 2048;
const PER_BATCH: usize = 100;
/// The name of the ledger's file.
const LEDGER: &str = "ledger.redb";

fn main() {
    let asked = std::env::args().skip(1).find_map(|argument| argument.parse().ok());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        a_million_entries_on_disk().await;
        nothing_matches(asked.unwrap_or(1_000_000)).await;
        one_in_ten_matches(asked.unwrap_or(50_000).min(200_000)).await;
    });
}

async fn nothing_matches(records: usize) {
    let cluster = cluster();
    let batch = Batch::of((0..PER_BATCH).map(|number| incident(&number.to_string(), "other")));
    let batches = records / PER_BATCH / usize::try_from(PARTITIONS).expect("few");
    for partition in 0..PARTITIONS {
        cluster.append_many("sre", partition, &batch, batches);
    }
    let before = resident();
    let dir = tempfile::tempdir().expect("a directory");
    let measured = measure(&cluster, "http://127.0.0.1:1", dir.path()).await;
    measured.print("nothing matches");
    println!("    resident: {} before, {} at most, {} after", mib(before), mib(measured.resident_max), mib(resident()));
}

async fn a_million_entries_on_disk() {
    let (dir, before, began) = (tempfile::tempdir().expect("a directory"), resident(), Instant::now());
    let ledger = open(dir.path());
    for thousand in 0..334 {
        let episodes = (0..1000).flat_map(|one| episode::story(format!("past-{thousand}-{one}"), wall_clock_ms()));
        ledger.append(episodes.collect()).await.expect("written");
    }
    let entries = ledger.written().records;
    drop(ledger);
    let size = std::fs::metadata(dir.path().join(LEDGER)).expect("a file").len();
    println!("a million entries on disk: {entries} of them, {}, written in {:.1?}", mib(size), began.elapsed());
    let filled = resident();
    let (cluster, target) = (one_in_ten(4_000), Target::start());
    target.default_reply(Reply::status(200));
    let measured = measure(&cluster, &target.url("/"), dir.path()).await;
    println!(
        "    resident: {} at first, {} when written, {} at most while {} more are, {} after",
        mib(before),
        mib(filled),
        mib(measured.resident_max),
        measured.entries,
        mib(resident())
    );
}

async fn one_in_ten_matches(records: usize) {
    let (cluster, target) = (one_in_ten(records), Target::start());
    target.default_reply(Reply::status(200));
    let dir = tempfile::tempdir().expect("a directory");
    let measured = measure(&cluster, &target.url("/"), dir.path()).await;
    measured.print("one in ten matches, durably");
    let per_second = measured.commits as f64 / measured.took.as_secs_f64();
    println!(
        "    ledger: {} entries in {} fsyncs, {per_second:.0} a second; this disk alone does {:.0} a second",
        measured.entries,
        measured.commits,
        disk::fsyncs_a_second()
    );
}

/// A topic in which one of ten incidents is of the kind that matches.
fn one_in_ten(records: usize) -> Cluster {
    let cluster = cluster();
    let mut number = 0;
    while number < records {
        for partition in 0..PARTITIONS {
            let values = (0..PER_BATCH).map(|at| {
                let kind = if at % 10 == 0 { "oozie" } else { "other" };
                incident(&format!("{}", number + at), kind)
            });
            cluster.produce("sre", partition, values.collect::<Vec<_>>());
            number += PER_BATCH;
        }
    }
    cluster
}

fn cluster() -> Cluster {
    Cluster::builder().topic("sre", usize::try_from(PARTITIONS).expect("few")).start()
}

struct Measured {
    records: usize,
    took: Duration,
    resident_max: u64,
    entries: u64,
    commits: u64,
}

impl Measured {
    fn print(&self, name: &str) {
        let seconds = self.took.as_secs_f64();
        let rate = self.records as f64 / seconds;
        println!(
            "{name}: {} records of {RECORD_BYTES} B in {seconds:.2} s = {rate:.0} records/s, {:.1} MB/s",
            self.records,
            rate * RECORD_BYTES as f64 / 1e6
        );
    }
}

fn open(folder: &Path) -> Ledger {
    let Opened::Ledger(ledger) = Ledger::open(&folder.join(LEDGER), "bench").expect("opens") else {
        panic!("nobody else has it")
    };
    ledger
}

/// Runs the pipeline on the ledger in that folder until everything is committed.
async fn measure(cluster: &Cluster, target: &str, folder: &Path) -> Measured {
    let ledger = open(folder);
    let consumer = Consumer::builder()
        .bootstrap_servers([cluster.bootstrap()])
        .group_id("bench")
        .topics(["sre"])
        .auto_offset_reset(AutoOffsetReset::Earliest)
        .build()
        .expect("builds");
    let mut source = KafkaSource(consumer);
    let stop = CancellationToken::new();
    let (domain, token) = (Arc::new(domain(ledger.clone(), target)), stop.clone());
    let began = Instant::now();
    let task = tokio::spawn(async move {
        let drained = run(&mut source, domain, token).await;
        let _ = source.0.close(Duration::from_secs(5)).await;
        drained
    });
    let mut resident_max = 0;
    while !all_committed(cluster) {
        assert!(!task.is_finished(), "the pipeline ended");
        resident_max = resident_max.max(resident());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let took = began.elapsed();
    stop.cancel();
    task.await.expect("no panic").expect("drains");
    let written = ledger.written();
    let records: i64 = (0..PARTITIONS).map(|partition| cluster.log_end("sre", partition)).sum();
    let records = usize::try_from(records).expect("not negative");
    Measured { records, took, resident_max, entries: written.records, commits: written.commits }
}

fn all_committed(cluster: &Cluster) -> bool {
    (0..PARTITIONS)
        .all(|partition| cluster.committed("bench", "sre", partition) == Some(cluster.log_end("sre", partition)))
}

fn domain(ledger: Ledger, target: &str) -> Domain {
    let mut text = String::from("incident_conditions:\n");
    for number in 0..99 {
        let _ = writeln!(
            text,
            "- {{name: c{number}, active: true, tags: {{alert_type: k{number}}}, incident_actions: [hook]}}"
        );
    }
    text.push_str(
        "- {name: oozie, active: true, tags: {alert_type: oozie}, incident_actions: [hook]}\nincident_actions:\n",
    );
    let _ = writeln!(
        text,
        "- {{name: hook, type: webhook, url: \"{target}\", body: '{{\"id\": \"{{{{incident.id}}}}\"}}'}}"
    );
    let mistakes = Mistakes::default();
    let root = parse(&text, &mistakes).expect("YAML");
    let definitions = Definitions::read(root.get("incident_actions"), None, &Surroundings::default(), &mistakes);
    let conditions = Conditions::compile(root.get("incident_conditions"), "incident_conditions", &mistakes);
    assert!(mistakes.is_empty(), "{mistakes}");
    let resolver = Resolver::system(Duration::from_secs(5));
    let http = HttpClient::new(resolver, TlsSettings::default(), HttpSettings::default()).expect("builds");
    Domain {
        rulebook: Arc::new(Rulebook::new(Edition { conditions, definitions, ..Edition::default() })),
        ledger,
        executor: Executor::Live(Network::new(http, Secrets::default(), None)),
        dead_letters: None,
        kill_switch_file: None,
        limits: Limits { commit_interval: Duration::from_millis(100), ..Limits::default() },
        incident_limits: incident::Limits::default(),
        passes_over_unread: false,
        observer: Arc::new(()),
        status: Arc::default(),
        left: kafka_consumer::pipeline::Left::default(),
        desk: kafka_consumer::pipeline::Desk::default(),
        adopt: |_, _| {},
        name: "bench".to_owned(),
        now_ms: wall_clock_ms,
    }
}

/// A record of the usual shape, filled up to [`RECORD_BYTES`].
fn incident(id: &str, kind: &str) -> String {
    let alerts: Vec<_> = (0..3)
        .map(|alert| {
            format!(
                r#"{{"id": "{id}-{alert}", "status": "critical", "active": true, "startedOn": 1769755513, "updatedOn": 1769755540,
                "source_system": "nagios.prod", "host": "h{alert}.example", "tags": [{{"name": "host", "value": "h{alert}.example"}},
                {{"name": "severity", "value": "critical"}}]}}"#
            )
        })
        .collect();
    let mut text = format!(
        r#"{{"incident": {{"id": "{id}", "status": "critical", "active": true, "resolved": false, "startedOn": 1769755513,
        "updatedOn": 1769755540, "incidentTags": [{{"id": "alert_type", "value": "{kind}"}}], "alerts": [{}], "note": ""#,
        alerts.join(", ")
    );
    let end = "\"}}";
    while text.len() + end.len() < RECORD_BYTES {
        text.push('x');
    }
    text.push_str(end);
    text
}

/// Resident memory of this process in bytes; 0 where the system does not say.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").trim().parse::<u64>().ok());
    kib.unwrap_or_default() * 1024
}

fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}
