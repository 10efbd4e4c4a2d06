//! Groups, fetching and commits against the broker double, through the public API alone.
//!
//! [`Reader`] is an application in small: it keeps what it read, commits what it is told to, and waits for conditions
//! with a deadline.

mod flight;
mod groups;
mod logs;
mod offsets;
mod reading;
mod waiting;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kafka_broker_double::{Cluster, Record};
use kafka_consumer::client::{
    AutoOffsetReset, Commit, CommitReport, Consumer, ConsumerBuilder, ConsumerHandle, Event, Offset, Ownership,
    Records, TopicPartition,
};

/// No condition takes longer; what a test waits for takes milliseconds.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// A consumer of topic `t` in group `g` that starts at the beginning.
pub(super) fn builder(cluster: &Cluster) -> ConsumerBuilder {
    Consumer::builder()
        .bootstrap_servers([cluster.bootstrap()])
        .group_id("g")
        .topics(["t"])
        .auto_offset_reset(AutoOffsetReset::Earliest)
        .configure(|config| {
            config.heartbeat_interval = Duration::from_millis(100);
            config.session_timeout = Duration::from_secs(10);
            config.fetch_max_wait = Duration::from_millis(100);
            config.client.retry_backoff = Duration::from_millis(20);
            config.client.retry_backoff_max = Duration::from_millis(200);
        })
}

/// A consumer and everything it said.
pub(super) struct Reader {
    pub(super) consumer: Consumer,
    pub(super) handle: ConsumerHandle,
    /// Values by partition, in the order of arrival.
    pub(super) values: BTreeMap<i32, Vec<String>>,
    pub(super) owned: BTreeMap<i32, Ownership>,
    /// What is read and not committed.
    pub(super) read: Commit,
    /// Every event but records, as text.
    pub(super) events: Vec<String>,
    /// Whether a revocation is answered with a commit of what was read.
    pub(super) commits_on_revocation: bool,
}

impl Reader {
    pub(super) fn of(cluster: &Cluster) -> Self {
        Self::from(builder(cluster))
    }

    pub(super) fn from(builder: ConsumerBuilder) -> Self {
        let consumer = builder.build().expect("a valid configuration");
        let handle = consumer.handle();
        Self {
            consumer,
            handle,
            values: BTreeMap::new(),
            owned: BTreeMap::new(),
            read: Commit::new(),
            events: Vec::new(),
            commits_on_revocation: true,
        }
    }

    /// Takes events until something is so.
    pub(super) async fn until(&mut self, what: &str, mut is_so: impl FnMut(&Self) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !is_so(self) {
            let event = tokio::time::timeout(Duration::from_millis(50), self.consumer.next()).await;
            match event {
                Ok(event) => self.take(event.expect("no fatal error")).await,
                Err(_) => assert!(
                    Instant::now() < end,
                    "waited in vain until {what}: {:?} {:?}\n{:#?}",
                    self.values,
                    self.events,
                    self.handle.snapshot()
                ),
            }
        }
    }

    /// Takes events until so many records were read.
    pub(super) async fn until_read(&mut self, count: usize) {
        self.until(&format!("{count} records are read"), |reader| reader.count() >= count).await;
    }

    /// Takes events until an event is there whose text holds all of `parts`.
    pub(super) async fn until_event(&mut self, parts: &[&str]) {
        self.until(&format!("there is an event with {parts:?}"), |reader| reader.has_event(parts)).await;
    }

    /// Lets events come for a while, to see that something does not happen.
    pub(super) async fn for_a_while(&mut self) {
        let end = Instant::now() + Duration::from_millis(500);
        while Instant::now() < end {
            if let Ok(event) = tokio::time::timeout(Duration::from_millis(50), self.consumer.next()).await {
                self.take(event.expect("no fatal error")).await;
            }
        }
    }

    pub(super) fn has_event(&self, parts: &[&str]) -> bool {
        self.events.iter().any(|event| parts.iter().all(|part| event.contains(part)))
    }

    pub(super) fn count(&self) -> usize {
        self.values.values().map(Vec::len).sum()
    }

    async fn take(&mut self, event: Event) {
        match event {
            Event::Records(records) => self.keep(&records),
            Event::Assigned { partitions } => {
                self.events.push(format!("Assigned {partitions:?}"));
                self.owned.extend(partitions.into_iter().map(|owner| (owner.partition().partition, owner)));
            }
            Event::Revoking(revocation) => {
                self.events.push(format!("Revoking {:?}", revocation.partitions().collect::<Vec<_>>()));
                for partition in revocation.partitions() {
                    self.owned.remove(&partition.partition);
                }
                if self.commits_on_revocation {
                    let read = std::mem::take(&mut self.read);
                    let report = revocation.commit(read).await;
                    self.events.push(format!("committed on revocation: {report:?}"));
                }
            }
            Event::Lost { ref partitions, .. } => {
                for partition in partitions {
                    self.owned.remove(&partition.partition);
                }
                self.events.push(format!("{event:?}"));
            }
            Event::OffsetReset { .. } | Event::Truncated { .. } | Event::Skipped { .. } => {
                self.events.push(format!("{event:?}"));
            }
        }
    }

    fn keep(&mut self, records: &Records) {
        let values = self.values.entry(records.partition().partition).or_default();
        values.extend(
            records.batch().map(|record| String::from_utf8_lossy(record.value.unwrap_or(b"(null)")).into_owned()),
        );
        self.read.processed(records);
    }

    /// Commits what was read since the last time.
    pub(super) async fn commit(&mut self) -> CommitReport {
        self.handle.commit(std::mem::take(&mut self.read)).await.expect("a commit")
    }

    pub(super) fn position(&self, partition: i32) -> Option<Offset> {
        let name = TopicPartition::new("t", partition);
        self.handle.snapshot().partitions.into_iter().find(|known| known.partition == name)?.position
    }

    pub(super) async fn close(self) {
        self.consumer.close(Duration::from_secs(10)).await.expect("a clean end");
    }
}

/// `count` records with their numbers, from `first` on.
pub(super) fn numbers(first: usize, count: usize) -> Vec<Record> {
    (first..first + count).map(|number| Record::new(number.to_string())).collect()
}

/// What those look like when they arrive.
pub(super) fn texts(first: usize, count: usize) -> Vec<String> {
    (first..first + count).map(|number| number.to_string()).collect()
}
