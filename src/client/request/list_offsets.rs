//! `ListOffsets`: log start, log end, or the first offset at or after a moment (KIP-79, KIP-207).

use std::sync::Arc;
use std::time::Duration;

use kafka_proto::error_code::ErrorCode;
use kafka_proto::id::{LeaderEpoch, Offset, TopicPartition};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{BrokerId as WireBrokerId, ListOffsetsRequest};

use crate::client::request::{ApiKey, Exchange, IsolationLevel, Malformed, Reader, VersionRange, topic_name};

/// Which offset is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OffsetSpec {
    /// The first offset that the log still holds.
    Earliest,
    /// The next offset to be written; under `read_committed` the last stable offset.
    Latest,
    /// The first record whose timestamp, in milliseconds since 1970, is this or later.
    Timestamp(i64),
}

impl OffsetSpec {
    fn code(self) -> i64 {
        match self {
            Self::Earliest => -2,
            Self::Latest => -1,
            Self::Timestamp(ms) => ms.max(0),
        }
    }
}

/// One partition's question.
#[derive(Debug, Clone)]
pub(crate) struct WantedOffset {
    pub(crate) partition: TopicPartition,
    /// Not sent below version 4.
    pub(crate) current_leader_epoch: LeaderEpoch,
    pub(crate) spec: OffsetSpec,
}

/// Questions to the leader of all these partitions.
#[derive(Debug, Clone)]
pub(crate) struct ListOffsets {
    /// Not sent below version 2.
    pub(crate) isolation_level: IsolationLevel,
    pub(crate) partitions: Vec<WantedOffset>,
    /// How long the broker may take (version 10 on, KIP-1075).
    pub(crate) timeout: Duration,
}

/// One partition's offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListedOffset {
    pub(crate) partition: TopicPartition,
    pub(crate) error: ErrorCode,
    /// The record's timestamp where one was asked for.
    pub(crate) timestamp_ms: Option<i64>,
    /// `None`: no record is as young as that.
    pub(crate) offset: Option<Offset>,
    /// Of the record found; [`LeaderEpoch::UNKNOWN`] below version 4.
    pub(crate) leader_epoch: LeaderEpoch,
}

/// The answers, in the broker's order; a partition may be missing.
#[derive(Debug, Clone)]
pub(crate) struct ListOffsetsAnswer {
    pub(crate) partitions: Vec<ListedOffset>,
}

impl Exchange for ListOffsets {
    const KEY: ApiKey = ApiKey::new(2, "ListOffsets");
    const VERSIONS: VersionRange = VersionRange::new(1, 10);
    const FIRST_FLEXIBLE: i16 = 6;
    type Body = ListOffsetsRequest;
    type Response = ListOffsetsAnswer;

    fn body(&self, version: i16) -> Self::Body {
        let topics = super::by_topic(
            &self.partitions,
            |wanted| &wanted.partition,
            |wanted| {
                let partition = ListOffsetsPartition::default()
                    .with_partition_index(wanted.partition.partition)
                    .with_timestamp(wanted.spec.code());
                if version < 4 {
                    return partition;
                }
                partition.with_current_leader_epoch(wanted.current_leader_epoch.get())
            },
        );
        let topic = |(name, partitions): (Arc<str>, Vec<ListOffsetsPartition>)| {
            ListOffsetsTopic::default().with_name(topic_name(&name)).with_partitions(partitions)
        };
        let mut request = ListOffsetsRequest::default()
            .with_replica_id(WireBrokerId(-1))
            .with_topics(topics.into_iter().map(topic).collect());
        if version >= 2 {
            request = request.with_isolation_level(self.isolation_level.code());
        }
        if version >= 10 {
            request = request.with_timeout_ms(i32::try_from(self.timeout.as_millis()).unwrap_or(i32::MAX));
        }
        request
    }

    fn read(answer: &mut Reader) -> Result<Self::Response, Malformed> {
        let version = answer.version();
        if version >= 2 {
            answer.read_throttle()?;
        }
        let topics = answer.array(|r| {
            let topic = r.name()?;
            let partitions = r.array(|r| read_partition(r, &topic))?;
            r.tags()?;
            Ok(partitions)
        })?;
        answer.tags()?;
        Ok(ListOffsetsAnswer { partitions: topics.into_iter().flatten().collect() })
    }
}

fn read_partition(r: &mut Reader, topic: &Arc<str>) -> Result<ListedOffset, Malformed> {
    let partition = TopicPartition { topic: Arc::clone(topic), partition: r.i32()? };
    let error = ErrorCode::from(r.i16()?);
    let timestamp_ms = Some(r.i64()?).filter(|ms| *ms >= 0);
    let offset = Some(r.i64()?).filter(|offset| *offset >= 0).map(Offset);
    let leader_epoch = if r.version() >= 4 { LeaderEpoch(r.i32()?) } else { LeaderEpoch::UNKNOWN };
    r.tags()?;
    Ok(ListedOffset { partition, error, timestamp_ms, offset, leader_epoch })
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::ListOffsetsResponse;
    use kafka_protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};

    use super::*;
    use crate::client::request::golden;

    #[test]
    fn every_version_reads_what_the_schema_writes() {
        golden::every_version::<ListOffsets, _>(
            |version| {
                let mut partition =
                    ListOffsetsPartitionResponse::default().with_partition_index(3).with_timestamp(-1).with_offset(42);
                if version >= 4 {
                    partition = partition.with_leader_epoch(6);
                }
                let topic =
                    ListOffsetsTopicResponse::default().with_name(topic_name("t")).with_partitions(vec![partition]);
                ListOffsetsResponse::default().with_topics(vec![topic])
            },
            |version, answer| {
                let expected = ListedOffset {
                    partition: TopicPartition { topic: "t".into(), partition: 3 },
                    error: ErrorCode::from(0),
                    timestamp_ms: None,
                    offset: Some(Offset(42)),
                    leader_epoch: if version >= 4 { LeaderEpoch(6) } else { LeaderEpoch::UNKNOWN },
                };
                assert_eq!(answer.partitions, vec![expected]);
            },
        );
    }

    #[test]
    fn partitions_of_one_topic_travel_together() {
        let wanted = |topic: &str, partition| WantedOffset {
            partition: TopicPartition { topic: topic.into(), partition },
            current_leader_epoch: LeaderEpoch(1),
            spec: OffsetSpec::Earliest,
        };
        let request = ListOffsets {
            isolation_level: IsolationLevel::ReadCommitted,
            partitions: vec![wanted("a", 0), wanted("b", 0), wanted("a", 1)],
            timeout: Duration::from_secs(30),
        };
        for (version, body) in golden::requests(&request) {
            assert_eq!(body.topics.len(), 2);
            assert_eq!(body.topics[0].partitions.len(), 2);
            assert_eq!(body.topics[0].partitions[1].timestamp, -2);
            assert_eq!(body.isolation_level, i8::from(version >= 2));
            assert_eq!(body.timeout_ms, if version >= 10 { 30_000 } else { 0 });
        }
    }
}
