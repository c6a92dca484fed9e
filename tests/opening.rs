//! Each outcome of opening a store whose files are what a crash, or a close, leaves: its own
//! result, and its own test. Damaged, missing and strange files are in `damage.rs`, locks and
//! openings for reading in `owners.rs`.
//!
//! Clean, unclean, torn tail, a creation cut short, a read error, a full disk.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that fails says so

mod common;

use std::path::Path;
use std::sync::Arc;

use common::spy::SpyVfs;
use common::stores::{closed, killed, killed_in_one_segment, path, small_segments};
use common::{
    DIR, Image, MODES, NO_TAGS, World, image, long_name, memory_of, put_file, run, segments, state,
};
use runstone::{Database, Error, RunStatus};
use runstone_sim::disk::{
    CallKind, CrashKind, CrashModel, CrashPoint, DiskConfig, Fault, FaultKind, NameModel, SimVfs,
    When,
};

#[test]
fn a_clean_store_opens_without_a_write_and_shows_what_it_showed() {
    let (world, expected, before) = closed();
    let (spied, spy) = SpyVfs::new(memory_of(&before));
    let db = world.on_disk(spied).open();
    let report = db.recovery_report();
    assert!(report.clean && !report.created && report.interrupted_runs.is_empty());
    assert_eq!((report.torn_bytes, report.unproven_commits, report.files_removed), (0, 0, 0));
    assert_eq!(report.replayed_commits, expected.version);
    assert!(report.segments > 2, "{report:?}");
    assert_eq!(state(&db), expected);
    db.close().unwrap();
    assert_eq!(spy.changes(), 0, "nothing was written");
}

/// A close cuts the segment to its length, so what stands behind is what a disk lost and found
/// again: records that would follow new ones. One of the attested length is gone on with.
#[test]
fn a_closed_segment_is_appended_to_unless_it_is_longer_than_attested() {
    for behind in [0, 8] {
        let (world, _, mut files) = closed();
        let last = segments(&files).pop().unwrap();
        let bytes = files.get_mut(&last).unwrap();
        bytes.extend(std::iter::repeat_n(0, behind));
        let found = bytes.clone();
        let world =
            world.with(|options| options.segment_bytes = 1 << 20).on_disk(memory_of(&files));
        let db = world.open();
        db.put(run(1), "more", 1).unwrap();
        let after = image(&*world.vfs, DIR);
        let appended_to = after[&last].len() > found.len();
        assert_eq!(appended_to, behind == 0, "{behind} bytes behind");
        assert_eq!(segments(&after).len() - segments(&files).len(), usize::from(behind > 0));
        assert!(after[&last].starts_with(&found));
    }
}

#[test]
fn an_unclean_store_opens_with_all_it_had_and_reports_the_interrupted_runs() {
    let (world, expected, image) = killed();
    let db = world.on_disk(memory_of(&image)).open();
    let report = db.recovery_report();
    assert!(!report.clean && report.torn_bytes == 0);
    assert_eq!(report.interrupted_runs, [run(1)]);
    assert_eq!(report.unproven_commits, 1, "nothing attests the last commit");
    assert_eq!(state(&db), expected);
    db.put(run(1), "resumed", 1).unwrap();
    db.end_run(run(1)).unwrap();
}

#[test]
fn a_torn_tail_is_cut_off_and_reported_and_never_comes_back() {
    let (world, expected, mut files) = killed_in_one_segment();
    let last = segments(&files).pop().unwrap();
    let whole = files[&last].len();
    files.get_mut(&last).unwrap().truncate(whole - 5);
    let disk = memory_of(&files);
    let world = world.on_disk(disk.clone());
    let db = world.open();
    let report = db.recovery_report().clone();
    assert!(report.torn_bytes > 0 && report.torn_bytes < 100, "{report:?}");
    assert_eq!(report.replayed_commits, expected.version - 1);
    let shown = state(&db);
    assert_eq!(shown.version, expected.version - 1);
    assert_eq!(shown.runs[&run(2)].0.status, RunStatus::Running, "its end was torn");
    // The version that was lost is given again, in a later epoch.
    let version = db.put(run(2), "after the tear", 1).unwrap();
    assert_eq!(version, expected.version);
    let goes_on = state(&db);
    let now = image(&disk, DIR);
    drop(db);
    // The torn bytes whole again behind the cut: they are of a superseded tail.
    let mut risen = now;
    let torn = risen.get_mut(&last).unwrap();
    let tail = killed_in_one_segment().2.remove(&last).unwrap();
    *torn = tail;
    let db = world.on_disk(memory_of(&risen)).open();
    assert_eq!(state(&db), goes_on);
    assert!(db.recovery_report().epoch > report.epoch);
}

/// The maker of the lock file may have been killed before it could sync it.
#[test]
fn a_store_whose_creation_was_killed_anywhere_can_be_opened_for_reading_after_a_power_cut() {
    let config = || DiskConfig::default().only(CrashModel::DropAll).only_names(NameModel::None);
    let builder = |disk: &SimVfs| World::new(disk.clone()).builder();
    let disk = SimVfs::with_config(1, config());
    drop(builder(&disk).open("/some/where").unwrap());
    for call in 0..disk.calls() {
        for when in [When::Before, When::Inside, When::After] {
            let disk = SimVfs::with_config(1, config());
            disk.arm_crash(CrashPoint { call, when }, CrashKind::Process);
            drop(builder(&disk).open("/some/where"));
            disk.restart();
            let db = builder(&disk).open("/some/where").unwrap();
            db.begin_run(run(1), NO_TAGS).unwrap();
            disk.crash_now(CrashKind::Power);
            drop(db);
            disk.restart();
            let db = builder(&disk).open_read_only("/some/where");
            let db = db.unwrap_or_else(|error| panic!("killed {when:?} call {call}: {error}"));
            assert!(db.get_run(run(1)).unwrap().is_some());
        }
    }
}

/// Cuts a creation at every call, and before, inside and after it.
#[test]
fn t27_a_creation_that_was_cut_anywhere_is_completed_by_the_next_opening() {
    let creation = |disk: &SimVfs| -> runstone::Result<Database> {
        let db = World::new(disk.clone()).builder().open("/some/where")?;
        db.begin_run(run(1), NO_TAGS)?;
        Ok(db)
    };
    let disk = SimVfs::new(1);
    drop(creation(&disk).unwrap());
    let calls = disk.calls();
    assert!(calls > 10);
    for call in 0..calls {
        for when in [When::Before, When::Inside, When::After] {
            for (kind, seeds) in [(CrashKind::Process, 1), (CrashKind::Power, 4)] {
                for seed in 0..seeds {
                    let disk = SimVfs::new(call * 100 + seed);
                    disk.arm_crash(CrashPoint { call, when }, kind);
                    let acknowledged = creation(&disk).is_ok();
                    assert!(disk.is_crashed());
                    disk.restart();
                    let world = World::new(disk.clone());
                    let db = world.builder().open("/some/where").unwrap_or_else(|error| {
                        panic!("{kind:?} {when:?} call {call}, seed {seed}: {error}")
                    });
                    let has_run = db.get_run(run(1)).unwrap().is_some();
                    assert!(has_run || !acknowledged);
                    if !has_run {
                        db.begin_run(run(1), NO_TAGS).unwrap();
                    }
                    db.put(run(1), "works", 1).unwrap();
                    disk.crash_now(CrashKind::Power);
                    drop(db);
                    disk.restart();
                    let db = world.builder().open("/some/where").unwrap();
                    assert_eq!(db.get(run(1), "works").unwrap(), Some(1.into()));
                    assert_eq!(db.recovery_report().torn_bytes, 0);
                }
            }
        }
    }
}

/// A simulated disk that durably holds these files.
fn simulated(image: &Image) -> SimVfs {
    let files = image.iter();
    let files = files.map(|(name, bytes)| (path(&long_name(name, image)), bytes.clone())).collect();
    SimVfs::from_image(3, DiskConfig::plain(), &files).unwrap()
}

#[test]
fn a_read_error_is_retryable_and_changes_no_later_answer() {
    let stores = [(closed(), true), (killed_in_one_segment(), false)];
    for ((world, expected, files), was_closed) in stores {
        for kind in [CallKind::Read, CallKind::Open, CallKind::Len, CallKind::List, CallKind::Lock]
        {
            let calls_of = |disk: &SimVfs| disk.stats().calls.get(&kind).copied().unwrap_or(0);
            let disk = simulated(&files);
            drop(world.on_disk(disk.clone()).open());
            let calls = calls_of(&disk);
            assert!(calls >= 1);
            let mut failed = 0;
            for nth in 0..calls {
                for fault in [FaultKind::Io, FaultKind::BadSectorOnce] {
                    if !fault.suits(kind) {
                        continue;
                    }
                    let disk = simulated(&files);
                    let world = world.on_disk(disk.clone());
                    disk.fail_nth(kind, nth, Fault::new(fault).without_effect());
                    match world.try_open() {
                        Err(error) => {
                            failed += 1;
                            assert!(matches!(error, Error::Io { .. }), "{kind:?} {nth}: {error}");
                            assert!(error.is_retryable());
                        }
                        // Only what is read in passing (is this file an orphan?) may be let go.
                        Ok(db) => assert_eq!(state(&db), expected),
                    }
                    let db = world.open();
                    assert_eq!(state(&db), expected, "{kind:?} {nth}");
                    db.put(run(1), "works", 1).unwrap();
                }
            }
            assert!(failed > 0, "{kind:?}");
            if kind == CallKind::Read {
                // Before a manifest is replaced, by the repair and by the close, and before the
                // close writes anything, it is read: whether somebody has written into it. What
                // cannot be read is replaced.
                let in_passing = if was_closed { 0 } else { 3 };
                let both = 2 * (calls - in_passing);
                assert_eq!(failed, both, "every read of an opening matters");
            }
        }
    }
}

#[test]
fn a_short_or_interrupted_read_is_continued() {
    let (world, expected, files) = killed();
    for fault in [FaultKind::Short, FaultKind::Interrupted] {
        let disk = simulated(&files);
        for nth in 0..200 {
            disk.fail_nth(CallKind::Read, nth * 2, Fault { part: 100, ..Fault::new(fault) });
        }
        let db = world.on_disk(disk.clone()).open();
        assert_eq!(state(&db), expected);
        assert!(!disk.injected().is_empty());
    }
}

#[test]
fn a_full_disk_refuses_an_opening_that_must_write_retryably_and_changes_no_answer() {
    let (world, expected, files) = killed();
    let disk = simulated(&files);
    let world = world.on_disk(disk.clone());
    let used = disk.used_bytes();
    let names = || image(&disk, DIR).into_keys().collect::<Vec<_>>();
    let before = names();
    let mut refusals = 0;
    for room in (0..4_000).step_by(3) {
        disk.set_capacity(Some(used + room));
        match world.try_open() {
            Err(error) => {
                refusals += 1;
                assert!(matches!(error, Error::DiskFull { .. }), "{room}: {error}");
                assert!(error.is_retryable());
                assert_eq!(names(), before, "{room}: a refusal takes no room for itself");
                // Reading needs no room.
                assert_eq!(state(&world.try_read_only().unwrap()), expected);
            }
            Ok(db) => {
                assert_eq!(state(&db), expected);
                assert_eq!(db.recovery_report().interrupted_runs, [run(1)]);
                assert!(refusals > 10, "{refusals}");
                disk.set_capacity(None);
                db.put(run(1), "works", 1).unwrap();
                return;
            }
        }
    }
    panic!("it never opened");
}

#[test]
fn a_full_disk_does_not_keep_a_clean_store_from_opening() {
    let (world, expected, files) = closed();
    let disk = simulated(&files);
    disk.set_capacity(Some(disk.used_bytes()));
    let db = world.on_disk(disk.clone()).open();
    assert_eq!(state(&db), expected);
    let full = db.put(run(1), "k", 1).unwrap_err();
    assert!(matches!(full, Error::DiskFull { .. }) && full.is_retryable());
    disk.set_capacity(None);
    assert_eq!(db.put(run(1), "k", 1).unwrap(), expected.version + 1);
}

#[test]
fn a_full_disk_refuses_a_creation_retryably() {
    let disk = SimVfs::with_config(1, DiskConfig::plain());
    let world = World::new(disk.clone());
    for room in (0..).step_by(7) {
        disk.set_capacity(Some(room));
        match world.try_open() {
            Err(error) => assert!(matches!(error, Error::DiskFull { .. }), "{error}"),
            Ok(db) => {
                assert!(room > 100 && db.recovery_report().created);
                return;
            }
        }
    }
}

#[test]
fn options_that_contradict_each_other_are_refused_before_anything_is_made() {
    let world = World::memory().with(|options| options.segment_bytes = 1);
    assert!(matches!(world.try_open(), Err(Error::InvalidArgument { .. })));
    assert_eq!(world.vfs.list(Path::new("/")).unwrap(), []);
}

#[test]
fn a_wall_clock_far_ahead_of_the_log_is_reported() {
    let (world, expected, files) = closed();
    let world = world.on_disk(memory_of(&files));
    assert_eq!(world.open().recovery_report().clock_jump_ms, None);
    let year = 366 * 24 * 3600 * 1000;
    world.clock.advance(year + 1);
    let db = world.open();
    assert_eq!(db.recovery_report().clock_jump_ms, Some(year + 1));
    assert_eq!(state(&db).version, expected.version);
}

#[test]
fn an_opening_after_a_crash_adds_at_most_one_file_and_many_clean_ones_add_none() {
    let (mut world, expected, files) = killed();
    let disk = memory_of(&files);
    world.vfs = Arc::new(disk.clone());
    for mode in MODES {
        let world = world.clone().mode(mode);
        for _ in 0..100 {
            world.open().close().unwrap();
        }
    }
    let after = image(&disk, DIR);
    assert!(after.len() <= files.len() + 1, "{:?}", after.keys());
    assert_eq!(state(&world.open()), expected);
    put_file(&disk, &path("x"), b"");
}

/// Commits that nothing proves, on a disk whose process was killed; then crashes in recovery, at
/// every call, of both kinds, and once more in the recovery after that.
#[test]
fn c08_a_crash_anywhere_in_recovery_changes_no_later_answer_and_what_was_shown_stays() {
    let unproven = |seed: u64| {
        let disk = SimVfs::new(seed);
        let world = small_segments(World::new(disk.clone())).mode(MODES[1]);
        let db = world.open();
        db.begin_run(run(1), NO_TAGS).unwrap();
        db.flush().unwrap();
        let durable = db.storage().version();
        for n in 0..4i64 {
            db.put(run(1), format!("{n}"), n).unwrap();
        }
        disk.crash_now(CrashKind::Process);
        drop(db);
        disk.restart();
        (disk, world, durable)
    };
    // A state is right if it is a prefix: all commits up to its version.
    let check = |db: &Database, least: u64| {
        let version = db.storage().version();
        assert!(version >= least && version <= 5, "{version}, at least {least}");
        assert_eq!(db.list(run(1), "").unwrap().len() as u64, version - 1);
        version
    };
    let (disk, world, durable) = unproven(0);
    let before = disk.calls();
    let db = world.open();
    assert_eq!(check(&db, durable), 5, "a kill alone loses nothing");
    assert_eq!(db.recovery_report().unproven_commits, 4);
    let calls = disk.calls() - before;
    drop(db);
    for at in 0..calls {
        for when in [When::Before, When::Inside, When::After] {
            for (first, second) in [
                (CrashKind::Power, CrashKind::Power),
                (CrashKind::Process, CrashKind::Power),
                (CrashKind::Process, CrashKind::Process),
            ] {
                let (disk, world, durable) = unproven(at);
                let call = disk.calls() + at;
                disk.arm_crash(CrashPoint { call, when }, first);
                // The last call removes what nothing needs any more: if it fails, nothing is lost.
                assert!(world.try_open().is_err() || at + 1 == calls, "crashed at {at}");
                assert!(disk.is_crashed(), "crashed at {at}");
                disk.restart();
                // Again, at another call of the second recovery, if it comes so far.
                let call = disk.calls() + at / 2 + 5;
                disk.arm_crash(CrashPoint { call, when }, second);
                let mut least = durable;
                if let Ok(db) = world.try_open() {
                    least = check(&db, least);
                    drop(db);
                }
                disk.disarm_crash();
                disk.crash_now(CrashKind::Power);
                disk.restart();
                for _ in 0..2 {
                    let db = world.open();
                    least = check(&db, least);
                    disk.crash_now(CrashKind::Power);
                    drop(db);
                    disk.restart();
                }
                let db = world.open();
                assert_eq!(check(&db, least), least, "what an opening has shown stays");
                assert_eq!(db.put(run(1), "last", 1).unwrap(), least + 1);
                db.close().unwrap();
                let files = image(&disk, DIR);
                let strays = files.keys().filter(|name| name.ends_with(".tmp")).count();
                assert_eq!(strays, 0, "{:?}", files.keys());
            }
        }
    }
}
