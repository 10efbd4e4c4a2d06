//! Requests to the group's coordinator, wherever it is at the moment.
//!
//! Used for offsets only: the membership has a connection of its own, which a slow commit must not delay; the first one it leaves
//! behind when the group is joined, and the next join opens another. The coordinator is the one that the membership found. It
//! is forgotten on any sign that it is another one, a failed dial included (fault G10), and looked up again by the next
//! request. Absent: retries; the caller knows its deadline and its back-off.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kafka_proto::error_code::{ErrorClass, ErrorCode};
use kafka_proto::id::BrokerId;
use tokio::sync::watch;

use crate::client::cluster::{Cluster, Purpose};
use crate::client::group::GroupStatus;
use crate::client::request::Exchange;

pub(crate) struct Coordinator {
    cluster: Cluster,
    group_id: Arc<str>,
    group: watch::Receiver<GroupStatus>,
    belief: Mutex<Belief>,
}

/// Which broker is believed to coordinate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Belief {
    /// The one that the membership found.
    AsTheMembership,
    /// This one.
    Found(BrokerId),
    /// Another than was believed. The membership may not know yet.
    Another,
}

impl Coordinator {
    /// `group`: where the membership stands.
    pub(crate) fn new(cluster: Cluster, group_id: Arc<str>, group: watch::Receiver<GroupStatus>) -> Self {
        Self { cluster, group_id, group, belief: Mutex::new(Belief::AsTheMembership) }
    }

    pub(crate) fn group_id(&self) -> &str {
        &self.group_id
    }

    /// Sends one request to the coordinator. The error is text for people: all of them mean "try again later".
    pub(crate) async fn request<R: Exchange>(&self, request: R, limit: Duration) -> Result<R::Response, String> {
        let answered = tokio::time::timeout(limit, self.send(request, limit)).await;
        match answered {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => {
                self.forget();
                Err(error)
            }
            Err(_) => {
                self.forget();
                Err(format!("no answer from the coordinator within {limit:?}"))
            }
        }
    }

    async fn find(&self) -> Result<BrokerId, String> {
        let belief = *self.lock();
        let told = match belief {
            Belief::Found(id) => Some(id),
            Belief::AsTheMembership => self.group.borrow().coordinator,
            Belief::Another => None,
        };
        let id = match told {
            Some(id) => id,
            None => self.cluster.find_coordinator(&self.group_id).await.map_err(|error| error.to_string())?,
        };
        *self.lock() = Belief::Found(id);
        Ok(id)
    }

    async fn send<R: Exchange>(&self, request: R, limit: Duration) -> Result<R::Response, String> {
        let id = self.find().await?;
        let connection = self.cluster.connect_or_take_over(id, Purpose::Coordinator, Purpose::Rebalance).await;
        let connection = connection.map_err(|error| error.to_string())?;
        connection.request(request, limit).await.map_err(|error| error.to_string())
    }

    /// Looks at an error in an answer: some say that the coordinator is elsewhere.
    pub(crate) fn heed(&self, error: ErrorCode) {
        if error.class() == ErrorClass::RefreshCoordinator {
            self.forget();
        }
    }

    fn forget(&self) {
        *self.lock() = Belief::Another;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Belief> {
        self.belief.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
