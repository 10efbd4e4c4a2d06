//! How long a replica may believe that no other one takes its episodes over. Time is an argument.

use std::time::Duration;

/// Of a lease, what is not used: for clocks that do not run alike, and for the way from the last look at the clock to the network.
const MARGIN: u32 = 5;

/// The lease of this replica. It begins with a sign of life that was acknowledged, and counts from when that was *sent*:
/// nobody can have heard of it earlier. All times are of one monotonic clock.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Lease {
    length: Duration,
    /// When the last acknowledged sign of life was sent.
    sent: Option<Duration>,
    /// How often it ran out before the next sign of life was acknowledged.
    lapses: u64,
}

/// The right to start something, for as long as the lease does not run out. It does not come back: a process that was
/// stopped and has renewed its lease since must not start what it meant to start before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Turn(u64);

impl Turn {
    /// Where nobody else could act, it never ends.
    pub(crate) const ALONE: Self = Self(0);
}

impl Lease {
    /// A lease of this length that has not begun.
    pub(crate) const fn new(length: Duration) -> Self {
        Self { length, sent: None, lapses: 0 }
    }

    /// A sign of life that was sent then is acknowledged now.
    pub(crate) fn acknowledged(&mut self, sent: Duration, now: Duration) {
        if self.sent.is_some() && self.left(now).is_none() {
            self.lapses = self.lapses.saturating_add(1);
        }
        self.sent = self.sent.max(Some(sent));
    }

    /// How much of it is left; none: it has run out, or never began.
    pub(crate) fn left(&self, now: Duration) -> Option<Duration> {
        let used = self.length.saturating_sub(self.length.checked_div(MARGIN).unwrap_or_default());
        self.sent?.saturating_add(used).checked_sub(now).filter(|left| !left.is_zero())
    }

    /// The right to start something now.
    pub(crate) fn turn(&self, now: Duration) -> Option<Turn> {
        self.left(now).map(|_| Turn(self.lapses))
    }

    /// Whether a right that was had before still is.
    pub(crate) fn holds(&self, turn: Turn, now: Duration) -> bool {
        self.turn(now) == Some(turn)
    }

    /// The same as if it had never run out. For who holds no [`Turn`] there is no difference.
    #[cfg(test)]
    pub(crate) const fn forget_lapses(&mut self) {
        self.lapses = 0;
    }

    /// The same on a clock that goes on by `by` and shows `now` all the time; what has run out is all alike.
    #[cfg(test)]
    pub(crate) fn aged(&mut self, by: Duration, now: Duration) {
        let oldest = now.saturating_sub(self.length);
        self.sent = self.sent.map(|sent| sent.saturating_sub(by).max(oldest));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn it_counts_from_when_the_sign_of_life_was_sent_less_a_margin() {
        let mut lease = Lease::new(s(10));
        assert_eq!(lease.turn(s(1)), None);
        lease.acknowledged(s(1), s(4));
        assert_eq!(lease.left(s(4)), Some(s(5)));
        assert!(lease.turn(s(8)).is_some() && lease.turn(s(9)).is_none());
    }

    #[test]
    fn a_right_from_before_a_lapse_is_gone_for_good() {
        let mut lease = Lease::new(s(10));
        lease.acknowledged(s(1), s(1));
        let turn = lease.turn(s(2)).unwrap();
        lease.acknowledged(s(5), s(6));
        assert!(lease.holds(turn, s(7)), "renewed in time");
        // Stopped for a while; the renewal that was under way is acknowledged on waking, before anybody looks.
        lease.acknowledged(s(12), s(14));
        assert!(!lease.holds(turn, s(14)) && lease.turn(s(14)).is_some());
    }
}
