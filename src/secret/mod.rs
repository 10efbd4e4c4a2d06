//! Secrets: unprintable, wiped on drop, fetched by name.
//!
//! | file | what |
//! |---|---|
//! | `text` | a setting in which `$secret:NAME` may stand |
//! | `provider` | where a value comes from, and why it could not be had |
//! | `fetch` | every configured secret by name: fetched, kept for a while, fetched anew when it was refused |
//! | `command` | the provider that runs a program, in a cleaned environment |
//!
//! A [`Secret`] shows as `***` wherever it is printed. A listener is told of every fetched value, so that logs can be
//! scrubbed of it. How the key server is spoken to is not here: somebody hands in a [`KeyServer`].

mod command;
mod fetch;
mod provider;
mod text;

use std::fmt;

use zeroize::Zeroizing;

pub use fetch::{KeyServer, Secrets};
pub use provider::{KeyName, Provider, SecretError};
pub use text::{MARK, Part, SecretText, names, parts};

/// A value that is never printed and is wiped from memory when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a value over.
    pub fn new(value: impl Into<String>) -> Self {
        Self(Zeroizing::new(value.into()))
    }

    /// The value itself, for the one place that needs it.
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
