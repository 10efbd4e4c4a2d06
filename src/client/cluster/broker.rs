//! One broker: a connection per purpose, one back-off, and what is known of its health.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kafka_proto::backoff::Backoff;
use kafka_proto::id::BrokerId;
use tokio::time::Instant;

use crate::client::cluster::Purpose;
use crate::client::config::{ClientConfig, HostPort};
use crate::client::connection::{ConnectError, Connection, Connector, Load};
use crate::client::flight::FlightStep;

/// Every purpose, in the order of the slots.
const PURPOSES: [Purpose; 6] =
    [Purpose::Control, Purpose::Coordinator, Purpose::Rebalance, Purpose::Heartbeat, Purpose::Fetch, Purpose::Produce];

/// The way to one broker.
pub(super) struct BrokerLink {
    slots: [Slot; PURPOSES.len()],
    health: Mutex<Health>,
    /// Held while connecting to a broker that failed last time, so that its back-off is one for all purposes.
    recovering: tokio::sync::Mutex<()>,
}

/// The place of one purpose's connection.
#[derive(Default)]
struct Slot {
    /// Held while connecting, so that callers for one purpose share one attempt.
    dialling: tokio::sync::Mutex<()>,
    connection: Mutex<Option<Connection>>,
}

/// What the attempts so far teach.
struct Health {
    backoff: Backoff,
    refused: Backoff,
    retry_at: Option<Instant>,
    last_error: Option<Failure>,
    /// What the name led to when it was last asked for.
    addresses: Vec<Ipv4Addr>,
}

/// The last failure, by its layer and in words.
#[derive(Clone, PartialEq, Eq)]
struct Failure {
    layer: &'static str,
    text: String,
}

/// One connection of a broker, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BrokerConnection {
    /// The node id; `None` for a bootstrap server.
    pub broker: Option<BrokerId>,
    /// As configured or advertised, if known.
    pub address: Option<HostPort>,
    /// What the name led to when it was last looked up, which every reconnect does.
    pub resolved: Vec<Ipv4Addr>,
    /// What the connection is for.
    pub purpose: Purpose,
    /// How it is.
    pub state: ConnectionState,
    /// The broker's last failure since it was last reached.
    pub last_error: Option<String>,
    /// The layer of that failure, one of [`ConnectError::LAYERS`].
    pub failed_layer: Option<&'static str>,
}

/// How a connection is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionState {
    /// In use.
    Connected {
        /// The address that answered.
        to: SocketAddrV4,
        /// Since when.
        age: Duration,
        /// Until it is replaced because of its SASL session; `None`: no limit.
        session_left: Option<Duration>,
        /// How long the broker's throttle still holds.
        throttled_for: Option<Duration>,
        /// How many answers asked for a throttle.
        throttles: u64,
    },
    /// Closed or never opened; the next use opens it.
    Closed,
    /// Failed; nobody tries before this is over.
    BackingOff {
        /// How long still.
        retry_in: Duration,
    },
}

impl ConnectionState {
    /// Every [`ConnectionState::name`].
    pub const NAMES: [&str; 3] = ["connected", "closed", "backing_off"];

    /// The state without what it holds, for programs.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Connected { .. } => "connected",
            Self::Closed => "closed",
            Self::BackingOff { .. } => "backing_off",
        }
    }
}

impl BrokerLink {
    pub(super) fn new(config: &ClientConfig) -> Self {
        let health = Health {
            backoff: Backoff::new(config.reconnect_backoff, config.reconnect_backoff_max),
            refused: Backoff::new(config.authentication_backoff, config.authentication_backoff_max),
            retry_at: None,
            last_error: None,
            addresses: Vec::new(),
        };
        Self { slots: Default::default(), health: Mutex::new(health), recovering: tokio::sync::Mutex::default() }
    }

    /// The living connection, or a new one after the back-off. Callers for one purpose share one attempt; when the one
    /// that dials is dropped, the next takes over.
    pub(super) async fn connection(
        &self,
        connector: &Connector,
        address: &HostPort,
        purpose: Purpose,
    ) -> Result<Connection, ConnectError> {
        if let Some(connection) = self.living_at(purpose, address) {
            return Ok(connection);
        }
        let slot = self.slot(purpose);
        let dialling = slot.dialling.lock().await;
        if let Some(connection) = self.living_at(purpose, address) {
            return Ok(connection);
        }
        let recovering = if self.is_failing() { Some(self.recovering.lock().await) } else { None };
        while let Some(at) = self.retry_at() {
            tokio::time::sleep_until(at).await;
        }
        let opened = self.open(connector, address, purpose).await;
        match &opened {
            Ok(connection) => {
                *lock(&slot.connection) = Some(connection.clone());
                connector.flight().record(FlightStep::Connected, format_args!("{} for {purpose:?}", connection.peer()));
                if lock(&self.health).reached() {
                    tracing::info!(broker = %address, to = %connection.peer().address, "reached again");
                }
            }
            Err(error) => {
                let step =
                    if error.is_authentication() { FlightStep::AuthenticationFailed } else { FlightStep::Unreachable };
                connector.flight().record(step, format_args!("for {purpose:?}: {error}"));
                if lock(&self.health).failed(error) {
                    tracing::warn!(broker = %address, ?purpose, %error, "cannot connect");
                }
            }
        }
        drop(recovering);
        drop(dialling);
        opened
    }

    /// Gives a connection that is there for one purpose to another that has none. Nothing changes where what is under way on
    /// it does not end soon.
    pub(super) async fn hand_over(&self, connector: &Connector, address: &HostPort, from: Purpose, to: Purpose) {
        let slot = self.slot(to);
        let _dialling = slot.dialling.lock().await;
        if self.living_at(to, address).is_some() {
            return;
        }
        let Some(given) = self.living_at(from, address) else { return };
        let Some(taken) = given.hand_over(patience_with(from)).await else { return };
        // Unless a new one is there already. What would stay otherwise is a clone that keeps the socket.
        lock(&self.slot(from).connection).take_if(|left| left.is_closed());
        let peer = taken.peer().clone();
        *lock(&slot.connection) = Some(taken);
        connector.flight().record(FlightStep::Connected, format_args!("{peer} for {to:?}, no longer for {from:?}"));
    }

    async fn open(
        &self,
        connector: &Connector,
        address: &HostPort,
        purpose: Purpose,
    ) -> Result<Connection, ConnectError> {
        let addresses = connector.resolve(address).await?;
        lock(&self.health).addresses.clone_from(&addresses);
        connector.open_at(address, &addresses, load_of(purpose)).await
    }

    /// The connection if it takes requests.
    fn living(&self, purpose: Purpose) -> Option<Connection> {
        lock(&self.slot(purpose).connection).as_ref().filter(|connection| !connection.is_closed()).cloned()
    }

    /// Likewise, if it still leads where the broker listens. One to a former address is forgotten: whoever uses it
    /// may finish.
    fn living_at(&self, purpose: Purpose, address: &HostPort) -> Option<Connection> {
        self.living(purpose).filter(|connection| connection.peer().name == *address)
    }

    /// When the back-off is over; `None`: it is.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        lock(&self.health).retry_at.filter(|at| *at > Instant::now())
    }

    /// Whether the last attempt failed.
    pub(super) fn is_failing(&self) -> bool {
        lock(&self.health).last_error.is_some()
    }

    /// Closes every connection.
    pub(super) fn close(&self) {
        for slot in &self.slots {
            if let Some(connection) = lock(&slot.connection).take() {
                connection.close();
            }
        }
    }

    /// For people.
    pub(super) fn describe(&self, broker: Option<BrokerId>, address: Option<&HostPort>) -> Vec<BrokerConnection> {
        let (last_error, resolved) = {
            let health = lock(&self.health);
            (health.last_error.clone(), health.addresses.clone())
        };
        let retry_in = self.retry_at().map(|at| at.saturating_duration_since(Instant::now()));
        let describe = |purpose: Purpose| {
            let state = match (self.living(purpose), retry_in) {
                (Some(connection), _) => connected(&connection),
                (None, Some(retry_in)) => ConnectionState::BackingOff { retry_in },
                (None, None) => ConnectionState::Closed,
            };
            let never_used = lock(&self.slot(purpose).connection).is_none();
            let shown = !never_used || purpose == Purpose::Control;
            shown.then(|| BrokerConnection {
                broker,
                address: address.cloned(),
                resolved: resolved.clone(),
                purpose,
                state,
                failed_layer: last_error.as_ref().map(|failure| failure.layer),
                last_error: last_error.as_ref().map(|failure| failure.text.clone()),
            })
        };
        PURPOSES.into_iter().filter_map(describe).collect()
    }

    fn slot(&self, purpose: Purpose) -> &Slot {
        let [control, coordinator, rebalance, heartbeat, fetch, produce] = &self.slots;
        match purpose {
            Purpose::Control => control,
            Purpose::Coordinator => coordinator,
            Purpose::Rebalance => rebalance,
            Purpose::Heartbeat => heartbeat,
            Purpose::Fetch => fetch,
            Purpose::Produce => produce,
        }
    }
}

impl Health {
    /// Forgets the failures; whether there were any.
    fn reached(&mut self) -> bool {
        self.backoff.reset();
        self.refused.reset();
        self.retry_at = None;
        self.last_error.take().is_some()
    }

    /// Counts a failure and leaves the broker alone for a while; whether the failure is another than the last one.
    fn failed(&mut self, error: &ConnectError) -> bool {
        let random = getrandom::u64().unwrap_or(0);
        let wait = if error.is_authentication() { self.refused.next(random) } else { self.backoff.next(random) };
        self.retry_at = Some(Instant::now() + wait);
        let failure = Failure { layer: error.layer(), text: error.to_string() };
        let is_news = self.last_error.as_ref() != Some(&failure);
        self.last_error = Some(failure);
        is_news
    }
}

fn connected(connection: &Connection) -> ConnectionState {
    ConnectionState::Connected {
        to: connection.peer().address,
        age: connection.age(),
        session_left: connection.session_left(),
        throttled_for: connection.muted_for(),
        throttles: connection.throttles(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long to wait for what is under way on a connection that is to be taken over. Short questions are answered from memory; a
/// join may be held back for minutes.
const fn patience_with(purpose: Purpose) -> Duration {
    match purpose {
        Purpose::Control => Duration::from_millis(500),
        Purpose::Coordinator | Purpose::Rebalance | Purpose::Heartbeat | Purpose::Fetch | Purpose::Produce => {
            Duration::ZERO
        }
    }
}

/// Only fetched records are worth a connection of their own kind.
const fn load_of(purpose: Purpose) -> Load {
    match purpose {
        Purpose::Fetch => Load::Records,
        Purpose::Control | Purpose::Coordinator | Purpose::Rebalance | Purpose::Heartbeat | Purpose::Produce => {
            Load::Questions
        }
    }
}
