//! What a producer needs beside its connections: typed settings under Kafka's names.

use std::time::Duration;

use kafka_proto::compression::Codec;

use crate::client::config::{ClientConfig, ConfigMistake};

/// Settings of one producer. Start from [`ProducerConfig::new`]. `acks` is always `all`, `enable.idempotence` always on,
/// and one batch is in flight per partition, so that no setting can give up order or append a record twice.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ProducerConfig {
    /// The connections.
    pub client: ClientConfig,
    /// `delivery.timeout.ms`, 120 s: from the call of `Producer::send` to its answer, all tries included.
    pub delivery_timeout: Duration,
    /// `compression.type`, `none`. Brokers before 2.1 do not take `zstd`.
    pub compression: Codec,
    /// `batch.size`, here 512 KiB: what waits while a batch is in flight is appended as one, up to this size before
    /// compression. Nothing waits for a batch to become full (`linger.ms` is 0).
    pub batch_size: usize,
    /// `max.request.size`, 1 MiB: the records of one call may not be larger, before compression.
    pub max_request_size: usize,
    /// `buffer.memory`, 32 MiB: when so much was handed over and is not answered, further calls wait.
    pub buffer_memory: usize,
}

impl ProducerConfig {
    /// The defaults.
    pub fn new(client: ClientConfig) -> Self {
        Self {
            client,
            delivery_timeout: Duration::from_mins(2),
            compression: Codec::None,
            batch_size: 512 * 1024,
            max_request_size: 1024 * 1024,
            buffer_memory: 32 * 1024 * 1024,
        }
    }

    /// Every mistake, those of the connections included.
    pub fn validate(&self) -> Result<(), Vec<ConfigMistake>> {
        let mut mistakes = self.client.validate().err().unwrap_or_default();
        let largest = usize::try_from(i32::MAX).unwrap_or(usize::MAX);
        let wrong = [
            (self.delivery_timeout.is_zero(), "delivery.timeout.ms", "is 0".to_owned()),
            (self.batch_size == 0, "batch.size", "is 0".to_owned()),
            (
                self.max_request_size == 0 || self.max_request_size > largest,
                "max.request.size",
                format!("{} is not between 1 and {largest}", self.max_request_size),
            ),
            (
                self.buffer_memory < self.max_request_size || self.buffer_memory > largest,
                "buffer.memory",
                format!(
                    "{} is not between max.request.size, {}, and {largest}",
                    self.buffer_memory, self.max_request_size
                ),
            ),
        ];
        let wrong = wrong.into_iter().filter(|(wrong, ..)| *wrong);
        mistakes.extend(wrong.map(|(_, setting, problem)| ConfigMistake::new(setting, problem)));
        if mistakes.is_empty() { Ok(()) } else { Err(mistakes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_is_named_at_once() {
        let mut config = ProducerConfig::new(ClientConfig::new(["b:1"]));
        assert_eq!(config.validate(), Ok(()));
        config.batch_size = 0;
        config.buffer_memory = 10;
        let named: Vec<_> = config.validate().unwrap_err().into_iter().map(|mistake| mistake.setting).collect();
        assert_eq!(named, ["batch.size", "buffer.memory"]);
    }
}
