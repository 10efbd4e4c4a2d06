//! Traces as the configuration has them: what makes spans, and who delivers them.

use std::time::Duration;

use crate::client::{Resolver, TlsSettings};
use crate::config::{self, Config};
use crate::secret::Secrets;
use crate::telemetry::scrubber;
use crate::traces::{Collector, Exporter, Spans, TraceSettings, Tracing, begin};
use crate::transport::{HttpClient, HttpSettings};

use super::exit::Failure;
use super::life::host_name;

/// For one question to a name server on the way to the collector.
const DNS_TIMEOUT: Duration = Duration::from_secs(5);
/// The most that is read of a collector's answer.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// How long the last spans may hold up the end of the process.
pub(super) const FLUSH_WITHIN: Duration = Duration::from_secs(2);

/// What makes spans, where traces are configured.
pub(super) fn spans(config: &Config) -> Option<(Tracing, Spans)> {
    let traces = config.traces.as_ref()?;
    Some(begin(&TraceSettings {
        sample_ratio: traces.sample_ratio,
        resource: resource(traces, &host_name()),
        scrub: |text| scrubber().scrub(text).into_owned(),
    }))
}

/// What is configured wins over what is known without.
fn resource(traces: &config::Traces, host: &str) -> Vec<(String, String)> {
    let known = [
        ("service.name", traces.service_name.clone()),
        ("service.version", env!("CARGO_PKG_VERSION").to_owned()),
        ("service.instance.id", host.to_owned()),
        ("host.name", host.to_owned()),
        ("process.pid", std::process::id().to_string()),
        ("telemetry.sdk.language", "rust".to_owned()),
        ("telemetry.sdk.name", "opentelemetry".to_owned()),
    ];
    let configured = |key: &str| traces.resource.iter().any(|(name, _)| name == key);
    let known = known.into_iter().filter(|(key, _)| !configured(key)).map(|(key, value)| (key.to_owned(), value));
    known.chain(traces.resource.iter().cloned()).collect()
}

/// Begins to deliver.
pub(super) fn deliver(spans: Spans, config: &Config, secrets: &Secrets) -> Result<Option<Exporter>, Failure> {
    let Some(traces) = &config.traces else { return Ok(None) };
    // A credential that is written out in the file is no less secret.
    traces.headers.iter().filter_map(|(_, value)| value.plain()).for_each(|plain| scrubber().register(plain));
    let tls = TlsSettings { ca_location: config.tls_ca_file.clone(), ..TlsSettings::default() };
    let settings = HttpSettings { response_bytes_max: ANSWER_BYTES_MAX, ..HttpSettings::default() };
    let http = HttpClient::new(Resolver::system(DNS_TIMEOUT), tls, settings)
        .map_err(|error| Failure::WrongConfiguration(format!("tls.ca_file: {error}")))?;
    Ok(Some(Exporter::start(
        spans,
        Collector {
            http,
            endpoint: traces.endpoint.clone(),
            headers: traces.headers.clone(),
            secrets: secrets.clone(),
            timeout: traces.timeout,
        },
    )))
}
