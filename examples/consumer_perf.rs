//! Reads a topic as fast as it can, or waits for records that tell when they were sent, and prints one line of JSON.
//!
//! The subject of `benches/peers`, which describes flags and figures. It joins a group, reads from the earliest offset,
//! adds up the lengths of keys and values, and commits once at its end. Checksums cannot be switched off. `--property`, as
//! often as needed, sets any property of Kafka's consumer, as in `--property fetch.max.bytes=4194304`. Uses the public API of
//! `kafka_consumer::client` alone:
//!
//! ```text
//! cargo run --release --example consumer_perf --no-default-features -- --bootstrap 127.0.0.1:9092 --topic t --count 1000000
//! ```

use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use kafka_consumer::client::{
    AutoOffsetReset, Commit, Consumer, Event, IsolationLevel, PasswordSource, Properties, Record, SaslMechanism,
    SaslSettings, Security, TlsSettings,
};
use rustix::time::{ClockId, clock_gettime};

/// As in the static binary of the service: see `src/main.rs`.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

/// What is asked for on the command line. Every flag takes a value.
struct Options {
    bootstrap: String,
    topic: String,
    group: String,
    /// 0: no limit.
    count: u64,
    /// Zero: no limit.
    duration: Duration,
    security: String,
    ca: String,
    username: String,
    password: String,
    properties: Properties,
    mode: Mode,
}

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Throughput,
    /// Values begin with the instant at which they were sent.
    Latency,
}

fn main() -> ExitCode {
    let done = parse(std::env::args().skip(1)).and_then(|options| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        runtime.block_on(run(&options)).map_err(|error| error.to_string())
    });
    match done {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("consumer_perf: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &Options) -> Result<String, Box<dyn std::error::Error>> {
    let mut meter = Meter::new(options.mode);
    let mut consumer = build(options)?;
    let (handle, mut read) = (consumer.handle(), Commit::new());
    // One timer for the whole run: a race of two futures for each event would be part of what is measured.
    let mut expired = std::pin::pin!(limit(options.duration));
    tokio::select! {
        biased;
        () = meter.read(&mut consumer, &mut read, options.count) => {}
        () = &mut expired => {}
    }
    meter.last = Instant::now();
    let line = meter.line();
    handle.commit(read).await?;
    consumer.close(Duration::from_secs(5)).await?;
    meter.fatal.map_or(Ok(line), |error| Err(error.into()))
}

async fn limit(duration: Duration) {
    if duration.is_zero() {
        std::future::pending::<()>().await;
    } else {
        tokio::time::sleep(duration).await;
    }
}

/// Everything that is counted.
struct Meter {
    mode: Mode,
    /// Nanoseconds since 1970 at which the measurement began: that of the harness where it tells, or of this process.
    start_ns: u64,
    first: Option<First>,
    last: Instant,
    records: u64,
    bytes: u64,
    latencies_ns: Vec<u64>,
    fatal: Option<String>,
}

/// The moment at which the first record was in hand.
struct First {
    at: Instant,
    after_start: Duration,
    cpu_s: f64,
}

impl Meter {
    fn new(mode: Mode) -> Self {
        #[expect(clippy::disallowed_methods, reason = "an example has no other room that reads the environment")]
        let told = std::env::var("BENCH_T0_NS").ok().and_then(|text| text.parse().ok());
        Self {
            mode,
            start_ns: told.unwrap_or_else(unix_ns),
            first: None,
            last: Instant::now(),
            records: 0,
            bytes: 0,
            latencies_ns: Vec::new(),
            fatal: None,
        }
    }

    /// Reads until `count` records were seen.
    async fn read(&mut self, consumer: &mut Consumer, read: &mut Commit, count: u64) {
        while count == 0 || self.records < count {
            match consumer.next().await {
                Ok(Event::Records(records)) => {
                    self.begin();
                    records.batch().for_each(|record| self.take(&record));
                    read.processed(&records);
                }
                Ok(Event::Revoking(revocation)) => {
                    // What the others are to go on from; a refusal means that they read it again.
                    let _ = revocation.commit(std::mem::take(read)).await;
                }
                Ok(Event::Lost { .. }) => *read = Commit::new(),
                Ok(_) => {}
                Err(fatal) => {
                    self.fatal = Some(fatal.to_string());
                    break;
                }
            }
        }
    }

    fn begin(&mut self) {
        if self.first.is_none() {
            let after_start = Duration::from_nanos(unix_ns().saturating_sub(self.start_ns));
            self.first = Some(First { at: Instant::now(), after_start, cpu_s: cpu_s() });
        }
    }

    #[inline]
    fn take(&mut self, record: &Record<'_>) {
        let length = |bytes: Option<&[u8]>| bytes.map_or(0, |bytes| bytes.len() as u64);
        self.records += 1;
        self.bytes += length(record.key) + length(record.value);
        if self.mode == Mode::Latency {
            // A stamp of 0 is a warm-up record.
            if let Some(sent_ns) = record.value.and_then(stamp).filter(|sent_ns| *sent_ns != 0) {
                self.latencies_ns.push(unix_ns().saturating_sub(sent_ns));
            }
        }
    }

    /// The result; CPU time and memory are those of the process up to here.
    fn line(&mut self) -> String {
        let cpu_s = cpu_s();
        let (secs, secs_to_first, cpu_s_at_first) = self.first.as_ref().map_or((0.0, 0.0, 0.0), |first| {
            ((self.last - first.at).as_secs_f64(), first.after_start.as_secs_f64(), first.cpu_s)
        });
        self.latencies_ns.sort_unstable();
        let count = self.latencies_ns.len();
        let of_thousand = |part: usize| {
            let index = (count * part).div_ceil(1000).saturating_sub(1);
            self.latencies_ns.get(index).map_or(0.0, |ns| Duration::from_nanos(*ns).as_secs_f64() * 1e3)
        };
        let latencies = [("p50", 500), ("p99", 990), ("p999", 999), ("max", 1000)]
            .map(|(name, part)| format!("\"{name}_ms\":{:.4}", of_thousand(part)));
        format!(
            "{{\"client\":\"kafka_consumer\",\"version\":\"{}\",\"isolation\":\"read_committed\",\"records\":{},\"bytes\":{},\
             \"secs_first_to_last\":{secs:.6},\"secs_to_first\":{secs_to_first:.6},\"cpu_s\":{cpu_s:.6},\
             \"cpu_s_at_first\":{cpu_s_at_first:.6},\"rss_peak_kib\":{},\"lat_n\":{count},{}}}",
            env!("CARGO_PKG_VERSION"),
            self.records,
            self.bytes,
            rss_peak_kib(),
            latencies.join(","),
        )
    }
}

/// The instant in a value that begins `{"ts":` and 19 digits, in nanoseconds since 1970.
fn stamp(value: &[u8]) -> Option<u64> {
    let digits = value.strip_prefix(b"{\"ts\":")?.get(..19)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn unix_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Seconds of user and system time that the threads of this process took so far.
fn cpu_s() -> f64 {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).map_or(0.0, |used| used.as_secs_f64())
}

/// The most memory that was resident at any time, `VmHWM`.
fn rss_peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

fn build(options: &Options) -> Result<Consumer, Box<dyn std::error::Error>> {
    let security = match options.security.as_str() {
        "plaintext" => Security::Plaintext,
        "sasl_ssl" => {
            let password = PasswordSource::from(options.password.as_str());
            let (mechanism, username) = (SaslMechanism::ScramSha512, options.username.clone());
            Security::SaslSsl(SaslSettings { mechanism, username, password }, TlsSettings::with_ca(&options.ca))
        }
        other => return Err(format!("--security {other} is not known").into()),
    };
    let (builder, applied) = Consumer::builder()
        .bootstrap_servers([options.bootstrap.as_str()])
        .group_id(options.group.as_str())
        .topics([options.topic.as_str()])
        .security(security)
        .auto_offset_reset(AutoOffsetReset::Earliest)
        .isolation_level(IsolationLevel::ReadCommitted)
        .properties(&options.properties)?;
    for warning in applied.warnings {
        eprintln!("consumer_perf: {warning}");
    }
    Ok(builder.build()?)
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options {
        bootstrap: "127.0.0.1:9092".to_owned(),
        topic: String::new(),
        group: format!("perf-{}-{}", std::process::id(), unix_ns()),
        count: 0,
        duration: Duration::ZERO,
        security: "plaintext".to_owned(),
        ca: String::new(),
        username: String::new(),
        password: String::new(),
        properties: Properties::default(),
        mode: Mode::Throughput,
    };
    while let Some(flag) = args.next() {
        let value = args.next().ok_or_else(|| format!("{flag} needs a value"))?;
        set(&mut options, &flag, value)?;
    }
    if options.topic.is_empty() { Err("--topic is missing".to_owned()) } else { Ok(options) }
}

fn set(options: &mut Options, flag: &str, value: String) -> Result<(), String> {
    match (flag, value.as_str()) {
        ("--bootstrap", _) => options.bootstrap = value,
        ("--topic", _) => options.topic = value,
        ("--group", _) => options.group = value,
        ("--security", _) => options.security = value,
        ("--ca", _) => options.ca = value,
        ("--username", _) => options.username = value,
        ("--password", _) => options.password = value,
        ("--mode", "throughput") => options.mode = Mode::Throughput,
        ("--mode", "latency") => options.mode = Mode::Latency,
        ("--property", text) => {
            let (name, value) = text.split_once('=').ok_or_else(|| format!("{flag} {text}: there is no ="))?;
            options.properties.set(name, value);
        }
        ("--check-crcs", "on") => {}
        ("--count", text) => options.count = text.parse().map_err(|error| format!("{flag} {text}: {error}"))?,
        ("--duration", text) => {
            let seconds = text.parse().map_err(|error| format!("{flag} {text}: {error}"))?;
            options.duration =
                Duration::try_from_secs_f64(seconds).map_err(|error| format!("{flag} {text}: {error}"))?;
        }
        (_, text) => return Err(format!("{flag} {text} is not known")),
    }
    Ok(())
}
