//! One fetch in flight per broker, and what its answer does to each partition.
//!
//! The bytes of all fetches under way are reserved against `queued.max.bytes` before they are sent. The next fetch goes
//! out as soon as the batches of the last answer are in their queues, still compressed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kafka_proto::error_code::{ErrorClass, ErrorCode};
use kafka_proto::fetch_session::{FetchHead, FetchPlan, FetchUse};
use kafka_proto::id::{BrokerId, LeaderEpoch, Offset, TopicPartition};

use crate::client::consumer::engine::{Engine, Flow, Outcome};
use crate::client::consumer::random;
use crate::client::fetcher::{
    Damage, Effect, End, FetchFailure, Fetching, InFlight, Leader, LongPoll, Partition, Position, Sent, Stage,
    TopicIds, Wanted, Work, digest, fetch, name_of,
};
use crate::client::flight::{FlightStep, Named};
use crate::client::ownership::Ownership;
use crate::client::queue::Room;
use crate::client::request::fetch::{Fetch, FetchAnswer, FetchedPartition, PartitionToFetch};
use crate::client::request::{Endpoint, TopicId};
use crate::client::snapshot::ParkCause;

/// Who waits for so little waits for each record: the application has it before the next fetch is sent, which takes longer than
/// to use it. More is asked for first, so that the broker works while the application does.
const FEW_BYTES: usize = 64 * 1024;

/// A fetch that came back.
pub(super) struct Fetched {
    broker: BrokerId,
    ids: TopicIds,
    answer: Result<FetchAnswer, FetchFailure>,
}

impl Engine {
    /// Sends a fetch to every broker that is free and leads something that is due.
    pub(super) fn fetch_what_is_due(&mut self, now: Instant) {
        if self.closing.is_some() {
            return;
        }
        for (broker, due) in self.due_by_broker(now) {
            if !self.broker(broker).is_free(now) {
                self.broker(broker).recall();
                continue;
            }
            let Some(max_bytes) = self.bytes_to_ask_for() else { return };
            let wanted = self.broker(broker).choose(due);
            self.send_fetch(broker, &wanted, max_bytes, now);
        }
    }

    /// What is due at brokers that are free, or can be: where nothing came for a while a fetch may wait for seconds.
    fn due_by_broker(&self, now: Instant) -> BTreeMap<BrokerId, BTreeMap<TopicPartition, Wanted>> {
        let mut due: BTreeMap<BrokerId, BTreeMap<TopicPartition, Wanted>> = BTreeMap::new();
        for (name, partition) in &self.partitions {
            let (Stage::Fetching(at), Some(source)) = (&partition.stage, partition.source(now)) else { continue };
            // Asked first, because it costs least and is most often the answer: a fetch is nearly always under way.
            if !self.brokers.get(&source).is_none_or(|broker| broker.is_free(now) || broker.may_recall()) {
                continue;
            }
            if !partition.is_due(now) || self.shared.queues.room(&partition.ownership) != Room::Free {
                continue;
            }
            let wanted = Wanted {
                at: *at,
                current_leader_epoch: partition.leader.map_or(LeaderEpoch::UNKNOWN, |leader| leader.epoch),
                topic_id: self.topic_ids.get(&name.topic).copied().unwrap_or(TopicId::ZERO),
                max_bytes: partition.fetch_bytes,
            };
            due.entry(source).or_default().insert(name.clone(), wanted);
        }
        due
    }

    /// As much as is left of the bound on what is queued; nothing when that is not worth a request.
    fn bytes_to_ask_for(&self) -> Option<usize> {
        let left = self.shared.queues.total_room().saturating_sub(self.reserved_bytes);
        let worth_it = self.config.max_partition_fetch_bytes.min(self.config.queued_max_bytes / 2);
        (left >= worth_it).then(|| left.min(self.config.fetch_max_bytes))
    }

    fn send_fetch(&mut self, id: BrokerId, wanted: &BTreeMap<TopicPartition, Wanted>, max_bytes: usize, now: Instant) {
        let ids: TopicIds = wanted.iter().map(|(name, wanted)| (wanted.topic_id, Arc::clone(&name.topic))).collect();
        let with_ids = !ids.contains_key(&TopicId::ZERO);
        let mut sent = BTreeMap::new();
        let mut rack = self.config.client_rack.clone();
        for (name, wanted) in wanted {
            if let Some(partition) = self.partitions.get_mut(name) {
                partition.work = Work::InFlight;
                rack = rack.filter(|_| !partition.shuns_replicas(now));
                sent.insert(name.clone(), Sent { ownership: partition.ownership.clone(), at: wanted.at });
            }
        }
        let wait = self.wait_of(id, wanted, now);
        let broker = self.broker(id);
        let (poll, recall) = LongPoll::new(wait, broker.wait.usual());
        let mut plan = broker.session.plan(wanted);
        if plan.is_full() {
            broker.turn(&mut plan.partitions);
        }
        // One batch may be larger than the partition's share, and must get through alone.
        let largest = wanted.values().map(|wanted| wanted.max_bytes).max().unwrap_or(0);
        let request = self.request(&plan, wait, max_bytes.max(largest), rack.unwrap_or_default());
        self.reserved_bytes = self.reserved_bytes.saturating_add(max_bytes);
        self.broker(id).fetching = Fetching::InFlight(InFlight { sent, plan, reserved_bytes: max_bytes, recall });
        let cluster = self.cluster.clone();
        self.tasks.spawn(async move {
            let answer = fetch(&cluster, id, request, with_ids, poll).await;
            Outcome::Fetched(Fetched { broker: id, ids, answer })
        });
    }

    /// How long that fetch may wait: no longer than usual where more is soon wanted of the broker, because a queue is full or
    /// something is tried again.
    fn wait_of(&mut self, id: BrokerId, wanted: &BTreeMap<TopicPartition, Wanted>, now: Instant) -> Duration {
        let wait = self.broker(id).wait.clone();
        let read_from_it = |(name, partition): &(&TopicPartition, &Partition)| {
            !wanted.contains_key(*name)
                && !matches!(partition.stage, Stage::Parked { .. })
                && partition.source(now).is_none_or(|source| source == id)
        };
        if wait.next() > wait.usual() && self.partitions.iter().any(|partition| read_from_it(&partition)) {
            return wait.usual();
        }
        wait.next()
    }

    fn request(&self, plan: &FetchPlan<Wanted>, max_wait: Duration, max_bytes: usize, rack: String) -> Fetch {
        let partition = |(name, wanted): &(TopicPartition, Wanted)| PartitionToFetch {
            partition: name.clone(),
            topic_id: wanted.topic_id,
            offset: wanted.at.offset,
            current_leader_epoch: wanted.current_leader_epoch,
            last_fetched_epoch: wanted.at.leader_epoch,
            max_bytes: wire_bytes(wanted.max_bytes),
        };
        Fetch {
            max_wait,
            min_bytes: wire_bytes(self.config.fetch_min_bytes),
            max_bytes: wire_bytes(max_bytes),
            isolation_level: self.config.isolation_level,
            session_id: plan.session_id,
            session_epoch: plan.session_epoch,
            partitions: plan.partitions.iter().map(partition).collect(),
            forgotten: plan.forgotten.iter().map(|(name, wanted)| (name.clone(), wanted.topic_id)).collect(),
            rack,
        }
    }

    /// A fetch came back.
    pub(super) fn fetched(&mut self, fetched: Fetched) -> Flow {
        let Fetched { broker: id, ids, answer } = fetched;
        let now = Instant::now();
        let Some(flight) = self.broker(id).landed() else { return Flow::On };
        self.reserved_bytes = self.reserved_bytes.saturating_sub(flight.reserved_bytes);
        let bytes = answer.as_ref().map_or(0, |answer| answer.partitions.iter().map(|part| part.records.len()).sum());
        match answer {
            Ok(answer) => self.fetch_answered(id, &ids, flight, answer, now),
            Err(FetchFailure::Recalled) => {
                self.broker(id).session.close();
                self.make_idle(&flight.sent);
            }
            Err(FetchFailure::TooLarge { limit_bytes }) => self.answer_too_large(id, &flight, limit_bytes),
            Err(FetchFailure::Failed(error)) => self.fetch_failed(id, &flight, &error, now),
        }
        if (1..FEW_BYTES).contains(&bytes) { Flow::OnAfterOthers } else { Flow::On }
    }

    fn fetch_answered(&mut self, id: BrokerId, ids: &TopicIds, flight: InFlight, answer: FetchAnswer, now: Instant) {
        let InFlight { sent, plan, .. } = flight;
        let head = FetchHead {
            error: answer.error,
            session_id: answer.session_id,
            throttled: !answer.throttle.is_zero(),
            partitions: answer.partitions.len(),
        };
        let broker = self.broker(id);
        if is_silent(&answer) {
            broker.wait.was_silent();
        } else {
            broker.wait.reset();
        }
        let usage = broker.session.answered(plan, head);
        self.shared.board.count(|counters| counters.fetches = counters.fetches.saturating_add(1));
        self.make_idle(&sent);
        match usage {
            FetchUse::Use => self.broker(id).succeeded(),
            FetchUse::Throttled => return self.only_throttled(id, now),
            FetchUse::Refetch => return self.session_refused(id, answer.error, now),
        }
        let mut refused: BTreeMap<i16, Vec<TopicPartition>> = BTreeMap::new();
        for part in answer.partitions {
            let name = name_of(&part.topic, part.partition, ids);
            let Some((name, sent)) = name.and_then(|name| sent.get_key_value(&name)) else { continue };
            if part.error != ErrorCode::None {
                refused.entry(part.error.code()).or_default().push(name.clone());
            }
            self.take_part(id, name, sent, part, &answer.endpoints, now);
        }
        for (code, partitions) in refused {
            let detail = format_args!("Fetch at broker {id}: {}: {}", ErrorCode::from(code), Named(&partitions));
            self.flight().record(FlightStep::Refused, detail);
        }
    }

    fn session_refused(&mut self, id: BrokerId, error: ErrorCode, now: Instant) {
        tracing::debug!(broker = %id, %error, "the fetch session starts anew");
        self.flight().record(FlightStep::Refused, format_args!("Fetch at broker {id}: {error}"));
        // FETCH_SESSION_ID_NOT_FOUND and its kin are retriable: a full fetch is all they need.
        if error.class() != ErrorClass::Retriable {
            self.cluster.request_refresh();
        }
        self.broker(id).slow_down(now);
    }

    /// The partitions stay as they are; whether this broker still leads them has to be asked of the metadata.
    fn only_throttled(&mut self, id: BrokerId, now: Instant) {
        if self.broker(id).only_throttled(now) {
            self.cluster.request_refresh();
        }
    }

    fn make_idle(&mut self, sent: &BTreeMap<TopicPartition, Sent>) {
        for sent in sent.values() {
            if let Some(partition) = self.fetching(sent) {
                partition.work = Work::Idle;
            }
        }
    }

    /// The partition, if it is still at the position that was sent, under the same assignment (fault G6).
    fn fetching(&mut self, sent: &Sent) -> Option<&mut Partition> {
        let at = Stage::Fetching(sent.at);
        self.partition_of(&sent.ownership).filter(|partition| partition.stage == at)
    }

    fn fetch_failed(&mut self, id: BrokerId, flight: &InFlight, error: &str, now: Instant) {
        tracing::debug!(broker = %id, error, "a fetch failed");
        self.flight().record(FlightStep::Refused, format_args!("Fetch at broker {id}: {error}"));
        let broker = self.broker(id);
        broker.session.close();
        broker.wait.reset();
        let pause = broker.failed(now, random());
        for (name, sent) in &flight.sent {
            if let Some(partition) = self.fetching(sent) {
                partition.back_to_leader(now);
                partition.wait(error.to_owned(), now, pause);
            }
            self.note(name);
        }
        self.cluster.request_refresh();
    }

    fn answer_too_large(&mut self, id: BrokerId, flight: &InFlight, limit_bytes: usize) {
        let broker = self.broker(id);
        broker.session.close();
        let culprit = broker.too_large(&flight.sent);
        self.make_idle(&flight.sent);
        let Some((name, sent)) = culprit.and_then(|name| flight.sent.get_key_value(&name)) else { return };
        let offset = sent.at.offset;
        if let Some(partition) = self.fetching(sent) {
            partition.park(offset, ParkCause::TooLarge { offset, limit_bytes });
        }
        self.note(name);
    }

    fn take_part(
        &mut self,
        id: BrokerId,
        name: &TopicPartition,
        sent: &Sent,
        part: FetchedPartition,
        endpoints: &[Endpoint],
        now: Instant,
    ) {
        if self.fetching(sent).is_none() {
            return self
                .shared
                .board
                .count(|counters| counters.stale_fetches = counters.stale_fetches.saturating_add(1));
        }
        let bytes = u64::try_from(part.records.len()).unwrap_or(u64::MAX);
        self.shared.board.count(|counters| counters.fetched_bytes = counters.fetched_bytes.saturating_add(bytes));
        self.note_ends(name, &part);
        let replica_until = now + self.config.client.metadata_max_age;
        if let (Some(replica), Some(partition)) = (part.preferred_read_replica, self.fetching(sent)) {
            partition.read_from(replica, replica_until);
        }
        let effects = match (part.error, part.diverging) {
            (ErrorCode::None, Some(end)) => {
                let end = Position { offset: end.end_offset, leader_epoch: end.epoch };
                self.fetching(sent).map(|partition| partition.diverged(sent.at, end)).unwrap_or_default()
            }
            (ErrorCode::None, None) => self.take_records(sent, part, now),
            (error, _) => {
                self.broker(id).slow_down(now);
                self.learn_leader(name, &part, endpoints);
                self.part_refused(id, sent, error, now)
            }
        };
        self.apply(name, effects);
    }

    fn note_ends(&self, name: &TopicPartition, part: &FetchedPartition) {
        let known = |offset: Offset| Some(offset).filter(|offset| offset.get() >= 0);
        self.shared.board.note(name, |notes| {
            notes.high_watermark = known(part.high_watermark).or(notes.high_watermark);
            notes.last_stable_offset = known(part.last_stable_offset).or(notes.last_stable_offset);
            notes.log_start = known(part.log_start_offset).or(notes.log_start);
        });
    }

    /// The broker names the new leader along with its refusal (KIP-951).
    fn learn_leader(&mut self, name: &TopicPartition, part: &FetchedPartition, endpoints: &[Endpoint]) {
        let Some((id, epoch)) = part.current_leader else { return };
        let endpoint = endpoints.iter().find(|endpoint| endpoint.id == id).cloned();
        self.cluster.learn_leader(name, id, epoch, endpoint);
        let known = self.cluster.metadata().borrow().leader(name) == Some((id, epoch));
        if let (true, Some(partition)) = (known, self.partitions.get_mut(name))
            && partition.leader_is(Some(Leader { id, epoch }))
        {
            let detail = format_args!("broker {id} in epoch {epoch}: {name}");
            self.flight().record(FlightStep::LeaderMoved, detail);
        }
    }

    fn take_records(&mut self, sent: &Sent, part: FetchedPartition, now: Instant) -> Vec<Effect> {
        let more_waits = part.high_watermark > sent.at.offset;
        let digested = digest(sent.at, part.records, part.aborted, self.config.isolation_level);
        let policies = self.policies.clone();
        let Some(partition) = self.fetching(sent) else { return Vec::new() };
        let mut effects: Vec<_> = digested.items.into_iter().map(Effect::Push).collect();
        partition.advanced(digested.next);
        match digested.end {
            End::TooLarge if more_waits => partition.too_large(&policies),
            End::Whole | End::TooLarge => {}
            End::Damaged(damage) => effects.extend(partition.damaged(damage, &policies, now, random())),
        }
        effects
    }

    fn part_refused(&mut self, id: BrokerId, sent: &Sent, error: ErrorCode, now: Instant) -> Vec<Effect> {
        let policies = self.policies.clone();
        let Some(partition) = self.fetching(sent) else { return Vec::new() };
        if partition.back_to_leader(now) {
            // A follower's refusal proves nothing: the leader is asked (fault O13).
            return Vec::new();
        }
        tracing::debug!(broker = %id, partition = %sent.ownership.partition(), %error, "a fetch was refused");
        match error {
            ErrorCode::OffsetOutOfRange => {
                partition.out_of_range(sent.at);
                return Vec::new();
            }
            ErrorCode::CorruptMessage => {
                let damage = Damage::at_the_broker(error.name());
                return partition.damaged(damage, &policies, now, random());
            }
            _ => partition.failed(error.name().to_owned(), now, random()),
        }
        if error.class() == ErrorClass::RefreshMetadata { vec![Effect::RefreshMetadata] } else { Vec::new() }
    }

    /// The application's task could not open a batch: what comes after it is dropped and fetched again, or parked.
    pub(super) fn damaged_at_opening(&mut self, ownership: &Ownership, at: Offset, damage: Damage) {
        let Some(partition) = self.partition_of(ownership) else { return };
        let effects = partition.damaged_at_opening(at, damage);
        let name = ownership.partition().clone();
        self.apply(&name, effects);
    }
}

/// Whether nothing came, and nothing is said but that.
fn is_silent(answer: &FetchAnswer) -> bool {
    let says_nothing = |part: &FetchedPartition| {
        part.error == ErrorCode::None
            && part.records.is_empty()
            && part.diverging.is_none()
            && part.preferred_read_replica.is_none()
    };
    answer.error == ErrorCode::None && answer.throttle.is_zero() && answer.partitions.iter().all(says_nothing)
}

/// A size as the protocol can say it.
fn wire_bytes(bytes: usize) -> i32 {
    i32::try_from(bytes).unwrap_or(i32::MAX)
}
