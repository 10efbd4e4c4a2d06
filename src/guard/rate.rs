//! How often a service may be asked: so many attempts within a time, and not at all while it asks to be left alone.
//!
//! Pure: time is an argument. Turns are handed out in the order asked, so that whoever waits does not have to ask again and
//! again; and because an attempt may be kept up between its turn and its request, [`Rates::send`] looks a second time.
//! Nothing here outlives the process: after a restart a service is asked at its rate from the start.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::guard::{Guard, Refusal, Then};
use crate::yaml::Reader;

/// The longest time for which a service is left alone because it asked for it.
const LEFT_ALONE_MAX: Duration = Duration::from_mins(15);
/// Services that are remembered. A template may make a new one of every incident.
const SERVICES_MAX: usize = 1024;
/// The entry for every service that has none of its own.
const EACH: &str = "*";
const COUNT_MAX: u32 = 100_000;
const WITHIN_MAX: Duration = Duration::from_hours(24);

/// The limits of all services.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RateLimits {
    by_service: BTreeMap<String, RateLimit>,
    each: Option<RateLimit>,
}

/// So many attempts within a time, evenly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    at_most: u32,
    within: Duration,
    /// At once after a quiet time.
    burst: u32,
}

/// When each service was asked, and when it may be asked again.
#[derive(Debug, Default)]
pub struct Rates(BTreeMap<String, Service>);

#[derive(Clone, Copy, Debug, Default)]
struct Service {
    /// Where the turn after the last that was handed out would stand.
    handed_out: Option<Instant>,
    /// The same of those that were made use of.
    used: Option<Instant>,
    /// Until then it wants to be left alone.
    alone_until: Option<Instant>,
}

impl RateLimits {
    /// Reads `rate_limit` among the keys of `limits`: a map from services to limits.
    pub(super) fn read(parent: &Reader<'_, '_>) -> Self {
        let mut limits = Self::default();
        let Some(reader) = parent.child("rate_limit") else { return limits };
        for entry in reader.rest() {
            let Some(section) = reader.child(&entry.key) else { continue };
            let limit = RateLimit::read(&section);
            section.close();
            match limit {
                Some(limit) if entry.key == EACH => limits.each = Some(limit),
                Some(limit) => drop(limits.by_service.insert(entry.key.clone(), limit)),
                None => {}
            }
        }
        limits
    }

    fn of(&self, service: &str) -> Option<RateLimit> {
        self.by_service.get(service).copied().or(self.each)
    }
}

impl RateLimit {
    fn read(reader: &Reader<'_, '_>) -> Option<Self> {
        let count = |key: &str| {
            let wanted = "a whole number from 1 to 100000";
            reader.read(key, wanted, |node| node.text()?.parse().ok().filter(|count| (1..=COUNT_MAX).contains(count)))
        };
        reader.required("at_most");
        reader.required("within");
        let (at_most, within, burst) = (count("at_most"), reader.duration("within"), count("burst"));
        let within = within?;
        if within.is_zero() || within > WITHIN_MAX {
            reader.wrong("within", "must be above 0 and at most 1d");
            return None;
        }
        Some(Self { at_most: at_most?, within, burst: burst.unwrap_or(1) })
    }

    /// Between two turns.
    fn interval(self) -> Duration {
        self.within / self.at_most.max(1)
    }

    /// Where a turn that is asked for now stands, after one whose successor would stand at `next`.
    fn turn(self, next: Option<Instant>, now: Instant) -> Instant {
        let saved = self.interval().saturating_mul(self.burst.saturating_sub(1));
        let earliest = now.checked_sub(saved).unwrap_or(now);
        next.map_or(earliest, |next| next.max(earliest))
    }
}

impl Rates {
    /// Hands out the next turn at a service: when it comes. A turn that is not made use of is lost.
    pub fn reserve(&mut self, service: &str, limits: &RateLimits, now: Instant) -> Instant {
        let limit = limits.of(service);
        if limit.is_none() && !self.0.contains_key(service) {
            return now;
        }
        let of = self.of(service, now);
        let alone_until = of.alone_until.filter(|until| *until > now);
        let Some(limit) = limit else { return alone_until.unwrap_or(now) };
        let turn = limit.turn(of.handed_out, now);
        let turn = alone_until.map_or(turn, |until| until.max(turn));
        of.handed_out = Some(turn + limit.interval());
        turn.max(now)
    }

    /// Notes that the service is asked at this moment; or says why not, and how long to wait before asking here again.
    pub fn send(&mut self, service: &str, limits: &RateLimits, now: Instant) -> Result<(), Refusal> {
        let refuse = |why, wait| Err(Refusal { guard: Guard::RateLimit, then: Then::WaitFor(wait), why });
        let limit = limits.of(service);
        let known = self.0.get(service).copied().unwrap_or_default();
        if let Some(until) = known.alone_until.filter(|until| *until > now) {
            let why = format!("{service} asked to be left alone for another {:?}", rounded(until - now));
            // In the order asked, as everybody who waits for it.
            return refuse(why, self.reserve(service, limits, now).saturating_duration_since(now));
        }
        let Some(limit) = limit else { return Ok(()) };
        let turn = limit.turn(known.used, now);
        if turn > now {
            let why = format!("{service}: {} within {:?}", limit.at_most, limit.within);
            return refuse(why, turn - now);
        }
        self.of(service, now).used = Some(turn + limit.interval());
        Ok(())
    }

    /// A service asks to be left alone for so long. Gives what is kept of that.
    pub fn leave_alone(&mut self, service: &str, length: Duration, now: Instant) -> Duration {
        let length = length.min(LEFT_ALONE_MAX);
        let of = self.of(service, now);
        let until = of.alone_until.map_or(now + length, |until| until.max(now + length));
        of.alone_until = Some(until);
        of.handed_out = of.handed_out.map(|next| next.max(until));
        length
    }

    /// The services that asked to be left alone, each in a line.
    pub fn left_alone(&self, now: Instant) -> Vec<String> {
        let line = |(service, of): (&String, &Service)| {
            let until = of.alone_until.filter(|until| *until > now)?;
            Some(format!("{service} asked to be left alone for another {:?}", rounded(until - now)))
        };
        self.0.iter().filter_map(line).collect()
    }

    fn of(&mut self, service: &str, now: Instant) -> &mut Service {
        if self.0.len() >= SERVICES_MAX && !self.0.contains_key(service) {
            // What is over for all of them is as good as never asked.
            let over = |at: Option<Instant>| at.is_none_or(|at| at <= now);
            self.0.retain(|_, of| !(over(of.handed_out) && over(of.used) && over(of.alone_until)));
        }
        self.0.entry(service.to_owned()).or_default()
    }
}

/// To tenths of a second, for people.
fn rounded(length: Duration) -> Duration {
    Duration::from_millis(u64::try_from(length.as_millis()).unwrap_or(u64::MAX).div_ceil(100).saturating_mul(100))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::{Mistakes, parse};

    fn read(text: &str) -> (RateLimits, String) {
        let mistakes = Mistakes::default();
        let root = parse(text, &mistakes).expect("yaml");
        let reader = Reader::new(&root, "limits", &mistakes);
        let limits = RateLimits::read(&reader);
        reader.close();
        (limits, mistakes.to_string())
    }

    fn limits() -> RateLimits {
        read("rate_limit: {hooks.example: {at_most: 5, within: 1s, burst: 2}, \"*\": {at_most: 1, within: 1s}}").0
    }

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn turns_come_at_the_rate_after_the_burst_in_the_order_asked() {
        let (limits, start, mut rates) = (limits(), Instant::now(), Rates::default());
        let mut turns = |service: &str, count: usize| -> Vec<_> {
            (0..count).map(|_| (rates.reserve(service, &limits, start) - start).as_millis()).collect()
        };
        assert_eq!(turns("hooks.example", 5), [0, 0, 200, 400, 600]);
        assert_eq!(turns("other", 3), [0, 1000, 2000], "each service for itself");
        let none = RateLimits::default();
        assert_eq!(Rates::default().reserve("hooks.example", &none, start), start);
    }

    #[test]
    fn turns_that_were_kept_up_are_not_made_use_of_all_at_once() {
        let (limits, start, mut rates) = (limits(), Instant::now(), Rates::default());
        for _ in 0..5 {
            let _ = rates.reserve("other", &limits, start);
        }
        let late = start + ms(10_000);
        assert_eq!(rates.send("other", &limits, late), Ok(()));
        let refusal = rates.send("other", &limits, late).unwrap_err();
        assert_eq!((refusal.guard, refusal.then), (Guard::RateLimit, Then::WaitFor(ms(1000))));
        assert_eq!(refusal.why, "other: 1 within 1s");
        assert_eq!(rates.send("other", &limits, late + ms(1000)), Ok(()));
    }

    #[test]
    fn a_service_that_asks_for_it_is_left_alone_and_then_asked_at_its_rate() {
        for limits in [limits(), RateLimits::default()] {
            let (start, mut rates) = (Instant::now(), Rates::default());
            let _ = rates.reserve("other", &limits, start);
            assert_eq!(rates.leave_alone("other", ms(30_000), start), ms(30_000));
            let refusal = rates.send("other", &limits, start).unwrap_err();
            assert_eq!(refusal.why, "other asked to be left alone for another 30s");
            assert_eq!(refusal.then, Then::WaitFor(ms(30_000)));
            assert_eq!(rates.left_alone(start).len(), 1);
            let second = rates.send("other", &limits, start).unwrap_err();
            let later = if limits.each.is_some() { 31_000 } else { 30_000 };
            assert_eq!(second.then, Then::WaitFor(ms(later)));
            assert_eq!(rates.send("other", &limits, start + ms(30_000)), Ok(()));
            assert!(rates.left_alone(start + ms(30_000)).is_empty());
        }
    }

    #[test]
    fn nobody_is_left_alone_for_ever() {
        let (start, mut rates) = (Instant::now(), Rates::default());
        assert_eq!(rates.leave_alone("s", Duration::MAX, start), LEFT_ALONE_MAX);
    }

    #[test]
    fn memory_does_not_grow_with_the_services() {
        let (limits, start, mut rates) = (limits(), Instant::now(), Rates::default());
        for number in 0..3 * SERVICES_MAX {
            let now = start + ms(2000) * u32::try_from(number).unwrap();
            let _ = rates.reserve(&format!("s{number}"), &limits, now);
        }
        assert!(rates.0.len() <= SERVICES_MAX, "{}", rates.0.len());
    }

    #[test]
    fn every_mistake_is_placed() {
        let mistakes = read("rate_limit: {a: {at_most: 0, within: 1s}, b: {at_most: 1, within: 2d, brust: 3}}").1;
        for what in ["rate_limit.a.at_most", "rate_limit.b.within: must be above 0", "brust: unknown key"] {
            assert!(mistakes.contains(what), "{what} in {mistakes}");
        }
    }
}
