//! A look at each bootstrap server, layer by layer: name, address, TLS, versions, login, metadata.
//!
//! For people who want to know why a client does not connect. Each server is tried once, side by side; nothing is
//! retried, nothing is kept. Absent: groups and topics.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::time::Instant;

use crate::client::config::{ClientConfig, ConfigMistake, HostPort};
use crate::client::connection::{ConnectError, Connection, Connector, Load};
use crate::client::request::metadata::GetMetadata;
use crate::client::resolver::{ResolveError, Resolver};

/// What was found at one bootstrap server.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Probe {
    /// As configured.
    pub broker: HostPort,
    /// The addresses that would be dialled.
    pub addresses: Result<Vec<Ipv4Addr>, ResolveError>,
    /// IPv6 addresses of the name, which are never dialled.
    pub ipv6_dropped: Vec<Ipv6Addr>,
    /// What lies behind them, or the first layer that failed.
    pub reached: Result<Reached, ConnectError>,
}

/// A server that speaks Kafka with us.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Reached {
    /// The address that answered.
    pub address: SocketAddrV4,
    /// From the look-up to the login.
    pub took: Duration,
    /// How long the connection may be used before it is replaced; `None`: no limit.
    pub session_left: Option<Duration>,
    /// The cluster's id.
    pub cluster_id: Option<String>,
    /// Where the cluster's brokers say that they listen.
    pub brokers: Vec<HostPort>,
}

/// Looks at every bootstrap server. Errs with every mistake in `config`.
pub async fn probe(config: &ClientConfig) -> Result<Vec<Probe>, Vec<ConfigMistake>> {
    let connector = Connector::new(Arc::new(config.clone()))?;
    let resolver = connector.resolver();
    Ok(join_all(config.bootstrap().into_iter().map(|broker| look(config, &connector, resolver, broker))).await)
}

async fn look(config: &ClientConfig, connector: &Connector, resolver: &Resolver, broker: HostPort) -> Probe {
    let addresses = resolver.lookup(&broker.host).await.map(|resolved| resolved.addresses);
    let literal = broker.host.parse::<Ipv4Addr>().is_ok();
    let ipv6_dropped = if literal { Vec::new() } else { resolver.dropped(&broker.host).await };
    let started = Instant::now();
    let reached = match connector.open(&broker, Load::Questions).await {
        Ok(connection) => describe(config, &connection, started.elapsed()).await,
        Err(error) => Err(error),
    };
    Probe { broker, addresses, ipv6_dropped, reached }
}

async fn describe(config: &ClientConfig, connection: &Connection, took: Duration) -> Result<Reached, ConnectError> {
    let answer = connection.request(GetMetadata { topics: Some(Vec::new()) }, config.request_timeout).await;
    let broker = connection.peer().name.clone();
    let answer = answer.map_err(|source| ConnectError::Negotiate { broker, source })?;
    let listens = |broker: crate::client::request::Endpoint| HostPort { host: broker.host, port: broker.port };
    Ok(Reached {
        address: connection.peer().address,
        took,
        session_left: connection.session_left(),
        cluster_id: answer.cluster_id,
        brokers: answer.brokers.into_iter().map(listens).collect(),
    })
}
