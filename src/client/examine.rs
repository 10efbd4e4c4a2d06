//! One look at one layer: name, address, TLS, login, topics, group. For people who want to know why a client does not work.
//!
//! Nothing is retried, nothing is kept, nothing is changed: no group is joined, no offset committed, no topic created.
//! [`probe`](crate::client::probe) tells of all layers of a server at once; here each is asked for by itself.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::client::admin::settings_of;
use crate::client::config::{ClientConfig, ConfigMistake, HostPort};
use crate::client::connection::{ConnectError, Connection, Connector, Load, RequestError};
use crate::client::dial::{self, DialError};
use crate::client::request::IsolationLevel;
use crate::client::request::find_coordinator::FindCoordinator;
use crate::client::request::list_offsets::{ListOffsets, OffsetSpec, WantedOffset};
use crate::client::request::metadata::{GetMetadata, MetadataAnswer};
use crate::client::request::offset_fetch::OffsetFetch;
use crate::client::resolver::ResolveError;
use crate::client::tls::Tls;
use crate::client::{ErrorCode, TlsError, TlsSettings, TopicPartition};

/// Looks with one configuration.
pub struct Examiner {
    config: Arc<ClientConfig>,
    connector: Connector,
}

impl std::fmt::Debug for Examiner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Examiner")
    }
}

/// What a TLS handshake came to.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TlsSession {
    /// For example `TLSv1_3`.
    pub version: String,
    /// The server's certificates in DER, its own first.
    pub chain: Vec<Vec<u8>>,
}

/// A server that has let us in.
#[derive(Debug)]
pub struct Login(Connection, Duration);

/// One partition, as the brokers and the group's committed offset show it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PartitionView {
    /// Which.
    pub partition: TopicPartition,
    /// Where its leader listens; `None`: it has none.
    pub leader: Option<HostPort>,
    /// How many replicas it has.
    pub replicas: usize,
}

impl Login {
    /// The address that answered.
    pub fn address(&self) -> SocketAddrV4 {
        self.0.peer().address
    }

    async fn metadata(&self, topics: &[String]) -> Result<MetadataAnswer, RequestError> {
        let topics = topics.iter().map(|topic| Arc::from(topic.as_str())).collect();
        self.0.request(GetMetadata { topics: Some(topics) }, self.1).await
    }

    /// The partitions of `topics` with their leaders, and each topic that is in error. Never creates one.
    pub async fn topics(
        &self,
        topics: &[String],
    ) -> Result<(Vec<PartitionView>, Vec<(String, ErrorCode)>), RequestError> {
        let answer = self.metadata(topics).await?;
        let listens = |id| {
            let broker = answer.brokers.iter().find(|broker| broker.id == id)?;
            Some(HostPort { host: broker.host.clone(), port: broker.port })
        };
        let (mut partitions, mut wrong) = (Vec::new(), Vec::new());
        for topic in &answer.topics {
            if topic.error != ErrorCode::None {
                wrong.push((topic.name.to_string(), topic.error));
            }
            partitions.extend(topic.partitions.iter().map(|partition| PartitionView {
                partition: TopicPartition { topic: Arc::clone(&topic.name), partition: partition.partition },
                leader: partition.leader.and_then(listens),
                replicas: partition.replicas.len(),
            }));
        }
        Ok((partitions, wrong))
    }

    /// The settings of a topic that are in force, by Kafka's names: of those that are asked for, the ones that have a value.
    pub async fn settings(&self, topic: &str, names: &[&str]) -> Result<BTreeMap<String, String>, String> {
        let answer = self.0.request(settings_of(topic, names), self.1).await.map_err(|error| error.to_string())?;
        match answer {
            Some(answer) if answer.error == ErrorCode::None => Ok(answer.settings),
            Some(answer) => Err(answer.error.name().to_owned()),
            None => Err("the answer does not name the topic".to_owned()),
        }
    }

    /// Where the coordinator of a group listens.
    pub async fn coordinator(&self, group: &str) -> Result<HostPort, String> {
        let answer = self.0.request(FindCoordinator { group_id: group.to_owned() }, self.1).await;
        let answer = answer.map_err(|error| error.to_string())?;
        if answer.error != ErrorCode::None {
            let more = answer.message.map(|message| format!(": {message}")).unwrap_or_default();
            return Err(format!("{}{more}", answer.error.name()));
        }
        Ok(HostPort { host: answer.coordinator.host.clone(), port: answer.coordinator.port })
    }

    /// The committed offset of each partition; asks the coordinator, which this must be. Joins nothing.
    pub async fn committed(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<Vec<(TopicPartition, Option<i64>)>, String> {
        let ask = OffsetFetch { group_id: group.to_owned(), partitions: partitions.to_vec(), require_stable: false };
        let answer = self.0.request(ask, self.1).await.map_err(|error| error.to_string())?;
        if answer.error != ErrorCode::None {
            return Err(answer.error.name().to_owned());
        }
        if let Some(wrong) = answer.partitions.iter().find(|found| found.error != ErrorCode::None) {
            return Err(format!("{}: {}", wrong.partition, wrong.error.name()));
        }
        Ok(answer
            .partitions
            .into_iter()
            .map(|found| (found.partition, found.offset.map(kafka_proto::id::Offset::get)))
            .collect())
    }

    /// The next offset to be written to each partition; asks their leader, which this must be.
    pub async fn ends(&self, partitions: &[TopicPartition]) -> Result<Vec<(TopicPartition, i64)>, String> {
        let wanted = |partition: &TopicPartition| WantedOffset {
            partition: partition.clone(),
            current_leader_epoch: crate::client::LeaderEpoch::UNKNOWN,
            spec: OffsetSpec::Latest,
        };
        let ask = ListOffsets {
            isolation_level: IsolationLevel::ReadUncommitted,
            partitions: partitions.iter().map(wanted).collect(),
            timeout: self.1,
        };
        let answer = self.0.request(ask, self.1).await.map_err(|error| error.to_string())?;
        let one = |found: crate::client::request::list_offsets::ListedOffset| match found.offset {
            Some(offset) if found.error == ErrorCode::None => Ok((found.partition, offset.get())),
            _ => Err(format!("{}: {}", found.partition, found.error.name())),
        };
        answer.partitions.into_iter().map(one).collect()
    }
}

impl Examiner {
    /// Errs with every mistake of the settings.
    pub fn new(config: ClientConfig) -> Result<Self, Vec<ConfigMistake>> {
        let config = Arc::new(config);
        Ok(Self { connector: Connector::new(Arc::clone(&config))?, config })
    }

    /// The bootstrap servers.
    pub fn servers(&self) -> Vec<HostPort> {
        self.config.bootstrap()
    }

    /// The addresses that would be dialled, and the IPv6 ones that never are.
    pub async fn resolve(&self, host: &str) -> (Result<Vec<Ipv4Addr>, ResolveError>, Vec<Ipv6Addr>) {
        let resolver = self.connector.resolver();
        let literal = host.parse::<Ipv4Addr>().is_ok();
        let dropped = async { if literal { Vec::new() } else { resolver.dropped(host).await } };
        let (found, dropped) = tokio::join!(resolver.lookup(host), dropped);
        (found.map(|resolved| resolved.addresses), dropped)
    }

    /// How long one address takes to accept a connection.
    pub async fn dial(&self, address: SocketAddrV4) -> Result<Duration, DialError> {
        let started = Instant::now();
        dial::dial(&[*address.ip()], address.port(), self.config.socket_connection_setup_timeout).await?;
        Ok(started.elapsed())
    }

    /// A TLS handshake at one address; `None` where the configuration has no TLS.
    pub async fn tls(&self, host: &str, address: SocketAddrV4) -> Option<Result<TlsSession, String>> {
        let settings = self.config.security.tls()?;
        let wait = self.config.tls_handshake_timeout;
        Some(shake_hands(settings.clone(), host, address, wait).await)
    }

    /// All the way in: a connection, the versions, the login.
    pub async fn log_in(&self, broker: &HostPort) -> Result<Login, ConnectError> {
        Ok(Login(self.connector.open(broker, Load::Questions).await?, self.config.request_timeout))
    }
}

/// A TLS handshake with `host` at an address, and nothing after it.
pub(crate) async fn shake_hands(
    settings: TlsSettings,
    host: &str,
    address: SocketAddrV4,
    wait: Duration,
) -> Result<TlsSession, String> {
    let tls = Tls::new(settings).map_err(|error: TlsError| error.to_string())?;
    let (tcp, _) = dial::dial(&[*address.ip()], address.port(), wait).await.map_err(|error| error.to_string())?;
    let stream = tls.connect(tcp, host, wait).await.map_err(|error| error.to_string())?;
    let session = stream.session();
    let chain = session.peer_certificates().unwrap_or_default().iter().map(|der| der.to_vec()).collect();
    let version = session.protocol_version().map(|version| format!("{version:?}")).unwrap_or_default();
    Ok(TlsSession { version, chain })
}

/// The addresses of a name, by the resolver that everything else here uses.
#[cfg(feature = "service")]
pub(crate) async fn addresses_of(host: &str, wait: Duration) -> Result<Vec<Ipv4Addr>, ResolveError> {
    crate::client::Resolver::system(wait).lookup(host).await.map(|resolved| resolved.addresses)
}
