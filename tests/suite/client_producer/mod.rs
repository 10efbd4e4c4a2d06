//! Appending, reading without a group, and creating topics, through the public API alone.

mod faults;
mod reading;
mod real;

use std::collections::BTreeMap;
use std::time::Duration;

use kafka_broker_double::{ApiKey, Cluster, Request};
use kafka_consumer::client::{
    Admin, ClientConfig, Codec, NewTopic, Offset, ProduceError, Producer, ProducerBuilder, ProducerRecord, ReadEvent,
    Reader, StartAt, TopicCreation, TopicPartition,
};

/// No condition takes longer; what a test waits for takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(20);

fn connections(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new([bootstrap]);
    config.retry_backoff = Duration::from_millis(20);
    config.retry_backoff_max = Duration::from_millis(200);
    config
}

/// A producer that gives up after a time that no passing test needs.
fn builder(cluster: &Cluster) -> ProducerBuilder {
    Producer::builder().client(connections(&cluster.bootstrap())).delivery_timeout(PATIENCE)
}

fn producer(cluster: &Cluster) -> Producer {
    builder(cluster).build().expect("valid settings")
}

fn partition(index: i32) -> TopicPartition {
    TopicPartition::new("t", index)
}

/// Every value of a partition from its start to its end, by offset.
async fn values(bootstrap: &str, partition: &TopicPartition) -> BTreeMap<i64, String> {
    let reader = Reader::builder().client(connections(bootstrap)).partition(partition.clone(), StartAt::Earliest);
    let mut reader = reader.build().expect("valid settings");
    let ends = reader.end_offsets(PATIENCE).await.expect("the ends of the log");
    let mut values = BTreeMap::new();
    while reader.position(partition) < ends.get(partition).copied() {
        let event = tokio::time::timeout(PATIENCE, reader.next()).await.expect("in time").expect("no fatal error");
        if let ReadEvent::Records(records) = event {
            let text = |value: Option<&[u8]>| String::from_utf8_lossy(value.unwrap_or(b"(null)")).into_owned();
            values.extend(records.batch().map(|record| (record.offset.get(), text(record.value))));
        }
    }
    reader.close(PATIENCE).await.expect("a clean end");
    values
}

/// Epoch and base sequence of every batch that was sent, in the order of the requests.
fn stamps(cluster: &Cluster) -> Vec<(i16, i32)> {
    let of = |request: Request| match request {
        Request::Produce(request) => {
            let batch = request.topic_data[0].partition_data[0].records.clone().expect("a batch");
            let epoch = i16::from_be_bytes(batch[51..53].try_into().expect("two bytes"));
            (epoch, i32::from_be_bytes(batch[53..57].try_into().expect("four bytes")))
        }
        other => panic!("{other:?}"),
    };
    cluster.requests(ApiKey::Produce).into_iter().map(|seen| of(seen.request)).collect()
}

#[tokio::test]
async fn the_records_of_one_call_land_together_and_the_answer_says_where() {
    let cluster = Cluster::builder().topic("t", 2).start();
    cluster.produce("t", 1, ["before"]);
    let producer = producer(&cluster);
    let three = vec![
        ProducerRecord::new("a").key("k").header("h", "v").null_header("n").timestamp_ms(1_700_000_000_000),
        ProducerRecord::tombstone("k"),
        ProducerRecord::new("c"),
    ];
    let appended = producer.send(&partition(1), three).await.expect("appended");
    assert_eq!((appended.base_offset, appended.log_append_time_ms), (Offset(1), None));
    let one = producer.send(&partition(1), ProducerRecord::new("d")).await.expect("appended");
    assert_eq!(one.base_offset, Offset(4));
    let expected = [(0, "before"), (1, "a"), (2, "(null)"), (3, "c"), (4, "d")];
    let read = values(&cluster.bootstrap(), &partition(1)).await;
    assert_eq!(read, expected.map(|(at, value)| (at, value.to_owned())).into());
    assert_eq!(cluster.log_end("t", 0), 0);
}

#[tokio::test]
async fn key_headers_and_time_arrive_as_they_were_given() {
    let cluster = Cluster::builder().topic("t", 1).start();
    let record = ProducerRecord::new("a").key("k").header("h", "v").null_header("n").timestamp_ms(1_700_000_000_000);
    producer(&cluster).send(&partition(0), record).await.expect("appended");
    let reader = Reader::builder().client(connections(&cluster.bootstrap()));
    let mut reader = reader.partition(partition(0), StartAt::Offset(Offset(0))).build().expect("valid settings");
    let ReadEvent::Records(records) = reader.next().await.expect("an event") else { panic!("no records") };
    let record = records.batch().next().expect("a record");
    let headers: Vec<_> = record.headers().map(|header| header.map(|h| (h.key, h.value)).expect("a header")).collect();
    assert_eq!(headers, [(&b"h"[..], Some(&b"v"[..])), (&b"n"[..], None)]);
    assert_eq!((record.key, record.timestamp_ms), (Some(&b"k"[..]), 1_700_000_000_000));
}

#[tokio::test]
async fn the_answer_tells_the_brokers_time_where_the_topic_goes_by_it() {
    let cluster = Cluster::builder().start();
    let admin = Admin::new(connections(&cluster.bootstrap())).expect("valid settings");
    let topic = NewTopic::new("t").partitions(1).config("message.timestamp.type", "LogAppendTime");
    admin.create_topic(&topic, PATIENCE).await.expect("created");
    let producer = producer(&cluster);
    // The answer to the first try is lost: the second one must tell of the first one's append.
    cluster.on(ApiKey::Produce).apply_then_disconnect();
    let appended = producer.send(&partition(0), ProducerRecord::new("a").timestamp_ms(1)).await.expect("appended");
    let time = appended.log_append_time_ms.expect("a time");
    assert!(time > 1_700_000_000_000, "{time}");
    assert_eq!(cluster.log_end("t", 0), 1);
}

#[tokio::test]
async fn what_waits_while_a_batch_is_in_flight_becomes_the_next_batch() {
    let cluster = Cluster::builder().topic("t", 1).start();
    let producer = producer(&cluster);
    cluster.on(ApiKey::Produce).delay(Duration::from_millis(300));
    let calls = (0..200).map(|number| {
        let producer = producer.clone();
        async move {
            let record = ProducerRecord::new(number.to_string());
            producer.send(&partition(0), record).await.map(|appended| (appended.base_offset.get(), number))
        }
    });
    let offsets: Result<Vec<_>, ProduceError> = futures::future::join_all(calls).await.into_iter().collect();
    let read = values(&cluster.bootstrap(), &partition(0)).await;
    for (offset, number) in offsets.expect("all appended") {
        assert_eq!(read[&offset], number.to_string(), "every call is told where its own record is");
    }
    let batches = cluster.request_count(ApiKey::Produce);
    assert!(batches <= 4, "{batches} requests for 200 calls");
}

#[tokio::test]
async fn every_compression_is_read_back() {
    let cluster = Cluster::builder().topic("t", 1).start();
    for codec in Codec::ALL {
        let producer = builder(&cluster).compression(codec).build().expect("valid settings");
        producer.send(&partition(0), ProducerRecord::new(format!("{codec} ").repeat(50))).await.expect("appended");
        producer.close().await;
    }
    let read = values(&cluster.bootstrap(), &partition(0)).await;
    let expected: Vec<_> = Codec::ALL.iter().map(|codec| format!("{codec} ").repeat(50)).collect();
    assert_eq!(read.into_values().collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn a_call_that_cannot_work_says_so_without_asking_anybody() {
    let cluster = Cluster::builder().topic("t", 1).start();
    let producer =
        builder(&cluster).configure(|config| config.max_request_size = 1000).build().expect("valid settings");
    let large = producer.send(&partition(0), ProducerRecord::new("x".repeat(1000))).await;
    assert!(matches!(large, Err(ProduceError::TooLarge { limit: 1000, .. })), "{large:?}");
    assert_eq!(producer.send(&partition(0), Vec::new()).await, Err(ProduceError::Empty));
    assert_eq!(cluster.request_count(ApiKey::Produce), 0);
}

#[tokio::test]
async fn a_closed_producer_has_answered_everything_and_takes_nothing_more() {
    let cluster = Cluster::builder().topic("t", 1).start();
    let producer = producer(&cluster);
    let (other, partition) = (producer.clone(), partition(0));
    let waiting = tokio::spawn({
        let (producer, partition) = (producer.clone(), partition.clone());
        async move { producer.send(&partition, ProducerRecord::new("a")).await }
    });
    cluster.wait_until("the record is in the log", PATIENCE, |cluster| cluster.log_end("t", 0) == 1).await;
    producer.close().await;
    assert!(waiting.await.expect("no panic").is_ok());
    assert_eq!(other.send(&partition, ProducerRecord::new("b")).await, Err(ProduceError::Closed));
}

#[tokio::test]
async fn a_topic_is_created_once_and_described() {
    let cluster = Cluster::builder().brokers(3).start();
    let admin = Admin::new(connections(&cluster.bootstrap())).expect("valid settings");
    assert_eq!(admin.describe_topic("t", PATIENCE).await, Ok(None));
    let topic = NewTopic::new("t").partitions(4).replication_factor(2);
    cluster.on(ApiKey::CreateTopics).apply_then_disconnect();
    assert_eq!(admin.create_topic(&topic, PATIENCE).await, Ok(TopicCreation::Existed), "its first answer was lost");
    assert_eq!(admin.create_topic(&topic, PATIENCE).await, Ok(TopicCreation::Existed));
    assert_eq!(admin.create_topic(&NewTopic::new("u"), PATIENCE).await, Ok(TopicCreation::Created));
    let described = admin.describe_topic("t", PATIENCE).await.expect("an answer").expect("a topic");
    assert_eq!((described.partitions, described.replication_factor), (vec![0, 1, 2, 3], 2));
    assert_eq!(producer(&cluster).partitions("t").await, Ok(4));
}
