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
