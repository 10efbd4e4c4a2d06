//! The table of metrics, and their text form for Prometheus.
//!
//! A metric that is not in [`TABLE`] cannot be exposed, and README's table is held against it by a test. Values are read
//! when somebody asks: counters live where things happen, and a scrape takes a snapshot of them. Labels are bounded: only
//! names from the configuration, topics, partitions and our own enumerations appear in them, never incident ids.

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
    value: f64,
}

impl Metric {
    /// A value of this metric; `labels` in the order of [`Metric::labels`].
    pub fn sample<const N: usize>(&'static self, labels: [&str; N], value: f64) -> Sample {
        debug_assert_eq!(self.labels.len(), N, "{}", self.name);
        Sample { metric: self, labels: labels.map(str::to_owned).to_vec(), value }
    }
}

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, labels, help }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, labels, help }
}

/// Writes the samples in the OpenMetrics text format, each metric once with its help, in the order of [`TABLE`].
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
                    write_value(&mut family, metric.kind, sample.value)?;
                } else {
                    write_value(&mut family.encode_family(&labels)?, metric.kind, sample.value)?;
                }
            }
        }
        Ok(())
    }
}

fn write_value(encoder: &mut MetricEncoder<'_>, kind: Kind, value: f64) -> Result<(), std::fmt::Error> {
    match kind {
        Kind::Counter => encoder.encode_counter::<NoLabelSet, f64, f64>(&value, None),
        Kind::Gauge => encoder.encode_gauge(&value),
    }
}

impl From<Kind> for MetricType {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Counter => Self::Counter,
            Kind::Gauge => Self::Gauge,
        }
    }
}

/// Version of the running program, as a label.
pub static BUILD_INFO: Metric = gauge("kafka_consumer_build_info", &["version"], "Always 1; the label is the version");
/// Start of the process.
pub static START_TIME: Metric =
    gauge("kafka_consumer_start_time_seconds", &[], "Start of the process, seconds since the epoch");
/// Memory of the process.
pub static RESIDENT: Metric = gauge("kafka_consumer_resident_memory_bytes", &[], "Resident memory of the process");
/// State of the service.
pub static STATE: Metric =
    gauge("kafka_consumer_state", &["state"], "1 for the state the service is in, 0 for the others");
/// Readiness.
pub static READY: Metric = gauge("kafka_consumer_ready", &[], "1 when /readyz answers 200");
/// Lines that could not be written.
pub static LOG_LINES_LOST: Metric =
    counter("kafka_consumer_log_lines_lost_total", &[], "Log lines that did not reach standard output or the log file");

/// Every metric there is.
pub static TABLE: &[&Metric] = &[&BUILD_INFO, &START_TIME, &RESIDENT, &STATE, &READY, &LOG_LINES_LOST];

#[cfg(test)]
mod tests {
    use super::*;

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
