//! Topics that change under a group: made anew, grown, cut at their start. On the newest version and on an old one.

use std::collections::{BTreeMap, BTreeSet};

use kafka_consumer::client::{AutoOffsetReset, FetchState, TopicPartition};

use super::member::Member;
use super::producer::Producer;
use super::scene::Scene;
use crate::world::kafka::{Cluster, elder, three_nodes};

/// Every offset of these spans.
fn spans(all: &[(i32, std::ops::Range<i64>)]) -> BTreeMap<i32, BTreeSet<i64>> {
    let mut offsets: BTreeMap<i32, BTreeSet<i64>> = BTreeMap::new();
    for (partition, span) in all {
        offsets.entry(*partition).or_default().extend(span.clone());
    }
    offsets
}

#[test]
fn a_topic_that_is_deleted_and_created_again_is_read_from_its_start() {
    if let Some(cluster) = three_nodes() {
        topic_made_anew(&cluster, "anew");
    }
}

#[test]
fn a_topic_that_is_deleted_and_created_again_is_read_from_its_start_on_an_old_broker() {
    if let Some(cluster) = elder() {
        topic_made_anew(cluster, "anew-elder");
    }
}

fn topic_made_anew(cluster: &Cluster, name: &'static str) {
    let scene = Scene::new(cluster, name, 3);
    let member = scene.join("a", scene.consumer());
    scene.await_shared(&[&member]);
    let producer = Producer::start(cluster, name, 300);
    producer.go_on(300);
    // Something is read and not yet committed when the topic goes.
    drop(producer);
    scene.delete_topic();
    scene.admin.create_again(3);
    let producer = Producer::start(cluster, name, 300);
    producer.go_on(100);
    let acknowledged = producer.finish();
    scene.await_done(&acknowledged);
    member.stop();
    scene.judge(&acknowledged);
}

#[test]
fn partitions_that_are_added_are_read_from_their_start_even_with_latest() {
    if let Some(cluster) = three_nodes() {
        partitions_added(&cluster, "grown");
    }
}

#[test]
fn partitions_that_are_added_are_read_from_their_start_even_with_latest_on_an_old_broker() {
    if let Some(cluster) = elder() {
        partitions_added(cluster, "grown-elder");
    }
}

fn partitions_added(cluster: &Cluster, name: &'static str) {
    let mut scene = Scene::new(cluster, name, 2);
    let latest = || scene.consumer().auto_offset_reset(AutoOffsetReset::Latest);
    let members = [scene.join("a", latest()), scene.join("b", latest())];
    let both: Vec<_> = members.iter().collect();
    scene.await_shared(&both);
    let fetching = |member: &&Member| {
        let partitions = member.handle.snapshot().partitions;
        partitions.iter().all(|partition| partition.position.is_some())
    };
    scene.wait("positions", || both.iter().all(fetching));
    scene.admin.produce(0, 20);
    scene.admin.add_partitions(4);
    scene.admin.produce(2, 30);
    scene.admin.produce(3, 40);
    scene.partitions = 4;
    let written = spans(&[(0, 0..20), (2, 0..30), (3, 0..40)]);
    scene.wait("everything is acted upon", || scene.story.covers(&written));
    scene.await_shared(&both);
    // A partition that moved without a commit is read from its end again, and that is to be before what comes now.
    scene.wait("positions", || both.iter().all(fetching));
    scene.admin.produce(1, 10);
    let written = spans(&[(0, 0..20), (1, 0..10), (2, 0..30), (3, 0..40)]);
    scene.await_done(&written);
    members.into_iter().for_each(Member::stop);
    scene.judge(&written);
}

#[test]
fn deleted_records_are_an_event_and_no_stop() {
    if let Some(cluster) = three_nodes() {
        records_deleted(&cluster, "cut");
    }
}

#[test]
fn deleted_records_are_an_event_and_no_stop_on_an_old_broker() {
    if let Some(cluster) = elder() {
        records_deleted(cluster, "cut-elder");
    }
}

fn records_deleted(cluster: &Cluster, name: &'static str) {
    let scene = Scene::new(cluster, name, 1);
    let partition = TopicPartition::new(name, 0);
    scene.admin.produce(0, 100);
    let member = scene.join("a", scene.consumer());
    scene.await_done(&spans(&[(0, 0..100)]));
    member.stop();

    // While nobody reads.
    scene.admin.produce(0, 200);
    assert_eq!(scene.admin.delete_records(0, 250), 250);
    let member = scene.join("b", scene.consumer());
    scene.await_done(&spans(&[(0, 0..100), (0, 250..300)]));
    let reset = "from: Some(Offset(100)), to: Offset(250), cause: BelowLogStart { log_start: Offset(250) }";
    assert!(scene.story.events().iter().any(|event| event.contains(reset)), "{:#?}", scene.story.events());

    // While a member holds its position.
    member.handle.pause(std::slice::from_ref(&partition));
    scene.wait("the pause", || {
        let all = member.handle.snapshot().partitions;
        all.iter().any(|known| known.state == FetchState::Paused)
    });
    // An answer that was under way is kept, so the first batch may arrive after all.
    scene.admin.produce(0, 10);
    scene.admin.produce(0, 90);
    scene.admin.produce(0, 50);
    assert_eq!(scene.admin.delete_records(0, 400), 400);
    member.handle.resume(std::slice::from_ref(&partition));
    let left = spans(&[(0, 0..100), (0, 250..300), (0, 400..450)]);
    scene.await_done(&left);
    let events = scene.story.events();
    let resets = events.iter().filter(|event| event.contains("BelowLogStart")).count();
    assert!(resets <= 2, "{events:#?}");
    member.stop();
    scene.judge(&left);
}
