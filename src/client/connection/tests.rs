//! A connection over an in-memory stream, against a broker played by hand on a paused clock.

use bytes::{BufMut, BytesMut};
use kafka_proto::id::Generation;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::*;
use crate::client::request::heartbeat::Heartbeat;
use crate::client::request::metadata::GetMetadata;

const LONG: Duration = Duration::from_secs(30);

/// The other end of the stream.
struct Broker(DuplexStream);

#[derive(Debug)]
struct Asked {
    key: i16,
    version: i16,
    correlation: i32,
}

impl Broker {
    async fn asked(&mut self) -> Asked {
        let length = self.0.read_i32().await.unwrap();
        let mut frame = vec![0; usize::try_from(length).unwrap()];
        self.0.read_exact(&mut frame).await.unwrap();
        let short = |at: usize| i16::from_be_bytes([frame[at], frame[at + 1]]);
        let correlation = i32::from_be_bytes(frame[4..8].try_into().unwrap());
        Asked { key: short(0), version: short(2), correlation }
    }

    async fn answer(&mut self, correlation: i32, body: &[u8]) {
        let length = i32::try_from(body.len() + 4).unwrap();
        self.0.write_i32(length).await.unwrap();
        self.0.write_i32(correlation).await.unwrap();
        self.0.write_all(body).await.unwrap();
    }

    /// Answers `ApiVersions` v4: Heartbeat and Metadata in these versions.
    async fn negotiate(&mut self, heartbeat: (i16, i16)) {
        let asked = self.asked().await;
        assert_eq!((asked.key, asked.version), (18, 4));
        let mut body = BytesMut::new();
        body.put_i16(0);
        body.put_u8(4); // three entries
        for (key, min, max) in [(12, heartbeat.0, heartbeat.1), (3, 0, 1), (18, 0, 4)] {
            body.put_i16(key);
            body.put_i16(min);
            body.put_i16(max);
            body.put_u8(0);
        }
        body.put_i32(0);
        body.put_u8(0);
        self.answer(asked.correlation, &body).await;
    }
}

async fn connected_with(config: ClientConfig, buffer: usize, heartbeat: (i16, i16)) -> (Connection, Broker) {
    let (ours, theirs) = tokio::io::duplex(buffer);
    let mut broker = Broker(theirs);
    let peer = Peer { name: HostPort::parse("b1:9092").unwrap(), address: "127.0.0.1:9092".parse().unwrap() };
    let (connection, ()) = tokio::join!(
        Connection::negotiate(Load::Questions, Box::new(ours), peer, &config, Arc::default()),
        broker.negotiate(heartbeat)
    );
    (connection.unwrap(), broker)
}

async fn connected() -> (Connection, Broker) {
    connected_with(ClientConfig::new(["b1:9092"]), 1 << 20, (0, 0)).await
}

fn heartbeat() -> Heartbeat {
    Heartbeat { group_id: "g".into(), generation: Generation(1), member_id: "m".into(), group_instance_id: None }
}

/// A request as a task, so that several can be under way.
fn ask(connection: &Connection, deadline: Duration) -> tokio::task::JoinHandle<Result<i16, RequestError>> {
    let connection = connection.clone();
    tokio::spawn(async move { connection.request(heartbeat(), deadline).await.map(|answer| answer.error.code()) })
}

#[tokio::test(start_paused = true)]
async fn requests_are_pipelined_and_answers_find_their_askers() {
    let (connection, mut broker) = connected().await;
    let first = ask(&connection, LONG);
    let one = broker.asked().await;
    let second = ask(&connection, LONG);
    let two = broker.asked().await;
    assert_ne!(one.correlation, two.correlation);
    broker.answer(one.correlation, &[0, 27]).await;
    broker.answer(two.correlation, &[0, 25]).await;
    assert_eq!(first.await.unwrap(), Ok(27));
    assert_eq!(second.await.unwrap(), Ok(25));
}

#[tokio::test(start_paused = true)]
async fn a_timeout_ends_the_connection_for_everyone_with_one_cause() {
    let (connection, mut broker) = connected().await;
    let impatient = ask(&connection, Duration::from_secs(1));
    let patient = ask(&connection, LONG);
    broker.asked().await;
    broker.asked().await;
    let started = Instant::now();
    let cause = impatient.await.unwrap().unwrap_err();
    assert!(matches!(&cause, RequestError::Closed(CloseCause::TimedOut { after, .. }) if after.as_secs() == 1));
    assert_eq!(patient.await.unwrap(), Err(cause.clone()));
    assert!(started.elapsed() < Duration::from_secs(2), "nobody waits for a dead connection");
    assert_eq!(connection.request(heartbeat(), LONG).await.unwrap_err(), cause);
    assert_eq!(broker.0.read(&mut [0; 1]).await.unwrap(), 0, "the socket is closed at once");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_runs_into_the_deadline_too() {
    let (connection, _broker) = connected_with(ClientConfig::new(["b1:1"]), 64, (0, 0)).await;
    let mut large = heartbeat();
    large.member_id = "m".repeat(1000);
    let refused = connection.request(large, Duration::from_secs(1)).await.unwrap_err();
    assert!(matches!(refused, RequestError::Closed(CloseCause::TimedOut { .. })), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_never_touches_the_wire() {
    let (connection, mut broker) = connected().await;
    let abandoned = ask(&connection, LONG);
    let one = broker.asked().await;
    abandoned.abort();
    let second = ask(&connection, LONG);
    let two = broker.asked().await;
    broker.answer(one.correlation, &[0, 1]).await;
    broker.answer(two.correlation, &[0, 2]).await;
    assert_eq!(second.await.unwrap(), Ok(2));
    assert!(!connection.is_closed());
}

#[tokio::test(start_paused = true)]
async fn the_deadline_of_a_caller_that_went_away_stays_in_force() {
    let (connection, mut broker) = connected().await;
    let abandoned = ask(&connection, Duration::from_secs(1));
    broker.asked().await;
    abandoned.abort();
    assert!(matches!(connection.closed().await, CloseCause::TimedOut { .. }));
}

#[tokio::test(start_paused = true)]
async fn an_answer_out_of_order_ends_the_connection_at_once() {
    let (connection, mut broker) = connected().await;
    let asked = ask(&connection, LONG);
    let one = broker.asked().await;
    let started = Instant::now();
    broker.answer(one.correlation + 1, &[0, 0]).await;
    let expected = CloseCause::Correlation { expected: Some(one.correlation), got: one.correlation + 1 };
    assert_eq!(asked.await.unwrap(), Err(RequestError::Closed(expected)));
    assert_eq!(started.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn an_oversized_answer_is_refused_before_it_is_read() {
    let mut config = ClientConfig::new(["b1:9092"]);
    config.receive_message_max_bytes = 1 << 16;
    let (connection, mut broker) = connected_with(config, 1 << 20, (0, 0)).await;
    let asked = ask(&connection, LONG);
    broker.asked().await;
    broker.0.write_i32(i32::MAX).await.unwrap();
    let expected = CloseCause::TooLarge { length: 0x7fff_ffff, limit: 1 << 16 };
    assert_eq!(asked.await.unwrap(), Err(RequestError::Closed(expected)));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_cannot_be_understood_ends_the_connection() {
    for body in [&[0_u8][..], &[0, 0, 9]] {
        let (connection, mut broker) = connected().await;
        let asked = ask(&connection, LONG);
        let one = broker.asked().await;
        broker.answer(one.correlation, body).await;
        let refused = asked.await.unwrap().unwrap_err();
        assert!(matches!(refused, RequestError::Closed(CloseCause::Malformed { version: 0, .. })), "{refused}");
        assert!(connection.is_closed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_million_element_array_costs_an_error_and_not_memory() {
    let (connection, mut broker) = connected().await;
    let asked = {
        let connection = connection.clone();
        tokio::spawn(async move { connection.request(GetMetadata { topics: Some(Vec::new()) }, LONG).await.map(drop) })
    };
    let one = broker.asked().await;
    broker.answer(one.correlation, &0x0fff_ffff_i32.to_be_bytes()).await;
    let refused = asked.await.unwrap().unwrap_err();
    let what = Malformed::Array { claimed: 0x0fff_ffff, left: 0 };
    let api = GetMetadata::KEY;
    assert_eq!(refused, RequestError::Closed(CloseCause::Malformed { api, version: 1, what }));
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_hangs_up_is_named_as_such() {
    let (connection, mut broker) = connected().await;
    let asked = ask(&connection, LONG);
    broker.asked().await;
    drop(broker);
    assert_eq!(asked.await.unwrap(), Err(RequestError::Closed(CloseCause::ClosedByPeer)));
    let (idle, broker) = connected().await;
    drop(broker);
    assert_eq!(idle.closed().await, CloseCause::ClosedByPeer);
}

#[tokio::test(start_paused = true)]
async fn versions_are_chosen_by_range() {
    for (offered, chosen) in [((0, 3), Some(3)), ((2, 9), Some(4)), ((5, 9), None)] {
        let (connection, mut broker) = connected_with(ClientConfig::new(["b:1"]), 1 << 16, offered).await;
        assert_eq!(connection.api_version::<Heartbeat>(), chosen);
        let asked = ask(&connection, LONG);
        match chosen {
            Some(version) => assert_eq!(broker.asked().await.version, version),
            None => assert!(matches!(asked.await.unwrap(), Err(RequestError::Unsupported { .. }))),
        }
        assert_eq!(connection.api_version::<AtMost<3, Heartbeat>>(), chosen.map(|version| version.min(3)));
        assert!(!connection.is_closed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_does_not_know_our_api_versions_is_asked_in_version_0() {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let mut broker = Broker(theirs);
    let peer = Peer { name: HostPort::parse("b1:9092").unwrap(), address: "127.0.0.1:9092".parse().unwrap() };
    let config = ClientConfig::new(["b1:9092"]);
    let old_broker = async {
        let first = broker.asked().await;
        broker.answer(first.correlation, &[0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 2]).await;
        let second = broker.asked().await;
        assert_eq!((second.key, second.version), (18, 0));
        broker.answer(second.correlation, &[0, 0, 0, 0, 0, 1, 0, 12, 0, 0, 0, 1]).await;
    };
    let (connection, ()) =
        tokio::join!(Connection::negotiate(Load::Questions, Box::new(ours), peer, &config, Arc::default()), old_broker);
    assert_eq!(connection.unwrap().api_version::<Heartbeat>(), Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_throttle_delays_the_next_request_and_discards_nothing() {
    let (connection, mut broker) = connected_with(ClientConfig::new(["b:1"]), 1 << 16, (1, 1)).await;
    let first = ask(&connection, LONG);
    let one = broker.asked().await;
    broker.answer(one.correlation, &[0, 0, 0x13, 0x88, 0, 27]).await; // 5,000 ms
    assert_eq!(first.await.unwrap(), Ok(27), "the answer counts although it throttles");
    assert_eq!(connection.muted_for(), Some(Duration::from_secs(5)));
    let started = Instant::now();
    let second = ask(&connection, Duration::from_secs(1));
    let two = broker.asked().await;
    assert_eq!(started.elapsed().as_secs(), 5);
    broker.answer(two.correlation, &[0, 0, 0, 0, 0, 0]).await;
    assert_eq!(second.await.unwrap(), Ok(0), "the deadline begins after the throttle");
    assert_eq!(connection.throttles(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_as_planned() {
    let mut config = ClientConfig::new(["b1:9092"]);
    config.connections_max_idle = Duration::from_mins(4);
    let (connection, mut broker) = connected_with(config, 1 << 16, (0, 0)).await;
    let started = Instant::now();
    // On the paused clock: 200 s without a use, in no time.
    tokio::time::sleep(Duration::from_secs(200)).await;
    let used = ask(&connection, LONG);
    let one = broker.asked().await;
    broker.answer(one.correlation, &[0, 0]).await;
    used.await.unwrap().unwrap();
    let cause = connection.closed().await;
    assert!(cause.is_planned(), "{cause}");
    assert_eq!(started.elapsed().as_secs(), 440, "240 s after the last use");
}

#[tokio::test(start_paused = true)]
async fn a_retiring_connection_takes_no_new_request_and_finishes_those_under_way() {
    let (connection, mut broker) = connected().await;
    connection.retire_at(Instant::now() + Duration::from_secs(10));
    let under_way = ask(&connection, LONG);
    let one = broker.asked().await;
    // On the paused clock: past the moment of retiring.
    tokio::time::sleep(Duration::from_secs(11)).await;
    let refused = connection.request(heartbeat(), LONG).await.unwrap_err();
    assert_eq!(refused, RequestError::Closed(CloseCause::SessionEnding));
    assert!(refused.is_planned());
    broker.answer(one.correlation, &[0, 7]).await;
    assert_eq!(under_way.await.unwrap(), Ok(7));
    assert_eq!(connection.closed().await, CloseCause::SessionEnding);
}

#[tokio::test(start_paused = true)]
async fn a01_a_request_that_waited_past_the_usable_part_of_the_session_is_not_sent() {
    let (connection, mut broker) = connected_with(ClientConfig::new(["b:1"]), 1 << 16, (1, 1)).await;
    let first = ask(&connection, LONG);
    let one = broker.asked().await;
    broker.answer(one.correlation, &[0, 0, 0x13, 0x88, 0, 0]).await; // 5,000 ms
    first.await.unwrap().unwrap();
    connection.retire_at(Instant::now() + Duration::from_secs(3));
    let started = Instant::now();
    let late = ask(&connection, LONG).await.unwrap();
    assert_eq!(late, Err(RequestError::Closed(CloseCause::SessionEnding)), "it may be asked anew elsewhere");
    assert_eq!(started.elapsed().as_secs(), 5, "the throttle outlasted the session");
    assert_eq!(connection.closed().await, CloseCause::SessionEnding);
    assert_eq!(broker.0.read_u8().await.map_err(|error| error.kind()), Err(std::io::ErrorKind::UnexpectedEof));
}

#[tokio::test(start_paused = true)]
async fn a_retired_connection_without_use_is_closed_in_time() {
    let (connection, _broker) = connected().await;
    let started = Instant::now();
    connection.retire_at(Instant::now() + Duration::from_secs(10));
    assert_eq!(connection.closed().await, CloseCause::SessionEnding);
    assert_eq!(started.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn a01_who_finds_a_connection_retired_says_so_however_soon_it_is_replaced() {
    let (connection, _broker) = connected().await;
    connection.retire_at(Instant::now());
    assert!(connection.is_closed());
    // Nothing else has run.
    let told = connection.inner.flight.entries();
    assert!(told.iter().any(|entry| entry.detail.contains("closed before the SASL session ends")), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn the_last_clone_closes_the_socket() {
    let (connection, mut broker) = connected().await;
    let second = connection.clone();
    drop(connection);
    assert!(!second.is_closed());
    drop(second);
    assert_eq!(broker.0.read(&mut [0; 1]).await.unwrap(), 0);
}

/// A connection that fetches, and the broker at its other end.
async fn connected_for_records(config: ClientConfig, buffer: usize) -> (Connection, Broker) {
    let (ours, theirs) = tokio::io::duplex(buffer);
    let mut broker = Broker(theirs);
    let peer = Peer { name: HostPort::parse("b1:9092").unwrap(), address: "127.0.0.1:9092".parse().unwrap() };
    let negotiated = Connection::negotiate(Load::Records, Box::new(ours), peer, &config, Arc::default());
    let (connection, ()) = tokio::join!(negotiated, broker.negotiate((0, 0)));
    (connection.unwrap(), broker)
}

#[tokio::test(start_paused = true)]
async fn a_connection_for_records_answers_one_after_the_other() {
    // A pipe of three bytes: every read ends in the middle of something.
    let (connection, mut broker) = connected_for_records(ClientConfig::new(["b1:9092"]), 3).await;
    let asked: Vec<_> = (0..3).map(|_| ask(&connection, LONG)).collect();
    for code in [0_i16, 27, 0] {
        let request = broker.asked().await;
        broker.answer(request.correlation, &code.to_be_bytes()).await;
    }
    let mut codes = Vec::new();
    for asked in asked {
        codes.push(asked.await.unwrap().unwrap());
    }
    codes.sort_unstable();
    assert_eq!(codes, [0, 0, 27]);
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_closes_the_socket_of_a_connection_for_records() {
    let (connection, mut broker) = connected_for_records(ClientConfig::new(["b1:9092"]), 1 << 20).await;
    let asked = ask(&connection, Duration::from_secs(5));
    broker.asked().await;
    assert!(matches!(asked.await.unwrap(), Err(RequestError::Closed(CloseCause::TimedOut { .. }))));
    assert_eq!(broker.0.read(&mut [0; 8]).await.unwrap(), 0, "the socket is closed");
    assert!(connection.is_closed());
}

#[tokio::test(start_paused = true)]
async fn a_connection_for_records_that_is_closed_while_nothing_is_asked_gives_its_socket_back() {
    let (connection, mut broker) = connected_for_records(ClientConfig::new(["b1:9092"]), 1 << 20).await;
    connection.close();
    assert_eq!(broker.0.read(&mut [0; 8]).await.unwrap(), 0, "the socket is closed");
}

#[tokio::test(start_paused = true)]
async fn a_connection_for_records_refuses_an_answer_above_its_limit() {
    let mut config = ClientConfig::new(["b1:9092"]);
    config.receive_message_max_bytes = 1000;
    let (connection, mut broker) = connected_for_records(config, 1 << 20).await;
    let asked = ask(&connection, LONG);
    broker.asked().await;
    broker.0.write_i32(1001).await.unwrap();
    assert!(matches!(asked.await.unwrap(), Err(RequestError::Closed(CloseCause::TooLarge { length: 1001, .. }))));
}
