//! A connection that goes on for another purpose, instead of a new one being opened.
//!
//! Promised: it changes hands while nothing is under way on it, and whoever held it before sends nothing more, not even what
//! waited for its turn. So no request of the former holder is ever behind one of the new holder.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::client::connection::{Connection, IN_FLIGHT_MAX};

/// One holder's time with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tenure(u64);

/// Whose time it is.
#[derive(Debug, Default)]
pub(super) struct Tenures(AtomicU64);

impl Tenures {
    /// The present one.
    pub(super) fn present(&self) -> Tenure {
        Tenure(self.0.load(Ordering::Acquire))
    }

    /// Ends the present one; the next.
    fn next(&self) -> Tenure {
        Tenure(self.0.fetch_add(1, Ordering::AcqRel).wrapping_add(1))
    }
}

impl Connection {
    /// The same connection for another holder, once what is under way on it is answered. `None`, and nothing changes, where
    /// that takes longer than `patience`, where a throttle holds, and where requests are refused anyway.
    ///
    /// Cancel-safe.
    pub(crate) async fn hand_over(&self, patience: Duration) -> Option<Self> {
        if self.is_closed() || self.muted_for().is_some() {
            return None;
        }
        let all = u32::try_from(IN_FLIGHT_MAX).ok()?;
        // With every turn in hand nobody is between its last look at the tenure and the wire.
        let turns = tokio::time::timeout(patience, Arc::clone(&self.inner.turns).acquire_many_owned(all)).await;
        let turns = turns.ok()?.ok()?;
        self.inner.usable(self.tenure).ok()?;
        let taken = Self { inner: Arc::clone(&self.inner), tenure: self.inner.tenures.next() };
        drop(turns);
        Some(taken)
    }
}
