//! A Kafka consumer in pure Rust: groups, SASL over TLS, IPv4 only, commits tied to ownership.
//!
//! One task calls [`Consumer::next`] and gets one stream of [`Event`]s; records come in batches, as they lie in the log.
//! Whatever changes what the application may do, or which records it sees, is an event: partitions that come
//! ([`Event::Assigned`]) and go ([`Event::Revoking`], [`Event::Lost`]), positions that were not kept
//! ([`Event::OffsetReset`], [`Event::Truncated`], [`Event::Skipped`]). [`Event`] is exhaustive, so a `match` without a
//! wildcard has thought of all of them.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use kafka_consumer::client::{Commit, Consumer, Event, PasswordSource, SaslMechanism, SaslSettings, Security, TlsSettings};
//!
//! # fn process(_: &kafka_consumer::client::Record<'_>) {}
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let sasl = SaslSettings {
//!     mechanism: SaslMechanism::ScramSha512,
//!     username: "sre".to_owned(),
//!     password: PasswordSource::from("secret"),
//! };
//! let mut consumer = Consumer::builder()
//!     .bootstrap_servers(["broker1.example:9096", "broker2.example:9096"])
//!     .group_id("remediation")
//!     .topics(["incidents"])
//!     .security(Security::SaslSsl(sasl, TlsSettings::default()))
//!     .build()?;
//! let handle = consumer.handle();
//!
//! loop {
//!     match consumer.next().await? {
//!         Event::Records(records) => {
//!             for record in &records {
//!                 // The guard right before every effect on the world: false once the partition may be another member's.
//!                 if records.ownership().check().is_ok() {
//!                     process(&record);
//!                 }
//!             }
//!             let mut done = Commit::new();
//!             done.processed(&records);
//!             let report = handle.commit(done).await?;
//!             for dropped in report.dropped {
//!                 eprintln!("not committed: {dropped:?}");
//!             }
//!         }
//!         Event::Assigned { partitions } => println!("mine: {partitions:?}"),
//!         // The last moment to commit; dropping the value lets the rebalance go on.
//!         Event::Revoking(revocation) => revocation.done(),
//!         Event::Lost { partitions, cause } => println!("lost {partitions:?}: {cause}"),
//!         event @ (Event::OffsetReset { .. } | Event::Truncated { .. } | Event::Skipped { .. }) => println!("{event:?}"),
//!     }
//!     # break;
//! }
//! consumer.close(Duration::from_secs(10)).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Ownership and commits
//! A partition under one assignment is an [`Ownership`]. [`Ownership::check`] fails as soon as a revocation begins, the
//! partition is lost, or no heartbeat succeeded within `session.timeout.ms` less a margin, the last one by the clock alone:
//! a process that was paused finds out in its first check. A [`Commit`] carries the ownership that each offset was read
//! under; what is not owned any more is reported in [`CommitReport::dropped`] and never sent, because the broker would take
//! it. There are no automatic commits.
//!
//! # Cancellation, pace, memory
//! [`Consumer::next`] is cancel-safe and may stand in a `select!`. Not calling it for `max.poll.interval.ms` (KIP-62) makes
//! the member leave the group until it is called again; waiting inside counts as calling. What is fetched ahead waits
//! compressed, bounded by `queued.max.bytes` and `queued.max.bytes.per.partition`; batches are decompressed by the task that
//! calls `next`, each to at most [`ConsumerConfig::decompressed_batch_max_bytes`]. [`ConsumerHandle::pause`] keeps what was
//! fetched. [`Record`]s borrow from their batch: copy what must outlive it.
//!
//! # Errors
//! What passes is tried again with back-off and shows in [`ConsumerHandle::snapshot`]: per partition whether it is fetched
//! and why not, per connection its last error, the state of the group. How it came to that is in
//! [`ConsumerHandle::flight_recorder`]: the newest decisive steps of the protocol, which are also written into the log when the
//! consumer fences itself or ends. Only what an operator must change ends the consumer, as a [`FatalError`] that every
//! further call returns.
//!
//! # Units and names
//! Settings have Kafka's names, with underscores; durations are [`Duration`](std::time::Duration), sizes are bytes,
//! timestamps are milliseconds since 1970, offsets to commit are the next ones to read.

mod admin;
mod cluster;
mod config;
mod connection;
mod consumer;
mod dial;
mod event;
mod examine;
mod fetcher;
mod flight;
mod group;
mod offsets;
mod ownership;
mod probe;
mod producer;
mod properties;
mod queue;
mod reader;
mod request;
mod resolver;
mod sasl;
mod snapshot;
pub(crate) mod tls;

pub use admin::{Admin, AdminError, NewTopic, TopicCreation, TopicDescription};
pub use cluster::{BrokerConnection, ConnectionState, CoordinatorError, Purpose};
pub use config::{
    ClientConfig, ClientIdentity, ConfigMistake, HostPort, PasswordError, PasswordSource, SaslMechanism, SaslSettings,
    Secret, Security, TlsSettings,
};
#[cfg(fuzzing)]
pub use connection::read_as_answer;
pub use connection::{CloseCause, ConnectError, RequestError};
pub use consumer::{
    AutoOffsetReset, BuildError, CloseError, Consumer, ConsumerBuilder, ConsumerConfig, ConsumerHandle,
    CorruptBatchPolicy, FatalError,
};
pub use dial::{DialError, DialFailure};
pub use event::{BatchRecords, Event, LostCause, Records, ResetCause, Revocation, SkipCause};
pub use examine::{Examiner, Login, PartitionView, TlsSession};
#[cfg(feature = "service")]
pub(crate) use examine::{addresses_of, shake_hands};
pub use flight::{FlightEntry, FlightStep};
pub use kafka_proto::assignor::AssignorKind;
pub use kafka_proto::compression::Codec;
pub use kafka_proto::error_code::ErrorCode;
pub use kafka_proto::id::{BrokerId, Generation, LeaderEpoch, Offset, TopicPartition};
pub use kafka_proto::membership::FatalCause;
pub use kafka_proto::record::{Header, Headers, Record};
pub use offsets::{Commit, CommitError, CommitReport, CommittedOffset, DropCause, DroppedOffset, RejectedOffset};
pub use ownership::{NotOwned, Ownership};
pub use probe::{Probe, Reached, probe};
pub use producer::{Appended, ProduceError, Producer, ProducerBuilder, ProducerConfig, ProducerRecord};
pub use properties::{AppliedProperties, Properties, PropertiesError, PropertyNote};
pub use reader::{EndsUnknown, ReadEvent, Reader, ReaderBuilder, StartAt};
pub use request::{ApiKey, IsolationLevel, Malformed, TopicId, VersionRange};
pub use resolver::{ResolveError, Resolved, Resolver};
pub use sasl::SaslError;
pub use snapshot::{Counters, FetchState, GroupSnapshot, ParkCause, PartitionSnapshot, Snapshot};
pub use tls::TlsError;
