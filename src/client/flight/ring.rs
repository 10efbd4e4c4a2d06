//! The ring itself: the newest steps of each lane, nothing else. Without clock or lock.
//!
//! Promised: the memory is [`STEPS_MAX`] steps of at most [`DETAIL_BYTES_MAX`] bytes of text each, whatever happens and
//! whatever a broker writes; what concerns the membership is never pushed out by the noise of partitions and connections; a
//! storm of equal steps is one of them with a count.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::{self, Write as _};
use std::time::{Instant, SystemTime};

use crate::client::flight::{FlightEntry, FlightStep};

/// Steps that are kept of each lane: the membership's, and all others.
pub(super) const LANE_STEPS_MAX: usize = 256;
/// All that are kept.
#[cfg(test)]
pub(super) const STEPS_MAX: usize = 2 * LANE_STEPS_MAX;
/// Longer texts are cut, the mark of it not counted.
pub(super) const DETAIL_BYTES_MAX: usize = 240;
/// How far back an equal step is looked for, beside the membership's lane: as many brokers as may fail side by side.
const EQUALS_WITHIN: usize = 16;

/// The steps of one consumer.
#[derive(Debug)]
pub(super) struct Ring {
    group: VecDeque<FlightEntry>,
    rest: VecDeque<FlightEntry>,
    next: u64,
    /// The first step that was never taken for the log.
    pub(super) unlogged: u64,
    counts: BTreeMap<FlightStep, u64>,
}

impl Ring {
    /// An empty ring. Its memory is taken now.
    pub(super) fn new() -> Self {
        let lane = || VecDeque::with_capacity(LANE_STEPS_MAX);
        Self { group: lane(), rest: lane(), next: 0, unlogged: 0, counts: BTreeMap::new() }
    }

    /// Keeps a step; the oldest of its lane makes room.
    pub(super) fn push(&mut self, at: Instant, time: SystemTime, step: FlightStep, detail: &dyn fmt::Display) {
        let detail = cut(detail);
        let count = self.counts.entry(step).or_default();
        *count = count.saturating_add(1);
        // The order of the membership's steps tells their story, so only a step that is repeated at once is counted.
        let (lane, within) =
            if step.is_of_the_group() { (&mut self.group, 1) } else { (&mut self.rest, EQUALS_WITHIN) };
        let equal = lane.iter_mut().rev().take(within).find(|known| known.step == step && known.detail == detail);
        if let Some(known) = equal {
            known.times = known.times.saturating_add(1);
            known.last_at = at;
            return;
        }
        if lane.len() == LANE_STEPS_MAX {
            lane.pop_front();
        }
        lane.push_back(FlightEntry { number: self.next, at, time, step, detail, times: 1, last_at: at });
        self.next = self.next.saturating_add(1);
    }

    /// What is kept from that number on, oldest first.
    pub(super) fn since(&self, number: u64) -> Vec<FlightEntry> {
        let all = self.group.iter().chain(&self.rest);
        let mut found: Vec<_> = all.filter(|entry| entry.number >= number).cloned().collect();
        found.sort_by_key(|entry| entry.number);
        found
    }

    /// What was not taken for the log yet, oldest first. Each step comes once.
    pub(super) fn take_unlogged(&mut self) -> Vec<FlightEntry> {
        let unlogged = self.since(self.unlogged);
        self.unlogged = self.next;
        unlogged
    }

    /// How often each step was taken, also by what has made room.
    pub(super) fn counts(&self) -> &BTreeMap<FlightStep, u64> {
        &self.counts
    }

    /// The number that the next step gets.
    #[cfg(test)]
    pub(super) fn next(&self) -> u64 {
        self.next
    }
}

/// The text, cut where it would be too long: a broker's words may be megabytes.
fn cut(detail: &dyn fmt::Display) -> Box<str> {
    let mut text = Cut(String::new());
    if write!(text, "{detail}").is_err() {
        text.0.push('…');
    }
    text.0.into_boxed_str()
}

/// Takes text until there is enough of it; one line, so that a log line stays one.
struct Cut(String);

impl fmt::Write for Cut {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        for letter in more.chars() {
            if self.0.len().saturating_add(letter.len_utf8()) > DETAIL_BYTES_MAX {
                return Err(fmt::Error);
            }
            self.0.push(if letter.is_control() { ' ' } else { letter });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A ring and a clock that moves on by a second with each step.
    struct Rig(Ring, Instant);

    impl Rig {
        fn new() -> Self {
            Self(Ring::new(), Instant::now())
        }

        fn push(&mut self, step: FlightStep, detail: impl fmt::Display) {
            self.1 += Duration::from_secs(1);
            self.0.push(self.1, SystemTime::UNIX_EPOCH, step, &detail);
        }

        fn details(&self) -> Vec<String> {
            self.0.since(0).iter().map(|entry| entry.detail.to_string()).collect()
        }
    }

    #[test]
    fn steps_of_both_lanes_come_out_in_the_order_in_which_they_happened() {
        let mut rig = Rig::new();
        rig.push(FlightStep::Joining, "first join");
        rig.push(FlightStep::Connected, "b1");
        rig.push(FlightStep::Assigned, "t-0");
        assert_eq!(rig.details(), ["first join", "b1", "t-0"]);
        assert_eq!(rig.0.since(1).len(), 2);
        assert_eq!(rig.0.next(), 3);
    }

    #[test]
    fn the_oldest_makes_room_and_noise_never_costs_a_step_of_the_membership() {
        let mut rig = Rig::new();
        rig.push(FlightStep::Joining, "first join");
        for number in 0..10_000 {
            rig.push(FlightStep::PositionReset, number);
        }
        let details = rig.details();
        assert_eq!(details.len(), LANE_STEPS_MAX + 1);
        assert_eq!((details[0].as_str(), details.last().unwrap().as_str()), ("first join", "9999"));
        for number in 0..10_000 {
            rig.push(FlightStep::State, number);
        }
        assert_eq!(rig.details().len(), STEPS_MAX);
        assert_eq!(rig.0.counts().get(&FlightStep::PositionReset), Some(&10_000));
    }

    #[test]
    fn a_storm_of_equal_steps_is_one_with_a_count() {
        let mut rig = Rig::new();
        for number in 0..1_000 {
            rig.push(FlightStep::Refused, number % 3);
        }
        let kept = rig.0.since(0);
        assert_eq!(kept.iter().map(|entry| entry.times).collect::<Vec<_>>(), [334, 333, 333]);
        assert_eq!(kept[0].last_at.duration_since(kept[0].at), Duration::from_secs(999));
    }

    #[test]
    fn steps_of_the_membership_are_counted_only_when_repeated_at_once() {
        let mut rig = Rig::new();
        for detail in ["a", "a", "b", "a"] {
            rig.push(FlightStep::Joining, detail);
        }
        let kept = rig.0.since(0);
        assert_eq!(
            kept.iter().map(|entry| (&*entry.detail, entry.times)).collect::<Vec<_>>(),
            [("a", 2), ("b", 1), ("a", 1)]
        );
    }

    #[test]
    fn a_text_is_cut_at_a_letter_and_stays_one_line() {
        let mut rig = Rig::new();
        rig.push(FlightStep::Unreachable, "é".repeat(1 << 20));
        rig.push(FlightStep::Unreachable, "one\ntwo\u{1b}[31m");
        let details = rig.details();
        assert_eq!(details[0], format!("{}…", "é".repeat(DETAIL_BYTES_MAX / 2)));
        assert_eq!(details[1], "one two [31m");
    }
}
