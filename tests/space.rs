//! What tables take: as much as what is in them, and little more, when maintenance is done.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that fails says so

mod common;

use std::path::Path;
use std::time::Duration;

use common::{DIR, NO_TAGS, World, run};
use runstone::Database;
use runstone_sim::disk::{DiskConfig, SimVfs};

const KEYS: u64 = 4000;
/// A flush for each few hundred keys, and tables of as many.
const FLUSH_BYTES: u64 = 64 << 10;
const TABLE_BYTES: u64 = 32 << 10;

fn disk() -> SimVfs {
    SimVfs::with_config(5, DiskConfig::plain())
}

fn world(disk: &SimVfs) -> World {
    World::new(disk.clone()).with(|options| {
        options.flush_bytes = FLUSH_BYTES;
        options.table_bytes_max = TABLE_BYTES;
        options.segment_bytes = 64 << 10;
        options.durability = runstone::DurabilityMode::Async { interval_ms: 3_600_000 };
    })
}

fn key(n: u64) -> [u8; 8] {
    // Every part of the keys is written to in each flush.
    n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()
}

fn put_all(db: &Database, round: u8, ttl: Option<Duration>) {
    for n in 0..KEYS {
        db.put_with_ttl(run(1), key(n), vec![round; 100], ttl).unwrap();
        if n % 64 == 0 {
            db.maintain().unwrap();
        }
    }
}

/// Maintains until nothing is left, in a bounded number of steps.
fn drain(db: &Database) {
    let steps = (0..10_000).take_while(|_| db.maintain().unwrap().left > 0).count();
    assert!(steps < 10_000, "maintenance drains");
}

/// The bytes of all tables, and how many files there are.
fn table_bytes(disk: &SimVfs) -> (u64, usize) {
    let image = disk.live_image();
    let tables = image.iter().filter(|(path, _)| path.to_string_lossy().ends_with(".table"));
    let bytes = tables.map(|(_, content)| content.len() as u64).sum();
    (bytes, image.keys().filter(|path| path.starts_with(DIR)).count())
}

fn opened(disk: &SimVfs) -> Database {
    let db = world(disk).open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    db
}

#[test]
fn what_was_overwritten_five_times_takes_a_tenth_more_than_what_was_written_once() {
    let (once, often) = (disk(), disk());
    let (a, b) = (opened(&once), opened(&often));
    put_all(&a, 5, None);
    drain(&a);
    for round in 0..6 {
        put_all(&b, round, None);
    }
    drain(&b);
    let (least, _) = table_bytes(&once);
    let (taken, files) = table_bytes(&often);
    // What is in a memtable is not in tables.
    assert!(taken <= least + least / 10 + 2 * FLUSH_BYTES, "{taken} bytes, not some {least}");
    assert!(files < 100, "{files} files");
    assert_eq!(b.scan_prefix(run(1), "").unwrap().count() as u64, KEYS);
    let five = runstone::Value::from(vec![5; 100]);
    assert!((0..KEYS).all(|n| b.get(run(1), key(n)).unwrap() == Some(five.clone())));
}

/// Each flush writes records of runs too, whose keys are before all others. Where they shared a
/// table with the keys of programs, it lay over all runs before, and each merge wrote those again.
#[test]
fn what_is_written_in_the_order_of_its_keys_goes_into_a_table_once() {
    let disk = disk();
    let db = world(&disk).open();
    let mut written = std::collections::BTreeMap::new();
    let mut note = || {
        let image = disk.live_image();
        let tables = image.iter().filter(|(path, _)| path.to_string_lossy().ends_with(".table"));
        written.extend(tables.map(|(path, content)| (path.clone(), content.len() as u64)));
    };
    for n in 0..20 {
        db.begin_run(run(n), NO_TAGS).unwrap();
        for key in 0..400u64 {
            db.put(run(n), key.to_be_bytes(), vec![n; 100]).unwrap();
            if key % 64 == 0 {
                db.maintain().unwrap();
                note();
            }
        }
        db.end_run(run(n)).unwrap();
    }
    while db.maintain().unwrap().left > 0 {
        note();
    }
    note();
    let (taken, files) = table_bytes(&disk);
    let written: u64 = written.values().sum();
    assert!(written <= taken + taken / 5, "{written} bytes were written for {taken}");
    assert!(files < 60, "{files} files");
}

#[test]
fn what_was_deleted_gives_its_room_back() {
    let disk = disk();
    let db = opened(&disk);
    put_all(&db, 1, None);
    drain(&db);
    for n in 0..KEYS {
        db.remove(run(1), key(n)).unwrap();
        if n % 64 == 0 {
            db.maintain().unwrap();
        }
    }
    drain(&db);
    let (taken, _) = table_bytes(&disk);
    // Tombstones of less than a memtable hide the rest of the keys.
    let most = 2 * FLUSH_BYTES + KEYS * 120 / 10;
    assert!(taken <= most, "{taken} bytes of tables are left, more than {most}");
    assert_eq!(db.scan_prefix(run(1), "").unwrap().count(), 0);
}

#[test]
fn what_has_expired_gives_its_room_back_and_what_a_snapshot_sees_does_not() {
    let disk = disk();
    let world = world(&disk);
    let db = world.open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    put_all(&db, 1, Some(Duration::from_millis(500)));
    drain(&db);
    let (before, _) = table_bytes(&disk);
    let snapshot = db.snapshot().unwrap();
    world.clock.advance(1000);
    db.begin_run(run(2), NO_TAGS).unwrap();
    // A flush makes the time durable.
    let fill = |db: &Database| {
        for n in 0..FLUSH_BYTES / 200 {
            db.put(run(2), n.to_be_bytes(), vec![0; 200]).unwrap();
        }
        drain(db);
    };
    fill(&db);
    assert_eq!(snapshot.scan_prefix(run(1), "").unwrap().count() as u64, KEYS);
    drop(snapshot);
    fill(&db);
    let (after, _) = table_bytes(&disk);
    assert!(after < before / 4, "{after} bytes of {before}");
    assert_eq!(db.scan_prefix(run(1), "").unwrap().count(), 0);
}

#[test]
fn dropping_all_runs_gives_all_room_back_but_one_table_and_also_what_a_snapshot_saw() {
    let disk = disk();
    let db = opened(&disk);
    let runs = 10;
    for n in 2..=runs {
        db.begin_run(run(n), NO_TAGS).unwrap();
    }
    for n in 0..KEYS {
        // Runs side by side, so that tables hold several.
        let of = 1 + u8::try_from(n % u64::from(runs)).unwrap();
        db.put(run(of), key(n), vec![1; 100]).unwrap();
        if n % 64 == 0 {
            db.maintain().unwrap();
        }
    }
    drain(&db);
    let snapshot = db.snapshot().unwrap();
    let (before, _) = table_bytes(&disk);
    assert!(before > KEYS * 100);
    for n in 1..=runs {
        db.end_run(run(n)).unwrap();
        db.drop_run(run(n)).unwrap();
    }
    // The snapshot still reads them, whatever maintenance does.
    for _ in 0..100 {
        db.maintain().unwrap();
    }
    let keys = |n| snapshot.scan_prefix(run(n), "").unwrap().count() as u64;
    assert_eq!((1..=runs).map(keys).sum::<u64>(), KEYS);
    assert!(table_bytes(&disk).0 >= KEYS * 100);
    drop(snapshot);
    drain(&db);
    let (after, files) = table_bytes(&disk);
    assert!(after <= TABLE_BYTES, "{after} bytes of {before}");
    assert!(files <= 5, "{files} files");
    // Nothing is left in memory that hides what is gone.
    assert_eq!(db.storage().memory_bytes(), 0);
}

#[test]
fn one_counter_that_is_updated_without_end_takes_a_bounded_log() {
    let disk = disk();
    let world = world(&disk).with(|options| {
        options.flush_log_bytes = 256 << 10;
        options.segment_bytes = 64 << 10;
    });
    let db = world.open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    let log_bytes = || {
        let image = disk.live_image();
        let logs = image.iter().filter(|(path, _)| path.to_string_lossy().ends_with(".log"));
        logs.map(|(_, content)| content.len() as u64).sum::<u64>()
    };
    for n in 0..30_000 {
        db.put(run(1), "counter", n).unwrap();
        if n % 64 == 0 {
            db.maintain().unwrap();
            assert!(log_bytes() <= (256 + 2 * 64) << 10, "{} bytes of log", log_bytes());
        }
    }
    drain(&db);
    assert_eq!(db.get(run(1), "counter").unwrap(), Some(runstone::Value::Int(29_999)));
    drop(db);
    // The next opening reads no more than that.
    assert!(world.open().recovery_report().replayed_bytes < 400 << 10);
}

/// Each leaves a segment, however little is in it.
#[test]
fn a_thousand_sessions_that_end_without_a_close_leave_a_few_segments() {
    let disk = disk();
    let world = world(&disk).with(|options| {
        options.flush_log_bytes = 128 << 10;
        options.durability = runstone::DurabilityMode::Strict;
    });
    opened(&disk).close().unwrap();
    for n in 0..1000u32 {
        let db = world.open();
        db.put(run(1), n.to_be_bytes(), 1).unwrap();
        db.maintain().unwrap();
        disk.crash_now(runstone_sim::disk::CrashKind::Process);
        drop(db);
        disk.restart();
    }
    let db = world.open();
    drain(&db);
    let image = disk.live_image();
    let logs = image.keys().filter(|path| path.to_string_lossy().ends_with(".log")).count();
    assert!(logs <= 6, "{logs} segments");
    assert_eq!(db.scan_prefix(run(1), "").unwrap().count(), 1000);
}

#[test]
fn a_range_that_is_removed_gives_its_room_back_and_the_rest_stays() {
    let disk = disk();
    let db = opened(&disk);
    put_all(&db, 1, None);
    drain(&db);
    let (before, _) = table_bytes(&disk);
    // Keys are spread evenly: three quarters of them.
    db.remove_range(run(1), [0x20]..[0xe0]).unwrap();
    drain(&db);
    let (after, _) = table_bytes(&disk);
    let kept = (0..KEYS).map(key).filter(|key| key[0] < 0x20 || key[0] >= 0xe0).count();
    assert!(after < before / 3, "{after} bytes of {before}");
    assert_eq!(db.scan_prefix(run(1), "").unwrap().count(), kept);
}

#[test]
fn a_thousand_sessions_that_merge_leave_no_file_that_nothing_needs() {
    let disk = disk();
    opened(&disk).close().unwrap();
    let world = world(&disk).with(|options| {
        options.flush_bytes = 1;
        options.steps.merge_bytes = 1;
    });
    for n in 0..1000u64 {
        let db = world.open();
        db.put(run(1), (n % 7).to_be_bytes(), vec![1; 10]).unwrap();
        db.maintain().unwrap();
        if n % 3 > 0 {
            db.close().unwrap();
        }
    }
    let db = world.open();
    drain(&db);
    let names = disk.names_in(Path::new(DIR));
    assert!(names.len() < 12, "{names:?}");
    assert_eq!(db.scan_prefix(run(1), "").unwrap().count(), 7);
}
