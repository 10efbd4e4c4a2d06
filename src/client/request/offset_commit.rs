//! `OffsetCommit`: writes positions of a group, with the leader epoch of what was read (KIP-320).

use std::sync::Arc;

use kafka_proto::error_code::ErrorCode;
use kafka_proto::id::{Generation, LeaderEpoch, Offset, TopicPartition};
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::{GroupId, OffsetCommitRequest};

use crate::client::request::{ApiKey, Exchange, Malformed, Reader, VersionRange, optional_text, text, topic_name};

/// One partition's next offset to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OffsetToCommit {
    pub(crate) partition: TopicPartition,
    /// The first offset that is not done.
    pub(crate) offset: Offset,
    /// Of the last batch that is done; [`LeaderEpoch::UNKNOWN`] if not known, never 0 for that. From version 6 on.
    pub(crate) leader_epoch: LeaderEpoch,
    pub(crate) metadata: Option<String>,
}

/// A commit by a member of a generation.
#[derive(Debug, Clone)]
pub(crate) struct OffsetCommit {
    pub(crate) group_id: String,
    pub(crate) generation: Generation,
    pub(crate) member_id: String,
    /// Not sent below version 7.
    pub(crate) group_instance_id: Option<String>,
    pub(crate) offsets: Vec<OffsetToCommit>,
}

/// What became of each partition; the broker may leave some out.
#[derive(Debug, Clone)]
pub(crate) struct OffsetCommitAnswer {
    pub(crate) partitions: Vec<(TopicPartition, ErrorCode)>,
}

impl Exchange for OffsetCommit {
    const KEY: ApiKey = ApiKey::new(8, "OffsetCommit");
    const VERSIONS: VersionRange = VersionRange::new(2, 9);
    const FIRST_FLEXIBLE: i16 = 8;
    type Body = OffsetCommitRequest;
    type Response = OffsetCommitAnswer;

    fn body(&self, version: i16) -> Self::Body {
        let topics = super::by_topic(
            &self.offsets,
            |offset| &offset.partition,
            |offset| {
                let partition = OffsetCommitRequestPartition::default()
                    .with_partition_index(offset.partition.partition)
                    .with_committed_offset(offset.offset.get())
                    .with_committed_metadata(Some(text(offset.metadata.as_deref().unwrap_or_default())));
                if version < 6 {
                    return partition;
                }
                partition.with_committed_leader_epoch(offset.leader_epoch.get())
            },
        );
        let topic = |(name, partitions): (Arc<str>, Vec<OffsetCommitRequestPartition>)| {
            OffsetCommitRequestTopic::default().with_name(topic_name(&name)).with_partitions(partitions)
        };
        let request = OffsetCommitRequest::default()
            .with_group_id(GroupId(text(&self.group_id)))
            .with_generation_id_or_member_epoch(self.generation.get())
            .with_member_id(text(&self.member_id))
            .with_topics(topics.into_iter().map(topic).collect());
        if version < 7 {
            return request;
        }
        request.with_group_instance_id(optional_text(self.group_instance_id.as_deref()))
    }

    fn read(answer: &mut Reader) -> Result<Self::Response, Malformed> {
        if answer.version() >= 3 {
            answer.read_throttle()?;
        }
        let topics = answer.array(|r| {
            let topic = r.name()?;
            let partitions = r.array(|r| {
                let partition = TopicPartition { topic: Arc::clone(&topic), partition: r.i32()? };
                let error = ErrorCode::from(r.i16()?);
                r.tags()?;
                Ok((partition, error))
            })?;
            r.tags()?;
            Ok(partitions)
        })?;
        answer.tags()?;
        Ok(OffsetCommitAnswer { partitions: topics.into_iter().flatten().collect() })
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::OffsetCommitResponse;
    use kafka_protocol::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};

    use super::*;
    use crate::client::request::golden;

    #[test]
    fn every_version_reads_what_the_schema_writes() {
        golden::every_version::<OffsetCommit, _>(
            |_| {
                let partition = OffsetCommitResponsePartition::default().with_partition_index(1).with_error_code(22);
                let topic =
                    OffsetCommitResponseTopic::default().with_name(topic_name("t")).with_partitions(vec![partition]);
                OffsetCommitResponse::default().with_topics(vec![topic])
            },
            |_, answer| {
                let partition = TopicPartition { topic: "t".into(), partition: 1 };
                assert_eq!(answer.partitions, vec![(partition, ErrorCode::from(22))]);
            },
        );
    }

    #[test]
    fn the_leader_epoch_is_sent_from_version_6() {
        let request = OffsetCommit {
            group_id: "g".into(),
            generation: Generation(2),
            member_id: "m".into(),
            group_instance_id: None,
            offsets: vec![OffsetToCommit {
                partition: TopicPartition { topic: "t".into(), partition: 1 },
                offset: Offset(42),
                leader_epoch: LeaderEpoch(5),
                metadata: None,
            }],
        };
        for (version, body) in golden::requests(&request) {
            let partition = &body.topics[0].partitions[0];
            assert_eq!(partition.committed_offset, 42);
            assert_eq!(partition.committed_leader_epoch, if version >= 6 { 5 } else { -1 });
        }
    }
}
