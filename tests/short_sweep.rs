//! A short sweep: a fixed range of seeds in each world of the simulator.
//!
//! The long sweeps look for what nobody thought of. This one is for a change that was just made:
//! it takes seconds, the same seeds every time, so that it can be run for each of some hundred
//! mutants (`docs/mutants.md`). A seed that fails is repeated by the command it prints.
#![allow(clippy::panic, reason = "a test that fails says so")]

use runstone_sim::harness::{World, generate, run};

/// How many seeds each world gets, from 0 on.
const SEEDS: u64 = 1_000;

fn no_seed_fails_in(world: World) {
    for seed in 0..SEEDS {
        if let Some(failure) = run(&generate::generate_in(seed, Some(world)), false).failure {
            let name = world.name();
            panic!("{failure:?}\nrepeat with: runstone-sim replay {seed} --world {name}");
        }
    }
}

#[test]
fn no_seed_of_the_short_sweep_fails_on_a_strict_disk() {
    no_seed_fails_in(World::Strict);
}

#[test]
fn no_seed_of_the_short_sweep_fails_on_a_lying_disk() {
    no_seed_fails_in(World::Lying);
}

#[test]
fn no_seed_of_the_short_sweep_fails_on_a_disk_that_garbles_sectors() {
    no_seed_fails_in(World::GarbageSector);
}

#[test]
fn no_seed_of_the_short_sweep_fails_on_a_disk_that_rots() {
    no_seed_fails_in(World::Rot);
}
