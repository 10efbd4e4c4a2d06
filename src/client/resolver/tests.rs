//! A name server on loopback that answers what a test says.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hickory_resolver::proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, CNAME};
use hickory_resolver::proto::rr::{Name, RData, Record};
use tokio::net::UdpSocket;

use super::*;

const TIMEOUT: Duration = Duration::from_millis(400);

/// What the server knows of one name.
#[derive(Clone)]
enum Zone {
    Records(Vec<(&'static str, RData)>),
    Code(ResponseCode),
    Silence,
}

struct NameServer {
    address: SocketAddr,
    questions: Arc<AtomicUsize>,
}

impl NameServer {
    async fn start(zones: impl IntoIterator<Item = (&'static str, Zone)>) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let questions = Arc::new(AtomicUsize::new(0));
        let zones: HashMap<_, _> =
            zones.into_iter().map(|(name, zone)| (Name::from_str(name).unwrap(), zone)).collect();
        tokio::spawn(serve(socket, zones, Arc::clone(&questions)));
        Self { address, questions }
    }

    fn resolver(&self) -> Resolver {
        Resolver::with_servers(&[self.address], TIMEOUT)
    }
}

async fn serve(socket: UdpSocket, zones: HashMap<Name, Zone>, questions: Arc<AtomicUsize>) {
    let mut buffer = [0; 4096];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else { return };
        let question = Message::from_vec(&buffer[..length]).unwrap();
        questions.fetch_add(1, Ordering::SeqCst);
        let query = question.queries[0].clone();
        let mut answer = Message::new(question.metadata.id, MessageType::Response, OpCode::Query);
        answer.metadata.recursion_available = true;
        answer.add_query(query.clone());
        match zones.get(query.name()) {
            None => answer.metadata.response_code = ResponseCode::NXDomain,
            Some(Zone::Silence) => continue,
            Some(Zone::Code(code)) => answer.metadata.response_code = *code,
            Some(Zone::Records(records)) => {
                let wanted =
                    |data: &RData| data.record_type() == query.query_type() || data.record_type() == RecordType::CNAME;
                for (name, data) in records.iter().filter(|(_, data)| wanted(data)) {
                    answer.add_answer(Record::from_rdata(Name::from_str(name).unwrap(), 60, data.clone()));
                }
            }
        }
        socket.send_to(&answer.to_vec().unwrap(), from).await.unwrap();
    }
}

fn a(last: u8) -> RData {
    RData::A(A(Ipv4Addr::new(127, 0, 0, last)))
}

fn aaaa() -> RData {
    RData::AAAA(AAAA("2001:4998:14:800::1000".parse().unwrap()))
}

fn cname(target: &str) -> RData {
    RData::CNAME(CNAME(Name::from_str(target).unwrap()))
}

/// As the brokers behind the edge network are published: a chain that ends in A and AAAA.
fn edge() -> (&'static str, Zone) {
    let records = vec![
        ("broker1.example.", cname("edge.example.")),
        ("edge.example.", cname("e1.example.")),
        ("e1.example.", a(11)),
        ("e1.example.", a(12)),
        ("e1.example.", aaaa()),
    ];
    ("broker1.example.", Zone::Records(records))
}

#[tokio::test]
async fn only_the_a_records_at_the_end_of_a_cname_chain_count() {
    let server = NameServer::start([edge()]).await;
    let resolved = server.resolver().lookup("broker1.example").await.unwrap();
    assert_eq!(resolved.addresses, [Ipv4Addr::new(127, 0, 0, 11), Ipv4Addr::new(127, 0, 0, 12)]);
    let dropped = server.resolver().dropped("broker1.example").await;
    assert_eq!(dropped, ["2001:4998:14:800::1000".parse::<Ipv6Addr>().unwrap()]);
}

#[tokio::test]
async fn a_trailing_dot_means_the_same_name() {
    let server = NameServer::start([edge()]).await;
    assert_eq!(server.resolver().lookup("broker1.example.").await.unwrap().addresses.len(), 2);
}

#[tokio::test]
async fn a_name_with_only_ipv6_addresses_says_so() {
    let zone = Zone::Records(vec![("six.example.", aaaa())]);
    let server = NameServer::start([("six.example.", zone)]).await;
    let error = server.resolver().lookup("six.example").await.unwrap_err();
    let text = "`six.example` has only IPv6 addresses (2001:4998:14:800::1000); this client dials IPv4 only";
    assert_eq!(error.to_string(), text);
}

#[tokio::test]
async fn a_name_without_any_address_says_so() {
    let server = NameServer::start([("none.example.", Zone::Records(Vec::new()))]).await;
    let error = server.resolver().lookup("none.example").await.unwrap_err();
    assert_eq!(error, ResolveError::NoAddress { name: "none.example".into() });
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_not_found() {
    let server = NameServer::start([]).await;
    let error = server.resolver().lookup("typo.example").await.unwrap_err();
    assert_eq!(error, ResolveError::NotFound { name: "typo.example".into() });
}

#[tokio::test]
async fn servfail_is_a_failure_of_the_server() {
    let server = NameServer::start([("broken.example.", Zone::Code(ResponseCode::ServFail))]).await;
    let error = server.resolver().lookup("broken.example").await.unwrap_err();
    assert!(matches!(error, ResolveError::ServerFailure { .. }), "{error:?}");
    assert!(error.to_string().contains("SERVFAIL"), "{error}");
}

#[tokio::test]
async fn silence_is_a_timeout() {
    let server = NameServer::start([("silent.example.", Zone::Silence)]).await;
    let error = server.resolver().lookup("silent.example").await.unwrap_err();
    assert!(matches!(error, ResolveError::Timeout { .. }), "{error:?}");
}

#[tokio::test]
async fn a_second_server_answers_when_the_first_is_silent() {
    let silent = NameServer::start([("broker1.example.", Zone::Silence)]).await;
    let answering = NameServer::start([edge()]).await;
    let resolver = Resolver::with_servers(&[silent.address, answering.address], TIMEOUT);
    assert_eq!(resolver.lookup("broker1.example").await.unwrap().addresses.len(), 2);
}

#[tokio::test]
async fn every_look_up_asks_anew() {
    let server = NameServer::start([edge()]).await;
    let resolver = server.resolver();
    for asked in 1..=3 {
        resolver.lookup("broker1.example").await.unwrap();
        assert_eq!(server.questions.load(Ordering::SeqCst), asked);
    }
}

#[tokio::test]
async fn literals_and_localhost_need_no_server() {
    let server = NameServer::start([]).await;
    let resolver = server.resolver();
    assert_eq!(resolver.lookup("192.0.2.7").await.unwrap().addresses, [Ipv4Addr::new(192, 0, 2, 7)]);
    assert_eq!(resolver.lookup("localhost").await.unwrap().addresses, [Ipv4Addr::LOCALHOST]);
    let error = resolver.lookup("::1").await.unwrap_err();
    assert!(error.to_string().contains("IPv4 only"), "{error}");
    assert_eq!(server.questions.load(Ordering::SeqCst), 0);
}
