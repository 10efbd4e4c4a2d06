//! The client as a ledger topic: one to one, so that nothing is decided here but what each error means.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use kafka_proto::error_code::ErrorCode;
use kafka_proto::id::{Offset, TopicPartition};

use crate::client::{ProduceError, Producer, ProducerRecord, ReadEvent, Reader, ResetCause};
use crate::ledger::{Tail, Topic, TopicError, TopicRecord};

/// Appends to a ledger topic.
pub struct KafkaTopic {
    producer: Producer,
    name: Arc<str>,
    partitions: u32,
}

impl KafkaTopic {
    /// A topic that has as many partitions.
    pub fn new(producer: Producer, name: &str, partitions: u32) -> Self {
        Self { producer, name: Arc::from(name), partitions }
    }

    async fn send(&self, partition: u32, records: Vec<TopicRecord>) -> Result<(), TopicError> {
        let partition = i32::try_from(partition).map_err(|error| TopicError::Never(error.to_string()))?;
        let to = TopicPartition { topic: Arc::clone(&self.name), partition };
        let records: Vec<ProducerRecord> = records.into_iter().map(record).collect();
        self.producer.send(&to, records).await.map(drop).map_err(|error| judged(&error))
    }
}

fn record(record: TopicRecord) -> ProducerRecord {
    match record.value {
        Some(value) => ProducerRecord::new(value).key(record.key),
        None => ProducerRecord::tombstone(record.key),
    }
}

/// What may heal is tried again: a right can be given back, a broker comes back. A record that is too large stays so.
fn judged(error: &ProduceError) -> TopicError {
    match error {
        ProduceError::Refused { code: ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge, .. }
        | ProduceError::TooLarge { .. }
        | ProduceError::Empty
        | ProduceError::Closed => TopicError::Never(error.to_string()),
        _ => TopicError::Again(error.to_string()),
    }
}

impl Topic for KafkaTopic {
    fn name(&self) -> &str {
        &self.name
    }

    fn partitions(&self) -> u32 {
        self.partitions
    }

    fn append(&self, partition: u32, records: Vec<TopicRecord>) -> BoxFuture<'_, Result<(), TopicError>> {
        self.send(partition, records).boxed()
    }
}

/// Reads a ledger topic from its beginning.
pub struct KafkaTail {
    reader: Reader,
    ends: BTreeMap<TopicPartition, Offset>,
}

impl KafkaTail {
    /// `reader` begins at the beginning of all partitions; `ends` are where their logs ended when it did.
    pub fn new(reader: Reader, ends: BTreeMap<TopicPartition, Offset>) -> Self {
        Self { reader, ends }
    }

    async fn page(&mut self) -> Result<Vec<TopicRecord>, String> {
        let event = self.reader.next().await.map_err(|error| error.to_string())?;
        match event {
            ReadEvent::Records(records) => {
                let mut page = Vec::new();
                records.batch().for_each(|record| {
                    let key = String::from_utf8_lossy(record.key.unwrap_or_default()).into_owned();
                    page.push(TopicRecord { key, value: record.value.map(<[u8]>::to_vec) });
                });
                Ok(page)
            }
            ReadEvent::Positioned { partition, to, cause: ResetCause::Requested, .. } => {
                if to.get() > 0 {
                    tracing::error!(
                        %partition, begins_at = to.get(),
                        "records were deleted from the ledger topic: is its cleanup.policy not `compact`? What it has forgotten counts as new"
                    );
                }
                Ok(Vec::new())
            }
            ReadEvent::Positioned { partition, to, .. } => {
                Err(format!("{partition} was left behind: its log begins at {to} now"))
            }
            ReadEvent::Truncated { partition, diverged_at, .. } => Err(format!(
                "{partition}: what was acknowledged is gone, its log was cut at {diverged_at}; start again to read it anew"
            )),
            ReadEvent::Skipped { partition, first, last, .. } => {
                Err(format!("{partition}: offsets {first} to {last} cannot be read"))
            }
        }
    }
}

impl Tail for KafkaTail {
    fn next(&mut self) -> BoxFuture<'_, Result<Vec<TopicRecord>, String>> {
        self.page().boxed()
    }

    fn left(&self) -> u64 {
        let left = |(partition, end): (&TopicPartition, &Offset)| {
            let at = self.reader.position(partition).unwrap_or(Offset(0));
            u64::try_from(end.get().saturating_sub(at.get())).unwrap_or_default()
        };
        self.ends.iter().map(left).sum()
    }
}
