//! Looks at files that others replace while the process runs: again and again, by their content.
//!
//! Platforms replace files by renaming and by swapping symbolic links, so neither a date nor an inode says that something is
//! new, and an event about the old one never comes. What to make of a look is the caller's to say.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// One way of reading something from disk, used again and again. Cheap to clone.
pub struct Looks<T> {
    read: Arc<dyn Fn() -> T + Send + Sync>,
}

impl<T> Clone for Looks<T> {
    fn clone(&self) -> Self {
        Self { read: Arc::clone(&self.read) }
    }
}

impl<T> fmt::Debug for Looks<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Looks")
    }
}

impl<T: Send + 'static> Looks<T> {
    /// `read` may wait for the disk: it runs on a thread that may.
    pub fn new(read: impl Fn() -> T + Send + Sync + 'static) -> Self {
        Self { read: Arc::new(read) }
    }

    /// What is there; `None` when the look panicked or the process ends.
    pub async fn now(&self) -> Option<T> {
        let read = Arc::clone(&self.read);
        tokio::task::spawn_blocking(move || read()).await.ok()
    }

    /// What is there after a while. Cancel-safe.
    pub async fn after(&self, wait: Duration) -> Option<T> {
        tokio::time::sleep(wait).await;
        self.now().await
    }
}
