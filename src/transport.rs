//! The HTTP client of actions and secrets.
