//! A thread with a runtime of its own, on which a double lives.
//!
//! Promised: the double's timers run on real time even when the test's runtime is paused, and the thread ends, with
//! every socket closed, when the owner is dropped.

use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// Owns the thread; dropping it ends the thread and closes what lives there.
#[derive(Debug)]
pub(crate) struct Background {
    handle: Handle,
    /// Never sent on: its drop is the signal.
    _stop: oneshot::Sender<()>,
}

impl Background {
    /// Starts the thread.
    pub(crate) fn start(name: &str) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime for the double");
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                // An error is the sender's drop, which is what is waited for.
                let _dropped = runtime.block_on(stopped);
                runtime.shutdown_background();
            })
            .expect("a thread for the double");
        Self { handle, _stop: stop }
    }

    /// Where tasks of the double are spawned.
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }
}
