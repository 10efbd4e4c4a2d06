//! The brokers, and what they say about topics.
//!
//! Promised: brokers are identified by node id; metadata is refreshed when asked and when old, by whichever broker
//! answers; a failed broker is left alone for a back-off with jitter, one per broker and not per address, much longer
//! when it refused our credentials; each reconnect resolves the name anew; with no usable broker the bootstrap servers
//! are asked again (KIP-899, KIP-1102). A connection is opened by the task that needs it, on that task's runtime, so
//! that a heartbeat thread depends on no other. Absent: what to do about an error in an answer.

mod any;
mod broker;
mod metadata;
mod refresh;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kafka_proto::error_code::ErrorCode;
use kafka_proto::id::{BrokerId, LeaderEpoch, TopicPartition};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::client::config::{ClientConfig, ConfigMistake, HostPort};
use crate::client::connection::{ConnectError, Connection, Connector, RequestError};
use crate::client::flight::FlightRecorder;
use crate::client::request::Endpoint;
use crate::client::request::find_coordinator::FindCoordinator;

use broker::BrokerLink;
pub use broker::{BrokerConnection, ConnectionState};
pub(crate) use metadata::Metadata;

/// What a connection is for. Each purpose has its own socket per broker, because a broker answers one socket's requests
/// one after the other. A socket may go from one purpose to the next while nothing is under way on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Purpose {
    /// Metadata, offsets by time, epochs: short questions.
    Control,
    /// Commits and committed offsets of a group.
    Coordinator,
    /// Joins and syncs of a group, which the coordinator may hold back for as long as a rebalance lasts.
    Rebalance,
    /// Heartbeats, which must not wait behind anything.
    Heartbeat,
    /// Long polls for records. While none is under way, also where to begin.
    Fetch,
    /// Batches to be appended, answered when all replicas in sync have them.
    Produce,
}

impl Purpose {
    /// Its name for programs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Coordinator => "coordinator",
            Self::Rebalance => "rebalance",
            Self::Heartbeat => "heartbeat",
            Self::Fetch => "fetch",
            Self::Produce => "produce",
        }
    }
}

/// Why no coordinator is known.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CoordinatorError {
    /// No broker could be asked.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The one asked did not answer.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// It answered with an error.
    #[error("looking for the coordinator of `{group}`: {}{}", code.name(), message.as_deref().map(|m| format!(" ({m})")).unwrap_or_default())]
    Broker {
        /// The group.
        group: String,
        /// The code; its class says what to do.
        code: ErrorCode,
        /// The broker's words.
        message: Option<String>,
    },
}

/// A cluster. Clones share it; [`Cluster::close`] ends it.
#[derive(Clone)]
pub(crate) struct Cluster(Arc<Inner>);

struct Inner {
    config: Arc<ClientConfig>,
    connector: Connector,
    bootstrap: Vec<HostPort>,
    metadata: watch::Sender<Arc<Metadata>>,
    /// Whose metadata is kept. Grows only.
    topics: Mutex<Vec<Arc<str>>>,
    wanted: Notify,
    refresh_error: Mutex<Option<String>>,
    links: Mutex<BTreeMap<LinkKey, Arc<BrokerLink>>>,
    /// Which of the known brokers is asked first; moves on after a failure.
    turn: AtomicUsize,
    closing: CancellationToken,
}

/// A broker known by its id, or a bootstrap server of which only the address is known.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum LinkKey {
    Node(BrokerId),
    Bootstrap(HostPort),
}

impl Cluster {
    /// Starts refreshing the metadata of `topics` at once, on the present runtime. Errs with every mistake in `config`.
    pub(crate) fn new(config: Arc<ClientConfig>, topics: Vec<Arc<str>>) -> Result<Self, Vec<ConfigMistake>> {
        let connector = Connector::new(Arc::clone(&config))?;
        let inner = Arc::new(Inner {
            bootstrap: config.bootstrap(),
            connector,
            config,
            metadata: watch::Sender::new(Arc::default()),
            topics: Mutex::new(topics),
            wanted: Notify::new(),
            refresh_error: Mutex::new(None),
            links: Mutex::default(),
            turn: AtomicUsize::new(0),
            closing: CancellationToken::new(),
        });
        tokio::spawn(refresh::keep_fresh(Arc::downgrade(&inner), inner.closing.clone()));
        Ok(Self(inner))
    }

    /// What is known; changes wake the receiver. Revision 0 is the empty start.
    pub(crate) fn metadata(&self) -> watch::Receiver<Arc<Metadata>> {
        self.0.metadata.subscribe()
    }

    /// Waits until anything was heard of topics, at most `patience`.
    pub(crate) async fn heard_of_topics(&self, patience: Duration) {
        let mut metadata = self.metadata();
        // Neither is an error here: whoever needs the topics finds out.
        let _ = tokio::time::timeout(patience, metadata.wait_for(|known| !known.topics.is_empty())).await;
    }

    /// What is known now.
    pub(crate) fn current(&self) -> Arc<Metadata> {
        Arc::clone(&self.0.metadata.borrow())
    }

    /// Keeps the metadata of one more topic.
    pub(crate) fn follow_topic(&self, topic: &Arc<str>) {
        let mut topics = lock(&self.0.topics);
        if !topics.contains(topic) {
            topics.push(Arc::clone(topic));
            self.request_refresh();
        }
    }

    /// Asks for fresh metadata soon. Many calls are one refresh; a back-off lies between refreshes.
    pub(crate) fn request_refresh(&self) {
        self.0.wanted.notify_one();
    }

    /// Why the last refresh failed, until one succeeds.
    pub(crate) fn refresh_error(&self) -> Option<String> {
        lock(&self.0.refresh_error).clone()
    }

    /// Leader and epoch of a partition, as far as known.
    #[cfg(test)]
    pub(crate) fn leader_of(&self, partition: &TopicPartition) -> Option<(BrokerId, LeaderEpoch)> {
        self.0.metadata.borrow().leader(partition)
    }

    /// Takes in a leader that an answer named (KIP-951); whether that was news.
    pub(crate) fn learn_leader(
        &self,
        partition: &TopicPartition,
        leader: BrokerId,
        epoch: LeaderEpoch,
        endpoint: Option<Endpoint>,
    ) -> bool {
        self.0.change_metadata(|known| known.with_leader(partition, leader, epoch, endpoint))
    }

    /// The connection to broker `id` for `purpose`: the living one, or a new one once the broker's back-off is over.
    ///
    /// Cancel-safe. An error has already been counted towards the broker's back-off, so calling again in a loop is
    /// no hot loop.
    pub(crate) async fn connect(&self, id: BrokerId, purpose: Purpose) -> Result<Connection, ConnectError> {
        self.0.connect(id, purpose).await
    }

    /// The same; but where there is none for that purpose, the one for `instead_of` becomes it, if nothing is under way on it: to
    /// log in once more costs more than anything that is asked.
    pub(crate) async fn connect_or_take_over(
        &self,
        id: BrokerId,
        purpose: Purpose,
        instead_of: Purpose,
    ) -> Result<Connection, ConnectError> {
        let address = self.0.address(id)?;
        let link = self.0.link(LinkKey::Node(id));
        tokio::select! {
            () = self.0.closing.cancelled() => return Err(ConnectError::Closing),
            () = link.hand_over(&self.0.connector, &address, instead_of, purpose) => {}
        }
        self.0.connect(id, purpose).await
    }

    /// Opens what will be needed soon, so that nobody waits for it then. Nothing is tried at a broker that failed last time:
    /// whoever needs it will, after the back-off.
    pub(crate) async fn warm(&self, id: BrokerId, purpose: Purpose) {
        if !self.0.link(LinkKey::Node(id)).is_failing() {
            // Whoever needs the connection finds out, and says so.
            let _ = self.0.connect(id, purpose).await;
        }
    }

    /// The same for the leaders of the topics that are followed, one after the other, where they are few: of many brokers a
    /// member of a group needs only some. Waits until the metadata names any: the coordinator may be known before it. Ends
    /// with the cluster.
    pub(crate) async fn warm_leaders(&self) {
        let mut metadata = self.metadata();
        let leaders = tokio::select! {
            () = self.0.closing.cancelled() => return,
            named = metadata.wait_for(|known| !known.leaders().is_empty()) => named.map(|known| known.leaders()),
        };
        // An error is a cluster that is gone.
        let leaders = leaders.unwrap_or_default();
        if leaders.len() <= WARMED_LEADERS_MAX {
            for id in leaders {
                self.warm(id, Purpose::Fetch).await;
            }
        }
    }

    /// A control connection to any broker that works; bootstrap servers are the last resort.
    pub(crate) async fn any(&self) -> Result<Connection, ConnectError> {
        self.0.any().await
    }

    /// The controller where the brokers name one, else any broker: with `KRaft` every broker passes such requests on.
    pub(crate) async fn controller(&self) -> Result<Connection, ConnectError> {
        let controller = self.current().controller;
        match controller {
            Some(id) if self.current().brokers.contains_key(&id) => self.connect(id, Purpose::Control).await,
            Some(_) | None => self.any().await,
        }
    }

    /// The broker that coordinates `group`. Another broker is asked each time one answers with an error, because a
    /// broker may keep naming a coordinator that is gone.
    pub(crate) async fn find_coordinator(&self, group: &str) -> Result<BrokerId, CoordinatorError> {
        let answer = self.0.ask_any(|| FindCoordinator { group_id: group.to_owned() }).await;
        let answer = answer.inspect_err(|_| self.0.ask_another_next())?;
        if answer.error.code() != 0 {
            self.0.ask_another_next();
            let message = answer.message.filter(|message| !message.is_empty());
            return Err(CoordinatorError::Broker { group: group.to_owned(), code: answer.error, message });
        }
        let id = answer.coordinator.id;
        self.0.change_metadata(|known| {
            let changed = known.with_broker(answer.coordinator)?;
            self.0.adopt_bootstrap(&changed);
            Some(changed)
        });
        Ok(id)
    }

    /// Drops what is known to be a wrong idea of the coordinator: the next look-up asks another broker.
    pub(crate) fn distrust_coordinator(&self) {
        self.0.ask_another_next();
    }

    /// Where everybody who uses this cluster writes down what happened.
    pub(crate) fn flight(&self) -> &Arc<FlightRecorder> {
        self.0.connector.flight()
    }

    /// Every broker with its connections, for people.
    pub(crate) fn connections(&self) -> Vec<BrokerConnection> {
        let known = self.current();
        let links: Vec<_> = lock(&self.0.links).iter().map(|(key, link)| (key.clone(), Arc::clone(link))).collect();
        let describe = |(key, link): (LinkKey, Arc<BrokerLink>)| {
            let (id, address) = match key {
                LinkKey::Node(id) => (Some(id), known.brokers.get(&id).map(|broker| broker.address.clone())),
                LinkKey::Bootstrap(address) => (None, Some(address)),
            };
            link.describe(id, address.as_ref())
        };
        links.into_iter().flat_map(describe).collect()
    }

    /// Closes every connection and stops refreshing.
    pub(crate) fn close(&self) {
        self.0.closing.cancel();
        let links = std::mem::take(&mut *lock(&self.0.links));
        for link in links.values() {
            link.close();
        }
    }
}

impl Inner {
    async fn connect(&self, id: BrokerId, purpose: Purpose) -> Result<Connection, ConnectError> {
        let address = self.address(id)?;
        self.open(LinkKey::Node(id), address, purpose).await
    }

    fn address(&self, id: BrokerId) -> Result<HostPort, ConnectError> {
        let address = self.metadata.borrow().brokers.get(&id).map(|broker| broker.address.clone());
        address.ok_or(ConnectError::UnknownBroker(id))
    }

    async fn open(&self, key: LinkKey, address: HostPort, purpose: Purpose) -> Result<Connection, ConnectError> {
        let link = self.link(key);
        tokio::select! {
            () = self.closing.cancelled() => Err(ConnectError::Closing),
            opened = link.connection(&self.connector, &address, purpose) => opened,
        }
    }

    fn link(&self, key: LinkKey) -> Arc<BrokerLink> {
        let mut links = lock(&self.links);
        Arc::clone(links.entry(key).or_insert_with(|| Arc::new(BrokerLink::new(&self.config))))
    }

    fn change_metadata(&self, change: impl FnOnce(&Metadata) -> Option<Metadata>) -> bool {
        self.metadata.send_if_modified(|known| {
            let Some(changed) = change(known) else { return false };
            *known = Arc::new(changed);
            true
        })
    }

    /// A bootstrap server that turns out to be a broker is one from here on, and keeps its connection. Comes before the
    /// metadata is known to others, who would open another.
    fn adopt_bootstrap(&self, known: &Metadata) {
        let mut links = lock(&self.links);
        for (id, broker) in &known.brokers {
            if !links.contains_key(&LinkKey::Node(*id))
                && let Some(link) = links.remove(&LinkKey::Bootstrap(broker.address.clone()))
            {
                links.insert(LinkKey::Node(*id), link);
            }
        }
    }

    /// Links to brokers that are gone, and to bootstrap servers once brokers are known by id, are closed.
    fn forget_links(&self, known: &Metadata) {
        let keep = |key: &LinkKey| match key {
            LinkKey::Node(id) => known.brokers.contains_key(id),
            LinkKey::Bootstrap(_) => known.brokers.is_empty(),
        };
        let mut links = lock(&self.links);
        let (kept, gone): (BTreeMap<_, _>, BTreeMap<_, _>) =
            std::mem::take(&mut *links).into_iter().partition(|(key, _)| keep(key));
        *links = kept;
        drop(links);
        for link in gone.values() {
            link.close();
        }
    }
}

/// Leaders to which connections are opened before it is known which of them are needed.
const WARMED_LEADERS_MAX: usize = 3;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
