//! The table of metrics, and their text form for Prometheus.
//!
//! A metric that is not in [`TABLE`] cannot be exposed, and `deploy_target/metrics.md` is held against it by a test. Values are read
//! when somebody asks: counters live where things happen, and a scrape takes a snapshot of them. Labels are bounded: only
//! names from the configuration, topics, partitions, brokers with their addresses and our own enumerations appear in them, never incident ids.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

/// Whether a value only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Grows until the process ends; the name ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How often a value fell where; of durations, in the buckets of [`BOUNDS_SECONDS`].
    Histogram,
}

/// Upper bounds of the buckets, from a fast decision to a job of ten minutes. The last one is everything.
pub const BOUNDS_SECONDS: [f64; 15] =
    [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0, f64::MAX];

/// How values are spread over [`BOUNDS_SECONDS`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Distribution {
    sum: f64,
    counts: [u64; BOUNDS_SECONDS.len()],
}

impl Distribution {
    /// Counts one value.
    pub fn add(&mut self, value: f64) {
        self.sum += value;
        let bucket = BOUNDS_SECONDS.iter().zip(&mut self.counts).find(|(bound, _)| value <= **bound);
        if let Some((_, count)) = bucket {
            *count = count.saturating_add(1);
        }
    }
}

/// One documented metric.
#[derive(Debug, PartialEq, Eq)]
pub struct Metric {
    /// The full name as Prometheus sees it, unit and `_total` included.
    pub name: &'static str,
    /// Counter or gauge.
    pub kind: Kind,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it says, in one sentence without a full stop.
    pub help: &'static str,
}

/// One value of one metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    metric: &'static Metric,
    labels: Vec<String>,
    value: Value,
}

#[derive(Debug, Clone, PartialEq)]
enum Value {
    Number(f64),
    Spread(Distribution),
}

impl Metric {
    /// A value of this metric; `labels` in the order of [`Metric::labels`].
    pub fn sample<const N: usize>(&'static self, labels: [&str; N], value: f64) -> Sample {
        debug_assert_eq!(self.labels.len(), N, "{}", self.name);
        Sample { metric: self, labels: labels.map(str::to_owned).to_vec(), value: Value::Number(value) }
    }

    /// The value that suits the kind of this metric: the distribution for a histogram, else the number.
    pub fn counted(&'static self, labels: Vec<String>, number: f64, spread: &Distribution) -> Sample {
        let value = match self.kind {
            Kind::Counter | Kind::Gauge => Value::Number(number),
            Kind::Histogram => Value::Spread(spread.clone()),
        };
        Sample { metric: self, labels, value }
    }
}

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, labels, help }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, labels, help }
}

const fn histogram(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Histogram, labels, help }
}

/// Writes the samples in the text format `OpenMetrics`, each metric once with its help, in the order of [`TABLE`].
pub fn encode(samples: Vec<Sample>) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Samples(samples)));
    let mut body = String::new();
    match text::encode(&mut body, &registry) {
        Ok(()) => body,
        // Writing into a String does not fail; if the encoder refuses, an empty page is better than half of one.
        Err(std::fmt::Error) => String::new(),
    }
}

/// The content type of [`encode`]'s text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Debug)]
struct Samples(Vec<Sample>);

impl Collector for Samples {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        for metric in TABLE {
            let mut of_metric = self.0.iter().filter(|sample| sample.metric.name == metric.name).peekable();
            if of_metric.peek().is_none() {
                continue;
            }
            // The encoder adds `_total` itself.
            let name = metric.name.strip_suffix("_total").unwrap_or(metric.name);
            let mut family = encoder.encode_descriptor(name, metric.help, None, metric.kind.into())?;
            for sample in of_metric {
                let labels: Vec<(&str, &str)> =
                    metric.labels.iter().copied().zip(sample.labels.iter().map(String::as_str)).collect();
                if labels.is_empty() {
                    write_value(&mut family, metric.kind, &sample.value)?;
                } else {
                    write_value(&mut family.encode_family(&labels)?, metric.kind, &sample.value)?;
                }
            }
        }
        Ok(())
    }
}

fn write_value(encoder: &mut MetricEncoder<'_>, kind: Kind, value: &Value) -> Result<(), std::fmt::Error> {
    match (kind, value) {
        (Kind::Counter, Value::Number(number)) => encoder.encode_counter::<NoLabelSet, f64, f64>(number, None),
        (_, Value::Number(number)) => encoder.encode_gauge(number),
        (_, Value::Spread(spread)) => {
            let buckets: Vec<(f64, u64)> = BOUNDS_SECONDS.into_iter().zip(spread.counts).collect();
            encoder.encode_histogram::<NoLabelSet>(spread.sum, spread.counts.iter().sum(), &buckets, None)
        }
    }
}

impl From<Kind> for MetricType {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Counter => Self::Counter,
            Kind::Gauge => Self::Gauge,
            Kind::Histogram => Self::Histogram,
        }
    }
}

macro_rules! table {
    ($($name:ident = $kind:ident($text:literal, [$($label:literal),*], $help:literal);)*) => {
        $(
            #[doc = $help]
            pub static $name: Metric = $kind($text, &[$($label),*], $help);
        )*

        /// Every metric there is.
        pub static TABLE: &[&Metric] = &[$(&$name),*];
    };
}

table! {
    BUILD_INFO = gauge("kafka_consumer_build_info", ["version"], "Always 1; the label is the version");
    START_TIME = gauge("kafka_consumer_start_time_seconds", [], "Start of the process, seconds since the epoch");
    RESIDENT = gauge("kafka_consumer_resident_memory_bytes", [], "Resident memory of the process");
    STATE = gauge("kafka_consumer_state", ["state"], "1 for the state the service is in, 0 for the others");
    READY = gauge("kafka_consumer_ready", [], "1 when /readyz answers 200");
    LOG_LINES_LOST = counter("kafka_consumer_log_lines_lost_total", [], "Log lines that did not reach standard output or the log file");
    SPANS_DELIVERED = counter("kafka_consumer_trace_spans_delivered_total", [], "Spans that the collector of traces took; absent where no traces are configured");
    SPANS_DROPPED = counter("kafka_consumer_trace_spans_dropped_total", [], "Spans given up because the queue was full or the collector refused them; absent where no traces are configured");
    CERTIFICATE_NOT_AFTER = gauge("kafka_consumer_certificate_not_after_seconds", [], "End of the certificate in use, seconds since the epoch");
    CERTIFICATE_RENEWALS = counter("kafka_consumer_certificate_renewals_total", [], "Certificates that took the place of an earlier one");
    CERTIFICATE_TROUBLE = gauge("kafka_consumer_certificate_trouble", [], "1 while certificate and key on disk cannot be used, or there are none");
    RELOADS = counter("kafka_consumer_reloads_total", ["result"], "Configurations read again while running, by what came of it");
    RELOAD_LAST = gauge("kafka_consumer_last_reload_seconds", [], "When the configuration was last read again, seconds since the epoch");
    RELOAD_WORKED = gauge("kafka_consumer_last_reload_taken_over", [], "0 while the configuration that was read last is refused and the rules of before are in force");
    GROUP_STABLE = gauge("kafka_consumer_group_stable", [], "1 while the member is joined and has its assignment");
    GROUP_STATE = gauge("kafka_consumer_group_state", ["state"], "1 for the state of the member in its group; other states are absent");
    GROUP_GENERATION = gauge("kafka_consumer_group_generation", [], "Generation of the group, absent outside of any");
    GROUP_JOINS = counter("kafka_consumer_group_joins_total", ["reason"], "Joins sent, by reason");
    GROUP_TROUBLE = gauge("kafka_consumer_group_trouble", [], "1 while the last request to the coordinator failed or was refused");
    REBALANCES = counter("kafka_consumer_group_rebalances_total", [], "Assignments received");
    SESSION_LEFT = gauge("kafka_consumer_group_session_left_seconds", [], "How long the session holds without another heartbeat");
    BUFFERED = gauge("kafka_consumer_buffered_bytes", [], "Bytes fetched and not yet handed to the pipeline, of all partitions");
    FETCHES = counter("kafka_consumer_fetches_total", [], "Fetch responses");
    FETCHED = counter("kafka_consumer_fetched_bytes_total", [], "Bytes of records in fetch responses, as compressed");
    RECORDS = counter("kafka_consumer_records_total", [], "Records handed to the pipeline");
    STALE_FETCHES = counter("kafka_consumer_stale_fetches_total", [], "Fetch responses, or parts of them, for an assignment that was over");
    SKIPPED_BATCHES = counter("kafka_consumer_skipped_batches_total", [], "Record batches passed over as unreadable");
    COMMITTED = counter("kafka_consumer_committed_offsets_total", [], "Offsets stored by the coordinator");
    DROPPED = counter("kafka_consumer_dropped_commits_total", [], "Offsets not sent because their assignment was over or they would have gone back");
    FENCED = counter("kafka_consumer_fenced_commits_total", [], "Commits refused because the member was fenced");
    RESETS = counter("kafka_consumer_position_resets_total", [], "Positions that were reset");
    THROTTLES = counter("kafka_consumer_throttles_total", [], "Answers in which a broker asked for a pause");
    STEPS = counter("kafka_consumer_protocol_steps_total", ["step"], "Decisive steps of the protocol, as the flight recorder has them");
    CONNECTION_STATE = gauge("kafka_consumer_connection_state", ["broker", "purpose", "state"], "1 for the state of the connection, 0 for the others");
    CONNECTION_SESSION_LEFT = gauge("kafka_consumer_connection_session_left_seconds", ["broker", "purpose"], "Until the connection is replaced because its SASL session ends");
    CONNECTION_THROTTLED = gauge("kafka_consumer_connection_throttled_seconds", ["broker", "purpose"], "How long the throttle of the broker still holds");
    BROKER_FAILING = gauge("kafka_consumer_broker_failing", ["broker", "layer"], "1 for the layer at which the broker could not be reached, until it can: dns, tcp, tls, kafka, sasl or metadata");
    BROKER_ADDRESS = gauge("kafka_consumer_broker_address_info", ["broker", "name", "address"], "1 for each address that the name of the broker led to when it was last looked up");
    PARTITION_STATE = gauge("kafka_consumer_partition_state", ["topic", "partition", "state"], "1 for what the partition is doing, which is the reason when it is not fetching, 0 for the others");
    PARTITION_FETCHING = gauge("kafka_consumer_partition_fetching", ["topic", "partition"], "1 while the partition is being fetched");
    PARTITION_BUFFERED = gauge("kafka_consumer_partition_buffered_bytes", ["topic", "partition"], "Bytes fetched and not yet handed to the pipeline");
    PARTITION_POSITION = gauge("kafka_consumer_partition_position_offset", ["topic", "partition"], "Next offset to fetch");
    PARTITION_DELIVERED = gauge("kafka_consumer_partition_delivered_offset", ["topic", "partition"], "Offset after the last record handed to the pipeline");
    PARTITION_COMMITTED = gauge("kafka_consumer_partition_committed_offset", ["topic", "partition"], "Committed offset");
    PARTITION_HIGH_WATERMARK = gauge("kafka_consumer_partition_high_watermark_offset", ["topic", "partition"], "End of what is replicated, as of the last fetch");
    PARTITION_LAST_STABLE = gauge("kafka_consumer_partition_last_stable_offset", ["topic", "partition"], "End of what a reader of committed transactions may see, as of the last fetch");
    PARTITION_LAG = gauge("kafka_consumer_partition_lag_records", ["topic", "partition"], "Records not yet handed to the pipeline");
    PARTITION_LAG_SECONDS = gauge("kafka_consumer_partition_lag_seconds", ["topic", "partition"], "Age of the last record handed over, while there is a lag");
    DECIDED = counter("kafka_consumer_decided_records_total", [], "Records that were parsed and tried against the conditions");
    DECIDED_BYTES = counter("kafka_consumer_decided_bytes_total", [], "Bytes of these records, decompressed");
    MATCHED = counter("kafka_consumer_matched_records_total", [], "Records that matched a condition");
    MALFORMED = counter("kafka_consumer_malformed_records_total", [], "Records that are no incident and became dead letters");
    DECIDE_SECONDS = histogram("kafka_consumer_decide_duration_seconds", [], "Time to decide the records of one batch");
    INCIDENTS = counter("kafka_consumer_incidents_total", ["condition", "end"], "Matched records dealt with, by how they ended");
    INCIDENT_SECONDS = histogram("kafka_consumer_incident_duration_seconds", ["condition"], "From the arrival of a matched record to its end");
    ACTIONS = counter("kafka_consumer_actions_total", ["condition", "action", "type", "outcome"], "Episodes that ended, by how");
    ATTEMPTS = counter("kafka_consumer_attempts_total", ["action", "type", "report"], "Attempts, by what came of them");
    ATTEMPT_SECONDS = histogram("kafka_consumer_attempt_duration_seconds", ["action", "type"], "Duration of attempts");
    JOBS = counter("kafka_consumer_jobs_total", ["action", "type", "outcome"], "Jobs at a target that ended, by how; of the types `screwdriver…` these are the predecessor's `ScrewdriverJobSuccess` and `ScrewdriverJobFailure`");
    JOB_SECONDS = histogram("kafka_consumer_job_duration_seconds", ["action", "type"], "From the start of a job at a target to its end, as far as polling sees it; of the types `screwdriver…` the predecessor's `ScrewdriverJobDuration`");
    RATE_WAIT_SECONDS = histogram("kafka_consumer_rate_limit_wait_seconds", ["action", "type"], "Waits for the rate limit of the service that is asked, `Retry-After` included");
    COMMITS = counter("kafka_consumer_commits_total", ["result"], "Commits of a partition, by result");
    BACK_PRESSURE = counter("kafka_consumer_back_pressure_total", ["change"], "How often partitions were paused because too much waits, and resumed");
    RUNNING = gauge("kafka_consumer_incidents_running", [], "Incidents being worked on");
    WAITING = gauge("kafka_consumer_incidents_waiting", [], "Matched records that wait for their turn");
    DECIDING = gauge("kafka_consumer_batches_deciding", [], "Batches being decided");
    OWNED = gauge("kafka_consumer_partitions_owned", [], "Partitions assigned");
    REFUSALS = counter("kafka_consumer_guard_refusals_total", ["guard", "condition", "action"], "Actions that a guard stopped");
    TRIPPED = gauge("kafka_consumer_guards_tripped", [], "Guards that are tripped: open circuits, storm mode, services that asked to be left alone");
    HALTED = gauge("kafka_consumer_halted", [], "1 while nothing new is started: kill switch, ledger or dead letters");
    LEDGER_WRITABLE = gauge("kafka_consumer_ledger_writable", [], "1 while the ledger can be written");
    LEDGER_COMMITS = counter("kafka_consumer_ledger_commits_total", [], "Durable writes of the ledger, one fsync each");
    LEDGER_RECORDS = counter("kafka_consumer_ledger_records_total", [], "Entries in these writes");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn documentation() -> String {
        let mut text = "# Metrics\n\nEvery metric of `/metrics`, with its kind, its labels and what it says.\n\n\
                        | metric | kind | labels | |\n|---|---|---|---|\n"
            .to_owned();
        for metric in TABLE {
            let kind = format!("{:?}", metric.kind).to_lowercase();
            let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
            let row = [format!("`{}`", metric.name), kind, labels.join(", "), metric.help.to_owned()].join(" | ");
            text.extend(["| ", &row, " |\n"]);
        }
        text
    }

    #[test]
    fn the_documentation_lists_exactly_these_metrics() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy_target/metrics.md");
        let written = std::fs::read_to_string(file).unwrap_or_default();
        let wanted = documentation();
        if written != wanted {
            // Writing it is the remedy; the failure makes sure that somebody looks at the difference.
            std::fs::write(file, &wanted).expect("the documentation");
        }
        assert!(written == wanted, "{file} was out of date and has been written anew: look at it and commit it");
    }

    #[test]
    fn names_are_prefixed_unique_and_counters_end_in_total() {
        let mut names: Vec<&str> = TABLE.iter().map(|metric| metric.name).collect();
        for metric in TABLE {
            assert!(metric.name.starts_with("kafka_consumer_"), "{}", metric.name);
            assert_eq!(metric.name.ends_with("_total"), metric.kind == Kind::Counter, "{}", metric.name);
            assert!(!metric.help.ends_with('.') && !metric.help.is_empty(), "{}", metric.name);
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), TABLE.len());
    }

    #[test]
    fn samples_come_out_as_prometheus_reads_them() {
        let body = encode(vec![
            STATE.sample(["joined"], 1.0),
            LOG_LINES_LOST.sample([], 2.0),
            STATE.sample(["dra\"ining\n"], 0.0),
        ]);
        assert!(body.contains("# TYPE kafka_consumer_state gauge\n"), "{body}");
        assert!(body.contains("kafka_consumer_state{state=\"joined\"} 1.0\n"), "{body}");
        assert!(body.contains("kafka_consumer_state{state=\"dra\\\"ining\\n\"} 0.0\n"), "{body}");
        assert!(body.contains("kafka_consumer_log_lines_lost_total 2.0\n"), "{body}");
        assert!(body.ends_with("# EOF\n"), "{body}");
    }
}
