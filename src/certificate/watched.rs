//! What to make of each look at the files of a pair. Pure: files, clock and log belong to the caller.
//!
//! The platform renews both files once a day by renaming, the key first: for an instant a name is absent, and between the
//! two the pair does not fit. So what cannot be used is looked at again soon, told only when it lasts, and never takes the
//! place of a pair that can.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::pair::{Pair, PairError, PairFiles};

/// Trouble younger than this is a renewal under way.
pub(super) const RENEWAL: Duration = Duration::from_secs(10);
/// Between looks while a renewal may be under way.
const AGAIN: Duration = Duration::from_secs(1);
/// Below these a certificate that is renewed daily is late.
const LATE_S: i64 = 24 * 3600;
const NEARLY_OVER_S: i64 = 3600;

/// How much time the certificate has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Urgency {
    /// A day or more.
    Fine,
    /// Less than a day: its renewal is late.
    Late,
    /// Less than an hour.
    NearlyOver,
    /// None.
    Over,
}

impl Urgency {
    fn of(left_s: i64) -> Self {
        match left_s {
            ..=0 => Self::Over,
            1..NEARLY_OVER_S => Self::NearlyOver,
            NEARLY_OVER_S..LATE_S => Self::Late,
            LATE_S.. => Self::Fine,
        }
    }
}

/// What is worth telling.
#[derive(Debug, Clone)]
pub(super) enum News {
    /// A pair is in use from now on; `again`: in the place of an earlier one.
    InUse { pair: Arc<Pair>, again: bool },
    /// The files have not been usable for a while; the pair in use stays, if there is one.
    Trouble(PairError),
    /// The files are as they should be again, and hold the pair in use.
    Healed,
    /// The pair in use comes to its end.
    Ending { urgency: Urgency, left_s: i64 },
}

/// The files as they were seen so far.
#[derive(Debug)]
pub(super) struct Watched {
    files: PairFiles,
    /// Whose certificate it must be; without a setting whose it was at first.
    expected: Option<String>,
    pub(super) good: Option<Arc<Pair>>,
    trouble: Option<Trouble>,
    told: Urgency,
}

#[derive(Debug)]
struct Trouble {
    since: Instant,
    error: PairError,
    told: bool,
}

impl Watched {
    pub(super) fn new(files: PairFiles, expected: Option<String>) -> Self {
        Self { files, expected, good: None, trouble: None, told: Urgency::Fine }
    }

    /// Takes what a look has found and says what is new.
    pub(super) fn take(&mut self, now: Instant, now_s: i64, found: Result<Pair, PairError>) -> Vec<News> {
        let checked = found.and_then(|pair| {
            let known = self.good.as_ref().is_some_and(|good| good.digest == pair.digest);
            // A pair that is in use stays so when its time is over: nothing better is there.
            let usable = if known { Ok(()) } else { pair.usable(&self.files, self.expected.as_deref(), now_s) };
            usable.map(|()| (!known).then_some(pair))
        });
        let mut news = match checked {
            Ok(Some(pair)) => self.put_to_use(pair),
            Ok(None) => self.heal(),
            Err(error) => self.trouble(now, error),
        };
        news.extend(self.ending(now_s));
        news
    }

    fn put_to_use(&mut self, pair: Pair) -> Vec<News> {
        let pair = Arc::new(pair);
        self.trouble = None;
        self.expected.get_or_insert_with(|| pair.certificate.common_name.clone());
        let again = self.good.replace(Arc::clone(&pair)).is_some();
        vec![News::InUse { pair, again }]
    }

    fn heal(&mut self) -> Vec<News> {
        let was_told = self.trouble.take().is_some_and(|trouble| trouble.told);
        if was_told { vec![News::Healed] } else { Vec::new() }
    }

    fn trouble(&mut self, now: Instant, error: PairError) -> Vec<News> {
        let nothing_in_use = self.good.is_none();
        let trouble = self.trouble.get_or_insert_with(|| Trouble { since: now, error: error.clone(), told: false });
        if trouble.error != error {
            trouble.error = error;
            // Other trouble is news, once the first has lasted.
            trouble.told = false;
        }
        let lasts = nothing_in_use || now.saturating_duration_since(trouble.since) >= RENEWAL;
        if !lasts || trouble.told {
            return Vec::new();
        }
        trouble.told = true;
        vec![News::Trouble(trouble.error.clone())]
    }

    fn ending(&mut self, now_s: i64) -> Option<News> {
        let left_s = self.good.as_ref()?.certificate.seconds_left(now_s);
        let urgency = Urgency::of(left_s);
        let before = std::mem::replace(&mut self.told, urgency);
        (urgency > before).then_some(News::Ending { urgency, left_s })
    }

    /// What is wrong with the files, once it lasts.
    pub(super) fn lasting_trouble(&self) -> Option<&PairError> {
        self.trouble.as_ref().filter(|trouble| trouble.told).map(|trouble| &trouble.error)
    }

    /// When to look again, where `every` is the usual.
    pub(super) fn next_look(&self, now: Instant, every: Duration) -> Duration {
        match &self.trouble {
            Some(trouble) if now.saturating_duration_since(trouble.since) < RENEWAL => AGAIN.min(every),
            _ => every,
        }
    }
}

#[cfg(test)]
mod tests {
    use kafka_broker_double::{Authority, PemPair};

    use super::*;

    const NAME: &str = "domain.service";
    const EVERY: Duration = Duration::from_secs(30);
    const DAYS_30: u64 = 30 * 24 * 3600;

    struct Story {
        authority: Authority,
        watched: Watched,
        begun: Instant,
    }

    impl Story {
        fn new() -> Self {
            let files = PairFiles { certificate: "c.pem".into(), key: "k.pem".into() };
            Self { authority: Authority::new(), watched: Watched::new(files, None), begun: Instant::now() }
        }

        fn issue(&self, until_s: u64) -> PemPair {
            self.authority.client(NAME, 0, until_s)
        }

        /// One look at second `at_s` at a certificate and a key.
        fn look(&mut self, at_s: u64, certificate: &str, key: &str) -> Vec<String> {
            let found = Pair::of(&self.watched.files, certificate.as_bytes(), key.as_bytes());
            self.see(at_s, found)
        }

        fn see(&mut self, at_s: u64, found: Result<Pair, PairError>) -> Vec<String> {
            let now = self.begun + Duration::from_secs(at_s);
            let news = self.watched.take(now, i64::try_from(at_s).unwrap(), found);
            news.iter().map(word).collect()
        }

        fn absent(&mut self, at_s: u64) -> Vec<String> {
            self.see(at_s, Err(PairError::Unreadable { path: "c.pem".into(), what: "No such file".into() }))
        }

        fn next(&self, at_s: u64) -> u64 {
            self.watched.next_look(self.begun + Duration::from_secs(at_s), EVERY).as_secs()
        }
    }

    fn word(news: &News) -> String {
        match news {
            News::InUse { pair, again } => format!("in use until {}, again {again}", pair.certificate.not_after),
            News::Trouble(error) => format!("trouble: {error}"),
            News::Healed => "healed".into(),
            News::Ending { urgency, left_s } => format!("{urgency:?}: {left_s}"),
        }
    }

    #[test]
    fn a_renewal_key_first_and_with_an_absent_name_passes_without_a_word_but_the_new_pair() {
        let mut story = Story::new();
        let (old, new) = (story.issue(DAYS_30), story.issue(DAYS_30 + 1));
        assert_eq!(story.look(0, &old.certificate, &old.key), [format!("in use until {DAYS_30}, again false")]);
        assert_eq!(story.next(0), 30);
        assert!(story.look(30, &old.certificate, &new.key).is_empty(), "the key is new, the certificate not yet");
        assert_eq!(story.next(30), 1, "it looks again soon");
        assert!(story.absent(31).is_empty());
        assert_eq!(story.look(32, &new.certificate, &new.key), [format!("in use until {}, again true", DAYS_30 + 1)]);
        assert_eq!(story.next(32), 30);
        assert!(story.look(62, &new.certificate, &new.key).is_empty());
    }

    #[test]
    fn trouble_that_lasts_is_told_once_and_the_last_good_pair_stays() {
        let mut story = Story::new();
        let (old, other) = (story.issue(DAYS_30), story.issue(DAYS_30));
        story.look(0, &old.certificate, &old.key);
        assert!(story.look(30, &old.certificate, &other.key).is_empty());
        assert!(story.look(39, &old.certificate, &other.key).is_empty());
        assert_eq!(story.look(40, &old.certificate, &other.key).len(), 1);
        assert_eq!(story.next(40), 30, "and it is looked at as seldom as before");
        assert!(story.look(70, &old.certificate, &other.key).is_empty());
        assert!(story.watched.lasting_trouble().is_some());
        assert_eq!(story.watched.good.as_ref().map(|pair| pair.certificate.not_after.unsigned_abs()), Some(DAYS_30));
        assert_eq!(story.absent(100), ["trouble: c.pem: No such file"], "other trouble is news");
        assert_eq!(story.look(130, &old.certificate, &old.key), ["healed"]);
        assert!(story.watched.lasting_trouble().is_none());
    }

    #[test]
    fn without_any_pair_trouble_is_told_at_once() {
        let mut story = Story::new();
        assert_eq!(story.absent(0), ["trouble: c.pem: No such file"]);
        let pair = story.issue(DAYS_30);
        assert_eq!(story.look(1, &pair.certificate, &pair.key).len(), 1);
    }

    #[test]
    fn the_end_of_a_certificate_is_told_a_day_and_an_hour_before_and_when_it_is_there() {
        let mut story = Story::new();
        let pair = story.issue(100_000);
        let mut look = |at_s| story.look(at_s, &pair.certificate, &pair.key);
        assert_eq!(look(0).len(), 1);
        assert_eq!(look(100_000 - 86_399), ["Late: 86399"]);
        assert!(look(100_000 - 86_000).is_empty());
        assert_eq!(look(100_000 - 3_599), ["NearlyOver: 3599"]);
        assert_eq!(look(100_001), ["Over: -1"]);
        assert!(look(100_002).is_empty());
        assert!(story.watched.good.is_some(), "nothing better is there");
        let renewed = story.issue(300_000);
        assert_eq!(story.look(100_032, &renewed.certificate, &renewed.key).len(), 1);
        assert_eq!(story.watched.told, Urgency::Fine);
    }

    #[test]
    fn an_expired_pair_and_another_services_pair_do_not_take_the_place_of_a_good_one() {
        let mut story = Story::new();
        let (good, over) = (story.issue(DAYS_30), story.issue(20));
        let foreign = story.authority.client("domain.other", 0, DAYS_30);
        story.look(0, &good.certificate, &good.key);
        story.look(30, &over.certificate, &over.key);
        assert_eq!(story.look(40, &over.certificate, &over.key).len(), 1);
        let told = story.look(70, &foreign.certificate, &foreign.key);
        assert_eq!(told, ["trouble: c.pem: the certificate is of `domain.other` and not of `domain.service`"]);
        assert_eq!(story.watched.good.as_ref().map(|pair| pair.certificate.not_after.unsigned_abs()), Some(DAYS_30));
    }
}
