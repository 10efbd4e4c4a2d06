//! Which batches of a Fetch response belong to aborted transactions (KIP-98, `isolation.level=read_committed`).
//!
//! The broker lists, per partition and response, the producers whose transactions were aborted and where each
//! transaction begins. Walk the batches of that response in order and ask for each. Promised: the list may come in any
//! order and name a producer often; an abort marker without a transaction, or a second one, does no harm; batches
//! outside of transactions and of producers not named always count. Absent: the last stable offset, which bounds what
//! a fetch returns; the position moves past control and aborted batches too.

#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects, clippy::indexing_slicing))]

use std::collections::{BTreeMap, BTreeSet};

use crate::id::Offset;
use crate::record::{BatchHeader, ControlType};

/// The aborted transactions of one partition in one Fetch response.
#[derive(Clone, Debug, Default)]
pub struct AbortedTransactions {
    /// Where the transactions of a producer begin, the first one last.
    begins: BTreeMap<i64, Vec<Offset>>,
    /// Producers whose batches do not count, until their abort marker.
    aborting: BTreeSet<i64>,
}

impl AbortedTransactions {
    /// From the response's list of producer ids and first offsets, in any order.
    pub fn new(aborted: impl IntoIterator<Item = (i64, Offset)>) -> Self {
        let mut begins: BTreeMap<i64, Vec<Offset>> = BTreeMap::new();
        for (producer_id, first_offset) in aborted {
            begins.entry(producer_id).or_default().push(first_offset);
        }
        for offsets in begins.values_mut() {
            offsets.sort_unstable_by(|one, other| other.cmp(one));
        }
        Self { begins, aborting: BTreeSet::new() }
    }

    /// Whether the records of the next batch are to be left out because their transaction was aborted. `control` is
    /// what [`Batch::control`](crate::record::Batch::control) says; control batches have no records to leave out, but
    /// must be shown as well, because an abort marker ends the transaction.
    pub fn is_aborted(&mut self, header: &BatchHeader, control: Option<ControlType>) -> bool {
        self.begin_up_to(header);
        if header.is_control() {
            if control == Some(ControlType::Abort) {
                self.aborting.remove(&header.producer_id);
            }
            return false;
        }
        header.is_transactional() && self.aborting.contains(&header.producer_id)
    }

    /// Begins the transactions of the batch's producer that start at or before the batch's end.
    fn begin_up_to(&mut self, header: &BatchHeader) {
        let Some(begins) = self.begins.get_mut(&header.producer_id) else { return };
        while begins.pop_if(|first| *first <= header.last_offset()).is_some() {
            self.aborting.insert(header.producer_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compression::Decompressor;
    use crate::record::{Batches, EncodeOptions, Marker, NewRecord, Producer, encode_batch, encode_marker};

    /// Who writes a batch, and what.
    enum Write {
        Plain,
        Data(i64),
        Commit(i64),
        Abort(i64),
    }

    /// The offsets of the data batches that count when `log` stands at offsets 0, 1, 2, …
    fn counted(log: &[Write], aborted: &[(i64, i64)]) -> Vec<i64> {
        let mut bytes = Vec::new();
        for (offset, write) in (0_i64..).zip(log) {
            let base_offset = Offset(offset);
            let data = |producer| EncodeOptions { base_offset, producer, ..EncodeOptions::default() };
            let record = [NewRecord { value: Some(b"v"), ..NewRecord::default() }];
            let marker = |producer_id, control| Marker {
                offset: base_offset,
                leader_epoch: 0.into(),
                timestamp_ms: 0,
                producer_id,
                producer_epoch: 0,
                control,
                coordinator_epoch: 0,
            };
            match *write {
                Write::Plain => encode_batch(&data(Producer::Plain), record, &mut bytes),
                Write::Data(id) => {
                    let producer = Producer::Transactional { id, epoch: 0, base_sequence: 0 };
                    encode_batch(&data(producer), record, &mut bytes)
                }
                Write::Commit(id) => encode_marker(&marker(id, ControlType::Commit), &mut bytes),
                Write::Abort(id) => encode_marker(&marker(id, ControlType::Abort), &mut bytes),
            }
            .unwrap();
        }
        let mut transactions = AbortedTransactions::new(aborted.iter().map(|(id, first)| (*id, Offset(*first))));
        let mut decompressor = Decompressor::new(1 << 20);
        let batches = Batches::new(bytes.into()).map(|batch| batch.unwrap().open(&mut decompressor).unwrap());
        let counting: Vec<_> =
            batches.filter(|batch| !transactions.is_aborted(batch.header(), batch.control())).collect();
        counting.iter().flat_map(|batch| batch.records().map(|record| record.unwrap().offset.get())).collect()
    }

    use Write::{Abort, Commit, Data, Plain};

    #[test]
    fn records_of_an_aborted_transaction_are_left_out_and_all_others_count() {
        let log = [Data(7), Plain, Data(8), Data(7), Abort(7), Commit(8), Data(7), Commit(7)];
        assert_eq!(counted(&log, &[(7, 0)]), [1, 2, 6]);
    }

    #[test]
    fn the_list_may_come_in_any_order() {
        let log = [Data(7), Abort(7), Data(7), Commit(7), Data(7), Abort(7), Data(7)];
        assert_eq!(counted(&log, &[(7, 4), (7, 0)]), [2, 6]);
        assert_eq!(counted(&log, &[(7, 0), (7, 4)]), [2, 6]);
    }

    #[test]
    fn a_second_abort_marker_and_one_without_a_transaction_do_no_harm() {
        let log = [Abort(9), Data(7), Abort(7), Abort(7), Data(7), Commit(7)];
        assert_eq!(counted(&log, &[(7, 1)]), [4]);
    }

    #[test]
    fn a_transaction_that_began_before_the_response_is_still_aborted() {
        assert_eq!(counted(&[Data(7), Abort(7), Data(7)], &[(7, -100)]), [2]);
    }

    #[test]
    fn batches_outside_of_transactions_count_whoever_the_producer_is() {
        // A plain batch has producer id -1; a broker that lists it does not make it transactional.
        assert_eq!(counted(&[Plain, Data(7), Abort(7)], &[(-1, 0), (7, 1)]), [0]);
    }

    #[test]
    fn without_a_list_everything_counts() {
        assert_eq!(counted(&[Data(7), Commit(7), Plain, Data(8)], &[]), [0, 2, 3]);
    }
}
