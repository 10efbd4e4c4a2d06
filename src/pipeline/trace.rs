//! The spans of one record's way, for OpenTelemetry. Whether somebody takes them is not known here; where nobody does they cost nothing.
//!
//! ```text
//! process TOPIC            from the match to the end of the record
//! └─ action NAME           a step, to its outcome
//!    ├─ ledger INTENT      each durable write
//!    ├─ guard              an attempt's turn: slots, limits, kill switch, freshness
//!    ├─ ledger ATTEMPT
//!    ├─ attempt NAME       on the network
//!    └─ ledger OUTCOME
//! ```
//!
//! A record that matches nothing has none: there are hundreds of thousands of them a second. What stands in a span is
//! bounded and cleaned of secrets by whoever takes it. Numbers are signed, as OpenTelemetry has no others.

use kafka_proto::id::TopicPartition;
use kafka_proto::record::Record;
use tracing::Span;
use tracing::field::Empty;

use crate::action::Report;
use crate::condition::Match;
use crate::guard::Refusal;
use crate::ledger::{Entry, Outcome, Terminal};
use crate::pipeline::guard::Interrupt;
use crate::pipeline::observe::IncidentEnd;
use crate::plan::Step;

/// A longer `traceparent` or `tracestate` is not read: that is W3C's own bound.
const HEADER_BYTES_MAX: usize = 512;

/// What puts a span under the trace that headers name, given by name and value.
pub type Adopt = fn(&Span, &[(&str, &str)]);

/// A record that matched, or whose incident has something left open.
pub(crate) fn received(
    record: &Record<'_>,
    partition: &TopicPartition,
    incident: &str,
    matched: Option<&Match>,
    adopt: Adopt,
) -> Span {
    let topic = &*partition.topic;
    let span = tracing::info_span!(
        target: "traces", parent: None, "process",
        otel.name = format!("process {topic}"),
        otel.kind = "consumer",
        otel.status_description = Empty,
        messaging.system = "kafka",
        messaging.operation.type = "process",
        messaging.operation.name = "process",
        messaging.destination.name = topic,
        messaging.destination.partition.id = partition.partition.to_string(),
        messaging.kafka.offset = record.offset.get(),
        messaging.message.body.size = record.value.map_or(0, |value| i64::try_from(value.len()).unwrap_or(i64::MAX)),
        incident.id = incident,
        incident.condition = matched.map_or("none", |matched| matched.condition.name.as_str()),
        incident.end = Empty,
    );
    if !span.is_disabled() {
        let text = |bytes: Option<&[u8]>| {
            let bytes = bytes.filter(|bytes| bytes.len() <= HEADER_BYTES_MAX)?;
            std::str::from_utf8(bytes).ok().map(str::to_owned)
        };
        let headers = record.headers().flatten().filter_map(|header| {
            let name = ["traceparent", "tracestate"].into_iter().find(|name| header.key == name.as_bytes())?;
            Some((name, text(header.value)?))
        });
        let headers: Vec<_> = headers.collect();
        adopt(&span, &headers.iter().map(|(name, value)| (*name, value.as_str())).collect::<Vec<_>>());
    }
    span
}

/// How the record ended.
pub(crate) fn dealt_with(span: &Span, ended: &Result<IncidentEnd, Interrupt>) {
    match ended {
        Ok(how) => {
            span.record("incident.end", how.name());
            match how {
                IncidentEnd::Failed => failed(span, "a step failed"),
                IncidentEnd::Held => failed(span, "a step is held for a person"),
                _ => {}
            }
        }
        Err(Interrupt::Dropped(_) | Interrupt::Again(_)) => {
            span.record("incident.end", IncidentEnd::Dropped.name());
        }
        Err(Interrupt::Broken(reason)) => {
            span.record("incident.end", IncidentEnd::Dropped.name());
            failed(span, reason);
        }
    }
}

/// A step, from wherever it stands to its end.
pub(crate) fn action(step: &Step) -> Span {
    let name = &*step.definition.name;
    tracing::info_span!(
        target: "traces", "action",
        otel.name = format!("action {name}"),
        otel.status_description = Empty,
        action.name = name,
        action.type = step.definition.type_name,
        action.episode = &*step.episode,
        action.outcome = Empty,
        action.reason = Empty,
    )
}

/// How the step around ended.
pub(crate) fn ended(outcome: &Outcome, how: Terminal) {
    let (span, reason) = (Span::current(), outcome.reason());
    span.record("action.outcome", how.name());
    span.record("action.reason", reason);
    if matches!(how, Terminal::Failed | Terminal::Held) {
        failed(&span, reason);
    }
}

/// The wait for an attempt's turn.
pub(crate) fn guard() -> Span {
    tracing::info_span!(target: "traces", "guard", guard.verdict = Empty, guard.name = Empty, guard.why = Empty)
}

/// What the guards said.
pub(crate) fn judged(span: &Span, refused: Option<&Refusal>) {
    span.record("guard.verdict", if refused.is_some() { "refused" } else { "go" });
    if let Some(refusal) = refused {
        span.record("guard.name", refusal.guard.name());
        span.record("guard.why", refusal.why.as_str());
    }
}

/// An attempt on the network.
pub(crate) fn attempt(step: &Step, number: u32) -> Span {
    let name = &*step.definition.name;
    tracing::info_span!(
        target: "traces", "attempt",
        otel.name = format!("attempt {name}"),
        otel.kind = "client",
        otel.status_description = Empty,
        action.name = name,
        action.type = step.definition.type_name,
        action.service = step.service(),
        action.attempt = i64::from(number),
        action.report = Empty,
        action.detail = Empty,
    )
}

/// What the attempt came to.
pub(crate) fn reported(span: &Span, report: &Report) {
    span.record("action.report", report.name());
    span.record("action.detail", report.text());
    match report {
        Report::Failed { reason } | Report::Retryable { reason, .. } | Report::Unknown { reason } => {
            failed(span, reason);
        }
        Report::Succeeded { .. } | Report::Started { .. } | Report::Found { .. } => {}
    }
}

/// A durable write of these entries.
pub(crate) fn ledger<'e>(mut entries: impl Iterator<Item = &'e Entry>) -> Span {
    let kind = match entries.next() {
        Some(Entry::Intent(_)) => "INTENT",
        Some(Entry::Attempt(_)) => "ATTEMPT",
        Some(Entry::Started(_)) => "STARTED",
        Some(Entry::Outcome(_)) => "OUTCOME",
        None => "notes",
    };
    tracing::info_span!(target: "traces", "ledger", otel.name = format!("ledger {kind}"), ledger.entry = kind)
}

fn failed(span: &Span, why: &str) {
    span.record("otel.status_description", why);
}
