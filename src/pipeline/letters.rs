//! Keeping dead letters, in a file or a topic, for as long as that takes.
//!
//! Promised: [`keep`] returns when every letter is on disk, or acknowledged by all replicas in sync; until then its record is
//! not done and no offset past it is committed. A letter may be kept twice: topic, partition and offset tell. In a topic
//! a letter is the raw record, key, value, headers and time as they were, with where it came from and why in further
//! headers; letters of one partition stay in one partition, in their order.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use crate::client::{ProduceError, Producer, ProducerRecord, TopicPartition};
use crate::dead_letter::{DeadLetter, DeadLetters};
use crate::pipeline::domain::Domain;
use crate::pipeline::guard::{Interrupt, pause, unless_stopped};
use crate::pipeline::observe::Halt;

/// Wait before dead letters that could not be kept are tried again.
const KEEPS_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Letters that go to the brokers in one call.
const CALL_LETTERS_MAX: usize = 100;
/// Their values, in one call; a single letter may be larger.
const CALL_BYTES_MAX: usize = 256 * 1024;

/// Where dead letters go.
#[derive(Clone, Debug)]
pub enum Letters {
    /// JSON lines.
    File(DeadLetters),
    /// Records of a topic.
    Topic(LetterTopic),
}

/// The topic, and the way to it.
#[derive(Clone, Debug)]
pub struct LetterTopic {
    producer: Producer,
    topic: Arc<str>,
}

impl LetterTopic {
    /// Letters to `topic`, which must exist.
    pub fn new(producer: Producer, topic: &str) -> Self {
        Self { producer, topic: Arc::from(topic) }
    }

    /// Appends letters of one source partition, in order, and takes out those that are acknowledged.
    async fn keep(&self, letters: &mut Vec<DeadLetter>) -> Result<(), ProduceError> {
        while let Some(first) = letters.first() {
            let partitions = self.producer.partitions(&self.topic).await?.max(1);
            let partition = first.partition.rem_euclid(partitions);
            let to = TopicPartition { topic: Arc::clone(&self.topic), partition };
            let count = in_one_call(letters);
            let records: Vec<_> = letters.iter().take(count).map(record).collect();
            self.producer.send(&to, records).await?;
            letters.drain(..count);
        }
        Ok(())
    }
}

/// How many of the first letters go together.
fn in_one_call(letters: &[DeadLetter]) -> usize {
    let size = |letter: &DeadLetter| letter.value_base64.as_ref().map_or(0, Vec::len);
    let mut bytes = 0;
    let fits = letters.iter().take(CALL_LETTERS_MAX).take_while(|letter| {
        bytes += size(letter);
        bytes <= CALL_BYTES_MAX
    });
    fits.count().max(1)
}

/// The raw record with its origin in headers, behind those that it had.
fn record(letter: &DeadLetter) -> ProducerRecord {
    let mut record = ProducerRecord::default().timestamp_ms(letter.timestamp_ms);
    if let Some(value) = &letter.value_base64 {
        record = record.value(value.clone());
    }
    if let Some(key) = &letter.key_base64 {
        record = record.key(key.clone());
    }
    for (name, value) in &letter.headers {
        record = match value {
            Some(value) => record.header(name.clone(), value.clone()),
            None => record.null_header(name.clone()),
        };
    }
    let origin: [(&'static str, Bytes); 5] = [
        ("topic", letter.topic.clone().into()),
        ("partition", letter.partition.to_string().into()),
        ("offset", letter.offset.to_string().into()),
        ("timestamp_ms", letter.timestamp_ms.to_string().into()),
        ("reason", letter.reason.clone().into()),
    ];
    origin.into_iter().fold(record, |record, (name, value)| record.header(name, value))
}

impl Letters {
    /// Keeps letters of one source partition and takes out those that are kept. The error is for people.
    async fn keep(&self, letters: &mut Vec<DeadLetter>) -> Result<(), String> {
        match self {
            Self::File(file) => {
                file.keep(letters.clone()).await.map_err(|error| error.to_string())?;
                letters.clear();
                Ok(())
            }
            Self::Topic(topic) => topic.keep(letters).await.map_err(|error| format!("dead_letter.topic: {error}")),
        }
    }
}

/// Returns when the letters are kept, or cannot be because the partition is going away.
pub(crate) async fn keep(
    domain: &Domain,
    stop: &CancellationToken,
    mut letters: Vec<DeadLetter>,
) -> Result<(), Interrupt> {
    for letter in &letters {
        let DeadLetter { topic, partition, offset, reason, .. } = letter;
        tracing::warn!(topic, partition, offset, reason, "dead letter: the record is no incident");
    }
    let Some(place) = &domain.dead_letters else { return Ok(()) };
    loop {
        match unless_stopped(stop, place.keep(&mut letters)).await? {
            Ok(()) => {
                domain.status.halt(Halt::DeadLetters, None);
                return Ok(());
            }
            Err(error) => {
                if domain.status.halt(Halt::DeadLetters, Some(error.clone())) {
                    tracing::error!(%error, "dead letters wait; their partitions are not committed past them");
                }
                pause(KEEPS_AGAIN_AFTER, stop).await?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(offset: i64, bytes: usize) -> DeadLetter {
        DeadLetter {
            topic: "t".to_owned(),
            partition: 1,
            offset,
            timestamp_ms: 5,
            reason: "not JSON".to_owned(),
            key_base64: None,
            value_base64: Some(vec![b'x'; bytes]),
            headers: vec![(b"h".to_vec(), None)],
        }
    }

    #[test]
    fn a_call_takes_as_many_as_fit_and_at_least_one() {
        let small: Vec<_> = (0..250).map(|offset| letter(offset, 10)).collect();
        assert_eq!(in_one_call(&small), CALL_LETTERS_MAX);
        assert_eq!(in_one_call(&[letter(0, CALL_BYTES_MAX - 1), letter(1, 2)]), 1);
        assert_eq!(in_one_call(&[letter(0, CALL_BYTES_MAX + 1), letter(1, 2)]), 1);
    }

    #[test]
    fn the_record_is_raw_and_its_origin_stands_behind_its_own_headers() {
        let expected = ProducerRecord::new("xx")
            .timestamp_ms(5)
            .null_header("h")
            .header("topic", "t")
            .header("partition", "1")
            .header("offset", "7")
            .header("timestamp_ms", "5")
            .header("reason", "not JSON");
        assert_eq!(record(&letter(7, 2)), expected);
    }
}
