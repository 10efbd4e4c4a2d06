//! How often a broker is asked while something is broken: never more than twenty times a second for one API.

use std::time::{Duration, Instant};

use futures::future::join_all;
use kafka_broker_double::{ApiKey, Cluster, ResponseError};
use kafka_consumer::client::{AutoOffsetReset, Commit, Consumer, Event};

/// Requests of one API that one broker may see in any second, and connections.
const A_SECOND_MAX: usize = 20;

/// How long each storm blows.
const STORM: Duration = Duration::from_secs(4);

/// What becomes of a request.
#[derive(Clone, Copy, Debug)]
enum Damage {
    /// Refused for a moment, for ever.
    Error(ResponseError),
    /// Answered with the end of the connection.
    Disconnect,
    /// Answered with half a frame.
    HalfAFrame,
}

const APIS: [ApiKey; 10] = [
    ApiKey::ApiVersions,
    ApiKey::Metadata,
    ApiKey::FindCoordinator,
    ApiKey::JoinGroup,
    ApiKey::SyncGroup,
    ApiKey::Heartbeat,
    ApiKey::OffsetFetch,
    ApiKey::OffsetCommit,
    ApiKey::ListOffsets,
    ApiKey::Fetch,
];

/// Errors that each of these APIs may answer with for a while.
fn errors(api: ApiKey) -> Vec<ResponseError> {
    match api {
        ApiKey::Metadata => vec![ResponseError::LeaderNotAvailable, ResponseError::UnknownTopicOrPartition],
        ApiKey::Fetch | ApiKey::ListOffsets => vec![
            ResponseError::NotLeaderOrFollower,
            ResponseError::FencedLeaderEpoch,
            ResponseError::UnknownServerError,
        ],
        ApiKey::ApiVersions => Vec::new(),
        ApiKey::FindCoordinator => vec![ResponseError::CoordinatorNotAvailable],
        _ => vec![
            ResponseError::NotCoordinator,
            ResponseError::CoordinatorLoadInProgress,
            ResponseError::RebalanceInProgress,
            ResponseError::UnknownMemberId,
        ],
    }
}

/// A consumer with the default back-offs, before and during the storm; returns the most requests of one API, or
/// connections, that a broker saw within one second.
async fn storm(api: ApiKey, damage: Damage) -> (String, usize) {
    let cluster = Cluster::builder().brokers(2).topic("t", 4).start();
    let mut consumer = Consumer::builder()
        .bootstrap_servers([cluster.bootstrap()])
        .group_id("g")
        .topics(["t"])
        .auto_offset_reset(AutoOffsetReset::Earliest)
        .build()
        .expect("a valid configuration");
    for partition in 0..4 {
        cluster.produce("t", partition, ["before"]);
    }
    let (mut read, mut count) = (Commit::new(), 0);
    while count < 4 {
        if let Event::Records(records) = consumer.next().await.expect("no fatal error") {
            count += records.len();
            read.processed(&records);
        }
    }
    let fault = cluster.on(api).always();
    match damage {
        Damage::Error(error) => drop(fault.error(error)),
        Damage::Disconnect => drop(fault.disconnect()),
        Damage::HalfAFrame => drop(fault.truncate_frame()),
    }
    cluster.clear_requests();
    let began = Instant::now();
    // Everything is asked for again: sockets, the group, positions.
    cluster.brokers().into_iter().for_each(|broker| cluster.disconnect_all(broker));
    cluster.forget_group("g");
    for partition in 0..4 {
        cluster.produce("t", partition, ["during"]);
    }
    let handle = consumer.handle();
    let commit = tokio::spawn(async move { handle.commit_before(read, Instant::now() + STORM).await });
    let end = tokio::time::Instant::now() + STORM;
    while let Ok(event) = tokio::time::timeout_at(end, consumer.next()).await {
        if event.is_err() {
            break;
        }
    }
    commit.abort();
    most(&cluster, began)
}

/// The busiest second: of what, and how many.
fn most(cluster: &Cluster, since: Instant) -> (String, usize) {
    let mut found = (String::new(), 0);
    for broker in cluster.brokers() {
        let dials = cluster.dials(broker).into_iter().filter(|at| *at >= since).collect();
        let mut seen = vec![("connections".to_owned(), dials)];
        for api in APIS {
            let at = cluster.requests(api).into_iter().filter(|request| request.broker == broker);
            seen.push((format!("{api:?}"), at.map(|request| request.at).collect()));
        }
        for (what, times) in seen {
            let count = busiest_second(times);
            if count > found.1 {
                found = (format!("{what} at broker {broker}"), count);
            }
        }
    }
    found
}

fn busiest_second(mut times: Vec<Instant>) -> usize {
    times.sort_unstable();
    let within =
        |from: &Instant| times.iter().filter(|at| (*from..*from + Duration::from_secs(1)).contains(*at)).count();
    times.iter().map(within).max().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_is_broken_is_asked_more_than_twenty_times_a_second() {
    let kinds = |api| {
        let errors = errors(api).into_iter().map(Damage::Error);
        errors.chain([Damage::Disconnect, Damage::HalfAFrame]).map(move |damage| (api, damage))
    };
    let storms: Vec<_> = APIS.into_iter().flat_map(kinds).collect();
    let blown = join_all(storms.iter().map(|(api, damage)| storm(*api, *damage))).await;
    let mut found: Vec<_> =
        storms.into_iter().zip(blown).map(|((api, damage), (what, count))| (count, api, damage, what)).collect();
    found.sort_by_key(|(count, ..)| std::cmp::Reverse(*count));
    println!("{} storms; the busiest second of each: {found:?}", found.len());
    let over: Vec<_> = found.iter().filter(|(count, ..)| *count > A_SECOND_MAX).collect();
    assert!(over.is_empty(), "{over:#?}");
}
