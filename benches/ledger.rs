//! The ledger on this disk: how many episodes a second become durable, alone and side by side, and how fast they are read.
//!
//! An episode is what one action leaves behind: INTENT, ATTEMPT and OUTCOME, each on disk before the next is written.
//! Episodes side by side share fsyncs, so beside the figures stands what the disk does when asked for nothing but fsyncs.

mod disk;
mod episode;

use std::sync::atomic::{AtomicU64, Ordering};

use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher, black_box};
use kafka_consumer::ledger::{Ledger, Opened};
use tempfile::TempDir;
use tokio::runtime::Runtime;

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

/// Keys are never used twice, whatever round they belong to.
static INCIDENTS: AtomicU64 = AtomicU64::new(0);
/// When all of it happened.
const AT_MS: i64 = 1_769_755_600_000;

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
    let records = (first..first + 10_000).flat_map(|incident| episode::story(incident.to_string(), AT_MS)).collect();
    runtime.block_on(ledger.append(records)).expect("written");
    let mut asked = (first..first + 10_000).cycle();
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| {
        let key = episode::key(asked.next().expect("a cycle").to_string());
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
    for record in episode::story(INCIDENTS.fetch_add(1, Ordering::Relaxed).to_string(), AT_MS) {
        ledger.append(vec![record]).await.expect("written");
    }
}
