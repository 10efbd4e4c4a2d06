//! Numbers with a meaning: offsets, epochs, broker ids, generations; and the name of a partition.
//!
//! Promised: every type is its wire integer and nothing more, so conversions are free in both directions and the
//! ordering is the integer's. Absent: validation; whether a value is possible is judged where it is read.

use std::fmt;
use std::sync::Arc;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl $name {
            /// The integer as it stands on the wire.
            pub const fn get(self) -> $inner {
                self.0
            }
        }

        impl From<$inner> for $name {
            fn from(value: $inner) -> Self {
                Self(value)
            }
        }

        impl From<$name> for $inner {
            fn from(value: $name) -> Self {
                value.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// The place of a record in its partition. A committed offset is the one to be read next.
    Offset(i64)
}

number! {
    /// How many leaders a partition has had (KIP-101); sent with fetches and commits so that truncation is noticed
    /// (KIP-320).
    LeaderEpoch(i32)
}

number! {
    /// The node id of a broker: its identity, whatever its address is at the moment.
    BrokerId(i32)
}

number! {
    /// The generation of a consumer group: counts the group's assignments.
    Generation(i32)
}

impl Offset {
    /// The offset after this one. Stays where it is at the end of the number range, which no log reaches.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl LeaderEpoch {
    /// "Not known": -1 on the wire. Never replaced by 0, which is a real epoch.
    pub const UNKNOWN: Self = Self(-1);
}

impl BrokerId {
    /// "No broker": -1 on the wire, as in a partition without a leader.
    pub const NONE: Self = Self(-1);
}

impl Generation {
    /// "Not in a generation": -1 on the wire.
    pub const NONE: Self = Self(-1);
}

/// A partition of a topic. Cloning shares the name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The number of the partition in the topic, from 0.
    pub partition: i32,
}

impl TopicPartition {
    /// Names a partition.
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_written_as_kafka_writes_it() {
        assert_eq!(TopicPartition::new("incidents", 3).to_string(), "incidents-3");
    }

    #[test]
    fn partitions_are_ordered_by_topic_and_then_by_number() {
        let mut all =
            [TopicPartition::new("b", 0), TopicPartition::new("a", 10), TopicPartition::new("a", 9)].map(Some);
        all.sort();
        assert_eq!(all.map(|p| p.unwrap().to_string()), ["a-9", "a-10", "b-0"]);
    }

    #[test]
    fn the_offset_after_the_last_possible_one_does_not_wrap() {
        assert_eq!(Offset(41).next(), Offset(42));
        assert_eq!(Offset(i64::MAX).next(), Offset(i64::MAX));
    }
}
