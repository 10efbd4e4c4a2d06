//! What stands around the service in a test: a real Kafka, the service as a process, the target of its webhooks.

pub(crate) mod cable;
pub(crate) mod desk;
pub(crate) mod kafka;
pub(crate) mod namespace;
pub(crate) mod port;
pub(crate) mod process;
pub(crate) mod produce;
pub(crate) mod settings;
pub(crate) mod target;
pub(crate) mod wire;
