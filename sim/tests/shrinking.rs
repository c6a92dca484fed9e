//! What the shrinker leaves of a failure: the goal, on a fixed set of failures of planted bugs.
//!
//! The table in `docs/shrinking.md` is what this prints with three failures of each bug; one of
//! each is what the check has time for:
//! ```sh
//! SHRINK_FAILURES=3 cargo test --release -p runstone-sim --features planted --test shrinking \
//!   -- --nocapture
//! ```
#![cfg(feature = "planted")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test may panic, also in its helpers, and this one measures time"
)]

use std::time::{Duration, Instant};

use runstone::planted::{Bug, plant};
use runstone_sim::harness::Case;
use runstone_sim::harness::generate::generate;
use runstone_sim::harness::shrink::{Size, shrink, shrink_until};
use runstone_sim::harness::{run, run_seed};

/// Failures of each bug, unless `SHRINK_FAILURES` says another number: the first of each of so many
/// searches.
const FAILURES: u64 = 1;
/// A search that takes more seeds than this has missed the bug.
const SEEDS_MAX: u64 = 4000;
/// What the command line takes by default.
const RUNS_MAX: u32 = 40_000;
/// The goal.
const OPS_MAX: usize = 8;
const FAULTS_MAX: usize = 2;
const TIME_MAX: Duration = Duration::from_secs(30);

struct Measured {
    bug: Bug,
    clauses: Vec<&'static str>,
    sizes: Vec<Size>,
    runs: Vec<u32>,
    times: Vec<Duration>,
}

impl Measured {
    fn reached(&self) -> usize {
        let small = |size: &&Size| size.ops <= OPS_MAX && size.faults <= FAULTS_MAX;
        self.sizes.iter().filter(small).count()
    }
}

/// Other seeds than those of the calibration.
fn first_seed(bug: Bug, search: u64) -> u64 {
    (bug as u64 + 1) * 10_000_000 + 5_000_000 + search * SEEDS_MAX
}

fn failures() -> u64 {
    let told = std::env::var("SHRINK_FAILURES").ok();
    told.map_or(FAILURES, |told| told.parse().expect("SHRINK_FAILURES is a number"))
}

fn measure(bug: Bug) -> Measured {
    let mut measured =
        Measured { bug, clauses: vec![], sizes: vec![], runs: vec![], times: vec![] };
    plant(Some(bug));
    for search in 0..failures() {
        let first = first_seed(bug, search);
        let seed = (first..first + SEEDS_MAX).find(|seed| run_seed(*seed).failure.is_some());
        let case = generate(seed.unwrap_or_else(|| panic!("{bug:?} is not caught from {first}")));
        let start = Instant::now();
        // What takes longer has missed the goal: nobody waits for it.
        let is_late = || start.elapsed() > TIME_MAX;
        let shrunk = shrink_until(&case, RUNS_MAX, &is_late).expect("the seed fails");
        measured.times.push(start.elapsed());
        measured.sizes.push(Size::of(&shrunk.case));
        measured.runs.push(shrunk.runs);
        measured.clauses.push(shrunk.failure.clause);
        let again = run(&shrunk.case, false).failure.map(|failure| failure.clause);
        assert_eq!(again, Some(shrunk.failure.clause), "what is left fails");
    }
    plant(None);
    measured
}

fn list<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

#[test]
fn nine_in_ten_failures_of_planted_bugs_shrink_to_eight_operations_and_two_faults() {
    let measured = std::thread::scope(|scope| {
        // Two halves at once: a bug is planted for one thread only.
        let half = |first: usize| {
            move || Bug::ALL.iter().copied().skip(first).step_by(2).map(measure).collect::<Vec<_>>()
        };
        let (even, odd) = (scope.spawn(half(0)), scope.spawn(half(1)));
        let mut measured = even.join().expect("the even bugs shrink");
        measured.extend(odd.join().expect("the odd bugs shrink"));
        measured.sort_by_key(|measured| measured.bug);
        measured
    });
    println!("| Planted bug | Operations | Faults | Runs | Longest, seconds | Clause |");
    println!("|---|---|---|---|---:|---|");
    for m in &measured {
        let longest = m.times.iter().max().unwrap().as_secs_f64();
        println!(
            "| `{:?}` | {} | {} | {} | {longest:.1} | {} |",
            m.bug,
            list(m.sizes.iter().map(|size| size.ops)),
            list(m.sizes.iter().map(|size| size.faults)),
            list(m.runs.iter()),
            list(m.clauses.iter()),
        );
    }
    let all: usize = measured.iter().map(|m| m.sizes.len()).sum();
    let reached: usize = measured.iter().map(Measured::reached).sum();
    println!("{reached} of {all} reach the goal");
    assert!(reached * 10 >= all * 9, "{reached} of {all}");
}

/// The first case that shows the planted bug.
fn failing_case() -> Case {
    let mut cases = (8_000_000..8_001_000).map(generate);
    cases.find(|case| run(case, false).failure.is_some()).expect("a seed catches the bug")
}

#[test]
fn the_same_failure_shrinks_to_the_same_case() {
    plant(Some(Bug::HalfBatchApplied));
    let case = failing_case();
    let (first, second) = (shrink(&case, 2000).unwrap(), shrink(&case, 2000).unwrap());
    plant(None);
    assert_eq!(first.case, second.case);
    assert_eq!((first.failure, first.runs), (second.failure, second.runs));
}

#[test]
fn a_search_whose_time_is_over_ends_at_once_with_the_best_that_it_has() {
    use std::cell::Cell;

    plant(Some(Bug::HalfBatchApplied));
    let case = failing_case();
    let mut sizes = Vec::new();
    for questions in [0, 1, 60, 6000, u32::MAX] {
        // The time is over after so many looks at it, in the middle of a run or between two.
        let asked = Cell::new(0);
        let is_late = || {
            asked.set(asked.get() + 1);
            asked.get() > questions
        };
        let shrunk = shrink_until(&case, 2000, &is_late).expect("the case fails");
        match questions {
            0 => assert_eq!(shrunk.runs, 1, "the run that shows the failure"),
            // The second run is given up at its first operation, or within.
            1 | 60 => assert_eq!(shrunk.runs, 2, "{questions} looks"),
            _ => assert!(shrunk.runs > 2),
        }
        let clause = run(&shrunk.case, false).failure.map(|failure| failure.clause);
        assert_eq!(clause, Some(shrunk.failure.clause), "what is left fails");
        sizes.push(Size::of(&shrunk.case));
    }
    plant(None);
    assert!(sizes.is_sorted_by(|before, after| before >= after), "{sizes:?}");
    assert!(sizes.first() > sizes.last(), "{sizes:?}");
}

#[test]
fn no_more_runs_are_made_than_were_allowed() {
    plant(Some(Bug::ReadErrorEndsLog));
    let mut seeds = 13_000_000..13_000_000 + SEEDS_MAX;
    let seed = seeds.find(|seed| run_seed(*seed).failure.is_some()).unwrap();
    let case = generate(seed);
    let shrunk = [0, 1, 10, 100].map(|runs_max| shrink(&case, runs_max));
    plant(None);
    for (shrunk, runs_max) in shrunk.into_iter().zip([0, 1, 10, 100]) {
        let shrunk = shrunk.expect("the case fails");
        assert!(shrunk.runs <= runs_max.max(1), "{} of {runs_max}", shrunk.runs);
    }
}
