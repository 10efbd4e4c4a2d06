//! SASL sessions that end every five seconds, and a password that is changed while its user reads.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kafka_consumer::client::{ConnectionState, PasswordSource, Purpose, Secret};

use super::member::Member;
use super::producer::Producer;
use super::scene::Scene;
use crate::world::kafka::{Cluster, three_nodes};

#[test]
fn every_socket_is_renewed_before_its_session_ends_and_nobody_notices() {
    /// `connections.max.reauth.ms` of the cluster.
    const LIFETIME: Duration = Duration::from_secs(5);
    /// What a busy machine may take from the opening of a socket to the beginning of its session.
    const AUTHENTICATION: Duration = Duration::from_secs(1);
    let Some(cluster) = three_nodes() else { return };
    let scene = Scene::new(&cluster, "reauth", 6);
    let members = [scene.join("a", scene.consumer()), scene.join("b", scene.consumer())];
    let producer = Producer::start(&cluster, "reauth", 200);
    scene.await_shared(&members.iter().collect::<Vec<_>>());
    let settled = scene.story.events().len();

    let end = Instant::now() + LIFETIME * 5;
    let mut renewals: BTreeMap<(Purpose, i32, usize), (Duration, usize)> = BTreeMap::new();
    scene.wait("five lifetimes", || {
        Instant::now() >= end || {
            for (n, member) in members.iter().enumerate() {
                for connection in member.handle.snapshot().connections {
                    assert_eq!(connection.last_error, None, "{:?}", connection.purpose);
                    let ConnectionState::Connected { age, session_left, .. } = connection.state else { continue };
                    let Some(broker) = connection.broker else { continue };
                    assert!(session_left.is_some_and(|left| left <= LIFETIME), "{session_left:?}");
                    assert!(age <= LIFETIME + AUTHENTICATION, "{:?} is {age:?} old", connection.purpose);
                    let (before, count) = renewals.entry((connection.purpose, broker.get(), n)).or_default();
                    *count += usize::from(age < *before);
                    *before = age;
                }
            }
            false
        }
    });
    println!("renewed in {:?}: {renewals:?}", LIFETIME * 5);
    for purpose in [Purpose::Heartbeat, Purpose::Coordinator, Purpose::Fetch] {
        let of_it = || renewals.iter().filter(|((of, ..), _)| *of == purpose).map(|(_, (_, count))| *count);
        assert!(of_it().count() >= 2 && of_it().all(|count| count >= 3), "{purpose:?}: {renewals:?}");
    }
    assert_eq!(scene.story.events()[settled..], [] as [String; 0], "nothing happens to the group");

    let acknowledged = producer.finish();
    scene.await_done(&acknowledged);
    members.into_iter().for_each(Member::stop);
    scene.judge(&acknowledged);
}

/// Gives a user of that name a password, with Kafka's own tool.
fn set_password(cluster: &Cluster, user: &str, password: &str) {
    let credentials = format!("SCRAM-SHA-512=[password={password}]");
    let words = ["--alter", "--add-config", &credentials, "--entity-type", "users", "--entity-name", user];
    let done = cluster.tool("kafka-configs", &words).output().expect("the tool");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn a_password_that_is_changed_while_reading_is_a_state_by_name_and_the_new_one_heals_it() {
    let Some(cluster) = three_nodes() else { return };
    set_password(&cluster, "rotated", "first");
    let (password, reads) = (Arc::new(Mutex::new("first")), Arc::new(AtomicUsize::new(0)));
    let source = {
        let (password, reads) = (Arc::clone(&password), Arc::clone(&reads));
        PasswordSource::from_fn(move || {
            reads.fetch_add(1, Ordering::Relaxed);
            Ok(Secret::new(*password.lock().expect("no holder panicked")))
        })
    };
    let scene = Scene::new(&cluster, "rotated", 3);
    let consumer = scene.consumer_of("rotated", source).configure(|config| {
        config.client.authentication_backoff = Duration::from_secs(1);
        config.client.authentication_backoff_max = Duration::from_secs(4);
    });
    let member = scene.join("a", consumer);
    let producer = Producer::start(&cluster, "rotated", 100);
    scene.await_shared(&[&member]);
    producer.go_on(100);

    set_password(&cluster, "rotated", "second");
    let (changed, reads_before) = (Instant::now(), reads.load(Ordering::Relaxed));
    let refused = || {
        let connections = member.handle.snapshot().connections;
        let named = |text: &String| text.to_lowercase().contains("authentication");
        connections.iter().any(|connection| connection.last_error.as_ref().is_some_and(named))
    };
    scene.wait("the refusal by name", refused);
    scene.wait("the loss of what cannot be defended", || member.partitions().is_empty());
    let tries = reads.load(Ordering::Relaxed) - reads_before;
    let broken = changed.elapsed();
    println!("{tries} logins in {broken:?} with a refused password");
    let most = 2 * 3 * (usize::try_from(broken.as_secs()).expect("short") + 2);
    assert!(tries <= most, "{tries} logins in {broken:?}");

    *password.lock().expect("no holder panicked") = "second";
    scene.await_shared(&[&member]);
    producer.go_on(100);
    let acknowledged = producer.finish();
    scene.await_done(&acknowledged);
    member.stop();
    scene.judge(&acknowledged);
}
