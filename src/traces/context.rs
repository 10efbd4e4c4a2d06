//! Where a trace goes on: `traceparent` and `tracestate` as W3C has them, of a record that is read and of requests that are sent.

use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator as _};
use opentelemetry::trace::TraceContextExt as _;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

const TRACEPARENT: &str = "traceparent";

/// Headers of a record, by name.
struct Read<'h>(&'h [(&'h str, &'h str)]);

impl Extractor for Read<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, value)| *value)
    }

    fn keys(&self) -> Vec<&str> {
        self.0.iter().map(|(name, _)| *name).collect()
    }
}

/// Headers of a request. One that the request has already is left as it is.
struct Sent<'h>(&'h mut HeaderMap);

impl Injector for Sent<'_> {
    fn set(&mut self, key: &str, value: String) {
        let (name, value) = (HeaderName::try_from(key), HeaderValue::try_from(value));
        if let (Ok(name), Ok(value)) = (name, value)
            && !value.is_empty()
        {
            self.0.entry(name).or_insert(value);
        }
    }
}

/// Puts a span that has just been made under the trace that a record's headers name; without a valid `traceparent` it begins one.
pub fn adopt(span: &Span, headers: &[(&str, &str)]) {
    let parent = TraceContextPropagator::new().extract(&Read(headers));
    if parent.span().span_context().is_valid() {
        // A span that is not traced has no parent either.
        let _ = span.set_parent(parent);
    }
}

/// Tells the target of a request which span it is sent in. Outside of one nothing is added.
pub fn stamp(headers: &mut HeaderMap) {
    let context = Span::current().context();
    if context.span().span_context().is_valid() && !headers.contains_key(TRACEPARENT) {
        TraceContextPropagator::new().inject_context(&context, &mut Sent(headers));
    }
}
