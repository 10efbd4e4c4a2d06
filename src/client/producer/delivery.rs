//! One batch, from its stamp to its fate.
//!
//! Judgement is in [`kafka_proto::idempotence`]: this carries it out. Every wait ends at the batch's deadline; a request
//! that is under way then is given up, which leaves the batch in doubt.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use kafka_proto::backoff::Backoff;
use kafka_proto::error_code::{ErrorClass, ErrorCode};
use kafka_proto::id::{BrokerId, LeaderEpoch, TopicPartition};
use kafka_proto::idempotence::{Attempt, Fate, Stamp, Verdict};
use kafka_proto::record::{EncodeOptions, NewRecord, Producer as Stamped, encode_batch};
use tokio::time::Instant;

use crate::client::cluster::{Cluster, Purpose};
use crate::client::connection::RequestError;
use crate::client::consumer::random;
use crate::client::producer::lane::{Job, Lane};
use crate::client::producer::{Appended, ProduceError, ProducerRecord};
use crate::client::request::init_producer_id::InitProducerId;
use crate::client::request::produce::{Produce, ProduceAnswer};

type LeaderNow = Option<(BrokerId, LeaderEpoch)>;

/// A header as it goes to the encoder.
type Header<'a> = (&'a [u8], Option<&'a [u8]>);

fn headers(record: &ProducerRecord) -> Vec<Header<'_>> {
    record.headers.iter().map(|(name, value)| (&name[..], value.as_deref())).collect()
}

/// How one try ended, in numbers and in words.
struct Tried {
    attempt: Attempt,
    appended: Option<Appended>,
    said: String,
    message: Option<String>,
    /// Whom it went to.
    leader: LeaderNow,
}

impl Tried {
    fn failed(attempt: Attempt, leader: LeaderNow, said: &impl ToString) -> Self {
        Self { attempt, appended: None, said: said.to_string(), message: None, leader }
    }
}

/// Why there is no producer id.
enum NoId {
    /// For the moment.
    Passing(String),
    /// Asking again would not help.
    Refused(ErrorCode),
}

impl Lane {
    /// Appends the records of `jobs` as one batch.
    pub(super) async fn append(&mut self, jobs: &[Job]) -> Result<Appended, ProduceError> {
        let deadline = jobs.iter().map(|job| job.deadline).min().unwrap_or_else(Instant::now);
        let count = u32::try_from(jobs.iter().map(|job| job.records.len()).sum::<usize>()).unwrap_or(u32::MAX);
        let client = &self.config.client;
        let mut backoff = Backoff::new(client.retry_backoff, client.retry_backoff_max);
        let mut encoded: Option<(Stamp, Bytes)> = None;
        let mut last = "its turn did not come".to_owned();
        while Instant::now() < deadline {
            let Some(stamp) = self.sequence.stamp() else {
                if let Err(text) = self.identify(deadline).await? {
                    last = text;
                    self.pause(&mut backoff, None, deadline).await;
                }
                continue;
            };
            let batch = match encoded.take().filter(|(before, _)| *before == stamp) {
                Some((_, batch)) => batch,
                None => self.encode(stamp, jobs)?,
            };
            let tried = self.attempt(batch.clone(), deadline).await;
            encoded = Some((stamp, batch));
            match (self.sequence.ended(tried.attempt, count), tried.appended) {
                (Verdict::Appended, Some(appended)) => return Ok(appended),
                (Verdict::Appended | Verdict::Failed(Fate::Unknown), _) => return Err(self.unknown(tried.said)),
                (Verdict::Failed(Fate::NotAppended), _) => return Err(self.refused(tried)),
                (Verdict::Retry { refresh_metadata }, _) => {
                    if refresh_metadata {
                        self.cluster.request_refresh();
                    }
                    tracing::debug!(partition = %self.partition, error = tried.said, "the append is tried again");
                    last = tried.said;
                    self.pause(&mut backoff, tried.leader, deadline).await;
                }
            }
        }
        Err(match self.sequence.give_up() {
            Fate::Unknown => self.unknown(last),
            Fate::NotAppended => {
                let (partition, after) = (self.partition.clone(), self.config.delivery_timeout);
                ProduceError::NotAppended { partition, after, last }
            }
        })
    }

    /// Asks any broker for a producer id. The inner error passes, the outer does not.
    async fn identify(&mut self, deadline: Instant) -> Result<Result<(), String>, ProduceError> {
        match tokio::time::timeout_at(deadline, ask_for_id(&self.cluster, self.config.client.request_timeout)).await {
            Err(_) => Ok(Err("no producer id in time".to_owned())),
            Ok(Err(NoId::Passing(text))) => Ok(Err(text)),
            Ok(Err(NoId::Refused(code))) => Err(ProduceError::Refused {
                partition: self.partition.clone(),
                code,
                message: Some("no producer id".to_owned()),
            }),
            Ok(Ok((id, epoch))) => {
                self.sequence.identify(id, epoch);
                Ok(Ok(()))
            }
        }
    }

    fn encode(&self, stamp: Stamp, jobs: &[Job]) -> Result<Bytes, ProduceError> {
        let Stamp { producer_id, producer_epoch, base_sequence } = stamp;
        let now = now_ms();
        let records = || jobs.iter().flat_map(|job| &job.records);
        let headers: Vec<_> = records().map(headers).collect();
        let new = records().zip(&headers).map(|(record, headers)| NewRecord {
            timestamp_ms: record.timestamp_ms.unwrap_or(now),
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            headers,
            offset_delta: None,
        });
        let options = EncodeOptions {
            codec: self.config.compression,
            producer: Stamped::Idempotent { id: producer_id, epoch: producer_epoch, base_sequence },
            ..EncodeOptions::default()
        };
        let mut batch = Vec::new();
        encode_batch(&options, new, &mut batch).map_err(|_| ProduceError::TooLarge {
            partition: self.partition.clone(),
            bytes: jobs.iter().map(|job| job.bytes).sum(),
            limit: self.config.max_request_size,
        })?;
        Ok(batch.into())
    }

    /// One try at the leader.
    async fn attempt(&self, batch: Bytes, deadline: Instant) -> Tried {
        let leader = self.cluster.current().leader(&self.partition);
        let Some((id, _)) = leader else {
            return match self.topic_is_refused() {
                Some(code) => Tried::failed(Attempt::Refused(code), leader, &code.name()),
                None => Tried::failed(Attempt::NotSent, leader, &why_no_leader(&self.cluster, &self.partition)),
            };
        };
        let connection = match tokio::time::timeout_at(deadline, self.cluster.connect(id, Purpose::Produce)).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => return Tried::failed(Attempt::NotSent, leader, &error),
            Err(_) => return Tried::failed(Attempt::NotSent, leader, &format!("no connection to broker {id} in time")),
        };
        let timeout = self.config.client.request_timeout;
        let limit = timeout.min(deadline.saturating_duration_since(Instant::now()));
        let request = Produce { partition: self.partition.clone(), batch, timeout: limit };
        match connection.request(request, limit).await {
            Ok(Some(answer)) => self.read(answer, leader),
            Ok(None) => Tried::failed(Attempt::NoAnswer, leader, &"the answer does not name the partition"),
            Err(error @ RequestError::Closed(_)) => {
                Tried::failed(Attempt::NoAnswer, leader, &format!("{}: {error}", connection.peer().name))
            }
            Err(error @ (RequestError::Unsupported { .. } | RequestError::Encode { .. })) => {
                Tried::failed(Attempt::Refused(ErrorCode::UnsupportedVersion), leader, &error)
            }
        }
    }

    /// The answer of a leader, or of one that was.
    fn read(&self, answer: ProduceAnswer, leader: LeaderNow) -> Tried {
        if let Some((id, epoch)) = answer.current_leader {
            let endpoint = answer.endpoints.into_iter().find(|endpoint| endpoint.id == id);
            self.cluster.learn_leader(&self.partition, id, epoch, endpoint);
        }
        match answer.error {
            ErrorCode::None => Tried {
                attempt: Attempt::Appended,
                appended: Some(Appended {
                    base_offset: answer.base_offset,
                    log_append_time_ms: answer.log_append_time_ms,
                }),
                said: String::new(),
                message: None,
                leader,
            },
            error => Tried { message: answer.message, ..Tried::failed(Attempt::Refused(error), leader, &error.name()) },
        }
    }

    /// What the brokers have against the topic, where waiting does not help.
    fn topic_is_refused(&self) -> Option<ErrorCode> {
        let known = self.cluster.current();
        let error = known.topics.get(&self.partition.topic)?.error?;
        matches!(error.class(), ErrorClass::Authorization | ErrorClass::Fatal).then_some(error)
    }

    /// Until the back-off is over, another leader is known, or the deadline.
    async fn pause(&self, backoff: &mut Backoff, tried: LeaderNow, deadline: Instant) {
        let until = deadline.min(Instant::now() + backoff.next(random()));
        let mut metadata = self.cluster.metadata();
        let moved = metadata.wait_for(|known| {
            let now = known.leader(&self.partition);
            now.is_some() && now != tried
        });
        // Either is a reason to go on.
        let _ = tokio::time::timeout_at(until, moved).await;
    }

    fn unknown(&self, last: String) -> ProduceError {
        tracing::warn!(partition = %self.partition, error = last, "it is unknown whether records were appended");
        ProduceError::Unknown { partition: self.partition.clone(), last }
    }

    fn refused(&self, tried: Tried) -> ProduceError {
        let code = match tried.attempt {
            Attempt::Refused(code) => code,
            Attempt::Appended | Attempt::NoAnswer | Attempt::NotSent => ErrorCode::UnknownServerError,
        };
        ProduceError::Refused { partition: self.partition.clone(), code, message: tried.message }
    }
}

/// What is known of a partition without a leader, for people.
pub(super) fn why_no_leader(cluster: &Cluster, partition: &TopicPartition) -> String {
    let known = cluster.current();
    if let Some(error) = cluster.refresh_error() {
        return error;
    }
    match known.topics.get(&partition.topic) {
        None => format!("nothing is known of topic `{}`", partition.topic),
        Some(topic) => match topic.error {
            Some(error) => format!("topic `{}`: {}", partition.topic, error.name()),
            None if known.partition(partition).is_none() => {
                format!("topic `{}` has {} partitions", partition.topic, topic.partitions.len())
            }
            None => format!("{partition} has no leader"),
        },
    }
}

async fn ask_for_id(cluster: &Cluster, limit: Duration) -> Result<(i64, i16), NoId> {
    let connection = cluster.any().await.map_err(|error| NoId::Passing(error.to_string()))?;
    let answer = connection.request(InitProducerId, limit).await;
    let answer = answer.map_err(|error| NoId::Passing(format!("{}: {error}", connection.peer().name)))?;
    match answer.error {
        ErrorCode::None => Ok((answer.producer_id, answer.producer_epoch)),
        error if matches!(error.class(), ErrorClass::Authorization | ErrorClass::Fatal) => Err(NoId::Refused(error)),
        error => Err(NoId::Passing(format!("no producer id: {}", error.name()))),
    }
}

fn now_ms() -> i64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX)
}
