//! When the application last asked for an event (`max.poll.interval.ms`, KIP-62).
//!
//! Waiting inside `Consumer::next` counts as polling, however long it takes: only an application that does not come back
//! is slow. A call that is dropped half way counts as having come back.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::client::ownership::nanos_at;

/// Inside `next`.
const POLLING: u64 = u64::MAX;
/// The interval passed and the consequences were drawn.
const EXPIRED: u64 = u64::MAX - 1;

/// Shared by `Consumer::next`, which marks its coming and going, and the engine, which looks for the deadline.
pub(crate) struct PollClock(AtomicU64);

/// Marks the end of a call of `next` when it is dropped.
pub(crate) struct Polling<'a>(&'a PollClock);

/// What a call of `next` found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entered {
    /// In time.
    InTime,
    /// After the interval had passed: the member left the group and has to join again.
    Expired,
}

impl PollClock {
    /// Starts the interval at `now`.
    pub(crate) fn new(now: Instant) -> Self {
        Self(AtomicU64::new(nanos_at(now)))
    }

    /// The application asks for an event.
    pub(crate) fn enter(&self) -> (Polling<'_>, Entered) {
        let entered = match self.0.swap(POLLING, Ordering::AcqRel) {
            EXPIRED => Entered::Expired,
            _ => Entered::InTime,
        };
        (Polling(self), entered)
    }

    /// Whether the interval has just passed. True once; the next [`PollClock::enter`] will say so too.
    pub(crate) fn expire(&self, now: Instant, limit: Duration) -> bool {
        let last = self.0.load(Ordering::Acquire);
        if last >= EXPIRED || nanos_at(now).saturating_sub(last) < nanos(limit) {
            return false;
        }
        self.0.compare_exchange(last, EXPIRED, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// How long until the interval may pass, at the earliest.
    pub(crate) fn remaining(&self, now: Instant, limit: Duration) -> Duration {
        match self.0.load(Ordering::Acquire) {
            POLLING | EXPIRED => limit,
            last => limit.saturating_sub(Duration::from_nanos(nanos_at(now).saturating_sub(last))),
        }
    }

    fn leave(&self, now: Instant) {
        // Only a mark of our own is replaced: the engine never writes while we are inside.
        self.0.store(nanos_at(now), Ordering::Release);
    }
}

impl Drop for Polling<'_> {
    fn drop(&mut self) {
        self.0.leave(Instant::now());
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(EXPIRED - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_mins(5);

    #[test]
    fn an_application_that_does_not_come_back_expires_once() {
        let start = Instant::now();
        let clock = PollClock::new(start);
        assert!(!clock.expire(start + LIMIT / 2, LIMIT));
        assert_eq!(clock.remaining(start + LIMIT / 2, LIMIT), LIMIT / 2);
        assert!(clock.expire(start + LIMIT, LIMIT));
        assert!(!clock.expire(start + LIMIT * 2, LIMIT));
        assert_eq!(clock.enter().1, Entered::Expired);
        assert_eq!(clock.enter().1, Entered::InTime);
    }

    #[test]
    fn waiting_inside_next_is_polling() {
        let start = Instant::now();
        let clock = PollClock::new(start);
        let (polling, entered) = clock.enter();
        assert_eq!(entered, Entered::InTime);
        assert!(!clock.expire(start + LIMIT * 10, LIMIT));
        drop(polling);
        assert!(!clock.expire(Instant::now(), LIMIT));
        assert!(clock.expire(Instant::now() + LIMIT, LIMIT));
    }
}
