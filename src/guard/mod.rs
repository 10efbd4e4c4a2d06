//! What is asked before every single attempt, in this order; the first guard that says no decides.
//!
//! | guard | stops | then |
//! |---|---|---|
//! | kill switch of all | the file is there | the attempt waits until it is gone |
//! | kill switch of a condition or an action | its file is there | the step is skipped: other rules go on |
//! | ownership and session | the partition is not ours any more | the record is left to its new owner |
//! | event age | the snapshot is older than `max_event_age`, or has no time | the step is skipped |
//! | freshness | the incident as it is now is over, snoozed, in maintenance, taken by a person or marked | the step is skipped; held when it cannot be read |
//! | budgets | as many attempts, or targets, as allowed within the window | the step is held for a person, or skipped (`over: skip`) |
//! | concurrent targets | as many targets as allowed are being acted upon | the attempt waits |
//! | storm mode | more matches a minute than allowed, and the action is not `notify: true` | the step is skipped |
//! | circuit breaker | the target service failed too often | the step fails, as it would have, so that fallbacks run |
//! | rate limit | the service was asked as often as allowed lately, or asked to be left alone (`Retry-After`) | the attempt waits for its turn |
//!
//! [`check`] is pure: facts, rules and [`Books`] in, one answer out. Gathering the facts, waiting and recording are the
//! pipeline's, which also asks the first and the third row itself: they are about the process and not about the attempt.
//! Promised: a charge is durable together with the ATTEMPT that it is for; budgets, tripped breakers and storm mode
//! outlive the process. Absent: anything that touches a disk or a network.

mod books;
mod kept;
mod rate;
mod reading;
mod reset;
mod rules;
pub mod switch;

use std::fmt;
use std::time::Duration;

pub use crate::guard::books::{Books, Change, Charge, Cleared};
pub use crate::guard::kept::{Note, Unreadable};
pub use crate::guard::rate::{RateLimit, RateLimits, Rates};
pub use crate::guard::reading::{Reading, Snapshot};
pub(crate) use crate::guard::reset::one_line;
pub use crate::guard::reset::{Reset, Which};
pub use crate::guard::rules::{Breaker, Count, Freshness, Over, Own, Rules, Storm, What};
pub use crate::guard::switch::Engaged;

/// The guards that can stop an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Guard {
    /// A file says no.
    KillSwitch,
    /// The snapshot is too old.
    EventAge,
    /// The incident is not any more what the snapshot says.
    Freshness,
    /// Enough was done lately.
    Budget,
    /// Enough is being done at this moment.
    ConcurrentTargets,
    /// Too much matches at a time.
    Storm,
    /// The target service fails.
    Breaker,
    /// The target service was asked often enough lately.
    RateLimit,
}

impl Guard {
    /// Every one, in the order in which they are asked.
    pub const ALL: [Self; 8] = [
        Self::KillSwitch,
        Self::EventAge,
        Self::Freshness,
        Self::Budget,
        Self::ConcurrentTargets,
        Self::Storm,
        Self::Breaker,
        Self::RateLimit,
    ];

    /// The keys of the configuration that switch it on.
    pub const fn keys(self) -> &'static [&'static str] {
        match self {
            Self::KillSwitch => &["kill_switch_file"],
            Self::EventAge => &["max_event_age"],
            Self::Freshness => &["freshness"],
            Self::Budget => &["budget", "fleet"],
            Self::ConcurrentTargets => &["concurrent_targets"],
            Self::Storm => &["storm"],
            Self::Breaker => &["breaker"],
            Self::RateLimit => &["rate_limit"],
        }
    }

    /// The name, in the ledger, metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::KillSwitch => "kill_switch",
            Self::EventAge => "event_age",
            Self::Freshness => "freshness",
            Self::Budget => "budget",
            Self::ConcurrentTargets => "concurrent_targets",
            Self::Storm => "storm",
            Self::Breaker => "breaker",
            Self::RateLimit => "rate_limit",
        }
    }
}

/// What becomes of a step that a guard stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It is deliberately not done.
    Skip,
    /// It waits for a person.
    Hold,
    /// It counts as failed, so that fallbacks run.
    Fail,
    /// It is asked again soon.
    Wait,
    /// It is asked again after so long.
    WaitFor(Duration),
}

/// A guard said no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Which.
    pub guard: Guard,
    /// What follows.
    pub then: Then,
    /// Why, with the values that were compared.
    pub why: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.guard.name(), self.why)
    }
}

/// What is known about an attempt that is about to be made.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// A kill switch of the condition or the action.
    pub switch: Option<Engaged>,
    /// When the snapshot was made, in seconds since the epoch.
    pub event_at_s: Option<i64>,
    /// The strictest limit on its age that applies.
    pub max_event_age: Option<Duration>,
    /// The incident as it is now.
    pub reading: Reading,
    /// What the attempt counts against.
    pub charges: Vec<Charge>,
    /// The action only tells people.
    pub notify: bool,
    /// The service that would be asked.
    pub service: String,
}

/// The guards that cost nothing to ask: kill switches and the event's age. `now_ms` is the wall clock.
pub fn check_event(facts: &Facts, now_ms: i64) -> Result<(), Refusal> {
    if let Some(engaged) = &facts.switch {
        return Err(Refusal { guard: Guard::KillSwitch, then: Then::Skip, why: engaged.to_string() });
    }
    let Some(limit) = facts.max_event_age else { return Ok(()) };
    let refuse = |why| Err(Refusal { guard: Guard::EventAge, then: Then::Skip, why });
    let Some(at_s) = facts.event_at_s else {
        return refuse(format!("the snapshot has no time, and max_event_age is {limit:?}"));
    };
    let age_s = now_ms.div_euclid(1000).saturating_sub(at_s);
    if u64::try_from(age_s).is_ok_and(|age| age > limit.as_secs()) {
        return refuse(format!("the snapshot is {age_s}s old, and max_event_age is {limit:?}"));
    }
    Ok(())
}

/// All guards in their order. `Ok` holds for this moment: it has to be entered into the books at once.
pub fn check(facts: &Facts, rules: &Rules, books: &Books, now_ms: i64) -> Result<(), Refusal> {
    check_event(facts, now_ms)?;
    if let Some(freshness) = &rules.freshness {
        reading::check(&facts.reading, freshness)?;
    }
    facts.charges.iter().try_for_each(|charge| books.admits(charge, now_ms))?;
    books.calm(facts.notify, now_ms)?;
    match &rules.breaker {
        Some(breaker) => books.closed(&facts.service, breaker, now_ms),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
