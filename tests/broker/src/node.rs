//! One broker of the cluster: its address, its listener, its connections, its fetch sessions.
//!
//! Promised: a stopped node refuses connections and has dropped those it had; a frozen node accepts (the kernel does) and
//! says nothing, like a process under SIGSTOP.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;

use crate::api::fetch_session::FetchSession;
use crate::connection;
use crate::state::Shared;

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
    pub(crate) fn stop(&mut self) {
        if let Some(listener) = self.listener.take() {
            listener.abort();
        }
        self.disconnect_all();
        self.sessions.clear();
    }

    /// Closes every connection.
    pub(crate) fn disconnect_all(&mut self) {
        for (_, connection) in self.connections.drain() {
            connection.abort();
        }
    }
}

/// Makes node `id` listen on `address`; port 0 is a free one.
pub(crate) fn listen(shared: &Arc<Shared>, id: i32, address: SocketAddr) -> io::Result<()> {
    let listener = StdListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let accepting = shared.runtime.spawn(accept(Arc::clone(shared), id, listener)).abort_handle();
    let mut state = shared.lock();
    if let Some(node) = state.nodes.get_mut(&id) {
        node.stop();
        node.address = address;
        node.listener = Some(accepting);
    }
    Ok(())
}

async fn accept(shared: Arc<Shared>, id: i32, listener: StdListener) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    while let Ok((stream, _)) = listener.accept().await {
        let mut state = shared.lock();
        let connection = state.fresh();
        let acceptor = state.identity.as_ref().map(crate::tls::Identity::acceptor);
        let Some(node) = state.nodes.get_mut(&id) else { return };
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
