//! The sequences of idempotent producers (KIP-98).

use std::collections::HashMap;

use super::AppendError;
use crate::batch::Header;

#[derive(Debug, Clone, Copy)]
struct Producer {
    epoch: i16,
    last_sequence: i32,
    /// Base sequence and base offset of the last batch, to recognise its repetition.
    last_batch: (i32, i64),
}

/// What is known of each producer id.
#[derive(Debug, Clone, Default)]
pub(super) struct Producers(HashMap<i64, Producer>);

/// What a batch is in the sequence of its producer.
pub(super) enum Sequence {
    /// To be appended.
    Next,
    /// There already, at this offset.
    Repeated { base: i64 },
}

impl Producers {
    /// Checks a batch that would be appended at `end`, and takes note of it.
    pub(super) fn check(&mut self, header: &Header, end: i64) -> Result<Sequence, AppendError> {
        if header.producer_id < 0 || header.base_sequence < 0 {
            return Ok(Sequence::Next);
        }
        let last_sequence = header.base_sequence.wrapping_add(header.last_offset_delta) & i32::MAX;
        let last_batch = (header.base_sequence, end);
        let next = Producer { epoch: header.producer_epoch, last_sequence, last_batch };
        let Some(known) = self.0.get_mut(&header.producer_id) else {
            self.0.insert(header.producer_id, next);
            return Ok(Sequence::Next);
        };
        if header.producer_epoch < known.epoch {
            return Err(AppendError::FencedProducer);
        }
        if header.producer_epoch > known.epoch {
            *known = next;
            return Ok(Sequence::Next);
        }
        if known.last_batch.0 == header.base_sequence && known.last_sequence == last_sequence {
            return Ok(Sequence::Repeated { base: known.last_batch.1 });
        }
        if header.base_sequence != known.last_sequence.wrapping_add(1) & i32::MAX {
            return Err(AppendError::OutOfOrderSequence);
        }
        *known = next;
        Ok(Sequence::Next)
    }

    /// Forgets those whose last batch lay at or after the new end of the log.
    pub(super) fn truncate(&mut self, end: i64) {
        self.0.retain(|_, producer| producer.last_batch.1 < end);
    }
}
