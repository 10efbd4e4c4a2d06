//! A Kafka consumer in pure Rust: groups, `SASL_SSL`, IPv4 only, commits tied to ownership.

mod cluster;
mod config;
mod connection;
mod consumer;
mod dial;
mod event;
mod fetcher;
mod group;
mod offsets;
mod ownership;
mod probe;
mod queue;
mod request;
mod resolver;
mod sasl;
mod snapshot;
pub(crate) mod tls;

pub use cluster::{BrokerConnection, ConnectionState, CoordinatorError, Purpose};
pub use config::{
    ClientConfig, ClientIdentity, ConfigMistake, HostPort, PasswordError, PasswordSource, SaslMechanism, SaslSettings,
    Secret, Security, TlsSettings,
};
pub use connection::{CloseCause, ConnectError, RequestError};
pub use consumer::{
    AutoOffsetReset, BuildError, CloseError, Consumer, ConsumerBuilder, ConsumerConfig, ConsumerHandle,
    CorruptBatchPolicy, FatalError,
};
pub use dial::{DialError, DialFailure};
pub use event::{BatchRecords, Event, LostCause, Records, ResetCause, Revocation, SkipCause};
pub use kafka_proto::assignor::AssignorKind;
pub use kafka_proto::error_code::ErrorCode;
pub use kafka_proto::id::{BrokerId, Generation, LeaderEpoch, Offset, TopicPartition};
pub use kafka_proto::membership::FatalCause;
pub use kafka_proto::record::{Header, Headers, Record};
pub use offsets::{Commit, CommitError, CommitReport, CommittedOffset, DropCause, DroppedOffset, RejectedOffset};
pub use ownership::{NotOwned, Ownership};
pub use probe::{Probe, Reached, probe};
pub use request::{ApiKey, IsolationLevel, Malformed, TopicId, VersionRange};
pub use resolver::{ResolveError, Resolved, Resolver};
pub use sasl::SaslError;
pub use snapshot::{Counters, FetchState, GroupSnapshot, ParkCause, PartitionSnapshot, Snapshot};
pub use tls::TlsError;
