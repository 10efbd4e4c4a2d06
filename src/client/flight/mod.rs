//! The flight recorder: the decisive steps of the protocol, the newest of them, for whoever has to explain afterwards why a
//! consumer did what it did.
//!
//! Promised: fixed memory (see [`ring`]); nothing secret, because only what was decided is written, never what was sent to
//! log in; nothing on the way of a record, because a step is something that does not happen while all is well. Written
//! into the log when the consumer ends for good and when it fences itself. Absent: any reader that decides by it.

mod ring;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use kafka_proto::id::TopicPartition;

use ring::Ring;

/// One decisive step. Given by `ConsumerHandle::flight_recorder`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FlightEntry {
    /// Counts the steps of this consumer from 0; a gap is what has made room for newer ones.
    pub number: u64,
    /// When, on the clock that never goes back.
    pub at: Instant,
    /// When, on the clock of the machine.
    pub time: SystemTime,
    /// What.
    pub step: FlightStep,
    /// With whom, about what and why, in words: at most 240 bytes of one line, without secrets.
    pub detail: Box<str>,
    /// How often it happened, equal to the letter.
    pub times: u32,
    /// When it happened last; the same as `at` unless it was repeated.
    pub last_at: Instant,
}

/// What kind of step it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum FlightStep {
    /// A `JoinGroup` was sent, for this reason (KIP-800).
    Joining,
    /// The member's state in the group changed.
    State,
    /// The group's coordinator was found, or is being looked for.
    Coordinator,
    /// The coordinator refused a request of the membership, or did not answer it.
    GroupRefused,
    /// An assignment arrived.
    Assigned,
    /// A rebalance takes partitions.
    Revoking,
    /// The application has given them up, or its time was over.
    Revoked,
    /// Partitions are gone without a last word; the member fenced itself, or others did.
    Lost,
    /// The application did not ask for records within `max.poll.interval.ms`.
    PollIntervalPassed,
    /// The group does not take a commit.
    CommitRefused,
    /// The consumer cannot go on.
    Ended,
    /// A broker was reached: name, address and login included.
    Connected,
    /// A broker could not be reached.
    Unreachable,
    /// A broker refuses our credentials, or fails its own.
    AuthenticationFailed,
    /// A connection is over.
    Disconnected,
    /// A broker asked for a pause (KIP-219).
    Throttled,
    /// All brokers were forgotten, the bootstrap servers are asked (KIP-899, KIP-1102).
    Rebootstrap,
    /// Partitions have another leader.
    LeaderMoved,
    /// A broker refused a fetch or a question about offsets, or did not answer it.
    Refused,
    /// A position was not taken from a commit, or could not be kept.
    PositionReset,
    /// A log was cut below what was read from it (KIP-320).
    Truncated,
    /// An unreadable batch was passed over.
    Skipped,
    /// A partition was given up until its next assignment.
    Parked,
    /// A topic was deleted and created again.
    TopicRecreated,
}

impl FlightStep {
    /// Its name for programs: lower case, with underscores.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Joining => "joining",
            Self::State => "state",
            Self::Coordinator => "coordinator",
            Self::GroupRefused => "group_refused",
            Self::Assigned => "assigned",
            Self::Revoking => "revoking",
            Self::Revoked => "revoked",
            Self::Lost => "lost",
            Self::PollIntervalPassed => "poll_interval_passed",
            Self::CommitRefused => "commit_refused",
            Self::Ended => "ended",
            Self::Connected => "connected",
            Self::Unreachable => "unreachable",
            Self::AuthenticationFailed => "authentication_failed",
            Self::Disconnected => "disconnected",
            Self::Throttled => "throttled",
            Self::Rebootstrap => "rebootstrap",
            Self::LeaderMoved => "leader_moved",
            Self::Refused => "refused",
            Self::PositionReset => "position_reset",
            Self::Truncated => "truncated",
            Self::Skipped => "skipped",
            Self::Parked => "parked",
            Self::TopicRecreated => "topic_recreated",
        }
    }

    /// Whether it tells of the membership, and not of brokers and partitions.
    pub const fn is_of_the_group(self) -> bool {
        match self {
            Self::Joining
            | Self::State
            | Self::Coordinator
            | Self::GroupRefused
            | Self::Assigned
            | Self::Revoking
            | Self::Revoked
            | Self::Lost
            | Self::PollIntervalPassed
            | Self::CommitRefused
            | Self::Ended => true,
            Self::Connected
            | Self::Unreachable
            | Self::AuthenticationFailed
            | Self::Disconnected
            | Self::Throttled
            | Self::Rebootstrap
            | Self::LeaderMoved
            | Self::Refused
            | Self::PositionReset
            | Self::Truncated
            | Self::Skipped
            | Self::Parked
            | Self::TopicRecreated => false,
        }
    }
}

impl fmt::Display for FlightStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where the parts of a client write their steps. Shared by all of them; held for some microseconds at a time.
#[derive(Debug)]
pub(crate) struct FlightRecorder {
    ring: Mutex<Ring>,
}

impl Default for FlightRecorder {
    fn default() -> Self {
        Self { ring: Mutex::new(Ring::new()) }
    }
}

impl FlightRecorder {
    /// Keeps a step, now. The detail must hold nothing secret; it is cut where it is too long.
    pub(crate) fn record(&self, step: FlightStep, detail: impl fmt::Display) {
        self.lock().push(Instant::now(), SystemTime::now(), step, &detail);
    }

    /// What is kept, oldest first.
    pub(crate) fn entries(&self) -> Vec<FlightEntry> {
        self.lock().since(0)
    }

    /// How often each step was taken since the start.
    pub(crate) fn counts(&self) -> BTreeMap<FlightStep, u64> {
        self.lock().counts().clone()
    }

    /// Writes into the log what it does not hold yet: the story of a failure, told once.
    pub(crate) fn dump(&self, why: &dyn fmt::Display) {
        let entries = self.lock().take_unlogged();
        let now = Instant::now();
        tracing::warn!(steps = entries.len(), "flight recorder: {why}");
        for FlightEntry { number, at, step, detail, times, .. } in entries {
            let seconds_ago = now.saturating_duration_since(at).as_secs_f64();
            tracing::warn!(number, seconds_ago, %step, times, "flight recorder: {detail}");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Partitions in a line: the first few by name, the others by number.
pub(crate) struct Named<'a>(pub(crate) &'a [TopicPartition]);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMED_MAX: usize = 5;
        for (index, partition) in self.0.iter().take(NAMED_MAX).enumerate() {
            write!(f, "{}{partition}", if index == 0 { "" } else { ", " })?;
        }
        match self.0.len() {
            0 => f.write_str("no partition"),
            1..=NAMED_MAX => Ok(()),
            all => write!(f, " and {} more", all.saturating_sub(NAMED_MAX)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_named_and_then_counted() {
        let all: Vec<_> = (0..7).map(|number| TopicPartition::new("t", number)).collect();
        assert_eq!(Named(&[]).to_string(), "no partition");
        assert_eq!(Named(&all[..2]).to_string(), "t-0, t-1");
        assert_eq!(Named(&all).to_string(), "t-0, t-1, t-2, t-3, t-4 and 2 more");
    }

    #[test]
    fn a_step_is_written_into_the_log_once() {
        let recorder = FlightRecorder::default();
        recorder.record(FlightStep::Joining, "first join");
        recorder.dump(&"a test");
        assert_eq!(recorder.lock().unlogged, 1);
        recorder.record(FlightStep::Lost, "t-0");
        let unlogged = recorder.lock().take_unlogged();
        assert_eq!(unlogged.iter().map(|entry| entry.step).collect::<Vec<_>>(), [FlightStep::Lost]);
        assert_eq!(recorder.entries().len(), 2);
    }
}
