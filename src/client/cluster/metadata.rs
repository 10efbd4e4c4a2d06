//! What is known of the cluster, and how an answer changes it.
//!
//! Promised: an answer with an older leader epoch never moves a partition back; an equal or unknown epoch may move it;
//! a partition whose leader is unknown for the moment keeps its last one; a topic in error keeps its partitions; a
//! topic with another id is another topic. Brokers are known by node id only, and those the answer does not name are
//! gone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kafka_proto::error_code::ErrorCode;
use kafka_proto::id::{BrokerId, LeaderEpoch, TopicPartition};

use crate::client::config::HostPort;
use crate::client::request::metadata::{MetadataAnswer, PartitionMetadata, TopicMetadata};
use crate::client::request::{Endpoint, TopicId};

/// The cluster as last told, completed by what was told before.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metadata {
    /// Counts the answers that went in; 0: nothing is known yet.
    pub(crate) revision: u64,
    pub(crate) cluster_id: Option<Arc<str>>,
    pub(crate) controller: Option<BrokerId>,
    pub(crate) brokers: BTreeMap<BrokerId, Broker>,
    pub(crate) topics: BTreeMap<Arc<str>, Topic>,
}

/// Where a broker listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Broker {
    pub(crate) address: HostPort,
    pub(crate) rack: Option<Arc<str>>,
}

/// One topic.
#[derive(Clone, Debug, Default)]
pub(crate) struct Topic {
    /// `None` where the broker does not tell ids (below version 10).
    pub(crate) id: Option<TopicId>,
    /// The error of the last answer; the partitions are those known before it.
    pub(crate) error: Option<ErrorCode>,
    pub(crate) partitions: BTreeMap<i32, Partition>,
}

impl Topic {
    /// How many partitions it has; 0 where it does not exist.
    pub(crate) fn partition_count(&self) -> i32 {
        i32::try_from(self.partitions.len()).unwrap_or(i32::MAX)
    }
}

/// One partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Partition {
    /// The last leader that was told; it may be gone.
    pub(crate) leader: Option<BrokerId>,
    pub(crate) leader_epoch: LeaderEpoch,
    pub(crate) replicas: Vec<BrokerId>,
    pub(crate) in_sync: Vec<BrokerId>,
    pub(crate) offline: Vec<BrokerId>,
    /// For example `LEADER_NOT_AVAILABLE`.
    pub(crate) error: Option<ErrorCode>,
}

impl Metadata {
    /// Leader and epoch of a partition.
    pub(crate) fn leader(&self, partition: &TopicPartition) -> Option<(BrokerId, LeaderEpoch)> {
        let known = self.partition(partition)?;
        known.leader.map(|leader| (leader, known.leader_epoch))
    }

    /// The leaders of all partitions that are followed.
    pub(crate) fn leaders(&self) -> BTreeSet<BrokerId> {
        let partitions = self.topics.values().flat_map(|topic| topic.partitions.values());
        partitions.filter_map(|partition| partition.leader).collect()
    }

    /// One partition.
    pub(crate) fn partition(&self, partition: &TopicPartition) -> Option<&Partition> {
        self.topics.get(&partition.topic)?.partitions.get(&partition.partition)
    }

    /// A topic's name by its id.
    #[cfg(test)]
    pub(crate) fn topic_name(&self, id: TopicId) -> Option<&Arc<str>> {
        self.topics.iter().find(|(_, topic)| topic.id == Some(id)).map(|(name, _)| name)
    }

    /// Whether a partition waits for a leader, or a topic is in error: worth asking again soon.
    pub(crate) fn is_incomplete(&self) -> bool {
        self.topics
            .values()
            .any(|topic| topic.error.is_some() || topic.partitions.values().any(|partition| partition.error.is_some()))
    }

    /// This, changed by `answer`. `asked`: the topics that were asked for; others are forgotten.
    pub(crate) fn updated(&self, answer: MetadataAnswer, asked: &[Arc<str>]) -> Self {
        let mut topics = BTreeMap::new();
        for told in answer.topics {
            let name = Arc::clone(&told.name);
            let known = self.topics.get(&name);
            topics.insert(name, merge_topic(known, told));
        }
        for name in asked {
            // Left out of the answer: a broker that knows less than another one did.
            if let (false, Some(known)) = (topics.contains_key(name), self.topics.get(name)) {
                topics.insert(Arc::clone(name), known.clone());
            }
        }
        let brokers: BTreeMap<_, _> = answer.brokers.into_iter().map(broker).collect();
        Self {
            revision: self.revision.saturating_add(1),
            cluster_id: answer.cluster_id.map(Arc::from).or_else(|| self.cluster_id.clone()),
            controller: answer.controller,
            brokers: if brokers.is_empty() { self.brokers.clone() } else { brokers },
            topics,
        }
    }

    /// This with a leader as a fetch or produce answer tells it (KIP-951), or `None` if that is nothing new. Other
    /// brokers and partitions stay as they are.
    pub(crate) fn with_leader(
        &self,
        partition: &TopicPartition,
        leader: BrokerId,
        epoch: LeaderEpoch,
        endpoint: Option<Endpoint>,
    ) -> Option<Self> {
        let known = self.partition(partition)?;
        let newer = epoch > known.leader_epoch;
        let reachable = endpoint.is_some() || self.brokers.contains_key(&leader);
        if !newer || !reachable {
            return None;
        }
        let mut changed = self.clone();
        changed.revision = changed.revision.saturating_add(1);
        let place = changed.topics.get_mut(&partition.topic)?.partitions.get_mut(&partition.partition)?;
        place.leader = Some(leader);
        place.leader_epoch = epoch;
        changed.brokers.extend(endpoint.map(broker));
        Some(changed)
    }

    /// This with one more broker, as a coordinator look-up tells it.
    pub(crate) fn with_broker(&self, endpoint: Endpoint) -> Option<Self> {
        let (id, told) = broker(endpoint);
        if self.brokers.get(&id).is_some_and(|known| known.address == told.address) {
            return None;
        }
        let mut changed = self.clone();
        changed.revision = changed.revision.saturating_add(1);
        let rack = self.brokers.get(&id).and_then(|known| known.rack.clone());
        changed.brokers.insert(id, Broker { rack: told.rack.or(rack), ..told });
        Some(changed)
    }

    /// This without any broker: back to the bootstrap servers (KIP-899).
    pub(crate) fn without_brokers(&self) -> Self {
        let mut changed = self.clone();
        changed.revision = changed.revision.saturating_add(1);
        changed.brokers.clear();
        changed.controller = None;
        changed
    }
}

fn broker(endpoint: Endpoint) -> (BrokerId, Broker) {
    let address = HostPort { host: endpoint.host, port: endpoint.port };
    (endpoint.id, Broker { address, rack: endpoint.rack })
}

fn merge_topic(known: Option<&Topic>, told: TopicMetadata) -> Topic {
    let error = Some(told.error).filter(|error| error.code() != 0);
    if error.is_some() && told.partitions.is_empty() {
        let kept = known.cloned().unwrap_or_default();
        return Topic { error, ..kept };
    }
    let id = Some(told.id).filter(|id| !id.is_zero());
    let recreated = matches!((known.and_then(|known| known.id), id), (Some(old), Some(new)) if old != new);
    let known = known.filter(|_| !recreated);
    let merge = |partition: PartitionMetadata| {
        let before = known.and_then(|topic| topic.partitions.get(&partition.partition));
        (partition.partition, merge_partition(before, partition))
    };
    let partitions = told.partitions.into_iter().map(merge).collect();
    Topic { id: id.or_else(|| known.and_then(|known| known.id)), error, partitions }
}

fn merge_partition(known: Option<&Partition>, told: PartitionMetadata) -> Partition {
    let error = Some(told.error).filter(|error| error.code() != 0);
    let told_epoch = told.leader_epoch;
    let fresh = Partition {
        leader: told.leader,
        leader_epoch: told_epoch,
        replicas: told.replicas,
        in_sync: told.in_sync,
        offline: told.offline,
        error,
    };
    let Some(known) = known else { return fresh };
    if told_epoch != LeaderEpoch::UNKNOWN && told_epoch < known.leader_epoch {
        return known.clone();
    }
    // No leader at the moment: whoever led last is the best guess, and its epoch is what was read under.
    let (leader, leader_epoch) = match fresh.leader {
        Some(leader) => {
            (Some(leader), if told_epoch == LeaderEpoch::UNKNOWN { known.leader_epoch } else { told_epoch })
        }
        None => (known.leader, known.leader_epoch),
    };
    Partition { leader, leader_epoch, ..fresh }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(leader: i32, epoch: i32) -> PartitionMetadata {
        PartitionMetadata {
            error: ErrorCode::from(if leader < 0 { 5 } else { 0 }),
            partition: 0,
            leader: (leader >= 0).then_some(BrokerId(leader)),
            leader_epoch: LeaderEpoch(epoch),
            replicas: vec![BrokerId(1), BrokerId(2)],
            in_sync: vec![BrokerId(1)],
            offline: Vec::new(),
        }
    }

    fn answer(topic_id: u8, error: i16, partitions: Vec<PartitionMetadata>) -> MetadataAnswer {
        let endpoint = |id| Endpoint { id: BrokerId(id), host: format!("b{id}").into(), port: 9092, rack: None };
        let topic =
            TopicMetadata { error: ErrorCode::from(error), name: "t".into(), id: TopicId([topic_id; 16]), partitions };
        MetadataAnswer {
            error: ErrorCode::from(0),
            cluster_id: None,
            controller: None,
            brokers: vec![endpoint(1), endpoint(2)],
            topics: vec![topic],
        }
    }

    fn after(answers: impl IntoIterator<Item = MetadataAnswer>) -> Metadata {
        answers.into_iter().fold(Metadata::default(), |known, answer| known.updated(answer, &["t".into()]))
    }

    fn leader(metadata: &Metadata) -> Option<(i32, i32)> {
        let partition = TopicPartition { topic: "t".into(), partition: 0 };
        metadata.leader(&partition).map(|(leader, epoch)| (leader.get(), epoch.get()))
    }

    #[test]
    fn an_older_epoch_never_moves_a_partition_back() {
        let metadata = after([answer(1, 0, vec![told(2, 5)]), answer(1, 0, vec![told(1, 4)])]);
        assert_eq!(leader(&metadata), Some((2, 5)));
    }

    #[test]
    fn an_equal_or_unknown_epoch_may_move_it() {
        let metadata = after([answer(1, 0, vec![told(2, 5)]), answer(1, 0, vec![told(1, 5)])]);
        assert_eq!(leader(&metadata), Some((1, 5)));
        let metadata = after([answer(1, 0, vec![told(2, 5)]), answer(1, 0, vec![told(1, -1)])]);
        assert_eq!(leader(&metadata), Some((1, 5)));
    }

    #[test]
    fn a_partition_without_a_leader_keeps_its_last_one_and_its_epoch() {
        let metadata = after([answer(1, 0, vec![told(2, 5)]), answer(1, 0, vec![told(-1, 6)])]);
        assert_eq!(leader(&metadata), Some((2, 5)));
        assert!(metadata.is_incomplete());
    }

    #[test]
    fn a_topic_in_error_keeps_its_partitions() {
        let metadata = after([answer(1, 0, vec![told(2, 5)]), answer(0, 3, Vec::new())]);
        assert_eq!(leader(&metadata), Some((2, 5)));
        assert_eq!(metadata.topics["t"].error, Some(ErrorCode::from(3)));
        assert_eq!(metadata.topics["t"].id, Some(TopicId([1; 16])));
    }

    #[test]
    fn a_topic_left_out_of_the_answer_stays_and_one_not_asked_for_goes() {
        let mut without = answer(1, 0, Vec::new());
        without.topics.clear();
        let metadata = after([answer(1, 0, vec![told(2, 5)]), without.clone()]);
        assert_eq!(leader(&metadata), Some((2, 5)));
        assert!(metadata.updated(without, &[]).topics.is_empty());
    }

    #[test]
    fn a_topic_with_another_id_starts_anew() {
        let metadata = after([answer(1, 0, vec![told(2, 5)]), answer(9, 0, vec![told(1, 0)])]);
        assert_eq!(leader(&metadata), Some((1, 0)));
    }

    #[test]
    fn an_answer_without_brokers_does_not_lose_those_known() {
        let mut empty = answer(1, 0, vec![told(2, 5)]);
        empty.brokers.clear();
        assert_eq!(after([answer(1, 0, vec![told(2, 5)]), empty]).brokers.len(), 2);
    }

    #[test]
    fn a_leader_hint_moves_forward_only_and_keeps_the_other_brokers() {
        let metadata = after([answer(1, 0, vec![told(2, 5)])]);
        let partition = TopicPartition { topic: "t".into(), partition: 0 };
        assert!(metadata.with_leader(&partition, BrokerId(1), LeaderEpoch(5), None).is_none());
        assert!(metadata.with_leader(&partition, BrokerId(3), LeaderEpoch(6), None).is_none(), "unreachable");
        let endpoint = Endpoint { id: BrokerId(3), host: "b3".into(), port: 1, rack: None };
        let moved = metadata.with_leader(&partition, BrokerId(3), LeaderEpoch(6), Some(endpoint)).unwrap();
        assert_eq!(leader(&moved), Some((3, 6)));
        assert_eq!(moved.brokers.len(), 3);
    }
}
