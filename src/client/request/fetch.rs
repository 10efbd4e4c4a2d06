//! `Fetch`: record batches from partition leaders or followers (sessions KIP-227, rack KIP-392, epochs KIP-320,
//! topic ids KIP-516, leader hints KIP-951).
//!
//! Records stay slices of the response; nothing in here looks into them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_proto::error_code::ErrorCode;
use kafka_proto::id::{BrokerId, LeaderEpoch, Offset, TopicPartition};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic, ReplicaState};
use kafka_protocol::messages::{BrokerId as WireBrokerId, FetchRequest};
use uuid::Uuid;

use crate::client::request::{
    ApiKey, Endpoint, Exchange, IsolationLevel, Malformed, Reader, TopicId, VersionRange, text, topic_name,
};

/// One partition to read.
#[derive(Debug, Clone)]
pub(crate) struct PartitionToFetch {
    pub(crate) partition: TopicPartition,
    /// Sent in place of the name from version 13 on; must not be zero there, see [`Fetch`].
    pub(crate) topic_id: TopicId,
    pub(crate) offset: Offset,
    /// The epoch the reader believes current (version 9 on).
    pub(crate) current_leader_epoch: LeaderEpoch,
    /// The epoch of the last record read, to find a divergence (version 12 on).
    pub(crate) last_fetched_epoch: LeaderEpoch,
    pub(crate) max_bytes: i32,
}

/// One read from one broker. Where a topic's id is unknown, or a broker gave back a zero one, send it as
/// `AtMost::<12, _>(fetch)`: from version 13 on topics are named by id only.
#[derive(Debug, Clone)]
pub(crate) struct Fetch {
    pub(crate) max_wait: Duration,
    pub(crate) min_bytes: i32,
    pub(crate) max_bytes: i32,
    pub(crate) isolation_level: IsolationLevel,
    /// 0 asks for a new session (version 7 on).
    pub(crate) session_id: i32,
    /// -1: no session; 0: a new one; from 1 on counting (version 7 on).
    pub(crate) session_epoch: i32,
    /// All partitions, or within a session those that changed.
    pub(crate) partitions: Vec<PartitionToFetch>,
    /// Partitions to leave the session (version 7 on).
    pub(crate) forgotten: Vec<(TopicPartition, TopicId)>,
    /// Empty for none (version 11 on).
    pub(crate) rack: String,
}

/// A topic as an answer names it: by name to version 12, by id after that.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum FetchedTopic {
    Name(Arc<str>),
    Id(TopicId),
}

/// The epoch and offset where the reader's log and the leader's part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DivergingEpoch {
    pub(crate) epoch: LeaderEpoch,
    pub(crate) end_offset: Offset,
}

/// One partition's part.
#[derive(Debug, Clone)]
pub(crate) struct FetchedPartition {
    pub(crate) topic: FetchedTopic,
    pub(crate) partition: i32,
    pub(crate) error: ErrorCode,
    pub(crate) high_watermark: Offset,
    /// -1 where the broker does not say.
    pub(crate) last_stable_offset: Offset,
    /// -1 where the broker does not say.
    pub(crate) log_start_offset: Offset,
    pub(crate) diverging: Option<DivergingEpoch>,
    /// The leader that the broker knows of, beside `NOT_LEADER_OR_FOLLOWER` and `FENCED_LEADER_EPOCH`.
    pub(crate) current_leader: Option<(BrokerId, LeaderEpoch)>,
    /// Producer id and first offset of each aborted transaction in the records; in no particular order.
    pub(crate) aborted: Vec<(i64, Offset)>,
    /// The replica to read from next.
    pub(crate) preferred_read_replica: Option<BrokerId>,
    /// Record batches, a slice of the response; the last may be cut off.
    pub(crate) records: Bytes,
}

/// One broker's answer.
#[derive(Debug, Clone)]
pub(crate) struct FetchAnswer {
    /// Of the whole answer: session errors above all.
    pub(crate) error: ErrorCode,
    /// 0: no session. A throttled answer is empty with 0 and has not lost the session.
    pub(crate) session_id: i32,
    /// How long the broker throttles; the connection waits by itself.
    pub(crate) throttle: Duration,
    pub(crate) partitions: Vec<FetchedPartition>,
    /// Where the current leaders named above listen (version 16 on).
    pub(crate) endpoints: Vec<Endpoint>,
}

impl Exchange for Fetch {
    const KEY: ApiKey = ApiKey::new(1, "Fetch");
    const VERSIONS: VersionRange = VersionRange::new(4, 18);
    const FIRST_FLEXIBLE: i16 = 12;
    type Body = FetchRequest;
    type Response = FetchAnswer;

    fn body(&self, version: i16) -> Self::Body {
        let mut request = FetchRequest::default()
            .with_max_wait_ms(i32::try_from(self.max_wait.as_millis()).unwrap_or(i32::MAX))
            .with_min_bytes(self.min_bytes)
            .with_max_bytes(self.max_bytes)
            .with_isolation_level(self.isolation_level.code())
            .with_topics(self.topics(version));
        request = if version >= 15 {
            request.with_replica_state(ReplicaState::default().with_replica_id(WireBrokerId(-1)))
        } else {
            request.with_replica_id(WireBrokerId(-1))
        };
        if version >= 7 {
            request = request
                .with_session_id(self.session_id)
                .with_session_epoch(self.session_epoch)
                .with_forgotten_topics_data(self.forgotten_topics(version));
        }
        if version >= 11 { request.with_rack_id(text(&self.rack)) } else { request }
    }

    fn read(answer: &mut Reader) -> Result<Self::Response, Malformed> {
        let version = answer.version();
        answer.read_throttle()?;
        let (error, session_id) = if version >= 7 { (answer.i16()?, answer.i32()?) } else { (0, 0) };
        let topics = answer.array(|r| {
            let topic = if version >= 13 { FetchedTopic::Id(r.topic_id()?) } else { FetchedTopic::Name(r.name()?) };
            let partitions = r.array(|r| read_partition(r, &topic))?;
            r.tags()?;
            Ok(partitions)
        })?;
        let mut endpoints = Vec::new();
        answer.tags_with(|tag, r| {
            if tag == 0 && version >= 16 {
                endpoints = r.array(read_endpoint)?;
            }
            Ok(())
        })?;
        let partitions = topics.into_iter().flatten().collect();
        Ok(FetchAnswer {
            error: ErrorCode::from(error),
            session_id,
            throttle: answer.throttle(),
            partitions,
            endpoints,
        })
    }
}

impl Fetch {
    fn topics(&self, version: i16) -> Vec<FetchTopic> {
        let by_topic = super::by_topic(
            &self.partitions,
            |wanted| &wanted.partition,
            |wanted| (wanted.topic_id, wanted.body(version)),
        );
        let topic = |(name, partitions): (Arc<str>, Vec<(TopicId, FetchPartition)>)| {
            let id = partitions.first().map_or(TopicId::ZERO, |(id, _)| *id);
            let topic = FetchTopic::default().with_partitions(partitions.into_iter().map(|(_, body)| body).collect());
            if version >= 13 {
                topic.with_topic_id(Uuid::from_bytes(id.0))
            } else {
                topic.with_topic(topic_name(&name))
            }
        };
        by_topic.into_iter().map(topic).collect()
    }

    fn forgotten_topics(&self, version: i16) -> Vec<ForgottenTopic> {
        let by_topic =
            super::by_topic(&self.forgotten, |(partition, _)| partition, |(partition, id)| (*id, partition.partition));
        let topic = |(name, partitions): (Arc<str>, Vec<(TopicId, i32)>)| {
            let id = partitions.first().map_or(TopicId::ZERO, |(id, _)| *id);
            let topic =
                ForgottenTopic::default().with_partitions(partitions.into_iter().map(|(_, index)| index).collect());
            if version >= 13 {
                topic.with_topic_id(Uuid::from_bytes(id.0))
            } else {
                topic.with_topic(topic_name(&name))
            }
        };
        by_topic.into_iter().map(topic).collect()
    }
}

impl PartitionToFetch {
    fn body(&self, version: i16) -> FetchPartition {
        let mut partition = FetchPartition::default()
            .with_partition(self.partition.partition)
            .with_fetch_offset(self.offset.get())
            .with_partition_max_bytes(self.max_bytes);
        if version >= 9 {
            partition = partition.with_current_leader_epoch(self.current_leader_epoch.get());
        }
        if version >= 12 {
            partition = partition.with_last_fetched_epoch(self.last_fetched_epoch.get());
        }
        partition
    }
}

fn known(id: i32) -> Option<BrokerId> {
    (id >= 0).then_some(BrokerId(id))
}

fn read_partition(r: &mut Reader, topic: &FetchedTopic) -> Result<FetchedPartition, Malformed> {
    let version = r.version();
    let mut fetched = FetchedPartition {
        topic: topic.clone(),
        partition: r.i32()?,
        error: ErrorCode::from(r.i16()?),
        high_watermark: Offset(r.i64()?),
        last_stable_offset: Offset(r.i64()?),
        log_start_offset: Offset(if version >= 5 { r.i64()? } else { -1 }),
        diverging: None,
        current_leader: None,
        aborted: r.array(|r| {
            let aborted = (r.i64()?, Offset(r.i64()?));
            r.tags()?;
            Ok(aborted)
        })?,
        preferred_read_replica: if version >= 11 { known(r.i32()?) } else { None },
        records: r.nullable_bytes()?.unwrap_or_default(),
    };
    r.tags_with(|tag, r| {
        match tag {
            0 => fetched.diverging = read_diverging(r)?,
            1 => fetched.current_leader = read_leader(r)?,
            _ => {} // the snapshot id (2) is for replicas; what came later is not known here
        }
        Ok(())
    })?;
    Ok(fetched)
}

fn read_diverging(r: &mut Reader) -> Result<Option<DivergingEpoch>, Malformed> {
    let (epoch, end_offset) = (r.i32()?, r.i64()?);
    r.tags()?;
    let diverging = DivergingEpoch { epoch: LeaderEpoch(epoch), end_offset: Offset(end_offset) };
    Ok((epoch >= 0 && end_offset >= 0).then_some(diverging))
}

fn read_leader(r: &mut Reader) -> Result<Option<(BrokerId, LeaderEpoch)>, Malformed> {
    let (id, epoch) = (r.i32()?, r.i32()?);
    r.tags()?;
    Ok(known(id).map(|id| (id, LeaderEpoch(epoch))))
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
    use bytes::BytesMut;
    use kafka_protocol::messages::fetch_response::{
        AbortedTransaction, EpochEndOffset, FetchableTopicResponse, LeaderIdAndEpoch, NodeEndpoint, PartitionData,
    };
    use kafka_protocol::messages::{FetchResponse, ProducerId};
    use kafka_protocol::protocol::Encodable;

    use super::*;
    use crate::client::request::golden;

    fn answer(version: i16) -> FetchResponse {
        let aborted = AbortedTransaction::default().with_producer_id(ProducerId(77)).with_first_offset(5);
        let mut partition = PartitionData::default()
            .with_partition_index(3)
            .with_error_code(6)
            .with_high_watermark(100)
            .with_last_stable_offset(90)
            .with_aborted_transactions(Some(vec![aborted]))
            .with_records(Some(Bytes::from_static(b"batches")));
        if version >= 5 {
            partition = partition.with_log_start_offset(1);
        }
        if version >= 11 {
            partition = partition.with_preferred_read_replica(WireBrokerId(4));
        }
        if version >= 12 {
            let leader = LeaderIdAndEpoch::default().with_leader_id(WireBrokerId(2)).with_leader_epoch(8);
            let diverging = EpochEndOffset::default().with_epoch(7).with_end_offset(60);
            partition = partition.with_current_leader(leader).with_diverging_epoch(diverging);
        }
        let topic = FetchableTopicResponse::default().with_partitions(vec![partition]);
        let topic = if version >= 13 {
            topic.with_topic_id(Uuid::from_bytes([9; 16]))
        } else {
            topic.with_topic(topic_name("t"))
        };
        let mut answer = FetchResponse::default().with_throttle_time_ms(40).with_responses(vec![topic]);
        if version >= 7 {
            answer = answer.with_session_id(1234);
        }
        if version >= 16 {
            let node = NodeEndpoint::default().with_node_id(WireBrokerId(2)).with_host(text("b2")).with_port(9092);
            answer = answer.with_node_endpoints(vec![node]);
        }
        answer
    }

    #[test]
    fn every_version_reads_what_the_schema_writes() {
        golden::every_version::<Fetch, _>(answer, |version, read| {
            assert_eq!(read.session_id, if version >= 7 { 1234 } else { 0 });
            assert_eq!(read.throttle, Duration::from_millis(40));
            let fetched = &read.partitions[0];
            assert_eq!(matches!(fetched.topic, FetchedTopic::Id(_)), version >= 13);
            assert_eq!((fetched.partition, fetched.error), (3, ErrorCode::from(6)));
            assert_eq!(fetched.aborted, vec![(77, Offset(5))]);
            assert_eq!(fetched.records, "batches");
            assert_eq!(fetched.preferred_read_replica, (version >= 11).then_some(BrokerId(4)));
            assert_eq!(fetched.current_leader, (version >= 12).then_some((BrokerId(2), LeaderEpoch(8))));
            let diverging = DivergingEpoch { epoch: LeaderEpoch(7), end_offset: Offset(60) };
            assert_eq!(fetched.diverging, (version >= 12).then_some(diverging));
            assert_eq!(read.endpoints.len(), usize::from(version >= 16));
        });
    }

    #[test]
    fn records_are_a_slice_of_the_response() {
        let mut bytes = BytesMut::new();
        answer(16).encode(&mut bytes, 16).unwrap();
        let whole = bytes.freeze();
        let read = Fetch::read(&mut Reader::new(whole.clone(), 16, true)).unwrap();
        let range = whole.as_ptr() as usize..whole.as_ptr() as usize + whole.len();
        assert!(range.contains(&(read.partitions[0].records.as_ptr() as usize)));
    }

    #[test]
    fn topics_are_named_by_id_from_version_13() {
        let partition = TopicPartition { topic: "t".into(), partition: 3 };
        let request = Fetch {
            max_wait: Duration::from_millis(500),
            min_bytes: 1,
            max_bytes: 1 << 20,
            isolation_level: IsolationLevel::ReadCommitted,
            session_id: 7,
            session_epoch: 2,
            partitions: vec![PartitionToFetch {
                partition: partition.clone(),
                topic_id: TopicId([9; 16]),
                offset: Offset(42),
                current_leader_epoch: LeaderEpoch(5),
                last_fetched_epoch: LeaderEpoch(4),
                max_bytes: 1 << 16,
            }],
            forgotten: vec![(partition, TopicId([9; 16]))],
            rack: "az1".into(),
        };
        for (version, body) in golden::requests(&request) {
            let topic = &body.topics[0];
            assert_eq!(topic.topic.as_str(), if version >= 13 { "" } else { "t" });
            assert_eq!(topic.topic_id.is_nil(), version < 13);
            assert_eq!(topic.partitions[0].current_leader_epoch, if version >= 9 { 5 } else { -1 });
            assert_eq!(topic.partitions[0].last_fetched_epoch, if version >= 12 { 4 } else { -1 });
            assert_eq!(body.forgotten_topics_data.len(), usize::from(version >= 7));
            assert_eq!(body.rack_id.as_str(), if version >= 11 { "az1" } else { "" });
        }
    }
}
