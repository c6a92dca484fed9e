//! A limit of the process on the size of files (`ulimit -f`): nothing is written beyond it, since
//! that would end the process, and everything that fits goes on.

mod common;

use std::sync::Arc;

use common::{MODES, NO_TAGS, World, run, state};
use runstone::{Database, Error, Preallocation};
use runstone_sim::disk::{CrashKind, DiskConfig, SimVfs};

fn limited(bytes: u64) -> SimVfs {
    SimVfs::with_config(3, DiskConfig { file_bytes_max: bytes, ..DiskConfig::default() })
}

fn limit(disk: &SimVfs, bytes: u64) {
    disk.set_config(DiskConfig { file_bytes_max: bytes, ..disk.config() });
}

/// No call went beyond the limit: that would be the end of the process.
fn lives(disk: &SimVfs) {
    assert_eq!(disk.stats().events.get("ended_by_a_signal"), None);
}

#[test]
fn c06_a_log_goes_on_in_segments_that_this_process_may_write() {
    for padded in [false, true] {
        for preallocation in [Preallocation::Off, Preallocation::Zeros, Preallocation::Reserved] {
            for mode in MODES {
                let disk = limited(8_000);
                let world = World::new(disk.clone()).mode(mode).with(|options| {
                    options.pad_to_sector = padded;
                    options.preallocation = preallocation;
                });
                let db = world.open();
                db.begin_run(run(1), NO_TAGS).unwrap();
                for n in 0..100i64 {
                    db.put(run(1), format!("{n}"), vec![7; 400]).unwrap();
                }
                db.flush().unwrap();
                let live = state(&db);
                disk.crash_now(CrashKind::Power);
                drop(db);
                disk.restart();
                let db = world.open();
                assert_eq!(state(&db), live);
                db.put(run(1), "and on", 1).unwrap();
                db.close().unwrap();
                lives(&disk);
            }
        }
    }
}

/// It is refused at the door, as too large, in every mode; what follows is not.
#[test]
fn c06_a_commit_that_fits_into_no_file_of_this_process_is_refused_and_nothing_else() {
    for mode in MODES {
        let disk = limited(8_000);
        let world = World::new(disk.clone()).mode(mode);
        let db = world.open();
        let version = db.begin_run(run(1), NO_TAGS).unwrap();
        let error = db.put(run(1), "large", vec![1; 8_000]).unwrap_err();
        assert!(matches!(error, Error::InvalidArgument { .. }) && !error.is_retryable(), "{error}");
        assert!(error.to_string().contains("8000 bytes (ulimit -f)"), "{error}");
        assert_eq!(db.put(run(1), "small", vec![1; 6_000]).unwrap(), version + 1);
        db.close().unwrap();
        lives(&disk);
    }
}

#[test]
fn a_process_that_may_write_no_log_is_told_so_and_reads_what_is_there() {
    let disk = limited(8_000);
    let world = World::new(disk.clone());
    let db = world.open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    let live = state(&db);
    db.close().unwrap();
    limit(&disk, 1_000);
    let error = world.try_open().unwrap_err();
    assert!(
        error.to_string().contains("may write only 1000 bytes of a file (ulimit -f)"),
        "{error}"
    );
    let read = Database::builder().vfs(Arc::new(disk.clone())).open_read_only(common::DIR).unwrap();
    assert_eq!(state(&read), live);
    lives(&disk);
}

/// The limit was larger in the session before: what it has left is not appended to, and a tail that
/// fits into no file of this process is not written again.
#[test]
fn a_smaller_limit_at_the_next_opening_ends_what_is_larger() {
    let disk = limited(100_000);
    let world = World::new(disk.clone());
    let db = world.open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    db.put(run(1), "large", vec![1; 20_000]).unwrap();
    db.close().unwrap();
    limit(&disk, 8_000);
    let db = world.open();
    db.put(run(1), "k", 1).unwrap();
    let live = state(&db);
    db.close().unwrap();
    assert_eq!(state(&world.open()), live);
    lives(&disk);

    limit(&disk, 100_000);
    let db = world.open();
    db.put(run(1), "in doubt", vec![1; 20_000]).unwrap();
    let live = state(&db);
    disk.crash_now(CrashKind::Process);
    drop(db);
    disk.restart();
    limit(&disk, 8_000);
    let error = world.try_open().unwrap_err();
    assert!(matches!(error, Error::DiskFull { .. }), "{error}");
    assert!(error.to_string().contains("ulimit -f"), "{error}");
    lives(&disk);
    limit(&disk, 100_000);
    assert_eq!(state(&world.open()), live);
}

/// Its entries of segments are all that makes it long: none is flushed, and each holds one commit.
#[test]
fn c06_a_manifest_as_long_as_this_process_may_write_goes_on_without_room_for_edits() {
    let disk = limited(2_000);
    let world = World::new(disk.clone())
        .with(|options| (options.flush_bytes, options.segment_bytes) = (u64::MAX, 512));
    let db = world.open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    let length = |disk: &SimVfs| {
        let image = disk.live_image();
        let is_manifest = |path: &std::path::Path| path.ends_with("runstone.manifest");
        image.iter().find(|(path, _)| is_manifest(path)).map_or(0, |(_, bytes)| bytes.len())
    };
    let mut lengths = Vec::new();
    for n in 0..28i64 {
        db.put(run(1), format!("{n}"), vec![7; 300]).unwrap();
        lengths.push(length(&disk));
    }
    // With room it ends with the last sector that may be written; then it is its snapshot. One
    // segment holds the run, and there is one for each put.
    let snapshot = |segments: usize| 104 + 40 * segments;
    assert_eq!((lengths[0], lengths[27]), (1_536, snapshot(29)), "{lengths:?}");
    let live = state(&db);
    disk.crash_now(CrashKind::Power);
    drop(db);
    disk.restart();
    assert_eq!(state(&world.open()), live);
    lives(&disk);
}
