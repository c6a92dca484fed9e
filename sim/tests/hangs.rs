//! A loop without end is a failure with a seed: whether it calls the disk or not.
//!
//! Each test plants the loop; without the bound it would never end.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use runstone_sim::disk::{CallKind, FaultKind, FaultMode, FaultPlan, Hang, Odds, SimVfs};
use runstone_sim::harness::generate::generate;
use runstone_sim::harness::run;
use runstone_vfs::Vfs;

#[test]
fn a_disk_that_interrupts_every_write_is_a_hang_and_not_a_wait_for_ever() {
    let plan = FaultPlan::none().with(CallKind::Write, FaultKind::Interrupted, Odds::ALWAYS);
    let mut case = generate(3);
    case.creation.clear();
    case.faults = FaultMode::Drawn(plan);
    case.faults_in_recovery = true;
    let failure = run(&case, false).failure.expect("the engine tries again for ever");
    assert_eq!(failure.clause, "progress", "{failure}");
    let again = run(&case, false).failure.expect("a hang repeats");
    assert_eq!(again, failure);
}

#[test]
fn a_program_that_heeds_no_error_is_taken_off_the_disk() {
    let disk = SimVfs::new(1);
    disk.limit_calls(100);
    let calls_for_ever = || {
        loop {
            let _ignored = disk.list(Path::new("/"));
        }
    };
    let payload = catch_unwind(AssertUnwindSafe(calls_for_ever)).unwrap_err();
    assert!(payload.is::<Hang>());
    assert!(disk.is_exhausted());
    assert_eq!(disk.calls(), 100, "no call beyond the limit was served");
}

#[test]
fn an_ordinary_case_makes_far_fewer_calls_than_it_may() {
    for seed in 0..20 {
        let outcome = run(&generate(seed), false);
        let calls: u64 = outcome.stats.calls.values().sum();
        // With few open files a read may open one.
        assert!((20..100_000).contains(&calls), "seed {seed}: {calls} calls");
        assert_eq!(outcome.failure, None);
    }
}
