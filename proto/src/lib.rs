//! Kafka as arithmetic.
//!
//! Record batches, compression, SCRAM, group membership, assignment, fetch sessions, transactions, sequence numbers,
//! offset progress, back-off and error classes. Time and entropy are arguments; there is no socket, clock, randomness,
//! environment or logging in here, so every behaviour can be replayed.

pub mod assignor;
pub mod backoff;
pub mod buffers;
pub mod compression;
pub mod error_code;
pub mod fetch_session;
pub mod id;
pub mod idempotence;
pub mod membership;
pub mod progress;
pub mod read_committed;
mod reader;
pub mod record;
pub mod scram;
