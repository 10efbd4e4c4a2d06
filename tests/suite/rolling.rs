//! A rolling update: two pods on one volume. The old one drains while incidents keep coming, the new one waits as standby and
//! takes over, and nothing is done twice.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kafka_broker_double::Cluster;
use kafka_broker_double::Record;
use kafka_broker_double::incidents::{IncidentSpec, Seed};
use kafka_broker_double::target::{Reply, Target};
use rustix::process::Signal;

use crate::world::port;
use crate::world::process::{Service, wait_for};
use crate::world::produce::now_ms;
use crate::world::settings::{self, Brokers};

const TOPIC: &str = "incidents";
const GROUP: &str = "rolling";
const PATIENCE: Duration = Duration::from_mins(1);
/// The longest time without an action, while there is something to act upon.
const GAP_MAX: Duration = Duration::from_secs(5);

/// A pod with a folder of its own for everything but the ledger, which lies on the volume.
fn pod(folder: &Path, volume: &Path, cluster: &Cluster, hook: &str) -> Service {
    std::fs::create_dir_all(folder).expect("a folder");
    let port = port::free();
    let config = settings::config(&Brokers::double(cluster), folder, GROUP, TOPIC, port, hook);
    let (own, shared) = (folder.join("ledger.redb"), volume.join("ledger.redb"));
    Service::start(folder, &config.replace(&own.display().to_string(), &shared.display().to_string()), port)
}

#[test]
fn the_old_pod_drains_the_new_one_takes_over_and_nothing_is_done_twice() {
    let cluster = Cluster::builder().topic(TOPIC, 2).security(settings::double_security()).start();
    let target = Target::start();
    // Slow enough that some are under way whenever the old one is told to end.
    target.default_reply(Reply::status(200).after(Duration::from_millis(300)));
    let folder = tempfile::tempdir().expect("a folder");
    let volume = folder.path().join("volume");
    std::fs::create_dir(&volume).expect("a folder");
    // Not idempotent: what would be done twice is done twice.
    let hook = settings::hook(&target.url("/{{incident.id}}")).replace("idempotent: true", "idempotent: false");
    let mut old = pod(&folder.path().join("old"), &volume, &cluster, &hook);
    old.wait_ready(PATIENCE);

    let over = AtomicBool::new(false);
    let (old, new, produced, began) = std::thread::scope(|scope| {
        let producing = scope.spawn(|| {
            let mut produced = 0_usize;
            while !over.load(Ordering::Relaxed) {
                let spec = IncidentSpec::new(format!("i{produced}"), "oozie", now_ms() / 1000);
                let partition = i32::from(produced % 2 == 1);
                cluster.produce(TOPIC, partition, [Record::from(spec.to_json(&mut Seed::new(1)))]);
                produced += 1;
                std::thread::park_timeout(Duration::from_millis(20));
            }
            produced
        });
        wait_for(|| old.last_words(), PATIENCE, || (target.request_count() > 50).then_some(()));
        let mut new = pod(&folder.path().join("new"), &volume, &cluster, &hook);
        let standby = |code, body: &str| code == 200 && body.starts_with("ready: standby: the ledger ");
        new.wait_readyz("standing by", PATIENCE, standby);
        let before = target.request_count();
        wait_for(|| old.last_words(), PATIENCE, || (target.request_count() > before + 50).then_some(()));

        let began = Instant::now();
        old.signal(Signal::TERM);
        new.wait_readyz("taking over", PATIENCE, |code, body| code == 200 && body.contains("partition"));
        let before = target.request_count();
        wait_for(|| new.last_words(), PATIENCE, || (target.request_count() > before + 50).then_some(()));
        over.store(true, Ordering::Relaxed);
        (old, new, producing.join().expect("it produces"), began)
    });
    let (mut old, mut new) = (old, new);
    assert_eq!(old.wait_end(PATIENCE).code(), Some(0), "{}", old.last_words());
    let committed = || [0, 1].map(|partition| cluster.committed(GROUP, TOPIC, partition));
    let ends = [0, 1].map(|partition| Some(cluster.log_end(TOPIC, partition)));
    let words = || format!("{ends:?} to be committed, {:?}\n{}", committed(), new.last_words());
    wait_for(words, PATIENCE, || (committed() == ends).then_some(()));
    assert!(new.stop(PATIENCE).success(), "{}", new.last_words());

    let requests = target.requests();
    let mut done: BTreeMap<&str, usize> = BTreeMap::new();
    for request in &requests {
        *done.entry(&request.path).or_default() += 1;
    }
    let twice: Vec<_> = done.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "done more than once: {twice:?}");
    assert_eq!(done.len(), produced, "everything was done");
    let mut times: Vec<Instant> = requests.iter().map(|request| request.at).filter(|at| *at >= began).collect();
    times.sort();
    let gap = std::iter::once(began).chain(times.iter().copied()).zip(&times).map(|(from, to)| *to - from).max();
    let gap = gap.expect("actions after the signal");
    assert!(gap <= GAP_MAX, "{gap:?} without an action; old:\n{}\nnew:\n{}", old.last_words(), new.last_words());
    println!("a gap of {gap:?}, {produced} incidents");
}
