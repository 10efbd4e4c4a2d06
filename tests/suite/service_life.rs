//! The service from start to drain.
