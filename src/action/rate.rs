//! A token bucket per target: so many requests a second, evenly.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Hands out one turn per interval, in the order asked.
#[derive(Debug)]
pub(crate) struct Rate {
    interval: Duration,
    burst: Duration,
    next: Mutex<Option<Instant>>,
}

impl Rate {
    /// `per_second` turns a second, `burst` of them at once after a quiet time.
    pub(crate) fn new(per_second: u32, burst: u32) -> Self {
        let interval = Duration::from_secs(1) / per_second.max(1);
        Self { interval, burst: interval * burst.saturating_sub(1), next: Mutex::new(None) }
    }

    /// Waits for a turn. A caller that gives up leaves its turn unused.
    pub(crate) async fn turn(&self) {
        let at = self.reserve(Instant::now());
        tokio::time::sleep_until(at).await;
    }

    fn reserve(&self, now: Instant) -> Instant {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let earliest = now.checked_sub(self.burst).unwrap_or(now);
        let at = next.map_or(earliest, |next| next.max(earliest));
        *next = Some(at + self.interval);
        at.max(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn turns_come_at_the_rate_after_the_burst() {
        let rate = Rate::new(5, 2);
        let start = Instant::now();
        let mut at = Vec::new();
        for _ in 0..5 {
            rate.turn().await;
            at.push(start.elapsed().as_millis());
        }
        assert_eq!(at, [0, 0, 200, 400, 600]);
    }
}
