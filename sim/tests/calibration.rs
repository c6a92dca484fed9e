//! Calibration: a sweep that finds nothing proves nothing until it is known what it would have
//! found. Each planted bug must be caught, within so many seeds.
//!
//! Runs with `cargo test -p runstone-sim --features planted --test calibration`; the numbers it
//! prints stand in `docs/simulation.md`.
#![cfg(feature = "planted")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests

use runstone::planted::{Bug, plant};
use runstone_sim::harness::run_seed;

/// A bug that takes more seeds than this is not caught.
const SEEDS_MAX: u64 = 4000;

#[test]
fn every_planted_bug_is_caught_and_no_bug_is_not() {
    let mut missed = Vec::new();
    for bug in Bug::ALL {
        plant(Some(bug));
        let caught = (0..SEEDS_MAX).find_map(|n| {
            // Each bug has seeds of its own, so that the numbers are independent.
            let seed = n + 1_000_000 * (bug as u64 + 1);
            run_seed(seed).failure.map(|failure| (n + 1, failure))
        });
        plant(None);
        match caught {
            Some((seeds, failure)) => {
                println!("{bug:?}: caught after {seeds} seeds, by {}", failure.clause);
            }
            None => missed.push(bug),
        }
    }
    assert!(missed.is_empty(), "not caught in {SEEDS_MAX} seeds: {missed:?}");
    // The canary's counterpart: the same seeds without a bug find nothing.
    for seed in 1_000_000..1_000_200 {
        assert_eq!(run_seed(seed).failure, None, "seed {seed}");
    }
}
