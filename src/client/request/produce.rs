//! `Produce`: one batch for one partition, acknowledged by all replicas in sync (`acks=all`).
//!
//! To version 12, where topics have names: a producer that follows a topic by its id would refuse to write to one that was
//! created anew, which is not what an appender of dead letters wants. Leader hints come from version 10 on (KIP-951).

use std::time::Duration;

use bytes::Bytes;
use kafka_proto::error_code::ErrorCode;
use kafka_proto::id::{BrokerId, LeaderEpoch, Offset, TopicPartition};
use kafka_protocol::messages::ProduceRequest;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};

use crate::client::request::{ApiKey, Endpoint, Exchange, Malformed, Reader, VersionRange, topic_name};

/// One batch for the leader of one partition.
#[derive(Debug, Clone)]
pub(crate) struct Produce {
    pub(crate) partition: TopicPartition,
    /// One encoded record batch.
    pub(crate) batch: Bytes,
    /// How long the leader may wait for the replicas.
    pub(crate) timeout: Duration,
}

/// What the leader made of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProduceAnswer {
    pub(crate) error: ErrorCode,
    /// Of the first record; meaningless beside an error.
    pub(crate) base_offset: Offset,
    /// Milliseconds since 1970, where the topic goes by the broker's clock.
    pub(crate) log_append_time_ms: Option<i64>,
    /// The broker's words, and those about single records (KIP-467).
    pub(crate) message: Option<String>,
    /// The leader that the broker knows of, beside `NOT_LEADER_OR_FOLLOWER`.
    pub(crate) current_leader: Option<(BrokerId, LeaderEpoch)>,
    /// Where that one listens.
    pub(crate) endpoints: Vec<Endpoint>,
}

impl Exchange for Produce {
    const KEY: ApiKey = ApiKey::new(0, "Produce");
    const VERSIONS: VersionRange = VersionRange::new(3, 12);
    const FIRST_FLEXIBLE: i16 = 9;
    type Body = ProduceRequest;
    /// `None`: the answer does not name the partition.
    type Response = Option<ProduceAnswer>;

    fn body(&self, _version: i16) -> Self::Body {
        let data =
            PartitionProduceData::default().with_index(self.partition.partition).with_records(Some(self.batch.clone()));
        let topic =
            TopicProduceData::default().with_name(topic_name(&self.partition.topic)).with_partition_data(vec![data]);
        ProduceRequest::default()
            .with_transactional_id(None)
            .with_acks(-1)
            .with_timeout_ms(i32::try_from(self.timeout.as_millis()).unwrap_or(i32::MAX))
            .with_topic_data(vec![topic])
    }

    fn read(answer: &mut Reader) -> Result<Self::Response, Malformed> {
        let version = answer.version();
        let topics = answer.array(|r| {
            r.name()?;
            let partitions = r.array(read_partition)?;
            r.tags()?;
            Ok(partitions)
        })?;
        answer.read_throttle()?;
        let mut endpoints = Vec::new();
        answer.tags_with(|tag, r| {
            if tag == 0 && version >= 10 {
                endpoints = r.array(read_endpoint)?;
            }
            Ok(())
        })?;
        // One partition was asked for, so one is answered.
        Ok(topics.into_iter().flatten().next().map(|answer| ProduceAnswer { endpoints, ..answer }))
    }
}

fn read_partition(r: &mut Reader) -> Result<ProduceAnswer, Malformed> {
    let version = r.version();
    r.i32()?; // the partition's number
    let error = ErrorCode::from(r.i16()?);
    let base_offset = Offset(r.i64()?);
    let log_append_time_ms = Some(r.i64()?).filter(|ms| *ms >= 0);
    if version >= 5 {
        r.i64()?; // the start of the log
    }
    let (mut of_records, mut message) = (Vec::new(), None);
    if version >= 8 {
        of_records = r.array(read_record_error)?;
        message = r.nullable_string()?;
    }
    let mut current_leader = None;
    r.tags_with(|tag, r| {
        if tag == 0 && version >= 10 {
            current_leader = read_leader(r)?;
        }
        Ok(())
    })?;
    let message =
        message.into_iter().chain(of_records.into_iter().flatten()).reduce(|all, one| format!("{all}; {one}"));
    Ok(ProduceAnswer { error, base_offset, log_append_time_ms, message, current_leader, endpoints: Vec::new() })
}

fn read_record_error(r: &mut Reader) -> Result<Option<String>, Malformed> {
    let (index, message) = (r.i32()?, r.nullable_string()?);
    r.tags()?;
    Ok(message.map(|message| format!("record {index} of the batch: {message}")))
}

fn read_leader(r: &mut Reader) -> Result<Option<(BrokerId, LeaderEpoch)>, Malformed> {
    let (id, epoch) = (r.i32()?, r.i32()?);
    r.tags()?;
    Ok((id >= 0).then_some((BrokerId(id), LeaderEpoch(epoch))))
}

fn read_endpoint(r: &mut Reader) -> Result<Endpoint, Malformed> {
    let id = BrokerId(r.i32()?);
    let endpoint = r.endpoint(id)?;
    let rack = r.nullable_name()?;
    r.tags()?;
    Ok(Endpoint { rack, ..endpoint })
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::produce_response::{
        BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, TopicProduceResponse,
    };
    use kafka_protocol::messages::{BrokerId as WireBrokerId, ProduceResponse};

    use super::*;
    use crate::client::request::{golden, text};

    fn answer(version: i16) -> ProduceResponse {
        let mut partition = PartitionProduceResponse::default()
            .with_index(3)
            .with_error_code(6)
            .with_base_offset(42)
            .with_log_append_time_ms(1_700_000_000_000);
        if version >= 8 {
            let record = BatchIndexAndErrorMessage::default()
                .with_batch_index(1)
                .with_batch_index_error_message(Some(text("no key")));
            partition = partition.with_record_errors(vec![record]).with_error_message(Some(text("moved")));
        }
        if version >= 10 {
            let leader = LeaderIdAndEpoch::default().with_leader_id(WireBrokerId(2)).with_leader_epoch(9);
            partition = partition.with_current_leader(leader);
        }
        let topic =
            TopicProduceResponse::default().with_name(topic_name("t")).with_partition_responses(vec![partition]);
        let response = ProduceResponse::default().with_responses(vec![topic]).with_throttle_time_ms(7);
        if version < 10 {
            return response;
        }
        let endpoint = NodeEndpoint::default().with_node_id(WireBrokerId(2)).with_host(text("two")).with_port(9092);
        response.with_node_endpoints(vec![endpoint])
    }

    #[test]
    fn every_version_reads_what_the_schema_writes() {
        golden::every_version::<Produce, _>(answer, |version, answer| {
            let answer = answer.expect("the one partition");
            assert_eq!((answer.error, answer.base_offset), (ErrorCode::NotLeaderOrFollower, Offset(42)));
            assert_eq!(answer.log_append_time_ms, Some(1_700_000_000_000));
            let message = (version >= 8).then(|| "moved; record 1 of the batch: no key".to_owned());
            assert_eq!(answer.message, message);
            let leader = (version >= 10).then_some((BrokerId(2), LeaderEpoch(9)));
            assert_eq!((answer.current_leader, answer.endpoints.len()), (leader, usize::from(version >= 10)));
        });
    }

    #[test]
    fn all_replicas_in_sync_must_acknowledge() {
        let request = Produce {
            partition: TopicPartition::new("t", 3),
            batch: Bytes::from_static(b"batch"),
            timeout: Duration::from_secs(3),
        };
        for (_, body) in golden::requests(&request) {
            assert_eq!((body.acks, body.timeout_ms), (-1, 3000));
            assert_eq!(body.topic_data[0].partition_data[0].index, 3);
            assert_eq!(body.topic_data[0].partition_data[0].records.as_deref(), Some(&b"batch"[..]));
        }
    }
}
