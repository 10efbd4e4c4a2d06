//! The life of the service: start, run, drain.
