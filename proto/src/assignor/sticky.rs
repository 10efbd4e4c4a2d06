//! The sticky assignors: balanced first, then as few moves as that allows.
//!
//! One core serves both. It takes the claims of the members ("I had these partitions in that generation"), settles
//! disputes (the higher generation wins; equal generations mean that nobody can be believed, KIP-792 and fault G8),
//! gives unowned partitions to the least loaded subscriber, and then shifts partitions along cost-reducing paths until
//! there is none: the assignment is then optimal (no member could be lighter without another becoming as heavy). Every
//! shift makes the sum of squared loads smaller, so it ends (fault G9).
//!
//! The cooperative form withholds what another member still claims: that member must give it up first, and the round
//! after hands it over. So no partition has two owners while it moves.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::assignor::protocol::StickyUserData;
use crate::assignor::{Assignment, GroupMember, PartitionCounts};
use crate::id::{Generation, TopicPartition};

/// Topic by place in [`Board::topics`], and partition.
type Slot = (usize, i32);

/// What a member says it had.
#[derive(Default)]
struct Claim {
    partitions: Vec<TopicPartition>,
    generation: Option<Generation>,
}

/// "sticky": claims come from the user data, since eager members own nothing when they join.
pub(super) fn assign(members: &[GroupMember], counts: &PartitionCounts) -> Assignment {
    let members = in_order(members);
    let mut board = Board::new(&members, counts, &members.iter().map(|m| claim_in_user_data(m)).collect::<Vec<_>>());
    board.settle();
    board.into_assignment(&members, &BTreeSet::new())
}

/// "cooperative-sticky": claims are the owned partitions, and what has to change hands is left out this time.
pub(super) fn assign_cooperative(members: &[GroupMember], counts: &PartitionCounts) -> Assignment {
    let members = in_order(members);
    let mut board = Board::new(&members, counts, &members.iter().map(|m| claim_of_owned(m)).collect::<Vec<_>>());
    board.settle();
    let withheld = board.still_claimed_by_others();
    board.into_assignment(&members, &withheld)
}

/// Members in Kafka's order, each id once.
fn in_order(members: &[GroupMember]) -> Vec<&GroupMember> {
    let mut ordered: Vec<&GroupMember> = members.iter().collect();
    ordered.sort_by(|a, b| a.kafka_order(b));
    let mut seen = BTreeSet::new();
    ordered.retain(|m| seen.insert(Arc::clone(&m.member_id)));
    ordered
}

fn claim_in_user_data(member: &GroupMember) -> Claim {
    let data = member.subscription.user_data.as_deref().map(StickyUserData::decode_tolerant).unwrap_or_default();
    Claim { partitions: data.previous, generation: data.generation }
}

fn claim_of_owned(member: &GroupMember) -> Claim {
    let subscription = &member.subscription;
    let in_user_data = || {
        let bytes = subscription.user_data.as_deref()?.first_chunk()?;
        Some(i32::from_be_bytes(*bytes)).filter(|g| *g >= 0).map(Generation)
    };
    Claim { partitions: subscription.owned.clone(), generation: subscription.generation.or_else(in_user_data) }
}

/// The state of one computation. Members are known by their place in Kafka's order.
struct Board {
    topics: Vec<Arc<str>>,
    counts: Vec<i32>,
    /// Per topic the members that subscribe to it, ascending.
    takers: Vec<Vec<usize>>,
    /// Per member what it claims, of topics that have partitions.
    claimed: Vec<BTreeSet<Slot>>,
    /// Who owned a partition before, where that is beyond dispute.
    owner: BTreeMap<Slot, usize>,
    /// Per member what it is given, by topic.
    held: Vec<BTreeMap<usize, BTreeSet<i32>>>,
    load: Vec<usize>,
}

impl Board {
    fn new(members: &[&GroupMember], counts: &PartitionCounts, claims: &[Claim]) -> Self {
        let topics: Vec<Arc<str>> = counts.iter().filter(|(_, n)| **n > 0).map(|(t, _)| Arc::clone(t)).collect();
        let place: BTreeMap<&str, usize> = topics.iter().enumerate().map(|(i, t)| (&**t, i)).collect();
        let mut takers = vec![BTreeSet::new(); topics.len()];
        for (m, member) in members.iter().enumerate() {
            for t in member.subscription.topics.iter().filter_map(|t| place.get(&**t)) {
                takers[*t].insert(m);
            }
        }
        let numbers: Vec<i32> = topics.iter().map(|t| counts[t]).collect();
        let slot = |tp: &TopicPartition| {
            let t = *place.get(&*tp.topic)?;
            (0..numbers[t]).contains(&tp.partition).then_some((t, tp.partition))
        };
        let claimed: Vec<BTreeSet<Slot>> =
            claims.iter().map(|claim| claim.partitions.iter().filter_map(slot).collect()).collect();
        let takers: Vec<Vec<usize>> = takers.into_iter().map(|set| set.into_iter().collect()).collect();
        let owner = undisputed_owners(&claimed, claims, &takers);
        Self {
            counts: numbers,
            owner,
            claimed,
            held: vec![BTreeMap::new(); members.len()],
            load: vec![0; members.len()],
            takers,
            topics,
        }
    }

    fn settle(&mut self) {
        for (slot, member) in self.owner.clone() {
            self.give(member, slot);
        }
        self.place_unowned();
        while let Some(path) = self.cost_reducing_path() {
            self.shift_along(&path);
        }
    }

    /// Gives each partition without an owner to the lightest subscriber; topics with few subscribers first, so that
    /// the choice is still free when it matters.
    fn place_unowned(&mut self) {
        let mut order: Vec<usize> = (0..self.topics.len()).filter(|t| !self.takers[*t].is_empty()).collect();
        order.sort_by_key(|t| self.takers[*t].len());
        for t in order {
            for slot in (0..self.counts[t]).map(|p| (t, p)) {
                if self.owner.contains_key(&slot) {
                    continue;
                }
                let lightest = self.takers[t].iter().copied().min_by_key(|m| self.load[*m]);
                if let Some(member) = lightest {
                    self.give(member, slot);
                }
            }
        }
    }

    /// A way to hand partitions on, member to member, from one with at least two more than the last.
    fn cost_reducing_path(&self) -> Option<Vec<usize>> {
        let lightest = *self.load.iter().min()?;
        let mut heavy: Vec<usize> = (0..self.load.len()).filter(|m| self.load[*m] >= lightest + 2).collect();
        heavy.sort_by_key(|m| std::cmp::Reverse(self.load[*m]));
        heavy.into_iter().find_map(|from| self.path_down_from(from))
    }

    /// Breadth first over "a partition that this member holds could go to that one".
    fn path_down_from(&self, from: usize) -> Option<Vec<usize>> {
        let mut came_from: Vec<Option<usize>> = vec![None; self.load.len()];
        let mut topics_seen = vec![false; self.topics.len()];
        let mut queue = VecDeque::from([from]);
        while let Some(giver) = queue.pop_front() {
            for &t in self.held[giver].keys() {
                if std::mem::replace(&mut topics_seen[t], true) {
                    continue;
                }
                let mut fresh: Vec<usize> =
                    self.takers[t].iter().copied().filter(|m| *m != from && came_from[*m].is_none()).collect();
                fresh.sort_by_key(|m| self.load[*m]);
                for taker in fresh {
                    came_from[taker] = Some(giver);
                    if self.load[taker] + 2 <= self.load[from] {
                        return Some(walk_back(&came_from, from, taker));
                    }
                    queue.push_back(taker);
                }
            }
        }
        None
    }

    fn shift_along(&mut self, path: &[usize]) {
        for pair in path.windows(2) {
            if let [giver, taker] = *pair
                && let Some(slot) = self.best_to_move(giver, taker)
            {
                self.take(giver, slot);
                self.give(taker, slot);
            }
        }
    }

    /// What the giver misses least: something that the taker claimed, else something that the giver never had, else
    /// the last.
    fn best_to_move(&self, giver: usize, taker: usize) -> Option<Slot> {
        let movable = self.held[giver]
            .iter()
            .filter(|(t, _)| self.takers[**t].binary_search(&taker).is_ok())
            .flat_map(|(t, numbers)| numbers.iter().map(|p| (*t, *p)));
        movable.max_by_key(|slot| (self.claimed[taker].contains(slot), !self.claimed[giver].contains(slot), *slot))
    }

    fn give(&mut self, member: usize, (t, p): Slot) {
        self.held[member].entry(t).or_default().insert(p);
        self.load[member] += 1;
    }

    fn take(&mut self, member: usize, (t, p): Slot) {
        if let Some(numbers) = self.held[member].get_mut(&t) {
            numbers.remove(&p);
            if numbers.is_empty() {
                self.held[member].remove(&t);
            }
        }
        self.load[member] -= 1;
    }

    /// Partitions given to a member that is not their undisputed owner while another member claims them.
    fn still_claimed_by_others(&self) -> BTreeSet<Slot> {
        let mut claimants: BTreeMap<Slot, Vec<usize>> = BTreeMap::new();
        for (m, slots) in self.claimed.iter().enumerate() {
            for slot in slots {
                claimants.entry(*slot).or_default().push(m);
            }
        }
        let holds = |m: usize, (t, p): Slot| self.held[m].get(&t).is_some_and(|numbers| numbers.contains(&p));
        let safe = |slot: &Slot, claimants: &[usize]| match self.owner.get(slot) {
            Some(owner) if holds(*owner, *slot) => true,
            Some(_) | None => matches!(claimants, [only] if holds(*only, *slot)),
        };
        claimants.iter().filter(|(slot, who)| !safe(slot, who)).map(|(slot, _)| *slot).collect()
    }

    fn into_assignment(self, members: &[&GroupMember], withheld: &BTreeSet<Slot>) -> Assignment {
        let mut assignment = Assignment::new();
        for (member, held) in members.iter().zip(self.held) {
            let slots = held.into_iter().flat_map(|(t, numbers)| numbers.into_iter().map(move |p| (t, p)));
            let given = slots
                .filter(|slot| !withheld.contains(slot))
                .map(|(t, p)| TopicPartition { topic: Arc::clone(&self.topics[t]), partition: p });
            assignment.insert(Arc::clone(&member.member_id), given.collect());
        }
        assignment
    }
}

fn walk_back(came_from: &[Option<usize>], from: usize, to: usize) -> Vec<usize> {
    let mut path = vec![to];
    let mut at = to;
    while at != from
        && let Some(before) = came_from[at]
    {
        path.push(before);
        at = before;
    }
    path.reverse();
    path
}

/// The owner of each claimed partition: the claim of the highest generation, if it is alone and the member still
/// subscribes to the topic.
fn undisputed_owners(claimed: &[BTreeSet<Slot>], claims: &[Claim], takers: &[Vec<usize>]) -> BTreeMap<Slot, usize> {
    let mut best: BTreeMap<Slot, (Option<Generation>, Option<usize>)> = BTreeMap::new();
    for (m, slots) in claimed.iter().enumerate() {
        let generation = claims[m].generation;
        for slot in slots.iter().filter(|(t, _)| takers[*t].binary_search(&m).is_ok()) {
            let entry = best.entry(*slot).or_insert((generation, Some(m)));
            if generation > entry.0 {
                *entry = (generation, Some(m));
            } else if generation == entry.0 && entry.1 != Some(m) {
                entry.1 = None;
            }
        }
    }
    best.into_iter().filter_map(|(slot, (_, owner))| Some((slot, owner?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assignor::protocol::Subscription;
    use proptest::prelude::*;

    fn tp(topic: &str, partition: i32) -> TopicPartition {
        TopicPartition { topic: topic.into(), partition }
    }

    fn member(id: &str, topics: &[&str], generation: i32, owned: &[TopicPartition]) -> GroupMember {
        GroupMember {
            member_id: id.into(),
            instance_id: None,
            subscription: Subscription {
                topics: topics.iter().map(|t| Arc::from(*t)).collect(),
                user_data: Some(
                    StickyUserData { previous: owned.to_vec(), generation: Some(Generation(generation)) }.encode(),
                ),
                owned: owned.to_vec(),
                generation: Some(Generation(generation)),
                rack: None,
            },
        }
    }

    fn counts(list: &[(&str, i32)]) -> PartitionCounts {
        list.iter().map(|(t, n)| (Arc::from(*t), *n)).collect()
    }

    fn own(members: &mut [GroupMember], generation: i32, assignment: &Assignment) {
        for member in members {
            member.subscription.owned = assignment.get(&member.member_id).cloned().unwrap_or_default();
            member.subscription.generation = Some(Generation(generation));
        }
    }

    #[test]
    fn a_new_member_takes_only_its_share_and_only_after_it_was_given_up() {
        let had: Vec<_> = (0..4).map(|p| tp("t", p)).collect();
        let mut members = vec![member("a", &["t"], 1, &had), member("b", &["t"], -1, &[])];
        let counts = counts(&[("t", 4)]);
        let first = assign_cooperative(&members, &counts);
        assert_eq!((first["a"].len(), first["b"].len()), (2, 0));
        own(&mut members, 2, &first);
        let second = assign_cooperative(&members, &counts);
        assert_eq!(second["a"], first["a"]);
        assert_eq!(second["b"].len(), 2);
    }

    #[test]
    fn eager_sticky_moves_at_once() {
        let had: Vec<_> = (0..4).map(|p| tp("t", p)).collect();
        let members = [member("a", &["t"], 1, &had), member("b", &["t"], -1, &[])];
        let got = assign(&members, &counts(&[("t", 4)]));
        assert_eq!((got["a"].clone(), got["b"].clone()), (vec![tp("t", 0), tp("t", 1)], vec![tp("t", 2), tp("t", 3)]));
    }

    #[test]
    fn g08_a_stale_generation_loses_the_dispute() {
        let members = [member("a", &["t"], 5, &[tp("t", 0)]), member("z", &["t"], 3, &[tp("t", 0)])];
        let got = assign_cooperative(&members, &counts(&[("t", 1)]));
        assert_eq!((got["a"].clone(), got["z"].len()), (vec![tp("t", 0)], 0));
    }

    #[test]
    fn g08_equal_generations_mean_that_both_give_it_up_first() {
        let mut members = vec![member("a", &["t"], 5, &[tp("t", 0)]), member("z", &["t"], 5, &[tp("t", 0)])];
        let counts = counts(&[("t", 1)]);
        let first = assign_cooperative(&members, &counts);
        assert_eq!((first["a"].len(), first["z"].len()), (0, 0));
        own(&mut members, 6, &first);
        let second = assign_cooperative(&members, &counts);
        assert_eq!(second["a"].len() + second["z"].len(), 1);
    }

    #[test]
    fn chains_of_moves_are_found_where_single_moves_do_not_help() {
        // a holds two of t; b shares t and u and holds one of u; c takes only u and has none.
        let members = [
            member("a", &["t"], 1, &[tp("t", 0), tp("t", 1)]),
            member("b", &["t", "u"], 1, &[tp("u", 0)]),
            member("c", &["u"], 1, &[]),
        ];
        let got = assign(&members, &counts(&[("t", 2), ("u", 1)]));
        assert_eq!((got["a"].len(), got["b"].len(), got["c"].len()), (1, 1, 1));
    }

    #[test]
    fn one_member_id_twice_is_one_member() {
        let members = [member("a", &["t"], 1, &[]), member("a", &["t"], 1, &[])];
        assert_eq!(assign(&members, &counts(&[("t", 3)]))["a"].len(), 3);
    }

    #[derive(Clone, Debug)]
    struct Case {
        members: Vec<GroupMember>,
        counts: PartitionCounts,
    }

    /// Members with arbitrary subscriptions of up to four topics, and arbitrary, contradicting claims.
    fn cases() -> impl Strategy<Value = Case> {
        let claim = (0..4usize, 0..9i32);
        let one = (proptest::collection::btree_set(0..4usize, 0..4), proptest::collection::vec(claim, 0..8), -1..4i32);
        (proptest::collection::vec(one, 1..7), proptest::collection::vec(0..8i32, 4)).prop_map(|(members, numbers)| {
            let name = |t: usize| ["t0", "t1", "t2", "t3"][t];
            let members = members.into_iter().enumerate().map(|(i, (topics, claims, generation))| {
                let topics: Vec<&str> = topics.into_iter().map(name).collect();
                let owned: Vec<_> = claims.into_iter().map(|(t, p)| tp(name(t), p)).collect();
                member(&format!("m{i}"), &topics, generation, &owned)
            });
            let counts = numbers.into_iter().enumerate().map(|(t, n)| (Arc::from(name(t)), n)).collect();
            Case { members: members.collect(), counts }
        })
    }

    fn given(assignment: &Assignment) -> Vec<TopicPartition> {
        let mut all: Vec<_> = assignment.values().flatten().cloned().collect();
        all.sort();
        all
    }

    fn wanted(case: &Case) -> Vec<TopicPartition> {
        let subscribed = |t: &Arc<str>| case.members.iter().any(|m| m.subscription.topics.contains(t));
        let topics = case.counts.iter().filter(|(t, _)| subscribed(t));
        topics.flat_map(|(t, n)| (0..*n).map(|p| tp(t, p))).collect()
    }

    /// No single hand-over makes the heavier of the two lighter.
    fn check_balanced(case: &Case, assignment: &Assignment) {
        for giver in &case.members {
            for taker in &case.members {
                let heavier = assignment[&giver.member_id].len() >= assignment[&taker.member_id].len() + 2;
                let could = assignment[&giver.member_id].iter().any(|p| taker.subscription.topics.contains(&p.topic));
                assert!(!(heavier && could), "{} should hand one to {}", giver.member_id, taker.member_id);
            }
        }
    }

    proptest! {
        #[test]
        fn eager_assignments_are_complete_balanced_and_only_to_subscribers(case in cases()) {
            let got = assign(&case.members, &case.counts);
            prop_assert_eq!(given(&got), wanted(&case));
            check_balanced(&case, &got);
            for member in &case.members {
                let foreign = got[&member.member_id].iter().find(|p| !member.subscription.topics.contains(&p.topic));
                prop_assert_eq!(foreign, None);
            }
        }

        #[test]
        fn what_is_settled_stays_where_it_is(case in cases()) {
            let first = assign(&case.members, &case.counts);
            let mut again = case.clone();
            for member in &mut again.members {
                let previous = first[&member.member_id].clone();
                let data = StickyUserData { previous, generation: Some(Generation(9)) };
                member.subscription.user_data = Some(data.encode());
            }
            prop_assert_eq!(assign(&again.members, &again.counts), first);
        }

        #[test]
        fn with_equal_subscriptions_no_more_moves_than_balance_needs(
            held in proptest::collection::vec(0..12usize, 2..6), newcomers in 0..3usize,
        ) {
            let total: usize = held.iter().sum();
            let mut next = 0..i32::MAX;
            let mut members: Vec<GroupMember> = held.iter().enumerate().map(|(i, n)| {
                let owned: Vec<_> = next.by_ref().take(*n).map(|p| tp("t", p)).collect();
                member(&format!("m{i}"), &["t"], 1, &owned)
            }).collect();
            members.extend((0..newcomers).map(|i| member(&format!("n{i}"), &["t"], -1, &[])));
            let got = assign(&members, &counts(&[("t", i32::try_from(total).unwrap())]));
            let kept: usize = members.iter().map(|m| {
                got[&m.member_id].iter().filter(|p| m.subscription.owned.contains(p)).count()
            }).sum();
            let (floor, extra) = (total / members.len(), total % members.len());
            let mut loads: Vec<usize> = held.clone();
            loads.extend(std::iter::repeat_n(0, newcomers));
            loads.sort_unstable_by(|a, b| b.cmp(a));
            let most: usize =
                loads.iter().enumerate().map(|(i, n)| (*n).min(floor + usize::from(i < extra))).sum();
            prop_assert_eq!(kept, most);
        }

        #[test]
        fn g09_cooperative_rounds_end_and_never_give_a_partition_two_owners(case in cases()) {
            let mut case = case;
            for generation in 10..16 {
                let got = assign_cooperative(&case.members, &case.counts);
                for member in &case.members {
                    for p in &got[&member.member_id] {
                        let disputed = case.members.iter().any(|other| {
                            other.member_id != member.member_id
                                && other.subscription.owned.contains(p)
                                && other.subscription.generation >= member.subscription.generation
                        });
                        let moved = disputed && !member.subscription.owned.contains(p);
                        prop_assert!(!moved, "{} was handed over while another member had it", p);
                    }
                }
                let settled = case.members.iter().all(|m| m.subscription.owned == got[&m.member_id]);
                own(&mut case.members, generation, &got);
                if settled {
                    prop_assert_eq!(given(&got), wanted(&case));
                    check_balanced(&case, &got);
                    return Ok(());
                }
            }
            prop_assert!(false, "the rounds did not end");
        }
    }
}
