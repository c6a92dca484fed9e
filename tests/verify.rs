//! `Database::verify` tells of every byte that is not as it was written, or nothing reads it.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that fails says so

mod common;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use common::{NO_TAGS, World, run};
use runstone::{Database, Error, Preallocation, RunId, RunStatus};
use runstone_sim::disk::{CallKind, DiskConfig, Fault, FaultKind, SimVfs};

/// Two levels of several blocks, runs of every status, a removal, and a log of two segments.
fn fill(db: &Database) {
    for n in 1..=4 {
        db.begin_run(run(n), [("kind", "test")]).unwrap();
        for key in 0..5 {
            db.put(run(n), format!("key {key}"), vec![key; 30]).unwrap();
        }
    }
    db.end_run(run(1)).unwrap();
    db.end_run_with(run(2), RunStatus::Failed).unwrap();
    db.remove_range(run(3), "key 2".."key 4").unwrap();
    db.maintain().unwrap();
    db.put(run(3), "key 3", "again").unwrap();
    db.drop_run(run(1)).unwrap();
    db.maintain().unwrap();
    db.begin_run(run(5), NO_TAGS).unwrap();
    db.put(run(5), "in the log", 1).unwrap();
}

fn world(disk: &SimVfs) -> World {
    World::new(disk.clone()).with(|options| {
        options.flush_bytes = 1;
        options.block_bytes = 300;
        options.segment_bytes = 4096;
        options.steps.read_bytes = 300;
    })
}

fn disk() -> SimVfs {
    SimVfs::with_config(7, DiskConfig::plain())
}

/// All that is told.
fn told(db: &Database) -> Vec<Error> {
    let mut told = Vec::new();
    db.verify(|error| told.push(error)).unwrap();
    assert!(told.iter().all(Error::is_corruption), "{told:?}");
    told
}

/// Each byte of each file.
fn bytes(disk: &SimVfs) -> impl Iterator<Item = (PathBuf, u64)> {
    let files = disk.live_image().into_iter();
    files.flat_map(|(path, bytes)| (0..bytes.len() as u64).map(move |at| (path.clone(), at)))
}

fn is_lock(path: &Path) -> bool {
    path.ends_with("runstone.lock")
}

/// Which bit of a byte is flipped.
fn bit(at: u64) -> u64 {
    at * 8 + at % 8
}

#[test]
fn no_byte_of_a_closed_store_changes_unnoticed_but_in_the_lock_file() {
    let disk = disk();
    let db = world(&disk).open();
    fill(&db);
    assert!(told(&db).is_empty());
    db.close().unwrap();
    let (mut refused, mut found, mut kinds) = (0, 0, BTreeSet::new());
    for (path, at) in bytes(&disk) {
        let damaged = disk.fork(at);
        damaged.flip_bit(&path, bit(at)).unwrap();
        let is_unread = is_lock(&path);
        match world(&damaged).try_open() {
            Err(error) => {
                assert!(!is_unread, "{error}");
                refused += 1;
            }
            Ok(db) => {
                let told = told(&db);
                assert_eq!(told.is_empty(), is_unread, "{path:?} at {at}");
                found += u64::from(!is_unread);
            }
        }
        kinds.insert(path.extension().map(|end| end.to_owned()));
    }
    assert!(kinds.len() == 4 && refused > 500 && found > 500, "{kinds:?} {refused} {found}");
}

/// The damage comes after the opening, so nothing is refused. What nothing reads is the lock file,
/// and behind the last record of the log the zeros that were written ahead.
#[test]
fn no_byte_of_an_open_store_changes_unnoticed_but_where_nothing_was_written() {
    let disk = disk();
    let world = world(&disk).with(|options| {
        options.preallocate_bytes = 200;
        options.preallocation = Preallocation::Zeros;
        options.manifest_edit_bytes = 1024;
    });
    let db = world.open();
    fill(&db);
    unnoticed_is_filler(&disk, &db);
}

/// Beside a store whose process was killed: a reader knows where the log ends, too.
#[test]
fn no_byte_changes_unnoticed_under_a_reader_but_where_nothing_was_written() {
    let disk = disk();
    let world = world(&disk).with(|options| {
        options.preallocate_bytes = 200;
        options.preallocation = Preallocation::Zeros;
    });
    let db = world.open();
    fill(&db);
    let killed = SimVfs::from_image(3, DiskConfig::plain(), &disk.live_image()).unwrap();
    let reader = world.on_disk(killed.clone()).try_read_only().unwrap();
    unnoticed_is_filler(&killed, &reader);
}

fn unnoticed_is_filler(disk: &SimVfs, db: &Database) {
    assert!(told(db).is_empty());
    let mut unnoticed = Vec::new();
    for (path, at) in bytes(disk) {
        disk.flip_bit(&path, bit(at)).unwrap();
        if told(db).is_empty() && !is_lock(&path) {
            unnoticed.push((path.clone(), at));
        }
        disk.flip_bit(&path, bit(at)).unwrap();
    }
    assert!(told(db).is_empty());
    let image = disk.live_image();
    for (path, at) in &unnoticed {
        let bytes = &image[path];
        assert!(path.extension().is_some_and(|end| end == "log"), "{path:?} at {at}");
        let rest = &bytes[usize::try_from(*at).unwrap()..];
        assert!(rest.iter().all(|byte| *byte == 0), "{path:?} at {at} is no filler");
    }
}

#[test]
fn every_damaged_record_of_the_log_is_told_and_not_only_the_first() {
    let disk = disk();
    let db = world(&disk).with(|options| options.flush_bytes = u64::MAX).open();
    fill(&db);
    let is_log = |path: &&PathBuf| path.extension().is_some_and(|end| end == "log");
    let image = disk.live_image();
    let path = image.keys().find(is_log).unwrap();
    for at in [200, 500, 900] {
        disk.flip_bit(path, bit(at)).unwrap();
    }
    let told = told(&db);
    let places = told.iter().filter_map(|error| match error {
        Error::Corruption { file, offset, .. } if file == path => Some(*offset),
        _ => None,
    });
    assert_eq!(places.count(), 3, "{told:#?}");
}

#[test]
fn a_read_that_fails_ends_the_walk_with_its_error_and_changes_nothing() {
    let disk = disk();
    let db = world(&disk).open();
    fill(&db);
    let before = disk.live_image();
    let mut ended = 0;
    for nth in 0.. {
        disk.fail_nth(CallKind::Read, nth, Fault::new(FaultKind::Io));
        let walked = db.verify(|violation| panic!("{violation}"));
        match walked {
            Err(Error::Io { .. }) => ended += 1,
            other => {
                other.unwrap();
                disk.heal();
                break;
            }
        }
    }
    assert!(ended > 30, "{ended}");
    assert!(told(&db).is_empty());
    assert_eq!(disk.live_image(), before);
}

#[test]
fn nothing_is_told_of_a_database_whose_failed_sync_has_poisoned_it() {
    for seed in 0..20 {
        let disk = SimVfs::new(seed);
        let db = world(&disk).open();
        fill(&db);
        disk.fail_nth(CallKind::Sync, seed % 3, Fault::new(FaultKind::Io));
        let failed = (0..9).find_map(|n| db.put(run(5), "k", vec![n; 900]).err());
        assert!(failed.is_some());
        assert!(told(&db).is_empty(), "seed {seed}");
    }
}

/// Segments are trimmed, tables merged and their files removed while the walk is at them.
#[test]
fn nothing_is_told_of_a_sound_store_while_commits_flushes_and_merges_go_on() {
    let world = World::memory().with(|options| {
        options.flush_bytes = 1 << 12;
        options.segment_bytes = 4096;
        options.steps.merge_bytes = 4096;
    });
    let db = world.open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    let walks = AtomicU64::new(0);
    let left = || walks.load(Ordering::SeqCst) < 30;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0u64.. {
                // A store that grows as fast as it can is never walked to its end.
                while left() && n >= 40 * (1 + walks.load(Ordering::SeqCst)) {
                    std::thread::yield_now();
                }
                let other = RunId::from_bytes(u128::from(n + 1).to_be_bytes());
                db.begin_run(other, [("kind", "brief")]).unwrap();
                db.put(other, "key", vec![2; 20]).unwrap();
                db.put(run(1), format!("key {}", n % 50), vec![1; 50]).unwrap();
                db.remove_range(run(1), "key 1".."key 2").unwrap();
                db.end_run(other).unwrap();
                if n % 3 == 0 {
                    db.drop_run(other).unwrap();
                }
                if !left() {
                    break;
                }
            }
        });
        scope.spawn(|| {
            while left() {
                db.maintain().unwrap();
            }
        });
        while left() {
            let told = told(&db);
            walks.fetch_add(1, Ordering::SeqCst);
            if !told.is_empty() {
                walks.store(30, Ordering::SeqCst);
                panic!("{told:#?}");
            }
        }
    });
    assert!(told(&db).is_empty());
}
