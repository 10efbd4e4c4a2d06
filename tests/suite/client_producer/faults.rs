//! What the network and the brokers do to an append, and what the log and the caller see of it.

use std::time::Duration;

use kafka_broker_double::{ApiKey, Cluster, ResponseError};
use kafka_consumer::client::{ErrorCode, Offset, ProduceError, ProducerRecord};

use super::{PATIENCE, builder, connections, partition, producer, stamps, values};

#[tokio::test]
async fn an_answer_that_is_lost_does_not_append_the_record_twice() {
    let cluster = Cluster::builder().topic("t", 1).start();
    let producer = producer(&cluster);
    producer.send(&partition(0), ProducerRecord::new("a")).await.expect("appended");
    cluster.on(ApiKey::Produce).times(2).apply_then_disconnect();
    let appended = producer.send(&partition(0), ProducerRecord::new("b")).await.expect("appended");
    assert_eq!(appended.base_offset, Offset(1));
    assert_eq!(stamps(&cluster), [(0, 0), (0, 1), (0, 1), (0, 1)]);
    assert_eq!(cluster.log_end("t", 0), 2);
}

#[tokio::test]
async fn a_broker_that_falls_silent_costs_one_request_timeout() {
    let cluster = Cluster::builder().topic("t", 1).start();
    let producer = builder(&cluster);
    let producer = producer.configure(|config| config.client.request_timeout = Duration::from_millis(300));
    let producer = producer.build().expect("valid settings");
    cluster.on(ApiKey::Produce).apply_then_silence();
    let appended = producer.send(&partition(0), ProducerRecord::new("a")).await.expect("appended");
    assert_eq!((appended.base_offset, cluster.log_end("t", 0)), (Offset(0), 1));
}

#[tokio::test]
async fn an_append_whose_fate_stays_unknown_says_so_and_is_fenced_by_the_next() {
    let cluster = Cluster::builder().topic("t", 1).start();
    let producer = builder(&cluster).delivery_timeout(Duration::from_secs(2)).build().expect("valid settings");
    producer.send(&partition(0), ProducerRecord::new("a")).await.expect("appended");
    let fault = cluster.on(ApiKey::Produce).always().apply_then_disconnect();
    let unknown = producer.send(&partition(0), ProducerRecord::new("b")).await.expect_err("no answer ever came");
    assert!(unknown.is_unknown() && !unknown.is_retriable(), "{unknown:?}");
    fault.remove();
    let appended = producer.send(&partition(0), ProducerRecord::new("c")).await.expect("appended");
    assert_eq!(appended.base_offset, Offset(2), "b is in the log, once");
    assert_eq!(stamps(&cluster).last(), Some(&(1, 0)), "a late copy of b would be refused from now on");
}

#[tokio::test]
async fn what_never_left_is_known_not_to_be_appended() {
    let cluster = Cluster::builder().topic("t", 1).start();
    let producer = builder(&cluster).delivery_timeout(Duration::from_secs(1)).build().expect("valid settings");
    cluster.lose_leader("t", 0);
    let leaderless = producer.send(&partition(0), ProducerRecord::new("a")).await.expect_err("there is no leader");
    assert!(leaderless.is_retriable() && leaderless.to_string().contains("leader"), "{leaderless}");
    let beyond = producer.send(&partition(7), ProducerRecord::new("a")).await.expect_err("there is no partition");
    assert!(beyond.is_retriable() && beyond.to_string().contains("has 1 partitions"), "{beyond}");
    let nowhere = kafka_consumer::client::TopicPartition::new("nowhere", 0);
    let absent = producer.send(&nowhere, ProducerRecord::new("a")).await.expect_err("there is no topic");
    assert!(absent.to_string().contains("UNKNOWN_TOPIC_OR_PARTITION"), "{absent}");
    assert_eq!(cluster.request_count(ApiKey::Produce), 0);
}

#[tokio::test]
async fn the_new_leader_gets_the_batch_under_the_same_numbers() {
    let cluster = Cluster::builder().brokers(3).replication(3).topic("t", 1).start();
    let producer = producer(&cluster);
    producer.send(&partition(0), ProducerRecord::new("a")).await.expect("appended");
    let (leader, _) = cluster.leader("t", 0);
    cluster.move_leader("t", 0, leader.expect("a leader") % 3 + 1);
    let appended = producer.send(&partition(0), ProducerRecord::new("b")).await.expect("appended");
    assert_eq!(appended.base_offset, Offset(1));
    assert_eq!(stamps(&cluster)[1..].iter().filter(|stamp| **stamp != (0, 1)).count(), 0, "{:?}", stamps(&cluster));
    let (leader, _) = cluster.leader("t", 0);
    cluster.stop_broker(leader.expect("a leader"));
    cluster.move_leader("t", 0, cluster.brokers()[0]);
    let appended = producer.send(&partition(0), ProducerRecord::new("c")).await.expect("appended");
    assert_eq!((appended.base_offset, cluster.log_end("t", 0)), (Offset(2), 3));
}

#[tokio::test]
async fn errors_that_pass_are_tried_again() {
    let cluster = Cluster::builder().topic("t", 1).start();
    let producer = producer(&cluster);
    for error in [
        ResponseError::NotEnoughReplicas,
        ResponseError::RequestTimedOut,
        ResponseError::NotEnoughReplicasAfterAppend,
        ResponseError::LeaderNotAvailable,
    ] {
        cluster.on(ApiKey::Produce).error(error);
    }
    cluster.on(ApiKey::InitProducerId).error(ResponseError::CoordinatorLoadInProgress);
    producer.send(&partition(0), ProducerRecord::new("a")).await.expect("appended");
    assert_eq!(stamps(&cluster), vec![(0, 0); 5]);
    assert_eq!(cluster.log_end("t", 0), 1);
}

#[tokio::test]
async fn a_refusal_for_good_is_told_at_once_and_leaves_no_hole() {
    let cluster = Cluster::builder().topic("t", 1).start();
    let producer = producer(&cluster);
    producer.send(&partition(0), ProducerRecord::new("a")).await.expect("appended");
    cluster.on(ApiKey::Produce).error(ResponseError::MessageTooLarge);
    let refused = producer.send(&partition(0), ProducerRecord::new("b")).await;
    assert!(matches!(refused, Err(ProduceError::Refused { code: ErrorCode::MessageTooLarge, .. })), "{refused:?}");
    producer.send(&partition(0), ProducerRecord::new("c")).await.expect("appended");
    assert_eq!(stamps(&cluster), [(0, 0), (0, 1), (0, 1)]);
    assert_eq!(cluster.log_end("t", 0), 2);
}

#[tokio::test]
async fn a_log_that_lost_records_is_written_under_the_next_epoch() {
    let cluster = Cluster::builder().topic("t", 1).start();
    let producer = producer(&cluster);
    producer.send(&partition(0), ProducerRecord::new("a")).await.expect("appended");
    for error in [ResponseError::OutOfOrderSequenceNumber, ResponseError::UnknownProducerId] {
        cluster.on(ApiKey::Produce).error(error);
    }
    producer.send(&partition(0), ProducerRecord::new("b")).await.expect("appended");
    assert_eq!(stamps(&cluster), [(0, 0), (0, 1), (1, 0), (2, 0)]);
    let read = values(&cluster.bootstrap(), &partition(0)).await;
    assert_eq!(read.into_values().collect::<Vec<_>>(), ["a", "b"]);
}

#[tokio::test]
async fn a_record_that_is_refused_does_not_take_those_beside_it_along() {
    let cluster = Cluster::builder().topic("t", 1).start();
    let producer = producer(&cluster);
    // The first batch holds the way; meanwhile two calls become one batch, which is refused, and so is the first of them alone.
    let slow = cluster.on(ApiKey::Produce).delay(Duration::from_millis(300));
    let first = tokio::spawn({
        let producer = producer.clone();
        async move { producer.send(&partition(0), ProducerRecord::new("a")).await }
    });
    cluster.wait_until("the first batch is under way", PATIENCE, |_| slow.hits() == 1).await;
    cluster.on(ApiKey::Produce).times(2).error(ResponseError::InvalidRecord);
    let here = partition(0);
    let (second, third) = tokio::join!(
        producer.send(&here, ProducerRecord::new("bad")),
        producer.send(&here, ProducerRecord::new("good")),
    );
    let first = first.await.expect("no panic");
    assert!(first.is_ok() && third.is_ok(), "{first:?} {third:?}");
    assert!(matches!(second, Err(ProduceError::Refused { code: ErrorCode::InvalidRecord, .. })), "{second:?}");
    let read = values(&cluster.bootstrap(), &partition(0)).await;
    assert_eq!(read.into_values().collect::<Vec<_>>(), ["a", "good"]);
}

#[tokio::test]
async fn a_call_that_is_dropped_before_its_turn_sends_nothing() {
    let cluster = Cluster::builder().topic("t", 1).start();
    let producer = producer(&cluster);
    let slow = cluster.on(ApiKey::Produce).delay(Duration::from_millis(400));
    let first = tokio::spawn({
        let producer = producer.clone();
        async move { producer.send(&partition(0), ProducerRecord::new("a")).await }
    });
    cluster.wait_until("the first batch is under way", PATIENCE, |_| slow.hits() == 1).await;
    let here = partition(0);
    let dropped = producer.send(&here, ProducerRecord::new("dropped"));
    assert!(tokio::time::timeout(Duration::from_millis(50), dropped).await.is_err());
    first.await.expect("no panic").expect("appended");
    producer.send(&partition(0), ProducerRecord::new("b")).await.expect("appended");
    let read = values(&cluster.bootstrap(), &partition(0)).await;
    assert_eq!(read.into_values().collect::<Vec<_>>(), ["a", "b"]);
}

#[tokio::test]
async fn memory_that_is_full_makes_calls_wait_and_then_says_so() {
    let cluster = Cluster::builder().topic("t", 1).start();
    let producer = builder(&cluster)
        .delivery_timeout(Duration::from_secs(1))
        .configure(|config| {
            config.client = connections(&cluster.bootstrap());
            config.max_request_size = 1000;
            config.buffer_memory = 1000;
        })
        .build()
        .expect("valid settings");
    let silent = cluster.on(ApiKey::Produce).always().silence();
    let (here, there) = (partition(0), partition(0));
    let (first, second) = tokio::join!(
        producer.send(&here, ProducerRecord::new("x".repeat(900))),
        producer.send(&there, ProducerRecord::new("y".repeat(900))),
    );
    assert!(matches!(first, Err(ProduceError::Unknown { .. })), "{first:?}");
    let Err(ProduceError::NotAppended { last, .. }) = second else { panic!("{second:?}") };
    assert!(last.contains("buffer.memory") || last.contains("turn"), "{last}");
    silent.remove();
}
