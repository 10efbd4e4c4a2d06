//! The ledger as the page shows it: what is open, and what was recorded lately. Read at most every so often, however often the page is
//! asked for: a look goes through the whole ledger, and a probe asks for the page every few seconds.

use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::ledger::{Filter, Ledger, LedgerError, Summary, Terminal};
use crate::pipeline::wall_clock_ms;

/// Rows of one table.
pub(in crate::service) const ROWS_MAX: usize = 100;
/// How far back "recent" reaches.
const RECENT_MS: i64 = 3_600_000;
/// A look is used again for so long, and for so many times the time it took.
const FRESH_FOR: Duration = Duration::from_secs(2);
const FRESH_FACTOR: u32 = 20;

/// What was seen.
#[derive(Debug, Clone, Default)]
pub(in crate::service) struct View {
    /// Without an end, or held; oldest first.
    pub(in crate::service) open: Vec<Summary>,
    /// How many are held in all.
    pub(in crate::service) held: usize,
    /// With an entry within the last hour; newest first.
    pub(in crate::service) recent: Vec<Summary>,
    /// Why it could not be read.
    pub(in crate::service) trouble: Option<String>,
}

/// The last look.
#[derive(Debug, Default)]
pub(in crate::service) struct Cache(Mutex<Option<(Instant, View)>>);

impl Cache {
    /// A look that is fresh enough. Blocks on the disk; whoever comes meanwhile waits for the same look.
    pub(in crate::service) fn look(&self, ledger: &Ledger) -> View {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((until, view)) = &*last
            && Instant::now() < *until
        {
            return view.clone();
        }
        let begun = Instant::now();
        let view =
            View::read(ledger).unwrap_or_else(|error| View { trouble: Some(error.to_string()), ..View::default() });
        let fresh_for = FRESH_FOR.max(begun.elapsed().saturating_mul(FRESH_FACTOR));
        *last = Some((Instant::now() + fresh_for, view.clone()));
        view
    }
}

impl View {
    fn read(ledger: &Ledger) -> Result<Self, LedgerError> {
        let since = wall_clock_ms().saturating_sub(RECENT_MS);
        let mut view = Self::default();
        ledger.history(&Filter::default(), &mut |summary| {
            let held = summary.state.terminal() == Some(Terminal::Held);
            view.held = view.held.saturating_add(usize::from(held));
            if held || !summary.state.is_terminal() {
                keep(&mut view.open, summary.clone(), |episode| episode.last_ms);
            }
            if summary.last_ms >= since {
                keep(&mut view.recent, summary, |episode| episode.last_ms.saturating_neg());
            }
            ControlFlow::Continue(())
        })?;
        view.open.sort_by_key(|episode| episode.last_ms);
        view.recent.sort_by_key(|episode| std::cmp::Reverse(episode.last_ms));
        view.open.truncate(ROWS_MAX);
        view.recent.truncate(ROWS_MAX);
        Ok(view)
    }
}

/// Those with the smallest keys: a storm in the ledger must not become one in memory.
fn keep(kept: &mut Vec<Summary>, summary: Summary, key: impl Fn(&Summary) -> i64) {
    kept.push(summary);
    if kept.len() >= ROWS_MAX.saturating_mul(4) {
        kept.sort_by_key(key);
        kept.truncate(ROWS_MAX);
    }
}

/// Episodes for programs.
pub(in crate::service) fn rows(found: &[Summary]) -> serde_json::Value {
    let now = wall_clock_ms();
    let one = |summary: &Summary| {
        serde_json::json!({
            "episode": summary.key.to_string(),
            "incident": summary.key.incident,
            "alert": summary.key.alert,
            "condition": summary.key.condition,
            "action": summary.key.action,
            "state": summary.state.name(),
            "reason": summary.state.reason(),
            "attempts": summary.state.attempts(),
            "first_ms": summary.first_ms,
            "last_ms": summary.last_ms,
            "age_s": u64::try_from(now.saturating_sub(summary.last_ms).max(0)).unwrap_or(0) / 1000,
        })
    };
    found.iter().take(ROWS_MAX).map(one).collect()
}
