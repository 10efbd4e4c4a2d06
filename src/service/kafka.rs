//! The section `kafka` as the client takes it. Pure, but for the password, which is read at every login.

use std::time::Duration;

use kafka_proto::assignor::AssignorKind;
use tokio::runtime::Handle;

use crate::client::{
    self, AutoOffsetReset, ClientConfig, ClientIdentity, ConsumerConfig, PasswordError, PasswordSource, ProducerConfig,
    SaslSettings, TlsSettings,
};
use crate::config::{
    Assignor, Config, IsolationLevel, Kafka, OffsetReset, Sasl, SaslMechanism, Security, SecurityProtocol,
};
use crate::secret::{SecretText, Secrets};

/// For one call, before `/readyz` says that dead letters wait; the call is repeated.
const LETTERS_WITHIN: Duration = Duration::from_secs(10);
/// What a dead letter says about itself, and room for the key and headers of its record.
const LETTER_EXTRA_BYTES: usize = 1024 * 1024;

/// Everything that the consumer needs. `username` is the resolved user, `host` names this machine.
pub(super) fn consumer(kafka: &Kafka, secrets: &Secrets, username: &str, host: &str) -> ConsumerConfig {
    let mut consumer = ConsumerConfig::new(client(kafka, secrets, username, host), kafka.group_id.clone());
    consumer.topics.clone_from(&kafka.topics);
    consumer.group_instance_id.clone_from(&kafka.group_instance_id);
    if let Some(assignors) = &kafka.assignors {
        consumer.partition_assignment_strategy = assignors.iter().map(|assignor| kind(*assignor)).collect();
    }
    consumer.session_timeout = kafka.session_timeout;
    consumer.heartbeat_interval = kafka.heartbeat_interval;
    consumer.max_poll_interval = kafka.max_poll_interval;
    consumer.auto_offset_reset = match kafka.auto_offset_reset {
        OffsetReset::Latest => AutoOffsetReset::Latest,
        OffsetReset::Earliest => AutoOffsetReset::Earliest,
        OffsetReset::None => AutoOffsetReset::None,
        OffsetReset::ByDuration(duration) => AutoOffsetReset::ByDuration(duration),
    };
    consumer.isolation_level = match kafka.isolation_level {
        IsolationLevel::ReadCommitted => client::IsolationLevel::ReadCommitted,
        IsolationLevel::ReadUncommitted => client::IsolationLevel::ReadUncommitted,
    };
    consumer.client_rack.clone_from(&kafka.client_rack);
    consumer.fetch_min_bytes = size(kafka.fetch_min_bytes);
    consumer.fetch_max_bytes = size(kafka.fetch_max_bytes);
    consumer.max_partition_fetch_bytes = size(kafka.max_partition_fetch_bytes);
    consumer.fetch_max_wait = kafka.fetch_max_wait;
    consumer
}

/// What appends dead letters. Each is at most `record_bytes` and what it says about itself.
pub(super) fn letters(config: &Config, secrets: &Secrets, username: &str, host: &str) -> ProducerConfig {
    let mut producer = ProducerConfig::new(client(&config.kafka, secrets, username, host));
    producer.delivery_timeout = LETTERS_WITHIN;
    producer.max_request_size = config.limits.max_record_bytes.saturating_mul(2).saturating_add(LETTER_EXTRA_BYTES);
    producer.buffer_memory = producer.buffer_memory.max(producer.max_request_size);
    producer
}

/// What every connection to the brokers needs.
pub(super) fn client(kafka: &Kafka, secrets: &Secrets, username: &str, host: &str) -> ClientConfig {
    let mut client = ClientConfig::new(kafka.brokers.iter().cloned());
    client.client_id = kafka.client_id.clone().unwrap_or_else(|| host.to_owned());
    client.security = security(&kafka.security, secrets, username);
    client.request_timeout = kafka.request_timeout;
    client.socket_connection_setup_timeout = kafka.socket_connection_setup_timeout;
    client.reconnect_backoff = kafka.reconnect_backoff;
    client.reconnect_backoff_max = kafka.reconnect_backoff_max;
    client.retry_backoff = kafka.retry_backoff;
    client.retry_backoff_max = kafka.retry_backoff_max;
    client.metadata_max_age = kafka.metadata_max_age;
    client.connections_max_idle = kafka.connections_max_idle;
    client.receive_message_max_bytes = size(kafka.receive_message_max_bytes);
    client
}

fn security(security: &Security, secrets: &Secrets, username: &str) -> client::Security {
    let tls = TlsSettings {
        ca_location: security.ca_location.clone(),
        ca_pem: None,
        client_identity: security
            .client_identity
            .clone()
            .map(|(certificate_location, key_location)| ClientIdentity { certificate_location, key_location }),
    };
    let sasl = security.sasl.as_ref().map(|sasl| credentials(sasl, secrets, username));
    match (security.protocol, sasl) {
        (SecurityProtocol::Ssl, _) => client::Security::Ssl(tls),
        (SecurityProtocol::SaslSsl, Some(sasl)) => client::Security::SaslSsl(sasl, tls),
        (SecurityProtocol::SaslPlaintext, Some(sasl)) => client::Security::SaslPlaintext(sasl),
        // Credentials are required by the configuration where the protocol sends some.
        (SecurityProtocol::Plaintext | SecurityProtocol::SaslPlaintext | SecurityProtocol::SaslSsl, _) => {
            client::Security::Plaintext
        }
    }
}

fn credentials(sasl: &Sasl, secrets: &Secrets, username: &str) -> SaslSettings {
    SaslSettings {
        mechanism: match sasl.mechanism {
            SaslMechanism::ScramSha512 => client::SaslMechanism::ScramSha512,
            SaslMechanism::Plain => client::SaslMechanism::Plain,
        },
        username: username.to_owned(),
        password: password(sasl.password.clone(), secrets.clone()),
    }
}

/// Asked for at every login and let go of when it was refused, so that a rotated password is found; the client asks from a thread that may wait.
fn password(text: SecretText, secrets: Secrets) -> PasswordSource {
    let runtime = Handle::try_current();
    let (refused, of) = (text.clone(), secrets.clone());
    PasswordSource::from_fn(move || {
        let runtime = runtime.as_ref().map_err(|error| PasswordError(error.to_string()))?;
        runtime.block_on(text.resolve(&secrets)).map_err(|error| PasswordError(error.to_string()))
    })
    .on_refused(move || refused.names().for_each(|name| of.refused(name)))
}

fn kind(assignor: Assignor) -> AssignorKind {
    match assignor {
        Assignor::Range => AssignorKind::Range,
        Assignor::Sticky => AssignorKind::Sticky,
        Assignor::CooperativeSticky => AssignorKind::CooperativeSticky,
    }
}

fn size(bytes: u32) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
