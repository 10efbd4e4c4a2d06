//! Requests to the group's coordinator, wherever it is at the moment.
//!
//! Used for offsets only: the membership has a connection of its own, which a slow commit must not delay. The coordinator
//! is forgotten on any sign that it is another one, a failed dial included (fault G10), and looked up again by the next
//! request. Absent: retries; the caller knows its deadline and its back-off.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kafka_proto::error_code::{ErrorClass, ErrorCode};
use kafka_proto::id::BrokerId;

use crate::client::cluster::{Cluster, Purpose};
use crate::client::request::Exchange;

pub(crate) struct Coordinator {
    cluster: Cluster,
    group_id: Arc<str>,
    known: Mutex<Option<BrokerId>>,
}

impl Coordinator {
    pub(crate) fn new(cluster: Cluster, group_id: Arc<str>) -> Self {
        Self { cluster, group_id, known: Mutex::new(None) }
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

    /// Finds the coordinator and opens a connection to it, before anything is to be asked. What fails is left to the first
    /// request.
    pub(crate) async fn warm(&self) {
        if let Ok(id) = self.find().await {
            self.cluster.warm(id, Purpose::Coordinator).await;
        }
    }

    async fn find(&self) -> Result<BrokerId, String> {
        let known = *self.lock();
        let id = match known {
            Some(id) => id,
            None => self.cluster.find_coordinator(&self.group_id).await.map_err(|error| error.to_string())?,
        };
        *self.lock() = Some(id);
        Ok(id)
    }

    async fn send<R: Exchange>(&self, request: R, limit: Duration) -> Result<R::Response, String> {
        let id = self.find().await?;
        let connection = self.cluster.connect(id, Purpose::Coordinator).await.map_err(|error| error.to_string())?;
        connection.request(request, limit).await.map_err(|error| error.to_string())
    }

    /// Looks at an error in an answer: some say that the coordinator is elsewhere.
    pub(crate) fn heed(&self, error: ErrorCode) {
        if error.class() == ErrorClass::RefreshCoordinator {
            self.forget();
        }
    }

    fn forget(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<BrokerId>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
