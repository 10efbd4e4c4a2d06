//! Reads given partitions without a group: no members, no commits, no rebalance.
//!
//! Promised: everything that [`Consumer`](crate::client::Consumer) promises of fetching (checked, decoded and
//! `read_committed` batches, leader epochs, bounded memory), for the same engine does it; what is read begins where it was
//! told to, and every jump is an event. Absent: commits, assignment, a poll deadline.

mod builder;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use kafka_proto::backoff::Backoff;
use kafka_proto::id::{BrokerId, Offset, TopicPartition};
use tokio::time::Instant;

use crate::client::cluster::{Cluster, Purpose};
use crate::client::consumer::{CloseError, Consumer, ConsumerConfig, FatalError, random};
use crate::client::event::{Event, Records, ResetCause, SkipCause};
use crate::client::flight::FlightEntry;
use crate::client::offsets::{OffsetQuestion, ask_offsets};
use crate::client::request::list_offsets::OffsetSpec;
use crate::client::snapshot::Snapshot;
pub use builder::ReaderBuilder;

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartAt {
    /// At the first record that the log still has.
    Earliest,
    /// At the end: only what is appended from then on.
    Latest,
    /// At this offset.
    Offset(Offset),
    /// At the first record whose timestamp, in milliseconds since 1970, is this or later; at the end if there is none.
    TimestampMs(i64),
}

/// What a reader reports, in order. Exhaustive, so that a `match` without a wildcard has thought of everything.
#[derive(Debug)]
pub enum ReadEvent {
    /// One batch of one partition. May hold no record (markers, what was compacted away): the position moves all the same.
    Records(Records),
    /// Reading begins, or goes on, elsewhere. The first event of a partition with the cause [`ResetCause::Requested`],
    /// unless it begins at an offset; later the position had left the log.
    Positioned {
        /// The partition.
        partition: TopicPartition,
        /// The position before; `None` at the start.
        from: Option<Offset>,
        /// The position from here on.
        to: Offset,
        /// Why.
        cause: ResetCause,
    },
    /// The log was cut below what was read (KIP-320): records that were handed out are not part of it any more.
    Truncated {
        /// The partition.
        partition: TopicPartition,
        /// The next offset that would have been read.
        position: Offset,
        /// The first offset at which the log differs from what was read.
        diverged_at: Offset,
    },
    /// Offsets that could not be read and were passed over, as `corrupt.batch.policy = skip` asks.
    Skipped {
        /// The partition.
        partition: TopicPartition,
        /// The first offset that was passed over.
        first: Offset,
        /// The last one, inclusive.
        last: Offset,
        /// What is wrong with the batch.
        cause: SkipCause,
    },
}

/// The ends of logs were not told in time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ends of the partitions were not told within {} ms: {last}", after.as_millis())]
pub struct EndsUnknown {
    /// The deadline that was given.
    pub after: Duration,
    /// What failed last.
    pub last: String,
}

/// A reader of given partitions, without a group.
///
/// To read a log as it is now, ask for its ends and read until the position has reached them:
///
/// ```no_run
/// use std::time::Duration;
///
/// use kafka_consumer::client::{ReadEvent, Reader, StartAt, TopicPartition};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let partition = TopicPartition::new("ledger", 0);
/// let mut reader = Reader::builder()
///     .bootstrap_servers(["broker1.example:9092"])
///     .partition(partition.clone(), StartAt::Earliest)
///     .build()?;
/// let ends = reader.end_offsets(Duration::from_secs(30)).await?;
/// while reader.position(&partition) < ends.get(&partition).copied() {
///     match reader.next().await? {
///         ReadEvent::Records(records) => {
///             for record in &records {
///                 println!("{} {:?}", record.offset, record.key);
///             }
///         }
///         ReadEvent::Positioned { to, .. } => println!("from {to} on"),
///         event @ (ReadEvent::Truncated { .. } | ReadEvent::Skipped { .. }) => return Err(format!("{event:?}").into()),
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub struct Reader {
    consumer: Consumer,
    config: Arc<ConsumerConfig>,
    cluster: Cluster,
    positions: BTreeMap<TopicPartition, Option<Offset>>,
}

impl Reader {
    /// Collects the settings.
    pub fn builder() -> ReaderBuilder {
        ReaderBuilder::new()
    }

    /// The next event. Waits as long as there is none. Cancel-safe: dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<ReadEvent, FatalError> {
        loop {
            let event = self.consumer.next().await?;
            if let Some(event) = reading(event) {
                self.follow(&event);
                return Ok(event);
            }
        }
    }

    /// The offset after the last one that [`Reader::next`] covered; `None` as long as the start is being asked for.
    pub fn position(&self, partition: &TopicPartition) -> Option<Offset> {
        self.positions.get(partition).copied().flatten()
    }

    /// The end of what is replicated, as of the last fetch; `None` before the first one.
    pub fn high_watermark(&self, partition: &TopicPartition) -> Option<Offset> {
        let snapshot = self.snapshot();
        snapshot.partitions.into_iter().find(|known| known.partition == *partition)?.high_watermark
    }

    /// The end of every partition now, as its leader says: the next offset to be written, or with `read_committed` the
    /// last stable offset. Tries until all are known or the deadline.
    pub async fn end_offsets(&self, deadline: Duration) -> Result<BTreeMap<TopicPartition, Offset>, EndsUnknown> {
        let until = Instant::now() + deadline;
        let client = &self.config.client;
        let mut backoff = Backoff::new(client.retry_backoff, client.retry_backoff_max);
        let mut ends = BTreeMap::new();
        let mut last = "no leader is known".to_owned();
        while Instant::now() < until {
            if tokio::time::timeout_at(until, self.ask_for_ends(&mut ends, &mut last)).await.is_err() {
                break;
            }
            if ends.len() == self.positions.len() {
                return Ok(ends);
            }
            self.cluster.request_refresh();
            tokio::time::sleep_until(until.min(Instant::now() + backoff.next(random()))).await;
        }
        Err(EndsUnknown { after: deadline, last })
    }

    /// The reader as it is now: partitions, connections, counts. Does not wait for anything.
    pub fn snapshot(&self) -> Snapshot {
        self.consumer.handle().snapshot()
    }

    /// The newest decisive steps of the protocol, oldest first. Does not wait for anything.
    pub fn flight_recorder(&self) -> Vec<FlightEntry> {
        self.consumer.handle().flight_recorder()
    }

    /// Stops reading.
    pub async fn close(self, deadline: Duration) -> Result<(), CloseError> {
        self.consumer.close(deadline).await
    }

    /// Asks each leader once for those ends that are not known yet.
    async fn ask_for_ends(&self, ends: &mut BTreeMap<TopicPartition, Offset>, last: &mut String) {
        let metadata = self.cluster.current();
        let mut by_leader: BTreeMap<BrokerId, Vec<OffsetQuestion>> = BTreeMap::new();
        for partition in self.positions.keys().filter(|partition| !ends.contains_key(*partition)) {
            if let Some((leader, epoch)) = metadata.leader(partition) {
                by_leader.entry(leader).or_default().push((partition.clone(), epoch, OffsetSpec::Latest));
            }
        }
        for (leader, questions) in by_leader {
            let (isolation, limit) = (self.config.isolation_level, self.config.client.request_timeout);
            match ask_offsets(&self.cluster, (leader, Purpose::Control), questions, isolation, limit).await {
                Ok(found) => {
                    for (partition, end) in found {
                        match end {
                            Ok(Some(end)) => drop(ends.insert(partition, end.offset)),
                            Ok(None) => *last = format!("{partition}: no end"),
                            Err(error) => *last = format!("{partition}: {}", error.name()),
                        }
                    }
                }
                Err(error) => *last = error,
            }
        }
    }

    fn follow(&mut self, event: &ReadEvent) {
        let (partition, at) = match event {
            ReadEvent::Records(records) => (records.partition(), records.next_offset()),
            ReadEvent::Positioned { partition, to, .. } => (partition, *to),
            ReadEvent::Truncated { partition, diverged_at, .. } => (partition, *diverged_at),
            ReadEvent::Skipped { partition, last, .. } => (partition, last.next()),
        };
        self.positions.insert(partition.clone(), Some(at));
    }
}

/// What of a consumer's events concerns a reader: there is no group that could take anything.
fn reading(event: Event) -> Option<ReadEvent> {
    match event {
        Event::Records(records) => Some(ReadEvent::Records(records)),
        Event::OffsetReset { partition, from, to, cause } => Some(ReadEvent::Positioned { partition, from, to, cause }),
        Event::Truncated { partition, position, diverged_at } => {
            Some(ReadEvent::Truncated { partition, position, diverged_at })
        }
        Event::Skipped { partition, first, last, cause } => Some(ReadEvent::Skipped { partition, first, last, cause }),
        Event::Assigned { .. } | Event::Revoking(_) | Event::Lost { .. } => None,
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reader({:?})", self.positions)
    }
}
