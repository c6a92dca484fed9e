//! What the simulator can see: searches for every planted bug, and for weaker harnesses too.
//!
//! Compiled with the feature `planted` only. A sweep that finds nothing proves nothing until it
//! is known what it would have found; this measures it.
//!
//! - [`register`]: every real bug of the collection, and where it stands.
//! - [`report`]: the figures of all searches, as a table and as JSON.
//!
//! Invariants: a search looks at seeds that no other search of the same bug looks at, so that
//! their lengths are independent draws; all but the processor times is decided by the plan.

pub mod register;
pub mod report;

use std::time::Duration;

use runstone::planted::{Bug, plant};
use serde::Serialize;

use crate::harness::weak::Weak;
use crate::harness::{Case, Op, generate, run, shrink};

/// How much is searched.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Independent searches for each bug.
    pub searches: u64,
    /// A search of so many seeds without a breach has missed the bug.
    pub seeds_max: u64,
    /// After so many missed searches a bug counts as not caught, and is given up.
    pub misses_max: u64,
    /// Searches of each weaker harness.
    pub weak_searches: u64,
    /// Their bound.
    pub weak_seeds_max: u64,
    /// How many runs the shrinking of a bug's first failing case may take; 0 shrinks none.
    pub shrink_runs: u32,
}

impl Plan {
    /// The whole table.
    pub const FULL: Plan = Plan {
        searches: 100,
        seeds_max: 4000,
        misses_max: 3,
        weak_searches: 3,
        weak_seeds_max: 500,
        shrink_runs: 20_000,
    };

    /// A look at each bug, for every change of the simulator.
    pub const QUICK: Plan = Plan {
        searches: 2,
        seeds_max: 2000,
        misses_max: 1,
        weak_searches: 0,
        weak_seeds_max: 0,
        shrink_runs: 0,
    };
}

/// How a bug was caught.
#[derive(Clone, Debug, Serialize)]
pub struct Caught {
    /// The seed that caught it.
    pub seed: u64,
    /// The clause of the contract that was the first to be broken.
    pub clause: &'static str,
    /// The crash before that, by kind and model; "none" before the first.
    pub crash: String,
}

/// One search.
#[derive(Clone, Debug, Serialize)]
pub struct Search {
    /// The seeds that were run, the last one included.
    pub seeds: u64,
    /// Processor time, in seconds.
    pub cpu_seconds: f64,
    /// How it ended; `None` if the bug was missed.
    pub caught: Option<Caught>,
}

/// The least case that still shows a bug.
#[derive(Clone, Debug, Serialize)]
pub struct Least {
    /// How many operations, crashes among them.
    pub ops: usize,
    /// How many faults of calls.
    pub faults: usize,
    /// The clause that it breaks.
    pub clause: &'static str,
}

/// All that was found of one bug.
#[derive(Clone, Debug)]
pub struct Found {
    /// The bug.
    pub bug: Bug,
    /// The searches of this harness.
    pub searches: Vec<Search>,
    /// Those of the weaker ones, in the order of [`Weak::ALL`].
    pub weak: Vec<(Weak, Vec<Search>)>,
    /// The first failing case, shrunk.
    pub least: Option<Least>,
}

impl Found {
    /// Whether every search caught it.
    pub fn is_caught(&self) -> bool {
        !self.searches.is_empty() && self.searches.iter().all(|search| search.caught.is_some())
    }
}

/// The first seed of a search; the distance of searches is `seeds_max` of [`Plan::FULL`].
fn first_seed(bug: Bug, nth: u64) -> u64 {
    let (kind, number) = bug.id().split_at(1);
    let number = number.parse::<u64>().unwrap_or(0) + if kind == "M" { 0 } else { 500 };
    (number + 1) * 10_000_000 + nth * Plan::FULL.seeds_max
}

fn case_of(seed: u64, weak: Option<Weak>) -> Case {
    let case = generate::generate(seed);
    weak.map_or(case.clone(), |weak| weak.weaken(case))
}

/// Searches once: seed by seed until the bug is caught or `seeds_max` are run. The bug is
/// planted for the current thread. `cpu` tells the processor time of the current thread.
pub fn search(
    bug: Bug,
    nth: u64,
    weak: Option<Weak>,
    seeds_max: u64,
    cpu: &dyn Fn() -> Duration,
) -> Search {
    let before = cpu();
    let first = first_seed(bug, nth);
    plant(Some(bug));
    let mut caught = None;
    let mut seeds = 0;
    while caught.is_none() && seeds < seeds_max {
        let seed = first + seeds;
        seeds += 1;
        let outcome = run(&case_of(seed, weak), false);
        let crash = outcome.last_crash.unwrap_or_else(|| "none".to_owned());
        caught = outcome.failure.map(|failure| Caught { seed, clause: failure.clause, crash });
    }
    plant(None);
    let cpu_seconds = cpu().saturating_sub(before).as_secs_f64();
    Search { seeds, cpu_seconds, caught }
}

/// Searches for one bug as often as the plan says.
pub fn find(bug: Bug, plan: &Plan, cpu: &dyn Fn() -> Duration) -> Found {
    let many = |weak, count, seeds_max, misses_max| {
        let mut done = Vec::new();
        let mut misses = 0;
        for nth in 0..count {
            if misses >= misses_max {
                break;
            }
            let one = search(bug, nth, weak, seeds_max, cpu);
            misses += u64::from(one.caught.is_none());
            done.push(one);
        }
        done
    };
    let searches = many(None, plan.searches, plan.seeds_max, plan.misses_max);
    let Plan { weak_searches, weak_seeds_max, .. } = *plan;
    let weak = Weak::ALL.into_iter();
    let weak =
        weak.map(|weak| (weak, many(Some(weak), weak_searches, weak_seeds_max, weak_searches)));
    let weak = weak.collect();
    let least = searches.iter().find_map(|search| search.caught.as_ref());
    let least = least.and_then(|caught| shrink_one(bug, caught.seed, plan.shrink_runs));
    Found { bug, searches, weak, least }
}

fn shrink_one(bug: Bug, seed: u64, runs: u32) -> Option<Least> {
    if runs == 0 {
        return None;
    }
    plant(Some(bug));
    let shrunk = shrink::shrink(&generate::generate(seed), runs);
    // Faults that are still odds are those that strike; the others are listed one by one.
    let least = shrunk.map(|shrunk| Least {
        ops: shrunk.case.ops.iter().filter(|op| !matches!(op, Op::Turn { .. })).count(),
        faults: run(&shrunk.case, false).injected.len(),
        clause: shrunk.failure.clause,
    });
    plant(None);
    least
}
