//! `OffsetForLeaderEpoch`: where a leader epoch ends, to notice a truncated log before reading on (KIP-320).

use std::sync::Arc;

use kafka_proto::error_code::ErrorCode;
use kafka_proto::id::{LeaderEpoch, Offset, TopicPartition};
use kafka_protocol::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use kafka_protocol::messages::{BrokerId as WireBrokerId, OffsetForLeaderEpochRequest};

use crate::client::request::{ApiKey, Exchange, Malformed, Reader, VersionRange, topic_name};

/// One partition's question.
#[derive(Debug, Clone)]
pub(crate) struct EpochQuestion {
    pub(crate) partition: TopicPartition,
    /// The epoch the asker believes current; the broker fences an older one.
    pub(crate) current_leader_epoch: LeaderEpoch,
    /// The epoch whose end is wanted. Never ask with [`LeaderEpoch::UNKNOWN`].
    pub(crate) leader_epoch: LeaderEpoch,
}

/// Questions to the leader of all these partitions.
#[derive(Debug, Clone)]
pub(crate) struct OffsetForLeaderEpoch {
    pub(crate) partitions: Vec<EpochQuestion>,
}

/// The end of the largest epoch not above the one asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EpochEnd {
    pub(crate) partition: TopicPartition,
    pub(crate) error: ErrorCode,
    /// [`LeaderEpoch::UNKNOWN`]: the broker knows no such epoch; that is not a truncation.
    pub(crate) leader_epoch: LeaderEpoch,
    /// `None` where the broker knows no such epoch.
    pub(crate) end_offset: Option<Offset>,
}

/// The answers, in the broker's order; a partition may be missing.
#[derive(Debug, Clone)]
pub(crate) struct OffsetForLeaderEpochAnswer {
    pub(crate) partitions: Vec<EpochEnd>,
}

impl Exchange for OffsetForLeaderEpoch {
    const KEY: ApiKey = ApiKey::new(23, "OffsetForLeaderEpoch");
    const VERSIONS: VersionRange = VersionRange::new(2, 4);
    const FIRST_FLEXIBLE: i16 = 4;
    type Body = OffsetForLeaderEpochRequest;
    type Response = OffsetForLeaderEpochAnswer;

    fn body(&self, version: i16) -> Self::Body {
        let topics = super::by_topic(
            &self.partitions,
            |question| &question.partition,
            |question| {
                OffsetForLeaderPartition::default()
                    .with_partition(question.partition.partition)
                    .with_current_leader_epoch(question.current_leader_epoch.get())
                    .with_leader_epoch(question.leader_epoch.get())
            },
        );
        let topic = |(name, partitions): (Arc<str>, Vec<OffsetForLeaderPartition>)| {
            OffsetForLeaderTopic::default().with_topic(topic_name(&name)).with_partitions(partitions)
        };
        let request = OffsetForLeaderEpochRequest::default().with_topics(topics.into_iter().map(topic).collect());
        // From version 3 on -1 says that a consumer asks, not a replica.
        if version >= 3 { request.with_replica_id(WireBrokerId(-1)) } else { request }
    }

    fn read(answer: &mut Reader) -> Result<Self::Response, Malformed> {
        answer.read_throttle()?;
        let topics = answer.array(|r| {
            let topic = r.name()?;
            let partitions = r.array(|r| {
                let error = ErrorCode::from(r.i16()?);
                let partition = TopicPartition { topic: Arc::clone(&topic), partition: r.i32()? };
                let leader_epoch = LeaderEpoch(r.i32()?);
                let end_offset = Some(r.i64()?).filter(|offset| *offset >= 0).map(Offset);
                r.tags()?;
                Ok(EpochEnd { partition, error, leader_epoch, end_offset })
            })?;
            r.tags()?;
            Ok(partitions)
        })?;
        answer.tags()?;
        Ok(OffsetForLeaderEpochAnswer { partitions: topics.into_iter().flatten().collect() })
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::OffsetForLeaderEpochResponse;
    use kafka_protocol::messages::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};

    use super::*;
    use crate::client::request::golden;

    #[test]
    fn every_version_reads_what_the_schema_writes() {
        golden::every_version::<OffsetForLeaderEpoch, _>(
            |_| {
                let end = EpochEndOffset::default().with_partition(1).with_leader_epoch(4).with_end_offset(100);
                let unknown = EpochEndOffset::default().with_partition(2).with_leader_epoch(-1).with_end_offset(-1);
                let topic = OffsetForLeaderTopicResult::default()
                    .with_topic(topic_name("t"))
                    .with_partitions(vec![end, unknown]);
                OffsetForLeaderEpochResponse::default().with_topics(vec![topic])
            },
            |_, answer| {
                let ends: Vec<_> = answer.partitions.iter().map(|end| end.end_offset).collect();
                assert_eq!(ends, vec![Some(Offset(100)), None]);
                assert_eq!(answer.partitions[1].leader_epoch, LeaderEpoch::UNKNOWN);
            },
        );
    }

    #[test]
    fn a_consumer_asks_as_no_replica() {
        let question = EpochQuestion {
            partition: TopicPartition { topic: "t".into(), partition: 1 },
            current_leader_epoch: LeaderEpoch(5),
            leader_epoch: LeaderEpoch(4),
        };
        for (version, body) in golden::requests(&OffsetForLeaderEpoch { partitions: vec![question] }) {
            assert!(version < 3 || body.replica_id == WireBrokerId(-1));
            assert_eq!(body.topics[0].partitions[0].leader_epoch, 4);
        }
    }
}
