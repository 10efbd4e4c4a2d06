//! A password that cannot be printed by accident, and where it comes from.

use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

/// A secret text: prints as `***`, wiped from memory when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the text over.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text itself, for the one place that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A password could not be read. The text says from where and why, and holds nothing of the password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PasswordError(pub String);

/// Where the password comes from. Read at every authentication, so that a rotated one is found without a restart;
/// reading may block, it happens off the runtime's threads.
#[derive(Clone)]
pub struct PasswordSource {
    read: Arc<dyn Fn() -> Result<Secret, PasswordError> + Send + Sync>,
    refused: Arc<dyn Fn() + Send + Sync>,
}

impl PasswordSource {
    /// Reads by calling `read` each time.
    pub fn from_fn(read: impl Fn() -> Result<Secret, PasswordError> + Send + Sync + 'static) -> Self {
        Self { read: Arc::new(read), refused: Arc::new(|| {}) }
    }

    /// The same, which is told when a broker has refused what was read last: whoever keeps passwords lets go of this one.
    #[must_use]
    pub fn on_refused(mut self, told: impl Fn() + Send + Sync + 'static) -> Self {
        self.refused = Arc::new(told);
        self
    }

    /// Reads it now.
    pub fn read(&self) -> Result<Secret, PasswordError> {
        (self.read)()
    }

    pub(crate) fn refused(&self) {
        (self.refused)();
    }
}

impl From<Secret> for PasswordSource {
    fn from(secret: Secret) -> Self {
        Self::from_fn(move || Ok(secret.clone()))
    }
}

impl From<&str> for PasswordSource {
    fn from(text: &str) -> Self {
        Self::from(Secret::new(text))
    }
}

impl fmt::Debug for PasswordSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn a_secret_prints_as_three_stars() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret} {secret:?} {:?}", PasswordSource::from("x")), "*** *** ***");
        assert_eq!(secret.reveal(), "hunter2");
    }

    #[test]
    fn a_source_is_asked_every_time() {
        let reads = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&reads);
        let source =
            PasswordSource::from_fn(move || Ok(Secret::new(counted.fetch_add(1, Ordering::Relaxed).to_string())));
        assert_eq!(source.read().unwrap().reveal(), "0");
        assert_eq!(source.read().unwrap().reveal(), "1");
    }
}
