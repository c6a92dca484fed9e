//! `crash_points`: what it finds, what it leaves of it, and that its printed tests are tests.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may panic, also in its helpers"
)]

use std::cell::Cell;
use std::io;
use std::path::Path;
use std::sync::Arc;

use runstone_sim::disk::{CrashKind, CrashPoint, When};
use runstone_sim::explore::{
    Options, Survives, Violation, crash_points, crash_points_with, replay,
};
use runstone_vfs::{Access, Vfs, read_full_at, write_all_at};

// ----- programs -----

/// Replaces a file by a new one, three times, with or without the two syncs.
fn replace(disk: &dyn Vfs, promised: &mut u8, file_sync: bool, dir_sync: bool) -> io::Result<()> {
    for value in 1..=3 {
        let file = disk.create(Path::new("/new"))?;
        write_all_at(&*file, &[value], 0)?;
        if file_sync {
            file.sync()?;
        }
        disk.rename(Path::new("/new"), Path::new("/value"))?;
        if dir_sync {
            disk.sync_dir(Path::new("/"))?;
        }
        *promised = value;
    }
    Ok(())
}

fn without_file_sync(disk: Arc<dyn Vfs>, promised: &mut u8) -> io::Result<()> {
    replace(&*disk, promised, false, true)
}

fn without_directory_sync(disk: Arc<dyn Vfs>, promised: &mut u8) -> io::Result<()> {
    replace(&*disk, promised, true, false)
}

fn with_both(disk: Arc<dyn Vfs>, promised: &mut u8) -> io::Result<()> {
    replace(&*disk, promised, true, true)
}

fn value_of(disk: &dyn Vfs) -> Result<u8, String> {
    match disk.open(Path::new("/value"), Access::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error.to_string()),
        Ok(file) => {
            let mut bytes = [0; 2];
            match read_full_at(&*file, &mut bytes, 0).map_err(|error| error.to_string())? {
                1 => Ok(bytes[0]),
                n => Err(format!("the file has {n} bytes")),
            }
        }
    }
}

fn is_kept(disk: Arc<dyn Vfs>, promised: &u8) -> Result<(), String> {
    match value_of(&*disk)? {
        found if found == *promised || found == promised + 1 => Ok(()),
        found => Err(format!("{promised} was promised, {found} is there")),
    }
}

fn named(program: &str) -> Options {
    Options { names: (program.to_owned(), "is_kept".to_owned()), ..Options::default() }
}

fn lost(violation: &Violation) -> &[u64] {
    match &violation.state.as_ref().unwrap().survives {
        Survives::AllBut(lost) => lost,
        other => panic!("{other:?}"),
    }
}

// ----- what is found -----

#[test]
fn a_missing_sync_of_the_directory_is_found_and_one_lost_rename_is_left() {
    let violation = crash_points(without_directory_sync, is_kept).unwrap_err();
    let point = violation.state.as_ref().unwrap().point;
    // The first promise is made after call 3; the next call is the first chance to break it.
    assert_eq!(point, CrashPoint { call: 4, when: When::Before });
    assert_eq!(lost(&violation).len(), 1);
    assert_eq!(violation.message, "1 was promised, 0 is there");
    assert!(violation.trace.iter().any(|line| line.contains("lost: Rename /new -> /value")));
}

#[test]
fn a_missing_sync_of_the_file_is_found() {
    let violation = crash_points(without_file_sync, is_kept).unwrap_err();
    assert!(violation.state.is_some());
    assert!(violation.to_string().contains("power cut"), "{violation}");
}

#[test]
fn a_program_with_both_syncs_passes_every_crash_point() {
    let explored = crash_points(with_both, is_kept).unwrap();
    assert_eq!(explored.calls, 15);
    assert_eq!(explored.points, 15 * 3 + 1);
    assert!(explored.states > 100 && explored.repeated > explored.states, "{explored}");
}

#[test]
fn an_end_of_the_process_loses_nothing_that_was_written() {
    let options = Options { kinds: vec![CrashKind::Process], ..Options::default() };
    crash_points_with(&options, without_directory_sync, is_kept).unwrap();
}

#[test]
fn a_promise_that_is_made_too_early_is_found_without_a_power_cut() {
    let early = |disk: Arc<dyn Vfs>, promised: &mut u8| -> io::Result<()> {
        *promised = 3;
        replace(&*disk, &mut 0, true, true)
    };
    let violation = crash_points(early, is_kept).unwrap_err();
    assert_eq!(violation.state.as_ref().unwrap().kind(), CrashKind::Process);
    assert_eq!(violation.state.as_ref().unwrap().point.call, 0);
}

#[test]
fn a_recovery_that_destroys_what_it_reads_is_found_by_a_crash_within_it() {
    // It rewrites the file in place: a crash between the cut and the write leaves nothing.
    let rewrites = |disk: Arc<dyn Vfs>, promised: &u8| -> Result<(), String> {
        is_kept(Arc::clone(&disk), promised)?;
        let Ok(file) = disk.open(Path::new("/value"), Access::ReadWrite) else { return Ok(()) };
        let text = |error: io::Error| error.to_string();
        let value = value_of(&*disk)?;
        file.set_len(0).map_err(text)?;
        file.sync().map_err(text)?;
        write_all_at(&*file, &[value], 0).map_err(text)?;
        file.sync().map_err(text)
    };
    let violation = crash_points(with_both, rewrites).unwrap_err();
    assert!(violation.state.as_ref().unwrap().recovery.is_some(), "{violation}");
    assert!(violation.test().contains("RecoveryCrash { after_calls: "));
    let none = Options { recoveries: 0, ..Options::default() };
    crash_points_with(&none, with_both, rewrites).unwrap();
}

#[test]
fn a_program_that_fails_by_itself_is_told_and_no_crash_is_blamed() {
    let fails = |disk: Arc<dyn Vfs>, _: &mut u8| disk.remove(Path::new("/nothing"));
    let violation = crash_points(fails, is_kept).unwrap_err();
    assert!(violation.state.is_none());
    assert_eq!(violation.message, "the program failed: entity not found");
    assert!(violation.test().contains("fn the_invariant_holds_without_a_crash()"));
    let few = Options { calls_max: 14, ..Options::default() };
    let violation = crash_points_with(&few, with_both, is_kept).unwrap_err();
    assert_eq!(violation.message, "the program makes 15 calls: more than calls_max");
}

#[test]
fn the_same_exploration_finds_the_same_and_a_replay_repeats_it() {
    let runs = Cell::new(0);
    let counted = |disk: Arc<dyn Vfs>, promised: &mut u8| {
        runs.set(runs.get() + 1);
        without_file_sync(disk, promised)
    };
    let first = crash_points(counted, is_kept).unwrap_err();
    let after_first = runs.get();
    let second = crash_points(counted, is_kept).unwrap_err();
    assert_eq!(runs.get(), 2 * after_first);
    assert_eq!((&first.state, &first.message), (&second.state, &second.message));
    let state = first.state.unwrap();
    assert_eq!(replay(&state, without_file_sync, is_kept), Err(first.message));
    assert_eq!(replay(&state, with_both, is_kept), Ok(()));
}

// ----- the printed tests, as they were printed -----

#[test]
fn what_is_printed_is_what_stands_below() {
    let this = include_str!("explore.rs");
    let mut missing = String::new();
    for (name, program) in [
        ("without_file_sync", without_file_sync as fn(_, &mut _) -> _),
        ("without_directory_sync", without_directory_sync),
    ] {
        let printed = crash_points_with(&named(name), program, is_kept).unwrap_err().test();
        // These programs keep their bugs, so the tests keep failing.
        let expected =
            printed.replace("#[test]\n", "#[test]\n#[should_panic = \"left == right\"]\n");
        if !this.contains(&expected) {
            missing.push_str(&format!("{expected}\n"));
        }
    }
    assert!(missing.is_empty(), "put these below:\n{missing}");
}

/// Power cut after call 2, 1 operation lost: the file has 0 bytes.
///
/// ```text
/// #0 create /new -> 2
/// #1 write /new pos=0 len=1 -> 1
/// #2 rename /new /value -> error: simulated crash
/// power cut after 3 calls; model AloneLost, names None
///   /value: size 0 (durable 0, live 1), AloneLost
///     write 2 at 0+1 not in sectors [0]
///   kept, never synced: Create /new [1]
///   kept, never synced: Rename /new -> /value [3]
/// restart
/// #3 open /value read -> 2
/// #4 read /value pos=0 len=2 -> 0
/// ```
#[test]
#[should_panic = "left == right"]
fn a_power_cut_after_call_2_breaks_nothing() {
    use runstone_sim::disk::{CrashPoint, When};
    use runstone_sim::explore::{CrashState, Survives, replay};

    let state = CrashState {
        point: CrashPoint { call: 2, when: When::After },
        part: 0,
        survives: Survives::AllBut(vec![1]),
        recovery: None,
    };
    assert_eq!(replay(&state, without_file_sync, is_kept), Ok(()));
}

/// Power cut before call 4, 1 operation lost: 1 was promised, 0 is there.
///
/// ```text
/// #0 create /new -> 2
/// #1 write /new pos=0 len=1 -> 1
/// #2 sync /new -> 0
/// #3 rename /new /value -> 2
/// #4 create /new -> error: simulated crash
/// power cut after 5 calls; model AloneLost, names None
///   kept, never synced: Create /new [1]
///   lost: Rename /new -> /value [3]
/// restart
/// #5 open /value read -> error: entity not found
/// ```
#[test]
#[should_panic = "left == right"]
fn a_power_cut_before_call_4_breaks_nothing() {
    use runstone_sim::disk::{CrashPoint, When};
    use runstone_sim::explore::{CrashState, Survives, replay};

    let state = CrashState {
        point: CrashPoint { call: 4, when: When::Before },
        part: 0,
        survives: Survives::AllBut(vec![1]),
        recovery: None,
    };
    assert_eq!(replay(&state, without_directory_sync, is_kept), Ok(()));
}
