//! One broker of the cluster: its address, its listener, its connections, its fetch sessions.
//!
//! Promised: a stopped node refuses connections and has dropped those it had; a frozen node accepts (the kernel does) and
//! says nothing, like a process under SIGSTOP.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;

use crate::api::fetch_session::FetchSession;
use crate::connection;
use crate::state::Shared;

/// Closing a socket takes no longer than this unless the double's thread is stuck.
const CLOSING_MAX: Duration = Duration::from_secs(10);

/// How many moments of dialling are kept.
const DIALS_KEPT: usize = 10_000;

/// One broker.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) id: i32,
    /// Name told to clients.
    pub(crate) host: String,
    /// Port told to clients, where a test wants another than the one listened on.
    pub(crate) advertised_port: Option<u16>,
    pub(crate) address: SocketAddr,
    pub(crate) rack: Option<String>,
    listener: Option<AbortHandle>,
    pub(crate) connections: HashMap<u64, AbortHandle>,
    pub(crate) sessions: HashMap<i32, FetchSession>,
    frozen: watch::Sender<bool>,
    /// Connections are closed as soon as they are made.
    pub(crate) hangs_up: bool,
    /// When connections were made; the newest [`DIALS_KEPT`].
    pub(crate) dials: VecDeque<Instant>,
}

impl Node {
    /// A node that does not listen yet.
    pub(crate) fn new(id: i32, host: String, rack: Option<String>) -> Self {
        Self {
            id,
            host,
            advertised_port: None,
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            rack,
            listener: None,
            connections: HashMap::new(),
            sessions: HashMap::new(),
            frozen: watch::channel(false).0,
            hangs_up: false,
            dials: VecDeque::new(),
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.listener.is_some()
    }

    /// Port that clients are told.
    pub(crate) fn port(&self) -> u16 {
        self.advertised_port.unwrap_or(self.address.port())
    }

    /// Stops or continues the node's processing without touching its sockets.
    pub(crate) fn freeze(&self, frozen: bool) {
        self.frozen.send_replace(frozen);
    }

    pub(crate) fn watch_frozen(&self) -> watch::Receiver<bool> {
        self.frozen.subscribe()
    }

    /// Closes the listener and every connection.
    pub(crate) fn stop(&mut self) -> Closing {
        self.sessions.clear();
        let mut closing = self.disconnect_all();
        closing.0.extend(self.listener.take());
        closing
    }

    /// Closes every connection.
    pub(crate) fn disconnect_all(&mut self) -> Closing {
        Closing(self.connections.drain().map(|(_, connection)| connection).collect())
    }
}

/// Tasks whose sockets are to be closed.
#[must_use = "they close when they are told to"]
pub(crate) struct Closing(Vec<AbortHandle>);

impl Closing {
    /// Closes them and returns when that is done; to be called without the lock, and from another thread than theirs.
    pub(crate) fn close(self) {
        for task in &self.0 {
            task.abort();
        }
        let deadline = Instant::now() + CLOSING_MAX;
        while self.0.iter().any(|task| !task.is_finished()) {
            assert!(Instant::now() < deadline, "the double did not close its sockets within {CLOSING_MAX:?}");
            thread::yield_now();
        }
    }
}

/// Makes node `id` listen on `address`; port 0 is a free one.
pub(crate) fn listen(shared: &Arc<Shared>, id: i32, address: SocketAddr) -> io::Result<()> {
    let listener = bind(address)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let accepting = shared.runtime.spawn(accept(Arc::clone(shared), id, listener)).abort_handle();
    let before = shared.lock().nodes.get_mut(&id).map(|node| {
        let before = node.stop();
        node.address = address;
        node.listener = Some(accepting);
        before
    });
    if let Some(closing) = before {
        closing.close();
    }
    Ok(())
}

/// Binds; a port that a client's dialling has taken for its own side is waited for.
fn bind(address: SocketAddr) -> io::Result<StdListener> {
    let deadline = Instant::now() + CLOSING_MAX;
    loop {
        match StdListener::bind(address) {
            Err(cause) if cause.kind() == io::ErrorKind::AddrInUse && Instant::now() < deadline => thread::yield_now(),
            bound => return bound,
        }
    }
}

async fn accept(shared: Arc<Shared>, id: i32, listener: StdListener) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    while let Ok((stream, _)) = listener.accept().await {
        let mut state = shared.lock();
        let connection = state.fresh();
        let acceptor = state.identity.as_ref().map(crate::tls::Identity::acceptor);
        let Some(node) = state.nodes.get_mut(&id) else { return };
        if node.dials.len() == DIALS_KEPT {
            node.dials.pop_front();
        }
        node.dials.push_back(Instant::now());
        if node.hangs_up {
            continue;
        }
        let task = serve(Arc::clone(&shared), id, connection, stream, acceptor);
        node.connections.insert(connection, shared.runtime.spawn(task).abort_handle());
    }
}

async fn serve(shared: Arc<Shared>, node: i32, connection: u64, stream: TcpStream, tls: Option<TlsAcceptor>) {
    // Without this a small answer may wait for the acknowledgement of the one before.
    let _best_effort = stream.set_nodelay(true);
    connection::thawed(&shared, node).await;
    let ended = match tls {
        None => connection::serve(&shared, node, connection, stream).await,
        Some(acceptor) => match acceptor.accept(stream).await {
            Ok(stream) => connection::serve(&shared, node, connection, stream).await,
            Err(cause) => Err(cause.into()),
        },
    };
    if let Err(cause) = ended {
        tracing::debug!(node, connection, %cause, "connection closed");
    }
    if let Some(node) = shared.lock().nodes.get_mut(&node) {
        node.connections.remove(&connection);
    }
}
