//! An in-process Kafka broker double on loopback, with fault injection.
//!
//! What lives here: a [`Cluster`] of one or more brokers that speak the Kafka protocol over real TCP, plain or TLS, with
//! or without SASL; a DNS server double ([`dns`]); an HTTP target double ([`target`]). Each runs on a thread and a clock of
//! its own, so a test may block, pause its own clock or use any runtime without disturbing it.
//!
//! What is promised: answers and error codes are those a Kafka 4 broker gives on the same request; group membership is
//! the real classic protocol with real timers; one request at a time is in process per connection, as in Kafka.
//!
//! What is deliberately absent: replication, retention, quotas, the KIP-848 protocol, transactions over the wire (a test
//! writes them with [`Cluster::begin_transaction`]), disk.
//!
//! ```
//! use kafka_broker_double::{ApiKey, Cluster, ResponseError};
//!
//! let cluster = Cluster::builder().brokers(3).topic("alerts", 4).start();
//! cluster.produce("alerts", 0, ["one", "two"]);
//! cluster.on(ApiKey::Fetch).times(2).error(ResponseError::NotLeaderOrFollower);
//! assert_eq!(cluster.log_end("alerts", 0), 2);
//! println!("{}", cluster.bootstrap());
//! ```

mod api;
mod background;
mod batch;
mod cluster;
mod connection;
pub mod dns;
mod fault;
mod group;
pub mod incidents;
mod journal;
mod log;
mod node;
mod sasl;
mod state;
pub mod target;
mod tls;
mod topic;
mod wire;

pub use batch::{Batch, Record};
pub use cluster::{Builder, Cluster, Transaction};
pub use fault::{FaultBuilder, FaultHandle};
pub use group::{GroupSnapshot, GroupState, MemberSnapshot};
pub use journal::SeenRequest;
pub use kafka_protocol::{ResponseError, messages, messages::ApiKey};
pub use log::AppendError;
pub use sasl::Mechanism;
pub use state::{CommittedOffset, Security};
pub use tls::{Authority, Certificate, Identity, PemPair};
pub use wire::{Request, Response};
