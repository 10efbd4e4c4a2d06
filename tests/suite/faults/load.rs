//! L: what one slow or broken part may not do to the rest.

use std::time::Duration;

use kafka_broker_double::Cluster;

use crate::client_consumer::{Reader, builder, numbers};

#[tokio::test]
async fn l01_a_partition_with_a_long_queue_does_not_hold_up_another() {
    let cluster = Cluster::builder().topic("t", 2).start();
    for _ in 0..200 {
        cluster.produce("t", 0, vec!["x".repeat(1_000); 10]);
    }
    let mut reader = Reader::from(builder(&cluster).configure(|config| {
        config.max_partition_fetch_bytes = 32 * 1024;
        config.queued_max_bytes_per_partition = 64 * 1024;
    }));
    reader.until_read(10).await;
    cluster.produce("t", 1, numbers(0, 1));
    reader.until("the other partition is read", |reader| reader.values.contains_key(&1)).await;
    let waited_for = reader.values[&0].len();
    assert!(waited_for < 1_000, "{waited_for} of 2000 records came first");
    reader.until_read(2_001).await;
    reader.close().await;
}

#[tokio::test]
async fn l06_the_number_of_connections_stays_the_same_however_often_they_break() {
    let cluster = Cluster::builder().topic("t", 1).start();
    let mut reader = Reader::from(
        builder(&cluster).configure(|config| config.client.reconnect_backoff_max = Duration::from_millis(100)),
    );
    for round in 0..10 {
        cluster.produce("t", 0, numbers(round * 5, 5));
        reader.until_read(round * 5 + 5).await;
        reader.commit().await;
        cluster.disconnect_all(1);
    }
    cluster.produce("t", 0, numbers(50, 5));
    reader.until_read(55).await;
    reader.until("no more than one for each purpose is open", |_| cluster.connection_count(1) <= 6).await;
    reader.close().await;
    assert!(cluster.connection_count(1) <= 6);
}
