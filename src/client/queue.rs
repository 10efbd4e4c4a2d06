//! A bounded queue of fetched batches per partition, and the stream of events in front of them.
//!
//! Promised: partitions take turns, one batch each, so a slow or full one does not hold up the others (fault L1); what was
//! fetched survives a pause (fault O15) and nothing of an assignment survives its end (fault G6); notices about a
//! partition (reset, truncation, skip) keep their place among its records; `pop` never waits, so dropping a caller loses
//! nothing. Bounds: bytes per partition and in total, kept by the fetcher, which asks [`Queues::room`] before it fetches;
//! a batch counts with its compressed size. Group events are few (one rebalance at a time) and are never dropped.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use kafka_proto::id::{LeaderEpoch, Offset, TopicPartition};
use kafka_proto::record::RawBatch;
use tokio::sync::Notify;

use crate::client::event::Event;
use crate::client::ownership::Ownership;

/// What one queued thing costs beside its bytes: the struct, and the header that was parsed.
const OVERHEAD_BYTES: usize = 256;

/// One step of a partition, in the order of its offsets.
#[derive(Debug)]
pub(crate) enum Item {
    /// A batch with something for the application, of which records below `from` are not meant.
    Batch { raw: RawBatch, from: Offset, bytes: usize },
    /// Offsets without records for the application.
    Gap { from: Offset, next: Offset, leader_epoch: LeaderEpoch },
    /// An event about the partition.
    Notice(Event),
}

impl Item {
    fn bytes(&self) -> usize {
        match self {
            Self::Batch { bytes, .. } => bytes.saturating_add(OVERHEAD_BYTES),
            Self::Gap { .. } | Self::Notice(_) => OVERHEAD_BYTES,
        }
    }
}

/// What the application gets next.
#[derive(Debug)]
pub(crate) enum Popped {
    /// An event as it is.
    Event(Event),
    /// A batch to open.
    Batch { ownership: Ownership, raw: RawBatch, from: Offset },
    /// A stretch of offsets without records.
    Gap { ownership: Ownership, from: Offset, next: Offset, leader_epoch: LeaderEpoch },
}

/// Bounds in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Of one partition: at this many queued bytes nothing more is fetched for it.
    pub(crate) partition_bytes: usize,
    /// Of all partitions together.
    pub(crate) total_bytes: usize,
}

/// The queues of a consumer. Shared by the fetcher (in) and `Consumer::next` (out).
pub(crate) struct Queues {
    limits: Limits,
    inner: Mutex<Inner>,
    /// Something can be popped.
    arrived: Notify,
    /// Room was made where there was none, or a partition was resumed.
    drained: Notify,
}

#[derive(Default)]
struct Inner {
    events: VecDeque<Event>,
    partitions: BTreeMap<TopicPartition, PartitionQueue>,
    /// Partitions that have something to hand out, each once.
    turns: VecDeque<TopicPartition>,
    bytes: usize,
}

struct PartitionQueue {
    ownership: Ownership,
    items: VecDeque<Item>,
    bytes: usize,
    flow: Flow,
    /// It stands among the turns.
    waits: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    Running,
    Paused,
}

impl Queues {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, inner: Mutex::default(), arrived: Notify::new(), drained: Notify::new() }
    }

    /// Nothing in here panics half way through a change, so a poisoned lock still guards a sound value.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends an event that concerns the group or several partitions. Goes before all records.
    pub(crate) fn push_event(&self, event: Event) {
        self.lock().events.push_back(event);
        self.arrived.notify_one();
    }

    /// Opens the queue of a partition that was assigned.
    pub(crate) fn open(&self, ownership: Ownership) {
        let mut inner = self.lock();
        inner.close(ownership.partition());
        let queue = PartitionQueue { ownership, items: VecDeque::new(), bytes: 0, flow: Flow::Running, waits: false };
        inner.partitions.insert(queue.ownership.partition().clone(), queue);
    }

    /// Forgets everything of an assignment that ended.
    pub(crate) fn close(&self, ownership: &Ownership) {
        let mut inner = self.lock();
        if inner.of(ownership).is_some() {
            inner.close(ownership.partition());
        }
        drop(inner);
        self.drained.notify_one();
    }

    /// Appends to a partition. `false` when the assignment is over: the item is gone, as it should be.
    pub(crate) fn push(&self, ownership: &Ownership, item: Item) -> bool {
        let mut inner = self.lock();
        let Some(queue) = inner.of(ownership) else { return false };
        let bytes = queue.push(item);
        let waits = queue.flow == Flow::Running;
        inner.bytes = inner.bytes.saturating_add(bytes);
        if waits {
            inner.take_turn(ownership.partition());
        }
        drop(inner);
        self.arrived.notify_one();
        true
    }

    /// Takes what is next: events first, then one item of the partition whose turn it is.
    pub(crate) fn pop(&self) -> Option<Popped> {
        let mut inner = self.lock();
        if let Some(event) = inner.events.pop_front() {
            return Some(Popped::Event(event));
        }
        let before = inner.bytes;
        let (popped, made_room) = inner.pop(self.limits.partition_bytes)?;
        let total_low = self.limits.total_bytes / 2;
        let total_crossed = before >= total_low && inner.bytes < total_low;
        drop(inner);
        if made_room || total_crossed {
            self.drained.notify_one();
        }
        Some(popped)
    }

    /// Takes the first event, if there is one.
    pub(crate) fn pop_event(&self) -> Option<Event> {
        self.lock().events.pop_front()
    }

    /// Drops what is queued of a partition at `from` and above: it is not part of the log any more.
    pub(crate) fn truncate(&self, ownership: &Ownership, from: Offset) {
        let mut inner = self.lock();
        let Some(queue) = inner.of(ownership) else { return };
        let freed = queue.truncate(from);
        inner.bytes = inner.bytes.saturating_sub(freed);
    }

    /// Stops handing out records of these partitions, and fetching for them; what was fetched stays.
    pub(crate) fn pause(&self, partitions: &[TopicPartition]) {
        let mut inner = self.lock();
        for partition in partitions {
            if let Some(queue) = inner.partitions.get_mut(partition) {
                queue.flow = Flow::Paused;
                queue.waits = false;
                inner.turns.retain(|waiting| waiting != partition);
            }
        }
    }

    /// Goes on handing out records of these partitions, from exactly where the pause began.
    pub(crate) fn resume(&self, partitions: &[TopicPartition]) {
        let mut inner = self.lock();
        for partition in partitions {
            let Some(queue) = inner.partitions.get_mut(partition) else { continue };
            queue.flow = Flow::Running;
            if !queue.items.is_empty() {
                inner.take_turn(partition);
            }
        }
        drop(inner);
        self.arrived.notify_one();
        self.drained.notify_one();
    }

    /// What keeps the fetcher from fetching for a partition, if anything does.
    pub(crate) fn room(&self, ownership: &Ownership) -> Room {
        self.lock().of(ownership).map_or(Room::Closed, |queue| queue.room(self.limits))
    }

    /// The same, by name: for those who only look.
    pub(crate) fn flow(&self, partition: &TopicPartition) -> Room {
        self.lock().partitions.get(partition).map_or(Room::Closed, |queue| queue.room(self.limits))
    }

    /// Bytes that may be fetched before the total bound is reached.
    pub(crate) fn total_room(&self) -> usize {
        self.limits.total_bytes.saturating_sub(self.lock().bytes)
    }

    /// Bytes that wait, of one partition.
    pub(crate) fn buffered(&self, partition: &TopicPartition) -> usize {
        self.lock().partitions.get(partition).map_or(0, |queue| queue.bytes)
    }

    /// Bytes that wait, of all partitions.
    pub(crate) fn buffered_total(&self) -> usize {
        self.lock().bytes
    }

    /// Waits until something may be popped. A permit is kept while nobody waits, so nothing is missed.
    pub(crate) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// Wakes whoever waits in [`Queues::arrived`].
    pub(crate) fn wake(&self) {
        self.arrived.notify_one();
    }

    /// Waits until there is room where there was none.
    pub(crate) async fn drained(&self) {
        self.drained.notified().await;
    }
}

/// Whether a partition may be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// Yes.
    Free,
    /// The application paused it.
    Paused,
    /// As much is queued as may be.
    Full,
    /// The assignment is over.
    Closed,
}

impl Inner {
    /// The queue of exactly this assignment.
    fn of(&mut self, ownership: &Ownership) -> Option<&mut PartitionQueue> {
        self.partitions.get_mut(ownership.partition()).filter(|queue| queue.ownership == *ownership)
    }

    fn close(&mut self, partition: &TopicPartition) {
        if let Some(queue) = self.partitions.remove(partition) {
            self.bytes = self.bytes.saturating_sub(queue.bytes);
            self.turns.retain(|waiting| waiting != partition);
        }
    }

    fn take_turn(&mut self, partition: &TopicPartition) {
        if let Some(queue) = self.partitions.get_mut(partition)
            && !std::mem::replace(&mut queue.waits, true)
        {
            self.turns.push_back(partition.clone());
        }
    }

    /// One item, and whether its partition fell below half of its bound: a full one always does on its way down, and one
    /// that was never full is being fetched without being told.
    fn pop(&mut self, partition_bytes: usize) -> Option<(Popped, bool)> {
        loop {
            let partition = self.turns.pop_front()?;
            let Some(queue) = self.partitions.get_mut(&partition) else { continue };
            queue.waits = false;
            let Some(item) = queue.items.pop_front() else { continue };
            let (bytes, low) = (item.bytes(), (partition_bytes / 2).max(1));
            let before = queue.bytes;
            queue.bytes = before.saturating_sub(bytes);
            let made_room = before >= low && queue.bytes < low;
            let ownership = queue.ownership.clone();
            if !queue.items.is_empty() {
                queue.waits = true;
                self.turns.push_back(partition);
            }
            self.bytes = self.bytes.saturating_sub(bytes);
            return Some((Popped::of(item, ownership), made_room));
        }
    }
}

impl PartitionQueue {
    /// Appends and returns the bytes that adds. A gap that follows a gap becomes one with it, so that a long aborted
    /// transaction takes one place.
    fn push(&mut self, item: Item) -> usize {
        if let (Some(Item::Gap { next, leader_epoch, .. }), Item::Gap { next: new, leader_epoch: epoch, .. }) =
            (self.items.back_mut(), &item)
        {
            (*next, *leader_epoch) = (*new, *epoch);
            return 0;
        }
        let bytes = item.bytes();
        self.bytes = self.bytes.saturating_add(bytes);
        self.items.push_back(item);
        bytes
    }

    fn room(&self, limits: Limits) -> Room {
        match self.flow {
            Flow::Paused => Room::Paused,
            Flow::Running if self.bytes >= limits.partition_bytes => Room::Full,
            Flow::Running => Room::Free,
        }
    }

    fn truncate(&mut self, from: Offset) -> usize {
        let before = self.bytes;
        self.items.retain(|item| match item {
            Item::Batch { raw, .. } => raw.header.base_offset < from,
            Item::Gap { from: first, .. } => *first < from,
            Item::Notice(_) => true,
        });
        self.bytes = self.items.iter().map(Item::bytes).fold(0, usize::saturating_add);
        before.saturating_sub(self.bytes)
    }
}

impl Popped {
    fn of(item: Item, ownership: Ownership) -> Self {
        match item {
            Item::Batch { raw, from, .. } => Self::Batch { ownership, raw, from },
            Item::Gap { from, next, leader_epoch } => Self::Gap { ownership, from, next, leader_epoch },
            Item::Notice(event) => Self::Event(event),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use kafka_proto::id::Generation;
    use kafka_proto::record::{Batches, EncodeOptions, NewRecord, encode_batch};

    use super::*;
    use crate::client::ownership::SessionFence;

    const LIMITS: Limits = Limits { partition_bytes: 2_000, total_bytes: 10_000 };

    fn owner(partition: i32, epoch: u64) -> Ownership {
        let name = TopicPartition::new("t", partition);
        Ownership::new(name, Generation(1), epoch, Arc::new(SessionFence::new()).term())
    }

    fn batch(base: i64) -> Item {
        let options = EncodeOptions { base_offset: Offset(base), ..EncodeOptions::default() };
        let mut bytes = Vec::new();
        encode_batch(&options, [NewRecord::default()], &mut bytes).unwrap();
        let raw = Batches::new(Bytes::from(bytes)).next().unwrap().unwrap();
        Item::Batch { raw, from: Offset(base), bytes: 1_000 }
    }

    fn gap(from: i64, next: i64) -> Item {
        Item::Gap { from: Offset(from), next: Offset(next), leader_epoch: LeaderEpoch(1) }
    }

    /// What is popped, as text: partition and offset.
    fn popped(queues: &Queues) -> Option<String> {
        Some(match queues.pop()? {
            Popped::Event(event) => format!("{event:?}"),
            Popped::Batch { ownership, from, .. } => format!("{} {from}", ownership.partition()),
            Popped::Gap { ownership, from, next, .. } => format!("{} {from}..{next}", ownership.partition()),
        })
    }

    fn all(queues: &Queues) -> Vec<String> {
        std::iter::from_fn(|| popped(queues)).collect()
    }

    #[test]
    fn partitions_take_turns_so_that_a_long_queue_holds_up_nobody() {
        let queues = Queues::new(LIMITS);
        let (first, second) = (owner(0, 1), owner(1, 2));
        queues.open(first.clone());
        queues.open(second.clone());
        for offset in 0..3 {
            assert!(queues.push(&first, batch(offset)));
        }
        assert!(queues.push(&second, batch(7)));
        assert_eq!(all(&queues), ["t-0 0", "t-1 7", "t-0 1", "t-0 2"]);
        assert_eq!(queues.buffered_total(), 0);
    }

    #[test]
    fn events_of_the_group_come_before_records_and_notices_among_them() {
        let queues = Queues::new(LIMITS);
        let owner = owner(0, 1);
        queues.open(owner.clone());
        queues.push(&owner, batch(0));
        let partition = owner.partition().clone();
        let reset = Event::Truncated { partition, position: Offset(1), diverged_at: Offset(1) };
        queues.push(&owner, Item::Notice(reset));
        queues.push(&owner, batch(1));
        queues.push_event(Event::Assigned { partitions: Vec::new() });
        let order = all(&queues);
        assert!(order[0].starts_with("Assigned") && order[2].starts_with("Truncated"), "{order:?}");
        assert_eq!((order[1].as_str(), order[3].as_str()), ("t-0 0", "t-0 1"));
    }

    #[test]
    fn a_late_response_for_an_earlier_assignment_is_discarded() {
        let queues = Queues::new(LIMITS);
        let (before, after) = (owner(0, 1), owner(0, 2));
        queues.open(before.clone());
        queues.push(&before, batch(0));
        queues.open(after.clone());
        assert!(!queues.push(&before, batch(1)));
        assert_eq!(queues.room(&before), Room::Closed);
        assert!(queues.push(&after, batch(5)));
        assert_eq!(all(&queues), ["t-0 5"]);
        queues.close(&before);
        assert_eq!(queues.room(&after), Room::Free);
    }

    #[test]
    fn a_pause_keeps_what_was_fetched_and_gives_it_back_in_order() {
        let queues = Queues::new(LIMITS);
        let (first, second) = (owner(0, 1), owner(1, 2));
        queues.open(first.clone());
        queues.open(second.clone());
        queues.push(&first, batch(0));
        queues.pause(std::slice::from_ref(first.partition()));
        queues.push(&first, batch(1));
        queues.push(&second, batch(9));
        assert_eq!(all(&queues), ["t-1 9"]);
        assert_eq!(queues.room(&first), Room::Paused);
        queues.resume(std::slice::from_ref(first.partition()));
        assert_eq!(all(&queues), ["t-0 0", "t-0 1"]);
    }

    #[test]
    fn a_full_partition_says_so_and_makes_room_when_half_is_taken() {
        let queues = Queues::new(LIMITS);
        let owner = owner(0, 1);
        queues.open(owner.clone());
        queues.push(&owner, batch(0));
        assert_eq!(queues.room(&owner), Room::Free);
        queues.push(&owner, batch(1));
        assert_eq!(queues.room(&owner), Room::Full);
        assert_eq!(queues.total_room(), 10_000 - 2 * (1_000 + OVERHEAD_BYTES));
        assert!(queues.pop().is_some() && queues.pop().is_some());
        assert_eq!((queues.room(&owner), queues.buffered_total()), (Room::Free, 0));
    }

    #[test]
    fn only_a_partition_that_was_full_wakes_the_fetcher_when_it_is_taken() {
        let queues = Queues::new(LIMITS);
        let owner = owner(0, 1);
        queues.open(owner.clone());
        let woken = || futures::FutureExt::now_or_never(queues.drained()).is_some();
        queues.push(&owner, gap(0, 5));
        assert!(queues.pop().is_some() && !woken(), "there was room all along");
        queues.push(&owner, batch(5));
        queues.push(&owner, batch(6));
        assert_eq!(queues.room(&owner), Room::Full);
        assert!(queues.pop().is_some() && !woken(), "more than half is still there");
        assert!(queues.pop().is_some() && woken());
    }

    #[test]
    fn gaps_that_follow_each_other_are_one_and_cost_one() {
        let queues = Queues::new(LIMITS);
        let owner = owner(0, 1);
        queues.open(owner.clone());
        queues.push(&owner, gap(0, 5));
        queues.push(&owner, gap(5, 9));
        assert_eq!(queues.buffered_total(), OVERHEAD_BYTES);
        assert_eq!(all(&queues), ["t-0 0..9"]);
        assert_eq!(queues.buffered_total(), 0);
    }

    #[test]
    fn a_truncation_drops_what_is_not_part_of_the_log_any_more() {
        let queues = Queues::new(LIMITS);
        let owner = owner(0, 1);
        queues.open(owner.clone());
        for offset in 0..4 {
            queues.push(&owner, batch(offset));
        }
        queues.truncate(&owner, Offset(2));
        assert_eq!(all(&queues), ["t-0 0", "t-0 1"]);
        assert_eq!(queues.buffered_total(), 0);
    }

    #[tokio::test]
    async fn an_arrival_before_the_wait_is_not_missed() {
        let queues = Queues::new(LIMITS);
        queues.push_event(Event::Assigned { partitions: Vec::new() });
        queues.arrived().await;
        assert!(queues.pop().is_some());
    }
}
