//! Appends records to partitions, each once: idempotent (KIP-98), acknowledged by all replicas in sync.
//!
//! Promised: the records of one call are appended together, at consecutive offsets, or not at all; calls for one partition
//! are appended in their order; every call is answered within `delivery.timeout.ms`, and the answer never claims more
//! than is known: where the log may or may not hold the records, the error says so. What waits while a batch is in flight
//! becomes the next batch, so many small calls cost few round trips. Retries follow the leader, with a back-off.
//! Absent: a partitioner, transactions, more than one batch in flight per partition.

mod builder;
mod config;
mod delivery;
mod error;
mod lane;
mod record;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kafka_proto::id::{Offset, TopicPartition};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::Instant;

use crate::client::cluster::{BrokerConnection, Cluster};
use crate::client::consumer::BuildError;
pub use builder::ProducerBuilder;
pub use config::ProducerConfig;
pub use error::ProduceError;
use lane::{Job, Lane};
pub use record::ProducerRecord;

/// Where records were appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Appended {
    /// The offset of the first record of the call; the others follow without a gap.
    pub base_offset: Offset,
    /// The leader's time of the append, in milliseconds since 1970, where the topic has
    /// `message.timestamp.type=LogAppendTime`.
    pub log_append_time_ms: Option<i64>,
}

/// An idempotent producer. Clones share its connections and its order.
///
/// ```no_run
/// use kafka_consumer::client::{Producer, ProducerRecord, TopicPartition};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let producer = Producer::builder().bootstrap_servers(["broker1.example:9092"]).build()?;
/// let partition = TopicPartition::new("ledger", 0);
/// let record = ProducerRecord::new("done").key("episode-7").header("written-by", "host-1");
/// match producer.send(&partition, record).await {
///     Ok(appended) => println!("at {}", appended.base_offset),
///     Err(error) if error.is_unknown() => println!("read the log before you send it again: {error}"),
///     Err(error) => println!("not in the log: {error}"),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Producer(Arc<Inner>);

struct Inner {
    config: Arc<ProducerConfig>,
    cluster: Cluster,
    lanes: Mutex<HashMap<TopicPartition, mpsc::UnboundedSender<Job>>>,
    /// `buffer.memory`, in bytes.
    room: Arc<Semaphore>,
}

impl Producer {
    /// Collects the settings.
    pub fn builder() -> ProducerBuilder {
        ProducerBuilder::new()
    }

    fn new(config: ProducerConfig) -> Result<Self, BuildError> {
        config.validate().map_err(BuildError::Settings)?;
        tokio::runtime::Handle::try_current().map_err(|_| BuildError::NoRuntime)?;
        let cluster = Cluster::new(Arc::new(config.client.clone()), Vec::new()).map_err(BuildError::Settings)?;
        let room = Arc::new(Semaphore::new(config.buffer_memory));
        Ok(Self(Arc::new(Inner { config: Arc::new(config), cluster, lanes: Mutex::default(), room })))
    }

    /// Appends records to a partition, all or none of them, and waits until all replicas in sync have them.
    ///
    /// Cancel-safe: a call that is dropped before its records were sent sends nothing; one that is dropped later does not
    /// take them back, and its answer is lost.
    pub async fn send(
        &self,
        partition: &TopicPartition,
        records: impl Into<Vec<ProducerRecord>>,
    ) -> Result<Appended, ProduceError> {
        let records = records.into();
        let bytes = records.iter().map(ProducerRecord::size).sum();
        let limit = self.0.config.max_request_size;
        if records.is_empty() {
            return Err(ProduceError::Empty);
        }
        if bytes > limit {
            return Err(ProduceError::TooLarge { partition: partition.clone(), bytes, limit });
        }
        let deadline = Instant::now() + self.0.config.delivery_timeout;
        let room = Arc::clone(&self.0.room).acquire_many_owned(u32::try_from(bytes).unwrap_or(u32::MAX));
        let room = match tokio::time::timeout_at(deadline, room).await {
            Ok(room) => room.map_err(|_| ProduceError::Closed)?,
            Err(_) => return Err(self.no_room(partition)),
        };
        let (answer, answered) = oneshot::channel();
        self.0.hand_over(partition, Job { records, bytes, deadline, answer, _room: room });
        answered.await.unwrap_or(Err(ProduceError::Closed))
    }

    /// How many partitions a topic has. Waits until the brokers tell, for at most `delivery.timeout.ms`.
    pub async fn partitions(&self, topic: &str) -> Result<i32, ProduceError> {
        let topic: Arc<str> = Arc::from(topic);
        let deadline = Instant::now() + self.0.config.delivery_timeout;
        self.0.cluster.follow_topic(&topic);
        let mut metadata = self.0.cluster.metadata();
        let known =
            metadata.wait_for(|known| known.topics.get(&topic).is_some_and(|topic| !topic.partitions.is_empty()));
        match tokio::time::timeout_at(deadline, known).await {
            Ok(Ok(known)) => {
                let count = known.topics.get(&topic).map_or(0, |topic| topic.partitions.len());
                Ok(i32::try_from(count).unwrap_or(i32::MAX))
            }
            Ok(Err(_)) => Err(ProduceError::Closed),
            Err(_) => {
                let partition = TopicPartition { topic, partition: 0 };
                let last = delivery::why_no_leader(&self.0.cluster, &partition);
                Err(ProduceError::NotAppended { partition, after: self.0.config.delivery_timeout, last })
            }
        }
    }

    /// The brokers and the connections to them.
    pub fn connections(&self) -> Vec<BrokerConnection> {
        self.0.cluster.connections()
    }

    /// Waits until every call so far is answered, which takes `delivery.timeout.ms` at most, and closes the producer and
    /// its clones. A producer that is dropped finishes what was handed over by itself.
    pub async fn close(self) {
        let all = u32::try_from(self.0.config.buffer_memory).unwrap_or(u32::MAX);
        let limit = self.0.config.delivery_timeout + CLOSE_MARGIN;
        // Every call that is not answered holds room. One that does not let go would have been a defect of its own.
        let _ = tokio::time::timeout(limit, self.0.room.acquire_many(all)).await;
        self.0.room.close();
        self.0.cluster.close();
    }

    fn no_room(&self, partition: &TopicPartition) -> ProduceError {
        let last = format!("buffer.memory, {} bytes, is full", self.0.config.buffer_memory);
        ProduceError::NotAppended { partition: partition.clone(), after: self.0.config.delivery_timeout, last }
    }
}

/// Beyond the deadline of the last call: its answer is on its way then.
const CLOSE_MARGIN: Duration = Duration::from_secs(1);

impl Inner {
    /// To the lane of the partition, which is opened when it is first needed and lives as long as the producer.
    fn hand_over(&self, partition: &TopicPartition, job: Job) {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let lane = lanes.entry(partition.clone()).or_insert_with(|| self.open_lane(partition));
        if let Err(mpsc::error::SendError(job)) = lane.send(job) {
            // The lane ended with a panic, or with the runtime it was on: its numbers are gone, so a new one asks for an id.
            let fresh = self.open_lane(partition);
            // A lane that was opened just now takes it.
            let _ = fresh.send(job);
            *lane = fresh;
        }
    }

    fn open_lane(&self, partition: &TopicPartition) -> mpsc::UnboundedSender<Job> {
        let (jobs, taken) = mpsc::unbounded_channel();
        self.cluster.follow_topic(&partition.topic);
        let lane = Lane::new(Arc::clone(&self.config), self.cluster.clone(), partition.clone());
        tokio::spawn(lane.run(taken));
        jobs
    }
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Producer")
    }
}
