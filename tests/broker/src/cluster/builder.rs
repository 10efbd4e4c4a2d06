//! What a cluster is like before it starts.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages::ApiKey;
use kafka_protocol::protocol::VersionRange;

use super::{Cluster, Inner};
use crate::background::Background;
use crate::group::{self, GroupSettings};
use crate::node::{self, Node};
use crate::sasl::Mechanism;
use crate::state::{Logins, Security, Shared, State};
use crate::tls::{Authority, Certificate, CertificateFile};
use crate::wire::OFFERED;

/// A cluster to be started. One plain broker with id 1 and no topics unless told otherwise.
#[derive(Debug)]
#[must_use = "a builder does nothing until it is started"]
pub struct Builder {
    brokers: i32,
    topics: Vec<(String, usize)>,
    replication: usize,
    auto_create_partitions: Option<usize>,
    security: Security,
    mechanisms: Vec<Mechanism>,
    scram_iterations: u32,
    session_lifetime: Option<Duration>,
    certificate: Certificate,
    certificate_names: Vec<String>,
    hosts: HashMap<i32, String>,
    racks: HashMap<i32, String>,
    addresses: HashMap<i32, SocketAddr>,
    offered: HashMap<ApiKey, VersionRange>,
    groups: GroupSettings,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            brokers: 1,
            topics: Vec::new(),
            replication: 1,
            auto_create_partitions: None,
            security: Security::Plaintext,
            mechanisms: vec![Mechanism::ScramSha512, Mechanism::Plain],
            scram_iterations: 4096,
            session_lifetime: None,
            certificate: Certificate::Valid,
            certificate_names: Vec::new(),
            hosts: HashMap::new(),
            racks: HashMap::new(),
            addresses: HashMap::new(),
            offered: OFFERED.iter().copied().collect(),
            groups: GroupSettings::default(),
        }
    }
}

impl Builder {
    /// How many brokers; their ids are 1 and up.
    pub fn brokers(mut self, brokers: i32) -> Self {
        self.brokers = brokers;
        self
    }

    /// Adds a topic.
    pub fn topic(mut self, name: &str, partitions: usize) -> Self {
        self.topics.push((name.to_owned(), partitions));
        self
    }

    /// Replicas per partition, 1 unless said. With more, followers serve fetches from version 11 on, as in Kafka.
    pub fn replication(mut self, replicas: usize) -> Self {
        self.replication = replicas;
        self
    }

    /// Creates unknown topics that metadata asks for, as `auto.create.topics.enable` does.
    pub fn auto_create_topics(mut self, partitions: usize) -> Self {
        self.auto_create_partitions = Some(partitions);
        self
    }

    /// TLS and login.
    pub fn security(mut self, security: Security) -> Self {
        self.security = security;
        self
    }

    /// SASL mechanisms offered; SCRAM-SHA-512 and PLAIN unless said.
    pub fn mechanisms(mut self, mechanisms: &[Mechanism]) -> Self {
        self.mechanisms = mechanisms.to_vec();
        self
    }

    /// SCRAM iterations told to clients; 4096 unless said.
    pub fn scram_iterations(mut self, iterations: u32) -> Self {
        self.scram_iterations = iterations;
        self
    }

    /// `connections.max.reauth.ms`; none unless said.
    pub fn session_lifetime(mut self, lifetime: Duration) -> Self {
        self.session_lifetime = Some(lifetime);
        self
    }

    /// What is wrong with the certificate, for the tests of refusal.
    pub fn certificate(mut self, certificate: Certificate) -> Self {
        self.certificate = certificate;
        self
    }

    /// A further name in the certificate; advertised hosts are in it anyway.
    pub fn certificate_name(mut self, name: &str) -> Self {
        self.certificate_names.push(name.to_owned());
        self
    }

    /// The host that clients are told for a broker; 127.0.0.1 unless said.
    pub fn host(mut self, broker: i32, host: &str) -> Self {
        self.hosts.insert(broker, host.to_owned());
        self
    }

    /// The rack of a broker.
    pub fn rack(mut self, broker: i32, rack: &str) -> Self {
        self.racks.insert(broker, rack.to_owned());
        self
    }

    /// The loopback address and port that a broker listens on; 127.0.0.1 and a free port unless said.
    pub fn listen(mut self, broker: i32, address: IpAddr, port: u16) -> Self {
        self.addresses.insert(broker, SocketAddr::new(address, port));
        self
    }

    /// Highest version offered of one API; the lowest goes down with it.
    pub fn max_version(mut self, api: ApiKey, version: i16) -> Self {
        if let Some(range) = self.offered.get_mut(&api) {
            range.max = version;
            range.min = range.min.min(version);
        }
        self
    }

    /// Lowest version offered of one API.
    pub fn min_version(mut self, api: ApiKey, version: i16) -> Self {
        if let Some(range) = self.offered.get_mut(&api) {
            range.min = version;
        }
        self
    }

    /// Takes an API out of what is offered.
    pub fn without(mut self, api: ApiKey) -> Self {
        self.offered.remove(&api);
        self
    }

    /// `group.initial.rebalance.delay.ms`; 0 unless said.
    pub fn initial_rebalance_delay(mut self, delay: Duration) -> Self {
        self.groups.initial_rebalance_delay = delay;
        self
    }

    /// `group.min.session.timeout.ms` and `group.max.session.timeout.ms`; 0 and 30 minutes unless said.
    pub fn session_timeouts(mut self, min: Duration, max: Duration) -> Self {
        self.groups.session_timeout_min = min;
        self.groups.session_timeout_max = max;
        self
    }

    /// Starts the brokers; they accept connections when this returns.
    pub fn start(self) -> Cluster {
        let background = Background::start("broker double");
        let authority = self.security.uses_tls().then(|| {
            let authority = Authority::new();
            let file = CertificateFile::new(authority.pem());
            let names = self.hosts.values().chain(&self.certificate_names);
            let names: Vec<String> = names.map(|name| name.trim_end_matches('.').to_owned()).collect();
            (authority, file, names)
        });
        let logins = Logins {
            required: self.security.uses_sasl(),
            users: self.security.users(),
            mechanisms: self.mechanisms,
            scram_iterations: self.scram_iterations,
            expired_before: None,
            lifetime: self.session_lifetime,
        };
        let mut state = State::new(logins, self.groups, self.offered);
        state.identity = authority.as_ref().map(|(authority, _, names)| authority.identity(names, self.certificate));
        state.replication = self.replication;
        state.auto_create_partitions = self.auto_create_partitions;
        state.controller = 1;
        for id in 1..=self.brokers {
            let host = self.hosts.get(&id).cloned().unwrap_or_else(|| "127.0.0.1".to_owned());
            state.nodes.insert(id, Node::new(id, host, self.racks.get(&id).cloned()));
        }
        for (name, partitions) in &self.topics {
            state.create_topic(name, *partitions, self.replication);
        }
        let shared = Shared::new(state, background.handle().clone());
        for id in 1..=self.brokers {
            let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            let address = self.addresses.get(&id).copied().unwrap_or(free);
            node::listen(&shared, id, address).expect("a loopback address to listen on");
        }
        shared.runtime.spawn(group::run_clock(Arc::clone(&shared)));
        Cluster { inner: Arc::new(Inner { shared, authority, _background: background }) }
    }
}
