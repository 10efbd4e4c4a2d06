//! The brokers, by node id, and what they say about topics.
