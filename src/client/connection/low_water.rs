//! How much has to arrive before the kernel wakes the reader of a socket.
//!
//! A broker that encrypts as it sends gives away one TLS record at a time. A reader that is woken for each spends more on
//! falling asleep and waking than on the bytes. So while an answer has much to come yet, the kernel is told to gather
//! (`SO_RCVLOWAT`). Promised: no more is waited for than what has to come; an end or an error of the connection wakes at
//! once, as ever; a system without the option reads as it did before.

use nix::sys::socket::SetSockOpt;
use nix::{libc, setsockopt_impl, sockopt_impl};
use tokio::net::TcpStream;

/// What the kernel gathers while at least as much is still to come: far less than what its buffer holds.
const GATHERED_BYTES: usize = 128 << 10;

sockopt_impl!(
    /// The option: a socket is readable from so many bytes on.
    ReceiveLowWater, SetOnly, libc::SOL_SOCKET, libc::SO_RCVLOWAT, usize
);

/// The mark of one socket.
pub(super) struct LowWater {
    bytes: usize,
}

impl LowWater {
    /// That of a fresh socket: anything wakes.
    pub(super) const fn new() -> Self {
        Self { bytes: 1 }
    }

    /// At least `to_come` bytes will arrive, if any do.
    pub(super) fn expect(&mut self, socket: &TcpStream, to_come: usize) {
        let bytes = if to_come >= GATHERED_BYTES { GATHERED_BYTES } else { 1 };
        // Where the option is refused nothing is gathered, and nothing is lost.
        if bytes != self.bytes && ReceiveLowWater.set(socket, &bytes).is_ok() {
            self.bytes = bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::client::connection::Peer;
    use crate::client::connection::guard::{Fate, Guarded};

    const PATIENCE: Duration = Duration::from_secs(20);
    const PIECE: usize = GATHERED_BYTES / 2;

    async fn connected() -> (Guarded, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (ours, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let name = crate::client::config::HostPort::parse("broker:9092").unwrap();
        let peer = Peer { name, address: "127.0.0.1:9092".parse().unwrap() };
        let fate = Arc::new(Fate::new(peer, Arc::default()));
        (Guarded::new(Box::new(ours.unwrap()), 1 << 30, fate), accepted.unwrap().0)
    }

    async fn ask(guarded: &mut Guarded, broker: &mut TcpStream, correlation: u8) {
        guarded.write_all(&[0, 0, 0, 8, 0, 11, 0, 9, 0, 0, 0, correlation]).await.unwrap();
        guarded.flush().await.unwrap();
        broker.read_exact(&mut [0; 12]).await.unwrap();
    }

    #[tokio::test]
    async fn the_middle_of_a_large_answer_is_gathered_and_its_end_is_not_waited_for() {
        let (mut guarded, mut broker) = connected().await;
        let mut room = vec![0; 8 * PIECE];
        for correlation in 1..=2 {
            ask(&mut guarded, &mut broker, correlation).await;
            let length = u32::try_from(4 + 4 * PIECE).unwrap();
            broker.write_all(&length.to_be_bytes()).await.unwrap();
            broker.write_all(&[0, 0, 0, correlation]).await.unwrap();
            // What comes before the length is known wakes as ever.
            tokio::time::timeout(PATIENCE, guarded.read_exact(&mut room[..8])).await.unwrap().unwrap();
            // What is there already is taken at once; here that is nothing.
            assert!(tokio::time::timeout(Duration::ZERO, guarded.read(&mut room)).await.is_err());
            broker.write_all(&vec![7; PIECE]).await.unwrap();
            let early = tokio::time::timeout(Duration::from_millis(100), guarded.read(&mut room)).await;
            assert!(early.is_err(), "woken by {early:?}");
            broker.write_all(&vec![7; 2 * PIECE]).await.unwrap();
            let gathered = tokio::time::timeout(PATIENCE, guarded.read_exact(&mut room[..3 * PIECE])).await;
            gathered.unwrap().unwrap();
            broker.write_all(&[7]).await.unwrap();
            assert_eq!(tokio::time::timeout(PATIENCE, guarded.read(&mut room)).await.unwrap().unwrap(), 1);
            broker.write_all(&vec![7; PIECE - 1]).await.unwrap();
            let end = tokio::time::timeout(PATIENCE, guarded.read_exact(&mut room[..PIECE - 1])).await;
            end.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn an_end_in_the_middle_is_seen_at_once() {
        let (mut guarded, mut broker) = connected().await;
        ask(&mut guarded, &mut broker, 1).await;
        broker.write_all(&[0, 16, 0, 0, 0, 0, 0, 1, 7]).await.unwrap();
        guarded.read_exact(&mut [0; 9]).await.unwrap();
        drop(broker);
        tokio::time::timeout(PATIENCE, guarded.read(&mut [0; 64])).await.unwrap().unwrap_err();
    }
}
