//! A reader without a group: where it begins, how far it knows the log, and that it joins nothing.

use std::time::Duration;

use kafka_broker_double::{ApiKey, Cluster, Record};
use kafka_consumer::client::{BuildError, Offset, ReadEvent, Reader, ReaderBuilder, ResetCause, StartAt};

use super::{PATIENCE, connections, partition, values};

fn reader(cluster: &Cluster, start: StartAt) -> ReaderBuilder {
    Reader::builder()
        .client(connections(&cluster.bootstrap()))
        .partition(partition(0), start)
        .configure(|config| config.fetch_max_wait = Duration::from_millis(100))
}

async fn next(reader: &mut Reader) -> ReadEvent {
    tokio::time::timeout(PATIENCE, reader.next()).await.expect("in time").expect("no fatal error")
}

fn minutes(count: i64) -> Vec<Record> {
    (0..count).map(|minute| Record::new(minute.to_string()).at(minute * 60_000)).collect()
}

#[tokio::test]
async fn it_begins_where_it_is_told_to() {
    let cluster = Cluster::builder().topic("t", 1).start();
    for record in minutes(10) {
        cluster.produce("t", 0, [record]);
    }
    cluster.delete_records("t", 0, 2);
    for (start, first) in [
        (StartAt::Earliest, 2),
        (StartAt::Latest, 10),
        (StartAt::TimestampMs(5 * 60_000 - 1), 5),
        (StartAt::TimestampMs(i64::MAX), 10),
    ] {
        let mut reader = reader(&cluster, start).build().expect("valid settings");
        let ReadEvent::Positioned { from, to, cause, .. } = next(&mut reader).await else { panic!("{start:?}") };
        assert_eq!((from, to, cause), (None, Offset(first), ResetCause::Requested), "{start:?}");
        assert_eq!(reader.position(&partition(0)), Some(Offset(first)));
    }
    let mut reader = reader(&cluster, StartAt::Offset(Offset(7))).build().expect("valid settings");
    assert_eq!(reader.position(&partition(0)), Some(Offset(7)));
    let ReadEvent::Records(records) = next(&mut reader).await else { panic!("no records") };
    assert_eq!((records.first_offset(), reader.position(&partition(0))), (Offset(7), Some(Offset(8))));
}

#[tokio::test]
async fn a_position_that_the_log_lost_is_told_with_both_offsets() {
    let cluster = Cluster::builder().topic("t", 1).start();
    cluster.produce("t", 0, ["a", "b", "c"]);
    cluster.delete_records("t", 0, 2);
    let mut reader = reader(&cluster, StartAt::Offset(Offset(1))).build().expect("valid settings");
    let ReadEvent::Positioned { from, to, cause, .. } = next(&mut reader).await else { panic!("no jump") };
    assert_eq!((from, to), (Some(Offset(1)), Offset(2)));
    assert_eq!(cause, ResetCause::BelowLogStart { log_start: Offset(2) });
}

#[tokio::test]
async fn ends_and_high_watermark_are_told_and_no_group_is_asked_for() {
    let cluster = Cluster::builder().brokers(2).topic("t", 2).start();
    cluster.produce("t", 0, ["a", "b"]);
    cluster.produce("t", 1, ["c"]);
    let both = reader(&cluster, StartAt::Earliest).partition(partition(1), StartAt::Earliest);
    let mut reader = both.build().expect("valid settings");
    let ends = reader.end_offsets(PATIENCE).await.expect("the ends");
    assert_eq!(ends, [(partition(0), Offset(2)), (partition(1), Offset(1))].into());
    while ends.iter().any(|(partition, end)| reader.position(partition) < Some(*end)) {
        next(&mut reader).await;
    }
    assert_eq!(reader.high_watermark(&partition(0)), Some(Offset(2)));
    for api in [ApiKey::FindCoordinator, ApiKey::JoinGroup, ApiKey::OffsetFetch, ApiKey::OffsetCommit] {
        assert_eq!(cluster.request_count(api), 0, "{api:?}");
    }
    reader.close(PATIENCE).await.expect("a clean end");
}

#[tokio::test]
async fn what_is_appended_later_arrives_without_asking_again() {
    let cluster = Cluster::builder().topic("t", 1).start();
    let mut reader = reader(&cluster, StartAt::Earliest).build().expect("valid settings");
    assert!(matches!(next(&mut reader).await, ReadEvent::Positioned { .. }));
    cluster.produce("t", 0, ["later"]);
    let ReadEvent::Records(records) = next(&mut reader).await else { panic!("no records") };
    assert_eq!(records.len(), 1);
}

#[tokio::test]
async fn the_ends_are_not_guessed_when_nobody_answers() {
    let cluster = Cluster::builder().topic("t", 1).start();
    let reader = reader(&cluster, StartAt::Earliest).build().expect("valid settings");
    cluster.lose_leader("t", 0);
    cluster.on(ApiKey::ListOffsets).always().disconnect();
    let unknown = reader.end_offsets(Duration::from_millis(500)).await.expect_err("nobody tells");
    assert!(!unknown.last.is_empty());
}

#[tokio::test]
async fn an_empty_log_has_been_read_at_once() {
    let cluster = Cluster::builder().topic("t", 1).start();
    assert!(values(&cluster.bootstrap(), &partition(0)).await.is_empty());
}

#[test]
fn a_reader_of_nothing_is_refused() {
    let refused = Reader::builder().bootstrap_servers(["b:1"]).build().expect_err("no partitions");
    assert!(matches!(&refused, BuildError::Settings(mistakes) if mistakes[0].setting == "partitions"), "{refused:?}");
}
