//! The commit path under a schedule explorer: overlapping commits, reads, upkeep, closes and
//! crashes, each schedule from a seed (`docs/concurrency.md`).
//!
//! ```sh
//! cargo test --release -p runstone-sim --features explore --test schedules -- --nocapture
//! RUNSTONE_SCHEDULE=commits:17 cargo test --release -p runstone-sim --features explore \
//!   --test schedules replay -- --nocapture
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests
#![allow(clippy::disallowed_methods)] // which take a seed from outside, and show a rate

mod explorer;
mod history;
mod judge;
mod perform;
mod program;
#[cfg(feature = "planted")]
mod races;
mod regressions;
mod stage;
mod theatre;

use std::collections::BTreeSet;
use std::time::Instant;

use explorer::explore;
use program::{SCENARIOS, Scenario};
use runstone_sim::rng::Rng;

/// How many schedules of each scenario a run of the tests explores.
const SCHEDULES: u64 = 6_000;

fn scenario(name: &str) -> Scenario {
    *SCENARIOS.iter().find(|scenario| scenario.name == name).expect("a scenario of that name")
}

/// Explores the scenario, from a seed on; fails with the command that repeats the failure.
fn sweep(name: &'static str) {
    let scenario = scenario(name);
    let schedules = std::env::var("RUNSTONE_SCHEDULES").ok().and_then(|n| n.parse().ok());
    let start = Instant::now();
    let explored = explore(0..schedules.unwrap_or(SCHEDULES), move |tape| {
        theatre::play(&scenario, tape, false)
    });
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{name}: {} schedules, {} steps, {:.0} schedules a second, digest {:016x}",
        explored.schedules,
        explored.steps,
        explored.schedules as f64 / seconds,
        explored.digest
    );
    if let Some((seed, what)) = explored.failure {
        panic!("{what}\nreplay: RUNSTONE_SCHEDULE={name}:{seed} (see the head of this file)");
    }
}

macro_rules! scenarios {
    ($($test:ident: $name:literal,)*) => {
        $(#[test] fn $test() { sweep($name); })*
    };
}

scenarios! {
    what_is_recovered_is_a_prefix_of_a_legal_order_of_overlapping_commits: "commits",
    tickets_are_answered_once_in_the_order_of_their_submission: "tickets",
    a_snapshot_sees_one_version_whole: "snapshots",
    a_close_ends_every_commit_and_loses_none: "close",
    timers_and_maintenance_run_beside_commits: "upkeep",
    the_background_thread_loses_no_wake_up_and_stops: "background",
    a_failed_call_is_told_to_everybody_and_nothing_acknowledged_is_lost: "failures",
    a_panic_is_answered_and_poisons: "panics",
}

/// The explorer's own theorem: a seed says everything. Each seed alone and all in one go make
/// the same choices, and twice the same.
#[test]
fn a_seed_makes_the_same_choices_each_time_and_whatever_ran_before() {
    for scenario in SCENARIOS {
        let play = move |tape: &mut Rng| theatre::play(&scenario, tape, false);
        let all = || explore(40..60, play);
        let first = all();
        assert_eq!(first, all(), "{}", scenario.name);
        assert_eq!(first.failure, None);
        let alone: Vec<_> = (40..60).map(|seed| explore(seed..seed + 1, play)).collect();
        assert_eq!(first.steps, alone.iter().map(|explored| explored.steps).sum::<u64>());
        let digests: BTreeSet<_> = alone.iter().map(|explored| explored.digest).collect();
        assert_eq!(digests.len(), 20, "every seed is another schedule");
        assert_eq!(alone[7].digest, explore(47..48, play).digest);
    }
}

/// Likewise for a schedule that fails, and for what it fails with.
#[test]
fn a_failure_is_the_same_failure_when_its_seed_is_replayed() {
    let overlap = |_: &mut Rng| {
        let turn = shuttle::sync::Arc::new(shuttle::sync::Mutex::new(0));
        let other = turn.clone();
        let thread = shuttle::thread::spawn(move || *other.lock().unwrap() += 1);
        let seen = *turn.lock().unwrap();
        thread.join().map_err(|_| "a panic")?;
        if seen == 0 { Ok(()) } else { Err(format!("saw {seen}")) }
    };
    let explored = explore(0..1000, overlap);
    let (seed, what) = explored.failure.expect("both orders occur");
    assert!(explored.schedules > 1, "and both occur soon: {}", explored.schedules);
    assert_eq!(explore(seed..seed + 1, overlap).failure, Some((seed, what)));
}

/// Replays one schedule, and prints what happened.
#[test]
fn replay() {
    let Ok(schedule) = std::env::var("RUNSTONE_SCHEDULE") else { return };
    let (name, seed) = schedule.split_once(':').expect("scenario:seed");
    let (scenario, seed) = (scenario(name), seed.parse().expect("a seed"));
    let explored = explore(seed..seed + 1, move |tape| theatre::play(&scenario, tape, true));
    println!("{explored:?}");
    assert_eq!(explored.failure, None);
}
