//! The fault list, case by case, against the broker double and through the public API alone.
//!
//! Each test is named after its case; `tests/FAULTS.md` says which test holds which case, those in other modules
//! included, and [`table`] holds that list to the code. One file per letter: groups (G), offsets and logs (O), networks
//! (N), authentication and time (A), load (L); and [`storms`] for how often all of it is asked.

mod authentication;
mod batches;
mod groups;
mod load;
mod logs;
mod networks;
mod planted;
mod storms;
mod table;

use kafka_consumer::client::{ConnectionState, FetchState, ParkCause, PartitionSnapshot, Purpose, TopicPartition};

use crate::client_consumer::Reader;

/// What the consumer knows of one partition of `t`.
fn partition(reader: &Reader, index: i32) -> Option<PartitionSnapshot> {
    let name = TopicPartition::new("t", index);
    reader.handle.snapshot().partitions.into_iter().find(|known| known.partition == name)
}

/// Why a partition was given up, if it was.
fn park_cause(reader: &Reader, index: i32) -> Option<ParkCause> {
    match partition(reader, index)?.state {
        FetchState::Parked(cause) => Some(cause),
        _ => None,
    }
}

/// The state of the first connection for a purpose.
fn connection(reader: &Reader, purpose: Purpose) -> Option<ConnectionState> {
    let all = reader.handle.snapshot().connections;
    all.into_iter().find(|known| known.purpose == purpose && known.broker.is_some()).map(|known| known.state)
}

/// What brokers failed with since they were last reached.
fn broker_errors(reader: &Reader) -> Vec<String> {
    reader.handle.snapshot().connections.into_iter().filter_map(|known| known.last_error).collect()
}
