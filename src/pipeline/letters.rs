//! Keeping dead letters, for as long as the disk takes to agree.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::dead_letter::DeadLetter;
use crate::pipeline::domain::Domain;
use crate::pipeline::guard::{Interrupt, pause};
use crate::pipeline::observe::Halt;

/// Wait before dead letters that could not be kept are tried again.
const KEEPS_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Returns when the letters are on disk, or cannot be because the partition is going away.
pub(crate) async fn keep(domain: &Domain, stop: &CancellationToken, letters: Vec<DeadLetter>) -> Result<(), Interrupt> {
    for letter in &letters {
        let DeadLetter { topic, partition, offset, reason, .. } = letter;
        tracing::warn!(topic, partition, offset, reason, "dead letter: the record is no incident");
    }
    let Some(file) = &domain.dead_letters else { return Ok(()) };
    loop {
        match file.keep(letters.clone()).await {
            Ok(()) => {
                domain.status.halt(Halt::DeadLetters, None);
                return Ok(());
            }
            Err(error) => {
                if domain.status.halt(Halt::DeadLetters, Some(error.to_string())) {
                    tracing::error!(%error, "dead letters wait; their partitions are not committed past them");
                }
                pause(KEEPS_AGAIN_AFTER, stop).await?;
            }
        }
    }
}
