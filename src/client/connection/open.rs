//! From a broker's name to a connection that is ready: resolve, dial, TLS, versions, SASL.

use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::client::config::{ClientConfig, ConfigMistake, HostPort};
use crate::client::connection::{CloseCause, Connection, Load, Peer, RequestError, guard};
use crate::client::dial::{self, DialError};
use crate::client::flight::FlightRecorder;
use crate::client::resolver::{ResolveError, Resolver};
use crate::client::sasl::{Authenticator, SaslError};
use crate::client::tls::{Tls, TlsError};

/// Why there is no connection, by the layer that failed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The name has no usable address.
    #[error("{broker}: {source}")]
    Resolve {
        /// Host and port.
        broker: HostPort,
        /// Why.
        source: ResolveError,
    },
    /// No address could be reached.
    #[error("{broker}: {source}")]
    Dial {
        /// Host and port.
        broker: HostPort,
        /// Each address and why.
        source: DialError,
    },
    /// No TLS session.
    #[error("{broker}: {source}")]
    Tls {
        /// Host and port.
        broker: HostPort,
        /// Why.
        source: TlsError,
    },
    /// The broker does not talk Kafka with us.
    #[error("{broker}: {source}{}", hint(source))]
    Negotiate {
        /// Host and port.
        broker: HostPort,
        /// Why.
        source: RequestError,
    },
    /// The broker does not believe us, or we not it.
    #[error("{broker}: {source}")]
    Sasl {
        /// Host and port.
        broker: HostPort,
        /// Why.
        source: SaslError,
    },
    /// No such broker in the metadata.
    #[error("broker {0} is not in the cluster's metadata")]
    UnknownBroker(kafka_proto::id::BrokerId),
    /// The client is being closed.
    #[error("the client is being closed")]
    Closing,
}

/// A broker that hangs up on the first request is most often one that expects another security protocol.
fn hint(source: &RequestError) -> &'static str {
    match source {
        RequestError::Closed(CloseCause::ClosedByPeer | CloseCause::FrameLength(_) | CloseCause::TooLarge { .. }) => {
            " (on the first request: does security.protocol fit this port?)"
        }
        _ => "",
    }
}

impl ConnectError {
    /// Every [`ConnectError::layer`].
    pub const LAYERS: [&str; 6] = ["dns", "tcp", "tls", "kafka", "sasl", "metadata"];

    /// The layer that failed, for programs.
    pub const fn layer(&self) -> &'static str {
        match self {
            Self::Resolve { .. } => "dns",
            Self::Dial { .. } => "tcp",
            Self::Tls { .. } => "tls",
            Self::Negotiate { .. } | Self::Closing => "kafka",
            Self::Sasl { .. } => "sasl",
            Self::UnknownBroker(_) => "metadata",
        }
    }

    /// Whether credentials were refused: retried, but slowly, because a wrong password locks accounts.
    pub fn is_authentication(&self) -> bool {
        matches!(self, Self::Sasl { source, .. } if source.is_refusal())
    }
}

/// Opens connections; shared by all brokers of a cluster.
pub(crate) struct Connector {
    config: Arc<ClientConfig>,
    resolver: Resolver,
    tls: Option<Tls>,
    authenticator: Option<Authenticator>,
    flight: Arc<FlightRecorder>,
}

impl Connector {
    /// Errs with every mistake of the settings, and where TLS cannot work here at all.
    pub(crate) fn new(config: Arc<ClientConfig>) -> Result<Self, Vec<ConfigMistake>> {
        config.validate()?;
        let resolver = match &config.name_servers {
            Some(servers) => Resolver::with_servers(servers, config.dns_timeout),
            None => Resolver::system(config.dns_timeout),
        };
        let tls = config.security.tls().map(|tls| Tls::new(tls.clone())).transpose();
        let tls = tls.map_err(|error| vec![ConfigMistake::new("ssl.ca.location", error.to_string())])?;
        let authenticator = config.security.sasl().map(|sasl| Authenticator::new(sasl.clone()));
        Ok(Self { config, resolver, tls, authenticator, flight: Arc::default() })
    }

    /// What happens to its connections.
    pub(crate) fn flight(&self) -> &Arc<FlightRecorder> {
        &self.flight
    }

    /// How names are looked up.
    pub(crate) fn resolver(&self) -> &Resolver {
        &self.resolver
    }

    /// Resolves anew, tries every address, and leaves nothing half open on an error or when dropped.
    pub(crate) async fn open(&self, broker: &HostPort, load: Load) -> Result<Connection, ConnectError> {
        let addresses = self.resolve(broker).await?;
        self.open_at(broker, &addresses, load).await
    }

    /// The addresses of a broker, asked for anew.
    pub(crate) async fn resolve(&self, broker: &HostPort) -> Result<Vec<Ipv4Addr>, ConnectError> {
        let resolved = self.resolver.lookup(&broker.host).await;
        let resolved = resolved.map_err(|source| ConnectError::Resolve { broker: broker.clone(), source })?;
        Ok(resolved.addresses)
    }

    /// The same as [`Connector::open`] with a name that is resolved already.
    pub(crate) async fn open_at(
        &self,
        broker: &HostPort,
        addresses: &[Ipv4Addr],
        load: Load,
    ) -> Result<Connection, ConnectError> {
        let owned = || broker.clone();
        let dialled = dial::dial(addresses, broker.port, self.config.socket_connection_setup_timeout).await;
        let (tcp, address) = dialled.map_err(|source| ConnectError::Dial { broker: owned(), source })?;
        let stream: guard::Stream = match &self.tls {
            None => Box::new(tcp),
            Some(tls) => {
                let session = tls.connect(tcp, &broker.host, self.config.tls_handshake_timeout).await;
                Box::new(session.map_err(|source| ConnectError::Tls { broker: owned(), source })?)
            }
        };
        let peer = Peer { name: owned(), address };
        let connection = Connection::negotiate(load, stream, peer, &self.config, Arc::clone(&self.flight)).await;
        let connection = connection.map_err(|source| ConnectError::Negotiate { broker: owned(), source })?;
        if let Some(authenticator) = &self.authenticator {
            let session = authenticator.authenticate(&connection, self.config.request_timeout).await;
            let session = session.map_err(|source| ConnectError::Sasl { broker: owned(), source })?;
            if let Some(until) = session.usable_until {
                connection.retire_at(until);
            }
        }
        Ok(connection)
    }
}
