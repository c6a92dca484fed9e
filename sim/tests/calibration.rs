//! Calibration: a sweep that finds nothing proves nothing until it is known what it would have
//! found. Each planted bug must be caught, within so many seeds.
//!
//! The table in `docs/simulation.md` is what this prints:
//! ```sh
//! cargo test --release -p runstone-sim --features planted --test calibration -- --nocapture
//! ```
#![cfg(feature = "planted")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests

use std::collections::BTreeMap;

use runstone::planted::{Bug, plant};
use runstone_sim::harness::run_seed;

/// Independent searches for each bug: one search is a single draw of a geometric distribution,
/// whose deviation is as large as its mean.
const SEARCHES: u64 = 20;
/// A search that takes more seeds than this has missed the bug.
const SEEDS_MAX: u64 = 4000;

/// What the searches for one bug came to.
struct Found {
    /// The seeds that each search took; sorted.
    seeds: Vec<u64>,
    /// How often each clause was the first to be broken.
    clauses: BTreeMap<&'static str, u64>,
}

/// Searches until the bug is caught, in seeds that no other search looks at.
fn search(bug: Bug) -> Found {
    let mut found = Found { seeds: Vec::new(), clauses: BTreeMap::new() };
    plant(Some(bug));
    for search in 0..SEARCHES {
        let first = (bug as u64 + 1) * 10_000_000 + search * SEEDS_MAX;
        let caught = (first..first + SEEDS_MAX)
            .find_map(|seed| run_seed(seed).failure.map(|failure| (seed - first + 1, failure)));
        let Some((seeds, failure)) = caught else {
            panic!("{bug:?} was not caught by the seeds {first}..{}", first + SEEDS_MAX);
        };
        found.seeds.push(seeds);
        *found.clauses.entry(failure.clause).or_default() += 1;
    }
    plant(None);
    found.seeds.sort_unstable();
    found
}

#[test]
fn every_planted_bug_is_caught() {
    let found = std::thread::scope(|scope| {
        // Two halves at once: a bug is planted for one thread only.
        let half = |first: usize| {
            move || {
                let bugs = Bug::ALL.into_iter().skip(first).step_by(2);
                bugs.map(|bug| (bug, search(bug))).collect::<Vec<_>>()
            }
        };
        let (even, odd) = (scope.spawn(half(0)), scope.spawn(half(1)));
        let mut found = even.join().expect("the even bugs are caught");
        found.extend(odd.join().expect("the odd bugs are caught"));
        found.sort_by_key(|(bug, _)| *bug);
        found
    });
    println!("| Planted bug | Mean seeds | Least | Most | First broken |");
    println!("|---|---:|---:|---:|---|");
    for (bug, Found { seeds, clauses }) in found {
        let mean = seeds.iter().sum::<u64>() as f64 / SEARCHES as f64;
        let mut clauses: Vec<_> = clauses.into_iter().collect();
        clauses.sort_by_key(|(clause, times)| (u64::MAX - times, *clause));
        let clauses: Vec<_> =
            clauses.iter().map(|(clause, times)| format!("{clause} ({times})")).collect();
        println!(
            "| `{bug:?}` | {mean:.1} | {} | {} | {} |",
            seeds.first().unwrap(),
            seeds.last().unwrap(),
            clauses.join(", ")
        );
    }
}

/// The canary: if a log that is never synced passes fifty seeds, the simulator is blind, and
/// every green run means nothing.
#[test]
fn an_engine_that_never_syncs_is_caught_at_once() {
    plant(Some(Bug::NoDataSync));
    let caught = (0..50).any(|seed| run_seed(seed).failure.is_some());
    plant(None);
    assert!(caught, "NoDataSync passed 50 seeds");
}

/// The canary's counterpart: what the searches catch is the bug, not the engine.
#[test]
fn the_same_seeds_without_a_bug_are_quiet() {
    for seed in (0..50).chain(10_000_000..10_000_200) {
        assert_eq!(run_seed(seed).failure, None, "seed {seed}");
    }
}

#[test]
fn the_table_in_the_docs_has_every_bug() {
    let page = include_str!("../../docs/simulation.md");
    for bug in Bug::ALL {
        assert!(page.contains(&format!("| `{bug:?}` |")), "put {bug:?} into docs/simulation.md");
    }
}
