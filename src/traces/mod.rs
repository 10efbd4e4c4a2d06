//! OpenTelemetry traces: spans of the pipeline, delivered to a collector over OTLP/HTTP.
//!
//! | file | what |
//! |---|---|
//! | `queue` | a span that has ended: bounded, cleaned of secrets, and queued or dropped; it never waits |
//! | `export` | the task that packs what is queued and delivers it, with back-off and one last time at the end |
//! | `collector` | one delivery: an HTTP request, and what the answer means |
//! | `context` | `traceparent`: of a record that is read, and of requests that are sent |
//!
//! Promised: whatever the collector does, nobody waits for it. At most [`QUEUED_MAX`] spans and one delivery of
//! [`SPANS_PER_DELIVERY`] are kept; the rest is dropped and counted. Absent: metrics and logs over OTLP, gRPC, and the
//! environment variables `OTEL_…`: what is not in the configuration is not set.

mod collector;
mod context;
mod export;
mod queue;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider, SpanData};
use tokio::sync::mpsc;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::{Layer, Registry};

pub use crate::traces::collector::Collector;
pub use crate::traces::context::{adopt, stamp};
pub use crate::traces::export::Exporter;
use crate::traces::queue::Queue;

/// The target of the spans that are delivered, and of nothing else.
const TARGET: &str = "traces";
/// Spans that wait to be delivered; OpenTelemetry's own default.
pub const QUEUED_MAX: usize = 2048;
/// Spans in one request; OpenTelemetry's own default.
pub const SPANS_PER_DELIVERY: usize = 512;

/// What is traced, and as whom.
#[derive(Clone, Debug)]
pub struct TraceSettings {
    /// The share of traces that are kept, from 0 to 1. What a record's `traceparent` says about sampling wins.
    pub sample_ratio: f64,
    /// Attributes of this process, such as `service.name`.
    pub resource: Vec<(String, String)>,
    /// Takes secrets out of a text.
    pub scrub: fn(&str) -> String,
}

/// What became of spans since the start.
#[derive(Debug, Default)]
pub struct Counts {
    delivered: AtomicU64,
    dropped: AtomicU64,
}

impl Counts {
    /// Spans that the collector took.
    pub fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    /// Spans that were given up: the queue was full, or the collector refused them.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn deliver(&self, spans: usize) {
        self.delivered.fetch_add(spans as u64, Ordering::Relaxed);
    }

    fn give_up(&self, spans: usize) {
        self.dropped.fetch_add(spans as u64, Ordering::Relaxed);
    }
}

/// Spans on their way, to be delivered by an [`Exporter`].
#[derive(Debug)]
pub struct Spans {
    queued: mpsc::Receiver<SpanData>,
    resource: ResourceAttributesWithSchema,
    counts: Arc<Counts>,
}

impl Spans {
    /// What became of them so far.
    pub fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.counts)
    }
}

/// The part of the subscriber that makes spans.
pub type Tracing = Box<dyn Layer<Registry> + Send + Sync>;

/// Makes the part of the subscriber that makes spans, and where they come out. Nothing is sent yet.
pub fn begin(settings: &TraceSettings) -> (Tracing, Spans) {
    let (sender, queued) = mpsc::channel(QUEUED_MAX);
    let counts = Arc::new(Counts::default());
    let attributes = settings.resource.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
    let resource = Resource::builder_empty().with_attributes(attributes).build();
    let spans = Spans { queued, resource: (&resource).into(), counts: Arc::clone(&counts) };
    let provider = SdkTracerProvider::builder()
        .with_span_processor(Queue::new(sender, counts, settings.scrub))
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(settings.sample_ratio))))
        .with_resource(resource)
        .build();
    let scope = InstrumentationScope::builder("kafka_consumer").with_version(env!("CARGO_PKG_VERSION")).build();
    let layer = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer_with_scope(scope))
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_level(false)
        .with_tracked_inactivity(false)
        .with_context_activation(false)
        .with_filter(Targets::new().with_target(TARGET, LevelFilter::INFO));
    (layer.boxed(), spans)
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    /// What becomes of this many spans that nobody takes.
    fn made(sample_ratio: f64, spans: usize) -> Spans {
        let settings = TraceSettings { sample_ratio, resource: Vec::new(), scrub: str::to_owned };
        let (layer, kept) = begin(&settings);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            for _ in 0..spans {
                tracing::info_span!(target: TARGET, "one").in_scope(|| tracing::info_span!("of lines").in_scope(|| {}));
            }
        });
        kept
    }

    #[test]
    fn what_has_no_room_is_dropped_and_counted_and_spans_of_lines_are_none() {
        let spans = made(1.0, QUEUED_MAX + 10);
        assert_eq!((spans.queued.len(), spans.counts().dropped()), (QUEUED_MAX, 10));
    }

    #[test]
    fn the_ratio_says_how_many_traces_are_kept() {
        assert_eq!(made(0.0, 100).queued.len(), 0);
        let kept = made(0.5, 1000).queued.len();
        assert!((300..700).contains(&kept), "{kept} of 1000");
    }
}
