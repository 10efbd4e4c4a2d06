//! Fetches records from leaders into bounded queues.
//!
//! Here are the parts that only decide: [`partition`], the life of one assigned partition; [`digest`], what the bytes of a
//! response mean; [`broker`], one fetch in flight per broker; [`wait`], how long it may wait there. The engine of the consumer owns them and does what they say:
//! it sends the next fetch before anything of the last one is decompressed, which happens in the application's task.

mod broker;
mod digest;
mod partition;
mod wait;

pub(crate) use broker::{Broker, FetchFailure, Fetching, InFlight, LongPoll, Sent, TopicIds, Wanted, fetch, name_of};
pub(crate) use digest::{Damage, DamageKind, End, damage_of, digest};
pub(crate) use partition::{Effect, Leader, Origin, Partition, Policies, Position, Stage, Work};
pub(crate) use wait::FetchWait;
