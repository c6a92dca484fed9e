//! Every single fault at every call: the engine is clean on a slice, planted bugs that only faults
//! show are not, and what is run does not depend on who runs it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic, also in its helpers"
)]

use std::collections::BTreeSet;

use runstone_sim::disk::FaultKind;
use runstone_sim::exhaust::faults::{FaultReport, FaultSearch, Size, fault_scripts};

/// The search of a script, by the beginning of its name.
fn search(name: &str) -> FaultSearch {
    let script =
        fault_scripts(Size::Quick).into_iter().find(|script| script.name.starts_with(name));
    let script = script.unwrap_or_else(|| panic!("no script is named {name}"));
    FaultSearch::new(script, Size::Quick).unwrap_or_else(|breach| panic!("{breach}"))
}

/// Every `step`th call of it, up to the first breach.
fn explored(search: &FaultSearch, step: usize) -> FaultReport {
    let mut report = FaultReport::default();
    for nth in (0..search.calls()).step_by(step) {
        report.add(search.explore(nth));
        if report.breach.is_some() {
            break;
        }
    }
    report
}

fn assert_clean(report: &FaultReport) {
    if let Some((breach, _)) = &report.breach {
        panic!("{breach}");
    }
}

#[test]
fn scripts_have_names_of_their_own_and_the_full_size_has_them_under_every_setting() {
    let names = |size| -> BTreeSet<String> {
        fault_scripts(size).into_iter().map(|script| script.name).collect()
    };
    let (quick, full) = (names(Size::Quick), names(Size::Full));
    assert_eq!(quick.len(), fault_scripts(Size::Quick).len());
    assert_eq!(full.len(), fault_scripts(Size::Full).len());
    assert!(quick.is_subset(&full) && full.len() == 8 * quick.len(), "{}", full.len());
}

#[test]
fn no_single_fault_at_a_call_of_a_rotation_breaks_the_contract_however_it_goes_on() {
    let report = explored(&search("rotation (rotating)"), 4);
    assert_clean(&report);
    let total = report.total();
    assert!(total.runs > 700 && total.effects > 600, "{total:?}");
    assert!(total.refused > 200 && total.ended > 100, "{total:?}");
    assert_eq!(report.ways.len(), 7, "{:?}", report.ways);
    for kind in [FaultKind::OutOfFiles, FaultKind::Denied, FaultKind::Unwritable] {
        let all = explored(&search("a session begins"), 3);
        assert_clean(&all);
        let tally = all.kinds[&kind];
        assert!(tally.refused > 0, "{kind:?}: {tally:?}");
    }
}

#[test]
fn no_single_fault_in_a_recovery_breaks_the_contract_however_it_goes_on() {
    let report = explored(&search("recovery from a kill (batched)"), 2);
    assert_clean(&report);
    assert!(report.kinds[&FaultKind::BadSectorOnce].refused > 0, "{:?}", report.kinds);
}

#[test]
fn what_a_full_disk_and_one_fault_leave_is_as_the_contract_says() {
    assert_clean(&explored(&search("a full disk, no room for a cut"), 4));
}

#[test]
fn the_same_script_gives_the_same_digest_and_another_call_another_one() {
    let search = search("a close (batched)");
    let (one, two, other) = (search.explore(3), search.explore(3), search.explore(4));
    assert_eq!((one.digest, &one.kinds), (two.digest, &two.kinds));
    assert_ne!(one.digest, other.digest);
}

// ----- calibration -----

#[cfg(feature = "planted")]
mod calibration {
    use runstone::planted::{Bug, plant};

    use super::*;

    /// The clause that a bug breaks in a script, and whether the case that shows it does so again.
    fn broken(bug: Bug, name: &str) -> Option<&'static str> {
        plant(Some(bug));
        let search = search(name);
        let found = (0..search.calls()).find_map(|nth| search.explore(nth).breach);
        let again = found.as_ref().map(|(_, case)| {
            let text = serde_json::to_string(case).unwrap();
            let case = serde_json::from_str(&text).unwrap();
            runstone_sim::harness::run(&case, false).failure
        });
        plant(None);
        found.map(|(breach, _)| {
            println!("{bug:?}: {breach}");
            let again = again.flatten().unwrap_or_else(|| panic!("{bug:?}: the case is quiet"));
            assert_eq!(again.clause, breach.clause, "{bug:?}");
            breach.clause
        })
    }

    #[test]
    fn planted_bugs_that_only_faults_show_are_found_and_their_cases_show_them_again() {
        let creation = "creation (batched)";
        let found = [
            (Bug::SyncRetriedAfterFailure, creation),
            (Bug::CloseIgnoresFailedSync, creation),
            (Bug::RenameErrorBelieved, creation),
            (Bug::PublishedThoughFailed, creation),
            (Bug::FailedSyncForgotten, "creation (padded)"),
            (Bug::PoisonedKeepsLock, creation),
            (Bug::ReadErrorEndsLog, "a session begins"),
            (Bug::CutNotSynced, "creation (padded)"),
            (Bug::ReadErrorForgetsReference, "recovery from a kill (batched)"),
            (Bug::OrphansForgotten, "what a recovery leaves"),
            (Bug::RefusedFilePoisons, "rotation (rotating)"),
            (Bug::DeniedMayPass, creation),
            (Bug::UnmeasuredUncut, "creation (padded)"),
            (Bug::UnseenLeftoverForgotten, "what a session leaves"),
            (Bug::FailedLookPoisons, "a session begins"),
        ];
        let missed: Vec<_> =
            found.into_iter().filter(|(bug, script)| broken(*bug, script).is_none()).collect();
        assert!(missed.is_empty(), "not found: {missed:?}");
    }
}
