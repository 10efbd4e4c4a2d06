//! Records on their way from the log to the application.

use std::time::Duration;

use kafka_broker_double::{ApiKey, Batch, Cluster, Record, Request, Security as BrokerSecurity};
use kafka_consumer::client::{
    CorruptBatchPolicy, FetchState, IsolationLevel, PasswordSource, SaslMechanism, SaslSettings, Security, TlsSettings,
    TopicPartition,
};
use kafka_proto::compression::Codec;

use super::{PATIENCE, Reader, builder, numbers, texts};

#[tokio::test]
async fn records_of_every_codec_arrive_in_order_over_tls_and_scram() {
    let cluster = Cluster::builder().topic("t", 1).security(BrokerSecurity::sasl_ssl("sre", "secret")).start();
    for (index, codec) in Codec::ALL.into_iter().enumerate() {
        cluster.append("t", 0, &Batch::of(numbers(index * 100, 100)).codec(codec));
    }
    let password = PasswordSource::from("secret");
    let sasl = SaslSettings { mechanism: SaslMechanism::ScramSha512, username: "sre".to_owned(), password };
    let security = Security::SaslSsl(sasl, TlsSettings::with_ca(cluster.ca_file()));
    let mut reader = Reader::from(builder(&cluster).security(security));
    reader.until_read(500).await;
    assert_eq!(reader.values[&0], texts(0, 500));
    let report = reader.commit().await;
    assert_eq!(report.committed.len(), 1);
    assert_eq!(cluster.committed("g", "t", 0), Some(500));
    reader.close().await;
}

#[tokio::test]
async fn an_old_broker_is_read_with_the_oldest_fetch() {
    let cluster = Cluster::builder().topic("t", 2).max_version(ApiKey::Fetch, 4).start();
    cluster.produce("t", 0, numbers(0, 10));
    cluster.produce("t", 1, numbers(10, 10));
    let mut reader = Reader::of(&cluster);
    reader.until_read(20).await;
    assert_eq!((&reader.values[&0], &reader.values[&1]), (&texts(0, 10), &texts(10, 10)));
    reader.close().await;
}

#[tokio::test]
async fn o05_aborted_transactions_are_not_seen_and_their_markers_count() {
    let cluster = Cluster::builder().topic("t", 1).start();
    let mut aborted = cluster.begin_transaction();
    aborted.produce("t", 0, numbers(0, 5));
    aborted.abort();
    let mut committed = cluster.begin_transaction();
    committed.produce("t", 0, numbers(5, 5));
    committed.commit();
    let mut reader = Reader::of(&cluster);
    reader.until_read(5).await;
    let end = cluster.log_end("t", 0);
    reader.until("the marker is passed", |reader| reader.position(0).is_some_and(|at| at.get() == end)).await;
    reader.for_a_while().await;
    assert_eq!(reader.values[&0], texts(5, 5));
    reader.commit().await;
    assert_eq!(cluster.committed("g", "t", 0), Some(end));
    reader.close().await;
}

#[tokio::test]
async fn o06_only_read_uncommitted_sees_an_open_transaction() {
    let cluster = Cluster::builder().topic("t", 1).start();
    let mut open = cluster.begin_transaction();
    open.produce("t", 0, numbers(0, 5));
    let mut eager = Reader::from(builder(&cluster).group_id("eager").isolation_level(IsolationLevel::ReadUncommitted));
    eager.until_read(5).await;
    let mut careful = Reader::of(&cluster);
    careful.until("there is a position", |reader| reader.position(0).is_some()).await;
    careful.for_a_while().await;
    assert_eq!(careful.count(), 0);
    open.commit();
    careful.until_read(5).await;
    eager.close().await;
    careful.close().await;
}

#[tokio::test]
async fn o09_what_cannot_be_read_parks_its_partition_by_name_and_the_others_go_on() {
    let cluster = Cluster::builder().topic("t", 2).start();
    cluster.produce("t", 0, numbers(0, 3));
    cluster.append_garbage("t", 0, vec![0x5a; 200], 4);
    cluster.produce("t", 0, numbers(7, 3));
    cluster.produce("t", 1, numbers(0, 3));
    let mut reader = Reader::of(&cluster);
    reader.until_read(6).await;
    let is_parked = |reader: &Reader| {
        let partitions = reader.handle.snapshot().partitions;
        partitions.iter().any(|partition| matches!(partition.state, FetchState::Parked(_)))
    };
    reader.until("the partition is parked", is_parked).await;
    assert_eq!((&reader.values[&0], &reader.values[&1]), (&texts(0, 3), &texts(0, 3)));
    reader.close().await;
}

#[tokio::test]
async fn o09_a_flipped_bit_is_fetched_again_and_passed_over_only_if_it_stays() {
    let cluster = Cluster::builder().topic("t", 1).start();
    cluster.produce("t", 0, numbers(0, 3));
    let mut broken = Batch::of(numbers(3, 3)).encode().to_vec();
    let last = broken.len() - 1;
    broken[last] ^= 1;
    cluster.append_verbatim("t", 0, &rebased(broken, 3)).unwrap();
    cluster.produce("t", 0, numbers(6, 3));
    let skipping = builder(&cluster).configure(|config| config.corrupt_batch_policy = CorruptBatchPolicy::Skip);
    let mut reader = Reader::from(skipping);
    reader.until_read(6).await;
    assert_eq!(reader.values[&0], [texts(0, 3), texts(6, 3)].concat());
    assert!(reader.has_event(&["Skipped", "first: Offset(3), last: Offset(5)", "CRC"]), "{:?}", reader.events);
    reader.close().await;
}

/// The batch with another base offset, which its checksum does not cover.
fn rebased(mut batch: Vec<u8>, base: i64) -> bytes::Bytes {
    batch[..8].copy_from_slice(&base.to_be_bytes());
    batch.into()
}

#[tokio::test]
async fn o14_a_lost_fetch_session_costs_a_full_fetch_and_nothing_else() {
    let cluster = Cluster::builder().topic("t", 2).start();
    cluster.produce("t", 0, numbers(0, 5));
    let mut reader = Reader::of(&cluster);
    reader.until_read(5).await;
    for round in 1..4 {
        cluster.expire_fetch_sessions(1);
        cluster.produce("t", 1, numbers(round * 5, 5));
        reader.until_read(5 + round * 5).await;
    }
    assert_eq!(reader.values[&1], texts(5, 15));
    reader.close().await;
}

/// Whether the broker was asked for this offset of partition 0.
fn was_asked_for(cluster: &Cluster, offset: i64) -> bool {
    cluster.requests(ApiKey::Fetch).iter().any(|seen| match &seen.request {
        Request::Fetch(fetch) => {
            fetch.topics.iter().flat_map(|topic| &topic.partitions).any(|asked| asked.fetch_offset == offset)
        }
        _ => false,
    })
}

#[tokio::test]
async fn the_next_fetch_is_on_its_way_before_the_application_takes_a_record() {
    let cluster = Cluster::builder().topic("t", 1).start();
    let mut reader = Reader::of(&cluster);
    reader.until("it is assigned", |reader| reader.owned.len() == 1).await;
    // Batches are opened where the application takes them, and from here on it takes nothing.
    for end in [5, 10, 15] {
        cluster.produce("t", 0, numbers(end - 5, 5));
        let offset = i64::try_from(end).unwrap();
        cluster.wait_until("what comes next is asked for", PATIENCE, |cluster| was_asked_for(cluster, offset)).await;
    }
    assert_eq!(reader.count(), 0);
    reader.until_read(15).await;
    assert_eq!(reader.values[&0], texts(0, 15));
    reader.close().await;
}

#[tokio::test]
async fn few_records_reach_the_application_before_the_next_fetch_is_sent_and_many_after() {
    let cluster = Cluster::builder().topic("t", 1).start();
    // No fetch comes back empty meanwhile.
    let mut reader = Reader::from(builder(&cluster).configure(|config| config.fetch_max_wait = Duration::from_mins(1)));
    reader.until("it is assigned", |reader| reader.owned.len() == 1).await;
    let loads = [("few", numbers(0, 5), false), ("many", vec![Record::new("x".repeat(100_000))], true)];
    let mut end = 0;
    for (load, records, on_its_way) in loads {
        cluster.wait_until("the fetch is there", PATIENCE, |cluster| was_asked_for(cluster, end)).await;
        end += i64::try_from(records.len()).unwrap();
        cluster.produce("t", 0, records);
        reader.until_read(usize::try_from(end).unwrap()).await;
        hold_everything_for(Duration::from_millis(100));
        assert_eq!(was_asked_for(&cluster, end), on_its_way, "{load}");
    }
    reader.close().await;
}

/// Nothing of this runtime runs meanwhile: what was sent arrives at the broker, and nothing more is sent.
#[expect(clippy::disallowed_methods, reason = "what is looked at is that nothing happens while the thread is held")]
fn hold_everything_for(time: Duration) {
    std::thread::sleep(time);
}

#[tokio::test]
async fn o15_a_pause_keeps_what_was_fetched_and_repeats_nothing() {
    let cluster = Cluster::builder().topic("t", 2).start();
    let mut reader = Reader::of(&cluster);
    reader.until("both are assigned", |reader| reader.owned.len() == 2).await;
    let paused = [TopicPartition::new("t", 0)];
    cluster.produce("t", 0, numbers(0, 5));
    reader.until_read(5).await;
    reader.handle.pause(&paused);
    for batch in 1..6 {
        cluster.produce("t", 0, numbers(batch * 5, 5));
        cluster.produce("t", 1, numbers(batch * 5, 5));
    }
    reader.until_read(30).await;
    reader.for_a_while().await;
    assert_eq!(reader.values[&0], texts(0, 5));
    reader.handle.resume(&paused);
    reader.until_read(55).await;
    assert_eq!(reader.values[&0], texts(0, 30));
    reader.close().await;
}

#[tokio::test]
async fn l02_what_is_queued_stays_within_its_bound_and_everything_arrives() {
    let cluster = Cluster::builder().topic("t", 4).start();
    let value = "x".repeat(1_000);
    for partition in 0..4 {
        for _ in 0..50 {
            cluster.produce("t", partition, vec![value.clone(); 20]);
        }
    }
    let bounded = builder(&cluster).configure(|config| {
        config.max_partition_fetch_bytes = 64 * 1024;
        config.queued_max_bytes_per_partition = 64 * 1024;
        config.queued_max_bytes = 256 * 1024;
    });
    let mut reader = Reader::from(bounded);
    let mut most = 0;
    while reader.count() < 4_000 {
        let before = reader.count();
        reader.until_read(before + 1).await;
        most = most.max(reader.handle.snapshot().buffered_bytes);
    }
    assert!(most <= 320 * 1024, "{most} bytes were queued");
    reader.close().await;
}

#[tokio::test]
async fn l05_dropping_next_at_any_moment_loses_no_record() {
    let cluster = Cluster::builder().topic("t", 3).start();
    let mut reader = Reader::of(&cluster);
    for round in 0..40 {
        for partition in 0..3 {
            cluster.produce("t", partition, numbers(round * 5, 5));
        }
        for micros in [0, 50, 500, 5_000] {
            if let Ok(event) = tokio::time::timeout(Duration::from_micros(micros), reader.consumer.next()).await {
                reader.take(event.unwrap()).await;
            }
        }
    }
    reader.until_read(600).await;
    for partition in 0..3 {
        assert_eq!(reader.values[&partition], texts(0, 200));
    }
    reader.close().await;
}

#[tokio::test]
async fn n01_fetches_that_fail_or_get_no_answer_do_not_stop_reading() {
    let cluster = Cluster::builder().topic("t", 1).start();
    let mut reader = Reader::of(&cluster);
    cluster.produce("t", 0, numbers(0, 5));
    reader.until_read(5).await;
    let faults = [cluster.on(ApiKey::Fetch).disconnect(), cluster.on(ApiKey::Fetch).after(1).truncate_frame()];
    reader.until("the faults were met", |_| faults.iter().all(|fault| fault.hits() > 0)).await;
    cluster.produce("t", 0, numbers(5, 5));
    reader.until_read(10).await;
    assert_eq!(reader.values[&0], texts(0, 10));
    reader.close().await;
}
