//! A DNS server double: answers for A and AAAA over UDP and TCP on loopback, from a zone that a test writes.
//!
//! Promised: a CNAME is followed inside the zone and the whole chain answered, as a recursive resolver does; every query
//! is kept. Absent: every other record type (answered as a name without such records), caching, EDNS.
//!
//! ```
//! use kafka_broker_double::dns::{DnsAnswer, DnsServer};
//!
//! let dns = DnsServer::start();
//! dns.set("b-1.kafka.test", DnsAnswer::addresses(["127.0.0.1", "::1"]));
//! dns.set("gone.kafka.test", DnsAnswer::NxDomain);
//! println!("nameserver {}", dns.address());
//! ```

mod message;
mod serve;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::background::Background;

/// What is answered for a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DnsAnswer {
    /// These addresses: the IPv4 ones for A, the IPv6 ones for AAAA. None of the kind asked for is an empty answer.
    Addresses(Vec<IpAddr>),
    /// Another name, which is followed.
    Cname(String),
    /// There is no such name.
    NxDomain,
    /// The server failed.
    ServFail,
    /// The server refuses to say.
    Refused,
    /// No answer at all.
    Silence,
    /// An answer under another id than the query's, as a forger sends it.
    WrongId,
    /// Cut off over UDP, whole over TCP.
    Truncated(Vec<IpAddr>),
}

impl DnsAnswer {
    /// Addresses by their text. Panics on what is none.
    pub fn addresses<'a>(addresses: impl IntoIterator<Item = &'a str>) -> Self {
        Self::Addresses(addresses.into_iter().map(|text| text.parse().expect("an address")).collect())
    }
}

/// The type of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueryType {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Anything else, by number.
    Other(u16),
}

/// A query as it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Query {
    /// The name, in lower case and without the dot at its end.
    pub name: String,
    /// The type.
    pub kind: QueryType,
    /// Whether it came over TCP.
    pub over_tcp: bool,
    /// When it came.
    pub at: Instant,
}

#[derive(Debug, Default)]
struct Zone {
    answers: HashMap<String, DnsAnswer>,
    queries: Vec<Query>,
    ttl_s: u32,
}

/// The server. Dropping it ends it.
#[derive(Debug)]
pub struct DnsServer {
    zone: Arc<Mutex<Zone>>,
    address: SocketAddr,
    _background: Background,
}

impl DnsServer {
    /// Starts a server with an empty zone on a free port of 127.0.0.1, the same for UDP and TCP.
    pub fn start() -> Self {
        Self::on(sockets())
    }

    /// The same at a loopback address of its own, such as one with port 53, for whoever cannot be told a port.
    pub fn start_at(address: SocketAddr) -> std::io::Result<Self> {
        let (udp, tcp) = (UdpSocket::bind(address)?, TcpListener::bind(address)?);
        udp.set_nonblocking(true)?;
        tcp.set_nonblocking(true)?;
        Ok(Self::on((udp, tcp)))
    }

    fn on((udp, tcp): (UdpSocket, TcpListener)) -> Self {
        let address = udp.local_addr().expect("a bound socket");
        let zone = Arc::new(Mutex::new(Zone { ttl_s: 1, ..Zone::default() }));
        let background = Background::start("dns double");
        background.handle().spawn(serve::udp(Arc::clone(&zone), udp));
        background.handle().spawn(serve::tcp(Arc::clone(&zone), tcp));
        Self { zone, address, _background: background }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Says what is answered for a name from now on. Names never said do not exist.
    pub fn set(&self, name: &str, answer: DnsAnswer) {
        lock(&self.zone).answers.insert(canonical(name), answer);
    }

    /// Time to live of the answers, in seconds; 1 unless said.
    pub fn set_ttl(&self, seconds: u32) {
        lock(&self.zone).ttl_s = seconds;
    }

    /// Every query since the start, oldest first.
    pub fn queries(&self) -> Vec<Query> {
        lock(&self.zone).queries.clone()
    }
}

/// A UDP and a TCP socket on the same port.
fn sockets() -> (UdpSocket, TcpListener) {
    for _ in 0..64 {
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let tcp = TcpListener::bind(udp.local_addr().expect("a bound socket"));
        if let Ok(tcp) = tcp {
            udp.set_nonblocking(true).expect("a non-blocking socket");
            tcp.set_nonblocking(true).expect("a non-blocking socket");
            return (udp, tcp);
        }
    }
    panic!("no port is free for both UDP and TCP");
}

fn canonical(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

fn lock(zone: &Mutex<Zone>) -> MutexGuard<'_, Zone> {
    zone.lock().unwrap_or_else(PoisonError::into_inner)
}
