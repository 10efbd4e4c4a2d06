//! What is asked right before an attempt, in this order: the kill switch, then the right to the partition.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::ledger::AppendError;
use crate::pipeline::domain::Domain;
use crate::pipeline::feed::Right;
use crate::pipeline::observe::Halt;

/// How often the kill switch is looked at while it is engaged.
pub(crate) const LOOKS_EVERY: Duration = Duration::from_millis(500);
/// How much of the kill switch's text is told.
const REASON_CHARS_MAX: usize = 200;

/// Why a record cannot be finished here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Interrupt {
    /// The partition or the process is going away: whoever reads the record next goes on.
    Dropped(String),
    /// Another replica has written about one of its episodes since: it is begun anew, from where the ledger stands.
    Again(String),
    /// The pipeline cannot go on.
    Broken(String),
}

impl From<AppendError> for Interrupt {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Closed => Self::Dropped(error.to_string()),
            AppendError::Lost { .. } => Self::Again(error.to_string()),
            AppendError::Contradiction { .. } | AppendError::Broken { .. } => Self::Broken(error.to_string()),
        }
    }
}

/// Waits while the kill switch is engaged, then checks the right. `Ok` holds for this moment and must be used at once.
pub(crate) async fn pass<R: Right>(domain: &Domain, right: &R, stop: &CancellationToken) -> Result<Passed, Interrupt> {
    let mut passed = Passed::AtOnce;
    while let Some(reason) = engaged(domain).await {
        if domain.status.halt(Halt::KillSwitch, Some(format!("paused: {reason}"))) {
            tracing::warn!(reason, "the kill switch is engaged: nothing starts until its file is removed");
        }
        passed = Passed::AfterPause;
        pause(LOOKS_EVERY, stop).await?;
    }
    if domain.status.halt(Halt::KillSwitch, None) {
        tracing::warn!("the kill switch is released");
    }
    ours(right, stop)?;
    Ok(passed)
}

/// Whether there was anything to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passed {
    AtOnce,
    /// What was decided before may not be true any more.
    AfterPause,
}

/// The right alone, for the moment after the attempt was recorded.
pub(crate) fn ours<R: Right>(right: &R, stop: &CancellationToken) -> Result<(), Interrupt> {
    if stop.is_cancelled() {
        return Err(stopping());
    }
    right.check().map_err(|gone| Interrupt::Dropped(gone.to_string()))
}

/// Sleeps, unless the work is called off.
pub(crate) async fn pause(length: Duration, stop: &CancellationToken) -> Result<(), Interrupt> {
    tokio::select! {
        biased;
        () = stop.cancelled() => Err(stopping()),
        () = tokio::time::sleep(length) => Ok(()),
    }
}

/// Waits for something, unless the work is called off.
pub(crate) async fn unless_stopped<T>(
    stop: &CancellationToken,
    wait: impl Future<Output = T> + Send,
) -> Result<T, Interrupt> {
    tokio::select! {
        biased;
        () = stop.cancelled() => Err(stopping()),
        value = wait => Ok(value),
    }
}

fn stopping() -> Interrupt {
    Interrupt::Dropped("the partition is being given back".to_owned())
}

/// The reason in the kill switch's file. A file that is there and cannot be read counts: in doubt nothing starts.
async fn engaged(domain: &Domain) -> Option<String> {
    switched_on(domain.kill_switch_file.as_deref()?).await
}

/// The reason in one kill switch's file.
pub(crate) async fn switched_on(path: &Path) -> Option<String> {
    match tokio::fs::read(path).await {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            let line: String =
                text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(REASON_CHARS_MAX).collect();
            Some(if line.is_empty() { format!("{} exists", path.display()) } else { line })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => Some(format!("{} cannot be read: {error}", path.display())),
    }
}
