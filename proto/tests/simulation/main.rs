//! Seeded simulation of whole consumer groups with the real membership machine and assignors.
//!
//! `SIM_SEED=n` runs one seed, `SIM_SEEDS=n` that many from 0 on, `SIM_MEMBERS=n` sets the size of the large group. A
//! failure names its seed. For many seeds optimise:
//! `SIM_SEEDS=10000 cargo test --profile bench -p kafka-proto --test simulation`.

mod coordinator;
mod rng;
mod world;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use world::World;

/// Runs when nothing is asked for: a few seconds on one core without optimisation.
const SEEDS_DEFAULT: u64 = 150;

#[expect(clippy::disallowed_methods, reason = "the seed of a failed run comes from the environment")]
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// What a number of runs came to.
#[derive(Default)]
struct Tally {
    steps: u64,
    seen: BTreeMap<String, u64>,
}

impl Tally {
    fn of(seeds: impl Iterator<Item = u64>) -> Self {
        let mut tally = Self::default();
        for seed in seeds {
            let (steps, seen) = World::new(seed).run();
            tally.add(Self { steps, seen });
        }
        tally
    }

    fn add(&mut self, other: Self) {
        self.steps += other.steps;
        for (what, times) in other.seen {
            *self.seen.entry(what).or_default() += times;
        }
    }
}

#[test]
fn seeded_groups_never_have_two_owners_never_move_commits_back_and_deliver_everything() {
    if let Some(seed) = number("SIM_SEED") {
        World::new(seed).run();
        return;
    }
    let seeds = number("SIM_SEEDS").unwrap_or(SEEDS_DEFAULT);
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let mut all = Tally::default();
    std::thread::scope(|scope| {
        let run = |first: usize| scope.spawn(move || Tally::of((0..seeds).skip(first).step_by(cores)));
        let running: Vec<_> = (0..cores).map(run).collect();
        for part in running {
            // The panic of a run names its seed.
            all.add(part.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
    });
    println!("{seeds} seeds, {} steps, {:#?}", all.steps, all.seen);
}

/// The storm is the same as for a few members: what is asked is whether size alone breaks a promise.
#[test]
fn a_group_of_a_hundred_members_keeps_the_same_promises() {
    let members = number("SIM_MEMBERS").map_or(100, |members| usize::try_from(members).unwrap_or(usize::MAX));
    let (steps, seen) = World::large(number("SIM_SEED").unwrap_or(0), members, members * 3 / 2).run();
    println!("{members} members, {steps} steps, {seen:#?}");
}
