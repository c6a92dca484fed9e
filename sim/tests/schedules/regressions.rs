//! What the explorer has found in the engine, each as the smallest program that shows it.

use std::sync::Arc;

use runstone::vfs::MemVfs;
use runstone::{
    Database, DurabilityMode, Level, NO_TAGS, Options, RunId, WriteBatch, WriteOptions,
};
use runstone_sim::disk::{CrashKind, DiskConfig, SimVfs};

use super::explorer::explore;
use super::stage::{StageClock, StageVfs};

fn run() -> RunId {
    RunId::from_bytes([7; 16])
}

/// A store in memory whose groups have one commit, with a run that has begun.
fn store() -> Result<Database, String> {
    let options = Options { group_commits_max: 1, background_threads: 0, ..Options::default() };
    let db = Database::builder().options(options).vfs(Arc::new(MemVfs::new())).open("/store");
    let db = db.map_err(|error| error.to_string())?;
    db.begin_run(run(), NO_TAGS).map_err(|error| error.to_string())?;
    Ok(db)
}

fn batch(value: i64) -> WriteBatch {
    let mut batch = WriteBatch::new();
    batch.put(run(), "k", value);
    batch
}

/// A step that nobody leads took the queue, committed a group, and put the rest back, behind a
/// commit that had come meanwhile.
#[test]
fn a_put_does_not_overtake_what_its_own_thread_submitted_before() {
    let explored = explore(0..4_000, |_| {
        let db = store()?;
        let stepper = db.clone();
        let stepper = shuttle::thread::spawn(move || stepper.step().unwrap());
        let level = WriteOptions { durability: Some(Level::Async) };
        let tickets = [1, 2].map(|value| db.submit(batch(value), level).unwrap());
        let put = db.put_with(run(), "k", 3, None, level).unwrap();
        let submitted = tickets.map(|ticket| ticket.wait().unwrap().version);
        stepper.join().map_err(|_| "a panic")?;
        match submitted {
            [2, 3] if put == 4 => Ok(()),
            _ => Err(format!("submitted: {submitted:?}, put after that: {put}")),
        }
    });
    assert_eq!(explored.failure, None);
}

/// A thread that waits took the lead while a step had its request in hand, and did not let
/// that one run.
#[test]
fn a_leader_whose_request_another_step_holds_lets_that_one_run() {
    let explored = explore(0..4_000, |_| {
        let db = store()?;
        let stepper = db.clone();
        let stepper = shuttle::thread::spawn(move || stepper.step().unwrap());
        let ticket = db.submit(batch(1), WriteOptions::default()).unwrap();
        let committed = ticket.wait().unwrap();
        stepper.join().map_err(|_| "a panic")?;
        if committed.version == 2 { Ok(()) } else { Err(format!("{committed:?}")) }
    });
    assert_eq!(explored.failure, None);
}

/// A tick looked at what was asked for, a full batch asked and took its moment off the
/// schedule, and the tick found nothing due.
#[test]
fn a_tick_that_is_due_syncs_although_a_full_batch_asks_for_that_meanwhile() {
    let explored = explore(0..4_000, |_| {
        let disk = SimVfs::with_config(1, DiskConfig::plain());
        let clock = Arc::new(StageClock::new(1, 0));
        let open = || {
            Database::builder()
                .options(Options {
                    durability: DurabilityMode::Batched { interval_ms: 10, batch_size: 2 },
                    preallocate_bytes: 0,
                    background_threads: 0,
                    ..Options::default()
                })
                .vfs(Arc::new(StageVfs::new(disk.clone(), Arc::default())))
                .clock(clock.clone())
                .open("/store")
                .map_err(|error| error.to_string())
        };
        let db = open()?;
        db.begin_run(run(), NO_TAGS).map_err(|error| error.to_string())?;
        db.flush().map_err(|error| error.to_string())?;
        let due = db.put(run(), "k", 1).map_err(|error| error.to_string())?;
        clock.pass(15);
        let other = db.clone();
        let other = shuttle::thread::spawn(move || drop(other.put(run(), "k", 2)));
        db.tick().map_err(|error| error.to_string())?;
        disk.crash_now(CrashKind::Power);
        other.join().map_err(|_| "a panic")?;
        drop(db);
        disk.restart();
        let recovered = open()?.storage().version();
        if recovered >= due { Ok(()) } else { Err(format!("{recovered} commits")) }
    });
    assert_eq!(explored.failure, None);
}

/// A store in memory of which each commit makes a memtable that is flushed.
fn store_of_tables() -> Result<Database, String> {
    let options = Options {
        durability: DurabilityMode::Async { interval_ms: 1000 },
        background_threads: 0,
        flush_bytes: 1,
        levels_per_tier: 2,
        // The reserved space has tables of its own, so that those of keys can move.
        table_bytes_max: 400,
        ..Options::default()
    };
    let db = Database::builder().options(options).vfs(Arc::new(MemVfs::new())).open("/store");
    let db = db.map_err(|error| error.to_string())?;
    db.begin_run(run(), NO_TAGS).map_err(|error| error.to_string())?;
    Ok(db)
}

/// Maintenance asked whether anything was left to be removed from the memtable, and then which
/// removals there are: one that was published between the two counted as applied, and was
/// forgotten.
#[test]
fn a_removal_that_is_published_beside_maintenance_is_not_forgotten() {
    let explored = explore(0..2_000, |_| {
        let db = store()?;
        let other = db.clone();
        let other = shuttle::thread::spawn(move || {
            for _ in 0..2 {
                other.maintain().unwrap();
            }
        });
        let snapshot = db.snapshot().map_err(|error| error.to_string())?;
        db.put(run(), "k", 1).map_err(|error| error.to_string())?;
        db.remove_range(run(), "k"..="k").map_err(|error| error.to_string())?;
        let found = db.get(run(), "k").map_err(|error| error.to_string())?;
        drop(snapshot);
        other.join().map_err(|_| "a panic")?;
        let later = db.get(run(), "k").map_err(|error| error.to_string())?;
        if (&found, &later) == (&None, &None) {
            Ok(())
        } else {
            Err(format!("{found:?}, {later:?}"))
        }
    });
    assert_eq!(explored.failure, None);
}

/// Tables were moved, or dropped, by levels that were looked at before the lock: what a flush had
/// put on top meanwhile was gone, and its log with it.
#[test]
fn what_is_flushed_beside_a_move_of_tables_stays() {
    let explored = explore(0..3_000, |_| {
        let db = store_of_tables()?;
        // A tier is full, and the next step moves what overlaps nothing.
        for key in ["a", "b", "c"] {
            db.put(run(), key, vec![7; 500]).map_err(|error| error.to_string())?;
            db.maintain().map_err(|error| error.to_string())?;
        }
        let other = db.clone();
        let other = shuttle::thread::spawn(move || {
            for _ in 0..3 {
                other.maintain().unwrap();
            }
        });
        db.put(run(), "d", vec![7; 500]).map_err(|error| error.to_string())?;
        for _ in 0..3 {
            db.maintain().map_err(|error| error.to_string())?;
        }
        other.join().map_err(|_| "a panic")?;
        let found = db.count(run()).map_err(|error| error.to_string())?;
        if found == 4 { Ok(()) } else { Err(format!("{found} keys, not 4")) }
    });
    assert_eq!(explored.failure, None);
}
