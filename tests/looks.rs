//! A look at the lock file that fails behind a sync: nobody can tell whose the directory is.
//!
//! What stays true: nothing is acknowledged as durable that was not looked at; what is published
//! already is synced and looked at once more, and nothing is poisoned for it; a commit whose own
//! record was just written has an unknown outcome.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that fails says so

mod common;

use std::io;

use common::refusing::{Rules, refusing};
use common::{DIR, NO_TAGS, World, image, memory_of, run, state};
use runstone::vfs::MemVfs;
use runstone::{Database, DurabilityMode, Error, Level, WriteBatch, WriteOptions};

const KINDS: [io::ErrorKind; 3] =
    [io::ErrorKind::PermissionDenied, io::ErrorKind::Other, io::ErrorKind::TimedOut];

fn world(mode: DurabilityMode) -> (World, std::sync::Arc<Rules>, Database) {
    let (world, rules) = refusing(MemVfs::new());
    let world = world.mode(mode);
    let db = world.open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    db.flush().unwrap();
    (world, rules, db)
}

fn is_unseen<T: std::fmt::Debug>(outcome: Result<T, Error>) {
    match outcome {
        Err(Error::Io { action: "looking for", path, .. }) => {
            assert!(path.ends_with("runstone.lock"), "{path:?}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn c06_a_tick_that_cannot_look_poisons_nothing_and_syncs_again_after_the_interval() {
    let modes = [
        DurabilityMode::Batched { interval_ms: 10, batch_size: 2 },
        DurabilityMode::Batched { interval_ms: 10, batch_size: 100 },
        DurabilityMode::Async { interval_ms: 10 },
    ];
    for (mode, kind) in modes.into_iter().flat_map(|mode| KINDS.map(|kind| (mode, kind))) {
        let (world, rules, db) = world(mode);
        for n in 0..2i64 {
            db.put(run(1), format!("{n}"), n).unwrap();
        }
        let shown = state(&db);
        rules.refuse("stat", ".lock", kind);
        world.clock.advance(10);
        is_unseen(db.tick());
        // It is not due again before the interval has passed.
        assert!(db.tick().unwrap().is_some(), "{mode:?}: a sync is due later");
        assert_eq!(rules.relent(), 1, "{mode:?}");
        assert_eq!(state(&db), shown);

        rules.refuse("stat", ".lock", kind);
        world.clock.advance(100);
        is_unseen(db.tick());
        rules.relent();
        world.clock.advance(100);
        db.tick().unwrap();
        db.put(run(1), "then", 1).unwrap();
        let shown = state(&db);
        db.close().unwrap();
        assert_eq!(state(&world.open()), shown, "{mode:?}");
    }
}

#[test]
fn c06_a_commit_that_waits_for_a_sync_of_others_is_refused_where_nobody_can_look() {
    for kind in KINDS {
        let (world, rules, db) = world(DurabilityMode::Batched { interval_ms: 10, batch_size: 1 });
        for n in 0..2i64 {
            db.put(run(1), format!("{n}"), n).unwrap();
        }
        let shown = state(&db);
        rules.refuse("stat", ".lock", kind);
        is_unseen(db.put(run(1), "third", 3));
        assert_eq!(state(&db), shown);
        rules.relent();
        assert_eq!(db.put(run(1), "third", 3).unwrap(), shown.version + 1);
        let shown = state(&db);
        let killed = memory_of(&image(&*world.vfs, DIR));
        assert_eq!(state(&world.on_disk(killed).open()), shown);
    }
}

/// To take its record back would be to write into what may be another's by now.
#[test]
fn c06_a_strict_commit_behind_whose_sync_nobody_can_look_has_an_unknown_outcome_and_poisons() {
    for kind in KINDS {
        let (world, rules, db) = world(DurabilityMode::Batched { interval_ms: 10, batch_size: 9 });
        let before = state(&db);
        rules.refuse("stat", ".lock", kind);
        let mut batch = WriteBatch::new();
        batch.put(run(1), "k", 1);
        let strict = WriteOptions { durability: Some(Level::Strict) };
        let error = db.write_with(batch, strict).unwrap_err();
        assert!(matches!(error, Error::OutcomeUnknown { .. }), "{error}");
        assert_eq!(rules.relent(), 1);
        assert_eq!(state(&db), before, "an unpublished commit is never shown");
        assert!(matches!(db.put(run(1), "k", 2), Err(Error::Poisoned { .. })));
        drop(db);
        let found = world.open().get(run(1), "k").unwrap();
        assert_eq!(found, Some(1.into()), "its record was written and stays");
    }
}
