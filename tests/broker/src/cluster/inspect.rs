//! Looking into the cluster.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use kafka_protocol::messages::ApiKey;

use super::Cluster;
use crate::group::{Group, GroupSnapshot};
use crate::journal::SeenRequest;
use crate::state::CommittedOffset;

impl Cluster {
    /// `host:port` of every broker, separated by commas, as `bootstrap.servers` takes it.
    pub fn bootstrap(&self) -> String {
        let state = self.shared().lock();
        let servers = state.nodes.values().map(|node| format!("{}:{}", node.host, node.port()));
        servers.collect::<Vec<_>>().join(",")
    }

    /// The socket address of every broker.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.shared().lock().nodes.values().map(|node| node.address).collect()
    }

    /// The socket address of one broker.
    pub fn address(&self, broker: i32) -> SocketAddr {
        self.shared().lock().nodes.get(&broker).expect("a broker of this cluster").address
    }

    /// Ids of the brokers that run.
    pub fn brokers(&self) -> Vec<i32> {
        self.shared().lock().alive()
    }

    /// The certificate of the authority that signed the brokers', in PEM. Panics on a cluster without TLS.
    pub fn ca_pem(&self) -> &str {
        self.inner.authority.as_ref().expect("a cluster with TLS").0.pem()
    }

    /// The same in a file, for `ssl.ca.location`; it goes with the cluster. Panics on a cluster without TLS.
    pub fn ca_file(&self) -> &Path {
        self.inner.authority.as_ref().expect("a cluster with TLS").1.path()
    }

    /// What a group has committed for a partition.
    pub fn committed(&self, group: &str, topic: &str, partition: i32) -> Option<i64> {
        self.committed_offset(group, topic, partition).map(|committed| committed.offset)
    }

    /// The same with leader epoch and metadata.
    pub fn committed_offset(&self, group: &str, topic: &str, partition: i32) -> Option<CommittedOffset> {
        self.shared().lock().committed.get(group)?.get(&(topic.to_owned(), partition)).cloned()
    }

    /// Offset of the next record of a partition, 0 where there is none such.
    pub fn log_end(&self, topic: &str, partition: i32) -> i64 {
        self.of_log(topic, partition, crate::log::PartitionLog::end)
    }

    /// First offset of a partition that can be read, 0 where there is none such.
    pub fn log_start(&self, topic: &str, partition: i32) -> i64 {
        self.of_log(topic, partition, crate::log::PartitionLog::start)
    }

    fn of_log(&self, topic: &str, partition: i32, what: impl Fn(&crate::log::PartitionLog) -> i64) -> i64 {
        let state = self.shared().lock();
        let partition = state.topics.get(topic).and_then(|topic| topic.partition(partition));
        partition.map_or(0, |partition| what(&partition.log))
    }

    /// The leader of a partition, if it has one, and the leader epoch.
    pub fn leader(&self, topic: &str, partition: i32) -> (Option<i32>, i32) {
        let state = self.shared().lock();
        let partition = state.topics.get(topic).and_then(|topic| topic.partition(partition));
        partition.map_or((None, -1), |partition| (partition.leader, partition.leader_epoch))
    }

    /// The broker that coordinates a group.
    pub fn coordinator(&self, group: &str) -> Option<i32> {
        self.shared().lock().coordinator_of(group)
    }

    /// Members, generation and state of a group, once somebody has tried to join it.
    pub fn group(&self, group: &str) -> Option<GroupSnapshot> {
        self.shared().lock().groups.get(group).map(Group::snapshot)
    }

    /// The newest requests of one API, oldest first; at most 5,000 are kept.
    pub fn requests(&self, api: ApiKey) -> Vec<SeenRequest> {
        self.shared().lock().journal.requests(api)
    }

    /// How many requests of one API were seen in all.
    pub fn request_count(&self, api: ApiKey) -> usize {
        self.shared().lock().journal.count(api)
    }

    /// Forgets the requests seen so far.
    pub fn clear_requests(&self) {
        self.shared().lock().journal.clear();
    }

    /// How many connections a broker has open.
    pub fn connection_count(&self, broker: i32) -> usize {
        self.shared().lock().nodes.get(&broker).map_or(0, |node| node.connections.len())
    }

    /// When connections to a broker were made, oldest first; at most 10,000 are kept.
    pub fn dials(&self, broker: i32) -> Vec<Instant> {
        self.shared().lock().nodes.get(&broker).map(|node| node.dials.iter().copied().collect()).unwrap_or_default()
    }

    /// Waits until something is true of the cluster, without blocking the runtime; panics after `deadline`.
    pub async fn wait_until(&self, what: &str, deadline: Duration, mut is_so: impl FnMut(&Self) -> bool) {
        let end = Instant::now() + deadline;
        while !is_so(self) {
            assert!(Instant::now() < end, "waited {deadline:?} in vain until {what}");
            let (wake, woken) = tokio::sync::oneshot::channel();
            // On the double's clock, which is never paused.
            self.shared().runtime.spawn(async move {
                tokio::time::sleep(Duration::from_millis(5)).await;
                let _gone = wake.send(());
            });
            let _ended = woken.await;
        }
    }
}
