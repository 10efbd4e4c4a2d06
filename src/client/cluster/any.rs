//! Questions that any broker can answer: whom to ask, and whom next.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use crate::client::cluster::{CoordinatorError, Inner, LinkKey, Purpose, lock};
use crate::client::config::HostPort;
use crate::client::connection::{ConnectError, Connection, RequestError};
use crate::client::request::Exchange;

/// See [`Inner::ask_any`].
const SHORT_QUESTION_MAX: Duration = Duration::from_secs(10);

/// Why no broker answered.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unanswered {
    /// None could be asked.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The one that was asked did not answer.
    #[error("{broker}: {source}")]
    Request { broker: HostPort, source: RequestError },
}

impl From<Unanswered> for CoordinatorError {
    fn from(error: Unanswered) -> Self {
        match error {
            Unanswered::Connect(error) => Self::Connect(error),
            Unanswered::Request { source, .. } => Self::Request(source),
        }
    }
}

impl Inner {
    /// One question that any broker answers from memory: the next broker is asked sooner than after `request.timeout.ms`. A
    /// connection that this side closed as a plan, or needs for something else, is replaced once.
    pub(super) async fn ask_any<R: Exchange>(&self, question: impl Fn() -> R) -> Result<R::Response, Unanswered> {
        let limit = self.config.request_timeout.min(SHORT_QUESTION_MAX);
        let mut connection = self.any().await?;
        let mut answer = connection.request(question(), limit).await;
        if answer.as_ref().is_err_and(RequestError::is_planned) {
            connection = self.any().await?;
            answer = connection.request(question(), limit).await;
        }
        answer.map_err(|source| Unanswered::Request { broker: connection.peer().name.clone(), source })
    }

    /// Tries the known brokers in turn, then the bootstrap servers; waits out the shortest back-off where all have one.
    /// The turn stays with a broker that works and moves on from one that cannot be reached.
    pub(super) async fn any(&self) -> Result<Connection, ConnectError> {
        let mut last = ConnectError::Closing;
        let (ready, waiting): (Vec<_>, Vec<_>) =
            self.candidates().into_iter().partition(|(key, _)| self.retry_at(key).is_none());
        for (key, address) in ready {
            match self.open(key, address, Purpose::Control).await {
                Ok(connection) => return Ok(connection),
                Err(error) => last = error,
            }
            self.ask_another_next();
        }
        match waiting.into_iter().min_by_key(|(key, _)| self.retry_at(key)) {
            Some((key, address)) => self.open(key, address, Purpose::Control).await,
            None => Err(last),
        }
    }

    /// Known brokers, beginning with the one whose turn it is, then bootstrap servers.
    fn candidates(&self) -> Vec<(LinkKey, HostPort)> {
        let known = Arc::clone(&self.metadata.borrow());
        let mut nodes: Vec<_> =
            known.brokers.iter().map(|(id, broker)| (LinkKey::Node(*id), broker.address.clone())).collect();
        let mut seeds: Vec<_> =
            self.bootstrap.iter().map(|address| (LinkKey::Bootstrap(address.clone()), address.clone())).collect();
        let turn = self.turn.load(Ordering::Relaxed);
        for list in [&mut nodes, &mut seeds] {
            if !list.is_empty() {
                let shift = turn % list.len();
                list.rotate_left(shift);
            }
        }
        nodes.into_iter().chain(seeds).collect()
    }

    fn retry_at(&self, key: &LinkKey) -> Option<Instant> {
        let link = lock(&self.links).get(key).map(Arc::clone)?;
        link.retry_at()
    }

    /// The broker asked last failed: the next question to anyone goes to another.
    pub(super) fn ask_another_next(&self) {
        self.turn.fetch_add(1, Ordering::Relaxed);
    }
}
