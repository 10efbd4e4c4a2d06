//! The flight recorder: what it tells of a consumer's fate, and what it does not.

use std::time::Duration;

use kafka_broker_double::{ApiKey, Cluster, ResponseError, Security as Demand};
use kafka_consumer::client::{FlightStep, PasswordSource, SaslMechanism, SaslSettings, Security};

use super::{PATIENCE, Reader, builder, numbers};

/// Whether a step with all of `parts` in its words was recorded.
fn tells(reader: &Reader, step: FlightStep, parts: &[&str]) -> bool {
    let fits = |detail: &str| parts.iter().all(|part| detail.contains(part));
    reader.handle.flight_recorder().iter().any(|entry| entry.step == step && fits(&entry.detail))
}

/// The steps of the membership, in their order.
fn story(reader: &Reader) -> Vec<FlightStep> {
    let all = reader.handle.flight_recorder();
    all.iter().map(|entry| entry.step).filter(|step| step.is_of_the_group()).collect()
}

#[tokio::test]
async fn a_member_that_fences_itself_leaves_its_story() {
    let cluster = Cluster::builder().topic("t", 1).start();
    let mut reader = Reader::from(builder(&cluster).session_timeout(Duration::from_secs(2)));
    reader.until("it is assigned", |reader| !reader.owned.is_empty()).await;
    cluster.on(ApiKey::Heartbeat).always().silence();
    reader.until_event(&["Lost"]).await;
    assert!(tells(&reader, FlightStep::Joining, &["first join", "a new member", "broker 1"]));
    assert!(tells(&reader, FlightStep::Assigned, &["t-0"]));
    assert!(tells(&reader, FlightStep::Lost, &["t-0: no heartbeat was acknowledged"]));
    let story = story(&reader);
    let place = |step| story.iter().position(|known| *known == step);
    assert!(place(FlightStep::Coordinator) < place(FlightStep::Joining), "{story:?}");
    assert!(place(FlightStep::Joining) < place(FlightStep::Assigned), "{story:?}");
    assert!(place(FlightStep::Assigned) < place(FlightStep::Lost), "{story:?}");
}

#[tokio::test]
async fn a_fatal_end_is_the_last_step_and_can_be_read_afterwards() {
    let cluster = Cluster::builder().topic("t", 1).start();
    let mut reader = Reader::from(builder(&cluster).group_instance_id("one"));
    reader.until("it is assigned", |reader| !reader.owned.is_empty()).await;
    cluster.on(ApiKey::Heartbeat).always().error(ResponseError::FencedInstanceId);
    let ended = async { while reader.consumer.next().await.is_ok() {} };
    tokio::time::timeout(PATIENCE, ended).await.expect("a fatal error");
    assert!(tells(&reader, FlightStep::GroupRefused, &["Heartbeat: FENCED_INSTANCE_ID (82)"]));
    assert_eq!(story(&reader).last(), Some(&FlightStep::Ended));
    assert!(tells(&reader, FlightStep::Ended, &["same group.instance.id"]));
}

#[tokio::test]
async fn moves_refusals_resets_throttles_and_ends_of_connections_are_steps() {
    let cluster = Cluster::builder().brokers(2).topic("t", 2).start();
    let mut reader = Reader::of(&cluster);
    cluster.produce("t", 0, numbers(0, 5));
    reader.until_read(5).await;
    assert!(tells(&reader, FlightStep::PositionReset, &["t-0 from nowhere to 0: NoCommittedOffset"]));
    assert!(tells(&reader, FlightStep::Connected, &["for Fetch"]));

    cluster.on(ApiKey::OffsetCommit).error(ResponseError::CoordinatorLoadInProgress);
    reader.commit().await;
    assert!(tells(&reader, FlightStep::CommitRefused, &["COORDINATOR_LOAD_IN_PROGRESS (14)", "t-0"]));

    let leader = cluster.leader("t", 0).0.expect("a leader");
    cluster.move_leader("t", 0, leader % 2 + 1);
    cluster.produce("t", 0, numbers(5, 5));
    reader.until_read(10).await;
    assert!(tells(&reader, FlightStep::LeaderMoved, &[&format!("broker {} in epoch", leader % 2 + 1), "t-0"]));

    cluster.throttle(ApiKey::Fetch, Duration::from_millis(50));
    reader.until("the throttle is told", |reader| tells(reader, FlightStep::Throttled, &["for 50 ms"])).await;
    cluster.throttle(ApiKey::Fetch, Duration::ZERO);
    cluster.on(ApiKey::Fetch).error(ResponseError::UnknownLeaderEpoch);
    let refusal = ["Fetch at broker", "UNKNOWN_LEADER_EPOCH (75)"];
    reader.until("the refusal is told", |reader| tells(reader, FlightStep::Refused, &refusal)).await;
    cluster.disconnect_all(1);
    let end = ["the broker closed the connection"];
    reader.until("the end is told", |reader| tells(reader, FlightStep::Disconnected, &end)).await;
    let kept = reader.handle.flight_recorder();
    assert!(kept.windows(2).all(|pair| pair[0].number < pair[1].number && pair[0].at <= pair[1].at));
    reader.close().await;
}

#[tokio::test]
async fn a_refused_password_is_a_step_without_the_password() {
    let cluster = Cluster::builder().topic("t", 1).security(Demand::sasl_plaintext("sre", "right")).start();
    for mechanism in [SaslMechanism::ScramSha512, SaslMechanism::Plain] {
        let password = PasswordSource::from("hunter2-canary");
        let login = SaslSettings { mechanism, username: "sre".to_owned(), password };
        let mut reader = Reader::from(builder(&cluster).security(Security::SaslPlaintext(login)));
        let refused = ["refuses user `sre`"];
        let is_told = |reader: &Reader| tells(reader, FlightStep::AuthenticationFailed, &refused);
        reader.until("the refusal is told", is_told).await;
        let all = format!("{:?}", reader.handle.flight_recorder());
        assert!(!all.contains("hunter2"), "{all}");
        drop(reader);
    }
}
