//! How long a fetch may wait at its broker: longer and longer while nothing comes.
//!
//! An empty answer costs both sides the same as a full one, so a broker that has nothing is asked less often. The price: nothing
//! can be added to a fetch that waits. So only one that asks for all there is may wait longer than usual, and it is called
//! back when more is wanted.

use std::time::Duration;

/// So many empty answers in a row are no sign of anything: three seconds, with the defaults.
const USUAL_SILENCE: u32 = 6;

/// The wait of the fetches to one broker.
#[derive(Clone, Debug)]
pub(crate) struct FetchWait {
    usual: Duration,
    longest: Duration,
    /// Answers in a row that brought nothing.
    silent: u32,
}

impl FetchWait {
    /// `longest`: what the wait grows to; not more than `usual`: it never grows.
    pub(crate) fn new(usual: Duration, longest: Duration) -> Self {
        Self { usual, longest: longest.max(usual), silent: 0 }
    }

    /// The wait that is always right.
    pub(crate) fn usual(&self) -> Duration {
        self.usual
    }

    /// How long a fetch may wait that asks for all there is.
    pub(crate) fn next(&self) -> Duration {
        let doublings = self.silent.saturating_sub(USUAL_SILENCE);
        let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
        self.usual.saturating_mul(factor).min(self.longest)
    }

    /// An answer brought nothing, and nothing was wrong.
    pub(crate) fn was_silent(&mut self) {
        self.silent = self.silent.saturating_add(1);
    }

    /// Something happened.
    pub(crate) fn reset(&mut self) {
        self.silent = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(wait: &mut FetchWait, count: usize) -> Vec<u128> {
        let next = |_| {
            let next = wait.next().as_millis();
            wait.was_silent();
            next
        };
        (0..count).map(next).collect()
    }

    #[test]
    fn the_wait_doubles_after_some_silence_up_to_its_bound_and_anything_that_happens_begins_it_anew() {
        let mut wait = FetchWait::new(Duration::from_millis(500), Duration::from_secs(5));
        let expected = [500, 500, 500, 500, 500, 500, 500, 1_000, 2_000, 4_000, 5_000, 5_000];
        assert_eq!(waits(&mut wait, 12), expected);
        wait.reset();
        assert_eq!(waits(&mut wait, 12), expected);
        assert_eq!(waits(&mut wait, 100).last(), Some(&5_000), "no overflow");
    }

    #[test]
    fn a_wait_that_was_set_is_never_exceeded() {
        for longest in [0, 100, 500] {
            let mut wait = FetchWait::new(Duration::from_millis(500), Duration::from_millis(longest));
            assert!(waits(&mut wait, 50).iter().all(|wait| *wait == 500));
        }
    }
}
