//! The engine's own threads: who waits for whom, and that all of them end.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that fails says so
#![allow(clippy::disallowed_methods)] // tests wait for threads

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::refusing::refusing;
use common::spy::{Spy, SpyVfs};
use common::{DIR, NO_TAGS, run};
use runstone::vfs::MemVfs;
use runstone::{Database, DurabilityMode, Options};

fn open(background_threads: usize, interval_ms: u64) -> (Database, Arc<Spy>) {
    let (vfs, spy) = SpyVfs::new(MemVfs::new());
    let options = Options {
        background_threads,
        durability: DurabilityMode::Batched { interval_ms, batch_size: u64::MAX },
        flush_bytes: 16 << 10,
        segment_bytes: 64 << 10,
        maintenance_interval_ms: 1,
        ..Options::default()
    };
    (Database::builder().options(options).vfs(Arc::new(vfs)).open(DIR).unwrap(), spy)
}

/// Waits until something holds; what never comes fails, and is not waited for, for ever.
fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..60_000 {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("{what} never comes");
}

#[test]
fn a_sync_that_is_due_does_not_wait_for_a_flush_where_there_is_a_second_thread() {
    for threads in [2, 3, 7] {
        let (db, spy) = open(threads, 5);
        db.begin_run(run(1), NO_TAGS).unwrap();
        spy.hold_tables();
        db.put(run(1), "large", vec![7; 20 << 10]).unwrap();
        spy.wait_until_held();
        let before = spy.log_syncs();
        db.put(run(1), "small", 1).unwrap();
        wait_for("the sync", || spy.log_syncs() > before);
        spy.release();
        db.close().unwrap();
    }
}

#[test]
fn what_is_due_is_done_by_any_number_of_threads_and_they_end_with_the_database() {
    for threads in [1, 2, 3, usize::MAX] {
        let (db, _spy) = open(threads, 1);
        db.begin_run(run(1), NO_TAGS).unwrap();
        for n in 0..200_u32 {
            db.put(run(1), n.to_be_bytes(), vec![7; 2 << 10]).unwrap();
        }
        wait_for("the last flush", || db.memory().memtable < 32 << 10);
        assert_eq!(db.count(run(1)).unwrap(), 200);
        db.close().unwrap();
    }
}

#[test]
fn what_a_flush_meets_in_the_background_is_told_until_it_goes_well() {
    for threads in [1, 2, 3] {
        let (world, rules) = refusing(MemVfs::new());
        let options = Options {
            background_threads: threads,
            flush_bytes: 16 << 10,
            maintenance_interval_ms: 1,
            ..Options::default()
        };
        let db = Database::builder().options(options).vfs(world.vfs).open(DIR).unwrap();
        db.begin_run(run(1), NO_TAGS).unwrap();
        assert!(db.background_error().is_none());
        rules.refuse("create", ".table", std::io::ErrorKind::PermissionDenied);
        db.put(run(1), "large", vec![7; 20 << 10]).unwrap();
        wait_for("the error", || db.background_error().is_some());
        let error = db.background_error().unwrap().to_string();
        assert!(error.contains(".table"), "{threads} threads: {error}");
        // It is an error of the background only: writes go on.
        db.put(run(1), "small", 1).unwrap();
        assert!(rules.relent() > 0);
        wait_for("the flush", || db.background_error().is_none());
        db.close().unwrap();
    }
}
