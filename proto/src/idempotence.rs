//! The sequence numbers of an idempotent producer in one partition (KIP-98, KIP-360), and which retry is safe.
//!
//! One batch is under way at a time, so order needs no further proof: the next batch is stamped when the fate of the one
//! before is known. Promised: a batch that is tried again carries the numbers of its first try as long as that one may
//! have arrived, so that the broker recognises it; a batch whose fate stays unknown is followed by a new epoch, so that a
//! late copy of it is refused once anything later was appended. Absent: batches, deadlines, the broker that leads.
//!
//! What an answer says about the log, with `acks=all`: a leader may append and then fail to replicate, so "timed out",
//! "not enough replicas after append" and even "not the leader any more" leave the batch in doubt (`DelayedProduce` in
//! the broker answers so after its own append). What is checked before an append leaves none.

use crate::error_code::{ErrorClass, ErrorCode};

/// What marks the first record of a batch; goes into the batch's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The producer's id, given by a broker.
    pub producer_id: i64,
    /// The epoch of that id; the broker refuses older ones than it has seen.
    pub producer_epoch: i16,
    /// The number of the first record; the others count on from it.
    pub base_sequence: i32,
}

/// How one try to append a batch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// The leader has it, and all replicas that must.
    Appended,
    /// The leader answered with an error.
    Refused(ErrorCode),
    /// It was sent, wholly or in part, and no answer came.
    NoAnswer,
    /// Nothing was sent: no leader, no connection.
    NotSent,
}

/// What follows from an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The batch is in the log.
    Appended,
    /// Try again after a back-off, with the stamp that [`Sequence::stamp`] gives then.
    Retry {
        /// The view of the cluster is old.
        refresh_metadata: bool,
    },
    /// Trying again cannot help.
    Failed(Fate),
}

/// What is known of a batch that was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is not in the log and will not be.
    NotAppended,
    /// It may be in the log. It may even arrive later, but not after a later batch was appended.
    Unknown,
}

/// The numbers of one producer in one partition.
#[derive(Clone, Debug, Default)]
pub struct Sequence {
    identity: Option<Identity>,
    next: i32,
    /// Whether the batch under way may have been appended by an earlier try.
    in_doubt: bool,
}

#[derive(Clone, Copy, Debug)]
struct Identity {
    producer_id: i64,
    epoch: i16,
}

impl Sequence {
    /// Numbers that begin once there is a producer id.
    pub const fn new() -> Self {
        Self { identity: None, next: 0, in_doubt: false }
    }

    /// Takes over an id that a broker gave (`InitProducerId`). Sequence numbers start at 0.
    pub fn identify(&mut self, producer_id: i64, producer_epoch: i16) {
        self.identity = Some(Identity { producer_id, epoch: producer_epoch });
        self.next = 0;
    }

    /// The stamp of the batch under way, or of the next one; `None` as long as a producer id is needed.
    pub fn stamp(&self) -> Option<Stamp> {
        let Identity { producer_id, epoch } = self.identity?;
        Some(Stamp { producer_id, producer_epoch: epoch, base_sequence: self.next })
    }

    /// Whether the batch under way may have been appended already.
    pub const fn is_in_doubt(&self) -> bool {
        self.in_doubt
    }

    /// An attempt to append the batch under way, of `records` records, is over.
    pub fn ended(&mut self, attempt: Attempt, records: u32) -> Verdict {
        match attempt {
            Attempt::Appended => {
                self.next = advanced(self.next, records);
                self.in_doubt = false;
                Verdict::Appended
            }
            Attempt::NotSent => Verdict::Retry { refresh_metadata: true },
            Attempt::NoAnswer => {
                self.in_doubt = true;
                Verdict::Retry { refresh_metadata: true }
            }
            Attempt::Refused(code) => self.refused(code),
        }
    }

    /// Gives the batch under way up, for example because its time is over.
    pub fn give_up(&mut self) -> Fate {
        if !self.in_doubt {
            return Fate::NotAppended;
        }
        self.in_doubt = false;
        self.fence();
        Fate::Unknown
    }

    fn refused(&mut self, code: ErrorCode) -> Verdict {
        let refresh_metadata = code.class() == ErrorClass::RefreshMetadata;
        match code {
            // Appended by the leader, and not known to be replicated; or nobody knows what the leader did.
            ErrorCode::RequestTimedOut
            | ErrorCode::NotEnoughReplicasAfterAppend
            | ErrorCode::NotLeaderOrFollower
            | ErrorCode::FencedLeaderEpoch
            | ErrorCode::KafkaStorageError
            | ErrorCode::NetworkException
            | ErrorCode::UnknownServerError
            | ErrorCode::Unknown(_) => {
                self.in_doubt = true;
                Verdict::Retry { refresh_metadata }
            }
            // The log ends in another number than the one before this batch: what was acknowledged is lost, and this
            // batch is not there either, or the broker would have recognised it. A copy of it under the old epoch can
            // never be in order again.
            ErrorCode::OutOfOrderSequenceNumber => {
                self.in_doubt = false;
                self.fence();
                Verdict::Retry { refresh_metadata: false }
            }
            // The broker knows nothing of this producer. A batch in doubt may have been appended and forgotten.
            ErrorCode::UnknownProducerId => self.fresh_start(),
            ErrorCode::InvalidProducerEpoch | ErrorCode::ProducerFenced => {
                let verdict = self.fresh_start();
                self.identity = None;
                verdict
            }
            // It is in the log, but so far back that the broker does not say where.
            ErrorCode::DuplicateSequenceNumber => {
                self.in_doubt = true;
                Verdict::Failed(self.give_up())
            }
            _ if refresh_metadata || code.class() == ErrorClass::Retriable => Verdict::Retry { refresh_metadata },
            _ => Verdict::Failed(self.give_up()),
        }
    }

    /// Goes on under other numbers, unless that could append the batch a second time.
    fn fresh_start(&mut self) -> Verdict {
        if self.in_doubt {
            return Verdict::Failed(self.give_up());
        }
        self.fence();
        Verdict::Retry { refresh_metadata: false }
    }

    /// Makes whatever is still on its way under the present numbers unacceptable, as soon as something was appended under
    /// the next ones. An id whose epochs are used up is given back; that cannot fence, but takes 32,767 failures.
    fn fence(&mut self) {
        self.next = 0;
        self.identity = self.identity.and_then(|identity| {
            let epoch = identity.epoch.checked_add(1)?;
            Some(Identity { epoch, ..identity })
        });
    }
}

/// Sequence numbers count from 0 to `i32::MAX` and begin again at 0.
fn advanced(sequence: i32, records: u32) -> i32 {
    let sum = (i64::from(sequence) + i64::from(records)) & i64::from(i32::MAX);
    i32::try_from(sum).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn identified() -> Sequence {
        let mut sequence = Sequence::new();
        assert_eq!(sequence.stamp(), None);
        sequence.identify(7, 0);
        sequence
    }

    fn stamp(producer_epoch: i16, base_sequence: i32) -> Stamp {
        Stamp { producer_id: 7, producer_epoch, base_sequence }
    }

    const RETRY: Verdict = Verdict::Retry { refresh_metadata: false };
    const RETRY_ELSEWHERE: Verdict = Verdict::Retry { refresh_metadata: true };

    #[test]
    fn only_an_appended_batch_uses_numbers_up() {
        let mut sequence = identified();
        assert_eq!(sequence.ended(Attempt::Appended, 3), Verdict::Appended);
        assert_eq!(sequence.stamp(), Some(stamp(0, 3)));
        let too_large = sequence.ended(Attempt::Refused(ErrorCode::MessageTooLarge), 2);
        assert_eq!(too_large, Verdict::Failed(Fate::NotAppended));
        assert_eq!(sequence.stamp(), Some(stamp(0, 3)));
    }

    #[test]
    fn numbers_begin_again_at_zero_after_the_last() {
        assert_eq!(advanced(i32::MAX, 1), 0);
        assert_eq!(advanced(i32::MAX - 1, 3), 1);
        assert_eq!(advanced(0, 5), 5);
    }

    #[test]
    fn a_batch_in_doubt_is_tried_again_under_the_same_numbers() {
        let mut sequence = identified();
        assert_eq!(sequence.ended(Attempt::NoAnswer, 1), RETRY_ELSEWHERE);
        assert_eq!(sequence.ended(Attempt::Refused(ErrorCode::NotEnoughReplicas), 1), RETRY);
        assert_eq!((sequence.stamp(), sequence.is_in_doubt()), (Some(stamp(0, 0)), true));
        assert_eq!(sequence.ended(Attempt::Appended, 1), Verdict::Appended);
        assert!(!sequence.is_in_doubt());
    }

    #[test]
    fn a_leader_that_steps_down_leaves_the_batch_in_doubt() {
        for code in [6, 7, 20, 56, 74, -1] {
            let mut sequence = identified();
            assert!(
                matches!(sequence.ended(Attempt::Refused(ErrorCode::from(code)), 1), Verdict::Retry { .. }),
                "{code}"
            );
            assert_eq!(sequence.give_up(), Fate::Unknown, "{code}");
        }
    }

    #[test]
    fn what_is_checked_before_the_append_leaves_no_doubt() {
        for code in [3, 10, 17, 18, 19, 29, 31, 76, 87] {
            let mut sequence = identified();
            sequence.ended(Attempt::Refused(ErrorCode::from(code)), 1);
            assert_eq!(sequence.give_up(), Fate::NotAppended, "{code}");
        }
    }

    #[test]
    fn a_refusal_does_not_settle_an_earlier_doubt() {
        let mut sequence = identified();
        sequence.ended(Attempt::NoAnswer, 1);
        let refused = sequence.ended(Attempt::Refused(ErrorCode::TopicAuthorizationFailed), 1);
        assert_eq!(refused, Verdict::Failed(Fate::Unknown));
    }

    #[test]
    fn after_an_unknown_fate_the_epoch_is_the_next() {
        let mut sequence = identified();
        sequence.ended(Attempt::Appended, 4);
        sequence.ended(Attempt::NoAnswer, 1);
        assert_eq!(sequence.give_up(), Fate::Unknown);
        assert_eq!(sequence.stamp(), Some(stamp(1, 0)));
        assert_eq!(sequence.give_up(), Fate::NotAppended);
    }

    #[test]
    fn a_log_that_lost_what_was_acknowledged_is_written_under_the_next_epoch() {
        let mut sequence = identified();
        sequence.ended(Attempt::Appended, 4);
        assert_eq!(sequence.ended(Attempt::Refused(ErrorCode::OutOfOrderSequenceNumber), 1), RETRY);
        assert_eq!(sequence.stamp(), Some(stamp(1, 0)));
    }

    #[test]
    fn a_forgotten_producer_starts_anew_but_not_with_a_batch_in_doubt() {
        let mut sequence = identified();
        sequence.ended(Attempt::Appended, 4);
        assert_eq!(sequence.ended(Attempt::Refused(ErrorCode::UnknownProducerId), 1), RETRY);
        assert_eq!(sequence.stamp(), Some(stamp(1, 0)));
        sequence.ended(Attempt::NoAnswer, 1);
        let forgotten = sequence.ended(Attempt::Refused(ErrorCode::UnknownProducerId), 1);
        assert_eq!(forgotten, Verdict::Failed(Fate::Unknown));
        assert_eq!(sequence.ended(Attempt::Refused(ErrorCode::InvalidProducerEpoch), 1), RETRY);
        assert_eq!(sequence.stamp(), None);
    }

    #[test]
    fn epochs_that_are_used_up_ask_for_another_id() {
        let mut sequence = Sequence::new();
        sequence.identify(7, i16::MAX);
        sequence.ended(Attempt::NoAnswer, 1);
        sequence.give_up();
        assert_eq!(sequence.stamp(), None);
    }

    /// A broker's log of one partition, as far as sequence numbers go (`ProducerAppendInfo`, `ProducerStateEntry`).
    #[derive(Default)]
    struct Log {
        batches: Vec<u32>,
        last: Option<(Stamp, u32)>,
    }

    impl Log {
        fn append(&mut self, stamp: Stamp, batch: u32) -> Attempt {
            if let Some((last, number)) = self.last {
                if last == stamp && number == batch {
                    return Attempt::Appended;
                }
                let expected = advanced(last.base_sequence, 1);
                if stamp.producer_epoch < last.producer_epoch {
                    return Attempt::Refused(ErrorCode::InvalidProducerEpoch);
                }
                let starts = stamp.producer_epoch > last.producer_epoch && stamp.base_sequence == 0;
                let follows = stamp.producer_epoch == last.producer_epoch && stamp.base_sequence == expected;
                if !starts && !follows {
                    return Attempt::Refused(ErrorCode::OutOfOrderSequenceNumber);
                }
            }
            self.batches.push(batch);
            self.last = Some((stamp, batch));
            Attempt::Appended
        }
    }

    /// What the network or the broker does to one attempt.
    #[derive(Clone, Copy, Debug)]
    enum Luck {
        Works,
        AppliedUnanswered,
        LostUnanswered,
        Delayed,
        NotSent,
        NotEnoughReplicas,
        SteppedDown,
        Forbidden,
    }

    fn any_luck() -> impl Strategy<Value = Luck> {
        prop::sample::select(vec![
            Luck::Works,
            Luck::Works,
            Luck::AppliedUnanswered,
            Luck::LostUnanswered,
            Luck::Delayed,
            Luck::NotSent,
            Luck::NotEnoughReplicas,
            Luck::SteppedDown,
            Luck::Forbidden,
        ])
    }

    proptest! {
        #[test]
        fn nothing_is_in_the_log_twice_and_every_fate_is_true(
            lucks in prop::collection::vec(any_luck(), 1..60),
            tries in 1_usize..5,
        ) {
            let (mut sequence, mut log) = (identified(), Log::default());
            let mut delayed: Vec<(Stamp, u32)> = Vec::new();
            let mut fates = Vec::new();
            let mut lucks = lucks.into_iter().peekable();
            for batch in 0_u32.. {
                if lucks.peek().is_none() {
                    break;
                }
                let mut fate = None;
                for luck in lucks.by_ref().take(tries) {
                    let stamp = sequence.stamp().unwrap();
                    // What was delayed arrives before something else does, if it may at all.
                    for (stamp, batch) in delayed.drain(..) {
                        log.append(stamp, batch);
                    }
                    let attempt = match luck {
                        Luck::Works => log.append(stamp, batch),
                        Luck::AppliedUnanswered => { log.append(stamp, batch); Attempt::NoAnswer }
                        Luck::LostUnanswered => Attempt::NoAnswer,
                        Luck::Delayed => { delayed.push((stamp, batch)); Attempt::NoAnswer }
                        Luck::NotSent => Attempt::NotSent,
                        Luck::NotEnoughReplicas => Attempt::Refused(ErrorCode::NotEnoughReplicas),
                        Luck::SteppedDown => { log.append(stamp, batch); Attempt::Refused(ErrorCode::NotLeaderOrFollower) }
                        Luck::Forbidden => Attempt::Refused(ErrorCode::TopicAuthorizationFailed),
                    };
                    match sequence.ended(attempt, 1) {
                        Verdict::Appended => fate = Some(None),
                        Verdict::Failed(failed) => fate = Some(Some(failed)),
                        Verdict::Retry { .. } => continue,
                    }
                    break;
                }
                fates.push(fate.unwrap_or_else(|| Some(sequence.give_up())));
            }
            for (batch, fate) in (0_u32..).zip(&fates) {
                let times = log.batches.iter().filter(|there| **there == batch).count();
                match fate {
                    None => prop_assert_eq!(times, 1, "batch {} was acknowledged", batch),
                    Some(Fate::NotAppended) => prop_assert_eq!(times, 0, "batch {} was refused", batch),
                    Some(Fate::Unknown) => prop_assert!(times <= 1, "batch {} is there {} times", batch, times),
                }
            }
            let mut sorted = log.batches.clone();
            sorted.sort_unstable();
            prop_assert_eq!(&log.batches, &sorted, "out of order");
        }
    }
}
