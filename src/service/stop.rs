//! Being asked to stop: SIGTERM or SIGINT once means drain, a second time means now; a panic means drain and fail.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::telemetry::Panics;

/// How long a drain may take. The pod's grace period is twice that.
pub(super) const DRAIN_DEADLINE: Duration = Duration::from_mins(1);

/// Why the service should stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Why {
    /// A signal, by name.
    Signal(&'static str),
    /// Something panicked.
    Panic(String),
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Signal(name) => write!(f, "{name} received"),
            Self::Panic(what) => write!(f, "a panic: {what}"),
        }
    }
}

/// The signals and panics of the process. Each call of [`Stop::asked`] takes the next one.
pub(super) struct Stop {
    terminate: Signal,
    interrupt: Signal,
    /// Gone once a panic has been told: afterwards only signals are.
    panics: Option<Panics>,
}

impl Stop {
    /// From here on the signals no longer kill the process.
    pub(super) fn listen() -> std::io::Result<Self> {
        let terminate = signal(SignalKind::terminate())?;
        let interrupt = signal(SignalKind::interrupt())?;
        Ok(Self { terminate, interrupt, panics: Some(Panics::watch()) })
    }

    /// Waits for the next reason to stop. Cancel-safe.
    pub(super) async fn asked(&mut self) -> Why {
        tokio::select! {
            Some(()) = self.terminate.recv() => Why::Signal("SIGTERM"),
            Some(()) = self.interrupt.recv() => Why::Signal("SIGINT"),
            what = first_panic(self.panics.as_mut()) => {
                self.panics = None;
                Why::Panic(what)
            }
        }
    }

    /// Waits for a second signal, which means: at once. Cancel-safe.
    pub(super) async fn insisted(&mut self) -> Why {
        loop {
            match self.asked().await {
                why @ Why::Signal(_) => return why,
                Why::Panic(what) => tracing::error!(panic = what, "a panic while draining"),
            }
        }
    }
}

async fn first_panic(panics: Option<&mut Panics>) -> String {
    match panics {
        Some(panics) => panics.first().await,
        None => std::future::pending().await,
    }
}
