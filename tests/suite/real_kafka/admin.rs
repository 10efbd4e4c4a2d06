//! Questions and orders to a cluster of which a node may be down: whichever node can answer does.
//!
//! Not our client, for the reason that [`crate::world::wire`] gives.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use kafka_protocol::messages::{
    ApiKey, BrokerId, CreatePartitionsRequest, CreateTopicsRequest, DeleteRecordsRequest, DeleteTopicsRequest,
    FindCoordinatorRequest, GroupId, ListOffsetsRequest, MetadataRequest, MetadataResponse, OffsetFetchRequest,
    TopicName,
};

use crate::world::kafka::Cluster;
use crate::world::process::wait_for;
use crate::world::produce;
use crate::world::wire::{Wire, text, topic_name};

/// The longest that the cluster may take until it can answer.
const PATIENCE: Duration = Duration::from_mins(1);

/// A topic of a cluster.
#[derive(Clone)]
pub(super) struct Admin {
    /// Of the nodes, in the order of their numbers.
    addresses: Vec<String>,
    pub(super) topic: &'static str,
}

impl Admin {
    /// Creates the topic, with a replica on every node.
    pub(super) fn create(cluster: &Cluster, topic: &'static str, partitions: i32) -> Self {
        let admin = Self { addresses: cluster.plaintext.split(',').map(str::to_owned).collect(), topic };
        admin.create_again(partitions);
        admin
    }

    /// Creates the topic after it was deleted.
    pub(super) fn create_again(&self, partitions: i32) {
        let topic = CreatableTopic::default()
            .with_name(topic_name(self.topic))
            .with_num_partitions(partitions)
            .with_replication_factor(i16::try_from(self.addresses.len()).expect("few"));
        let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(30_000);
        self.first("a new topic", |wire| {
            let answer = wire.try_ask(ApiKey::CreateTopics, 5, &request)?;
            Ok(answer.topics.iter().all(|topic| topic.error_code == 0).then_some(()))
        });
        self.await_leaders(partitions);
    }

    fn await_leaders(&self, partitions: i32) {
        let count = usize::try_from(partitions).expect("few");
        wait_for(|| "its leaders".to_owned(), PATIENCE, || (self.leaders().len() == count).then_some(()));
    }

    /// The leader of each partition that has one, as most nodes' metadata will have it soon.
    pub(super) fn leaders(&self) -> BTreeMap<i32, i32> {
        self.first("metadata", |wire| Ok(leaders(&self.metadata(wire)?)))
    }

    fn metadata(&self, wire: &mut Wire) -> io::Result<MetadataResponse> {
        let topic = MetadataRequestTopic::default().with_name(Some(topic_name(self.topic)));
        wire.try_ask(ApiKey::Metadata, 9, &MetadataRequest::default().with_topics(Some(vec![topic])))
    }

    /// Deletes the topic and waits until no node knows it.
    pub(super) fn delete(&self) {
        let names: Vec<TopicName> = vec![topic_name(self.topic)];
        let request = DeleteTopicsRequest::default().with_topic_names(names).with_timeout_ms(30_000);
        self.first("the deletion", |wire| {
            let answer = wire.try_ask(ApiKey::DeleteTopics, 5, &request)?;
            Ok(answer.responses.iter().all(|topic| topic.error_code == 0).then_some(()))
        });
        let known = |address: &String| {
            let mut wire = Wire::connect(address);
            self.metadata(&mut wire).expect("metadata").topics.iter().any(|topic| topic.error_code == 0)
        };
        wait_for(|| "the topic's end".to_owned(), PATIENCE, || (!self.addresses.iter().any(known)).then_some(()));
    }

    /// Adds partitions, up to `total`.
    pub(super) fn add_partitions(&self, total: i32) {
        let topic =
            CreatePartitionsTopic::default().with_name(topic_name(self.topic)).with_count(total).with_assignments(None);
        let request = CreatePartitionsRequest::default().with_topics(vec![topic]).with_timeout_ms(30_000);
        self.first("more partitions", |wire| {
            let answer = wire.try_ask(ApiKey::CreatePartitions, 3, &request)?;
            Ok(answer.results.iter().all(|topic| topic.error_code == 0).then_some(()))
        });
        self.await_leaders(total);
    }

    /// Deletes the records below `before`; returns the new start of the log.
    pub(super) fn delete_records(&self, partition: i32, before: i64) -> i64 {
        let part = DeleteRecordsPartition::default().with_partition_index(partition).with_offset(before);
        let topic = DeleteRecordsTopic::default().with_name(topic_name(self.topic)).with_partitions(vec![part]);
        let request = DeleteRecordsRequest::default().with_topics(vec![topic]).with_timeout_ms(30_000);
        self.first("the end of old records", |wire| {
            let answer = wire.try_ask(ApiKey::DeleteRecords, 2, &request)?;
            let mut partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
            Ok(partitions.find(|partition| partition.error_code == 0).map(|partition| partition.low_watermark))
        })
    }

    /// Appends records to one partition at its leader.
    pub(super) fn produce(&self, partition: i32, count: usize) {
        let records: Vec<_> = (0..count).map(|n| (format!("k{n}"), format!("v{n}"))).collect();
        let leader = self.leaders()[&partition];
        let batch = produce::batch(kafka_proto::compression::Codec::Zstd, &records);
        Wire::connect(self.address(leader)).produce(self.topic, partition, batch);
    }

    /// The node that coordinates a group, once it is one that answers.
    pub(super) fn coordinator(&self, group: &str) -> i32 {
        let request = FindCoordinatorRequest::default().with_key(text(group));
        self.first("a coordinator", |wire| {
            let answer = wire.try_ask(ApiKey::FindCoordinator, 3, &request)?;
            let is_up = || Wire::try_connect(self.address(answer.node_id.0)).is_ok();
            Ok((answer.error_code == 0 && is_up()).then_some(answer.node_id.0))
        })
    }

    /// The end of the log of each partition.
    pub(super) fn log_ends(&self, partitions: i32) -> BTreeMap<i32, i64> {
        let each = |partition| ListOffsetsPartition::default().with_partition_index(partition).with_timestamp(-1);
        let asked = ListOffsetsTopic::default()
            .with_name(topic_name(self.topic))
            .with_partitions((0..partitions).map(each).collect());
        let request = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![asked]);
        let mut ends = BTreeMap::new();
        for address in &self.addresses {
            let asked = Wire::try_connect(address).and_then(|mut wire| wire.try_ask(ApiKey::ListOffsets, 5, &request));
            let Ok(answer) = asked else { continue };
            let led = answer.topics.iter().flat_map(|topic| &topic.partitions).filter(|led| led.error_code == 0);
            ends.extend(led.map(|led| (led.partition_index, led.offset)));
        }
        ends
    }

    /// What the group has committed, if its coordinator can say; and who that is.
    pub(super) fn committed(&self, group: &str, partitions: i32) -> Option<(i32, BTreeMap<i32, i64>)> {
        let at = |(node, address): (i32, &String)| Some((node, self.committed_at(address, group, partitions).ok()??));
        (1..).zip(&self.addresses).find_map(at)
    }

    fn committed_at(&self, address: &str, group: &str, partitions: i32) -> io::Result<Option<BTreeMap<i32, i64>>> {
        let topics = OffsetFetchRequestTopics::default()
            .with_name(topic_name(self.topic))
            .with_partition_indexes((0..partitions).collect());
        let group =
            OffsetFetchRequestGroup::default().with_group_id(GroupId(text(group))).with_topics(Some(vec![topics]));
        let request = OffsetFetchRequest::default().with_groups(vec![group]);
        let answer = Wire::try_connect(address)?.try_ask(ApiKey::OffsetFetch, 8, &request)?;
        if answer.groups.iter().any(|group| group.error_code != 0) {
            return Ok(None);
        }
        let partitions = answer.groups.iter().flat_map(|group| &group.topics).flat_map(|topic| &topic.partitions);
        let stored = partitions.filter(|partition| partition.error_code == 0 && partition.committed_offset >= 0);
        Ok(Some(stored.map(|partition| (partition.partition_index, partition.committed_offset)).collect()))
    }

    /// The first answer that a node gives, asked in turn until the deadline.
    fn first<T>(&self, what: &str, mut ask: impl FnMut(&mut Wire) -> io::Result<Option<T>>) -> T {
        wait_for(
            || format!("{what} of {}", self.topic),
            PATIENCE,
            || {
                let mut at = |address: &String| ask(&mut Wire::try_connect(address).ok()?).ok()?;
                self.addresses.iter().find_map(&mut at)
            },
        )
    }

    fn address(&self, node: i32) -> &str {
        &self.addresses[usize::try_from(node - 1).expect("a node")]
    }
}

/// Leaders by partition; nothing while a partition has none.
fn leaders(answer: &MetadataResponse) -> Option<BTreeMap<i32, i32>> {
    let partitions: Vec<_> = answer.topics.iter().flat_map(|topic| &topic.partitions).collect();
    let led = partitions.iter().all(|partition| partition.error_code == 0 && partition.leader_id.0 >= 1);
    let pair = |partition: &&kafka_protocol::messages::metadata_response::MetadataResponsePartition| {
        (partition.partition_index, partition.leader_id.0)
    };
    (led && !partitions.is_empty()).then(|| partitions.iter().map(pair).collect())
}
