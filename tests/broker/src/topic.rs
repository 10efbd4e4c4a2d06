//! Topics and partitions as the cluster's metadata sees them.

use std::collections::BTreeMap;

use kafka_protocol::ResponseError;
use uuid::Uuid;

use crate::log::PartitionLog;

/// One topic.
#[derive(Debug, Clone)]
pub(crate) struct Topic {
    pub(crate) id: Uuid,
    pub(crate) partitions: Vec<Partition>,
    /// Broker times replace the producers'.
    pub(crate) log_append_time: bool,
    /// Settings that somebody gave, by Kafka's names.
    pub(crate) settings: BTreeMap<String, String>,
    /// What metadata answers instead of the topic.
    pub(crate) metadata_error: Option<ResponseError>,
}

/// One partition.
#[derive(Debug, Clone)]
pub(crate) struct Partition {
    pub(crate) leader: Option<i32>,
    pub(crate) leader_epoch: i32,
    pub(crate) replicas: Vec<i32>,
    pub(crate) log: PartitionLog,
}

impl Partition {
    /// A partition with `replication` replicas, the first of which leads.
    pub(crate) fn new(index: usize, nodes: &[i32], replication: usize) -> Self {
        let replicas: Vec<i32> =
            nodes.iter().cycle().skip(index % nodes.len().max(1)).take(replication.min(nodes.len())).copied().collect();
        let mut log = PartitionLog::default();
        log.lead(0);
        Self { leader: replicas.first().copied(), leader_epoch: 0, replicas, log }
    }

    /// Makes `node` the leader under the next epoch; where it had no replica, it takes the place of the old leader's.
    pub(crate) fn lead(&mut self, node: i32) {
        if !self.replicas.contains(&node) {
            let old = self.leader;
            self.replicas.retain(|replica| Some(*replica) != old);
            self.replicas.insert(0, node);
        }
        self.leader = Some(node);
        self.leader_epoch += 1;
        self.log.lead(self.leader_epoch);
    }

    /// Checks the epoch a client believes in; -1 is no belief.
    pub(crate) fn check_epoch(&self, believed: i32) -> Result<(), ResponseError> {
        match believed {
            -1 => Ok(()),
            older if older < self.leader_epoch => Err(ResponseError::FencedLeaderEpoch),
            newer if newer > self.leader_epoch => Err(ResponseError::UnknownLeaderEpoch),
            _ => Ok(()),
        }
    }
}

impl Topic {
    /// A topic with a new id.
    pub(crate) fn new(id: u128, partitions: usize, nodes: &[i32], replication: usize) -> Self {
        let partitions = (0..partitions).map(|index| Partition::new(index, nodes, replication)).collect();
        Self {
            id: Uuid::from_u128(id),
            partitions,
            log_append_time: false,
            settings: BTreeMap::new(),
            metadata_error: None,
        }
    }

    /// The partition of that number.
    pub(crate) fn partition(&self, index: i32) -> Option<&Partition> {
        self.partitions.get(usize::try_from(index).ok()?)
    }

    /// The partition of that number.
    pub(crate) fn partition_mut(&mut self, index: i32) -> Option<&mut Partition> {
        self.partitions.get_mut(usize::try_from(index).ok()?)
    }
}
