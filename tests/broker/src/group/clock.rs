//! The clock of all groups of a cluster: one task that sleeps until the next deadline.

use std::sync::Arc;
use std::time::Instant;

use tokio::time::sleep_until;

use crate::state::Shared;

/// Runs until the double ends.
pub(crate) async fn run(shared: Arc<Shared>) {
    loop {
        let next = shared.lock().groups.values().filter_map(super::Group::next_deadline).min();
        let due = async {
            match next {
                Some(deadline) => sleep_until(deadline.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = due => {}
            () = shared.group_deadlines.notified() => {}
        }
        let mut state = shared.lock();
        let (settings, now) = (state.group_settings, Instant::now());
        for group in state.groups.values_mut() {
            group.expire(&settings, now);
        }
    }
}
