//! The commit path under a schedule explorer: overlapping commits, reads, upkeep, closes and
//! crashes, each schedule from a seed (`docs/concurrency.md`).
//!
//! ```sh
//! cargo test --release -p runstone-sim --features explore --test schedules -- --nocapture
//! RUNSTONE_SCHEDULE=commits:17 cargo test --release -p runstone-sim --features explore \
//!   --test schedules replay -- --nocapture
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests

mod explorer;
mod history;
mod judge;
mod perform;
mod program;
#[cfg(feature = "planted")]
mod races;
mod stage;
mod theatre;

use std::time::Instant;

use explorer::explore;
use program::{SCENARIOS, Scenario};

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
