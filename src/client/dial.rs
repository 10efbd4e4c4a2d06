//! From addresses to a connected TCP stream.
//!
//! Every address is tried within one round, each under its own deadline; the error names each and why:
//! one refusing address must not cost the others their turn. Keepalive and a bound on unacknowledged data make a dead
//! peer visible even while nothing is sent.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// Silence on the socket before the first probe, below every known idle limit of a network.
const KEEPALIVE_AFTER: Duration = Duration::from_mins(1);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(15);
const KEEPALIVE_PROBES: u32 = 4;
/// How long sent data may stay unacknowledged before the kernel gives the connection up.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(30);

/// No address could be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DialError {
    /// Every address that was tried, in order, and why it failed.
    pub attempts: Vec<(SocketAddrV4, DialFailure)>,
}

/// Why one address could not be reached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DialFailure {
    /// Neither accepted nor refused.
    #[error("no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// Refused, unreachable, or forbidden by this machine.
    #[error("{what}")]
    Io {
        /// The kind of failure.
        kind: io::ErrorKind,
        /// The system's words.
        what: String,
    },
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cannot connect: ")?;
        for (index, (address, failure)) in self.attempts.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{address}: {failure}")?;
        }
        Ok(())
    }
}

impl std::error::Error for DialError {}

/// Connects to the first address that answers, trying them in order, `per_address` each.
pub(crate) async fn dial(
    addresses: &[Ipv4Addr],
    port: u16,
    per_address: Duration,
) -> Result<(TcpStream, SocketAddrV4), DialError> {
    let mut attempts = Vec::new();
    for address in addresses {
        let address = SocketAddrV4::new(*address, port);
        match tokio::time::timeout(per_address, connect(address)).await {
            Ok(Ok(stream)) => return Ok((stream, address)),
            Ok(Err(error)) => {
                attempts.push((address, DialFailure::Io { kind: error.kind(), what: error.to_string() }));
            }
            Err(_) => attempts.push((address, DialFailure::Timeout(per_address))),
        }
    }
    Err(DialError { attempts })
}

async fn connect(address: SocketAddrV4) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let keepalive =
        TcpKeepalive::new().with_time(KEEPALIVE_AFTER).with_interval(KEEPALIVE_EVERY).with_retries(KEEPALIVE_PROBES);
    let socket = SockRef::from(&stream);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX))?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    const PER_ADDRESS: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn a_refusing_address_does_not_keep_from_the_next() {
        let listener = TcpListener::bind("127.0.0.2:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let addresses = [Ipv4Addr::new(127, 0, 0, 3), Ipv4Addr::new(127, 0, 0, 2)];
        let (stream, address) = dial(&addresses, port, PER_ADDRESS).await.unwrap();
        assert_eq!(*address.ip(), addresses[1]);
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().unwrap() && stream.nodelay().unwrap());
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(UNACKNOWLEDGED_MAX));
    }

    #[tokio::test]
    async fn the_error_names_every_address_and_why() {
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let addresses = [Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 2)];
        let error = dial(&addresses, free, PER_ADDRESS).await.unwrap_err();
        let refused = |(_, failure): &(SocketAddrV4, DialFailure)| {
            matches!(failure, DialFailure::Io { kind: io::ErrorKind::ConnectionRefused, .. })
        };
        assert_eq!(error.attempts.len(), 2);
        assert!(error.attempts.iter().all(refused));
        let text = error.to_string();
        assert!(text.contains(&format!("127.0.0.1:{free}")) && text.contains(&format!("127.0.0.2:{free}")), "{text}");
    }

    #[tokio::test]
    async fn an_address_that_stays_silent_costs_only_its_own_deadline() {
        // A full accept queue drops further SYNs: the nearest thing to a silent address on loopback.
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 9], 0)).into()).unwrap();
        socket.listen(0).unwrap();
        let port = socket.local_addr().unwrap().as_socket_ipv4().unwrap().port();
        let mut fill = Vec::new();
        while let Ok(Ok(stream)) =
            tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(("127.0.0.9", port))).await
        {
            fill.push(stream);
        }
        let _answering = TcpListener::bind(("127.0.0.8", port)).await.unwrap();
        let addresses = [Ipv4Addr::new(127, 0, 0, 9), Ipv4Addr::new(127, 0, 0, 8)];
        let (_, address) = dial(&addresses, port, Duration::from_millis(300)).await.unwrap();
        assert_eq!(*address.ip(), addresses[1]);
        let error = dial(&addresses[..1], port, Duration::from_millis(100)).await.unwrap_err();
        assert_eq!(error.attempts[0].1, DialFailure::Timeout(Duration::from_millis(100)));
    }
}
