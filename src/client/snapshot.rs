//! What an operator may ask at any time.
//!
//! Plain values, taken without stopping anything: the partitions of one snapshot may be some milliseconds apart.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use kafka_proto::error_code::ErrorCode;
use kafka_proto::id::{BrokerId, Generation, LeaderEpoch, Offset, TopicPartition};

use crate::client::cluster::BrokerConnection;
use crate::client::flight::FlightStep;

/// The consumer as it is now.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Snapshot {
    /// When it was taken.
    pub taken_at: SystemTime,
    /// The group and this member of it.
    pub group: GroupSnapshot,
    /// The assigned partitions, by name.
    pub partitions: Vec<PartitionSnapshot>,
    /// The brokers and the connections to them.
    pub connections: Vec<BrokerConnection>,
    /// Why the last refresh of the metadata failed, until one succeeds.
    pub metadata_error: Option<String>,
    /// Subscribed topics of which the brokers say something is wrong: unknown, not authorized.
    pub topics_in_error: Vec<(String, ErrorCode)>,
    /// Bytes that were fetched and wait for `Consumer::next`, of all partitions.
    pub buffered_bytes: usize,
    /// What happened since the start.
    pub counters: Counters,
    /// How often each step of the flight recorder was taken since the start.
    pub steps: BTreeMap<FlightStep, u64>,
}

/// The group, as this member sees it.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct GroupSnapshot {
    /// Kafka's name of the member's state: `Unjoined`, `PreparingRebalance`, `CompletingRebalance` or `Stable`.
    pub state: String,
    /// The id that the coordinator gave.
    pub member_id: Option<String>,
    /// The generation.
    pub generation: Option<Generation>,
    /// The coordinator, if one is known.
    pub coordinator: Option<BrokerId>,
    /// How long the member may still believe in its session without another heartbeat.
    pub session_left: Option<Duration>,
    /// What keeps the member from being stable, in words.
    pub last_error: Option<String>,
    /// How often a join was sent, by reason: `first_join`, `group_rebalancing`, `topics_changed` and so on.
    pub joins: BTreeMap<&'static str, u64>,
    /// Why the last one was sent, in words (KIP-800).
    pub last_join: Option<String>,
}

/// One assigned partition.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartitionSnapshot {
    /// The partition.
    pub partition: TopicPartition,
    /// Whether it is fetched, and if not, why not.
    pub state: FetchState,
    /// The next offset to fetch.
    pub position: Option<Offset>,
    /// The offset after the last one that `Consumer::next` returned.
    pub delivered: Option<Offset>,
    /// The last committed offset that this consumer saw.
    pub committed: Option<Offset>,
    /// The end of what is replicated, as of the last fetch.
    pub high_watermark: Option<Offset>,
    /// The end of what a `read_committed` reader may see, as of the last fetch.
    pub last_stable_offset: Option<Offset>,
    /// The first offset of the log, as of the last fetch.
    pub log_start: Option<Offset>,
    /// Records that were not returned yet.
    pub lag_records: Option<u64>,
    /// The age of the last record that was returned, while there is a lag.
    pub lag: Option<Duration>,
    /// Bytes that were fetched and not returned.
    pub buffered_bytes: usize,
    /// The broker to fetch from.
    pub leader: Option<BrokerId>,
    /// The epoch of that leader.
    pub leader_epoch: Option<LeaderEpoch>,
}

/// Why a partition is, or is not, being fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FetchState {
    /// A fetch is under way, or will be with the next round.
    Fetching,
    /// The group's committed offset is being asked for.
    AwaitingCommittedOffset,
    /// A new position is being asked for at the leader.
    Resetting,
    /// The position was refused as out of range; the leader is asked for the bounds of its log.
    CheckingRange,
    /// The leader changed; it is asked whether its log agrees with what was read (KIP-320).
    Validating,
    /// No leader is known; metadata is being asked for.
    AwaitingLeader,
    /// The application paused it.
    Paused,
    /// As much is queued as `queued.max.bytes` of the partition allows.
    QueueFull,
    /// The last try failed; the next one is due in `retry_in`.
    BackingOff {
        /// What failed.
        error: String,
        /// How long until the next try.
        retry_in: Duration,
    },
    /// Given up until the partition is assigned again.
    Parked(ParkCause),
}

impl FetchState {
    /// Every [`FetchState::name`].
    pub const NAMES: [&str; 10] = [
        "fetching",
        "awaiting_committed_offset",
        "resetting",
        "checking_range",
        "validating",
        "awaiting_leader",
        "paused",
        "queue_full",
        "backing_off",
        "parked",
    ];

    /// The state without what it holds, for programs: lower case, with underscores.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Fetching => "fetching",
            Self::AwaitingCommittedOffset => "awaiting_committed_offset",
            Self::Resetting => "resetting",
            Self::CheckingRange => "checking_range",
            Self::Validating => "validating",
            Self::AwaitingLeader => "awaiting_leader",
            Self::Paused => "paused",
            Self::QueueFull => "queue_full",
            Self::BackingOff { .. } => "backing_off",
            Self::Parked(_) => "parked",
        }
    }
}

/// Why a partition was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParkCause {
    /// A batch does not pass its checks, also after it was fetched again.
    Corrupt {
        /// Where.
        offset: Offset,
        /// What is wrong.
        what: String,
    },
    /// A batch is larger than `fetch.response.max.bytes` allows.
    TooLarge {
        /// Where.
        offset: Offset,
        /// The bound that it does not fit in, in bytes.
        limit_bytes: usize,
    },
    /// There is no position and `auto.offset.reset = none`.
    NoResetPolicy {
        /// The position that could not be kept, if there was one.
        from: Option<Offset>,
    },
}

/// Counts since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// How often an assignment arrived.
    pub assignments: u64,
    /// Fetch responses.
    pub fetches: u64,
    /// Bytes of records in them.
    pub fetched_bytes: u64,
    /// Records returned.
    pub records: u64,
    /// Responses, or parts of them, that came for an assignment which was over.
    pub stale_fetches: u64,
    /// Batches that were passed over as unreadable.
    pub skipped_batches: u64,
    /// Offsets stored by the coordinator.
    pub committed_offsets: u64,
    /// Offsets that were not sent because their assignment was over or they would have gone back.
    pub dropped_offsets: u64,
    /// Commits that the group refused because the member was fenced.
    pub fenced_commits: u64,
    /// Positions that were reset.
    pub resets: u64,
    /// Answers that asked for a pause (KIP-219), of all connections.
    pub throttles: u64,
}
