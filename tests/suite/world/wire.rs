//! The few requests that a test sends itself, over PLAINTEXT and blocking: topics, produce, offsets.
//!
//! Deliberately not our client: what checks the client must not share its mistakes.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    ApiKey, BrokerId, CreateTopicsRequest, GroupId, ListOffsetsRequest, MetadataRequest, OffsetFetchRequest,
    ProduceRequest, RequestHeader, ResponseHeader, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};

/// The longest that one answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a broker answers that metadata names as a leader, before it has heard of it itself: `UNKNOWN_TOPIC_OR_PARTITION`
/// while the partition is new to it, `NOT_LEADER_OR_FOLLOWER` while only the role is.
const NOT_LEADER_YET: [i16; 2] = [3, 6];

/// A connection to one node.
pub(crate) struct Wire {
    stream: TcpStream,
    correlation_id: i32,
}

impl Wire {
    pub(crate) fn connect(bootstrap: &str) -> Self {
        Self::try_connect(bootstrap).expect("the broker's PLAINTEXT port")
    }

    /// A connection to a node that may be down.
    pub(crate) fn try_connect(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, correlation_id: 0 })
    }

    /// Creates a topic and waits until each of its partitions has a leader.
    pub(crate) fn create_topic(&mut self, name: &str, partitions: i32, configs: &[(&str, &str)]) {
        let config = |(name, value): &(&str, &str)| {
            CreatableTopicConfig::default().with_name(text(name)).with_value(Some(text(value)))
        };
        let topic = CreatableTopic::default()
            .with_name(topic_name(name))
            .with_num_partitions(partitions)
            .with_replication_factor(1)
            .with_configs(configs.iter().map(config).collect());
        let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(30_000);
        let answer = self.ask(ApiKey::CreateTopics, 5, &request);
        for topic in &answer.topics {
            assert_eq!(topic.error_code, 0, "creating {name}: {:?}", topic.error_message);
        }
        let deadline = Instant::now() + PATIENCE;
        while !self.has_leaders(name, partitions) {
            assert!(Instant::now() < deadline, "{name} has no leaders after {PATIENCE:?}");
        }
    }

    fn has_leaders(&mut self, name: &str, partitions: i32) -> bool {
        let topic = MetadataRequestTopic::default().with_name(Some(topic_name(name)));
        let answer = self.ask(ApiKey::Metadata, 9, &MetadataRequest::default().with_topics(Some(vec![topic])));
        answer.topics.iter().all(|topic| {
            i32::try_from(topic.partitions.len()) == Ok(partitions)
                && topic.partitions.iter().all(|partition| partition.error_code == 0 && partition.leader_id.0 >= 0)
        })
    }

    /// Appends one encoded record batch; returns the offset of its first record.
    pub(crate) fn produce(&mut self, topic: &str, partition: i32, batch: Bytes) -> i64 {
        let data = PartitionProduceData::default().with_index(partition).with_records(Some(batch));
        let data = TopicProduceData::default().with_name(topic_name(topic)).with_partition_data(vec![data]);
        let request = ProduceRequest::default().with_acks(1).with_timeout_ms(30_000).with_topic_data(vec![data]);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.ask(ApiKey::Produce, 9, &request);
            let done = answer.responses.first().and_then(|topic| topic.partition_responses.first()).expect("an answer");
            if NOT_LEADER_YET.contains(&done.error_code) && Instant::now() < deadline {
                continue;
            }
            assert_eq!(done.error_code, 0, "produce to {topic}-{partition}: {:?}", done.error_message);
            return done.base_offset;
        }
    }

    /// The log end offset of each partition.
    pub(crate) fn log_ends(&mut self, topic: &str, partitions: i32) -> BTreeMap<i32, i64> {
        let each = |partition| ListOffsetsPartition::default().with_partition_index(partition).with_timestamp(-1);
        let asked = ListOffsetsTopic::default()
            .with_name(topic_name(topic))
            .with_partitions((0..partitions).map(each).collect());
        let request = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![asked]);
        let answer = self.ask(ApiKey::ListOffsets, 5, &request);
        let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
        partitions
            .map(|partition| {
                assert_eq!(partition.error_code, 0, "log end of {topic}-{}", partition.partition_index);
                (partition.partition_index, partition.offset)
            })
            .collect()
    }

    /// The committed offset of each partition that has one. Empty while the coordinator is not ready.
    pub(crate) fn committed(&mut self, group: &str, topic: &str, partitions: i32) -> BTreeMap<i32, i64> {
        let topics = OffsetFetchRequestTopics::default()
            .with_name(topic_name(topic))
            .with_partition_indexes((0..partitions).collect());
        let group =
            OffsetFetchRequestGroup::default().with_group_id(GroupId(text(group))).with_topics(Some(vec![topics]));
        let request = OffsetFetchRequest::default().with_groups(vec![group]);
        let answer = self.ask(ApiKey::OffsetFetch, 8, &request);
        let groups = answer.groups.iter().filter(|group| group.error_code == 0);
        groups
            .flat_map(|group| &group.topics)
            .flat_map(|topic| &topic.partitions)
            .filter(|partition| partition.error_code == 0 && partition.committed_offset >= 0)
            .map(|partition| (partition.partition_index, partition.committed_offset))
            .collect()
    }

    fn ask<R: Request>(&mut self, key: ApiKey, version: i16, request: &R) -> R::Response {
        self.try_ask(key, version, request).expect("an answer")
    }

    /// One request and its answer, of a node that may be down.
    pub(crate) fn try_ask<R: Request>(&mut self, key: ApiKey, version: i16, request: &R) -> io::Result<R::Response> {
        self.correlation_id += 1;
        let header = RequestHeader::default()
            .with_request_api_key(key as i16)
            .with_request_api_version(version)
            .with_correlation_id(self.correlation_id)
            .with_client_id(Some(text("suite")));
        let mut frame = BytesMut::from(&[0; 4][..]);
        header.encode(&mut frame, R::header_version(version)).expect("a header");
        request.encode(&mut frame, version).expect("a request");
        let length = u32::try_from(frame.len() - 4).expect("a frame");
        frame[..4].copy_from_slice(&length.to_be_bytes());
        self.stream.write_all(&frame)?;
        let mut answer = self.frame()?;
        let header = ResponseHeader::decode(&mut answer, R::Response::header_version(version)).expect("a header");
        assert_eq!(header.correlation_id, self.correlation_id);
        Ok(R::Response::decode(&mut answer, version).expect("an answer"))
    }

    fn frame(&mut self) -> io::Result<Bytes> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let mut body = vec![0; usize::try_from(u32::from_be_bytes(length)).expect("a length")];
        self.stream.read_exact(&mut body)?;
        Ok(body.into())
    }
}

pub(crate) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

pub(crate) fn topic_name(name: &str) -> TopicName {
    TopicName(text(name))
}
