//! Brokers of a cluster of three that go and come while a group reads, under the load of a Java producer.

use std::time::{Duration, Instant};

use kafka_consumer::client::{AssignorKind, TopicPartition};

use super::member::Member;
use super::producer::Producer;
use super::scene::{PATIENCE, Scene};
use crate::world::kafka::three_nodes;
use crate::world::process::wait_for;

const PER_SECOND: u32 = 300;

#[test]
fn a_rolling_restart_under_load_loses_nothing() {
    let Some(cluster) = three_nodes() else { return };
    let scene = Scene::new(&cluster, "rolling", 6);
    let cooperative = || scene.consumer().partition_assignment_strategy([AssignorKind::CooperativeSticky]);
    let members = [scene.join("a", cooperative()), scene.join("b", cooperative()), scene.join("c", cooperative())];
    let producer = Producer::start(&cluster, "rolling", PER_SECOND);
    scene.await_shared(&members.iter().collect::<Vec<_>>());
    for node in cluster.nodes() {
        cluster.stop(node);
        producer.go_on(300);
        cluster.start(node);
        producer.go_on(100);
    }
    let acknowledged = producer.finish();
    scene.await_done(&acknowledged);
    members.into_iter().for_each(Member::stop);
    scene.judge(&acknowledged);
}

#[test]
fn reading_goes_on_at_once_when_a_leader_was_killed_and_another_is_known() {
    let Some(cluster) = three_nodes() else { return };
    let scene = Scene::new(&cluster, "leader", 6);
    let coordinator = scene.admin.coordinator("leader");
    let member = scene.join("a", scene.consumer());
    let producer = Producer::start(&cluster, "leader", PER_SECOND);
    scene.await_shared(&[&member]);
    let leaders = scene.admin.leaders();
    let (partition, leader) = leaders.into_iter().find(|(_, leader)| *leader != coordinator).expect("three leaders");
    let name = TopicPartition::new("leader", partition);

    cluster.kill(leader);
    let before = scene.story.end_of(partition);
    let known = wait_for(
        || format!("a new leader in place of {leader}"),
        PATIENCE,
        || {
            let all = member.handle.snapshot().partitions;
            let now = all.into_iter().find(|known| known.partition == name)?.leader?;
            (now.get() != leader).then(Instant::now)
        },
    );
    // What the producer could not write could not be read either.
    let written = wait_for(|| "a record".to_owned(), PATIENCE, || producer.acknowledged_from(partition, before));
    let (_, read) = wait_for(|| "its arrival".to_owned(), PATIENCE, || scene.story.acted_from(partition, before));
    let waited = read.saturating_duration_since(known.max(written));
    println!(
        "leader killed: next record {waited:?} after the new leader was known and a record was there ({:?} after the former)",
        read.saturating_duration_since(known)
    );
    assert!(waited < Duration::from_secs(3), "{waited:?}");

    cluster.start(leader);
    producer.go_on(200);
    let acknowledged = producer.finish();
    scene.await_done(&acknowledged);
    member.stop();
    scene.judge(&acknowledged);
}

#[test]
fn heartbeats_go_on_soon_after_a_coordinator_was_killed_and_another_is_elected() {
    let Some(cluster) = three_nodes() else { return };
    let scene = Scene::new(&cluster, "coordinator", 6);
    let slow = || scene.consumer().session_timeout(Duration::from_secs(20));
    let members = [scene.join("a", slow()), scene.join("b", slow())];
    let producer = Producer::start(&cluster, "coordinator", PER_SECOND);
    scene.await_shared(&members.iter().collect::<Vec<_>>());
    let coordinator = scene.admin.coordinator("coordinator");

    cluster.kill(coordinator);
    let elected = wait_for(
        || format!("another than {coordinator}"),
        PATIENCE,
        || (scene.admin.coordinator("coordinator") != coordinator).then(Instant::now),
    );
    for member in &members {
        // An answered heartbeat is what lengthens a session.
        let mut before = session_left(member);
        let beat = wait_for(
            || format!("a heartbeat of {}: {:?}", member.name, member.handle.snapshot()),
            PATIENCE,
            || {
                let now = session_left(member);
                let longer = now > before;
                before = now;
                longer.then(Instant::now)
            },
        );
        let waited = beat.saturating_duration_since(elected);
        println!("coordinator killed: {} was heard again {waited:?} after another was elected", member.name);
        assert!(waited < Duration::from_secs(5), "{waited:?}");
    }

    cluster.start(coordinator);
    producer.go_on(200);
    let acknowledged = producer.finish();
    scene.await_done(&acknowledged);
    members.into_iter().for_each(Member::stop);
    scene.judge(&acknowledged);
}

fn session_left(member: &Member) -> Duration {
    member.handle.snapshot().group.session_left.unwrap_or_default()
}
