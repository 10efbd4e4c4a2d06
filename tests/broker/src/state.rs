//! What the whole cluster knows, behind one lock that is never held across an await.
//!
//! A double may be simple where a broker may not: topics, groups and logins are shared by all nodes, and which node
//! answers for what is decided by leader and coordinator entries. Two signals wake waiters: a counter for the logs (long
//! polls) and a notification for the group clock.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kafka_protocol::ResponseError;
use kafka_protocol::messages::ApiKey;
use kafka_protocol::protocol::VersionRange;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use uuid::Uuid;

use crate::fault::Faults;
use crate::group::{Group, GroupSettings};
use crate::journal::Journal;
use crate::node::Node;
use crate::sasl::Mechanism;
use crate::tls::Identity;
use crate::topic::{Partition, Topic};

/// How clients must speak to the brokers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Security {
    /// Plain TCP, nobody is asked for a name.
    #[default]
    Plaintext,
    /// TLS, nobody is asked for a name.
    Ssl,
    /// Plain TCP with a login.
    SaslPlaintext {
        /// Passwords by user name.
        users: BTreeMap<String, String>,
    },
    /// TLS with a login, as on MSK.
    SaslSsl {
        /// Passwords by user name.
        users: BTreeMap<String, String>,
    },
}

impl Security {
    /// TLS with a login for one user.
    pub fn sasl_ssl(user: &str, password: &str) -> Self {
        Self::SaslSsl { users: BTreeMap::from([(user.to_owned(), password.to_owned())]) }
    }

    /// Plain TCP with a login for one user.
    pub fn sasl_plaintext(user: &str, password: &str) -> Self {
        Self::SaslPlaintext { users: BTreeMap::from([(user.to_owned(), password.to_owned())]) }
    }

    pub(crate) fn uses_tls(&self) -> bool {
        matches!(self, Self::Ssl | Self::SaslSsl { .. })
    }

    pub(crate) fn uses_sasl(&self) -> bool {
        matches!(self, Self::SaslPlaintext { .. } | Self::SaslSsl { .. })
    }

    pub(crate) fn users(&self) -> BTreeMap<String, String> {
        match self {
            Self::SaslPlaintext { users } | Self::SaslSsl { users } => users.clone(),
            Self::Plaintext | Self::Ssl => BTreeMap::new(),
        }
    }
}

/// A committed offset as the coordinator keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CommittedOffset {
    /// Offset of the next record to be read.
    pub offset: i64,
    /// Leader epoch of the record before it, -1 where the committer did not say.
    pub leader_epoch: i32,
    /// What the committer added.
    pub metadata: String,
}

/// Logins, as the cluster checks them.
#[derive(Debug)]
pub(crate) struct Logins {
    pub(crate) required: bool,
    pub(crate) users: BTreeMap<String, String>,
    pub(crate) mechanisms: Vec<Mechanism>,
    pub(crate) scram_iterations: u32,
    /// Sessions that began before this are over, whatever their lifetime.
    pub(crate) expired_before: Option<Instant>,
    /// `connections.max.reauth.ms`; `None` is never.
    pub(crate) lifetime: Option<Duration>,
}

/// Everything the nodes share.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) cluster_id: String,
    pub(crate) nodes: BTreeMap<i32, Node>,
    pub(crate) controller: i32,
    pub(crate) topics: BTreeMap<String, Topic>,
    pub(crate) replication: usize,
    pub(crate) auto_create_partitions: Option<usize>,
    pub(crate) groups: HashMap<String, Group>,
    pub(crate) group_settings: GroupSettings,
    /// Coordinators that a test placed by hand; `None` is none at all.
    pub(crate) coordinators: HashMap<String, Option<i32>>,
    pub(crate) committed: HashMap<String, BTreeMap<(String, i32), CommittedOffset>>,
    /// Partitions with offsets of an open transaction: OffsetFetch with `require_stable` is refused.
    pub(crate) unstable: Vec<(String, String, i32)>,
    pub(crate) logins: Logins,
    pub(crate) identity: Option<Identity>,
    pub(crate) offered: HashMap<ApiKey, VersionRange>,
    pub(crate) throttles: HashMap<ApiKey, Duration>,
    pub(crate) faults: Faults,
    pub(crate) journal: Journal,
    next_id: u64,
}

impl State {
    /// An empty cluster.
    pub(crate) fn new(logins: Logins, group_settings: GroupSettings, offered: HashMap<ApiKey, VersionRange>) -> Self {
        Self {
            cluster_id: "double-cluster-0000000".to_owned(),
            nodes: BTreeMap::new(),
            controller: 0,
            topics: BTreeMap::new(),
            replication: 1,
            auto_create_partitions: None,
            groups: HashMap::new(),
            group_settings,
            coordinators: HashMap::new(),
            committed: HashMap::new(),
            unstable: Vec::new(),
            logins,
            identity: None,
            offered,
            throttles: HashMap::new(),
            faults: Faults::default(),
            journal: Journal::default(),
            next_id: 1,
        }
    }

    /// A number not given out before: for connections, sessions, producers, members, topics.
    pub(crate) fn fresh(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Ids of the nodes that take connections.
    pub(crate) fn alive(&self) -> Vec<i32> {
        self.nodes.values().filter(|node| node.is_running()).map(|node| node.id).collect()
    }

    /// Creates a topic with a new id, spread over all nodes.
    pub(crate) fn create_topic(&mut self, name: &str, partitions: usize, replication: usize) -> Uuid {
        let nodes: Vec<i32> = self.nodes.keys().copied().collect();
        let id = (u128::from(self.fresh()) << 64) | 0x0d0b_1e00;
        let topic = Topic::new(id, partitions, &nodes, replication);
        let id = topic.id;
        self.topics.insert(name.to_owned(), topic);
        id
    }

    /// Grows a topic to `wanted` partitions.
    pub(crate) fn add_partitions(&mut self, name: &str, wanted: usize) -> Result<(), ResponseError> {
        let nodes: Vec<i32> = self.nodes.keys().copied().collect();
        let replication = self.replication;
        let topic = self.topics.get_mut(name).ok_or(ResponseError::UnknownTopicOrPartition)?;
        if wanted <= topic.partitions.len() {
            return Err(ResponseError::InvalidPartitions);
        }
        let new = topic.partitions.len()..wanted;
        topic.partitions.extend(new.map(|index| Partition::new(index, &nodes, replication)));
        Ok(())
    }

    /// Name of the topic with that id.
    pub(crate) fn topic_name(&self, id: Uuid) -> Option<&str> {
        self.topics.iter().find(|(_, topic)| topic.id == id).map(|(name, _)| name.as_str())
    }

    /// Whether `node` may speak for the group.
    pub(crate) fn check_coordinator(&self, node: i32, group: &str) -> Result<(), ResponseError> {
        if group.is_empty() {
            return Err(ResponseError::InvalidGroupId);
        }
        if self.coordinator_of(group) == Some(node) { Ok(()) } else { Err(ResponseError::NotCoordinator) }
    }

    /// The node that coordinates `key` (a group or a transactional id), whether or not it is running.
    pub(crate) fn coordinator_of(&self, key: &str) -> Option<i32> {
        if let Some(placed) = self.coordinators.get(key) {
            return *placed;
        }
        let sum: usize = key.bytes().map(usize::from).sum();
        let count = self.nodes.len().max(1);
        self.nodes.keys().nth(sum % count).copied()
    }
}

/// The state with what wakes those who wait for it to change.
#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    log_changes: watch::Sender<u64>,
    /// Wakes the group clock after a change of deadlines.
    pub(crate) group_deadlines: Notify,
    pub(crate) runtime: Handle,
}

impl Shared {
    pub(crate) fn new(state: State, runtime: Handle) -> Arc<Self> {
        let (log_changes, _) = watch::channel(0);
        Arc::new(Self { state: Mutex::new(state), log_changes, group_deadlines: Notify::new(), runtime })
    }

    /// The state; a test that panicked while it held the lock does not take the double down with it.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the long polls.
    pub(crate) fn logs_changed(&self) {
        self.log_changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// To be taken before looking at the logs, so that no change is missed.
    pub(crate) fn watch_logs(&self) -> watch::Receiver<u64> {
        self.log_changes.subscribe()
    }
}
