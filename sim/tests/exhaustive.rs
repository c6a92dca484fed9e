//! Exhaustive exploration: the engine is clean on a slice, a planted bug is not, pruning loses
//! nothing, and no damage to a store at rest is ever served as data.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic, also in its helpers"
)]

use std::collections::{BTreeMap, BTreeSet};

use runstone_sim::exhaust::rot::{Answer, Damage, Kind, Rest, RotStore};
use runstone_sim::exhaust::{Bounds, Letter, Report, Setting, Start, Workload, explore, workloads};

fn explored(workloads: &[Workload], bounds: &Bounds) -> Report {
    let mut all = Report::default();
    for workload in workloads {
        all.add(explore(workload, bounds));
    }
    all
}

fn workload(setting: Setting, start: Start, letters: &[Letter]) -> Workload {
    Workload { setting, start, letters: letters.to_vec() }
}

fn assert_clean(report: &Report) {
    if let Some(breach) = &report.breach {
        panic!("{breach}");
    }
    assert!(report.levels.iter().all(|tally| tally.cut_off == 0), "{:?}", report.levels);
}

// ----- the slice -----

#[test]
fn workloads_are_every_sequence_up_to_a_length() {
    let all = workloads(Setting::Batched, 2);
    let letters = Letter::ALL.len();
    assert_eq!(all.len(), 1 + 2 * (letters + letters * letters));
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
}

#[test]
fn no_crash_of_a_workload_of_one_operation_breaks_the_contract_in_any_setting() {
    let bounds = Bounds { depth: 1, ..Bounds::default() };
    for setting in Setting::ALL {
        let mut report = explored(&workloads(setting, 1), &bounds);
        assert_clean(&report);
        let level = report.levels[0];
        assert_eq!(report.workloads, if setting == Setting::Flushing { 25 } else { 23 });
        assert!(level.recoveries > 500, "{setting:?}: {level:?}");
        assert!(report.distinct().1 > 50, "{setting:?}");
    }
}

#[test]
fn no_crash_inside_a_recovery_breaks_the_contract_or_leads_elsewhere() {
    let creation = workload(Setting::Batched, Start::Nothing, &[]);
    let torn = [Letter::Put, Letter::PutWide];
    let torn = workload(Setting::Batched, Start::Created, &torn);
    let report = explored(&[creation, torn], &Bounds::default());
    assert_clean(&report);
    println!("{} recoveries inside recoveries", report.levels[1].recoveries);
    assert!(report.levels[1].recoveries > 3000, "{:?}", report.levels);
}

#[test]
fn the_same_workload_gives_the_same_report() {
    let torn = workload(Setting::Preallocated, Start::Reopened, &[Letter::Batch]);
    let (one, two) = (explore(&torn, &Bounds::default()), explore(&torn, &Bounds::default()));
    assert_eq!((one.levels, one.seen), (two.levels, two.seen));
}

#[test]
fn what_a_bound_cuts_off_is_counted() {
    let torn = workload(Setting::Batched, Start::Created, &[Letter::PutWide]);
    let bounds = Bounds { depth: 1, states_max: 2, ..Bounds::default() };
    let report = explore(&torn, &bounds);
    let level = report.levels[0];
    assert!(level.cut_off > 0, "{level:?}");
    assert!(u128::from(level.recoveries) < level.states, "{level:?}");
}

// ----- pruning -----

/// Brute force makes every choice at the crash, from the bytes of whole files, whether anybody
/// looks or not, and explores every crash point as often as it is reached. If a recovery could
/// see anything there that it cannot see in the pruned search, pruning would be unsound.
fn assert_same_outcomes(workload: &Workload, depth: usize) -> u64 {
    let pruned = Bounds { depth, ..Bounds::default() };
    let brute = Bounds { brute_force: true, ..pruned };
    let mut pruned = explore(workload, &pruned);
    let mut brute = explore(workload, &brute);
    assert_clean(&pruned);
    assert_clean(&brute);
    let runs = |report: &Report| report.levels.iter().map(|level| level.recoveries).sum::<u64>();
    let choices: u128 = brute.levels.iter().map(|level| level.choices).sum();
    assert_eq!(choices, u128::from(runs(&brute)), "brute force makes every choice");
    let factor = runs(&brute) / runs(&pruned);
    pruned.distinct();
    brute.distinct();
    assert_eq!(pruned.seen, brute.seen, "{workload}: what recoveries saw and wrote");
    println!("{workload}: brute force makes {factor} times as many recoveries");
    factor
}

#[test]
fn pruning_loses_no_outcome_of_a_creation_and_of_its_recoveries() {
    let creation = workload(Setting::Batched, Start::Nothing, &[]);
    let factor = assert_same_outcomes(&creation, 2);
    // A creation syncs nearly every call, and leaves brute force few choices.
    assert!(factor >= 5, "brute force makes only {factor} times as many recoveries");
}

#[test]
fn pruning_loses_no_outcome_of_any_single_operation() {
    for setting in Setting::ALL {
        for workload in workloads(setting, 1) {
            assert_same_outcomes(&workload, 1);
        }
    }
}

#[test]
fn pruning_loses_no_outcome_of_recoveries_from_torn_tails() {
    for letters in [vec![Letter::Put, Letter::Put], vec![Letter::PutWide], vec![Letter::Reopen]] {
        let torn = workload(Setting::Batched, Start::Created, &letters);
        assert_same_outcomes(&torn, 2);
    }
    let preallocated = workload(Setting::Preallocated, Start::Created, &[Letter::Put]);
    assert_same_outcomes(&preallocated, 2);
}

// ----- rot -----

fn assert_rot_is_harmless(rest: Rest) -> BTreeMap<Answer, u64> {
    let store = RotStore::new(rest, Kind::Plain).unwrap_or_else(|breach| panic!("{breach}"));
    let bytes: usize = store.files().iter().map(|(_, bytes)| bytes).sum();
    assert!(bytes <= 64 << 10);
    let mut answers = BTreeMap::new();
    let damages = store.damages();
    assert!(damages.len() > bytes * 8);
    for damage in damages {
        let answer = store.judge(&damage).unwrap_or_else(|breach| panic!("{breach}"));
        *answers.entry(answer).or_default() += 1;
    }
    answers
}

#[test]
fn rot_of_a_closed_store_is_refused_or_changes_nothing() {
    let answers = assert_rot_is_harmless(Rest::Closed);
    assert_eq!(answers.get(&Answer::Prefix), None);
    assert!(answers[&Answer::Refused] > 30_000, "{answers:?}");
}

#[test]
fn rot_of_a_crashed_store_is_refused_or_cuts_behind_the_proven_watermark() {
    for rest in [Rest::Crashed, Rest::CrashedYoung] {
        let answers = assert_rot_is_harmless(rest);
        assert!(answers[&Answer::Prefix] > 500, "{answers:?}");
        assert!(answers[&Answer::Refused] > 5_000, "{answers:?}");
    }
}

/// The watermark attests every byte before it, so nothing but itself can be cut off.
#[test]
fn rot_of_one_bit_of_an_idle_store_is_refused_or_is_of_the_watermark() {
    let store = RotStore::new(Rest::CrashedIdle, Kind::Plain).unwrap();
    let mut answers = std::collections::BTreeMap::new();
    for damage in store.damages() {
        let answer = store.judge(&damage).unwrap_or_else(|breach| panic!("{breach}"));
        if matches!(damage, Damage::Flip(..)) {
            *answers.entry(answer).or_default() += 1u64;
        }
    }
    // Of the lock file only a creation reads what it tells.
    let (watermark_bits, lock_bits) = (40 * 8, 40 * 8);
    assert_eq!(answers.remove(&Answer::Same), Some(watermark_bits + lock_bits));
    assert_eq!(answers.keys().collect::<Vec<_>>(), [&Answer::Refused]);
}

// ----- calibration -----

#[cfg(feature = "planted")]
mod calibration {
    use runstone::planted::{Bug, plant};

    use super::*;

    /// The first clause that a bug breaks in workloads of up to so many operations.
    fn broken(bug: Bug, setting: Setting, ops: usize, depth: usize) -> Option<&'static str> {
        plant(Some(bug));
        let bounds = Bounds { depth, ..Bounds::default() };
        let breach =
            workloads(setting, ops).iter().find_map(|workload| explore(workload, &bounds).breach);
        plant(None);
        breach.map(|breach| {
            assert!(!breach.path.is_empty(), "{breach}");
            println!("{bug:?}: {breach}");
            breach.clause
        })
    }

    #[test]
    fn planted_bugs_of_crashes_are_found_and_the_engine_is_clean() {
        let found = [
            (Bug::NoDirectorySync, Setting::Batched, 1, 1),
            (Bug::NoDataSync, Setting::Batched, 1, 1),
            (Bug::AcknowledgedBeforeDurable, Setting::Batched, 1, 1),
            (Bug::HalfBatchApplied, Setting::Batched, 2, 1),
            (Bug::TornTailFatal, Setting::Batched, 1, 1),
            (Bug::ManifestNotSynced, Setting::Batched, 1, 1),
            (Bug::ExpiryNotReplayed, Setting::Batched, 1, 1),
            (Bug::ClockNotFloored, Setting::Batched, 1, 1),
            (Bug::VersionResetOnOpen, Setting::Batched, 1, 1),
            (Bug::ChecksumNotChecked, Setting::Batched, 1, 1),
            (Bug::CloseWithoutSync, Setting::Batched, 2, 1),
            (Bug::RotationWithoutSync, Setting::Rotating, 2, 1),
            (Bug::TailTrusted, Setting::Batched, 1, 2),
            (Bug::AppendAfterTornTail, Setting::Batched, 1, 2),
        ];
        for (bug, setting, ops, depth) in found {
            assert!(broken(bug, setting, ops, depth).is_some(), "{bug:?} is not found");
        }
    }

    #[test]
    fn a_checksum_that_is_not_compared_is_found_by_rot() {
        plant(Some(Bug::ChecksumNotChecked));
        let store = RotStore::new(Rest::Closed, Kind::Plain).unwrap();
        let caught = store.damages().iter().any(|damage| store.judge(damage).is_err());
        plant(None);
        assert!(caught);
    }

    #[test]
    fn an_attested_length_that_is_all_that_is_compared_is_found_by_the_lost_tail_of_a_log() {
        plant(Some(Bug::LengthOnlyValidation));
        let store = RotStore::new(Rest::Closed, Kind::Plain).unwrap();
        let damages = store.damages();
        let tails = damages.iter().filter(|damage| damage.kind() == "lost tails of logs");
        let caught = tails.map(|damage| store.judge(damage)).filter(Result::is_err).count();
        plant(None);
        assert!(caught > 0);
    }
}
