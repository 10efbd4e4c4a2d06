//! A reader, one setting after the other.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kafka_proto::id::{Offset, TopicPartition};

use crate::client::config::{ClientConfig, ConfigMistake, Security, split_at_commas};
use crate::client::consumer::{AutoOffsetReset, BuildError, Consumer, ConsumerConfig};
use crate::client::reader::{Reader, StartAt};
use crate::client::request::IsolationLevel;

/// A reader may be asked as seldom as one likes.
const POLL_INTERVAL: Duration = Duration::from_hours(24 * 365 * 100);

/// Collects settings for a [`Reader`].
#[derive(Clone, Debug)]
#[must_use]
pub struct ReaderBuilder {
    config: ConsumerConfig,
    starts: BTreeMap<TopicPartition, StartAt>,
}

impl ReaderBuilder {
    pub(super) fn new() -> Self {
        let mut config = ConsumerConfig::new(ClientConfig::new(Vec::<String>::new()), "");
        config.auto_offset_reset = AutoOffsetReset::Earliest;
        Self { config, starts: BTreeMap::new() }
    }

    /// A partition to read, and where to begin.
    pub fn partition(mut self, partition: TopicPartition, start: StartAt) -> Self {
        self.starts.insert(partition, start);
        self
    }

    /// All that concerns the connections at once, for example as a consumer has it.
    pub fn client(mut self, client: ClientConfig) -> Self {
        self.config.client = client;
        self
    }

    /// `bootstrap.servers`: `host:port` each, or several with commas between them, as Kafka's setting is written.
    pub fn bootstrap_servers<S: Into<String>>(mut self, servers: impl IntoIterator<Item = S>) -> Self {
        self.config.client.bootstrap_servers = split_at_commas(servers);
        self
    }

    /// `client.id`.
    pub fn client_id(mut self, client_id: impl Into<String>) -> Self {
        self.config.client.client_id = client_id.into();
        self
    }

    /// `security.protocol`, with what belongs to it.
    pub fn security(mut self, security: Security) -> Self {
        self.config.client.security = security;
        self
    }

    /// `isolation.level`.
    pub fn isolation_level(mut self, level: IsolationLevel) -> Self {
        self.config.isolation_level = level;
        self
    }

    /// Where to go on when a position leaves the log: `earliest` unless set.
    pub fn auto_offset_reset(mut self, reset: AutoOffsetReset) -> Self {
        self.config.auto_offset_reset = reset;
        self
    }

    /// Any other setting of connections and fetching. Those of groups have no effect.
    pub fn configure(mut self, change: impl FnOnce(&mut ConsumerConfig)) -> Self {
        change(&mut self.config);
        self
    }

    /// Checks the settings and starts reading on the tokio runtime around the call. The network is not waited for.
    pub fn build(self) -> Result<Reader, BuildError> {
        let Self { mut config, starts } = self;
        if starts.is_empty() {
            let mistake = ConfigMistake::new("partitions", "is empty; name at least one partition to read");
            return Err(BuildError::Settings(vec![mistake]));
        }
        config.topics = topics_of(&starts);
        config.max_poll_interval = POLL_INTERVAL;
        let positions = starts.iter().map(|(partition, start)| (partition.clone(), known(*start))).collect();
        let config = Arc::new(config);
        let (consumer, cluster) = Consumer::without_group(Arc::clone(&config), starts)?;
        Ok(Reader { consumer, config, cluster, positions })
    }
}

fn topics_of(starts: &BTreeMap<TopicPartition, StartAt>) -> Vec<String> {
    let mut topics: Vec<String> = starts.keys().map(|partition| partition.topic.to_string()).collect();
    topics.dedup();
    topics
}

/// Only an offset is a position before the leader was asked.
fn known(start: StartAt) -> Option<Offset> {
    match start {
        StartAt::Offset(offset) => Some(offset),
        StartAt::Earliest | StartAt::Latest | StartAt::TimestampMs(_) => None,
    }
}
