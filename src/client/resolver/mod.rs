//! Names to IPv4 addresses.
//!
//! Promised: only A records are ever asked for to connect, so no AAAA can be dialled; CNAME chains, search domains and
//! `ndots` work as the system's resolver configuration says, which is read anew at every look-up, like the hosts file;
//! answers are not kept, so a broker's new address is seen by the next reconnect (how often that may happen is decided
//! by the back-off of whoever asks). A look-up builds everything it needs in the runtime it runs on, so that runtimes
//! do not depend on each other. Absent: IPv6, DNSSEC, encrypted DNS.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig, ResolverOpts, ServerOrderingStrategy,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{RData, RecordType};
use hickory_resolver::{TokioResolver, system_conf};

/// Asked again after silence, per name server.
const RETRIES: usize = 1;
/// A look-up may take this many times the timeout of one question: several servers, search domains, a retry.
const LOOKUP_TIMEOUTS: u32 = 3;

/// Looks names up. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Resolver {
    servers: Servers,
    timeout: Duration,
}

/// Whom to ask.
#[derive(Clone, Debug)]
enum Servers {
    /// Those of `/etc/resolv.conf`, as it is at the moment.
    System,
    Listed(Vec<SocketAddr>),
}

/// What a name leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// In the order of the answer; never empty.
    pub addresses: Vec<Ipv4Addr>,
}

/// Why a name leads to no address that can be dialled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// The name exists, with IPv6 addresses only.
    #[error("`{name}` has only IPv6 addresses ({}); this client dials IPv4 only", list(aaaa_dropped))]
    NoIpv4Address {
        /// The name.
        name: String,
        /// What its AAAA records say.
        aaaa_dropped: Vec<Ipv6Addr>,
    },
    /// The name exists, with no address at all.
    #[error("`{name}` exists but has no address")]
    NoAddress {
        /// The name.
        name: String,
    },
    /// There is no such name.
    #[error("`{name}` does not exist (NXDOMAIN)")]
    NotFound {
        /// The name.
        name: String,
    },
    /// No name server answered.
    #[error("no name server answered for `{name}` within {} ms", after.as_millis())]
    Timeout {
        /// The name.
        name: String,
        /// How long was waited.
        after: Duration,
    },
    /// The name servers answered that they cannot, or could not be reached.
    #[error("the name servers failed for `{name}`: {what}")]
    ServerFailure {
        /// The name.
        name: String,
        /// For example `SERVFAIL`.
        what: String,
    },
    /// No DNS name at all, or an IPv6 literal.
    #[error("`{name}` is not a name that can be resolved: {what}")]
    Invalid {
        /// As given.
        name: String,
        /// Why.
        what: String,
    },
    /// The system's resolver configuration cannot be used.
    #[error("/etc/resolv.conf: {0}")]
    Configuration(String),
}

fn list(addresses: &[Ipv6Addr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl Resolver {
    /// Asks the servers of `/etc/resolv.conf`; `timeout` is for one question to one of them.
    pub fn system(timeout: Duration) -> Self {
        Self { servers: Servers::System, timeout }
    }

    /// Asks these servers, with no search domains.
    pub fn with_servers(servers: &[SocketAddr], timeout: Duration) -> Self {
        Self { servers: Servers::Listed(servers.to_vec()), timeout }
    }

    /// The IPv4 addresses of `name`: a literal is its own, `localhost` is the loopback, others are asked for.
    pub async fn lookup(&self, name: &str) -> Result<Resolved, ResolveError> {
        if let Some(known) = without_asking(name)? {
            return Ok(Resolved { addresses: vec![known] });
        }
        let deadline = self.timeout.saturating_mul(LOOKUP_TIMEOUTS);
        match tokio::time::timeout(deadline, self.ask(name)).await {
            Ok(answer) => answer,
            Err(_) => Err(ResolveError::Timeout { name: name.to_owned(), after: deadline }),
        }
    }

    /// The IPv6 addresses of `name`, which are never dialled: for people who look for the reason of a failure.
    pub async fn dropped(&self, name: &str) -> Vec<Ipv6Addr> {
        let Ok(resolver) = self.build() else { return Vec::new() };
        let answer = tokio::time::timeout(self.timeout, resolver.lookup(name, RecordType::AAAA)).await;
        let Ok(Ok(answer)) = answer else { return Vec::new() };
        let address = |data: &RData| if let RData::AAAA(address) = data { Some(address.0) } else { None };
        answer.answers().iter().filter_map(|record| address(&record.data)).collect()
    }

    async fn ask(&self, name: &str) -> Result<Resolved, ResolveError> {
        let answer = self.build()?.lookup_ip(name).await;
        let error = match answer {
            Ok(found) => {
                let v4 = |address| if let IpAddr::V4(v4) = address { Some(v4) } else { None };
                let addresses: Vec<_> = found.iter().filter_map(v4).collect();
                if !addresses.is_empty() {
                    return Ok(Resolved { addresses });
                }
                None
            }
            Err(error) => Some(error),
        };
        let named = || name.to_owned();
        match error {
            Some(error) if error.is_nx_domain() => Err(ResolveError::NotFound { name: named() }),
            Some(error) if !error.is_no_records_found() => Err(self.failure(name, &error)),
            Some(_) | None => match self.dropped(name).await {
                none if none.is_empty() => Err(ResolveError::NoAddress { name: named() }),
                aaaa_dropped => Err(ResolveError::NoIpv4Address { name: named(), aaaa_dropped }),
            },
        }
    }

    fn failure(&self, name: &str, error: &NetError) -> ResolveError {
        let name = name.to_owned();
        match error {
            NetError::Timeout => ResolveError::Timeout { name, after: self.timeout },
            NetError::Dns(DnsError::ResponseCode(ResponseCode::ServFail)) => {
                ResolveError::ServerFailure { name, what: "SERVFAIL".to_owned() }
            }
            NetError::Dns(DnsError::ResponseCode(code)) => ResolveError::ServerFailure { name, what: code.to_string() },
            other => ResolveError::ServerFailure { name, what: other.to_string() },
        }
    }

    fn build(&self) -> Result<TokioResolver, ResolveError> {
        let (config, mut options) = match &self.servers {
            Servers::System => {
                let (config, options) =
                    system_conf::read_system_conf().map_err(|error| ResolveError::Configuration(error.to_string()))?;
                (ipv4_servers_first(config), options)
            }
            Servers::Listed(servers) => {
                let servers = servers.iter().map(|server| name_server(*server)).collect();
                (ResolverConfig::from_parts(None, Vec::new(), servers), ResolverOpts::default())
            }
        };
        options.ip_strategy = LookupIpStrategy::Ipv4Only;
        options.timeout = self.timeout;
        options.attempts = RETRIES;
        options.server_ordering_strategy = ServerOrderingStrategy::UserProvidedOrder;
        options.cache_size = 0;
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        *builder.options_mut() = options;
        builder.build().map_err(|error| ResolveError::Configuration(error.to_string()))
    }
}

/// What needs no name server.
fn without_asking(name: &str) -> Result<Option<Ipv4Addr>, ResolveError> {
    let bare = name.strip_suffix('.').unwrap_or(name);
    if bare.eq_ignore_ascii_case("localhost") {
        return Ok(Some(Ipv4Addr::LOCALHOST));
    }
    match bare.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => Ok(Some(address)),
        Ok(IpAddr::V6(_)) => {
            let what = "it is an IPv6 address; this client dials IPv4 only".to_owned();
            Err(ResolveError::Invalid { name: name.to_owned(), what })
        }
        Err(_) if bare.is_empty() => {
            Err(ResolveError::Invalid { name: name.to_owned(), what: "it is empty".to_owned() })
        }
        Err(_) => Ok(None),
    }
}

fn name_server(address: SocketAddr) -> NameServerConfig {
    let with_port = |mut connection: ConnectionConfig| {
        connection.port = address.port();
        connection
    };
    // TCP for answers that do not fit in a datagram.
    let connections = vec![with_port(ConnectionConfig::udp()), with_port(ConnectionConfig::tcp())];
    NameServerConfig::new(address.ip(), true, connections)
}

/// Name servers with an IPv6 address cost a timeout each where there is no IPv6; they are asked last.
fn ipv4_servers_first(config: ResolverConfig) -> ResolverConfig {
    let (domain, search, mut servers) = config.into_parts();
    servers.sort_by_key(|server| server.ip.is_ipv6());
    ResolverConfig::from_parts(domain, search, servers)
}

#[cfg(test)]
mod tests;
