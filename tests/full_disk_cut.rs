//! C6 on a full disk: what was begun is cut off, and a cut that itself needs room may wait.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that fails says so

mod common;

use common::full::{after_power_cut, disk, fill_up, is_full};
use common::{MODES, NO_TAGS, World, run, state};
use runstone::{Error, Level, WriteBatch, WriteOptions};
use runstone_sim::disk::{CallKind, CrashKind, CrashModel, DiskConfig, Fault, FaultKind, SimVfs};

/// A disk on which a file cannot be made shorter while it is full.
fn disk_that_needs_room_for_a_cut() -> SimVfs {
    let config = DiskConfig::default().only(CrashModel::DropAll);
    SimVfs::with_config(5, DiskConfig { cut_needs_room: true, ..config })
}

#[test]
fn c06_a_full_disk_that_cannot_be_cut_back_yet_is_retryable_and_goes_on_behind_the_cut() {
    for mode in MODES {
        for is_killed in [false, true] {
            let disk = disk_that_needs_room_for_a_cut();
            let world = World::new(disk.clone()).mode(mode);
            let db = world.open();
            db.begin_run(run(1), NO_TAGS).unwrap();
            db.put(run(1), "kept", 1).unwrap();
            db.flush().unwrap();
            let before = state(&db);
            fill_up(&disk, 100);
            let strict = WriteOptions { durability: Some(Level::Strict) };
            for _ in 0..3 {
                is_full(db.put_with(run(1), "large", vec![9; 1_000], None, strict));
                is_full(db.put_with(run(1), "small", 1, None, strict));
            }
            assert_eq!(state(&db), before);
            db.flush().unwrap();
            assert!(matches!(db.close(), Err(Error::DiskFull { .. })));
            let db = if is_killed {
                disk.crash_now(CrashKind::Process);
                drop(db);
                disk.set_capacity(None);
                disk.restart();
                let db = world.open();
                assert!(db.recovery_report().torn_bytes > 0, "a part of a record was there");
                assert_eq!(state(&db), before);
                db
            } else {
                db
            };
            fill_up(&disk, 800);
            db.put_with(run(1), "small", 1, None, strict).unwrap();
            let live = state(&db);
            disk.set_capacity(None);
            let db = after_power_cut(&world, &disk, db);
            assert_eq!(state(&db), live);
            assert_eq!(db.recovery_report().torn_bytes, 0);
        }
    }
}

#[test]
fn c06_a_close_behind_a_part_that_was_not_cut_back_is_clean_when_there_is_room() {
    let disk = disk_that_needs_room_for_a_cut();
    let world = World::new(disk.clone());
    let db = world.open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    fill_up(&disk, 100);
    is_full(db.put(run(1), "large", vec![9; 1_000]));
    let live = state(&db);
    disk.set_capacity(None);
    db.close().unwrap();
    drop(db);
    let db = world.open();
    assert!(db.recovery_report().clean);
    assert_eq!(state(&db), live);
}

/// The first of a group that did not fit is whole in the file: it would count after a crash.
#[test]
fn c06_a_whole_record_that_was_refused_and_cannot_be_cut_back_poisons() {
    let disk = disk_that_needs_room_for_a_cut();
    let world = World::new(disk.clone());
    let db = world.open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    let shown = state(&db);
    fill_up(&disk, 400);
    let tickets = [1, 2].map(|n| {
        let mut batch = WriteBatch::new();
        batch.put(run(1), "k", vec![n; 200]);
        db.submit(batch, WriteOptions::default()).unwrap()
    });
    db.step().unwrap();
    for ticket in tickets {
        let error = ticket.wait().map(|committed| committed.version).unwrap_err();
        assert!(matches!(error, Error::OutcomeUnknown { .. }), "{error}");
    }
    assert!(matches!(db.put(run(1), "k", 3), Err(Error::Poisoned { .. })));
    assert_eq!(state(&db), shown);
}

/// A cut that fails may show its effect and not have it: a crash brings back what it cut off. Found
/// by a sweep.
#[test]
fn c06_a_cut_that_fails_and_shows_its_effect_is_not_taken_for_one() {
    let disk = disk();
    let world = World::new(disk.clone()).with(|options| options.pad_to_sector = true);
    let db = world.open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    // The record is whole, what pads its sector is not.
    fill_up(&disk, 500);
    disk.fail_nth(CallKind::SetLen, 0, Fault::new(FaultKind::Quota));
    let error = db.put(run(1), "k", 1).unwrap_err();
    assert!(matches!(error, Error::OutcomeUnknown { .. }), "{error}");
}

#[test]
fn c06_a_full_disk_that_took_no_byte_of_a_record_is_neither_cut_nor_synced() {
    let disk = disk_that_needs_room_for_a_cut();
    let world = World::new(disk.clone());
    let db = world.open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    fill_up(&disk, 0);
    let made = |kind| disk.stats().calls.get(&kind).copied().unwrap_or(0);
    let before = (made(CallKind::SetLen), made(CallKind::Sync));
    is_full(db.put(run(1), "k", 1));
    assert_eq!((made(CallKind::SetLen), made(CallKind::Sync)), before);
    fill_up(&disk, 100);
    assert_eq!(db.put(run(1), "k", 1).unwrap(), 2);
}

#[test]
fn a_full_disk_that_cannot_be_cut_back_poisons() {
    for fault in [CallKind::SetLen, CallKind::Sync] {
        let disk = disk();
        let world = World::new(disk.clone());
        let db = world.open();
        db.begin_run(run(1), NO_TAGS).unwrap();
        db.put(run(1), "k", 1).unwrap();
        let shown = state(&db);
        fill_up(&disk, 10);
        disk.fail_nth(fault, 0, Fault::new(FaultKind::Io).without_effect());
        let error = db.put(run(1), "k", 2).unwrap_err();
        assert!(matches!(error, Error::OutcomeUnknown { .. }), "{fault:?}: {error}");
        disk.set_capacity(None);
        assert!(matches!(db.put(run(1), "k", 3), Err(Error::Poisoned { .. })));
        assert_eq!(state(&db), shown);
        let db = after_power_cut(&world, &disk, db);
        assert_eq!(db.get(run(1), "k").unwrap(), Some(1.into()));
    }
}
