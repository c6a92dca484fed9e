//! Calibration: a sweep that finds nothing proves nothing until it is known what it would have
//! found. Each planted bug must be caught, within so many seeds.
//!
//! The figures stand in `docs/planted-bugs.md`, which `runstone-sim bugs` makes.
#![cfg(feature = "planted")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests

#[path = "../../tests/snapshots/settings.rs"]
mod settings;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use runstone::planted::{Bug, plant};
use runstone_sim::bugs::register::{ROWS, Standing};
use runstone_sim::bugs::{Plan, find, report};
use runstone_sim::disk::{FaultMode, FaultPlan};
use runstone_sim::harness::weak::Weak;
use runstone_sim::harness::{Op, World, generate, run, run_seed};

use settings::check;

/// Every bug is searched for a few times; which are caught is a snapshot, so that a simulator
/// that has become blind for one of them is a difference that somebody reads.
#[test]
fn every_planted_bug_is_caught() {
    let (next, threads) = (AtomicUsize::new(0), 2);
    let work = || {
        let mut found = Vec::new();
        while let Some(bug) = Bug::ALL.get(next.fetch_add(1, Ordering::Relaxed)) {
            found.push(find(*bug, &Plan::QUICK, &|| Duration::ZERO));
        }
        found
    };
    let mut found = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let done = workers.into_iter().map(|worker| worker.join().expect("a search ends"));
        done.flatten().collect::<Vec<_>>()
    });
    found.sort_by_key(|found| found.bug);
    let about = "Planted bugs: which are caught, and which are not planted as they were.";
    check!("planted_bugs_caught", about, report::verdicts(&found));
    let missed: Vec<_> = found.iter().filter(|one| !one.is_caught()).map(|one| one.bug).collect();
    assert_eq!(missed, [], "whatever the snapshot says");
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

/// A weaker harness makes no promise that the disk does not keep: it is quiet without a bug.
#[test]
fn weaker_harnesses_without_a_bug_are_quiet() {
    for weak in Weak::ALL {
        for seed in 20_000_000..20_000_150 {
            let failure = run(&weak.weaken(generate::generate(seed)), false).failure;
            assert_eq!(failure, None, "seed {seed}, {}", weak.name());
        }
    }
}

/// A clean close sees no lost sync: otherwise "weaker" would be a word only.
#[test]
fn a_clean_close_on_a_good_disk_does_not_catch_a_segment_that_is_not_synced() {
    plant(Some(Bug::SegmentNotSynced));
    let caught = (0..50).find_map(|seed| {
        let mut case = Weak::CleanClose.weaken(generate::generate_in(seed, Some(World::Strict)));
        case.faults = FaultMode::Drawn(FaultPlan::none());
        case.ops.retain(|op| !matches!(op, Op::Fault { .. }));
        run(&case, false).failure
    });
    plant(None);
    assert_eq!(caught, None, "no power was ever cut");
}

#[test]
fn ids_are_unique_and_every_row_of_the_collection_is_accounted_for() {
    let ids: BTreeSet<_> = Bug::ALL.iter().map(|bug| bug.id()).collect();
    assert_eq!(ids.len(), Bug::ALL.len());
    let rows: BTreeSet<_> = ROWS.iter().map(|row| row.id).collect();
    assert_eq!(rows.len(), ROWS.len());
    for row in ROWS {
        match row.standing {
            Standing::Planted(bug) => assert_eq!(bug.id(), row.id, "{bug:?}"),
            Standing::Waiting(..) | Standing::Impossible(..) => {}
        }
    }
    for bug in Bug::ALL.iter().filter(|bug| bug.id().starts_with('M')) {
        assert!(rows.contains(bug.id()), "{bug:?} is of no row");
    }
}

#[test]
fn the_page_of_planted_bugs_has_every_bug_and_every_row() {
    let page = include_str!("../../docs/planted-bugs.md");
    for bug in Bug::ALL {
        let cell = format!("| {} | `{bug:?}` |", bug.id());
        assert!(page.contains(&cell), "docs/planted-bugs.md is older than {bug:?}: make it anew");
    }
    for row in ROWS {
        assert!(page.contains(&format!("| {} |", row.id)), "{} is not on the page", row.id);
    }
}
