//! Partition assignment strategies and the consumer protocol's embedded messages.
