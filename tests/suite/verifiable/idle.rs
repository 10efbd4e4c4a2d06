//! What a consumer costs while nothing happens.

use std::time::{Duration, Instant};

use kafka_broker_double::{ApiKey, Cluster};

use super::{PATIENCE, Subject};
use crate::world::process::wait_for;

const PARTITIONS: usize = 500;

/// How long it is watched.
const WINDOW: Duration = Duration::from_secs(8);

/// Of one core, for a build without optimisation; the deployed one takes a fraction of it.
const SHARE_MAX: f64 = 0.03;

#[test]
fn five_hundred_idle_partitions_cost_next_to_nothing() {
    let cluster = Cluster::builder().brokers(3).topic("t", PARTITIONS).start();
    let subject = Subject::start(
        ["--bootstrap-server", &cluster.bootstrap(), "--topic", "t", "--group-id", "g"].map(str::to_owned),
    );
    subject.wait("every partition", |subject| subject.owned().len() == PARTITIONS);
    // The sessions hold every partition, and a fetch says nothing any more.
    let fetches =
        |broker: i32| cluster.requests(ApiKey::Fetch).into_iter().filter(|seen| seen.broker == broker).count();
    let settled = || cluster.brokers().into_iter().all(|broker| fetches(broker) >= 6);
    wait_for(|| "long polls at every broker".to_owned(), PATIENCE, || settled().then_some(()));

    let (before, begun, requests) = (subject.processor_time(), Instant::now(), cluster.request_count(ApiKey::Fetch));
    wait_for(|| "the end of the window".to_owned(), PATIENCE, || (begun.elapsed() >= WINDOW).then_some(()));
    let used = subject.processor_time().saturating_sub(before);
    let share = used.as_secs_f64() / begun.elapsed().as_secs_f64();
    let fetched = cluster.request_count(ApiKey::Fetch) - requests;
    println!("{PARTITIONS} idle partitions: {:.2} % of one core, {fetched} fetches in {WINDOW:?}", share * 100.0);
    assert!(share < SHARE_MAX, "{used:?} in {:?}", begun.elapsed());
}
