//! Seeded simulation of whole consumer groups with the real membership machine and assignors.
//!
//! `SIM_SEED=n` runs one seed, `SIM_SEEDS=n` that many from 0 on. A failure names its seed.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is one")]

mod coordinator;
mod rng;
mod world;

use std::collections::BTreeMap;

use world::World;

/// Runs when nothing is asked for: a few seconds on one core without optimisation.
const SEEDS_DEFAULT: u64 = 200;

#[expect(clippy::disallowed_methods, reason = "the seed of a failed run comes from the environment")]
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn seeded_groups_never_have_two_owners_never_move_commits_back_and_deliver_everything() {
    let seeds = number("SIM_SEED").map_or(0..number("SIM_SEEDS").unwrap_or(SEEDS_DEFAULT), |seed| seed..seed + 1);
    let (mut steps, mut seen) = (0, BTreeMap::<String, u64>::new());
    for seed in seeds.clone() {
        let (taken, happened) = World::new(seed).run();
        steps += taken;
        happened.into_iter().for_each(|(what, times)| *seen.entry(what).or_default() += times);
    }
    println!("{} seeds, {steps} steps, {seen:#?}", seeds.end - seeds.start);
}
