//! `Metadata`: the brokers, and for the topics asked for their partitions, leaders and epochs (KIP-320, KIP-516).

use std::sync::Arc;

use kafka_proto::error_code::ErrorCode;
use kafka_proto::id::{BrokerId, LeaderEpoch};
use kafka_protocol::messages::MetadataRequest;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;

use crate::client::request::{ApiKey, Endpoint, Exchange, Malformed, Reader, TopicId, VersionRange, topic_name};

/// Asks about topics by name, never creating them (below version 4 a broker configured so may create them anyway).
#[derive(Debug, Clone)]
pub(crate) struct GetMetadata {
    /// `None`: all topics; empty: none, only the brokers.
    pub(crate) topics: Option<Vec<Arc<str>>>,
}

/// What one broker knows.
#[derive(Debug, Clone)]
pub(crate) struct MetadataAnswer {
    /// Of the whole answer; `REBOOTSTRAP_REQUIRED` from version 13 on (KIP-1102).
    pub(crate) error: ErrorCode,
    pub(crate) cluster_id: Option<String>,
    pub(crate) controller: Option<BrokerId>,
    pub(crate) brokers: Vec<Endpoint>,
    pub(crate) topics: Vec<TopicMetadata>,
}

/// One topic.
#[derive(Debug, Clone)]
pub(crate) struct TopicMetadata {
    pub(crate) error: ErrorCode,
    pub(crate) name: Arc<str>,
    /// Zero below version 10 and for topics that do not exist.
    pub(crate) id: TopicId,
    pub(crate) partitions: Vec<PartitionMetadata>,
}

/// One partition.
#[derive(Debug, Clone)]
pub(crate) struct PartitionMetadata {
    pub(crate) error: ErrorCode,
    pub(crate) partition: i32,
    pub(crate) leader: Option<BrokerId>,
    /// [`LeaderEpoch::UNKNOWN`] below version 7.
    pub(crate) leader_epoch: LeaderEpoch,
    pub(crate) replicas: Vec<BrokerId>,
    pub(crate) in_sync: Vec<BrokerId>,
    pub(crate) offline: Vec<BrokerId>,
}

impl Exchange for GetMetadata {
    const KEY: ApiKey = ApiKey::new(3, "Metadata");
    const VERSIONS: VersionRange = VersionRange::new(1, 13);
    const FIRST_FLEXIBLE: i16 = 9;
    type Body = MetadataRequest;
    type Response = MetadataAnswer;

    fn body(&self, version: i16) -> Self::Body {
        let topic = |name: &Arc<str>| MetadataRequestTopic::default().with_name(Some(topic_name(name)));
        let topics = self.topics.as_ref().map(|topics| topics.iter().map(topic).collect());
        let request = MetadataRequest::default().with_topics(topics);
        // Below version 4 the schema insists on the default, true.
        if version >= 4 { request.with_allow_auto_topic_creation(false) } else { request }
    }

    fn read(answer: &mut Reader) -> Result<Self::Response, Malformed> {
        let version = answer.version();
        if version >= 3 {
            answer.read_throttle()?;
        }
        let brokers = answer.array(read_broker)?;
        let cluster_id = if version >= 2 { answer.nullable_string()? } else { None };
        let controller = known(answer.i32()?);
        // A topic without a name was asked for by its id, which is never done here.
        let topics = answer.array(read_topic)?.into_iter().flatten().collect();
        if (8..=10).contains(&version) {
            answer.i32()?; // authorized operations, not asked for
        }
        let error = ErrorCode::from(if version >= 13 { answer.i16()? } else { 0 });
        answer.tags()?;
        Ok(MetadataAnswer { error, cluster_id, controller, brokers, topics })
    }
}

fn known(id: i32) -> Option<BrokerId> {
    (id >= 0).then_some(BrokerId(id))
}

fn read_broker(r: &mut Reader) -> Result<Endpoint, Malformed> {
    let id = BrokerId(r.i32()?);
    let endpoint = r.endpoint(id)?;
    let rack = r.nullable_name()?;
    r.tags()?;
    Ok(Endpoint { rack, ..endpoint })
}

fn read_topic(r: &mut Reader) -> Result<Option<TopicMetadata>, Malformed> {
    let version = r.version();
    let error = ErrorCode::from(r.i16()?);
    let name = r.nullable_name()?;
    let id = if version >= 10 { r.topic_id()? } else { TopicId::ZERO };
    r.bool()?; // whether it is one of Kafka's own
    let partitions = r.array(read_partition)?;
    if version >= 8 {
        r.i32()?; // authorized operations, not asked for
    }
    r.tags()?;
    Ok(name.map(|name| TopicMetadata { error, name, id, partitions }))
}

fn read_partition(r: &mut Reader) -> Result<PartitionMetadata, Malformed> {
    let broker_ids = |r: &mut Reader| r.array(|r| Ok(BrokerId(r.i32()?)));
    let version = r.version();
    let error = ErrorCode::from(r.i16()?);
    let partition = r.i32()?;
    let leader = known(r.i32()?);
    let leader_epoch = if version >= 7 { LeaderEpoch(r.i32()?) } else { LeaderEpoch::UNKNOWN };
    let replicas = broker_ids(r)?;
    let in_sync = broker_ids(r)?;
    let offline = if version >= 5 { broker_ids(r)? } else { Vec::new() };
    r.tags()?;
    Ok(PartitionMetadata { error, partition, leader, leader_epoch, replicas, in_sync, offline })
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::metadata_response::{
        MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
    };
    use kafka_protocol::messages::{BrokerId as WireBrokerId, MetadataResponse};

    use super::*;
    use crate::client::request::{golden, text};

    fn answer(version: i16) -> MetadataResponse {
        let ids = || vec![WireBrokerId(1), WireBrokerId(2)];
        let mut partition = MetadataResponsePartition::default()
            .with_partition_index(4)
            .with_leader_id(WireBrokerId(2))
            .with_replica_nodes(ids())
            .with_isr_nodes(ids());
        if version >= 7 {
            partition = partition.with_leader_epoch(9);
        }
        let mut topic = MetadataResponseTopic::default()
            .with_name(Some(topic_name("t")))
            .with_partitions(vec![partition.clone(), partition.with_leader_id(WireBrokerId(-1))]);
        if version >= 10 {
            topic = topic.with_topic_id(uuid::Uuid::from_bytes([7; 16]));
        }
        let broker = MetadataResponseBroker::default()
            .with_node_id(WireBrokerId(2))
            .with_host(text("b2"))
            .with_port(9092)
            .with_rack(Some(text("az1")));
        let answer = MetadataResponse::default()
            .with_brokers(vec![broker])
            .with_controller_id(WireBrokerId(2))
            .with_topics(vec![topic]);
        if version >= 2 { answer.with_cluster_id(Some(text("c"))) } else { answer }
    }

    #[test]
    fn every_version_reads_what_the_schema_writes() {
        golden::every_version::<GetMetadata, _>(answer, |version, read| {
            let broker = Endpoint { id: BrokerId(2), host: "b2".into(), port: 9092, rack: Some("az1".into()) };
            assert_eq!(read.brokers, vec![broker]);
            assert_eq!(read.controller, Some(BrokerId(2)));
            let topic = &read.topics[0];
            assert_eq!(topic.id.is_zero(), version < 10);
            assert_eq!(topic.partitions[0].leader, Some(BrokerId(2)));
            assert_eq!(topic.partitions[1].leader, None);
            assert_eq!(topic.partitions[0].leader_epoch.get(), if version >= 7 { 9 } else { -1 });
            assert_eq!(topic.partitions[0].in_sync, vec![BrokerId(1), BrokerId(2)]);
        });
    }

    #[test]
    fn topics_are_never_created_by_asking() {
        let request = GetMetadata { topics: Some(vec!["t".into()]) };
        for (version, body) in golden::requests(&request) {
            assert_eq!(body.allow_auto_topic_creation, version < 4);
            assert_eq!(body.topics.unwrap().len(), 1);
        }
        for (_, body) in golden::requests(&GetMetadata { topics: Some(Vec::new()) }) {
            assert_eq!(body.topics, Some(Vec::new()), "null would ask for all");
        }
    }
}
