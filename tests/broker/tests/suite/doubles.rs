//! The DNS server and the HTTP target.

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::time::Duration;

use kafka_broker_double::dns::{DnsAnswer, DnsServer, QueryType};
use kafka_broker_double::target::{Reply, Target};

/// A query for the addresses of a name, by its labels.
fn query(labels: &[&str], kind: u8) -> Vec<u8> {
    let mut message = vec![7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in labels {
        message.push(u8::try_from(label.len()).expect("a short label"));
        message.extend(label.as_bytes());
    }
    message.extend([0, 0, kind, 0, 1]);
    message
}

fn ask(dns: &DnsServer, labels: &[&str], kind: u8) -> std::io::Result<Vec<u8>> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.set_read_timeout(Some(Duration::from_millis(300)))?;
    socket.send_to(&query(labels, kind), dns.address())?;
    let mut answer = vec![0; 512];
    let length = socket.recv(&mut answer)?;
    answer.truncate(length);
    Ok(answer)
}

/// Response code and count of answers.
fn summary(answer: &[u8]) -> (u8, u8) {
    (answer[3] & 0xf, answer[7])
}

#[test]
fn names_are_answered_by_type_and_chains_are_followed() {
    let dns = DnsServer::start();
    dns.set("a.test", DnsAnswer::addresses(["127.0.0.1", "127.0.0.2", "::1"]));
    dns.set("alias.test", DnsAnswer::Cname("A.test.".to_owned()));
    dns.set("bad.test", DnsAnswer::ServFail);
    dns.set("loop.test", DnsAnswer::Cname("loop.test".to_owned()));
    assert_eq!(summary(&ask(&dns, &["a", "test"], 1).unwrap()), (0, 2));
    assert_eq!(summary(&ask(&dns, &["a", "test"], 28).unwrap()), (0, 1));
    assert_eq!(summary(&ask(&dns, &["alias", "test"], 1).unwrap()), (0, 3));
    assert_eq!(summary(&ask(&dns, &["nowhere", "test"], 1).unwrap()), (3, 0));
    assert_eq!(summary(&ask(&dns, &["bad", "test"], 1).unwrap()), (2, 0));
    assert_eq!(summary(&ask(&dns, &["loop", "test"], 1).unwrap()), (2, 0));
    assert_eq!(dns.queries()[1].kind, QueryType::Aaaa);
}

#[test]
fn a_silent_name_is_not_answered_and_a_truncated_one_is_whole_over_tcp() {
    let dns = DnsServer::start();
    dns.set("mute.test", DnsAnswer::Silence);
    dns.set("big.test", DnsAnswer::Truncated(vec!["127.0.0.3".parse().unwrap()]));
    assert!(ask(&dns, &["mute", "test"], 1).is_err());
    let cut = ask(&dns, &["big", "test"], 1).unwrap();
    assert_eq!((cut[2] & 2, summary(&cut)), (2, (0, 0)));
    let mut stream = TcpStream::connect(dns.address()).unwrap();
    let message = query(&["big", "test"], 1);
    stream.write_all(&u16::try_from(message.len()).unwrap().to_be_bytes()).unwrap();
    stream.write_all(&message).unwrap();
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut whole = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut whole).unwrap();
    assert_eq!(summary(&whole), (0, 1));
    assert!(dns.queries().last().unwrap().over_tcp);
}

fn post(target: &Target, path: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(target.address()).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_millis(300))).expect("a connection");
    let length = body.len();
    write!(stream, "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{body}").expect("a connection");
    stream.shutdown(std::net::Shutdown::Write).expect("a connection");
    let mut answer = String::new();
    // Silence ends in an error after what was said before it.
    let _silence = stream.read_to_string(&mut answer);
    answer
}

#[test]
fn a_target_keeps_requests_and_answers_by_path_then_by_turn_then_by_default() {
    let target = Target::start();
    target.queue(Reply::status(503));
    target.queue_at("/b", Reply::status(201).body("made").header("x-id", "7"));
    target.queue_at("/c", Reply::hang());
    target.queue_at("/d", Reply::cut_off(200, "abcd"));
    let created = post(&target, "/b", "hello");
    assert!(created.starts_with("HTTP/1.1 201 Created\r\nx-id: 7\r\n") && created.ends_with("\r\n\r\nmade"));
    assert!(post(&target, "/a", "").starts_with("HTTP/1.1 503 "));
    assert!(post(&target, "/a", "").starts_with("HTTP/1.1 200 "));
    assert_eq!(post(&target, "/c", ""), "");
    assert!(post(&target, "/d", "").ends_with("content-length: 4\r\n\r\nab"));
    assert_eq!(target.request_count(), 5);
    assert_eq!((target.requests()[0].path.as_str(), target.requests()[0].text().as_str()), ("/b", "hello"));
}
