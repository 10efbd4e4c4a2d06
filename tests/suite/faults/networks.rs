//! N: sockets that are mute, names that move, brokers that are replaced, throttled or behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kafka_broker_double::dns::{DnsAnswer, DnsServer, QueryType};
use kafka_broker_double::messages::FetchResponse;
use kafka_broker_double::{ApiKey, Cluster, Response, ResponseError};
use kafka_consumer::client::{ConnectionState, ConsumerBuilder, Purpose};

use super::{broker_errors, connection};
use crate::client_consumer::{PATIENCE, Reader, builder, numbers, texts};

const NAME: &str = "b-1.kafka.test";

/// A broker that is known by a name only.
fn named_cluster() -> Cluster {
    Cluster::builder().host(1, NAME).topic("t", 1).start()
}

/// Reads from there, asking this name server.
fn by_name(cluster: &Cluster, dns: &DnsServer) -> ConsumerBuilder {
    builder(cluster).bootstrap_servers([format!("{NAME}:{}", cluster.address(1).port())]).configure(|config| {
        config.client.name_servers = Some(vec![dns.address()]);
        config.client.dns_timeout = Duration::from_millis(300);
        config.client.reconnect_backoff_max = Duration::from_millis(200);
    })
}

#[tokio::test]
async fn n02_connections_without_use_are_closed_by_us_and_that_is_no_error() {
    let cluster = Cluster::builder().topic("t", 1).start();
    let idle = builder(&cluster).configure(|config| config.client.connections_max_idle = Duration::from_millis(300));
    cluster.produce("t", 0, numbers(0, 5));
    let mut reader = Reader::from(idle);
    reader.until_read(5).await;
    reader.commit().await;
    let is_closed = |reader: &Reader| connection(reader, Purpose::Coordinator) == Some(ConnectionState::Closed);
    reader.until("the connection for commits is closed", is_closed).await;
    cluster.produce("t", 0, numbers(5, 5));
    reader.until_read(10).await;
    assert_eq!(reader.commit().await.committed.len(), 1);
    assert_eq!((broker_errors(&reader), reader.handle.snapshot().metadata_error), (Vec::new(), None));
    assert!(!reader.has_event(&["Lost"]), "{:?}", reader.events);
    reader.close().await;
}

#[tokio::test]
async fn n03_a_request_that_is_swallowed_costs_its_connection_and_is_sent_again() {
    let cluster = Cluster::builder().topic("t", 1).start();
    cluster.produce("t", 0, numbers(0, 5));
    let quick = builder(&cluster).configure(|config| config.client.request_timeout = Duration::from_millis(300));
    let mut reader = Reader::from(quick);
    reader.until_read(5).await;
    let fault = cluster.on(ApiKey::OffsetCommit).silence();
    assert_eq!(reader.commit().await.committed.len(), 1);
    let used: Vec<_> = cluster.requests(ApiKey::OffsetCommit).iter().map(|seen| seen.connection).collect();
    assert_eq!((fault.hits(), used.len()), (1, 2));
    assert_ne!(used[0], used[1], "nothing more is asked on the mute connection");
    reader.close().await;
}

#[tokio::test]
async fn n03_an_answer_under_a_foreign_number_ends_the_connection_and_reading_goes_on() {
    let cluster = Cluster::builder().topic("t", 1).start();
    let mut reader = Reader::of(&cluster);
    cluster.produce("t", 0, numbers(0, 5));
    reader.until_read(5).await;
    let fault = cluster.on(ApiKey::Fetch).wrong_correlation();
    reader.until("the fault was met", |_| fault.hits() == 1).await;
    cluster.produce("t", 0, numbers(5, 5));
    reader.until_read(10).await;
    assert_eq!(reader.values[&0], texts(0, 10));
    reader.close().await;
}

#[tokio::test]
async fn n04_only_ipv4_is_asked_for_and_a_dead_address_does_not_keep_from_the_next() {
    let (cluster, dns) = (named_cluster(), DnsServer::start());
    // Nobody listens at the first IPv4 address; the IPv6 one would answer to a client that asked for it.
    dns.set(NAME, DnsAnswer::addresses(["::1", "127.0.0.9", "127.0.0.1"]));
    cluster.produce("t", 0, numbers(0, 5));
    let mut reader = Reader::from(by_name(&cluster, &dns));
    reader.until_read(5).await;
    assert_eq!(broker_errors(&reader), Vec::<String>::new());
    let queries = dns.queries();
    assert!(queries.iter().all(|query| query.kind == QueryType::A), "{queries:?}");
    reader.close().await;
}

#[tokio::test]
async fn n05_every_reconnect_asks_for_the_address_anew() {
    let (cluster, dns) = (named_cluster(), DnsServer::start());
    dns.set_ttl(86_400);
    dns.set(NAME, DnsAnswer::addresses(["127.0.0.1"]));
    let mut reader = Reader::from(by_name(&cluster, &dns));
    cluster.produce("t", 0, numbers(0, 5));
    reader.until_read(5).await;
    for round in 1..3 {
        let asked = dns.queries().len();
        cluster.disconnect_all(1);
        cluster.produce("t", 0, numbers(round * 5, 5));
        reader.until_read(round * 5 + 5).await;
        assert!(dns.queries().len() > asked, "a day of time to live is no reason to remember");
    }
    reader.close().await;
}

#[tokio::test]
async fn n05_brokers_that_are_replaced_one_by_one_are_followed() {
    let cluster = Cluster::builder().brokers(2).topic("t", 1).start();
    cluster.move_leader("t", 0, 1);
    // Nothing goes wrong at the end that would ask for metadata before its time.
    let mut reader =
        Reader::from(builder(&cluster).configure(|config| config.client.metadata_max_age = Duration::from_millis(200)));
    cluster.produce("t", 0, numbers(0, 5));
    reader.until_read(5).await;
    for (round, broker) in [1, 2].into_iter().enumerate() {
        cluster.fail_over(broker);
        cluster.change_port(broker);
        let replaced = Instant::now();
        cluster.produce("t", 0, numbers(5 + round * 5, 5));
        reader.until_read(10 + round * 5).await;
        // Who is asked a second time was told the new address the first time. Were the next one replaced before that,
        // nobody would be left whom the client knows.
        let told = |_: &Reader| {
            let asked = cluster.requests(ApiKey::Metadata);
            asked.iter().filter(|request| request.at > replaced).count() > 1
        };
        reader.until("the new address is known", told).await;
    }
    cluster.add_broker(3);
    cluster.move_leader("t", 0, 3);
    cluster.move_coordinator("g", Some(3));
    cluster.produce("t", 0, numbers(15, 5));
    reader.until_read(20).await;
    for broker in [1, 2] {
        cluster.remove_broker(broker);
    }
    cluster.produce("t", 0, numbers(20, 5));
    reader.until_read(25).await;
    assert_eq!(reader.values[&0], texts(0, 25));
    cluster.bump_leader_epoch("t", 0);
    let gone = |reader: &Reader| {
        let known = reader.handle.snapshot().connections;
        known.iter().filter_map(|known| known.broker).all(|broker| broker.get() == 3)
    };
    reader.until("who is gone is forgotten", gone).await;
    reader.close().await;
}

#[tokio::test]
async fn n06_names_that_do_not_resolve_at_the_start_are_asked_for_until_they_do() {
    for trouble in [DnsAnswer::NxDomain, DnsAnswer::ServFail, DnsAnswer::Silence, DnsAnswer::addresses(["::1"])] {
        let (cluster, dns) = (named_cluster(), DnsServer::start());
        dns.set(NAME, trouble.clone());
        cluster.produce("t", 0, numbers(0, 5));
        let mut reader = Reader::from(by_name(&cluster, &dns));
        let is_told =
            |reader: &Reader| reader.handle.snapshot().metadata_error.is_some_and(|error| error.contains(NAME));
        reader.until(&format!("{trouble:?} is told"), is_told).await;
        dns.set(NAME, DnsAnswer::addresses(["127.0.0.1"]));
        reader.until_read(5).await;
        let settled = |reader: &Reader| reader.handle.snapshot().metadata_error.is_none();
        reader.until("nothing is wrong any more", settled).await;
        reader.close().await;
    }
}

#[tokio::test]
async fn n06_answers_that_are_cut_off_or_go_by_another_name_are_followed() {
    let (cluster, dns) = (named_cluster(), DnsServer::start());
    dns.set(NAME, DnsAnswer::Cname("alias.kafka.test".to_owned()));
    dns.set("alias.kafka.test", DnsAnswer::Truncated(vec!["127.0.0.1".parse().expect("an address")]));
    cluster.produce("t", 0, numbers(0, 5));
    let mut reader = Reader::from(by_name(&cluster, &dns));
    reader.until_read(5).await;
    reader.close().await;
}

#[tokio::test]
async fn n07_metadata_is_asked_of_another_broker_when_one_falls_silent() {
    let cluster = Cluster::builder().brokers(3).topic("t", 1).start();
    let quick = builder(&cluster).configure(|config| {
        config.client.request_timeout = Duration::from_millis(400);
        config.client.metadata_max_age = Duration::from_millis(200);
    });
    let mut reader = Reader::from(quick);
    cluster.produce("t", 0, numbers(0, 5));
    reader.until_read(5).await;
    let asked = cluster.requests(ApiKey::Metadata).last().map(|seen| seen.broker).expect("it was asked");
    let others: Vec<_> = [1, 2, 3].into_iter().filter(|broker| *broker != asked).collect();
    cluster.freeze_broker(asked);
    cluster.move_coordinator("g", Some(others[0]));
    cluster.move_leader("t", 0, others[0]);
    cluster.produce("t", 0, numbers(5, 5));
    reader.until_read(10).await;
    cluster.move_leader("t", 0, others[1]);
    cluster.produce("t", 0, numbers(10, 5));
    reader.until_read(15).await;
    assert_eq!(reader.values[&0], texts(0, 15));
    cluster.thaw_broker(asked);
    reader.close().await;
}

#[tokio::test]
async fn n08_a_leader_that_is_named_along_with_a_refusal_is_read_without_asking() {
    let cluster = Cluster::builder().brokers(2).topic("t", 1).start();
    cluster.move_leader("t", 0, 1);
    let mut reader = Reader::of(&cluster);
    cluster.produce("t", 0, numbers(0, 5));
    reader.until_read(5).await;
    let known = reader.handle.snapshot().connections.len();
    cluster.on(ApiKey::Metadata).always().error(ResponseError::UnknownServerError);
    cluster.move_leader("t", 0, 2);
    cluster.produce("t", 0, numbers(5, 5));
    reader.until_read(10).await;
    assert_eq!(reader.values[&0], texts(0, 10));
    assert!(reader.handle.snapshot().connections.len() >= known, "the hint costs no other broker");
    cluster.clear_faults();
    reader.close().await;
}

#[tokio::test]
async fn n09_records_come_at_once_after_a_new_leader_is_known() {
    let cluster = Cluster::builder().brokers(2).topic("t", 1).start();
    cluster.move_leader("t", 0, 1);
    let mut reader = Reader::of(&cluster);
    cluster.produce("t", 0, numbers(0, 5));
    reader.until_read(5).await;
    let dead = cluster.on(ApiKey::Fetch).at_broker(1).always().error(ResponseError::KafkaStorageError);
    reader.until("the back-off has grown", |_| dead.hits() >= 5).await;
    cluster.produce("t", 0, numbers(5, 5));
    cluster.move_leader("t", 0, 2);
    let begin = std::time::Instant::now();
    reader.until_read(10).await;
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
    reader.close().await;
}

#[tokio::test]
async fn n10_a_throttle_of_fetches_holds_no_heartbeat_or_commit_back_and_survives_a_rebalance() {
    let cluster = Cluster::builder().topic("t", 1).start();
    let mut reader = Reader::of(&cluster);
    cluster.produce("t", 0, numbers(0, 5));
    reader.until_read(5).await;
    cluster.throttle(ApiKey::Fetch, Duration::from_secs(1));
    let throttled = |reader: &Reader| {
        matches!(connection(reader, Purpose::Fetch), Some(ConnectionState::Connected { throttled_for: Some(_), .. }))
    };
    reader.until("fetches are throttled", throttled).await;
    cluster.throttle(ApiKey::Fetch, Duration::ZERO);
    cluster.produce("t", 0, numbers(5, 5));
    cluster.clear_requests();
    assert_eq!(reader.commit().await.committed.len(), 1);
    cluster.wait_until("heartbeats go on", PATIENCE, |cluster| cluster.request_count(ApiKey::Heartbeat) >= 2).await;
    assert!(throttled(&reader) && reader.count() == 5);
    let before = reader.owned[&0].clone();
    cluster.forget_group("g");
    reader.until("it is assigned anew", |reader| reader.owned.get(&0).is_some_and(|now| *now != before)).await;
    assert!(throttled(&reader), "the connection is still the same");
    assert_eq!(cluster.request_count(ApiKey::Fetch), 0, "nothing is asked before the throttle is over");
    reader.until_read(10).await;
    assert_eq!(reader.values[&0], texts(0, 10));
    reader.close().await;
}

#[tokio::test]
async fn n10_a_refusal_that_comes_with_a_throttle_is_heard() {
    let cluster = Cluster::builder().brokers(2).topic("t", 1).start();
    cluster.move_leader("t", 0, 1);
    let refusals = Arc::new(AtomicUsize::new(0));
    let throttled = Arc::clone(&refusals);
    let _throttle = cluster.on(ApiKey::Fetch).at_broker(1).always().edit(move |response| {
        if let Response::Fetch(fetch) = response
            && fetch.responses.iter().flat_map(|topic| &topic.partitions).any(|partition| partition.error_code != 0)
        {
            fetch.throttle_time_ms = 60_000;
            throttled.fetch_add(1, Ordering::Relaxed);
        }
    });
    let mut reader = Reader::of(&cluster);
    cluster.produce("t", 0, numbers(0, 5));
    reader.until_read(5).await;
    cluster.produce("t", 0, numbers(5, 5));
    // The old leader refuses from now on, and asks for a minute of silence with the refusal.
    cluster.move_leader("t", 0, 2);
    reader.until_read(10).await;
    assert_eq!((reader.values[&0].clone(), refusals.load(Ordering::Relaxed)), (texts(0, 10), 1));
    reader.close().await;
}

#[tokio::test]
async fn n10_a_leader_that_moved_is_found_although_the_old_one_does_nothing_but_throttle() {
    let cluster = Cluster::builder().brokers(2).topic("t", 1).start();
    cluster.move_leader("t", 0, 1);
    let mut reader = Reader::of(&cluster);
    cluster.produce("t", 0, numbers(0, 5));
    reader.until_read(5).await;
    // Over its quota, a broker answers without any partition: it does not say that it leads one no more.
    let throttled = cluster
        .on(ApiKey::Fetch)
        .at_broker(1)
        .always()
        .respond_with(|_, _| FetchResponse::default().with_throttle_time_ms(100).into());
    reader.until("nothing else is answered", |_| throttled.hits() >= 2).await;
    cluster.move_leader("t", 0, 2);
    cluster.produce("t", 0, numbers(5, 5));
    let begun = Instant::now();
    reader.until_read(10).await;
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(reader.values[&0], texts(0, 10));
    reader.close().await;
}
