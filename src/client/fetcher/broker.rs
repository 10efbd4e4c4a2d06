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
use tokio_util::sync::CancellationToken;

use crate::client::cluster::{Cluster, Purpose};
use crate::client::connection::{CloseCause, RequestError};
use crate::client::fetcher::partition::Position;
use crate::client::fetcher::wait::FetchWait;
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
    /// How to end it before its time; `None`: it ends soon enough, or was called back.
    pub(crate) recall: Option<Recall>,
}

/// Ends the wait of a fetch at its broker.
#[derive(Debug)]
pub(crate) struct Recall(CancellationToken);

/// What ends the wait of a fetch at its broker.
#[derive(Debug)]
pub(crate) struct LongPoll {
    usual: Duration,
    recalled: CancellationToken,
}

impl LongPoll {
    /// That of one that waits for `wait`; if that is longer than `usual`, with the means to call it back.
    pub(crate) fn new(wait: Duration, usual: Duration) -> (Self, Option<Recall>) {
        let recalled = CancellationToken::new();
        let recall = (wait > usual).then(|| Recall(recalled.clone()));
        (Self { usual, recalled }, recall)
    }

    /// The wait on a connection that is replaced after `session_left`: a longer one would keep it beyond that.
    fn within(&self, wait: Duration, session_left: Option<Duration>) -> Duration {
        session_left.map_or(wait, |left| wait.min(left.max(self.usual)))
    }
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
    pub(crate) wait: FetchWait,
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
    /// It was called back.
    Recalled,
    /// Anything else, in words.
    Failed(String),
}

/// The topics of a fetch by their ids, to read the answer with.
pub(crate) type TopicIds = BTreeMap<TopicId, Arc<str>>;

/// The least time between two requests to a broker at which something is wrong: at most 20 a second.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(50);

/// How much longer than its wait at the broker the answer to a fetch may take (fault N1).
const ANSWER_MARGIN: Duration = Duration::from_secs(10);

/// The least time between two looks at the metadata because of one broker that only throttles.
const DOUBT_EVERY: Duration = Duration::from_secs(1);

impl Broker {
    pub(crate) fn new(backoff: Backoff, wait: FetchWait) -> Self {
        Self {
            fetching: Fetching::Idle,
            session: FetchSession::new(),
            wait,
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

    /// Whether a fetch waits there for longer than usual.
    pub(crate) fn may_recall(&self) -> bool {
        matches!(&self.fetching, Fetching::InFlight(InFlight { recall: Some(_), .. }))
    }

    /// Ends such a wait: something else is wanted of the broker. The fetch comes back soon.
    pub(crate) fn recall(&mut self) {
        if let Fetching::InFlight(flight) = &mut self.fetching
            && let Some(Recall(recall)) = flight.recall.take()
        {
            self.wait.reset();
            recall.cancel();
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
    mut request: Fetch,
    with_ids: bool,
    poll: LongPoll,
) -> Result<FetchAnswer, FetchFailure> {
    let failed = |error: &dyn std::fmt::Display| FetchFailure::Failed(error.to_string());
    let (wait, mut last) = (request.max_wait, FetchFailure::Failed("not sent".to_owned()));
    // A connection that this side closed by plan is no failure: once more, over a new one.
    for _ in 0..2 {
        let connection = cluster.connect(broker, Purpose::Fetch).await.map_err(|error| failed(&error))?;
        request.max_wait = poll.within(wait, connection.session_left());
        let limit = request.max_wait + ANSWER_MARGIN;
        let answered = async {
            if with_ids {
                connection.request(request.clone(), limit).await
            } else {
                connection.request(AtMost::<12, _>(request.clone()), limit).await
            }
        };
        let answered = tokio::select! {
            biased;
            answered = answered => answered,
            () = poll.recalled.cancelled() => {
                // Nothing else takes a request back.
                connection.close();
                return Err(FetchFailure::Recalled);
            }
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
    use kafka_broker_double as double;
    use kafka_proto::id::Offset;

    use super::*;
    use crate::client::config::ClientConfig;
    use crate::client::request::IsolationLevel;
    use crate::client::request::fetch::PartitionToFetch;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn request(max_wait: Duration) -> Fetch {
        let partition = PartitionToFetch {
            partition: TopicPartition::new("t", 0),
            topic_id: TopicId::ZERO,
            offset: Offset(0),
            current_leader_epoch: LeaderEpoch::UNKNOWN,
            last_fetched_epoch: LeaderEpoch::UNKNOWN,
            max_bytes: 1_000,
        };
        Fetch {
            max_wait,
            min_bytes: 1,
            max_bytes: 1_000,
            isolation_level: IsolationLevel::ReadUncommitted,
            session_id: 0,
            session_epoch: -1,
            partitions: vec![partition],
            forgotten: Vec::new(),
            rack: String::new(),
        }
    }

    /// A fetch that waits for `wait` at a broker that swallows the first one, once that is so.
    async fn swallowed(
        double: &double::Cluster,
        wait: Duration,
    ) -> (Cluster, Option<Recall>, tokio::task::JoinHandle<Result<FetchAnswer, FetchFailure>>) {
        let config = ClientConfig::new(double.bootstrap().split(','));
        let cluster = Cluster::new(Arc::new(config), vec!["t".into()]).unwrap();
        cluster.metadata().wait_for(|known| !known.topics.is_empty()).await.unwrap();
        let swallowed = double.on(double::ApiKey::Fetch).times(1).silence();
        let (poll, recall) = LongPoll::new(wait, Duration::from_millis(20));
        let (asking, request) = (cluster.clone(), request(wait));
        let fetched = tokio::spawn(async move { fetch(&asking, BrokerId(1), request, false, poll).await });
        double.wait_until("it is there", PATIENCE, |_| swallowed.hits() == 1).await;
        (cluster, recall, fetched)
    }

    #[tokio::test]
    async fn a_fetch_whose_connection_is_closed_as_a_plan_is_sent_once_more() {
        let double = double::Cluster::builder().topic("t", 1).start();
        let (cluster, _, fetched) = swallowed(&double, Duration::from_millis(20)).await;
        cluster.connect(BrokerId(1), Purpose::Fetch).await.unwrap().close();
        tokio::time::timeout(PATIENCE, fetched).await.unwrap().unwrap().unwrap();
        assert_eq!(double.request_count(double::ApiKey::Fetch), 2);
    }

    #[tokio::test]
    async fn a_fetch_that_is_called_back_ends_with_its_connection_and_is_not_sent_again() {
        let double = double::Cluster::builder().topic("t", 1).start();
        let (cluster, recall, fetched) = swallowed(&double, PATIENCE).await;
        let connection = cluster.connect(BrokerId(1), Purpose::Fetch).await.unwrap();
        recall.unwrap().0.cancel();
        let ended = tokio::time::timeout(PATIENCE, fetched).await.unwrap().unwrap();
        assert!(matches!(ended, Err(FetchFailure::Recalled)), "{ended:?}");
        assert!(connection.is_closed());
        assert_eq!(double.request_count(double::ApiKey::Fetch), 1);
    }

    #[test]
    fn a_wait_that_grew_ends_with_the_login_of_its_connection() {
        let (usual, long) = (Duration::from_millis(500), Duration::from_secs(5));
        let (poll, recall) = LongPoll::new(long, usual);
        assert!(recall.is_some());
        let within = |seconds| poll.within(long, Some(Duration::from_secs(seconds)));
        assert_eq!(
            (poll.within(long, None), within(60), within(2), within(0)),
            (long, long, Duration::from_secs(2), usual)
        );
        assert!(LongPoll::new(usual, usual).1.is_none(), "it ends soon enough");
    }

    #[test]
    fn n10_a_broker_that_only_throttles_is_doubted_once_a_second() {
        let wait = FetchWait::new(Duration::from_millis(500), Duration::from_secs(5));
        let mut broker = Broker::new(Backoff::new(Duration::from_millis(20), Duration::from_secs(1)), wait);
        let begun = Instant::now();
        let doubts: Vec<_> =
            (0..25).map(|tenth| broker.only_throttled(begun + Duration::from_millis(100) * tenth)).collect();
        let at: Vec<_> = doubts.iter().enumerate().filter(|(_, doubt)| **doubt).map(|(tenth, _)| tenth).collect();
        assert_eq!(at, [0, 10, 20]);
    }
}
