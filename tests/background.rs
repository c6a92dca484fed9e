//! The engine's own threads: who waits for whom, and that all of them end.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that fails says so
#![allow(clippy::disallowed_methods)] // tests wait for threads

mod common;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use common::refusing::refusing;
use common::spy::{Spy, SpyVfs};
use common::{DIR, NO_TAGS, run};
use runstone::vfs::{Access, MemVfs, Vfs};
use runstone::{Database, DurabilityMode, Error, Limits, Options};

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

#[test]
fn who_removes_under_a_snapshot_is_refused_at_last_and_waits_for_no_flush_that_frees_nothing() {
    for threads in [1, 2, 3] {
        let limits = Limits {
            value_bytes_max: 1 << 10,
            key_bytes_max: 64,
            batch_bytes_max: 8 << 10,
            tags_max: 1,
            name_bytes_max: 16,
        };
        let options = Options {
            memory_bytes_max: 1 << 20,
            flush_bytes: 64 << 10,
            limits,
            background_threads: threads,
            maintenance_interval_ms: 1,
            ..Options::default()
        };
        let db =
            Database::builder().options(options).vfs(Arc::new(MemVfs::new())).open(DIR).unwrap();
        db.begin_run(run(1), NO_TAGS).unwrap();
        for n in 0..2000_u32 {
            db.put(run(1), n.to_be_bytes(), 1).unwrap();
        }
        let snapshot = db.snapshot().unwrap();
        let remove = |n: u32| db.remove_range(run(1), n.to_be_bytes()..(n + 1).to_be_bytes());
        let error = (0..2000).find_map(|n| remove(n).err()).expect("memory ends");
        assert!(matches!(error, Error::MemtableFull { .. }), "{error}");
        drop(snapshot);
        wait_for("room", || remove(1999).is_ok());
        db.close().unwrap();
    }
}

#[test]
fn a_store_at_rest_gives_the_room_of_a_dropped_run_back_with_any_number_of_threads() {
    for threads in [1, 2, 3] {
        let vfs = MemVfs::new();
        let options = Options {
            background_threads: threads,
            flush_bytes: 64 << 10,
            maintenance_interval_ms: 1,
            ..Options::default()
        };
        let db = Database::builder().options(options).vfs(Arc::new(vfs.clone())).open(DIR).unwrap();
        db.begin_run(run(1), NO_TAGS).unwrap();
        for n in 0..5000_u32 {
            db.put(run(1), n.to_be_bytes(), vec![7; 100]).unwrap();
        }
        db.end_run(run(1)).unwrap();
        db.drop_run(run(1)).unwrap();
        let table_bytes = || {
            let names = vfs.list(Path::new(DIR)).unwrap().into_iter().map(|entry| entry.name);
            let tables = names.filter(|name| name.to_string_lossy().ends_with(".table"));
            let length = |name| {
                let path = Path::new(DIR).join(name);
                vfs.open(&path, Access::Read).map_or(0, |file| file.len().unwrap())
            };
            tables.map(length).sum::<u64>()
        };
        wait_for("the room", || table_bytes() < 64 << 10);
        db.close().unwrap();
    }
}
