//! A producer, one setting after the other.

use std::time::Duration;

use kafka_proto::compression::Codec;

use crate::client::config::{ClientConfig, Security, split_at_commas};
use crate::client::consumer::BuildError;
use crate::client::producer::{Producer, ProducerConfig};

/// Collects settings for a [`Producer`]. What has no method here is a field of [`ProducerConfig`], to be reached by
/// [`ProducerBuilder::configure`].
#[derive(Clone, Debug)]
#[must_use]
pub struct ProducerBuilder {
    config: ProducerConfig,
}

impl ProducerBuilder {
    pub(super) fn new() -> Self {
        Self { config: ProducerConfig::new(ClientConfig::new(Vec::<String>::new())) }
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

    /// `delivery.timeout.ms`.
    pub fn delivery_timeout(mut self, timeout: Duration) -> Self {
        self.config.delivery_timeout = timeout;
        self
    }

    /// `compression.type`.
    pub fn compression(mut self, codec: Codec) -> Self {
        self.config.compression = codec;
        self
    }

    /// Any other setting.
    pub fn configure(mut self, change: impl FnOnce(&mut ProducerConfig)) -> Self {
        change(&mut self.config);
        self
    }

    /// Checks the settings and starts the producer on the tokio runtime around the call. The network is not waited for.
    pub fn build(self) -> Result<Producer, BuildError> {
        Producer::new(self.config)
    }
}
