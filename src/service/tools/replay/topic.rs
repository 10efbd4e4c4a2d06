//! The topics of the configuration as a source: read without a group, from a moment to the ends that they have now.
//!
//! Promised: no member, no commit, nothing that a running consumer would notice but its share of the brokers. Of each partition
//! the order is kept; between partitions records come as the brokers send them. An end that does not come nearer is told.

use std::collections::BTreeMap;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::client::{
    ClientConfig, ConfigMistake, CorruptBatchPolicy, Examiner, Offset, ReadEvent, Reader, SkipCause, StartAt,
    TopicPartition,
};
use crate::config::Config;
use crate::service::kafka;
use crate::service::keys::keys;
use crate::service::life::host_name;
use crate::service::tools::{Refused, cannot};

use super::input::Item;
use super::rehearsal::Rehearsal;

/// For the ends of the partitions, and for the next batch of any of them.
const PATIENCE: Duration = Duration::from_mins(1);

/// Reads everything from a moment (seconds since the epoch) on, and says what was read.
pub(super) fn read(config: &Config, from: Option<i64>, rehearsal: &mut Rehearsal) -> Result<String, Refused> {
    // Passwords are fetched on a thread that may wait for the runtime.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(cannot)?;
    let read = runtime.block_on(all(config, from, rehearsal));
    runtime.shutdown_background();
    read
}

async fn all(config: &Config, from: Option<i64>, rehearsal: &mut Rehearsal) -> Result<String, Refused> {
    let keys = keys(config).await.map_err(Refused::Wrong)?;
    let username = match &config.kafka.security.sasl {
        Some(sasl) => sasl.username.resolve(&keys.secrets).await.map_err(cannot)?.reveal().to_owned(),
        None => String::new(),
    };
    let settings = kafka::consumer(&config.kafka, &keys.secrets, &username, &host_name());
    let partitions = partitions(&settings.client, &config.kafka.topics).await?;
    let start = from.map_or(StartAt::Earliest, |from| StartAt::TimestampMs(from.saturating_mul(1000)));
    let mut builder = Reader::builder();
    for partition in &partitions {
        builder = builder.partition(partition.clone(), start);
    }
    let builder = builder.isolation_level(settings.isolation_level).configure(|own| {
        own.client = settings.client;
        // Told and passed over: there is nobody who could mend it and let the replay go on.
        own.corrupt_batch_policy = CorruptBatchPolicy::Skip;
        own.client_rack = settings.client_rack;
        own.fetch_max_bytes = settings.fetch_max_bytes;
        own.max_partition_fetch_bytes = settings.max_partition_fetch_bytes;
    });
    let mut reader = builder.build().map_err(cannot)?;
    let ends = reader.end_offsets(PATIENCE).await.map_err(cannot)?;
    to_the_ends(&mut reader, &ends, rehearsal).await?;
    let what = format!("{}, {} partitions", config.kafka.topics.join(", "), partitions.len());
    // Nothing is lost when it does not say goodbye in time.
    let _ = reader.close(Duration::from_secs(5)).await;
    Ok(what)
}

/// The partitions of the topics, from the first server that lets us in.
async fn partitions(client: &ClientConfig, topics: &[String]) -> Result<Vec<TopicPartition>, Refused> {
    let lines = |mistakes: Vec<_>| {
        cannot(mistakes.iter().map(|mistake: &ConfigMistake| mistake.to_string()).collect::<Vec<_>>().join("; "))
    };
    let examiner = Examiner::new(client.clone()).map_err(lines)?;
    let mut last = "there are no servers".to_owned();
    for server in examiner.servers() {
        let login = match examiner.log_in(&server).await {
            Ok(login) => login,
            Err(error) => {
                last = format!("{server}: {error}");
                continue;
            }
        };
        match login.topics(topics).await {
            Ok((found, wrong)) => {
                if let Some((topic, error)) = wrong.first() {
                    return Err(cannot(format_args!("the topic {topic}: {}", error.name())));
                }
                return Ok(found.into_iter().map(|view| view.partition).collect());
            }
            Err(error) => last = format!("{server}: {error}"),
        }
    }
    Err(cannot(format_args!(
        "no broker tells the partitions; the last one that was asked: {last}; `doctor` looks closer"
    )))
}

async fn to_the_ends(
    reader: &mut Reader,
    ends: &BTreeMap<TopicPartition, Offset>,
    rehearsal: &mut Rehearsal,
) -> Result<(), Refused> {
    let bar = progress();
    let behind = |reader: &Reader| ends.iter().any(|(partition, end)| reader.position(partition) < Some(*end));
    while behind(reader) {
        let next = tokio::time::timeout(PATIENCE, reader.next()).await;
        let next =
            next.map_err(|_| cannot(format_args!("nothing came for {PATIENCE:?}; `doctor` looks at the brokers")))?;
        match next.map_err(cannot)? {
            ReadEvent::Records(records) => {
                let partition = records.partition();
                let end = ends.get(partition).copied();
                for record in &records {
                    // What was appended meanwhile belongs to the next replay.
                    if end.is_none_or(|end| record.offset >= end) {
                        break;
                    }
                    let place = format!("{}/{}@{}", partition.topic, partition.partition, record.offset.get());
                    let at_ms = Some(record.timestamp_ms).filter(|at| *at > 0);
                    rehearsal.see(&Item { place, at_ms, value: record.value.unwrap_or_default().to_vec() });
                }
                bar.inc(distance(records.first_offset(), records.next_offset()));
            }
            ReadEvent::Positioned { partition, to, .. } => {
                bar.inc_length(ends.get(&partition).map_or(0, |end| distance(to, *end)));
            }
            // What is gone was decided by then, and cannot be taken back: as in the service.
            ReadEvent::Truncated { .. } => {}
            ReadEvent::Skipped { partition, first, last, cause } => {
                let (SkipCause::Corrupt(why) | SkipCause::Compression(why) | SkipCause::Records(why)) = cause;
                let place = format!("{}/{}@{}..{}", partition.topic, partition.partition, first.get(), last.get());
                rehearsal.unreadable(&place, &why);
            }
        }
    }
    bar.finish_and_clear();
    Ok(())
}

fn distance(from: Offset, to: Offset) -> u64 {
    u64::try_from(to.get().saturating_sub(from.get())).unwrap_or(0)
}

/// On standard error, and only where that is a terminal.
fn progress() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("replaying {bar:30} {pos}/{len} offsets {per_sec} {eta} left");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
