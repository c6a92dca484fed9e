//! How many keys a run holds: kept where that was asked for, counted else, and the same each time.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that fails says so

mod common;

use common::{MODES, World, run};
use runstone::vfs::{MemVfs, Vfs};
use runstone::{
    Database, DurabilityMode, Level, NO_TAGS, RunOptions, RunStatus, WriteBatch, WriteOptions,
};
use std::path::Path;
use std::time::Duration;

fn counted() -> RunOptions {
    RunOptions::default().count_keys(true)
}

/// What a scan shows, what is counted, and what is kept.
fn counts(db: &Database, n: u8) -> (u64, u64, Option<u64>) {
    let scanned = db.scan::<&str, _>(run(n), ..).unwrap().count() as u64;
    (scanned, db.count(run(n)).unwrap(), db.run_statistics(run(n)).unwrap().unwrap().keys)
}

/// Without a close: what is not in tables is replayed.
fn reopen(world: &mut World, db: Database) -> Database {
    db.flush().unwrap();
    let (disk, dir) = (MemVfs::new(), Path::new(common::DIR));
    disk.create_dir(dir).unwrap();
    for entry in world.vfs.list(dir).unwrap() {
        let path = dir.join(&entry.name);
        common::put_file(&disk, &path, &common::read(&*world.vfs, &path));
    }
    drop(db);
    *world = world.on_disk(disk);
    world.open()
}

/// One step of a short history.
#[derive(Clone, Copy, Debug)]
enum Step {
    Put(&'static str),
    Delete(&'static str),
    Batch,
    Group,
    Flush,
    Reopen,
}

const STEPS: [Step; 8] = [
    Step::Put("a"),
    Step::Put("b"),
    Step::Delete("a"),
    Step::Delete("b"),
    Step::Batch,
    Step::Group,
    Step::Flush,
    Step::Reopen,
];

fn take(step: Step, world: &mut World, db: &mut Database) {
    match step {
        Step::Put(key) => {
            db.put(run(1), key, 1).unwrap();
        }
        Step::Delete(key) => {
            db.remove(run(1), key).unwrap();
        }
        Step::Batch => {
            let mut batch = WriteBatch::new();
            batch.put(run(1), "a", 2).delete(run(1), "b").put(run(1), "c", 2).put(run(2), "a", 1);
            db.write(batch).unwrap();
        }
        Step::Group => {
            // Commits about each other, in one group.
            let submit = |change: &dyn Fn(&mut WriteBatch)| {
                let mut batch = WriteBatch::new();
                change(&mut batch);
                let level = WriteOptions { durability: Some(Level::Async) };
                db.submit(batch, level).unwrap()
            };
            let tickets = [
                submit(&|batch| _ = batch.put(run(1), "d", 1)),
                submit(&|batch| _ = batch.put(run(1), "d", 2).delete(run(1), "c")),
                submit(&|batch| _ = batch.delete(run(1), "d").put(run(1), "e", 1)),
            ];
            for ticket in tickets {
                ticket.wait().unwrap();
            }
        }
        Step::Flush => while db.maintain().unwrap().more {},
        Step::Reopen => {
            *db = reopen(world, std::mem::replace(db, Database::in_memory().unwrap()));
        }
    }
}

#[test]
fn a_kept_count_is_what_a_scan_shows_behind_every_history_of_four_steps() {
    let all = STEPS.len();
    for nth in 0..all.pow(4) {
        let steps = [nth / all.pow(3), nth / all.pow(2) % all, nth / all % all, nth % all];
        let world = World::memory().mode(DurabilityMode::Async { interval_ms: u64::MAX });
        let mut world = world.with(|options| options.flush_bytes = 1);
        let mut db = world.open();
        db.begin_run_with(run(1), counted()).unwrap();
        db.begin_run(run(2), NO_TAGS).unwrap();
        for step in steps {
            take(STEPS[step], &mut world, &mut db);
            let (scanned, found, kept) = counts(&db, 1);
            let history = steps.map(|step| STEPS[step]);
            assert_eq!((found, kept), (scanned, Some(scanned)), "{history:?}");
            let (scanned, found, kept) = counts(&db, 2);
            assert_eq!((found, kept), (scanned, None), "{history:?}");
        }
    }
}

#[test]
fn what_a_commit_changes_is_counted_in_every_mode_and_survives_its_end_and_an_opening() {
    for mode in MODES {
        let mut world = World::memory().mode(mode);
        let db = world.open();
        let mut batch = WriteBatch::new();
        batch.begin_run_with(run(1), counted()).put(run(1), "a", 1).put(run(1), "b", 1);
        batch.end_run(run(1), RunStatus::Completed);
        assert_eq!(batch.len(), 4, "what is counted is no change of the caller's");
        db.write(batch).unwrap();
        assert_eq!(counts(&db, 1), (2, 2, Some(2)));
        let db = reopen(&mut world, db);
        assert_eq!(counts(&db, 1), (2, 2, Some(2)));
    }
}

#[test]
fn a_time_to_live_or_a_removed_range_ends_the_count_for_good_and_it_is_walked_then() {
    let mut world = World::memory();
    let db = world.open();
    for n in [1, 2] {
        db.begin_run_with(run(n), counted()).unwrap();
        db.put(run(n), "a", 1).unwrap();
        db.put(run(n), "b", 1).unwrap();
        assert_eq!(counts(&db, n), (2, 2, Some(2)));
    }
    db.put_with_ttl(run(1), "c", 1, Some(Duration::from_millis(5))).unwrap();
    db.remove_range(run(2), "b"..).unwrap();
    assert_eq!((counts(&db, 1), counts(&db, 2)), ((3, 3, None), (1, 1, None)));
    world.clock.advance(5);
    db.put(run(2), "z", 1).unwrap();
    assert_eq!((counts(&db, 1), counts(&db, 2)), ((2, 2, None), (2, 2, None)));
    let db = reopen(&mut world, db);
    assert_eq!((counts(&db, 1), counts(&db, 2)), ((2, 2, None), (2, 2, None)));
}

#[test]
fn a_snapshot_counts_what_it_sees() {
    let world = World::memory();
    let db = world.open();
    db.begin_run_with(run(1), counted()).unwrap();
    db.put(run(1), "a", 1).unwrap();
    let before = db.snapshot().unwrap();
    db.put(run(1), "b", 1).unwrap();
    db.end_run(run(1)).unwrap();
    let ended = db.snapshot().unwrap();
    db.drop_run(run(1)).unwrap();
    assert_eq!((before.count(run(1)).unwrap(), ended.count(run(1)).unwrap()), (1, 2));
    assert!(matches!(db.count(run(1)), Err(runstone::Error::RunDropped { .. })));
    assert!(matches!(db.count(run(2)), Err(runstone::Error::RunNotFound { .. })));
}

#[test]
fn large_values_are_counted_without_being_read() {
    let world = World::memory().with(|options| {
        options.flush_bytes = 1;
        options.cache_bytes_max = 0;
        options.extent_bytes_min = 64;
    });
    let db = world.open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    for n in 0..100_u8 {
        db.put(run(1), [n], vec![n; 100]).unwrap();
    }
    while db.maintain().unwrap().more {}
    assert_eq!(db.count(run(1)).unwrap(), 100);
    db.remove(run(1), [7]).unwrap();
    assert_eq!(db.count(run(1)).unwrap(), 99);
}
