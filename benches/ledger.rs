//! The ledger on this disk: how many episodes a second become durable, alone and side by side, and how fast they are read.
//!
//! An episode is what one action leaves behind: INTENT, ATTEMPT and OUTCOME, each on disk before the next is written.
//! Episodes side by side share fsyncs, so beside the figures stands what the disk does when asked for nothing but fsyncs.

mod disk;

use std::sync::atomic::{AtomicU64, Ordering};

use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher, black_box};
use kafka_consumer::ledger::{Attempt, Entry, EpisodeKey, Intent, Ledger, Opened, Origin, Outcome, Record};
use tempfile::TempDir;
use tokio::runtime::Runtime;

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

/// Keys are never used twice, whatever round they belong to.
static INCIDENTS: AtomicU64 = AtomicU64::new(0);

fn main() {
    println!("this disk: {:.0} fsyncs a second of 4 KiB each", disk::fsyncs_a_second());
    divan::main();
}

/// Episodes from INTENT to OUTCOME, so many at a time.
#[divan::bench(args = [1, 16, 128, 512], sample_count = 10, sample_size = 1)]
fn episodes_side_by_side(bencher: Bencher<'_, '_>, count: usize) {
    let (runtime, _folder, ledger) = opened();
    bencher.counter(ItemsCount::new(count)).bench_local(|| {
        let episodes = (0..count).map(|_| {
            let ledger = ledger.clone();
            runtime.spawn(async move { live(&ledger).await })
        });
        let episodes: Vec<_> = episodes.collect();
        runtime.block_on(futures::future::try_join_all(episodes)).expect("no panic");
    });
}

/// Where one of ten thousand episodes stands, as every match asks before anything is done.
#[divan::bench]
fn state_of_one_of_ten_thousand(bencher: Bencher<'_, '_>) {
    let (runtime, _folder, ledger) = opened();
    let first = INCIDENTS.fetch_add(10_000, Ordering::Relaxed);
    let records = (first..first + 10_000).flat_map(|incident| story(&key(incident))).collect();
    runtime.block_on(ledger.append(records)).expect("written");
    let mut asked = (first..first + 10_000).cycle();
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| {
        let key = key(asked.next().expect("a cycle"));
        black_box(runtime.block_on(ledger.state(key)).expect("reads"))
    });
}

fn opened() -> (Runtime, TempDir, Ledger) {
    let runtime = tokio::runtime::Builder::new_multi_thread().build().expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let Opened::Ledger(ledger) = Ledger::open(&folder.path().join("ledger.redb"), "bench").expect("opens") else {
        panic!("nobody else has it")
    };
    (runtime, folder, ledger)
}

/// The life of one episode.
async fn live(ledger: &Ledger) {
    for record in story(&key(INCIDENTS.fetch_add(1, Ordering::Relaxed))) {
        ledger.append(vec![record]).await.expect("written");
    }
}

fn key(incident: u64) -> EpisodeKey {
    EpisodeKey {
        incident: incident.to_string(),
        alert: None,
        started: 1_769_755_513,
        condition: "oozie_failures".to_owned(),
        action: "restart".to_owned(),
    }
}

fn story(key: &EpisodeKey) -> [Record; 3] {
    let intent = Intent {
        action_type: "webhook".to_owned(),
        request: "POST https://hooks.example/restart".to_owned(),
        origin: Origin { topic: "sre".to_owned(), partition: 0, offset: 7, generation: 1 },
        by: "bench".to_owned(),
        because: vec!["tags.alert_type is oozie".to_owned(), "resolved is false".to_owned()],
    };
    let succeeded = Outcome::Succeeded { detail: "HTTP 200".to_owned() };
    [Entry::Intent(intent), Entry::Attempt(Attempt { number: 1 }), Entry::Outcome(succeeded)].map(|entry| Record {
        key: key.clone(),
        at_ms: 1_769_755_600_000,
        entry,
    })
}
