//! What the guards remember: charges against budgets, targets in work, circuits, the rate of matches.
//!
//! Pure: time is an argument, and what must be kept on disk is handed back as notes. Charges of the last window are all
//! there is in memory, so a budget bounds its own books.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::guard::kept::{self, BreakerNote, Kept, Note, SpentNote, StormNote, Unreadable};
use crate::guard::{Breaker, Facts, Guard, Over, Refusal, Reset, Rules, Storm, Then, What, Which};

const MINUTE_MS: i64 = 60_000;
/// Charges older than any window are not read back.
const FORGOTTEN_AFTER: Duration = Duration::from_hours(24 * 7);
/// Words of persons that are kept.
const RESETS_KEPT: usize = 50;
/// How far the end of a storm that goes on may lie beyond what is on disk.
const STORM_NOTED_EVERY_MS: i64 = 10_000;

/// What an attempt counts against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    /// Whose budget: unique per setting, and readable.
    pub owner: String,
    /// Which target.
    pub target: String,
    /// What is counted and how much is allowed.
    pub what: What,
    /// What becomes of a step beyond it.
    pub over: Over,
}

/// An attempt that was let through. It has to be handed back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cleared {
    concurrent: Vec<(String, String)>,
    service: String,
    /// It is the one that finds out whether the service works again.
    probe: bool,
}

/// What changed: to be written, and to be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// For the ledger.
    pub notes: Vec<Note>,
    /// For people, loudly.
    pub news: Vec<String>,
}

/// The memory of the guards.
#[derive(Debug, Default)]
pub struct Books {
    spent: BTreeMap<String, BTreeMap<String, VecDeque<Spent>>>,
    running: BTreeMap<String, BTreeMap<String, usize>>,
    circuits: BTreeMap<String, Circuit>,
    matches: VecDeque<i64>,
    storm: Option<StormNote>,
    storm_on_disk: Option<StormNote>,
    resets: VecDeque<Reset>,
    /// Keys of notes that nothing needs any more.
    obsolete: Vec<String>,
    next: u64,
}

#[derive(Clone, Copy, Debug)]
struct Spent {
    at_ms: i64,
    number: u64,
}

#[derive(Clone, Debug)]
enum Circuit {
    Closed {
        failures: VecDeque<i64>,
    },
    Open(BreakerNote),
    /// One attempt is on its way to find out.
    Probing(BreakerNote),
}

impl Books {
    /// What an earlier process left in the ledger.
    pub fn load<'n>(notes: impl IntoIterator<Item = (&'n str, &'n str)>, now_ms: i64) -> Result<Self, Unreadable> {
        let mut books = Self::default();
        let too_old = now_ms.saturating_sub(millis(FORGOTTEN_AFTER));
        let mut charges = Vec::new();
        for (key, value) in notes {
            match kept::read(key, value)? {
                Kept::Spent { number, note } => {
                    books.next = books.next.max(number.saturating_add(1));
                    if note.at < too_old {
                        books.obsolete.push(key.to_owned());
                    } else {
                        charges.push((number, note));
                    }
                }
                Kept::Breaker { service, note } => {
                    books.circuits.insert(service, Circuit::Open(note));
                }
                Kept::Reset(reset) => books.resets.push_back(reset),
                Kept::Storm(note) => {
                    books.storm = Some(note);
                    books.storm_on_disk = Some(note);
                }
            }
        }
        books.resets.make_contiguous().sort_by_key(|reset| reset.at);
        charges.sort_by_key(|(number, note)| (note.at, *number));
        for (number, note) in charges {
            books.spend(note.owner, note.target, Spent { at_ms: note.at, number });
        }
        Ok(books)
    }

    /// Whether a budget has room.
    pub(super) fn admits(&self, charge: &Charge, now_ms: i64) -> Result<(), Refusal> {
        let Charge { owner, target, what, over } = charge;
        let then = match over {
            Over::Hold => Then::Hold,
            Over::Skip => Then::Skip,
        };
        match *what {
            What::Attempts { at_most, within } => {
                let spent = self.attempts(owner, target, within, now_ms);
                if spent < at_most {
                    return Ok(());
                }
                let whose = on(owner, target);
                Err(Refusal {
                    guard: Guard::Budget,
                    then,
                    why: format!("{whose}: {spent} of {at_most} within {within:?}"),
                })
            }
            What::Fleet { at_most, within } => {
                let (others, known) = self.targets(owner, target, within, now_ms);
                if known || others < at_most {
                    return Ok(());
                }
                let why =
                    format!("{owner}: {others} of {at_most} targets within {within:?}; `{target}` would be another");
                Err(Refusal { guard: Guard::Budget, then, why })
            }
            What::Concurrent { at_most } => {
                let Some(running) = self.running.get(owner) else { return Ok(()) };
                if running.contains_key(target) || running.len() < at_most {
                    return Ok(());
                }
                let why =
                    format!("{owner}: {} of {at_most} targets in work; `{target}` would be another", running.len());
                Err(Refusal { guard: Guard::ConcurrentTargets, then: Then::Wait, why })
            }
        }
    }

    /// Whether there is no storm, or the action may go on in one.
    pub(super) fn calm(&self, notify: bool, now_ms: i64) -> Result<(), Refusal> {
        match self.storm {
            Some(storm) if now_ms < storm.until && !notify => {
                let why =
                    format!("too many matches a minute; only notifications for another {}", left(storm.until, now_ms));
                Err(Refusal { guard: Guard::Storm, then: Then::Skip, why })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Whether a service may be asked.
    pub(super) fn closed(&self, service: &str, rule: &Breaker, now_ms: i64) -> Result<(), Refusal> {
        match self.circuits.get(service) {
            Some(Circuit::Open(open)) if now_ms < open.until => {
                let (failures, within) = (open.failures, rule.within);
                let left = left(open.until, now_ms);
                let why = format!("{service} failed {failures} times within {within:?}; left alone for another {left}");
                Err(Refusal { guard: Guard::Breaker, then: Then::Fail, why })
            }
            Some(Circuit::Probing(_)) => {
                let why = format!("one attempt finds out whether {service} works again");
                Err(Refusal { guard: Guard::Breaker, then: Then::Wait, why })
            }
            Some(Circuit::Open(_) | Circuit::Closed { .. }) | None => Ok(()),
        }
    }

    /// Enters an attempt that every guard let through. The notes belong into the same write as its ATTEMPT.
    pub fn enter(&mut self, facts: &Facts, rules: &Rules, now_ms: i64) -> (Cleared, Vec<Note>) {
        let mut cleared = Cleared { service: facts.service.clone(), ..Cleared::default() };
        let mut notes: Vec<_> = self.obsolete.drain(..).map(Note::remove).collect();
        for Charge { owner, target, what, .. } in &facts.charges {
            match *what {
                What::Attempts { within, .. } | What::Fleet { within, .. } => {
                    notes.extend(self.prune(owner, within, now_ms));
                    let number = self.next;
                    self.next = self.next.saturating_add(1);
                    self.spend(owner.clone(), target.clone(), Spent { at_ms: now_ms, number });
                    let note = SpentNote { owner: owner.clone(), target: target.clone(), at: now_ms };
                    notes.push(Note::put(kept::spent_key(number), &note));
                }
                What::Concurrent { .. } => self.run(owner, target, &mut cleared),
            }
        }
        if let (Some(_), Some(circuit)) = (&rules.breaker, self.circuits.get_mut(&facts.service))
            && let Circuit::Open(open) = *circuit
        {
            *circuit = Circuit::Probing(open);
            cleared.probe = true;
        }
        (cleared, notes)
    }

    /// Enters what an earlier process let through and is still going on: only the targets that it acts upon.
    pub fn occupy(&mut self, facts: &Facts) -> Cleared {
        let mut cleared = Cleared { service: facts.service.clone(), ..Cleared::default() };
        for Charge { owner, target, what, .. } in &facts.charges {
            if let What::Concurrent { .. } = what {
                self.run(owner, target, &mut cleared);
            }
        }
        cleared
    }

    fn run(&mut self, owner: &str, target: &str, cleared: &mut Cleared) {
        *self.running.entry(owner.to_owned()).or_default().entry(target.to_owned()).or_default() += 1;
        cleared.concurrent.push((owner.to_owned(), target.to_owned()));
    }

    /// What came of an attempt: whether its service works. Before [`Self::leave`].
    pub fn report(&mut self, cleared: &mut Cleared, works: bool, rules: &Rules, now_ms: i64) -> Change {
        let Some(rule) = &rules.breaker else { return Change::default() };
        let service = cleared.service.clone();
        let probe = std::mem::take(&mut cleared.probe);
        let circuit = self.circuits.entry(service.clone()).or_insert(Circuit::Closed { failures: VecDeque::new() });
        let failures = match circuit {
            Circuit::Probing(_) if probe && works => {
                self.circuits.remove(&service);
                let news = format!("{service} works again: its circuit is closed");
                return Change { notes: vec![Note::remove(kept::breaker_key(&service))], news: vec![news] };
            }
            Circuit::Probing(open) if probe => open.failures.saturating_add(1),
            // An attempt that began before: what it says is old news.
            Circuit::Probing(_) | Circuit::Open(_) => return Change::default(),
            Circuit::Closed { .. } if works => return Change::default(),
            Circuit::Closed { failures } => {
                let since = now_ms.saturating_sub(millis(rule.within));
                failures.retain(|at| *at > since);
                failures.push_back(now_ms);
                if failures.len() < rule.failures {
                    return Change::default();
                }
                failures.len()
            }
        };
        let open = BreakerNote { until: now_ms.saturating_add(millis(rule.open_for)), failures };
        *circuit = Circuit::Open(open);
        let news = format!("{service} failed {failures} times: nothing is sent there for {:?}", rule.open_for);
        Change { notes: vec![Note::put(kept::breaker_key(&service), &open)], news: vec![news] }
    }

    /// An attempt has ended, or was not made after all.
    pub fn leave(&mut self, cleared: &Cleared) {
        for (owner, target) in &cleared.concurrent {
            let Some(targets) = self.running.get_mut(owner) else { continue };
            if let Some(count) = targets.get_mut(target) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    targets.remove(target);
                }
            }
        }
        if cleared.probe
            && let Some(circuit) = self.circuits.get_mut(&cleared.service)
            && let Circuit::Probing(open) = *circuit
        {
            *circuit = Circuit::Open(open);
        }
    }

    /// A record matched.
    pub fn matched(&mut self, rule: &Storm, now_ms: i64) -> Change {
        self.matches.push_back(now_ms);
        while self.matches.len() > rule.matches_per_minute.saturating_add(1) {
            self.matches.pop_front();
        }
        let since = now_ms.saturating_sub(MINUTE_MS);
        let full = self.matches.len() > rule.matches_per_minute;
        if !full || self.matches.front().is_none_or(|first| *first <= since) {
            return Change::default();
        }
        let storm = StormNote { until: now_ms.saturating_add(millis(rule.quiet_for)) };
        let goes_on = self.storm.replace(storm).is_some_and(|before| now_ms < before.until);
        let mut change = Change::default();
        if self.storm_on_disk.is_none_or(|kept| kept.until.saturating_add(STORM_NOTED_EVERY_MS) <= storm.until) {
            self.storm_on_disk = Some(storm);
            change.notes.push(Note::put(kept::STORM.to_owned(), &storm));
        }
        if !goes_on {
            let most = rule.matches_per_minute;
            change
                .news
                .push(format!("storm mode: more than {most} matches within a minute; only notifications are sent"));
        }
        change
    }

    /// Forgets what a person has decided to forget, and keeps that it was so.
    pub fn reset(&mut self, reset: &Reset) -> Change {
        let mut change = Change::default();
        let mut forgot = Vec::new();
        if reset.which.covers(Which::Budgets) {
            let spent = std::mem::take(&mut self.spent).into_values().flat_map(BTreeMap::into_values).flatten();
            change.notes.extend(spent.map(|spent| Note::remove(kept::spent_key(spent.number))));
            forgot.push(format!("{} charges", change.notes.len()));
        }
        if reset.which.covers(Which::Breakers) {
            let circuits = std::mem::take(&mut self.circuits);
            let open = circuits.iter().filter(|(_, circuit)| !matches!(circuit, Circuit::Closed { .. }));
            let open: Vec<_> = open.map(|(service, _)| service.as_str()).collect();
            forgot.push(format!("{} open circuits ({})", open.len(), open.join(", ")));
            change.notes.extend(circuits.keys().map(|service| Note::remove(kept::breaker_key(service))));
        }
        if reset.which.covers(Which::Storm) {
            forgot.push(if self.storm.is_some() { "a storm" } else { "no storm" }.to_owned());
            (self.storm, self.storm_on_disk) = (None, None);
            self.matches.clear();
            change.notes.push(Note::remove(kept::STORM.to_owned()));
        }
        change.notes.push(Note::put(kept::reset_key(reset), reset));
        self.resets.push_back(reset.clone());
        while self.resets.len() > RESETS_KEPT {
            let oldest = self.resets.pop_front();
            change.notes.extend(oldest.map(|reset| Note::remove(kept::reset_key(&reset))));
        }
        let Reset { which, who, why, .. } = reset;
        change.news.push(format!("{who} reset {}: {why}; forgotten: {}", which.name(), forgot.join(", ")));
        change
    }

    /// What persons made the guards forget, the oldest first.
    pub fn resets(&self) -> impl Iterator<Item = &Reset> {
        self.resets.iter()
    }

    /// What is tripped at this moment apart from budgets, each in a line.
    pub fn tripped(&self, now_ms: i64) -> Vec<String> {
        let storm = self.storm.filter(|storm| now_ms < storm.until);
        let storm = storm.map(|storm| format!("storm mode for another {}", left(storm.until, now_ms)));
        let circuits = self.circuits.iter().filter_map(|(service, circuit)| match circuit {
            Circuit::Open(open) | Circuit::Probing(open) => {
                Some(format!("{service} failed {} times and is left alone", open.failures))
            }
            Circuit::Closed { .. } => None,
        });
        storm.into_iter().chain(circuits).collect()
    }

    /// The target that has used most of a budget, and how much; for a fleet and for concurrent targets how many there are.
    pub fn used(&self, owner: &str, what: What, now_ms: i64) -> (String, usize) {
        match what {
            What::Attempts { within, .. } => {
                let targets = self.spent.get(owner).into_iter().flat_map(BTreeMap::keys);
                let used = targets.map(|target| (target.clone(), self.attempts(owner, target, within, now_ms)));
                used.max_by_key(|(_, count)| *count).unwrap_or_default()
            }
            What::Fleet { within, .. } => {
                let targets = self.spent.get(owner).into_iter().flat_map(BTreeMap::keys);
                let charged = targets.filter(|target| self.attempts(owner, target, within, now_ms) > 0);
                (String::new(), charged.count())
            }
            What::Concurrent { .. } => (String::new(), self.running.get(owner).map_or(0, BTreeMap::len)),
        }
    }

    fn attempts(&self, owner: &str, target: &str, within: Duration, now_ms: i64) -> usize {
        let since = now_ms.saturating_sub(millis(within));
        let spent = self.spent.get(owner).and_then(|targets| targets.get(target));
        spent.map_or(0, |spent| spent.iter().filter(|spent| spent.at_ms > since).count())
    }

    /// How many targets but this one were charged, and whether this one was.
    fn targets(&self, owner: &str, target: &str, within: Duration, now_ms: i64) -> (usize, bool) {
        let Some(targets) = self.spent.get(owner) else { return (0, false) };
        let charged = |name: &str| self.attempts(owner, name, within, now_ms) > 0;
        (targets.keys().filter(|name| *name != target && charged(name)).count(), charged(target))
    }

    fn spend(&mut self, owner: String, target: String, spent: Spent) {
        self.spent.entry(owner).or_default().entry(target).or_default().push_back(spent);
    }

    /// Drops the charges of an owner that no window reaches any more.
    fn prune(&mut self, owner: &str, within: Duration, now_ms: i64) -> Vec<Note> {
        let since = now_ms.saturating_sub(millis(within));
        let mut notes = Vec::new();
        let Some(targets) = self.spent.get_mut(owner) else { return notes };
        targets.retain(|_, spent| {
            spent.retain(|spent| {
                let live = spent.at_ms > since;
                if !live {
                    notes.push(Note::remove(kept::spent_key(spent.number)));
                }
                live
            });
            !spent.is_empty()
        });
        notes
    }
}

fn on(owner: &str, target: &str) -> String {
    if target.is_empty() { owner.to_owned() } else { format!("{owner} on `{target}`") }
}

fn left(until_ms: i64, now_ms: i64) -> String {
    let left = u64::try_from(until_ms.saturating_sub(now_ms)).unwrap_or_default();
    format!("{:?}", Duration::from_secs(left.div_ceil(1000)))
}

fn millis(length: Duration) -> i64 {
    i64::try_from(length.as_millis()).unwrap_or(i64::MAX)
}
