//! Typed settings under Kafka's names.
