//! The cluster as a test holds it: built, produced to, disturbed, looked into.
//!
//! Every method takes the lock for a moment and returns; none needs a runtime. Closures given to faults run while the
//! double decides on a request: they must not call the cluster.

mod builder;
mod inspect;
mod logins;
mod nodes;
mod produce;
mod topics;

use std::sync::Arc;

use kafka_protocol::messages::ApiKey;

use crate::background::Background;
use crate::fault::FaultBuilder;
use crate::state::Shared;
use crate::tls::{Authority, CertificateFile};

pub use builder::Builder;
pub use produce::Transaction;

/// A cluster of broker doubles. Cloning gives another handle to the same; the last one dropped ends it.
#[derive(Debug, Clone)]
pub struct Cluster {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    authority: Option<(Authority, CertificateFile, Vec<String>)>,
    _background: Background,
}

impl Cluster {
    /// Says what the cluster is like; [`Builder::start`] starts it.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Takes over the next answers of one API.
    pub fn on(&self, api: ApiKey) -> FaultBuilder<'_> {
        FaultBuilder::new(&self.inner.shared, api)
    }

    /// Takes every planted fault away.
    pub fn clear_faults(&self) {
        self.shared().lock().faults.clear();
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.inner.shared
    }
}
