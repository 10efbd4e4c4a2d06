//! A span that has ended: its texts are cleaned and cut, then it is queued. Where there is no room it is dropped and counted.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::trace::Status;
use opentelemetry::{Context, Value};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};
use tokio::sync::mpsc;

use crate::traces::Counts;

/// Characters of a text in a span; the rest is cut off.
const TEXT_CHARS_MAX: usize = 512;

/// Takes the spans that have ended.
#[derive(Debug)]
pub(super) struct Queue {
    sender: mpsc::Sender<SpanData>,
    counts: Arc<Counts>,
    scrub: fn(&str) -> String,
}

impl Queue {
    pub(super) fn new(sender: mpsc::Sender<SpanData>, counts: Arc<Counts>, scrub: fn(&str) -> String) -> Self {
        Self { sender, counts, scrub }
    }

    /// Cleaned before it is cut, or half a secret would remain.
    fn tidy(&self, text: &str) -> String {
        let clean = (self.scrub)(text);
        match clean.char_indices().nth(TEXT_CHARS_MAX) {
            Some((end, _)) => format!("{}…", clean.get(..end).unwrap_or_default()),
            None => clean,
        }
    }
}

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, mut span: SpanData) {
        if !span.span_context.is_sampled() {
            return;
        }
        span.name = self.tidy(&span.name).into();
        for attribute in &mut span.attributes {
            if let Value::String(text) = &attribute.value {
                attribute.value = self.tidy(text.as_str()).into();
            }
        }
        if let Status::Error { description } = &span.status {
            span.status = Status::error(self.tidy(description));
        }
        if self.sender.try_send(span).is_err() {
            self.counts.give_up(1);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(scrub: fn(&str) -> String) -> Queue {
        Queue::new(mpsc::channel(1).0, Arc::default(), scrub)
    }

    #[test]
    fn a_secret_is_taken_out_before_the_text_is_cut() {
        let queue = queue(|text| text.replace("hunter22", "***"));
        let at_the_cut = format!("{}hunter22", "x".repeat(TEXT_CHARS_MAX - 4));
        let tidy = queue.tidy(&at_the_cut);
        assert!(tidy.ends_with("x***") && !tidy.contains("hunt"), "{tidy}");
        assert_eq!(queue.tidy(&"ü".repeat(TEXT_CHARS_MAX + 1)).chars().count(), TEXT_CHARS_MAX + 1, "with the mark");
        assert_eq!(queue.tidy("short"), "short");
    }
}
