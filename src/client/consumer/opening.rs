//! From what was queued to what the application gets: decompression happens here, in the task that calls `next`.

use kafka_proto::id::Offset;
use kafka_proto::record::{BatchHeader, RawBatch};

use crate::client::consumer::engine::Command;
use crate::client::consumer::{Consumer, CorruptBatchPolicy};
use crate::client::event::{Event, Records};
use crate::client::fetcher::{Damage, DamageKind, damage_of};
use crate::client::flight::FlightStep;
use crate::client::ownership::{NotOwned, Ownership};
use crate::client::queue::Popped;

impl Consumer {
    /// The next event that is there, without waiting.
    pub(super) fn take(&mut self) -> Option<Event> {
        loop {
            let popped = match self.held.take() {
                // Whatever became of the group comes before records that are in doubt.
                Some(held) => match self.shared.queues.pop_event() {
                    Some(event) => {
                        self.held = Some(held);
                        return Some(event);
                    }
                    None => held,
                },
                None => self.shared.queues.pop()?,
            };
            match standing_of(&popped) {
                Ok(()) => {}
                Err(NotOwned::SessionExpired { .. }) => {
                    self.held = Some(popped);
                    return None;
                }
                Err(NotOwned::Revoked | NotOwned::Lost) => continue,
            }
            if let Some(event) = self.open(popped) {
                return Some(event);
            }
        }
    }

    fn open(&mut self, popped: Popped) -> Option<Event> {
        match popped {
            Popped::Event(event) => Some(event),
            Popped::Gap { ownership, from, next, leader_epoch } => {
                self.note_delivered(&ownership, next, None, 0);
                Some(Event::Records(Records::gap(ownership, from, next, leader_epoch)))
            }
            Popped::Batch { ownership, raw, from } => self.open_batch(&ownership, raw, from),
        }
    }

    fn open_batch(&mut self, ownership: &Ownership, raw: RawBatch, from: Offset) -> Option<Event> {
        let header = raw.header;
        let opened = raw.open(&mut self.decompressor).map_err(|error| damage_of(&error)).and_then(|batch| {
            let owner = ownership.clone();
            Records::open(owner, batch, from).map_err(|error| Damage {
                what: format!("the batch at offset {}: {error}", header.base_offset),
                last: Some(header.last_offset()),
                kind: DamageKind::Records,
            })
        });
        match opened {
            Ok(records) => {
                self.note_delivered(ownership, records.next_offset(), Some(header.max_timestamp), records.len());
                Some(Event::Records(records))
            }
            Err(damage) => self.give_up(ownership, from, &header, damage),
        }
    }

    /// The bytes are as they were written; fetching them again would bring the same ones.
    fn give_up(&mut self, ownership: &Ownership, from: Offset, header: &BatchHeader, damage: Damage) -> Option<Event> {
        let partition = ownership.partition().clone();
        match self.config.corrupt_batch_policy {
            CorruptBatchPolicy::Skip => {
                tracing::error!(%partition, first = %from, last = %header.last_offset(), what = damage.what, "an unreadable batch was passed over");
                let (last, what) = (header.last_offset(), &damage.what);
                let detail = format_args!("{partition} from {from} to {last}: {what}");
                self.shared.cluster.flight().record(FlightStep::Skipped, detail);
                self.shared
                    .board
                    .count(|counters| counters.skipped_batches = counters.skipped_batches.saturating_add(1));
                self.note_delivered(ownership, header.next_offset(), None, 0);
                let cause = damage.skip_cause();
                Some(Event::Skipped { partition, first: from, last: header.last_offset(), cause })
            }
            CorruptBatchPolicy::Park => {
                self.shared.queues.truncate(ownership, Offset(0));
                // Without an engine there is a fatal error to be returned next.
                let _ = self.commands.send(Command::Damaged { ownership: ownership.clone(), at: from, damage });
                None
            }
        }
    }

    fn note_delivered(&self, ownership: &Ownership, next: Offset, timestamp_ms: Option<i64>, records: usize) {
        self.shared.board.note(ownership.partition(), |notes| {
            notes.delivered = Some(next);
            notes.delivered_timestamp_ms = timestamp_ms.or(notes.delivered_timestamp_ms);
        });
        let records = u64::try_from(records).unwrap_or(u64::MAX);
        self.shared.board.count(|counters| counters.records = counters.records.saturating_add(records));
    }
}

/// Records of a partition that may be somebody else's by now are not handed out (fault G3).
fn standing_of(popped: &Popped) -> Result<(), NotOwned> {
    match popped {
        Popped::Event(_) => Ok(()),
        Popped::Batch { ownership, .. } | Popped::Gap { ownership, .. } => ownership.check(),
    }
}
