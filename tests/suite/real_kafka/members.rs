//! Members that come, go and freeze, on three nodes.

use std::time::{Duration, Instant};

use kafka_consumer::client::AssignorKind;
use rustix::process::Signal;

use super::producer::Producer;
use super::scene::Scene;
use crate::verifiable::Subject;
use crate::world::kafka::{elder, three_nodes};

#[test]
fn a_cooperative_rebalance_never_stops_the_partitions_that_stay() {
    /// How long the member that must give something up takes for it.
    const GIVING_UP: Duration = Duration::from_secs(3);
    let Some(cluster) = three_nodes() else { return };
    let scene = Scene::new(&cluster, "cooperative", 6);
    let cooperative = || scene.consumer().partition_assignment_strategy([AssignorKind::CooperativeSticky]);
    let producer = Producer::start(&cluster, "cooperative", 600);
    let first = scene.join("a", cooperative());
    scene.await_shared(&[&first]);
    let second = scene.join_slow("b", cooperative(), GIVING_UP);
    scene.await_shared(&[&first, &second]);
    producer.go_on(300);
    let began = Instant::now();
    let third = scene.join_slow("c", cooperative(), GIVING_UP);
    scene.await_shared(&[&first, &second, &third]);
    let took = began.elapsed();
    producer.go_on(300);
    let until = Instant::now();

    for member in [&first, &second] {
        for partition in member.partitions() {
            let (gap, producer_gap) =
                (scene.story.longest_gap(partition, began, until), producer.longest_gap(partition, began, until));
            println!(
                "{} kept {partition} through a rebalance of {took:?}: longest pause {gap:?}, of the producer {producer_gap:?}",
                member.name
            );
            assert!(gap < producer_gap + Duration::from_millis(1500), "{gap:?}, producer {producer_gap:?}");
        }
    }
    // One for each partition of the first member, and one for each that moved; what stayed was never given up.
    assert_eq!(scene.story.assignments(), 6 + 3 + 2, "{:#?}", scene.story.events());

    let acknowledged = producer.finish();
    scene.await_done(&acknowledged);
    for member in [first, second, third] {
        member.stop();
    }
    scene.judge(&acknowledged);
}

#[test]
fn a_member_that_slept_through_its_session_does_not_act_on_waking() {
    let Some(cluster) = three_nodes() else { return };
    let scene = Scene::new(&cluster, "asleep", 6);
    let awake = scene.join("awake", scene.consumer());
    let file = scene.properties();
    let path = file.path().to_str().expect("a path");
    let flags = ["--bootstrap-server", &cluster.sasl_ssl, "--topic", "asleep", "--group-id", "asleep"];
    let sleeper = Subject::start(flags.iter().chain(&["--session-timeout", "6000", "--command-config", path]));
    let producer = Producer::start(&cluster, "asleep", 300);
    sleeper.wait("three partitions", |sleeper| sleeper.owned().len() == 3);
    scene.wait("three partitions", || awake.partitions().len() == 3);
    producer.go_on(200);

    sleeper.signal(Signal::STOP);
    let stopped = Instant::now();
    scene.wait("everything for the one that is awake", || awake.partitions().len() == 6);
    producer.go_on(200);
    let woken = Instant::now();
    sleeper.signal(Signal::CONT);
    sleeper.wait("three partitions again", |sleeper| {
        !sleeper.named("partitions_revoked").is_empty() && sleeper.owned().len() == 3
    });
    producer.go_on(200);
    let acknowledged = producer.finish();
    // What the sleeper did counts as well, and only its words say what that was.
    scene.await_committed();
    let mut sleeper = sleeper;
    sleeper.stop();
    awake.stop();
    scene.enter("asleep", &sleeper.events(), (stopped, woken));
    scene.judge(&acknowledged);
}

#[test]
fn members_that_come_and_go_on_an_old_broker_lose_nothing_and_share_nothing() {
    let Some(cluster) = elder() else { return };
    let scene = Scene::new(cluster, "bounced-elder", 6);
    let producer = Producer::start(cluster, "bounced-elder", 300);
    let first = scene.join("a", scene.consumer());
    scene.await_shared(&[&first]);
    let second = scene.join("b", scene.consumer());
    scene.await_shared(&[&first, &second]);
    producer.go_on(200);
    first.stop();
    scene.await_shared(&[&second]);
    producer.go_on(200);
    let acknowledged = producer.finish();
    scene.await_done(&acknowledged);
    second.stop();
    scene.judge(&acknowledged);
}
