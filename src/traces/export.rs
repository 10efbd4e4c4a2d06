//! The task that delivers: packs what is queued, posts it, and backs off while the collector is away.

use std::time::Duration;

use bytes::Bytes;
use kafka_proto::backoff::Backoff;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::trace::SpanData;
use prost::Message as _;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::traces::collector::{Collector, Delivery};
use crate::traces::{SPANS_PER_DELIVERY, Spans};

/// How long spans wait for others to go with them.
const LINGER: Duration = Duration::from_secs(1);
/// Between tries while the collector is away.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_mins(1);

/// Delivers in the background; ends with this handle.
#[derive(Debug)]
pub struct Exporter {
    closing: CancellationToken,
    task: AbortOnDropHandle<()>,
}

impl Exporter {
    /// Begins to deliver.
    pub fn start(spans: Spans, collector: Collector) -> Self {
        let closing = CancellationToken::new();
        let work = Work {
            spans,
            collector,
            batch: Vec::with_capacity(SPANS_PER_DELIVERY),
            parcel: None,
            backoff: Backoff::new(RETRY_FIRST, RETRY_MAX),
            away: false,
        };
        let task = AbortOnDropHandle::new(tokio::spawn(work.run(closing.clone())));
        Self { closing, task }
    }

    /// Delivers what is left, within a time; what is not taken by then is lost.
    pub async fn finish(self, within: Duration) {
        self.closing.cancel();
        if tokio::time::timeout(within, self.task).await.is_err() {
            tracing::warn!(?within, "the collector did not take the last spans in time");
        }
    }
}

/// An encoded request that was not taken yet.
struct Parcel {
    spans: usize,
    body: Bytes,
}

struct Work {
    spans: Spans,
    collector: Collector,
    batch: Vec<SpanData>,
    parcel: Option<Parcel>,
    backoff: Backoff,
    away: bool,
}

impl Work {
    async fn run(mut self, closing: CancellationToken) {
        loop {
            if self.parcel.is_none() {
                tokio::select! {
                    biased;
                    () = closing.cancelled() => break,
                    () = self.gather() => {}
                }
                self.pack();
            }
            // Never cut short: the collector would get these spans a second time.
            let Some(wait) = self.deliver().await else { continue };
            tokio::select! {
                biased;
                () = closing.cancelled() => break,
                () = tokio::time::sleep(wait) => {}
            }
        }
        self.last().await;
    }

    /// Waits for a span and those that follow shortly. Cancel-safe.
    async fn gather(&mut self) {
        let Self { spans, batch, .. } = self;
        if batch.is_empty() && spans.queued.recv_many(batch, SPANS_PER_DELIVERY).await == 0 {
            // Nobody makes spans any more.
            return std::future::pending().await;
        }
        let linger = tokio::time::sleep(LINGER);
        tokio::pin!(linger);
        while let Some(room) = SPANS_PER_DELIVERY.checked_sub(batch.len()).filter(|room| *room > 0) {
            tokio::select! {
                biased;
                () = &mut linger => return,
                more = spans.queued.recv_many(batch, room) => if more == 0 { return },
            }
        }
    }

    fn pack(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        let spans = batch.len();
        let resource_spans = group_spans_by_resource_and_scope(batch, &self.spans.resource);
        let body = ExportTraceServiceRequest { resource_spans }.encode_to_vec().into();
        self.parcel = Some(Parcel { spans, body });
    }

    /// Posts the parcel once. Gives how long to wait where the collector did not take it.
    async fn deliver(&mut self) -> Option<Duration> {
        let Parcel { spans, body } = self.parcel.as_ref()?;
        let spans = *spans;
        match self.collector.post(body.clone()).await {
            Delivery::Taken { rejected, why } => {
                self.parcel = None;
                let rejected = rejected.min(spans);
                self.spans.counts.deliver(spans.saturating_sub(rejected));
                self.spans.counts.give_up(rejected);
                if rejected > 0 {
                    tracing::warn!(rejected, why, "the collector rejected spans");
                }
                if std::mem::take(&mut self.away) {
                    tracing::info!(dropped = self.spans.counts.dropped(), "traces are delivered again");
                }
                self.backoff.reset();
                None
            }
            Delivery::Refused(why) => {
                self.parcel = None;
                self.spans.counts.give_up(spans);
                let wait = self.wait(None);
                tracing::warn!(why, spans, ?wait, "the collector refused spans for good: they are dropped");
                Some(wait)
            }
            Delivery::NotNow { why, after } => {
                let (wait, dropped) = (self.wait(after), self.spans.counts.dropped());
                tracing::warn!(why, ?wait, dropped, "traces cannot be delivered; nothing else waits for them");
                Some(wait)
            }
        }
    }

    fn wait(&mut self, asked: Option<Duration>) -> Duration {
        self.away = true;
        // Without entropy the pauses are merely equal.
        let wait = self.backoff.next(getrandom::u64().unwrap_or_default());
        asked.map_or(wait, |asked| wait.max(asked.min(RETRY_MAX)))
    }

    /// What is left, as long as it is taken.
    async fn last(mut self) {
        loop {
            if self.parcel.is_none() {
                while self.batch.len() < SPANS_PER_DELIVERY
                    && let Ok(span) = self.spans.queued.try_recv()
                {
                    self.batch.push(span);
                }
                if self.batch.is_empty() {
                    return;
                }
                self.pack();
            }
            if self.deliver().await.is_some() {
                return;
            }
        }
    }
}
