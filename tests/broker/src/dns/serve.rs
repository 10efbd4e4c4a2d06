//! The sockets of the DNS double, and what the zone says to a question.

use std::io;
use std::net::{IpAddr, TcpListener as StdTcpListener, UdpSocket as StdUdpSocket};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use super::message::{Answer, Question, Status};
use super::{DnsAnswer, Query, QueryType, Zone, canonical, lock};

/// A chain of names longer than this is a loop.
const CNAMES_MAX: usize = 16;

/// Answers datagrams until the double ends.
pub(super) async fn udp(zone: Arc<Mutex<Zone>>, socket: StdUdpSocket) {
    let Ok(socket) = UdpSocket::from_std(socket) else { return };
    let mut buffer = [0; 4096];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
        if let Some(answer) = buffer.get(..length).and_then(|message| answer(&zone, message, false)) {
            // Whoever asked may be gone.
            let _gone = socket.send_to(&answer, from).await;
        }
    }
}

/// Answers connections until the double ends.
pub(super) async fn tcp(zone: Arc<Mutex<Zone>>, listener: StdTcpListener) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    while let Ok((stream, _)) = listener.accept().await {
        let zone = Arc::clone(&zone);
        tokio::spawn(async move {
            // The end of a connection is not news.
            let _ended = connection(&zone, stream).await;
        });
    }
}

async fn connection(zone: &Mutex<Zone>, mut stream: TcpStream) -> io::Result<()> {
    loop {
        let length = usize::from(stream.read_u16().await?);
        let mut message = vec![0; length];
        stream.read_exact(&mut message).await?;
        let Some(answer) = answer(zone, &message, true) else { continue };
        stream.write_u16(u16::try_from(answer.len()).map_err(io::Error::other)?).await?;
        stream.write_all(&answer).await?;
    }
}

/// The bytes to be sent back, if any.
fn answer(zone: &Mutex<Zone>, message: &[u8], over_tcp: bool) -> Option<Vec<u8>> {
    let question = Question::read(message)?;
    let mut zone = lock(zone);
    let (name, kind) = (question.name.clone(), question.kind);
    zone.queries.push(Query { name, kind, over_tcp, at: Instant::now() });
    let mut chain = Vec::new();
    let mut name = question.name.clone();
    let (id, ttl_s) = (question.id, zone.ttl_s);
    let end = |status, chain: &[Answer]| Some(question.answer(id, status, chain, ttl_s));
    for _ in 0..CNAMES_MAX {
        match zone.answers.get(&name) {
            None | Some(DnsAnswer::NxDomain) => return end(Status::NxDomain, &chain),
            Some(DnsAnswer::ServFail) => return end(Status::ServFail, &[]),
            Some(DnsAnswer::Refused) => return end(Status::Refused, &[]),
            Some(DnsAnswer::Silence) => return None,
            Some(DnsAnswer::Truncated(_)) if !over_tcp => return end(Status::Truncated, &[]),
            Some(DnsAnswer::WrongId) => return Some(question.answer(id ^ 0xffff, Status::Ok, &[], ttl_s)),
            Some(DnsAnswer::Addresses(addresses) | DnsAnswer::Truncated(addresses)) => {
                let wanted = addresses.iter().filter(|address| is_of(question.kind, address));
                chain.extend(wanted.map(|address| Answer::Address { name: name.clone(), address: *address }));
                return end(Status::Ok, &chain);
            }
            Some(DnsAnswer::Cname(target)) => {
                chain.push(Answer::Cname { name: name.clone(), target: target.clone() });
                name = canonical(target);
            }
        }
    }
    end(Status::ServFail, &[])
}

fn is_of(kind: QueryType, address: &IpAddr) -> bool {
    match kind {
        QueryType::A => address.is_ipv4(),
        QueryType::Aaaa => address.is_ipv6(),
        QueryType::Other(_) => false,
    }
}
