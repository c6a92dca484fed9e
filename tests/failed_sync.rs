//! C6: any failed sync, of log, manifest or directory, and any failed write, poisons.
//!
//! Nothing more is written; waiters are told that the outcome is unknown; what was published
//! stays readable and nothing else is shown; and after a power cut, whatever the failed sync
//! left on disk, all that was durable is there.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that fails says so

mod common;

use common::{MODES, NO_TAGS, World, run, state};
use runstone::{Database, Error, Preallocation, WriteBatch, WriteOptions};
use runstone_sim::disk::{CallKind, CrashKind, DiskConfig, Fault, FaultKind, SimVfs, SyncFlavour};

const FLAVOURS: [SyncFlavour; 4] =
    [SyncFlavour::Doomed, SyncFlavour::Reverted, SyncFlavour::SizeKept, SyncFlavour::Harmless];

/// A call that needs the disk, and how it must fail: with an unknown outcome if its record may
/// have been written, else as poisoned.
fn failed(error: &Error) {
    match error {
        Error::OutcomeUnknown { reason } | Error::Poisoned { reason } => {
            assert!(reason.contains("failed"), "it says what failed: {error}");
        }
        other => panic!("{other}"),
    }
    assert!(!error.is_retryable() && !error.is_corruption());
    assert!(error.to_string().contains("open it again"), "it says what to do: {error}");
}

/// The database refuses every write with the first reason and reads as before.
fn is_poisoned(db: &Database, shown: &common::State) {
    for refused in [
        db.put(run(1), "k", 9).map(|_| ()),
        db.delete(run(1), "k").map(|_| ()),
        db.begin_run(run(8), NO_TAGS).map(|_| ()),
        db.end_run(run(1)).map(|_| ()),
        db.flush(),
        db.tick().map(|_| ()),
    ] {
        let error = refused.unwrap_err();
        assert!(matches!(error, Error::Poisoned { .. }), "{error}");
        failed(&error);
    }
    assert_eq!(state(db), *shown, "what was published stays, and nothing else is shown");
}

#[test]
fn t24_a_failed_sync_of_the_log_is_never_tried_again_and_loses_nothing_durable() {
    for flavour in FLAVOURS {
        for seed in 0..30 {
            let disk = SimVfs::new(seed);
            let world = World::new(disk.clone());
            let db = world.open();
            db.begin_run(run(1), NO_TAGS).unwrap();
            db.put(run(1), "k", 1).unwrap();
            let durable = state(&db);
            disk.fail_nth(CallKind::Sync, 0, Fault::new(FaultKind::Io).flavour(flavour));
            let error = db.put(run(1), "k", 2).unwrap_err();
            assert!(matches!(error, Error::OutcomeUnknown { .. }), "{error}");
            failed(&error);
            let syncs = disk.stats().calls.get(&CallKind::Sync).copied();
            let writes = disk.stats().calls.get(&CallKind::Write).copied();
            is_poisoned(&db, &durable);
            let closed = db.close().unwrap_err();
            assert!(matches!(closed, Error::Poisoned { .. }), "t35: close tells");
            assert!(db.is_closed());
            let again = disk.stats();
            assert_eq!(again.calls.get(&CallKind::Sync).copied(), syncs, "no second sync");
            assert_eq!(again.calls.get(&CallKind::Write).copied(), writes);
            drop(db);
            if seed % 2 == 0 {
                disk.crash_now(CrashKind::Power);
                disk.restart();
            }
            let db = world.open();
            let recovered = state(&db);
            // The commit of unknown outcome is there, whole, or not at all.
            assert!(recovered.version == 2 || recovered.version == 3);
            if recovered.version == 2 {
                assert_eq!(recovered, durable);
            } else {
                assert_eq!(db.get(run(1), "k").unwrap(), Some(2.into()));
            }
            // What an opening has shown is durable.
            disk.crash_now(CrashKind::Power);
            drop(db);
            disk.restart();
            let db = world.open();
            assert_eq!(state(&db), recovered);
            db.put(run(1), "k", 3).unwrap();
        }
    }
}

#[test]
fn t35_close_and_flush_tell_of_a_failed_sync_in_every_mode() {
    for mode in MODES {
        for close in [false, true] {
            let disk = SimVfs::new(1);
            let world = World::new(disk.clone()).mode(mode);
            let db = world.open();
            db.begin_run(run(1), NO_TAGS).unwrap();
            db.flush().unwrap();
            let durable = state(&db);
            db.put(run(1), "k", 1).unwrap();
            disk.fail_nth(CallKind::Sync, 0, Fault::new(FaultKind::Io));
            let outcome = if close { db.close() } else { db.flush() };
            failed(&outcome.unwrap_err());
            if !close {
                assert_eq!(db.get(run(1), "k").unwrap(), Some(1.into()), "published");
                failed(&db.close().unwrap_err());
            }
            drop(db);
            disk.crash_now(CrashKind::Power);
            disk.restart();
            let db = world.open();
            let recovered = state(&db);
            assert!(recovered.version >= durable.version);
            assert!(!db.recovery_report().clean, "it was never closed");
        }
    }
}

/// Every sync and every change of names, wherever it comes in a session with a rotation, a
/// flush and a close, fails; and all that had been acknowledged as durable is there after a
/// power cut.
#[test]
fn whichever_sync_write_or_rename_of_a_session_fails_nothing_durable_is_lost() {
    use CallKind::{Rename, SetLen, Sync, SyncDir, Write};
    for (kind, flavours) in [
        (Sync, &FLAVOURS[..]),
        (SyncDir, &FLAVOURS),
        (Rename, &[FLAVOURS[0]]),
        (Write, &[FLAVOURS[0]]),
        (SetLen, &[FLAVOURS[0]]),
    ] {
        let mut struck = 0;
        for nth in 0..60 {
            for (effect, flavour) in [false, true]
                .into_iter()
                .flat_map(|effect| flavours.iter().map(move |flavour| (effect, *flavour)))
            {
                let disk = SimVfs::new(nth);
                let world = World::new(disk.clone()).with(|options| {
                    options.segment_bytes = 512;
                    options.preallocate_bytes = 128;
                    options.preallocation = Preallocation::Zeros;
                });
                let db = world.open();
                db.close().unwrap();
                let db = world.open();
                let fault = Fault::new(FaultKind::Io).flavour(flavour);
                let fault = if effect { fault } else { fault.without_effect() };
                disk.fail_nth(kind, nth, fault);
                let mut acknowledged = 0;
                let session = (|| -> runstone::Result<()> {
                    acknowledged = db.begin_run(run(1), NO_TAGS)?;
                    for n in 0..8i64 {
                        acknowledged = db.put(run(1), format!("{n}"), vec![7; 100])?;
                    }
                    db.flush()?;
                    acknowledged = db.delete(run(1), "3").map(|_| acknowledged + 1)?;
                    db.close()
                })();
                let is_struck = !disk.injected().is_empty();
                if let Err(error) = &session {
                    failed(error);
                    assert!(is_struck);
                    if !db.is_closed() {
                        assert_eq!(db.storage().version(), acknowledged, "published in order");
                        let shown = state(&db);
                        is_poisoned_or_unbegun(&db, &shown);
                    }
                } else {
                    assert!(!is_struck, "{kind:?} {nth}: a failure was swallowed");
                }
                struck += u64::from(is_struck);
                drop(db);
                disk.heal();
                disk.crash_now(CrashKind::Power);
                disk.restart();
                let db = world.open();
                let version = db.storage().version();
                assert!(
                    version == acknowledged || version == acknowledged + 1,
                    "{kind:?} {nth} {flavour:?}: {version} of {acknowledged}"
                );
                if version > 0 {
                    assert_eq!(db.get_run(run(1)).unwrap().unwrap().first_version, 1);
                    let keys = db.list(run(1), "").unwrap();
                    let expected = if version < 10 { version - 1 } else { 7 };
                    assert_eq!(keys.len() as u64, expected);
                }
            }
        }
        assert!(struck > 0, "{kind:?}");
    }
}

fn is_poisoned_or_unbegun(db: &Database, shown: &common::State) {
    if shown.version == 0 {
        // No run to write to: a begin is what is refused.
        failed(&db.begin_run(run(1), NO_TAGS).unwrap_err());
    } else {
        is_poisoned(db, shown);
    }
}

#[test]
fn every_waiter_of_a_group_whose_sync_failed_is_told_that_the_outcome_is_unknown() {
    let disk = SimVfs::with_config(1, DiskConfig::default());
    let world = World::new(disk.clone());
    let db = world.open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    let shown = state(&db);
    disk.fail_nth(CallKind::Sync, 0, Fault::new(FaultKind::Io));
    let tickets: Vec<_> = (0..8)
        .map(|n| {
            let mut batch = WriteBatch::new();
            // One of them would have been refused: that too is unknown now.
            batch.put(run(if n == 4 { 9 } else { 1 }), "k", n);
            db.submit(batch, WriteOptions::default()).unwrap()
        })
        .collect();
    db.step().unwrap();
    for ticket in tickets {
        let error = ticket.wait().unwrap_err();
        assert!(matches!(error, Error::OutcomeUnknown { .. }), "{error}");
    }
    is_poisoned(&db, &shown);
}

#[test]
fn t31_a_failed_sync_that_was_covered_up_by_time_still_poisons_when_it_is_told() {
    // Background writeback fails; the next sync, whose own writes are fine, reports it once.
    for seed in 0..20 {
        let disk = SimVfs::new(seed);
        let world = World::new(disk.clone()).mode(MODES[1]);
        let db = world.open();
        db.begin_run(run(1), NO_TAGS).unwrap();
        db.flush().unwrap();
        disk.fail_nth(CallKind::Write, 0, Fault::new(FaultKind::BackgroundFails));
        db.put(run(1), "k", 1).unwrap();
        db.put(run(1), "k", 2).unwrap();
        let error = db.flush().unwrap_err();
        failed(&error);
        assert!(matches!(db.flush(), Err(Error::Poisoned { .. })), "not forgotten");
        drop(db);
        disk.crash_now(CrashKind::Power);
        disk.restart();
        let db = world.open();
        assert!(db.get_run(run(1)).unwrap().is_some());
    }
}
