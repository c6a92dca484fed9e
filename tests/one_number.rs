//! One number for memory: what it covers, what comes when asked for, and what it never breaks.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that fails says so

mod common;

use std::path::PathBuf;

use common::{NO_TAGS, World, run, state};
use runstone::{Database, Error, Options};
use runstone_sim::disk::{DiskConfig, SimVfs};

const KEYS: u64 = 200;

fn disk() -> SimVfs {
    SimVfs::with_config(5, DiskConfig::plain())
}

fn name(n: u64) -> String {
    format!("key {n:04}")
}

/// Everything goes to tables of some blocks each.
fn small(options: &mut Options) {
    options.flush_bytes = 1;
    options.table_bytes_max = 4000;
    options.block_bytes = 300;
}

/// A store of several tables in one level, closed.
fn stored(disk: &SimVfs) -> World {
    let world = World::new(disk.clone()).with(small);
    let db = world.open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    for n in 0..KEYS {
        db.put(run(1), name(n), vec![7; 40]).unwrap();
    }
    while db.maintain().unwrap().left > 0 {}
    db.close().unwrap();
    world
}

/// The tables in the order of their numbers, with where index and filter begin.
fn tables(disk: &SimVfs) -> Vec<(PathBuf, [u64; 2])> {
    let is_table = |path: &PathBuf| path.extension().is_some_and(|end| end == "table");
    let tables = disk.live_image().into_iter().filter(|(path, _)| is_table(path));
    let parts = tables.map(|(path, bytes)| {
        let footer = &bytes[bytes.len() - 64..];
        let field = |at: usize| u64::from_le_bytes(*footer[at..].first_chunk().unwrap());
        (path, [field(0), field(12)])
    });
    parts.collect()
}

fn damage_is_told(outcome: Result<bool, Error>, at: &(PathBuf, u64)) {
    match outcome {
        Err(Error::Corruption { file, offset, .. }) => assert_eq!((file, offset), *at),
        other => panic!("{other:?}, and not damage at {at:?}"),
    }
}

#[test]
fn a_damaged_filter_or_index_is_told_by_the_read_that_needs_it_and_by_verify() {
    for part in 0..2 {
        let disk = disk();
        let world = stored(&disk);
        let (path, places) = tables(&disk).pop().expect("tables");
        let place = places[part];
        disk.flip_bit(&path, place * 8 + 3).unwrap();
        // It does not read what it does not need.
        let db = world.open();
        assert!(db.exists(run(1), name(0)).unwrap(), "a key of another table");
        damage_is_told(db.exists(run(1), name(KEYS - 1)), &(path.clone(), place));
        let scanned = db.scan::<&str, _>(run(1), ..).unwrap().find_map(Result::err);
        match part {
            0 => damage_is_told(Err(scanned.expect("a scan needs the index")), &(path, place)),
            _ => assert!(scanned.is_none(), "a scan asks no filter: {scanned:?}"),
        }
        let mut found = Vec::new();
        db.verify(|error| found.push(error)).unwrap();
        assert!(matches!(&found[..], [Error::Corruption { offset, .. }] if *offset == place));
    }
}

#[test]
fn a_cache_of_any_size_shows_the_same_and_keeps_to_it() {
    let disk = disk();
    let world = stored(&disk);
    let mut shown = Vec::new();
    for cache_bytes_max in [0, 1, 150, 400, 1000, 5000, u64::MAX] {
        let world = world.clone().with(|options| options.cache_bytes_max = cache_bytes_max);
        let db = world.open();
        let mut most = 0;
        for n in (0..KEYS).chain((0..KEYS).rev()) {
            assert!(db.exists(run(1), name(n)).unwrap());
            assert!(!db.exists(run(1), format!("{} not", name(n))).unwrap());
            let (used, recounted) = db.storage().cache_recounted();
            assert!(used == recounted && used <= cache_bytes_max, "{used} {recounted}");
            most = most.max(used);
        }
        shown.push(state(&db));
        assert_eq!(db.memory().pinned, 0, "nobody reads");
        assert_eq!(most > 0, cache_bytes_max >= 150, "{most} of {cache_bytes_max}");
    }
    assert!(shown.windows(2).all(|pair| pair[0] == pair[1]));
}

/// The smallest number that these limits permit has a reserve of which each scan takes some.
#[test]
fn iterators_never_fail_for_memory_and_leave_nothing_pinned() {
    let disk = disk();
    let least = World::memory().options.limits.batch_bytes_max as u64 * 16;
    let world = stored(&disk).with(|options| options.memory_bytes_max = least.div_ceil(3));
    let db = world.open();
    let scan = || db.scan::<&str, _>(run(1), ..).unwrap();
    let mut scans: Vec<_> = (0..100).map(|_| scan()).collect();
    for round in 0..KEYS {
        for scan in &mut scans {
            let (key, _) = scan.next().expect("a key").unwrap();
            assert_eq!(key, name(round).into_bytes());
        }
    }
    assert!(db.memory().pinned > 0);
    assert!(scans.iter_mut().all(|scan| scan.next().is_none()));
    drop(scans);
    assert_eq!(db.memory().pinned, 0);
}

#[test]
fn a_database_takes_no_more_than_its_number() {
    let world = World::memory().with(|options| {
        options.memory_bytes_max = 8 << 20;
        options.table_bytes_max = 200_000;
    });
    let db = world.open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    let mut flushed = 0;
    for n in 0..30_000u64 {
        db.put(run(1), (n * 7919 % 10_007).to_be_bytes(), vec![7; 300]).unwrap();
        if n % 50 == 0 {
            let before = db.memory();
            db.maintain().unwrap();
            flushed += u32::from(db.memory().memtable < before.memtable / 2);
            assert!(db.memory().total() <= 8 << 20, "{:?}", db.memory());
            assert!(before.memtable < (1 << 20) + 100_000, "flushed at an eighth: {before:?}");
        }
    }
    assert!(flushed > 5, "{flushed}");
    let read = |db: &Database| db.scan::<&[u8], _>(run(1), ..).unwrap().count();
    assert_eq!(read(&db), 10_007);
    let memory = db.memory();
    assert!(memory.cache > 3 << 20 && memory.total() <= 8 << 20, "{memory:?}");
}
