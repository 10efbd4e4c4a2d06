//! Metadata, by name and by topic id.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{BrokerId, MetadataRequest, MetadataResponse};
use uuid::Uuid;

use super::{Call, code, text, topic_name};
use crate::batch::int;
use crate::state::State;
use crate::topic::{Partition, Topic};

/// Brokers that run, and the topics asked for.
pub(crate) fn answer(call: &Call<'_>, request: &MetadataRequest) -> MetadataResponse {
    let mut state = call.shared.lock();
    let topics = match &request.topics {
        Some(topics) if !(topics.is_empty() && call.version == 0) => {
            let create = request.allow_auto_topic_creation || call.version < 4;
            topics
                .iter()
                .map(|asked| match &asked.name {
                    Some(name) => by_name(&mut state, name, create, call.version),
                    None => by_id(&state, asked.topic_id, call.version),
                })
                .collect()
        }
        _ => state.topics.iter().map(|(name, topic)| described(&state, name, topic, call.version)).collect(),
    };
    let mut response = MetadataResponse::default().with_brokers(brokers(&state)).with_topics(topics);
    response.controller_id = BrokerId(state.controller);
    response.cluster_id = Some(text(state.cluster_id.clone()));
    response
}

fn brokers(state: &State) -> Vec<MetadataResponseBroker> {
    state
        .nodes
        .values()
        .filter(|node| node.is_running())
        .map(|node| {
            MetadataResponseBroker::default()
                .with_node_id(BrokerId(node.id))
                .with_host(text(node.host.clone()))
                .with_port(i32::from(node.port()))
                .with_rack(node.rack.clone().map(text))
        })
        .collect()
}

fn by_name(state: &mut State, name: &str, create: bool, version: i16) -> MetadataResponseTopic {
    if !state.topics.contains_key(name)
        && create
        && let Some(partitions) = state.auto_create_partitions
    {
        let replication = state.replication;
        state.create_topic(name, partitions, replication);
    }
    match state.topics.get(name) {
        Some(topic) => described(state, name, topic, version),
        None => MetadataResponseTopic::default()
            .with_name(Some(topic_name(name)))
            .with_error_code(ResponseError::UnknownTopicOrPartition.code()),
    }
}

fn by_id(state: &State, id: Uuid, version: i16) -> MetadataResponseTopic {
    match state.topic_name(id).and_then(|name| Some((name, state.topics.get(name)?))) {
        Some((name, topic)) => described(state, name, topic, version),
        None => MetadataResponseTopic::default()
            .with_name((version < 12).then(|| topic_name("")))
            .with_topic_id(id)
            .with_error_code(ResponseError::UnknownTopicId.code()),
    }
}

fn described(state: &State, name: &str, topic: &Topic, version: i16) -> MetadataResponseTopic {
    let described = MetadataResponseTopic::default()
        .with_name(Some(topic_name(name)))
        .with_topic_id(if version >= 10 { topic.id } else { Uuid::nil() })
        .with_is_internal(name.starts_with("__"))
        .with_error_code(code(topic.metadata_error));
    if topic.metadata_error.is_some() {
        return described;
    }
    let partitions = topic.partitions.iter().enumerate();
    described.with_partitions(partitions.map(|(index, partition)| of_partition(state, index, partition)).collect())
}

fn of_partition(state: &State, index: usize, partition: &Partition) -> MetadataResponsePartition {
    let alive = state.alive();
    let leader = partition.leader.filter(|leader| alive.contains(leader));
    let ids = |nodes: Vec<i32>| nodes.into_iter().map(BrokerId).collect::<Vec<_>>();
    let (online, offline) = partition.replicas.iter().copied().partition(|replica| alive.contains(replica));
    MetadataResponsePartition::default()
        .with_partition_index(int(index))
        .with_error_code(code(leader.is_none().then_some(ResponseError::LeaderNotAvailable)))
        .with_leader_id(BrokerId(leader.unwrap_or(-1)))
        .with_leader_epoch(partition.leader_epoch)
        .with_replica_nodes(ids(partition.replicas.clone()))
        .with_isr_nodes(ids(online))
        .with_offline_replicas(ids(offline))
}
