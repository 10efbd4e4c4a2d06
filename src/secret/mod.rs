//! Secrets: unprintable, wiped on drop, fetched by name.
//!
//! | file | what |
//! |---|---|
//! | `text` | a setting in which `$secret:NAME` may stand |
//! | `provider` | where a value comes from, and why it could not be had |
//! | `fetch` | every configured secret by name: fetched, kept for a while, fetched anew when it was refused |
//! | `command` | the provider that runs a program, in a cleaned environment |
//!
//! A [`Secret`] is the client's: it shows as `***` wherever it is printed. A listener is told of every fetched value, so that logs can be
//! scrubbed of it. How the key server is spoken to is not here: somebody hands in a [`KeyServer`].

mod command;
mod fetch;
mod provider;
mod text;

pub use crate::client::Secret;
pub use fetch::{KeyServer, Secrets};
pub use provider::{KeyName, Provider, SecretError};
pub use text::{MARK, Part, SecretText, names, parts};
