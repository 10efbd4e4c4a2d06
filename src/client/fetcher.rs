//! Fetches records from leaders into bounded queues.
