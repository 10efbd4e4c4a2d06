//! A consumer, one setting after the other.

use std::time::Duration;

use kafka_proto::assignor::AssignorKind;

use crate::client::config::{ClientConfig, Security, split_at_commas};
use crate::client::consumer::config::{AutoOffsetReset, ConsumerConfig};
use crate::client::consumer::{BuildError, Consumer};
use crate::client::properties::{AppliedProperties, Properties, PropertiesError};
use crate::client::request::IsolationLevel;

/// Collects settings for a [`Consumer`]. What has no method here is a field of [`ConsumerConfig`], to be reached by
/// [`ConsumerBuilder::configure`].
#[derive(Clone, Debug)]
#[must_use]
pub struct ConsumerBuilder {
    config: ConsumerConfig,
}

impl ConsumerBuilder {
    pub(crate) fn new() -> Self {
        Self { config: ConsumerConfig::new(ClientConfig::new(Vec::<String>::new()), "") }
    }

    /// `bootstrap.servers`: `host:port` each, or several with commas between them, as Kafka's setting is written.
    pub fn bootstrap_servers<S: Into<String>>(mut self, servers: impl IntoIterator<Item = S>) -> Self {
        self.config.client.bootstrap_servers = split_at_commas(servers);
        self
    }

    /// `group.id`.
    pub fn group_id(mut self, group_id: impl Into<String>) -> Self {
        self.config.group_id = group_id.into();
        self
    }

    /// `group.instance.id`.
    pub fn group_instance_id(mut self, id: impl Into<String>) -> Self {
        self.config.group_instance_id = Some(id.into());
        self
    }

    /// The topics to subscribe to.
    pub fn topics<S: Into<String>>(mut self, topics: impl IntoIterator<Item = S>) -> Self {
        self.config.topics = topics.into_iter().map(Into::into).collect();
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

    /// `partition.assignment.strategy`, most wanted first.
    pub fn partition_assignment_strategy(mut self, assignors: impl IntoIterator<Item = AssignorKind>) -> Self {
        self.config.partition_assignment_strategy = assignors.into_iter().collect();
        self
    }

    /// `session.timeout.ms`.
    pub fn session_timeout(mut self, timeout: Duration) -> Self {
        self.config.session_timeout = timeout;
        self
    }

    /// `max.poll.interval.ms`.
    pub fn max_poll_interval(mut self, interval: Duration) -> Self {
        self.config.max_poll_interval = interval;
        self
    }

    /// `auto.offset.reset`.
    pub fn auto_offset_reset(mut self, reset: AutoOffsetReset) -> Self {
        self.config.auto_offset_reset = reset;
        self
    }

    /// `isolation.level`.
    pub fn isolation_level(mut self, level: IsolationLevel) -> Self {
        self.config.isolation_level = level;
        self
    }

    /// Everything that a properties file says, under the names of Kafka's Java clients or of librdkafka. What it leaves
    /// open stays; what has no effect is among the warnings.
    pub fn properties(mut self, properties: &Properties) -> Result<(Self, AppliedProperties), PropertiesError> {
        let applied = properties.apply(&mut self.config)?;
        Ok((self, applied))
    }

    /// Any other setting.
    pub fn configure(mut self, change: impl FnOnce(&mut ConsumerConfig)) -> Self {
        change(&mut self.config);
        self
    }

    /// Checks the settings and starts the consumer on the tokio runtime around the call. The network is not waited for:
    /// what is wrong there shows in `Consumer::next` and in the snapshot, and is tried again.
    pub fn build(self) -> Result<Consumer, BuildError> {
        Consumer::new(self.config)
    }
}
