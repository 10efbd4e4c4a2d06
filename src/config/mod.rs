//! Settings as written, then a configuration that is valid.
