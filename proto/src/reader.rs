//! A bounds-safe reader over network bytes.
