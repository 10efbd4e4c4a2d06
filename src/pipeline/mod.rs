//! Where Kafka and incidents meet: from a record to a committed offset.
