//! The traps of the earlier store that no other test names; `docs/traps.md` lists them all.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that fails says so
#![allow(clippy::disallowed_methods)] // tests start threads and wait for them

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use common::{
    DIR, MODES, NO_TAGS, START_MS, TestClock, World, image, memory_of, run, segments, state,
};
use runstone::{Clock, Error, Level, RunStatus, Timestamp, Value, WriteBatch, WriteOptions};
use runstone_sim::disk::{
    CallKind, CrashKind, CrashModel, DiskConfig, Fault, FaultKind, NameModel, SimVfs,
};

#[test]
fn t01_what_is_acknowledged_after_a_torn_tail_is_there_at_every_later_opening() {
    let mut world = World::memory();
    let db = world.open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    db.put(run(1), "first", 0).unwrap();
    let mut files = image(&*world.vfs, DIR);
    for round in 1..20i64 {
        // Half a record behind the last one.
        let last = segments(&files).pop().unwrap();
        files.get_mut(&last).unwrap().extend([0x5a; 50]);
        let disk = memory_of(&files);
        world = world.on_disk(disk.clone());
        let db = world.open();
        assert!(db.recovery_report().torn_bytes > 0);
        assert_eq!(db.list(run(1), "").unwrap().len() as i64, round);
        db.put(run(1), format!("{round}"), round).unwrap();
        files = image(&disk, DIR);
    }
    let db = world.on_disk(memory_of(&files)).open();
    assert_eq!(db.list(run(1), "").unwrap().len(), 20);
    assert_eq!(db.storage().version(), 21);
}

#[test]
fn t03_a_log_of_garbage_or_without_its_greater_part_is_refused_not_read_as_empty() {
    let world = World::memory();
    let db = world.open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    for n in 0..1_000i64 {
        db.put(run(1), format!("{n:04}"), n).unwrap();
    }
    for clean in [false, true] {
        if clean {
            db.close().unwrap();
        }
        let files = image(&*world.vfs, DIR);
        let log = segments(&files).pop().unwrap();
        let length = files[&log].len();
        for damage in 0..3 {
            let mut files = files.clone();
            let bytes = files.get_mut(&log).unwrap();
            match damage {
                0 => bytes[length / 10] ^= 4,
                1 => bytes.fill(0xee),
                _ => bytes[..4096].fill(0),
            }
            let error = world.on_disk(memory_of(&files)).try_open().map(|_| ()).unwrap_err();
            assert!(error.is_corruption(), "damage {damage}: {error}");
        }
    }
}

#[test]
fn t06_a_ttl_of_900_ms_lasts_900_ms_wherever_in_the_second_it_begins() {
    let world = World::memory();
    let db = world.open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    for _ in 0..11 {
        world.clock.advance(97);
        db.put_with_ttl(run(1), "k", 1, Some(Duration::from_millis(900))).unwrap();
        world.clock.advance(899);
        assert!(db.exists(run(1), "k").unwrap());
        world.clock.advance(1);
        assert!(!db.exists(run(1), "k").unwrap());
    }
}

#[test]
fn t07_an_open_run_is_still_active_after_a_restart_and_an_ended_one_stays_as_it_is() {
    for kill in [false, true] {
        let mut world = World::memory();
        let db = world.open();
        db.begin_run(run(1), [("keep", "me")]).unwrap();
        db.begin_run(run(2), [("keep", "me too")]).unwrap();
        db.end_run(run(2)).unwrap();
        if kill {
            world = world.on_disk(memory_of(&image(&*world.vfs, DIR)));
        } else {
            db.close().unwrap();
        }
        let db = world.open();
        let interrupted = db.recovery_report().interrupted_runs.clone();
        assert_eq!(interrupted, if kill { vec![run(1)] } else { vec![] });
        assert_eq!(db.list_active_runs().unwrap(), [run(1)]);
        db.end_run_with(run(1), RunStatus::Failed).unwrap();
        let again = db.begin_run(run(2), NO_TAGS);
        assert!(matches!(again, Err(Error::RunExists { .. })));
        drop(db);
        let db = world.open();
        let (one, two) =
            (db.get_run(run(1)).unwrap().unwrap(), db.get_run(run(2)).unwrap().unwrap());
        assert_eq!((one.status, two.status), (RunStatus::Failed, RunStatus::Completed));
        assert_eq!((one.tags["keep"].as_str(), two.tags["keep"].as_str()), ("me", "me too"));
    }
}

#[test]
fn t08_what_could_not_be_logged_is_never_seen() {
    for (call, fault) in [
        (CallKind::Write, FaultKind::Io),
        (CallKind::Write, FaultKind::NoSpace),
        (CallKind::Sync, FaultKind::Io),
    ] {
        let disk = SimVfs::with_config(1, DiskConfig::plain());
        let db = World::new(disk.clone()).open();
        db.begin_run(run(1), NO_TAGS).unwrap();
        db.put(run(1), "k", 1).unwrap();
        let shown = state(&db);
        let memory = db.storage().memory_bytes();
        disk.fail_nth(call, 0, Fault::new(fault));
        db.put(run(1), "k", 2).unwrap_err();
        assert_eq!(state(&db), shown);
        assert_eq!(db.storage().memory_bytes(), memory);
    }
}

#[test]
fn t09_versions_epochs_and_file_numbers_go_on_over_restarts() {
    let mut world = World::memory().with(|options| options.segment_bytes = 512);
    let (mut version, mut epoch, mut number) = (0, 0, String::new());
    for session in 0..12u8 {
        let db = world.open();
        assert_eq!(db.storage().version(), version);
        let next = db.begin_run(run(session), NO_TAGS).unwrap();
        assert_eq!(next, version + 1);
        version = next;
        for n in 0..10i64 {
            version = db.put(run(session), "k", n).unwrap();
        }
        assert!(db.recovery_report().epoch >= epoch);
        epoch = db.recovery_report().epoch;
        let files = image(&*world.vfs, DIR);
        let newest = segments(&files).pop().unwrap();
        assert!(newest >= number, "{newest} after {number}");
        number = newest;
        if session % 3 == 0 {
            world = world.on_disk(memory_of(&files));
        } else {
            db.close().unwrap();
        }
    }
    assert!(epoch >= 4, "each unclean stop begins one: {epoch}");
    assert_eq!(version, 132);
}

#[test]
fn t10_interleaved_commits_of_one_run_are_each_whole_wherever_the_log_is_cut() {
    let world = World::memory();
    let db = world.open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    let tickets: Vec<_> = (0..6i64)
        .map(|n| {
            let mut batch = WriteBatch::new();
            for key in ["a", "b", "c"] {
                batch.put(run(1), key, n);
            }
            batch.put(run(1), format!("only {n}"), n);
            db.submit(batch, WriteOptions::default()).unwrap()
        })
        .collect();
    for ticket in tickets {
        ticket.wait().unwrap();
    }
    let files = image(&*world.vfs, DIR);
    let log = segments(&files).pop().unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for cut in 72..=files[&log].len() {
        let mut files = files.clone();
        files.get_mut(&log).unwrap().truncate(cut);
        let db = world.on_disk(memory_of(&files)).open();
        let commits = db.storage().version();
        seen.insert(commits);
        if commits < 2 {
            continue;
        }
        let newest = Value::Int(i64::try_from(commits).unwrap() - 2);
        for key in ["a", "b", "c"] {
            assert_eq!(db.get(run(1), key).unwrap().as_ref(), Some(&newest));
        }
        assert_eq!(db.list(run(1), "only").unwrap().len() as u64, commits - 1);
    }
    assert_eq!(seen.len(), 8, "none to seven");
}

#[test]
fn t12_records_across_the_edges_of_every_read_buffer_are_read_whole() {
    let world = World::memory().with(|options| {
        options.limits.value_bytes_max = 2 << 20;
        options.limits.batch_bytes_max = 4 << 20;
    });
    let db = world.open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    let sizes = [262_144 - 72 - 40, 1, 262_143, 262_144, 262_145, 7, 1_000_001, 100_000, 65_535];
    for (n, size) in sizes.iter().cycle().take(27).enumerate() {
        db.put(run(1), format!("{n}"), vec![u8::try_from(n).unwrap(); *size]).unwrap();
    }
    let killed = world.on_disk(memory_of(&image(&*world.vfs, DIR)));
    let expected = state(&db);
    assert_eq!(state(&killed.open()), expected);
    drop(db);
    assert_eq!(state(&world.open()), expected);
}

#[test]
fn t13_time_and_expiry_of_a_commit_are_the_same_after_every_replay() {
    let world = World::memory();
    let db = world.open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    world.clock.advance(7);
    db.put_with_ttl(run(1), "k", 1, Some(Duration::from_millis(1_000))).unwrap();
    let found = db.get_versioned(run(1), "k").unwrap().unwrap();
    assert_eq!(found.timestamp, Timestamp::from_millis(START_MS + 7));
    drop(db);
    for _ in 0..3 {
        world.clock.advance(100);
        let db = world.open();
        assert_eq!(db.get_versioned(run(1), "k").unwrap().as_ref(), Some(&found));
        db.flush().unwrap();
    }
    world.clock.advance(700);
    assert!(!world.open().exists(run(1), "k").unwrap());
}

#[test]
fn t14_a_wall_clock_that_steps_back_neither_expires_nor_revives_anything() {
    let world = World::memory();
    let db = world.open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    db.put_with_ttl(run(1), "short", 1, Some(Duration::from_millis(50))).unwrap();
    db.put_with_ttl(run(1), "long", 1, Some(Duration::from_millis(5_000))).unwrap();
    world.clock.advance(60);
    assert!(!db.exists(run(1), "short").unwrap());
    for wall in [0, 1, START_MS - 1_000_000, START_MS] {
        world.clock.set_wall(wall);
        assert!(!db.exists(run(1), "short").unwrap() && db.exists(run(1), "long").unwrap());
        let version = db.put_with_ttl(run(1), "now", 1, Some(Duration::from_millis(10))).unwrap();
        let found = db.get_versioned(run(1), "now").unwrap().unwrap();
        assert_eq!(found.version, version);
        assert!(found.timestamp.as_millis() >= START_MS + 60);
        world.clock.advance(10);
        assert!(!db.exists(run(1), "now").unwrap(), "time goes on at the monotonic rate");
    }
    world.clock.advance(5_000);
    assert!(!db.exists(run(1), "long").unwrap());
}

#[test]
fn t15_the_expiry_cleaner_logs_a_floor_and_takes_no_version_and_what_it_freed_stays_gone() {
    for mode in MODES {
        let mut world = World::memory().mode(mode);
        let db = world.open();
        db.begin_run(run(1), NO_TAGS).unwrap();
        db.put_with_ttl(run(1), "k", 1, Some(Duration::from_millis(10))).unwrap();
        db.flush().unwrap();
        world.clock.advance(10);
        let version = db.storage().version();
        assert_eq!(db.maintain().unwrap().freed, 1);
        assert_eq!(db.storage().version(), version);
        assert_eq!(db.get_run(run(1)).unwrap().unwrap().last_version, version);
        // Closed or killed after a flush, with the clock set back to before its expiry.
        db.flush().unwrap();
        world = world.on_disk(memory_of(&image(&*world.vfs, DIR)));
        world.clock.set_wall(START_MS);
        let db = world.open();
        assert!(!db.exists(run(1), "k").unwrap(), "{mode:?}");
        assert_eq!(db.put(run(1), "k", 2).unwrap(), version + 1);
    }
}

#[test]
fn t16_the_version_that_a_call_returns_is_the_one_in_memory_and_in_the_log() {
    let world = World::memory();
    let db = world.open();
    let begun = db.begin_run(run(1), NO_TAGS).unwrap();
    let put = db.put(run(1), "k", 1).unwrap();
    let mut batch = WriteBatch::new();
    batch.begin_run(run(2), NO_TAGS).put(run(2), "k", 1);
    let batched = db.write(batch).unwrap();
    let ended = db.end_run(run(1)).unwrap();
    assert_eq!((begun, put, batched, ended), (1, 2, 3, 4));
    drop(db);
    let db = world.open();
    let (one, two) = (db.get_run(run(1)).unwrap().unwrap(), db.get_run(run(2)).unwrap().unwrap());
    assert_eq!((one.first_version, one.last_version), (begun, ended));
    assert_eq!((two.first_version, two.last_version), (batched, batched));
    assert_eq!(db.get_versioned(run(1), "k").unwrap().unwrap().version, put);
    assert_eq!(db.get_versioned(run(2), "k").unwrap().unwrap().version, batched);
}

/// A clock that panics once, in the middle of a commit.
#[derive(Debug)]
struct Trap {
    clock: Arc<TestClock>,
    armed: AtomicBool,
}

impl Clock for Trap {
    fn wall_ms(&self) -> u64 {
        assert!(!self.armed.swap(false, Ordering::SeqCst), "the trap of this test");
        self.clock.wall_ms()
    }

    fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }
}

#[test]
fn t21_a_panic_in_a_commit_brings_no_other_thread_down_and_is_answered() {
    let world = World::memory();
    let trap = Arc::new(Trap { clock: Arc::clone(&world.clock), armed: AtomicBool::new(false) });
    let db = world.builder().clock(Arc::<Trap>::clone(&trap)).open(DIR).unwrap();
    db.begin_run(run(1), NO_TAGS).unwrap();
    db.put(run(1), "k", 1).unwrap();
    let waiting = {
        let mut batch = WriteBatch::new();
        batch.put(run(1), "k", 2);
        db.submit(batch, WriteOptions::default()).unwrap()
    };
    trap.armed.store(true, Ordering::SeqCst);
    let outcome = thread::scope(|scope| scope.spawn(|| db.step()).join());
    assert!(outcome.is_err(), "the thread panicked");
    let error = waiting.wait().unwrap_err();
    assert!(matches!(error, Error::OutcomeUnknown { .. }), "{error}");
    assert!(matches!(db.put(run(1), "k", 3), Err(Error::Poisoned { .. })));
    assert_eq!(db.get(run(1), "k").unwrap(), Some(1.into()));
    assert_eq!(db.list(run(1), "").unwrap().len(), 1);
    assert!(matches!(db.close(), Err(Error::Poisoned { .. })));
    let db = world.open();
    assert_eq!(db.get(run(1), "k").unwrap(), Some(1.into()));
    db.put(run(1), "k", 4).unwrap();
}

#[test]
fn t22_names_are_durable_before_anything_is_acknowledged_that_depends_on_them() {
    // A disk that keeps no name and no byte that was not synced, ever.
    let config = DiskConfig::default().only(CrashModel::DropAll).only_names(NameModel::None);
    for puts in 0..12i64 {
        let disk = SimVfs::with_config(3, config.clone());
        let world = World::new(disk.clone()).with(|options| options.segment_bytes = 512);
        let db = world.builder().open("/a/b/c").unwrap();
        db.begin_run(run(1), NO_TAGS).unwrap();
        for n in 0..puts {
            db.put(run(1), format!("{n}"), vec![1; 100]).unwrap();
        }
        let shown = state(&db);
        disk.crash_now(CrashKind::Power);
        drop(db);
        disk.restart();
        let db = world.builder().open("/a/b/c").unwrap();
        assert_eq!(state(&db), shown);
        db.close().unwrap();
        disk.crash_now(CrashKind::Power);
        disk.restart();
        let db = world.builder().open("/a/b/c").unwrap();
        assert!(db.recovery_report().clean);
        assert_eq!(state(&db), shown);
    }
}

#[test]
fn t32_tombstones_and_expired_keys_are_in_no_listing_scan_or_count() {
    let world = World::memory();
    let db = world.open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    for n in 0..10i64 {
        db.put(run(1), format!("{n}"), Value::Null).unwrap();
    }
    let before = db.snapshot().unwrap();
    for n in 0..4 {
        db.delete(run(1), format!("{n}")).unwrap();
    }
    db.put_with_ttl(run(1), "4", 1, Some(Duration::from_millis(1))).unwrap();
    world.clock.advance(1);
    let look = |db: &runstone::Database| {
        assert_eq!(db.list(run(1), "").unwrap().len(), 5);
        assert_eq!(db.scan::<&str, _>(run(1), ..).unwrap().count(), 5);
        assert_eq!(db.scan(run(1), "0".."5").unwrap().rev().count(), 0);
        assert!(db.list(run(1), "").unwrap().iter().all(|(_, value)| *value == Value::Null));
    };
    look(&db);
    assert_eq!(before.list(run(1), "").unwrap().len(), 10);
    drop(before);
    while db.maintain().unwrap().freed > 0 {}
    look(&db);
    assert_eq!(db.storage().key_count(), 5, "nor in memory, once nobody sees them");
    drop(db);
    let db = world.open();
    look(&db);
}

#[test]
fn t33_a_delete_and_a_concurrent_put_are_ordered_and_nothing_deleted_comes_back() {
    let world = World::memory();
    let db = world.open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    let (mut puts, mut removed) = (vec![], vec![]);
    thread::scope(|scope| {
        let putter = scope.spawn(|| {
            (0..500i64).map(|n| (db.put(run(1), "k", n).unwrap(), n)).collect::<Vec<_>>()
        });
        let deleter = scope
            .spawn(|| (0..500).filter_map(|_| db.delete(run(1), "k").unwrap()).collect::<Vec<_>>());
        puts = putter.join().unwrap();
        removed = deleter.join().unwrap();
    });
    // Each value is deleted at most once, in the order in which it was put.
    let numbers: Vec<_> = removed
        .iter()
        .map(|value| match value {
            Value::Int(n) => *n,
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    let live = db.get(run(1), "k").unwrap();
    if let Some(Value::Int(n)) = &live {
        assert_eq!(*n, 499);
        assert_ne!(numbers.last(), Some(&499));
    }
    // In one group too: put, delete, put, delete see one another.
    let strict = WriteOptions { durability: Some(Level::Strict) };
    let mut batch = WriteBatch::new();
    batch.put(run(1), "k", 7);
    let ticket = db.submit(batch, strict).unwrap();
    assert_eq!(db.delete(run(1), "k").unwrap(), Some(7.into()));
    assert_eq!(ticket.wait().unwrap().version, db.storage().version() - 1);
    assert_eq!(db.get(run(1), "k").unwrap(), None);
    drop(db);
    assert_eq!(world.open().get(run(1), "k").unwrap(), None);
}
