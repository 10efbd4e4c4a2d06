//! What a consumer needs beside its connections: typed settings under Kafka's names, with Kafka's defaults unless said.

use std::sync::Arc;
use std::time::Duration;

use kafka_proto::assignor::AssignorKind;

use crate::client::config::{ClientConfig, ConfigMistake};
use crate::client::fetcher::FetchWait;
use crate::client::request::IsolationLevel;

/// Settings of one consumer. Start from [`ConsumerConfig::new`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConsumerConfig {
    /// The connections.
    pub client: ClientConfig,
    /// `group.id`.
    pub group_id: String,
    /// `group.instance.id` (KIP-345): a member with one keeps its partitions over a restart within the session timeout.
    pub group_instance_id: Option<String>,
    /// The topics to subscribe to.
    pub topics: Vec<String>,
    /// `partition.assignment.strategy`, most wanted first; the default is `range`.
    pub partition_assignment_strategy: Vec<AssignorKind>,
    /// `session.timeout.ms`, 45 s: without a heartbeat for so long, the group gives the partitions away.
    pub session_timeout: Duration,
    /// `heartbeat.interval.ms`, 3 s.
    pub heartbeat_interval: Duration,
    /// A tenth of the session timeout: how long before its end this member stops acting by itself.
    pub session_fence_margin: Option<Duration>,
    /// `max.poll.interval.ms`, 5 min: the longest time between two calls of `Consumer::next`.
    pub max_poll_interval: Duration,
    /// 10 s: how long the application may take to answer a revocation; never more than the rebalance allows.
    pub revocation_timeout: Duration,
    /// `default.api.timeout.ms`, 60 s: the deadline of a commit that names none.
    pub default_api_timeout: Duration,
    /// `auto.offset.reset`, `latest`.
    pub auto_offset_reset: AutoOffsetReset,
    /// `isolation.level`; here the default is `read_committed`.
    pub isolation_level: IsolationLevel,
    /// `corrupt.batch.policy`, `park`: what to do with a batch that cannot be read.
    pub corrupt_batch_policy: CorruptBatchPolicy,
    /// `client.rack` (KIP-392).
    pub client_rack: Option<String>,
    /// `fetch.min.bytes`, 1.
    pub fetch_min_bytes: usize,
    /// `fetch.max.bytes`, here 2 MiB: of one response. More keeps a distant broker busy, and costs three times as much memory.
    pub fetch_max_bytes: usize,
    /// `fetch.max.wait.ms`, 500 ms: how long a fetch may wait at a broker for `fetch.min.bytes`.
    pub fetch_max_wait: Duration,
    /// How long a fetch may wait in the end, where again and again nothing comes; `None`: never longer than
    /// [`ConsumerConfig::fetch_max_wait`]. [`Properties`](crate::client::Properties) that do not name `fetch.max.wait.ms` make it
    /// 5 s. Has no effect unless `fetch.min.bytes` is at most 1: what arrives is answered at once.
    pub fetch_idle_wait: Option<Duration>,
    /// `max.partition.fetch.bytes`, 1 MiB: of one partition in one response, unless one batch alone is larger.
    pub max_partition_fetch_bytes: usize,
    /// `queued.max.bytes.per.partition`, 2 MiB: with so much waiting, a partition is not fetched.
    pub queued_max_bytes_per_partition: usize,
    /// `queued.max.bytes`, 16 MiB: with so much waiting, nothing is fetched.
    pub queued_max_bytes: usize,
    /// 64 MiB: the largest batch after decompression.
    pub decompressed_batch_max_bytes: usize,
}

/// `auto.offset.reset`: where to read without a valid committed offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum AutoOffsetReset {
    /// At the end: only what is written from then on.
    #[default]
    Latest,
    /// At the start of the log.
    Earliest,
    /// Nowhere: the partition is parked and says so.
    None,
    /// `by_duration:PT…` (KIP-1106): at the first record that is not older than this.
    ByDuration(Duration),
}

/// What to do with a batch that cannot be read, also after it was fetched again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum CorruptBatchPolicy {
    /// Stop the partition, and say so in the snapshot: somebody should look before records are lost.
    #[default]
    Park,
    /// Pass over it with an `Event::Skipped`. A batch whose end is unknown parks all the same.
    Skip,
}

impl ConsumerConfig {
    /// `fetch.max.wait.ms` where nobody sets it.
    pub(crate) const FETCH_MAX_WAIT: Duration = Duration::from_millis(500);

    /// The defaults.
    pub fn new(client: ClientConfig, group_id: impl Into<String>) -> Self {
        Self {
            client,
            group_id: group_id.into(),
            group_instance_id: None,
            topics: Vec::new(),
            partition_assignment_strategy: vec![AssignorKind::Range],
            session_timeout: Duration::from_secs(45),
            heartbeat_interval: Duration::from_secs(3),
            session_fence_margin: None,
            max_poll_interval: Duration::from_mins(5),
            revocation_timeout: Duration::from_secs(10),
            default_api_timeout: Duration::from_mins(1),
            auto_offset_reset: AutoOffsetReset::Latest,
            isolation_level: IsolationLevel::ReadCommitted,
            corrupt_batch_policy: CorruptBatchPolicy::Park,
            client_rack: None,
            fetch_min_bytes: 1,
            fetch_max_bytes: 2 * 1024 * 1024,
            fetch_max_wait: Self::FETCH_MAX_WAIT,
            fetch_idle_wait: None,
            max_partition_fetch_bytes: 1024 * 1024,
            queued_max_bytes_per_partition: 2 * 1024 * 1024,
            queued_max_bytes: 16 * 1024 * 1024,
            decompressed_batch_max_bytes: 64 * 1024 * 1024,
        }
    }

    /// Every mistake, those of the connections included.
    pub fn validate(&self) -> Result<(), Vec<ConfigMistake>> {
        let mut mistakes = self.client.validate().err().unwrap_or_default();
        let required = [
            (self.group_id.is_empty(), "group.id", "is empty"),
            (self.topics.is_empty(), "topics", "is empty; name at least one topic"),
            (self.topics.iter().any(String::is_empty), "topics", "holds an empty name"),
            (self.partition_assignment_strategy.is_empty(), "partition.assignment.strategy", "is empty"),
            (self.heartbeat_interval.is_zero(), "heartbeat.interval.ms", "is 0"),
            (self.max_poll_interval.is_zero(), "max.poll.interval.ms", "is 0"),
            (self.fetch_max_bytes == 0, "fetch.max.bytes", "is 0"),
            (self.max_partition_fetch_bytes == 0, "max.partition.fetch.bytes", "is 0"),
            (self.queued_max_bytes == 0, "queued.max.bytes", "is 0"),
            (self.queued_max_bytes_per_partition == 0, "queued.max.bytes.per.partition", "is 0"),
        ];
        let wrong = required.into_iter().filter(|(wrong, ..)| *wrong);
        mistakes.extend(wrong.map(|(_, setting, what)| ConfigMistake::new(setting, what)));
        if self.heartbeat_interval.saturating_mul(3) > self.session_timeout {
            let problem = format!(
                "{} ms leaves no room for two lost heartbeats in a session of {} ms",
                self.heartbeat_interval.as_millis(),
                self.session_timeout.as_millis()
            );
            mistakes.push(ConfigMistake::new("heartbeat.interval.ms", problem));
        }
        if self.fetch_max_bytes > self.client.receive_message_max_bytes {
            let problem = format!("{} is more than receive.message.max.bytes", self.fetch_max_bytes);
            mistakes.push(ConfigMistake::new("fetch.max.bytes", problem));
        }
        if mistakes.is_empty() { Ok(()) } else { Err(mistakes) }
    }

    /// How long fetches wait. More than the first byte is not waited for longer than asked.
    pub(crate) fn fetch_wait(&self) -> FetchWait {
        let longest = self.fetch_idle_wait.filter(|_| self.fetch_min_bytes <= 1);
        FetchWait::new(self.fetch_max_wait, longest.unwrap_or(self.fetch_max_wait))
    }

    pub(crate) fn fence_margin(&self) -> Duration {
        self.session_fence_margin.unwrap_or(self.session_timeout / 10)
    }

    pub(crate) fn topic_names(&self) -> Vec<Arc<str>> {
        self.topics.iter().map(|topic| Arc::from(topic.as_str())).collect()
    }
}
