//! The budget of the memtable.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that fails says so

mod common;

use std::time::Duration;

use common::{DIR, MODES, NO_TAGS, World, image, run, state};
use runstone::{Database, Error, Limits, Options, RunFilter, RunStatus, WriteBatch, WriteOptions};

const BUDGET: u64 = 300 << 10;

/// The memtables have the budget, and keep all of it.
fn tight(options: &mut Options) {
    options.memory_bytes_max = BUDGET / 3 * 8;
    options.flush_bytes = u64::MAX;
}

fn small() -> World {
    World::memory().with(tight)
}

/// Puts until one is refused; how many keys there are then.
fn fill(db: &Database) -> u64 {
    for n in 0u64.. {
        match db.put(run(1), n.to_be_bytes(), vec![7; 200]) {
            Ok(_) => {}
            Err(Error::MemtableFull { used, budget, wanted, .. }) => {
                assert!(used + wanted > budget && budget == BUDGET, "{used} {budget} {wanted}");
                return n;
            }
            Err(other) => panic!("{other}"),
        }
    }
    unreachable!()
}

fn is_full(outcome: runstone::Result<u64>) {
    let error = outcome.unwrap_err();
    assert!(matches!(error, Error::MemtableFull { .. }), "{error}");
    assert!(error.is_retryable());
}

#[test]
fn a_full_memtable_refuses_puts_before_the_log_and_leaves_no_record_nor_version() {
    for mode in MODES {
        let world = small().mode(mode);
        let db = world.open();
        db.begin_run(run(1), NO_TAGS).unwrap();
        let keys = fill(&db);
        assert!(keys > 100, "{keys}");
        assert!(db.storage().memory_bytes() <= BUDGET);
        db.flush().unwrap();
        let (before, files) = (state(&db), image(&*world.vfs, DIR));
        is_full(db.put(run(1), "another", vec![7; 200]));
        is_full(db.put_with_ttl(run(1), "another", vec![7; 200], Some(Duration::from_secs(1))));
        let mut batch = WriteBatch::new();
        batch.delete(run(1), 0u64.to_be_bytes()).put(run(1), "another", vec![7; 200]);
        is_full(db.write(batch.clone()));
        let ticket = db.submit(batch, WriteOptions::default()).unwrap();
        is_full(ticket.wait().map(|committed| committed.version));
        assert_eq!(state(&db), before);
        db.flush().unwrap();
        assert_eq!(image(&*world.vfs, DIR), files, "nothing was logged");
        db.close().unwrap();
        // It opens although it is full, and is as full as it was.
        let db = world.open();
        assert_eq!(state(&db), before);
        is_full(db.put(run(1), "another", vec![7; 2_000]));
    }
}

/// Of a group, those that are refused leave the room to the others.
#[test]
fn refused_commits_of_a_group_use_up_no_budget() {
    let db = small().open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    let put = |of: u8, key: u64| {
        let mut batch = WriteBatch::new();
        batch.put(run(of), key.to_be_bytes(), vec![7; 2_000]);
        db.submit(batch, WriteOptions::default()).unwrap()
    };
    // Together they are larger than the budget.
    let refused: Vec<_> = (0..200).map(|key| put(2, key)).collect();
    let accepted = put(1, 0);
    while db.step().unwrap() > 0 {}
    for ticket in refused {
        assert!(matches!(ticket.poll(), Some(Err(Error::RunNotFound { .. }))));
    }
    assert_eq!(accepted.poll().unwrap().unwrap().version, 2);
}

#[test]
fn deletes_and_run_ends_work_on_a_full_memtable_and_freeing_lets_puts_in_again() {
    let world = small();
    let db = world.open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    db.begin_run(run(2), NO_TAGS).unwrap();
    let keys = fill(&db);
    // Not even the last byte is free.
    while db.put(run(1), db.storage().version().to_le_bytes(), "").is_ok() {}
    is_full(db.begin_run(run(3), NO_TAGS));
    db.end_run(run(2)).unwrap();
    assert_eq!(db.get_run(run(2)).unwrap().unwrap().status, RunStatus::Completed);
    for n in 0..keys / 2 {
        assert!(db.delete(run(1), n.to_be_bytes()).unwrap().is_some());
    }
    assert!(db.storage().memory_bytes() < BUDGET * 3 / 4);
    db.put(run(1), "another", vec![7; 200]).unwrap();
    let shown = state(&db);
    drop(db);
    let db = world.open();
    assert_eq!(state(&db), shown);
    assert!(db.storage().memory_bytes() < BUDGET * 3 / 4);
}

#[test]
fn deletes_under_a_snapshot_use_the_reserve_and_the_memory_comes_back_with_its_end() {
    let world = small();
    let db = world.open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    let keys = fill(&db);
    let full = db.storage().memory_bytes();
    let snapshot = db.snapshot().unwrap();
    let mut deleted = 0;
    for n in 0..keys {
        match db.remove(run(1), n.to_be_bytes()) {
            Ok(_) => deleted += 1,
            Err(error) => {
                assert!(matches!(error, Error::MemtableFull { .. }));
                break;
            }
        }
    }
    assert!(deleted >= 20, "the reserve holds some tombstones: {deleted}");
    assert!(db.storage().memory_bytes() >= full, "the snapshot still sees the values");
    assert!(db.storage().memory_bytes() <= BUDGET + BUDGET / 16 + 512);
    assert_eq!(snapshot.list(run(1), "").unwrap().len() as u64, keys);
    drop(snapshot);
    while db.maintain().unwrap().freed > 0 {}
    assert!(db.storage().memory_bytes() < full - deleted * 200);
    assert_eq!(db.storage().superseded_key_count(), 0);
    assert_eq!(db.storage().key_count() as u64, keys - deleted);
    // A put frees what it can by itself, too.
    db.put(run(1), "another", vec![7; 200]).unwrap();
}

#[test]
fn superseded_versions_are_freed_once_no_snapshot_sees_them() {
    let db = small().open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    db.put(run(1), "k", vec![0; 1_000]).unwrap();
    let one = db.storage().memory_bytes();
    for n in 1..=255u8 {
        db.put(run(1), "k", vec![n; 1_000]).unwrap();
    }
    assert_eq!(db.storage().memory_bytes(), one, "an overwrite without readers costs nothing");
    let (first, second) = {
        let first = db.snapshot().unwrap();
        for n in 0..100u8 {
            db.put(run(1), "k", vec![n; 1_000]).unwrap();
        }
        let second = db.snapshot().unwrap();
        for n in 0..100u8 {
            db.put(run(1), "k", vec![n ^ 0x80; 1_000]).unwrap();
        }
        (first, second)
    };
    let held = db.storage().memory_bytes();
    assert!(held > one + 2_000 && held < one + 4_000, "two more versions, not 200: {held}");
    assert_eq!(db.storage().superseded_key_count(), 1);
    assert_eq!(first.get(run(1), "k").unwrap(), Some(vec![255; 1_000].into()));
    drop(first);
    db.maintain().unwrap();
    let held = db.storage().memory_bytes();
    assert!(held > one + 1_000 && held < one + 2_000, "{held}");
    assert_eq!(second.get(run(1), "k").unwrap(), Some(vec![99; 1_000].into()));
    // An iterator pins as a snapshot does, and outlives it.
    let mut scan = second.scan_prefix(run(1), "").unwrap();
    drop(second);
    db.maintain().unwrap();
    assert!(db.storage().memory_bytes() > one + 1_000);
    assert_eq!(scan.next().unwrap().unwrap().1.value, vec![99; 1_000].into());
    drop(scan);
    db.maintain().unwrap();
    assert_eq!(db.storage().memory_bytes(), one);
    assert_eq!(db.storage().superseded_key_count(), 0);
}

#[test]
fn t34_expired_versions_are_freed_by_maintenance_and_never_uncover_an_older_one() {
    let world = small();
    let db = world.open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    let empty = db.storage().memory_bytes();
    for n in 0..200u64 {
        db.put(run(1), n.to_be_bytes(), "older").unwrap();
    }
    let older = db.snapshot().unwrap();
    for n in 0..200u64 {
        let ttl = Some(Duration::from_millis(n + 1));
        db.put_with_ttl(run(1), n.to_be_bytes(), vec![1; 100], ttl).unwrap();
    }
    world.clock.advance(100);
    let visible = || db.list(run(1), "").unwrap().len();
    assert_eq!(visible(), 100);
    let version = db.storage().version();
    db.maintain().unwrap();
    assert_eq!(visible(), 100, "the older ones stay hidden");
    assert_eq!(older.list(run(1), "").unwrap().len(), 200);
    world.clock.advance(100);
    assert_eq!(visible(), 0);
    drop(older);
    for _ in 0..4 {
        db.maintain().unwrap();
    }
    assert_eq!(db.storage().memory_bytes(), empty);
    assert_eq!(db.storage().key_count(), 0);
    assert_eq!(db.storage().version(), version, "expiry takes no version");
    drop(db);
    world.clock.set_wall(0);
    let db = world.open();
    assert_eq!(db.list(run(1), "").unwrap(), [], "gone for ever");
}

#[test]
fn recovery_may_exceed_the_budget_rather_than_refuse() {
    let world = World::memory();
    let db = world.open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    for n in 0..3_000u64 {
        db.put(run(1), n.to_be_bytes(), vec![7; 200]).unwrap();
    }
    let expected = state(&db);
    drop(db);
    let world = world.with(tight);
    let db = world.open();
    assert!(db.storage().memory_bytes() > 2 * BUDGET);
    assert_eq!(state(&db), expected);
    is_full(db.put(run(1), "k", 1));
}

/// A store of three times the budget, with two runs, closed; the world in which it is opened again.
fn overfull() -> (World, u64) {
    let world = World::memory();
    let db = world.open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    db.begin_run(run(2), NO_TAGS).unwrap();
    let keys = 3_000;
    for n in 0..keys {
        db.put(run(1), u64::to_be_bytes(n), vec![7; 200]).unwrap();
    }
    db.close().unwrap();
    (world.with(tight), keys)
}

#[test]
fn a_store_opened_with_a_budget_below_what_it_holds_is_emptied_by_deletes_and_then_takes_puts() {
    let (world, keys) = overfull();
    let db = world.open();
    let at_opening = db.storage().memory_bytes();
    assert!(at_opening > 2 * BUDGET);
    let error = db.put(run(1), "k", 1).unwrap_err();
    assert!(error.to_string().contains("more than its budget of"), "{error}");
    is_full(db.begin_run(run(3), NO_TAGS));
    // One by one, in batches, and by submission.
    for n in 0..keys / 2 {
        assert!(db.delete(run(1), n.to_be_bytes()).unwrap().is_some());
    }
    db.end_run(run(2)).unwrap();
    for first in (keys / 2..keys).step_by(20) {
        let mut batch = WriteBatch::new();
        for n in first..first + 20 {
            batch.delete(run(1), n.to_be_bytes());
        }
        db.submit(batch, WriteOptions::default()).unwrap().wait().unwrap();
        assert!(db.storage().memory_bytes() <= at_opening);
    }
    assert_eq!(db.storage().key_count(), 0);
    db.put(run(1), "k", 1).unwrap();
    db.begin_run(run(3), NO_TAGS).unwrap();
    let shown = state(&db);
    drop(db);
    assert_eq!(state(&world.open()), shown);
}

/// The way out has an end, or memory would have none.
#[test]
fn deletes_under_a_snapshot_in_an_overfull_store_are_bounded_and_told_to_end_it() {
    let (world, keys) = overfull();
    let db = world.open();
    let at_opening = db.storage().memory_bytes();
    let snapshot = db.snapshot().unwrap();
    let refusal = (0..keys).find_map(|n| db.remove(run(1), n.to_be_bytes()).err()).unwrap();
    let Error::MemtableFull { used, budget, wanted, reserve } = refusal else {
        panic!("{refusal}")
    };
    assert!(reserve && wanted > 0 && used <= budget && used + wanted > budget);
    assert!(refusal.to_string().contains("end snapshots and iterators"), "{refusal}");
    let held = db.storage().memory_bytes();
    assert!(held > at_opening && held <= at_opening + BUDGET / 16, "{held}, from {at_opening}");
    // The end of a run takes nothing, and is let in even so.
    db.end_run(run(2)).unwrap();
    drop(snapshot);
    for n in 0..keys {
        db.remove(run(1), n.to_be_bytes()).unwrap();
    }
    while db.maintain().unwrap().freed > 0 {}
    assert_eq!(db.storage().key_count(), 0);
    db.put(run(1), "k", 1).unwrap();
}

/// The smallest budget that there can be has a sixteenth of 256 bytes, less than three deletes
/// take.
#[test]
fn the_reserve_of_the_smallest_budget_still_lets_deletes_in() {
    let world = World::memory().with(|options| {
        options.limits = Limits {
            key_bytes_max: 8,
            value_bytes_max: 200,
            batch_bytes_max: 600,
            tags_max: 1,
            name_bytes_max: 8,
        };
        options.memory_bytes_max = 10_923;
    });
    let db = world.open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    let full = (0..100u64).find(|n| db.put(run(1), n.to_be_bytes(), "").is_err());
    assert!(full > Some(3), "{full:?}");
    let keys = full.expect("full at last");
    let _held = db.snapshot().unwrap();
    (0..keys).for_each(|n| assert!(db.remove(run(1), n.to_be_bytes()).is_ok(), "{n} of {keys}"));
    db.end_run(run(1)).unwrap();
}

#[test]
fn run_records_count_against_the_budget() {
    let db = small().open();
    let mut begun = 0u32;
    loop {
        let mut id = [1; 16];
        id[..4].copy_from_slice(&begun.to_be_bytes());
        match db.begin_run(runstone::RunId::from_bytes(id), [("tag", "x".repeat(250))]) {
            Ok(_) => begun += 1,
            Err(error) => {
                assert!(matches!(error, Error::MemtableFull { .. }));
                break;
            }
        }
    }
    assert!((30..1_000).contains(&begun), "{begun}");
    assert_eq!(db.runs(RunFilter::default()).unwrap().count(), begun as usize);
}

/// What is superseded among the last changes is not yet freed, and counts for nothing.
#[test]
fn a_large_value_that_is_overwritten_again_and_again_fills_no_memtable() {
    let db = small().open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    for n in 0..200u8 {
        db.put(run(1), "one key", vec![n; 20_000]).unwrap();
    }
}
