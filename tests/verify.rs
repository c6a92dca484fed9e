//! `Database::verify` tells of every byte that is not as it was written, or nothing reads it.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that fails says so

mod common;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use common::{NO_TAGS, World, run};
use runstone::{Database, Error, Preallocation, RunStatus};
use runstone_sim::disk::{DiskConfig, SimVfs};

/// Two levels of several blocks, runs of every status, a removal, and a log of two segments.
fn fill(db: &Database) {
    for n in 1..=4 {
        db.begin_run(run(n), [("kind", "test")]).unwrap();
        for key in 0..8 {
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
        options.steps.read_bytes = 100;
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
