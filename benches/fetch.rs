//! The full way of a fetch: socket, frame, batches, queue, records; against the broker double, by number of partitions.
//!
//! What is measured is the CPU time of the one thread that the client runs on here; the double has threads of its own. So
//! the figures say what a record costs the client, and whether the cost stays flat while the partitions grow.
//! `cargo bench --bench fetch --no-default-features -- 200000` sets the number of records.

#![expect(clippy::cast_precision_loss, reason = "figures for people: four digits are enough")]

use std::time::{Duration, Instant};

use kafka_broker_double::{Batch, Cluster};
use kafka_consumer::client::{AutoOffsetReset, Consumer, Event};
use rustix::time::{ClockId, clock_gettime};

/// Bytes of a value, and how many go into one batch.
const SIZES: [(usize, usize); 2] = [(2048, 100), (100, 1000)];
const PARTITIONS: [i32; 4] = [1, 10, 100, 1000];

fn main() {
    let asked = std::env::args().skip(1).find_map(|argument| argument.parse().ok());
    println!(
        "{:>10} {:>10} {:>10} {:>12} {:>10} {:>10}",
        "value", "partitions", "records", "ns a record", "CPU s/GB", "MB/s"
    );
    for (value_bytes, per_batch) in SIZES {
        for partitions in PARTITIONS {
            run(value_bytes, per_batch, partitions, asked.unwrap_or(400_000));
        }
    }
}

/// Fills a topic, reads it to its end, prints a line.
fn run(value_bytes: usize, per_batch: usize, partitions: i32, records: usize) {
    let batch = Batch::of((0..per_batch).map(|_| "x".repeat(value_bytes)));
    let cluster = Cluster::builder().topic("t", usize::try_from(partitions).expect("few")).start();
    let batches = records.div_ceil(per_batch).div_ceil(usize::try_from(partitions).expect("few"));
    for partition in 0..partitions {
        cluster.append_many("t", partition, &batch, batches);
    }
    let records = batches * per_batch * usize::try_from(partitions).expect("few");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (took, used) = runtime.block_on(read(&cluster, records));
    let bytes = records as f64 * value_bytes as f64;
    println!(
        "{value_bytes:>8} B {partitions:>10} {records:>10} {:>12.0} {:>10.3} {:>10.0}",
        used.as_secs_f64() * 1e9 / records as f64,
        used.as_secs_f64() / bytes * 1e9,
        bytes / 1e6 / took.as_secs_f64(),
    );
}

/// Reads so many records; wall clock and CPU time of this thread from the first of them on.
async fn read(cluster: &Cluster, records: usize) -> (Duration, Duration) {
    let mut consumer = Consumer::builder()
        .bootstrap_servers([cluster.bootstrap()])
        .group_id("bench")
        .topics(["t"])
        .auto_offset_reset(AutoOffsetReset::Earliest)
        .build()
        .expect("builds");
    let (mut seen, mut bytes, mut began) = (0, 0, None);
    while seen < records {
        if let Event::Records(batch) = consumer.next().await.expect("no fatal error") {
            began.get_or_insert_with(|| (Instant::now(), thread_cpu()));
            bytes += batch.batch().map(|record| record.value.map_or(0, <[u8]>::len)).sum::<usize>();
            seen += batch.len();
        }
    }
    std::hint::black_box(bytes);
    let (at, used) = began.expect("records came");
    (at.elapsed(), thread_cpu().saturating_sub(used))
}

fn thread_cpu() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}
