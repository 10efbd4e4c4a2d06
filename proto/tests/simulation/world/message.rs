//! What travels: requests, replies, and the events of the world.

use std::sync::Arc;

use kafka_proto::error_code::ErrorCode;
use kafka_proto::id::{BrokerId, Generation, TopicPartition};
use kafka_proto::membership::{Answer, AskId, HeartbeatAsk, JoinAsk, LeaveAsk, SyncAsk};

use super::process::Connection;

/// Which request of which process an answer belongs to.
#[derive(Clone, Debug)]
pub(crate) struct ReplyTo {
    pub(super) slot: usize,
    pub(super) incarnation: u64,
    pub(super) token: Token,
}

#[derive(Clone, Debug)]
pub(super) enum Token {
    Ask(AskId),
    Commit(u64),
    Offsets(u64),
}

#[derive(Clone, Debug)]
pub(crate) enum Reply {
    Machine(Answer),
    Committed(ErrorCode, Generation),
    Offsets(Vec<(TopicPartition, i64)>),
    Unavailable,
}

#[derive(Clone, Debug)]
pub(super) enum Request {
    Join(JoinAsk),
    Sync(SyncAsk),
    Heartbeat(HeartbeatAsk),
    Leave(LeaveAsk),
    Commit { member_id: Arc<str>, generation: Generation, offsets: Vec<(TopicPartition, i64)> },
    Offsets(Vec<TopicPartition>),
}

#[derive(Clone, Debug)]
pub(super) enum Event {
    Arrive { broker: BrokerId, on: Connection, to: ReplyTo, request: Request },
    Answer { to: ReplyTo, reply: Reply },
    Tick { slot: usize, incarnation: u64 },
    Work { slot: usize, incarnation: u64 },
    Revoked { slot: usize, incarnation: u64, id: AskId },
    Polled { slot: usize, incarnation: u64 },
    Topics { slot: usize, incarnation: u64, count: i32 },
    Start { slot: usize },
    Coordinator,
    Chaos,
    Produce,
}
