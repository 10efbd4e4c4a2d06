//! `OffsetFetch`: what a group has committed (batch form from version 8, KIP-709; stable offsets, KIP-447).

use std::sync::Arc;

use kafka_proto::error_code::ErrorCode;
use kafka_proto::id::{LeaderEpoch, Offset, TopicPartition};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::{GroupId, OffsetFetchRequest};

use crate::client::request::{ApiKey, Exchange, Malformed, Reader, VersionRange, text, topic_name};

/// Asks for the committed offsets of some partitions.
#[derive(Debug, Clone)]
pub(crate) struct OffsetFetch {
    pub(crate) group_id: String,
    pub(crate) partitions: Vec<TopicPartition>,
    /// Err with `UNSTABLE_OFFSET_COMMIT` while a transaction that commits offsets is open. From version 7 on.
    pub(crate) require_stable: bool,
}

/// The group's error, and each partition that the broker named.
#[derive(Debug, Clone)]
pub(crate) struct OffsetFetchAnswer {
    /// Of the whole group; with it the partitions mean nothing.
    pub(crate) error: ErrorCode,
    pub(crate) partitions: Vec<CommittedOffset>,
}

/// One partition. "Nothing committed" is `offset: None` beside no error, and only that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommittedOffset {
    pub(crate) partition: TopicPartition,
    pub(crate) error: ErrorCode,
    pub(crate) offset: Option<Offset>,
    /// [`LeaderEpoch::UNKNOWN`] below version 5.
    pub(crate) leader_epoch: LeaderEpoch,
    pub(crate) metadata: Option<String>,
}

impl Exchange for OffsetFetch {
    const KEY: ApiKey = ApiKey::new(9, "OffsetFetch");
    const VERSIONS: VersionRange = VersionRange::new(1, 9);
    const FIRST_FLEXIBLE: i16 = 6;
    type Body = OffsetFetchRequest;
    type Response = OffsetFetchAnswer;

    fn body(&self, version: i16) -> Self::Body {
        let topics = super::by_topic(&self.partitions, |partition| partition, |partition| partition.partition);
        let group_id = GroupId(text(&self.group_id));
        let request = OffsetFetchRequest::default();
        if version < 8 {
            let topic = |(name, partitions): (Arc<str>, Vec<i32>)| {
                OffsetFetchRequestTopic::default().with_name(topic_name(&name)).with_partition_indexes(partitions)
            };
            let request = request.with_group_id(group_id).with_topics(Some(topics.into_iter().map(topic).collect()));
            return if version >= 7 { request.with_require_stable(self.require_stable) } else { request };
        }
        let topic = |(name, partitions): (Arc<str>, Vec<i32>)| {
            OffsetFetchRequestTopics::default().with_name(topic_name(&name)).with_partition_indexes(partitions)
        };
        let group = OffsetFetchRequestGroup::default()
            .with_group_id(group_id)
            .with_topics(Some(topics.into_iter().map(topic).collect()));
        request.with_groups(vec![group]).with_require_stable(self.require_stable)
    }

    fn read(answer: &mut Reader) -> Result<Self::Response, Malformed> {
        let version = answer.version();
        if version >= 3 {
            answer.read_throttle()?;
        }
        let found = if version >= 8 {
            // One group was asked for, so one entry is the answer; none at all is not an answer.
            answer.array(read_group)?.into_iter().next().ok_or(Malformed::Null)?
        } else {
            let partitions = read_topics(answer)?;
            let error = ErrorCode::from(if version >= 2 { answer.i16()? } else { 0 });
            OffsetFetchAnswer { error, partitions }
        };
        answer.tags()?;
        Ok(found)
    }
}

fn read_group(r: &mut Reader) -> Result<OffsetFetchAnswer, Malformed> {
    r.string()?;
    let partitions = read_topics(r)?;
    let error = ErrorCode::from(r.i16()?);
    r.tags()?;
    Ok(OffsetFetchAnswer { error, partitions })
}

fn read_topics(r: &mut Reader) -> Result<Vec<CommittedOffset>, Malformed> {
    let topics = r.array(|r| {
        let topic = r.name()?;
        let partitions = r.array(|r| read_partition(r, &topic))?;
        r.tags()?;
        Ok(partitions)
    })?;
    Ok(topics.into_iter().flatten().collect())
}

fn read_partition(r: &mut Reader, topic: &Arc<str>) -> Result<CommittedOffset, Malformed> {
    let partition = TopicPartition { topic: Arc::clone(topic), partition: r.i32()? };
    let offset = Some(r.i64()?).filter(|offset| *offset >= 0).map(Offset);
    let leader_epoch = if r.version() >= 5 { LeaderEpoch(r.i32()?) } else { LeaderEpoch::UNKNOWN };
    let metadata = r.nullable_string()?;
    let error = ErrorCode::from(r.i16()?);
    r.tags()?;
    Ok(CommittedOffset { partition, error, offset, leader_epoch, metadata })
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::OffsetFetchResponse;
    use kafka_protocol::messages::offset_fetch_response::{
        OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
        OffsetFetchResponseTopic, OffsetFetchResponseTopics,
    };

    use super::*;
    use crate::client::request::golden;

    fn single(version: i16) -> OffsetFetchResponse {
        let mut partition = OffsetFetchResponsePartition::default().with_partition_index(1).with_committed_offset(-1);
        if version >= 5 {
            partition = partition.with_committed_leader_epoch(3);
        }
        let topic = OffsetFetchResponseTopic::default().with_name(topic_name("t")).with_partitions(vec![partition]);
        let answer = OffsetFetchResponse::default().with_topics(vec![topic]);
        if version >= 2 { answer.with_error_code(14) } else { answer }
    }

    fn batch() -> OffsetFetchResponse {
        let partition = OffsetFetchResponsePartitions::default()
            .with_partition_index(1)
            .with_committed_offset(-1)
            .with_committed_leader_epoch(3);
        let topic = OffsetFetchResponseTopics::default().with_name(topic_name("t")).with_partitions(vec![partition]);
        let group = OffsetFetchResponseGroup::default()
            .with_group_id(GroupId(text("g")))
            .with_topics(vec![topic])
            .with_error_code(14);
        OffsetFetchResponse::default().with_groups(vec![group])
    }

    #[test]
    fn every_version_reads_what_the_schema_writes() {
        golden::every_version::<OffsetFetch, _>(
            |version| if version >= 8 { batch() } else { single(version) },
            |version, answer| {
                assert_eq!(answer.error, ErrorCode::from(if version >= 2 { 14 } else { 0 }));
                let committed = &answer.partitions[0];
                assert_eq!(committed.offset, None);
                assert_eq!(committed.leader_epoch.get(), if version >= 5 { 3 } else { -1 });
            },
        );
    }

    #[test]
    fn the_group_moves_into_a_list_from_version_8() {
        let request = OffsetFetch {
            group_id: "g".into(),
            partitions: vec![TopicPartition { topic: "t".into(), partition: 1 }],
            require_stable: true,
        };
        for (version, body) in golden::requests(&request) {
            assert_eq!(body.groups.len(), usize::from(version >= 8));
            assert_eq!(body.require_stable, version >= 7);
        }
    }
}
