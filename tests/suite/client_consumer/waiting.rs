//! Fetches that wait longer and longer while nothing comes.

use std::time::{Duration, Instant};

use kafka_broker_double::{ApiKey, Cluster, Request};
use kafka_consumer::client::{AssignorKind, ConnectionState, ConsumerBuilder};

use super::{PATIENCE, Reader, builder, numbers, texts};

const USUAL: Duration = Duration::from_millis(20);
/// Twice what anything here takes, and soon grown to.
const LONG: Duration = Duration::from_millis(2_500);

fn patient(cluster: &Cluster, longest: Duration) -> ConsumerBuilder {
    builder(cluster).configure(|config| {
        config.fetch_max_wait = USUAL;
        config.fetch_idle_wait = Some(longest);
    })
}

/// How long a fetch was ready to wait.
fn wait_of(request: Request) -> Option<Duration> {
    match request {
        Request::Fetch(fetch) => Some(Duration::from_millis(u64::try_from(fetch.max_wait_ms).unwrap_or(0))),
        _ => None,
    }
}

/// The same for each of them.
fn waits(cluster: &Cluster) -> Vec<Duration> {
    cluster.requests(ApiKey::Fetch).into_iter().filter_map(|seen| wait_of(seen.request)).collect()
}

fn waits_long(cluster: &Cluster) -> bool {
    waits(cluster).last().is_some_and(|wait| *wait >= LONG)
}

fn is_untroubled(reader: &Reader) -> bool {
    reader.handle.snapshot().connections.iter().all(|connection| {
        connection.last_error.is_none() && !matches!(connection.state, ConnectionState::BackingOff { .. })
    })
}

#[tokio::test]
async fn a_fetch_waits_longer_while_nothing_comes_and_as_long_as_usual_once_something_did() {
    let cluster = Cluster::builder().topic("t", 2).start();
    let longest = Duration::from_millis(200);
    let mut reader = Reader::from(patient(&cluster, longest));
    cluster.wait_until("it has grown", PATIENCE, |cluster| waits(cluster).last() == Some(&longest)).await;
    assert_eq!(waits(&cluster).into_iter().max(), Some(longest));
    cluster.clear_requests();
    cluster.produce("t", 0, numbers(0, 5));
    reader.until_read(5).await;
    cluster.wait_until("it begins anew", PATIENCE, |cluster| waits(cluster).contains(&USUAL)).await;
    reader.close().await;
}

#[tokio::test]
async fn a_wait_that_was_set_is_not_exceeded() {
    let cluster = Cluster::builder().topic("t", 1).start();
    let set = builder(&cluster).configure(|config| config.fetch_max_wait = USUAL);
    let reader = Reader::from(set);
    cluster.wait_until("it has waited often", PATIENCE, |cluster| cluster.request_count(ApiKey::Fetch) > 15).await;
    assert!(waits(&cluster).iter().all(|wait| *wait == USUAL));
    reader.close().await;
}

#[tokio::test]
async fn a_record_that_comes_during_a_long_wait_arrives_at_once_and_closing_does_not_wait() {
    let cluster = Cluster::builder().topic("t", 1).start();
    let mut reader = Reader::from(patient(&cluster, Duration::from_mins(1)));
    cluster.wait_until("a long wait", PATIENCE, waits_long).await;
    let begun = Instant::now();
    cluster.produce("t", 0, numbers(0, 5));
    reader.until_read(5).await;
    assert!(begun.elapsed() < LONG / 2, "{:?}", begun.elapsed());
    cluster.clear_requests();
    cluster.wait_until("a long wait", PATIENCE, waits_long).await;
    let begun = Instant::now();
    reader.close().await;
    assert!(begun.elapsed() < LONG / 2, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_partition_that_is_assigned_during_a_long_wait_is_fetched_at_once() {
    let cluster = Cluster::builder().topic("t", 2).start();
    let member = |id: &str| {
        let patient = patient(&cluster, Duration::from_mins(1)).client_id(id);
        Reader::from(patient.partition_assignment_strategy([AssignorKind::CooperativeSticky]))
    };
    let mut stays = member("stays");
    stays.until("it has both", |reader| reader.owned.len() == 2).await;
    let mut goes = member("goes");
    let ((), ()) = tokio::join!(
        stays.until("one is left", |reader| reader.owned.len() == 1),
        goes.until("one came", |reader| reader.owned.len() == 1)
    );
    let (kept, given) = (*stays.owned.keys().next().unwrap(), *goes.owned.keys().next().unwrap());
    cluster.produce("t", kept, numbers(0, 5));
    cluster.produce("t", given, numbers(0, 5));
    let ((), ()) = tokio::join!(stays.until_read(5), goes.until_read(5));
    goes.commit().await;
    cluster.produce("t", given, numbers(5, 5));
    goes.until_read(10).await;
    let waits_long = |cluster: &Cluster| {
        let fetches = cluster.requests(ApiKey::Fetch).into_iter();
        let last = fetches.filter(|seen| seen.client_id.as_deref() == Some("stays")).last();
        last.and_then(|seen| wait_of(seen.request)).is_some_and(|wait| wait >= 2 * LONG)
    };
    cluster.wait_until("a long wait", PATIENCE, waits_long).await;
    let begun = Instant::now();
    goes.close().await;
    stays.until_read(10).await;
    assert!(begun.elapsed() < LONG, "{:?}", begun.elapsed());
    assert_eq!(stays.values[&given], texts(5, 5), "from what was committed");
    cluster.produce("t", kept, numbers(5, 5));
    stays.until_read(15).await;
    assert_eq!(stays.values[&kept], texts(0, 10), "nothing is lost or read twice");
    assert!(is_untroubled(&stays), "{:#?}", stays.handle.snapshot().connections);
    stays.close().await;
}
