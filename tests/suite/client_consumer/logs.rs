//! Logs that move, shrink or disappear under the reader.

use std::time::Duration;

use kafka_broker_double::{ApiKey, Cluster, ResponseError};

use super::{Reader, builder, numbers, texts};

#[tokio::test]
async fn o01_a_position_below_the_start_of_the_log_is_a_reset_with_that_cause() {
    let cluster = Cluster::builder().topic("t", 1).start();
    cluster.produce("t", 0, numbers(0, 10));
    cluster.commit("g", "t", 0, 2, 0);
    cluster.delete_records("t", 0, 6);
    let mut reader = Reader::of(&cluster);
    reader.until_event(&["OffsetReset", "from: Some(Offset(2)), to: Offset(6)", "BelowLogStart"]).await;
    reader.until_read(4).await;
    assert_eq!(reader.values[&0], texts(6, 4));
    reader.close().await;
}

#[tokio::test]
async fn o01_a_position_above_the_end_of_the_log_is_a_reset_with_another_cause() {
    let cluster = Cluster::builder().topic("t", 1).start();
    cluster.produce("t", 0, numbers(0, 10));
    cluster.commit("g", "t", 0, 99, -1);
    let mut reader = Reader::of(&cluster);
    reader.until_event(&["OffsetReset", "from: Some(Offset(99))", "AboveLogEnd { log_end: Offset(10) }"]).await;
    reader.close().await;
}

#[tokio::test]
async fn o02_a_truncated_log_is_an_event_with_both_offsets() {
    let cluster = Cluster::builder().topic("t", 1).start();
    cluster.produce("t", 0, numbers(0, 5));
    cluster.produce("t", 0, numbers(5, 5));
    let mut reader = Reader::of(&cluster);
    reader.until_read(10).await;
    cluster.truncate("t", 0, 5);
    cluster.produce("t", 0, numbers(100, 5));
    reader.until_event(&["Truncated", "position: Offset(10), diverged_at: Offset(5)"]).await;
    reader.until_read(15).await;
    assert_eq!(reader.values[&0][10..], texts(100, 5));
    reader.close().await;
}

#[tokio::test]
async fn n08_reading_follows_a_leader_that_moves() {
    let cluster = Cluster::builder().brokers(3).topic("t", 1).start();
    let mut reader = Reader::of(&cluster);
    for round in 0..4 {
        let leader = cluster.leader("t", 0).0.unwrap();
        cluster.move_leader("t", 0, leader % 3 + 1);
        cluster.produce("t", 0, numbers(round * 5, 5));
        reader.until_read(round * 5 + 5).await;
    }
    assert_eq!(reader.values[&0], texts(0, 20));
    reader.close().await;
}

#[tokio::test]
async fn n08_refusals_of_the_epoch_refresh_the_metadata_and_lose_nothing() {
    let cluster = Cluster::builder().topic("t", 1).start();
    let mut reader = Reader::of(&cluster);
    cluster.produce("t", 0, numbers(0, 5));
    reader.until_read(5).await;
    let errors = [
        ResponseError::NotLeaderOrFollower,
        ResponseError::FencedLeaderEpoch,
        ResponseError::UnknownLeaderEpoch,
        ResponseError::KafkaStorageError,
        ResponseError::UnknownTopicOrPartition,
    ];
    for (round, error) in errors.into_iter().enumerate() {
        let fault = cluster.on(ApiKey::Fetch).times(2).error(error);
        cluster.produce("t", 0, numbers((round + 1) * 5, 5));
        reader.until_read((round + 2) * 5).await;
        reader.until("the fault was met", |_| fault.hits() == 2).await;
    }
    assert_eq!(reader.values[&0], texts(0, 30));
    assert!(!reader.has_event(&["OffsetReset", "BelowLogStart"]) && !reader.has_event(&["AboveLogEnd"]));
    reader.close().await;
}

#[tokio::test]
async fn l03_a_broker_that_dies_and_comes_back_is_read_on() {
    let cluster = Cluster::builder().brokers(2).topic("t", 2).start();
    let mut reader = Reader::of(&cluster);
    for partition in 0..2 {
        cluster.produce("t", partition, numbers(0, 5));
    }
    reader.until_read(10).await;
    cluster.stop_broker(2);
    reader.for_a_while().await;
    for partition in 0..2 {
        cluster.produce("t", partition, numbers(5, 5));
    }
    cluster.start_broker(2);
    reader.until_read(20).await;
    for partition in 0..2 {
        assert_eq!(reader.values[&partition], texts(0, 10));
    }
    reader.close().await;
}

#[tokio::test]
async fn g18_a_topic_made_anew_is_read_from_its_start_with_an_event() {
    let cluster = Cluster::builder().topic("t", 1).start();
    cluster.produce("t", 0, numbers(0, 5));
    let config = builder(&cluster).configure(|config| config.client.metadata_max_age = Duration::from_millis(200));
    let mut reader = Reader::from(config);
    reader.until_read(5).await;
    cluster.create_topic("t", 1);
    cluster.produce("t", 0, numbers(50, 3));
    reader.until_read(8).await;
    assert_eq!(reader.values[&0][5..], texts(50, 3));
    assert!(reader.has_event(&["OffsetReset", "TopicRecreated"]), "{:?}", reader.events);
    reader.close().await;
}

#[tokio::test]
async fn an_error_storm_is_a_breeze() {
    let cluster = Cluster::builder().topic("t", 8).start();
    let mut reader = Reader::of(&cluster);
    for partition in 0..8 {
        cluster.produce("t", partition, numbers(0, 1));
    }
    reader.until_read(8).await;
    cluster.on(ApiKey::Fetch).always().error(ResponseError::NotLeaderOrFollower);
    cluster.clear_requests();
    let begin = std::time::Instant::now();
    while begin.elapsed() < Duration::from_secs(2) {
        reader.for_a_while().await;
    }
    let seconds = begin.elapsed().as_secs_f64();
    for api in [ApiKey::Fetch, ApiKey::Metadata, ApiKey::OffsetForLeaderEpoch, ApiKey::ListOffsets] {
        let rate = f64::from(u32::try_from(cluster.requests(api).len()).unwrap()) / seconds;
        assert!(rate <= 21.0, "{rate} {api:?} a second");
    }
    cluster.clear_faults();
    cluster.produce("t", 0, numbers(1, 1));
    reader.until_read(9).await;
    reader.close().await;
}
