//! What the members of a group did, put together, and what must be true of it whatever was broken meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Written by members and watchers, judged at the end.
#[derive(Default)]
pub(super) struct Story(Mutex<Told>);

/// Everything since the start, or since [`Story::begin_again`].
#[derive(Default)]
struct Told {
    began: Option<Instant>,
    beliefs: Vec<Belief>,
    acts: Vec<Act>,
    /// When each offset of a partition was first acted upon.
    done: BTreeMap<i32, BTreeMap<i64, Instant>>,
    commits: Vec<Committed>,
    stored: Vec<Stored>,
    events: Vec<String>,
    /// Acts under earlier beliefs concern a log that is gone.
    counts_from: usize,
}

/// One assignment of one partition, for as long as its member believed that it may act.
struct Belief {
    member: String,
    partition: i32,
    /// The one before it, if it is the same assignment after a reset.
    follows: Option<usize>,
    from: Instant,
    to: Instant,
}

/// Offsets that were acted upon, under one belief.
struct Act {
    belief: usize,
    first: i64,
    next: i64,
    at: Instant,
}

/// An acknowledged commit of one partition.
struct Committed {
    member: String,
    partition: i32,
    next: i64,
    sent: Instant,
    answered: Instant,
}

/// What a coordinator said that it holds.
struct Stored {
    node: i32,
    offsets: BTreeMap<i32, i64>,
    seen: Instant,
}

impl Story {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.0.lock().expect("no holder panicked")
    }

    /// A member has a partition, under a new assignment. The number is that of the assignment.
    pub(super) fn begins(&self, member: &str, partition: i32, at: Instant) -> usize {
        let mut told = self.told();
        told.beliefs.push(Belief { member: member.to_owned(), partition, follows: None, from: at, to: at });
        told.beliefs.len() - 1
    }

    /// The position was reset: the offsets that come do not follow on those before, as in another assignment.
    pub(super) fn jumps(&self, belief: usize, at: Instant) -> usize {
        let mut told = self.told();
        let Belief { member, partition, .. } = &told.beliefs[belief];
        let (member, partition) = (member.clone(), *partition);
        told.beliefs.push(Belief { member, partition, follows: Some(belief), from: at, to: at });
        told.beliefs.len() - 1
    }

    /// A member was found to believe in its assignment at that moment.
    pub(super) fn believes(&self, belief: usize, at: Instant) {
        let mut told = self.told();
        if let Some(belief) = told.beliefs.get_mut(belief) {
            belief.to = belief.to.max(at);
        }
    }

    /// A member acted on these offsets.
    pub(super) fn acts(&self, belief: usize, first: i64, next: i64, at: Instant) {
        let mut told = self.told();
        if belief >= told.counts_from {
            let partition = told.beliefs[belief].partition;
            let done = told.done.entry(partition).or_default();
            for offset in first..next {
                let before = done.entry(offset).or_insert(at);
                *before = at.min(*before);
            }
            told.acts.push(Act { belief, first, next, at });
        }
    }

    /// How many assignments of a partition there were.
    pub(super) fn assignments(&self) -> usize {
        self.told().beliefs.iter().filter(|belief| belief.follows.is_none()).count()
    }

    /// A member's commit was acknowledged.
    pub(super) fn commits(&self, member: &str, partition: i32, next: i64, sent: Instant) {
        let answered = Instant::now();
        self.told().commits.push(Committed { member: member.to_owned(), partition, next, sent, answered });
    }

    /// The coordinator says what it holds.
    pub(super) fn stores(&self, node: i32, offsets: BTreeMap<i32, i64>) {
        self.told().stored.push(Stored { node, offsets, seen: Instant::now() });
    }

    /// Something else happened to a member.
    pub(super) fn happens(&self, event: &str) {
        let mut told = self.told();
        let since = told.began.get_or_insert_with(Instant::now).elapsed();
        told.events.push(format!("{:.3} s {event}", since.as_secs_f64()));
    }

    /// What happened, in words.
    pub(super) fn events(&self) -> Vec<String> {
        self.told().events.clone()
    }

    /// When each offset of a partition at or above `from` was first acted upon, by the order of offsets.
    pub(super) fn acted_from(&self, partition: i32, from: i64) -> Option<(i64, Instant)> {
        let told = self.told();
        let acts = told.acts.iter().filter(|act| told.beliefs[act.belief].partition == partition && act.next > from);
        acts.map(|act| (act.first.max(from), act.at)).min_by_key(|(_, at)| *at)
    }

    /// The end of what was acted upon in one partition.
    pub(super) fn end_of(&self, partition: i32) -> i64 {
        let told = self.told();
        let acts = told.acts.iter().filter(|act| told.beliefs[act.belief].partition == partition);
        acts.map(|act| act.next).max().unwrap_or(0)
    }

    /// Whether every one of these offsets was acted upon.
    pub(super) fn covers(&self, offsets: &BTreeMap<i32, BTreeSet<i64>>) -> bool {
        self.told().missing(offsets).is_empty()
    }

    /// The longest time without an act on a partition in that span.
    pub(super) fn longest_gap(&self, partition: i32, from: Instant, to: Instant) -> Duration {
        let told = self.told();
        let acts = told.acts.iter().filter(|act| told.beliefs[act.belief].partition == partition);
        longest_gap(acts.map(|act| act.at), from, to)
    }

    /// Forgets acts and commits: what comes is another log.
    pub(super) fn begin_again(&self) {
        let mut told = self.told();
        told.counts_from = told.beliefs.len();
        told.acts.clear();
        told.done.clear();
        told.commits.clear();
        told.stored.clear();
    }

    /// Nothing acknowledged is lost, no partition had two owners at one time, commits never went back, and none was
    /// ahead of what was done.
    pub(super) fn judge(&self, acknowledged: &BTreeMap<i32, BTreeSet<i64>>) {
        let told = self.told();
        let missing = told.missing(acknowledged);
        assert!(missing.is_empty(), "never acted upon: {missing:?}\n{:#?}", told.events);
        told.one_owner();
        told.nobody_acts_for_another();
        told.no_gap_and_no_repetition();
        told.commits_never_go_back();
        told.nothing_committed_ahead(acknowledged);
        let count: usize = acknowledged.values().map(BTreeSet::len).sum();
        let (beliefs, commits, looks) = (told.beliefs.len(), told.commits.len(), told.stored.len());
        println!(
            "{count} records, {beliefs} assignments, {commits} acknowledged commits, {looks} looks at what is stored"
        );
        told.events.iter().take(40).for_each(|event| println!("    {event}"));
    }
}

/// The longest time in a span without one of these moments.
pub(super) fn longest_gap(moments: impl Iterator<Item = Instant>, from: Instant, to: Instant) -> Duration {
    let mut moments: Vec<Instant> = moments.filter(|at| (from..=to).contains(at)).collect();
    moments.extend([from, to]);
    moments.sort_unstable();
    moments.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
}

impl Told {
    fn missing(&self, wanted: &BTreeMap<i32, BTreeSet<i64>>) -> BTreeMap<i32, Vec<i64>> {
        let is_done =
            |partition: i32, offset: i64| self.done.get(&partition).is_some_and(|done| done.contains_key(&offset));
        let of = |(partition, offsets): (&i32, &BTreeSet<i64>)| {
            let left: Vec<i64> = offsets.iter().copied().filter(|offset| !is_done(*partition, *offset)).collect();
            (!left.is_empty()).then_some((*partition, left))
        };
        wanted.iter().filter_map(of).collect()
    }

    fn one_owner(&self) {
        let mut all: Vec<(usize, &Belief)> = self.beliefs.iter().enumerate().collect();
        all.sort_by_key(|(_, belief)| (belief.partition, belief.from));
        for pair in all.windows(2) {
            let [(number, one), (_, other)] = pair else { continue };
            // Who looks may know a reset a moment later than who acts; the assignment is one.
            let is_one_assignment = other.follows == Some(*number);
            assert!(
                one.partition != other.partition || one.to <= other.from || is_one_assignment,
                "{} and {} both believed in partition {} for {:?}",
                one.member,
                other.member,
                one.partition,
                one.to - other.from
            );
        }
    }

    /// What is entered by its own words need not have acted under its own belief.
    fn nobody_acts_for_another(&self) {
        for act in &self.acts {
            let own = &self.beliefs[act.belief];
            let others = self.beliefs.iter().filter(|other| {
                other.partition == own.partition
                    && other.member != own.member
                    && (other.from..other.to).contains(&act.at)
            });
            let others: Vec<&str> = others.map(|other| other.member.as_str()).collect();
            assert!(others.is_empty(), "{} acted on partition {} of {others:?}", own.member, own.partition);
        }
    }

    /// Inside one assignment every offset comes once and in order.
    fn no_gap_and_no_repetition(&self) {
        let mut ends: BTreeMap<usize, i64> = BTreeMap::new();
        for act in &self.acts {
            let Belief { member, partition, .. } = &self.beliefs[act.belief];
            if let Some(end) = ends.insert(act.belief, act.next) {
                assert_eq!(act.first, end, "{member} on partition {partition}: {:#?}", self.events);
            }
        }
    }

    fn commits_never_go_back(&self) {
        for (n, one) in self.commits.iter().enumerate() {
            for other in self.commits[n + 1..].iter().filter(|other| other.partition == one.partition) {
                let (before, after) = if one.answered <= other.sent { (one, other) } else { (other, one) };
                let ordered = before.answered <= after.sent;
                assert!(
                    !ordered || before.next <= after.next,
                    "partition {}: {} committed {}, later {} {}",
                    one.partition,
                    before.member,
                    before.next,
                    after.member,
                    after.next
                );
            }
        }
        self.what_is_stored_never_goes_back();
    }

    /// A new coordinator begins with the high watermark that it had as a replica, one round behind: for a moment it may
    /// answer with less than the former one did. Then it must catch up.
    fn what_is_stored_never_goes_back(&self) {
        const CATCHES_UP: Duration = Duration::from_secs(5);
        for (n, pair) in self.stored.windows(2).enumerate() {
            let [one, other] = pair else { continue };
            for (partition, after) in &other.offsets {
                let before = one.offsets.get(partition).copied().unwrap_or(0);
                let later = self.stored[n + 1..].iter().take_while(|later| later.seen <= other.seen + CATCHES_UP);
                let reached = later.map(|later| later.offsets.get(partition).copied().unwrap_or(0)).max();
                let caught_up = one.node != other.node && reached >= Some(before);
                assert!(
                    *after >= before || caught_up,
                    "partition {partition} went back from {before} at node {} to {after} at node {}\n{}",
                    one.node,
                    other.node,
                    self.around(*partition, other.seen)
                );
            }
        }
    }

    /// What is known of a partition around a moment, for messages.
    fn around(&self, partition: i32, at: Instant) -> String {
        let began = self.began.unwrap_or(at);
        let seconds = |at: Instant| at.saturating_duration_since(began).as_secs_f64();
        let near = |moment: Instant| (seconds(moment) - seconds(at)).abs() < 5.0;
        let mut lines: Vec<(Instant, String)> = Vec::new();
        for one in self.commits.iter().filter(|one| one.partition == partition && near(one.answered)) {
            let sent = seconds(one.sent);
            lines.push((one.answered, format!("{} committed {}, sent at {sent:.3} s", one.member, one.next)));
        }
        for stored in self.stored.iter().filter(|stored| near(stored.seen)) {
            let offset = stored.offsets.get(&partition);
            lines.push((stored.seen, format!("node {} holds {offset:?}", stored.node)));
        }
        for act in self.acts.iter().filter(|act| near(act.at) && self.beliefs[act.belief].partition == partition) {
            lines.push((act.at, format!("{} acts on {}..{}", self.beliefs[act.belief].member, act.first, act.next)));
        }
        lines.sort_by_key(|(at, _)| *at);
        let lines = lines.into_iter().map(|(at, line)| format!("{:.3} s {line}\n", seconds(at)));
        lines.chain(self.events.iter().map(|event| format!("{event}\n"))).collect()
    }

    fn nothing_committed_ahead(&self, acknowledged: &BTreeMap<i32, BTreeSet<i64>>) {
        // What an earlier look covered was done before that one.
        let mut checked: BTreeMap<i32, i64> = BTreeMap::new();
        for Stored { seen, offsets, .. } in &self.stored {
            for (partition, next) in offsets {
                let from = checked.insert(*partition, *next).unwrap_or(0).min(*next);
                for offset in acknowledged.get(partition).into_iter().flat_map(|offsets| offsets.range(from..*next)) {
                    let at = self.done.get(partition).and_then(|done| done.get(offset));
                    assert!(
                        at.is_some_and(|at| at <= seen),
                        "partition {partition} had {next} committed before {offset} was acted upon"
                    );
                }
            }
        }
    }
}
