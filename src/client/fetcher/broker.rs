//! One broker to fetch from: one fetch in flight, a pause after a failure, and what to ask for next.
//!
//! Every partition gets its turn to be first in the list, because a broker fills its answer in that order and must return
//! only the first batch whole (KIP-74, fault O7). When an answer was too large to be read at all, the partitions are asked
//! one by one until the one is found that cannot be read.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kafka_proto::backoff::Backoff;
use kafka_proto::fetch_session::{FetchPlan, FetchSession, SessionPartition};
use kafka_proto::id::{BrokerId, LeaderEpoch, TopicPartition};

use crate::client::cluster::{Cluster, Purpose};
use crate::client::connection::{CloseCause, RequestError};
use crate::client::fetcher::partition::Position;
use crate::client::ownership::Ownership;
use crate::client::request::fetch::{Fetch, FetchAnswer, FetchedTopic};
use crate::client::request::{AtMost, TopicId};

/// What a broker is doing for us.
#[derive(Debug)]
pub(crate) enum Fetching {
    /// Nothing.
    Idle,
    /// One fetch.
    InFlight(InFlight),
    /// Nothing until then.
    Waiting { until: Instant },
}

/// A fetch that is under way.
#[derive(Debug)]
pub(crate) struct InFlight {
    pub(crate) sent: BTreeMap<TopicPartition, Sent>,
    pub(crate) plan: FetchPlan<Wanted>,
    pub(crate) reserved_bytes: usize,
}

/// What is asked about one partition; equal values need not be sent twice within a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) at: Position,
    pub(crate) current_leader_epoch: LeaderEpoch,
    pub(crate) topic_id: TopicId,
    pub(crate) max_bytes: usize,
}

impl SessionPartition for Wanted {
    fn same_topic(&self, other: &Self) -> bool {
        self.topic_id == other.topic_id
    }
}

/// One partition of a fetch that is under way.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) ownership: Ownership,
    pub(crate) at: Position,
}

#[derive(Debug)]
pub(crate) struct Broker {
    pub(crate) fetching: Fetching,
    pub(crate) session: FetchSession<Wanted>,
    /// Nothing else is asked of the broker before this, after something went wrong: a storm of errors stays a breeze.
    pub(crate) questions_from: Option<Instant>,
    /// When the metadata was last asked for because the broker did nothing but throttle.
    doubted_at: Option<Instant>,
    backoff: Backoff,
    suspects: VecDeque<TopicPartition>,
    turn: usize,
}

/// Why a fetch brought nothing.
#[derive(Clone, Debug)]
pub(crate) enum FetchFailure {
    /// The answer does not fit in what a connection may receive.
    TooLarge { limit_bytes: usize },
    /// Anything else, in words.
    Failed(String),
}

/// The topics of a fetch by their ids, to read the answer with.
pub(crate) type TopicIds = BTreeMap<TopicId, Arc<str>>;

/// The least time between two requests to a broker at which something is wrong: at most 20 a second.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(50);

/// The least time between two looks at the metadata because of one broker that only throttles.
const DOUBT_EVERY: Duration = Duration::from_secs(1);

impl Broker {
    pub(crate) fn new(backoff: Backoff) -> Self {
        Self {
            fetching: Fetching::Idle,
            session: FetchSession::new(),
            questions_from: None,
            doubted_at: None,
            backoff,
            suspects: VecDeque::new(),
            turn: 0,
        }
    }

    /// Whether a fetch may be sent now.
    pub(crate) fn is_free(&self, now: Instant) -> bool {
        match &self.fetching {
            Fetching::Idle => true,
            Fetching::InFlight(_) => false,
            Fetching::Waiting { until } => *until <= now,
        }
    }

    /// Over which connection to ask where to begin: the one for fetches, which is needed next and must not be a second one at the
    /// start, but never behind a fetch.
    pub(crate) fn asked_over(&self) -> Purpose {
        match &self.fetching {
            Fetching::InFlight(_) => Purpose::Control,
            Fetching::Idle | Fetching::Waiting { .. } => Purpose::Fetch,
        }
    }

    /// Which of the partitions that are due to ask for: all, or the one that is under suspicion.
    pub(crate) fn choose(&mut self, due: BTreeMap<TopicPartition, Wanted>) -> BTreeMap<TopicPartition, Wanted> {
        while let Some(suspect) = self.suspects.front() {
            if let Some(wanted) = due.get(suspect) {
                return BTreeMap::from([(suspect.clone(), *wanted)]);
            }
            self.suspects.pop_front();
        }
        due
    }

    /// The partitions of a full fetch in the order to name them. Within a session the broker turns the list itself.
    pub(crate) fn turn<T>(&mut self, partitions: &mut [T]) {
        self.turn = self.turn.wrapping_add(1);
        let first = self.turn.checked_rem(partitions.len()).unwrap_or(0);
        partitions.rotate_left(first);
    }

    /// The fetch ended; gives back what is known of it.
    pub(crate) fn landed(&mut self) -> Option<InFlight> {
        match std::mem::replace(&mut self.fetching, Fetching::Idle) {
            Fetching::InFlight(flight) => Some(flight),
            Fetching::Idle | Fetching::Waiting { .. } => None,
        }
    }

    /// An answer came.
    pub(crate) fn succeeded(&mut self) {
        self.backoff.reset();
        self.suspects.pop_front();
    }

    /// The answer was a throttle and nothing else: whether it is time to ask elsewhere who leads. A broker over its quota
    /// leaves out every partition, those that it does not lead any more included, so that only the metadata tells.
    pub(crate) fn only_throttled(&mut self, now: Instant) -> bool {
        if self.doubted_at.is_some_and(|at| now.saturating_duration_since(at) < DOUBT_EVERY) {
            return false;
        }
        self.doubted_at = Some(now);
        true
    }

    /// The answer could not be read for its size: ask one by one. The partition to give up, if it was alone.
    pub(crate) fn too_large(&mut self, sent: &BTreeMap<TopicPartition, Sent>) -> Option<TopicPartition> {
        if sent.len() == 1 {
            self.suspects.pop_front();
            return sent.keys().next().cloned();
        }
        self.suspects = sent.keys().cloned().collect();
        None
    }

    /// No answer came; how long to leave the broker alone.
    pub(crate) fn failed(&mut self, now: Instant, random: u64) -> Duration {
        let pause = self.backoff.next(random);
        self.fetching = Fetching::Waiting { until: now + pause };
        pause
    }

    /// The answer says that something is wrong with a partition: do not ask again at once.
    pub(crate) fn slow_down(&mut self, now: Instant) {
        self.fetching = Fetching::Waiting { until: now + PAUSE_AFTER_ERROR };
    }

    /// The same for questions other than fetches.
    pub(crate) fn slow_questions(&mut self, now: Instant) {
        self.questions_from = Some(now + PAUSE_AFTER_ERROR);
    }

    /// When something may change here by itself.
    pub(crate) fn wakes_at(&self) -> Option<Instant> {
        match &self.fetching {
            Fetching::Waiting { until } => Some(*until),
            Fetching::Idle | Fetching::InFlight(_) => None,
        }
    }
}

/// Sends one fetch. `with_ids`: all topic ids are known, so versions that name topics by id may be used.
pub(crate) async fn fetch(
    cluster: &Cluster,
    broker: BrokerId,
    request: Fetch,
    with_ids: bool,
    limit: Duration,
) -> Result<FetchAnswer, FetchFailure> {
    let failed = |error: &dyn std::fmt::Display| FetchFailure::Failed(error.to_string());
    let mut last = FetchFailure::Failed("not sent".to_owned());
    // A connection that this side closed by plan is no failure: once more, over a new one.
    for _ in 0..2 {
        let connection = cluster.connect(broker, Purpose::Fetch).await.map_err(|error| failed(&error))?;
        let answered = if with_ids {
            connection.request(request.clone(), limit).await
        } else {
            connection.request(AtMost::<12, _>(request.clone()), limit).await
        };
        match answered {
            Ok(answer) => return Ok(answer),
            Err(RequestError::Closed(CloseCause::TooLarge { limit, .. })) => {
                return Err(FetchFailure::TooLarge { limit_bytes: limit });
            }
            Err(error) if error.is_planned() => last = failed(&error),
            Err(error) => return Err(failed(&error)),
        }
    }
    Err(last)
}

/// The partition that a part of an answer is about, if the answer names a topic that was asked for.
pub(crate) fn name_of(topic: &FetchedTopic, partition: i32, ids: &TopicIds) -> Option<TopicPartition> {
    let topic = match topic {
        FetchedTopic::Name(name) => Arc::clone(name),
        FetchedTopic::Id(id) => Arc::clone(ids.get(id)?),
    };
    Some(TopicPartition { topic, partition })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n10_a_broker_that_only_throttles_is_doubted_once_a_second() {
        let mut broker = Broker::new(Backoff::new(Duration::from_millis(20), Duration::from_secs(1)));
        let begun = Instant::now();
        let doubts: Vec<_> =
            (0..25).map(|tenth| broker.only_throttled(begun + Duration::from_millis(100) * tenth)).collect();
        let at: Vec<_> = doubts.iter().enumerate().filter(|(_, doubt)| **doubt).map(|(tenth, _)| tenth).collect();
        assert_eq!(at, [0, 10, 20]);
    }
}
