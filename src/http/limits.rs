//! The bounds of the listener, all in one place.

use std::time::Duration;

/// Connections at one time; further ones wait in the kernel's queue.
pub(super) const CONNECTIONS_MAX: usize = 64;

/// How long a client may take to send the head of a request.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// How long one connection may live, however many requests it sends.
pub(super) const CONNECTION_LIFE_MAX: Duration = Duration::from_mins(1);

/// The most bytes of a request's head.
pub(super) const HEAD_BYTES_MAX: usize = 16 * 1024;

/// The most bytes of a request's body: nobody here wants one.
pub(super) const BODY_BYTES_MAX: usize = 0;
