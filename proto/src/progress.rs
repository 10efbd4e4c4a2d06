//! What of a partition may be committed while its records are worked on out of order.
//!
//! Promised: an offset is committable only when every record below it that was started is done, whatever order they
//! were done in; gaps in the log (compaction, control and aborted batches) hold nothing up; the leader epoch beside it
//! is that of the last batch below it, never invented (fault O4). The number of started and not yet committable records
//! is bounded. Absent: which assignment this belongs to; a new assignment starts a new progress.

use std::collections::VecDeque;

use thiserror::Error;

use crate::id::{LeaderEpoch, Offset};

/// The progress of one partition under one assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetProgress {
    initial: Offset,
    /// Where the next record may start, and the epoch of what lies before.
    position: Offset,
    epoch: LeaderEpoch,
    /// Ascending by offset; the first is never done.
    started: VecDeque<Started>,
    limit: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Started {
    offset: Offset,
    epoch_before: LeaderEpoch,
    done: bool,
}

/// Why a record cannot be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ProgressError {
    /// Records come in the order of the log, each once.
    #[error("offset {offset} lies before the position {position}")]
    Backwards {
        /// The record's.
        offset: Offset,
        /// Where the next may start.
        position: Offset,
    },
    /// Too many records wait for an unfinished one before them.
    #[error("{0} records wait for an unfinished one before them, which is the limit")]
    Full(usize),
}

impl OffsetProgress {
    /// Starts at `position`, with at most `limit` records between the first unfinished and the last started.
    pub fn new(position: Offset, limit: usize) -> Self {
        Self { initial: position, position, epoch: LeaderEpoch::UNKNOWN, started: VecDeque::new(), limit }
    }

    /// A record of a batch of that leader epoch is taken up. What lies between the position and it does not exist.
    pub fn start(&mut self, offset: Offset, epoch: LeaderEpoch) -> Result<(), ProgressError> {
        if offset < self.position {
            return Err(ProgressError::Backwards { offset, position: self.position });
        }
        if self.started.len() >= self.limit {
            return Err(ProgressError::Full(self.limit));
        }
        self.started.push_back(Started { offset, epoch_before: self.epoch, done: false });
        self.position = offset.next();
        self.epoch = epoch;
        Ok(())
    }

    /// A record is finished for good. False when it is not one that was started, or is below what is committable.
    pub fn done(&mut self, offset: Offset) -> bool {
        let place = self.started.partition_point(|s| s.offset < offset);
        let Some(entry) = self.started.get_mut(place).filter(|s| s.offset == offset) else { return false };
        entry.done = true;
        while self.started.front().is_some_and(|s| s.done) {
            self.started.pop_front();
        }
        true
    }

    /// Nothing more is to come below `next`: the end of a batch, whose last records may be compacted away or be a
    /// marker. Going back is ignored.
    pub fn advance_to(&mut self, next: Offset, epoch: LeaderEpoch) {
        if next > self.position {
            self.position = next;
            self.epoch = epoch;
        }
    }

    /// The offset to commit (the one to be read next) and the epoch of the last batch before it. `None` while there is
    /// nothing to commit beyond where we started.
    pub fn committable(&self) -> Option<(Offset, LeaderEpoch)> {
        let (next, epoch) = match self.started.front() {
            Some(first) => (first.offset, first.epoch_before),
            None => (self.position, self.epoch),
        };
        (next > self.initial).then_some((next, epoch))
    }

    /// Where the next record may start.
    pub fn position(&self) -> Offset {
        self.position
    }

    /// Records from the first unfinished to the last started; never more than the limit.
    pub fn waiting(&self) -> usize {
        self.started.len()
    }

    /// Records started and not done.
    pub fn unfinished(&self) -> usize {
        self.started.iter().filter(|s| !s.done).count()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use proptest::prelude::*;

    const E: LeaderEpoch = LeaderEpoch(3);

    #[test]
    fn the_first_unfinished_record_holds_back_those_after_it() {
        let mut progress = OffsetProgress::new(Offset(10), 8);
        assert_eq!(progress.committable(), None);
        for offset in 10..13 {
            progress.start(Offset(offset), E).unwrap();
        }
        assert!(progress.done(Offset(11)));
        assert!(progress.done(Offset(12)));
        assert_eq!(progress.committable(), None);
        assert!(progress.done(Offset(10)));
        assert_eq!(progress.committable(), Some((Offset(13), E)));
    }

    #[test]
    fn o05_gaps_and_control_batches_are_passed_over() {
        let mut progress = OffsetProgress::new(Offset(0), 8);
        progress.start(Offset(4), LeaderEpoch(1)).unwrap();
        progress.advance_to(Offset(9), LeaderEpoch(1));
        progress.advance_to(Offset(10), LeaderEpoch(2));
        assert_eq!(progress.committable(), Some((Offset(4), LeaderEpoch::UNKNOWN)), "what lies below 4 does not exist");
        assert!(progress.done(Offset(4)));
        assert_eq!(progress.committable(), Some((Offset(10), LeaderEpoch(2))));
    }

    #[test]
    fn o04_the_epoch_is_that_of_the_last_batch_below_the_offset() {
        let mut progress = OffsetProgress::new(Offset(0), 8);
        progress.start(Offset(0), LeaderEpoch(5)).unwrap();
        progress.start(Offset(1), LeaderEpoch(7)).unwrap();
        progress.done(Offset(0));
        assert_eq!(progress.committable(), Some((Offset(1), LeaderEpoch(5))));
    }

    #[test]
    fn records_out_of_order_and_beyond_the_limit_are_refused() {
        let mut progress = OffsetProgress::new(Offset(0), 2);
        progress.start(Offset(0), E).unwrap();
        let backwards = ProgressError::Backwards { offset: Offset(0), position: Offset(1) };
        assert_eq!(progress.start(Offset(0), E), Err(backwards));
        progress.start(Offset(1), E).unwrap();
        progress.done(Offset(1));
        assert_eq!(progress.start(Offset(2), E), Err(ProgressError::Full(2)));
        assert_eq!((progress.waiting(), progress.unfinished()), (2, 1));
        progress.done(Offset(0));
        assert_eq!(progress.start(Offset(2), E), Ok(()));
    }

    #[test]
    fn done_twice_or_never_started_changes_nothing() {
        let mut progress = OffsetProgress::new(Offset(0), 2);
        progress.start(Offset(0), E).unwrap();
        assert!(!progress.done(Offset(7)));
        assert!(progress.done(Offset(0)));
        assert!(!progress.done(Offset(0)));
        assert_eq!(progress.committable(), Some((Offset(1), E)));
    }

    /// One step of a run: start the record after a gap, finish some record, or end a batch after a gap.
    #[derive(Clone, Debug)]
    enum Step {
        Start { gap: i64 },
        Done { which: usize },
        Advance { gap: i64 },
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            3 => (0..3i64).prop_map(|gap| Step::Start { gap }),
            3 => (0..20usize).prop_map(|which| Step::Done { which }),
            1 => (0..3i64).prop_map(|gap| Step::Advance { gap }),
        ];
        proptest::collection::vec(step, 0..80)
    }

    proptest! {
        #[test]
        fn agrees_with_a_naive_model(steps in steps()) {
            // The model: every offset below the end, with whether a record of it is unfinished.
            let mut progress = OffsetProgress::new(Offset(100), 12);
            let (mut end, mut records) = (100i64, BTreeMap::<i64, bool>::new());
            let mut last = 100i64;
            for (epoch, step) in (0..).zip(steps) {
                match step {
                    Step::Start { gap } => {
                        if progress.start(Offset(end + gap), LeaderEpoch(epoch)).is_ok() {
                            records.insert(end + gap, false);
                            end += gap + 1;
                        }
                    }
                    Step::Done { which } => {
                        let open: Vec<i64> = records.iter().filter(|(_, done)| !**done).map(|(o, _)| *o).collect();
                        if !open.is_empty() {
                            let offset = open[which % open.len()];
                            prop_assert!(progress.done(Offset(offset)));
                            records.insert(offset, true);
                        }
                    }
                    Step::Advance { gap } => {
                        progress.advance_to(Offset(end + gap), LeaderEpoch(epoch));
                        end += gap;
                    }
                }
                let expected = records.iter().find(|(_, done)| !**done).map_or(end, |(o, _)| *o);
                let got = progress.committable().map_or(100, |(o, _)| o.get());
                prop_assert_eq!(got, expected);
                prop_assert!(got >= last, "committable went back");
                prop_assert!(progress.waiting() <= 12);
                last = got;
            }
        }
    }
}
