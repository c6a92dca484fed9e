//! C11: what has expired stays gone, whatever the wall clock does, and whoever stops when.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that fails says so

mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{NO_TAGS, START_MS, TestClock, World, run};
use runstone::{Clock, Database, Error, Options, Ticket, WriteBatch, WriteOptions};
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
fn c11_the_latest_of_what_was_shown_as_expired_counts_in_whatever_order_it_was_shown() {
    for order in [["first", "later"], ["later", "first"]] {
        let disk = disk();
        let world = World::new(disk.clone());
        let db = world.open();
        db.begin_run(run(1), NO_TAGS).unwrap();
        for (key, ms) in [("first", 50), ("later", 100)] {
            db.put_with_ttl(run(1), key, 1, Some(Duration::from_millis(ms))).unwrap();
        }
        world.clock.advance(120);
        for key in order {
            assert_eq!(db.get(run(1), key).unwrap(), None);
        }
        db.flush().unwrap();
        let db = reopened(&world, &disk, db, CrashKind::Power);
        for key in order {
            assert_eq!(db.get(run(1), key).unwrap(), None, "{key} was shown to be gone");
        }
    }
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

/// A reader, and whether it sees the key.
type Reader = (&'static str, fn(&Database) -> bool);

/// Every way to be told whether a key is there.
const READERS: [Reader; 6] = [
    ("get", |db| db.get(run(1), "expires").unwrap().is_some()),
    ("get_versioned", |db| db.get_versioned(run(1), "expires").unwrap().is_some()),
    ("exists", |db| db.exists(run(1), "expires").unwrap()),
    ("list", |db| !db.list(run(1), "e").unwrap().is_empty()),
    ("scan", |db| db.scan(run(1), "a"..).unwrap().next_back().is_some()),
    ("snapshot", |db| db.snapshot().unwrap().get(run(1), "expires").unwrap().is_some()),
];

/// A store on which everything is flushed and closed, with a key that lives for 50 ms.
fn closed_with_a_key(world: &World) {
    let db = world.open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    db.put_with_ttl(run(1), "expires", 1, Some(Duration::from_millis(50))).unwrap();
    db.close().unwrap();
}

/// Sets the wall clock back, and opens.
fn opened_in_the_past(world: &World) -> Database {
    world.clock.set_wall(START_MS);
    world.open()
}

#[test]
fn c11_what_any_reader_was_told_has_expired_stays_gone_when_a_session_without_a_write_is_closed() {
    for (name, is_there) in READERS {
        let world = World::memory();
        closed_with_a_key(&world);
        let db = world.open();
        assert!(is_there(&db), "{name}");
        world.clock.advance(60);
        assert!(!is_there(&db), "{name}");
        db.close().unwrap();
        assert!(!is_there(&opened_in_the_past(&world)), "{name}: it came back");
    }
}

#[test]
fn c11_what_any_reader_was_told_has_expired_stays_gone_when_a_flush_has_returned() {
    for (name, is_there) in READERS {
        let disk = disk();
        let world = World::new(disk.clone());
        closed_with_a_key(&world);
        let db = world.open();
        world.clock.advance(60);
        assert!(!is_there(&db), "{name}");
        db.flush().unwrap();
        let db = reopened(&world, &disk, db, CrashKind::Power);
        assert!(!is_there(&db), "{name}: it came back");
    }
}

#[test]
fn a_session_that_shows_nothing_new_to_have_expired_writes_nothing() {
    let disk = disk();
    let world = World::new(disk.clone());
    closed_with_a_key(&world);
    let changes = |act: &dyn Fn(&Database)| {
        let before = changing(&disk);
        let db = world.open();
        act(&db);
        db.flush().unwrap();
        db.close().unwrap();
        changing(&disk) - before
    };
    assert_eq!(changes(&|db| assert!(db.exists(run(1), "expires").unwrap())), 0);
    world.clock.advance(60);
    assert_eq!(changes(&|db| assert!(!db.exists(run(1), "never").unwrap())), 0);
    assert!(changes(&|db| assert!(!db.exists(run(1), "expires").unwrap())) > 0);
    // From now on the log knows it.
    assert_eq!(changes(&|db| assert!(!db.exists(run(1), "expires").unwrap())), 0);
}

fn changing(disk: &SimVfs) -> u64 {
    let calls = disk.stats().calls;
    calls.iter().filter(|(kind, _)| kind.changes()).map(|(_, count)| count).sum()
}

/// A clock that is read by somebody who is overtaken: before it gets to use what it read, time
/// passes, and another submits a batch.
#[derive(Debug)]
struct Overtaken {
    clock: Arc<TestClock>,
    other: Mutex<Option<Database>>,
    ticket: Mutex<Option<Ticket>>,
}

fn batch(key: &str, ttl_ms: u64) -> WriteBatch {
    let mut batch = WriteBatch::new();
    batch.put_with_ttl(run(1), key, 1, Some(Duration::from_millis(ttl_ms)));
    batch
}

impl Clock for Overtaken {
    fn wall_ms(&self) -> u64 {
        self.clock.wall_ms()
    }

    fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }

    fn wall_ms_and_monotonic(&self) -> (u64, Duration) {
        let read = (self.wall_ms(), self.monotonic());
        let other = self.other.lock().unwrap().take();
        if let Some(db) = other {
            self.clock.advance(40);
            let ticket = db.submit(batch("late", 100), WriteOptions::default()).unwrap();
            *self.ticket.lock().unwrap() = Some(ticket);
        }
        read
    }
}

#[test]
fn c11_a_commit_that_joins_a_group_is_not_of_a_time_before_its_call_and_lives_its_whole_life() {
    let world = World::memory();
    let clock = Arc::new(Overtaken {
        clock: Arc::clone(&world.clock),
        other: Mutex::new(None),
        ticket: Mutex::new(None),
    });
    let opened = || world.builder().clock(Arc::<Overtaken>::clone(&clock)).open(common::DIR);
    let db = opened().unwrap();
    db.begin_run(run(1), NO_TAGS).unwrap();
    let first = db.submit(batch("first", 100), WriteOptions::default()).unwrap();
    *clock.other.lock().unwrap() = Some(db.clone());
    assert_eq!(db.step().unwrap(), 2, "one group");
    first.wait().unwrap();
    clock.ticket.lock().unwrap().take().unwrap().wait().unwrap();
    let times = |db: &Database| {
        ["first", "late"].map(|key| {
            let there = db.get_versioned(run(1), key).unwrap().unwrap();
            let expiry = there.expires_at.unwrap().as_millis();
            (there.timestamp.as_millis() - START_MS, expiry - START_MS)
        })
    };
    assert_eq!(times(&db), [(0, 100), (40, 140)]);
    db.close().unwrap();
    drop(db);
    assert_eq!(times(&opened().unwrap()), [(0, 100), (40, 140)], "as it was logged");
}

#[test]
fn with_the_systems_clock_no_commit_bears_a_time_before_its_call_began() {
    let db = Database::builder()
        .options(Options { background_threads: 0, ..Options::default() })
        .durability(runstone::DurabilityMode::Async { interval_ms: 1_000 })
        .vfs(Arc::new(runstone::vfs::MemVfs::new()))
        .open(common::DIR)
        .unwrap();
    db.begin_run(run(1), NO_TAGS).unwrap();
    std::thread::scope(|scope| {
        for key in ["a", "b"] {
            let db = db.clone();
            scope.spawn(move || {
                for _ in 0..2_000 {
                    let began = db.storage().now();
                    db.put(run(1), key, 1).unwrap();
                    let there = db.get_versioned(run(1), key).unwrap().unwrap();
                    assert!(there.timestamp >= began, "{} before {began}", there.timestamp);
                }
            });
        }
    });
}

#[test]
fn how_far_the_log_is_ahead_of_the_wall_clock_is_reported_at_every_opening_until_it_is_not() {
    let world = World::memory();
    world.clock.set_wall(START_MS + 5_000);
    let db = world.open();
    assert_eq!(db.recovery_report().clock_ahead_ms, None);
    db.begin_run(run(1), NO_TAGS).unwrap();
    db.close().unwrap();
    let db = opened_in_the_past(&world);
    assert_eq!(db.recovery_report().clock_ahead_ms, Some(5_000));
    assert_eq!(db.storage().now().as_millis(), START_MS + 5_000, "C11 holds");
    drop(db);
    let db = world.try_read_only().unwrap();
    assert_eq!(db.recovery_report().clock_ahead_ms, Some(5_000));
    drop(db);
    world.clock.advance(5_000);
    assert_eq!(world.open().recovery_report().clock_ahead_ms, None);
}
