//! The settings of the guards: globally under `limits`, and beside a condition's or an action's own keys.

use std::time::Duration;

use crate::guard::rate::RateLimits;
use crate::yaml::Reader;

/// Longest window of a budget: charges within it are kept in memory and in the ledger.
const WINDOW_MAX: Duration = Duration::from_hours(24 * 7);
const COUNT_MAX: usize = 100_000;

/// The guards for all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// What holds for every condition and action together.
    pub all: Own,
    /// When only notifications are sent.
    pub storm: Option<Storm>,
    /// When a failing service is left alone.
    pub breaker: Option<Breaker>,
    /// How the incident must be when it is read again.
    pub freshness: Option<Freshness>,
    /// How often each service may be asked.
    pub rates: RateLimits,
}

/// The guards that a condition or an action may have of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Own {
    /// Snapshots older than this start nothing.
    pub max_event_age: Option<Duration>,
    /// Budgets and concurrent targets.
    pub counts: Vec<Count>,
}

/// One thing that is counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Count {
    /// What, and how much of it is allowed.
    pub what: What,
    /// The name whose value tells targets apart, as in a template; none: all are one target.
    pub by: Option<String>,
    /// What becomes of a step beyond the limit.
    pub over: Over,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Attempts on one target within a window.
    Attempts {
        /// So many.
        at_most: usize,
        /// The window.
        within: Duration,
    },
    /// Different targets within a window: a share of a fleet whose size is declared.
    Fleet {
        /// So many.
        at_most: usize,
        /// The window.
        within: Duration,
    },
    /// Different targets at the same time.
    Concurrent {
        /// So many.
        at_most: usize,
    },
}

impl What {
    /// The key that it is configured under.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Attempts { .. } => "budget",
            Self::Fleet { .. } => "fleet",
            Self::Concurrent { .. } => "concurrent_targets",
        }
    }
}

/// What becomes of a step beyond its budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Over {
    /// It waits for a person.
    #[default]
    Hold,
    /// It is skipped.
    Skip,
}

/// Storm mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Storm {
    /// More than this, and only actions with `notify: true` are carried out.
    pub matches_per_minute: usize,
    /// It ends when there was no more than that for so long.
    pub quiet_for: Duration,
}

/// The circuit breaker of each target service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// So many failures
    pub failures: usize,
    /// within this open it.
    pub within: Duration,
    /// Then nothing is sent for so long; after that a single attempt finds out.
    pub open_for: Duration,
}

/// How the incident must be when it is read again. That it is active, not snoozed and not in maintenance always counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Freshness {
    /// Being assigned to this user does no harm.
    pub service_account: Option<String>,
    /// A tag that keeps all hands off.
    pub hold_tag: Option<String>,
    /// A text that does so in a comment.
    pub hold_comment: Option<String>,
    /// How long the answer may take.
    pub timeout: Duration,
}

impl Rules {
    /// Reads the guards among the keys of `limits`.
    pub fn read(reader: &Reader<'_, '_>) -> Self {
        Self {
            all: Own::read(reader),
            storm: storm(reader),
            breaker: breaker(reader),
            freshness: freshness(reader),
            rates: RateLimits::read(reader),
        }
    }
}

impl Own {
    /// Reads the guards among the keys of a condition or an action.
    pub fn read(reader: &Reader<'_, '_>) -> Self {
        let counts = [budget(reader), fleet(reader), concurrent(reader)];
        Self { max_event_age: reader.duration("max_event_age"), counts: counts.into_iter().flatten().collect() }
    }
}

fn budget(parent: &Reader<'_, '_>) -> Option<Count> {
    let reader = parent.child("budget")?;
    let (at_most, within, over) = (required_count(&reader, "at_most"), window(&reader, "within"), over(&reader));
    let by = target(&reader);
    reader.close();
    Some(Count { what: What::Attempts { at_most: at_most?, within: within? }, by, over })
}

fn fleet(parent: &Reader<'_, '_>) -> Option<Count> {
    let reader = parent.child("fleet")?;
    let _ = reader.required("by");
    let by = target(&reader);
    let size = required_count(&reader, "size");
    let _ = reader.required("share");
    let share = reader.read("share", "a share such as 10%", |node| {
        node.text()?.strip_suffix('%')?.trim().parse::<usize>().ok().filter(|share| (1..=100).contains(share))
    });
    let (within, over) = (window(&reader, "within"), over(&reader));
    reader.close();
    // Rounded down: 10 % of 5 machines is none, and that is what is allowed.
    let at_most = size?.saturating_mul(share?).checked_div(100)?;
    Some(Count { what: What::Fleet { at_most, within: within? }, by: Some(by?), over })
}

fn concurrent(parent: &Reader<'_, '_>) -> Option<Count> {
    let reader = parent.child("concurrent_targets")?;
    let _ = reader.required("by");
    let (at_most, by) = (required_count(&reader, "at_most"), target(&reader));
    reader.close();
    Some(Count { what: What::Concurrent { at_most: at_most? }, by: Some(by?), over: Over::Hold })
}

/// A name as a template has it between braces.
fn target(reader: &Reader<'_, '_>) -> Option<String> {
    reader.read("by", "a name as in a template, such as host or incident.id", |node| {
        let name = node.text()?;
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
        (!name.is_empty() && name.chars().all(plain)).then(|| name.to_owned())
    })
}

fn over(reader: &Reader<'_, '_>) -> Over {
    reader.choice("over", &[("hold", Over::Hold), ("skip", Over::Skip)]).unwrap_or_default()
}

fn storm(parent: &Reader<'_, '_>) -> Option<Storm> {
    let reader = parent.child("storm")?;
    let matches_per_minute = required_count(&reader, "matches_per_minute");
    let quiet_for = reader.duration("quiet_for").unwrap_or(Duration::from_mins(1));
    reader.close();
    Some(Storm { matches_per_minute: matches_per_minute?, quiet_for })
}

fn breaker(parent: &Reader<'_, '_>) -> Option<Breaker> {
    let reader = parent.child("breaker")?;
    let failures = required_count(&reader, "failures");
    let within = window(&reader, "within");
    let open_for = window(&reader, "open_for");
    reader.close();
    Some(Breaker { failures: failures?, within: within?, open_for: open_for? })
}

fn freshness(parent: &Reader<'_, '_>) -> Option<Freshness> {
    let reader = parent.child("freshness")?;
    let freshness = Freshness {
        service_account: None,
        hold_tag: reader.string("hold_tag"),
        hold_comment: reader.string("hold_comment"),
        timeout: reader.duration("timeout").unwrap_or(Duration::from_secs(5)),
    };
    reader.close();
    Some(freshness)
}

fn required_count(reader: &Reader<'_, '_>, key: &str) -> Option<usize> {
    reader.required(key)?;
    let wanted = "a whole number from 1 to 100000";
    reader.read(key, wanted, |node| node.text()?.parse().ok().filter(|count| (1..=COUNT_MAX).contains(count)))
}

fn window(reader: &Reader<'_, '_>, key: &str) -> Option<Duration> {
    reader.required(key)?;
    let length = reader.duration(key)?;
    if length.is_zero() || length > WINDOW_MAX {
        reader.wrong(key, "must be above 0 and at most 7d");
        return None;
    }
    Some(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::{Mistakes, parse};

    fn read(text: &str) -> (Rules, Vec<String>) {
        let mistakes = Mistakes::default();
        let root = parse(text, &mistakes).expect("yaml");
        let reader = Reader::new(&root, "limits", &mistakes);
        let rules = Rules::read(&reader);
        reader.close();
        (rules, mistakes.all().iter().map(ToString::to_string).collect())
    }

    #[test]
    fn every_guard_is_read() {
        let (rules, mistakes) = read(
            "max_event_age: 1h\nbudget: {at_most: 3, within: 1h, by: host, over: skip}\n\
             fleet: {by: host, size: 200, share: 10%, within: 1h}\nconcurrent_targets: {at_most: 5, by: host}\n\
             storm: {matches_per_minute: 100}\nbreaker: {failures: 5, within: 1m, open_for: 5m}\n\
             freshness: {hold_tag: hands_off, hold_comment: '#hold'}\n",
        );
        assert_eq!(mistakes, Vec::<String>::new());
        assert_eq!(rules.all.max_event_age, Some(Duration::from_hours(1)));
        let hour = Duration::from_hours(1);
        let whats: Vec<_> = rules.all.counts.iter().map(|count| count.what).collect();
        let expected = [
            What::Attempts { at_most: 3, within: hour },
            What::Fleet { at_most: 20, within: hour },
            What::Concurrent { at_most: 5 },
        ];
        assert_eq!(whats, expected);
        assert_eq!(rules.all.counts[0].over, Over::Skip);
        assert_eq!(rules.storm.unwrap().quiet_for, Duration::from_mins(1));
        assert_eq!(rules.breaker.unwrap().open_for, Duration::from_mins(5));
        assert_eq!(rules.freshness.unwrap().hold_tag.as_deref(), Some("hands_off"));
    }

    #[test]
    fn every_mistake_is_placed() {
        let (_, mistakes) = read(
            "budget: {at_most: 0, witin: 1h}\nfleet: {by: host, size: 10, share: 200%, within: 9d}\n\
             storm: {}\nbreaker: {failures: 5, within: 0, open_for: 5m}\n",
        );
        let expected = [
            "line 1, column 9: limits.budget.within: is required and missing",
            "line 1, column 19: limits.budget.at_most: expected a whole number from 1 to 100000, found `0`",
            "line 1, column 22: limits.budget.witin: unknown key (did you mean `within`?)",
            "line 2, column 36: limits.fleet.share: expected a share such as 10%, found `200%`",
            "line 2, column 50: limits.fleet.within: must be above 0 and at most 7d",
            "line 3, column 8: limits.storm.matches_per_minute: is required and missing",
            "line 4, column 32: limits.breaker.within: must be above 0 and at most 7d",
        ];
        assert_eq!(mistakes, expected);
    }
}
