//! The durable record of intents, attempts and outcomes.
