//! The requests the brokers saw, for assertions on rates and content.
//!
//! Promised: a request is noted when it arrives, before any fault or handler touches it. Bounded: of each API the newest
//! [`KEPT`] requests are kept with their content, all are counted.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use kafka_protocol::messages::ApiKey;

use crate::wire::Request;

/// How many requests of one API are kept.
const KEPT: usize = 5_000;

/// One request as a broker saw it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SeenRequest {
    /// When the frame was complete.
    pub at: Instant,
    /// The broker that got it.
    pub broker: i32,
    /// The connection it came on; unique in the cluster.
    pub connection: u64,
    /// Version of the request.
    pub version: i16,
    /// Correlation id of the request.
    pub correlation_id: i32,
    /// Client id of the header.
    pub client_id: Option<String>,
    /// The body; raw bytes of records in it are shared, not copied.
    pub request: Request,
}

/// The log of requests.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    of_api: HashMap<ApiKey, Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    count: usize,
    newest: VecDeque<SeenRequest>,
}

impl Journal {
    /// Notes one.
    pub(crate) fn note(&mut self, seen: SeenRequest) {
        let of_api = self.of_api.entry(seen.request.api_key()).or_default();
        of_api.count += 1;
        if of_api.newest.len() == KEPT {
            of_api.newest.pop_front();
        }
        of_api.newest.push_back(seen);
    }

    /// The kept requests of one API, oldest first.
    pub(crate) fn requests(&self, api: ApiKey) -> Vec<SeenRequest> {
        self.of_api.get(&api).map(|seen| seen.newest.iter().cloned().collect()).unwrap_or_default()
    }

    /// How many requests of one API were seen in all.
    pub(crate) fn count(&self, api: ApiKey) -> usize {
        self.of_api.get(&api).map_or(0, |seen| seen.count)
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.of_api.clear();
    }
}
