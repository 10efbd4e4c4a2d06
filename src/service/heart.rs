//! Tells the probes, once a second and through files, that the process lives and whether it is ready.
//!
//! Without the folder (on a developer's machine, say) nothing is written and nothing is missing.

use std::sync::Arc;
use std::time::Duration;

use crate::container::{Heartbeat, Identity, Pulse, Readiness, RuntimeDir};
use crate::http;

use super::surface::Face;

const EVERY: Duration = Duration::from_secs(1);

/// Writes until dropped.
pub(super) async fn beat(dir: RuntimeDir, face: Arc<Face>, pulse: Pulse) {
    let process = match begin(&dir) {
        Ok(process) => process,
        Err(error) => {
            tracing::info!("no files for the probes ({}): {error}", dir.pid_file().display());
            return;
        }
    };
    let mut ticks = tokio::time::interval(EVERY);
    let mut trouble = None;
    loop {
        ticks.tick().await;
        let beat = Heartbeat::now(process.clone(), &pulse, ready(&face));
        let now = beat.write(&dir.heartbeat_file()).err().map(|error| error.to_string());
        // Told once, not once a second.
        if now != trouble
            && let Some(error) = &now
        {
            tracing::warn!("the probes' heartbeat {} cannot be written: {error}", dir.heartbeat_file().display());
        }
        trouble = now;
    }
}

fn begin(dir: &RuntimeDir) -> std::io::Result<Identity> {
    let process = Identity::own()?;
    std::fs::write(dir.pid_file(), format!("{}\n", process.pid))?;
    Ok(process)
}

fn ready(face: &Face) -> Readiness {
    match face.ready() {
        http::Readiness::Ready(_) => Readiness::Ready,
        http::Readiness::NotReady(reasons) => Readiness::NotReady { reasons },
    }
}
