//! What could not be parsed, kept.
