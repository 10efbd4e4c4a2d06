//! Kafka's error codes and what each asks of a client.
