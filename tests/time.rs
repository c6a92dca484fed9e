//! C11: what has expired stays gone, whatever the wall clock does, and whoever stops when.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that fails says so

mod common;

use std::time::Duration;

use common::{NO_TAGS, START_MS, World, run};
use runstone::{Database, Error};
use runstone_sim::disk::{CrashKind, CrashModel, DiskConfig, SimVfs};

fn disk() -> SimVfs {
    SimVfs::with_config(7, DiskConfig::default().only(CrashModel::DropAll))
}

/// A store with a key that lives for 50 ms, 60 ms later, when a commit has just been refused: it
/// has seen the time, and logged nothing.
fn with_an_expired_key(world: &World) -> Database {
    let db = world.open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    db.put_with_ttl(run(1), "expires", 1, Some(Duration::from_millis(50))).unwrap();
    world.clock.advance(60);
    assert_eq!(db.get(run(1), "expires").unwrap(), None);
    let refused = db.put(run(2), "k", 1).unwrap_err();
    assert!(matches!(refused, Error::RunNotFound { .. }), "{refused}");
    db
}

/// Stops it without a close, and opens it with a wall clock that was set back.
fn reopened(world: &World, disk: &SimVfs, db: Database, kind: CrashKind) -> Database {
    disk.crash_now(kind);
    drop(db);
    disk.restart();
    world.clock.set_wall(START_MS);
    world.open()
}

#[test]
fn c11_maintenance_logs_the_time_before_it_frees_though_a_refused_commit_saw_the_same_time() {
    let disk = disk();
    let world = World::new(disk.clone());
    let db = with_an_expired_key(&world);
    assert_eq!(db.maintain().unwrap().freed, 1);
    let db = reopened(&world, &disk, db, CrashKind::Process);
    assert_eq!(db.get(run(1), "expires").unwrap(), None, "it was freed");
}

#[test]
fn c11_the_time_that_one_opening_takes_from_a_watermark_is_known_to_the_next() {
    let disk = disk();
    let world = World::new(disk.clone());
    let db = with_an_expired_key(&world);
    assert_eq!(db.tick().unwrap(), None, "the log is idle: a watermark is written");
    let db = reopened(&world, &disk, db, CrashKind::Process);
    assert_eq!(db.get(run(1), "expires").unwrap(), None, "the watermark bears the time");
    // The opening has written the commits of the unproven tail again, and no watermark.
    let db = reopened(&world, &disk, db, CrashKind::Power);
    assert_eq!(db.get(run(1), "expires").unwrap(), None, "it was shown to be gone");
}

#[test]
fn what_the_log_knows_to_have_expired_takes_no_memory_after_an_opening() {
    let disk = disk();
    let world = World::new(disk.clone());
    let db = world.open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    let empty = db.storage().memory_bytes();
    for n in 0..200i64 {
        let ttl = Some(Duration::from_millis(10));
        db.put_with_ttl(run(1), format!("{n}"), vec![1; 1_000], ttl).unwrap();
        world.clock.advance(1);
    }
    // Ten or eleven of them have not yet expired, by the last time that was logged.
    let db = reopened(&world, &disk, db, CrashKind::Process);
    let held = db.storage().memory_bytes() - empty;
    assert!((10_000..13_000).contains(&held), "{held} bytes");
    assert!(db.get(run(1), "195").unwrap().is_some() && db.get(run(1), "150").unwrap().is_none());
}
