//! The events, as Apache Kafka's tool prints them: the same names, fields and order of fields.

use std::io::{self, Write as _};
use std::time::{SystemTime, UNIX_EPOCH};

use kafka_consumer::client::TopicPartition;
use serde::Serialize;

/// One line of standard output, without what every line has.
#[derive(Debug, Serialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub(crate) enum Event {
    StartupComplete,
    PartitionsAssigned {
        partitions: Vec<Partition>,
    },
    PartitionsRevoked {
        partitions: Vec<Partition>,
    },
    RecordData {
        key: Option<String>,
        value: Option<String>,
        topic: String,
        partition: i32,
        offset: i64,
    },
    RecordsConsumed {
        count: u64,
        partitions: Vec<Consumed>,
    },
    OffsetsCommitted {
        offsets: Vec<Committed>,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<String>,
        success: bool,
    },
    ShutdownRequested,
    ShutdownComplete,
}

/// A partition by its name.
#[derive(Debug, Serialize)]
pub(crate) struct Partition {
    topic: String,
    partition: i32,
}

impl From<&TopicPartition> for Partition {
    fn from(name: &TopicPartition) -> Self {
        Self { topic: name.topic.to_string(), partition: name.partition }
    }
}

/// What was reported of one partition.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Consumed {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) count: u64,
    pub(crate) min_offset: i64,
    /// Of the last record, inclusive.
    pub(crate) max_offset: i64,
}

/// The next offset to read of one partition.
#[derive(Debug, Serialize)]
pub(crate) struct Committed {
    topic: String,
    partition: i32,
    offset: i64,
}

impl Committed {
    pub(crate) fn new(name: &TopicPartition, offset: i64) -> Self {
        Self { topic: name.topic.to_string(), partition: name.partition, offset }
    }
}

#[derive(Serialize)]
struct Line<'a> {
    timestamp: u64,
    #[serde(flatten)]
    event: &'a Event,
}

/// Prints one event, and flushes: whoever reads must see it before the next thing happens.
pub(crate) fn print(event: &Event) -> io::Result<()> {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let timestamp = u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX);
    let mut line = serde_json::to_vec(&Line { timestamp, event })?;
    line.push(b'\n');
    let mut out = io::stdout().lock();
    out.write_all(&line)?;
    out.flush()
}
