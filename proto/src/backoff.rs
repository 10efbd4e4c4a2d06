//! Exponential back-off with jitter.
//!
//! Doubles from `base` and never exceeds `max`; every delay is spread by 20 % to both sides (as KIP-580 does), at the
//! ceiling too, so that clients that failed together do not come back together. Entropy is an argument. Absent: a
//! clock, a timer, a limit on the number of attempts.

use std::time::Duration;

/// Of the delay, to each side.
const JITTER_PERCENT: u32 = 20;

/// How long to wait before the next attempt; one value per thing that is attempted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backoff {
    base: Duration,
    max: Duration,
    failures: u32,
}

impl Backoff {
    /// Starts with delays around `base`, ends with delays of at most `max`. A `base` above `max` counts as `max`.
    pub const fn new(base: Duration, max: Duration) -> Self {
        Self { base, max, failures: 0 }
    }

    /// Counts one failure and says how long to wait. `random` is any evenly distributed number.
    pub fn next(&mut self, random: u64) -> Duration {
        let doubled = self.base.saturating_mul(1_u32.checked_shl(self.failures.min(31)).unwrap_or(u32::MAX));
        self.failures = self.failures.saturating_add(1);
        // The middle stays below the ceiling, so that the upper half of the spread fits under it.
        let middle = doubled.min(self.max.saturating_mul(100) / (100 + JITTER_PERCENT));
        let low = middle.saturating_mul(100 - JITTER_PERCENT) / 100;
        let spread = middle.saturating_mul(2 * JITTER_PERCENT) / 100;
        low.saturating_add(scaled(spread, random)).min(self.max)
    }

    /// Forgets the failures: call it when an attempt has succeeded.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// Failures since the start or the last [`reset`](Self::reset).
    pub const fn failures(&self) -> u32 {
        self.failures
    }
}

/// `spread * random / 2^64`, exact to the nanosecond.
fn scaled(spread: Duration, random: u64) -> Duration {
    let nanos = spread.as_nanos().saturating_mul(u128::from(random >> 32)) >> 32;
    u64::try_from(nanos).map_or(spread, Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BASE: Duration = Duration::from_millis(100);
    const MAX: Duration = Duration::from_secs(10);
    const MIDDLE: u64 = u64::MAX / 2 + 1;

    #[test]
    fn doubles_until_the_ceiling() {
        let mut backoff = Backoff::new(BASE, MAX);
        let delays: Vec<_> = (0..9).map(|_| backoff.next(MIDDLE).as_millis()).collect();
        assert_eq!(delays, [100, 200, 400, 800, 1600, 3200, 6400, 8333, 8333]);
    }

    #[test]
    fn starts_over_after_a_success() {
        let mut backoff = Backoff::new(BASE, MAX);
        backoff.next(0);
        backoff.next(0);
        backoff.reset();
        assert_eq!(backoff.failures(), 0);
        assert_eq!(backoff.next(MIDDLE), BASE);
    }

    #[test]
    fn spreads_by_a_fifth_to_both_sides() {
        assert_eq!(Backoff::new(BASE, MAX).next(0), Duration::from_millis(80));
        let longest = Backoff::new(BASE, MAX).next(u64::MAX);
        assert!(longest > Duration::from_micros(119_999) && longest <= Duration::from_millis(120), "{longest:?}");
    }

    #[test]
    fn still_spreads_at_the_ceiling() {
        let mut one = Backoff::new(BASE, MAX);
        let mut other = one.clone();
        for _ in 0..40 {
            one.next(0);
            other.next(u64::MAX);
        }
        assert!(other.next(u64::MAX) > one.next(0) + Duration::from_secs(3));
    }

    proptest! {
        #[test]
        fn is_never_above_the_ceiling(base in 0_u64..100_000, max in 0_u64..1_000_000, random: u64, failures in 0_usize..80) {
            let mut backoff = Backoff::new(Duration::from_millis(base), Duration::from_millis(max));
            for _ in 0..failures {
                prop_assert!(backoff.next(random) <= Duration::from_millis(max));
            }
        }
    }
}
