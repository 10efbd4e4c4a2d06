//! What the engine knows about each partition, where `ConsumerHandle::snapshot` can read it.
//!
//! The engine writes, nobody decides anything from what stands here.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use kafka_proto::id::{Offset, TopicPartition};

use crate::client::fetcher::{Leader, Partition, Stage, Work};
use crate::client::queue::{Queues, Room};
use crate::client::snapshot::{Counters, FetchState, PartitionSnapshot};

/// One partition as the engine last saw it.
#[derive(Clone, Debug)]
pub(crate) struct Notes {
    pub(crate) stage: Stage,
    pub(crate) position: Option<Offset>,
    pub(crate) delivered: Option<Offset>,
    pub(crate) delivered_timestamp_ms: Option<i64>,
    pub(crate) committed: Option<Offset>,
    pub(crate) high_watermark: Option<Offset>,
    pub(crate) last_stable_offset: Option<Offset>,
    pub(crate) log_start: Option<Offset>,
    pub(crate) leader: Option<Leader>,
    /// What failed last, and when the next try is due.
    pub(crate) waiting: Option<(String, Instant)>,
}

impl Notes {
    fn new() -> Self {
        Self {
            stage: Stage::AwaitingCommitted,
            position: None,
            delivered: None,
            delivered_timestamp_ms: None,
            committed: None,
            high_watermark: None,
            last_stable_offset: None,
            log_start: None,
            leader: None,
            waiting: None,
        }
    }

    /// Takes over where the partition stands.
    pub(crate) fn follow(&mut self, partition: &Partition) {
        self.stage = partition.stage.clone();
        self.position = partition.position();
        self.leader = partition.leader;
        self.waiting = match &partition.work {
            Work::Idle | Work::InFlight => None,
            Work::Waiting { until, error } => Some((error.clone(), *until)),
        };
    }
}

/// The notes of all assigned partitions, and the counters.
#[derive(Default)]
pub(crate) struct Board(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    partitions: BTreeMap<TopicPartition, Notes>,
    counters: Counters,
}

impl Board {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn open(&self, partition: &TopicPartition) {
        self.lock().partitions.insert(partition.clone(), Notes::new());
    }

    pub(crate) fn close(&self, partition: &TopicPartition) {
        self.lock().partitions.remove(partition);
    }

    /// Changes the notes of a partition, if it is assigned.
    pub(crate) fn note(&self, partition: &TopicPartition, change: impl FnOnce(&mut Notes)) {
        if let Some(notes) = self.lock().partitions.get_mut(partition) {
            change(notes);
        }
    }

    pub(crate) fn count(&self, change: impl FnOnce(&mut Counters)) {
        change(&mut self.lock().counters);
    }

    pub(crate) fn counters(&self) -> Counters {
        self.lock().counters
    }

    pub(crate) fn partitions(&self, queues: &Queues, now: Instant) -> Vec<PartitionSnapshot> {
        let inner = self.lock();
        inner.partitions.iter().map(|(partition, notes)| picture(partition, notes, queues, now)).collect()
    }
}

fn picture(partition: &TopicPartition, notes: &Notes, queues: &Queues, now: Instant) -> PartitionSnapshot {
    let end = notes.last_stable_offset.or(notes.high_watermark);
    let reached = notes.delivered.or(notes.position);
    let lag_records = end.zip(reached).map(|(end, at)| u64::try_from(end.get().saturating_sub(at.get())).unwrap_or(0));
    PartitionSnapshot {
        partition: partition.clone(),
        state: fetch_state(notes, queues.flow(partition), now),
        position: notes.position,
        delivered: notes.delivered,
        committed: notes.committed,
        high_watermark: notes.high_watermark,
        last_stable_offset: notes.last_stable_offset,
        log_start: notes.log_start,
        lag_records,
        lag: lag_records.filter(|lag| *lag > 0).and(notes.delivered_timestamp_ms).map(age),
        buffered_bytes: queues.buffered(partition),
        leader: notes.leader.map(|leader| leader.id),
        leader_epoch: notes.leader.map(|leader| leader.epoch),
    }
}

/// The first reason that applies, the most lasting one first.
fn fetch_state(notes: &Notes, room: Room, now: Instant) -> FetchState {
    if let Stage::Parked { cause, .. } = &notes.stage {
        return FetchState::Parked(cause.clone());
    }
    if let Some((error, at)) = notes.waiting.as_ref().filter(|(_, at)| *at > now) {
        return FetchState::BackingOff { error: error.clone(), retry_in: at.saturating_duration_since(now) };
    }
    match (&notes.stage, room) {
        (Stage::AwaitingCommitted, _) => FetchState::AwaitingCommittedOffset,
        (_, _) if notes.leader.is_none() => FetchState::AwaitingLeader,
        (Stage::Resetting { .. }, _) => FetchState::Resetting,
        (Stage::CheckingRange { .. }, _) => FetchState::CheckingRange,
        (Stage::Validating(_), _) => FetchState::Validating,
        (Stage::Fetching(_), Room::Paused) => FetchState::Paused,
        (Stage::Fetching(_), Room::Full) => FetchState::QueueFull,
        (Stage::Fetching(_) | Stage::Parked { .. }, Room::Free | Room::Paused | Room::Full | Room::Closed) => {
            FetchState::Fetching
        }
    }
}

fn age(timestamp_ms: i64) -> Duration {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since_epoch.saturating_sub(Duration::from_millis(u64::try_from(timestamp_ms).unwrap_or(0)))
}
