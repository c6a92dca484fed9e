//! Memory as the allocator sees it, in a process of its own: what is accounted is real, and
//! recovery needs little more than what it leaves.
//!
//! The tests take turns, so that nothing else allocates meanwhile.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that fails says so

mod common;

use std::sync::{Mutex, PoisonError};

use common::{NO_TAGS, run};
use peak_alloc::PeakAlloc;
use runstone::{Database, DurabilityMode};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const MIB: usize = 1 << 20;

fn allocated() -> usize {
    ALLOCATOR.current_usage()
}

static TURN: Mutex<()> = Mutex::new(());

#[test]
fn the_accounted_bytes_are_real_ones() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    accounted_bytes_are_real(16, 8);
    accounted_bytes_are_real(16, 100);
    accounted_bytes_are_real(60, 100);
    accounted_bytes_are_real(16, 4_000);
}

#[test]
fn t29_recovery_of_proven_segments_needs_little_more_than_what_it_leaves() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mode = DurabilityMode::Batched { interval_ms: 10, batch_size: 100 };
    recovery_is_frugal(1 << 20, mode, false);
    recovery_is_frugal(1 << 20, mode, true);
}

#[test]
fn t29_recovery_of_a_long_tail_that_nothing_proves_needs_little_more_than_what_it_leaves() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    // The default size of a segment, and no sync since the last rotation.
    recovery_is_frugal(32 << 20, DurabilityMode::Async { interval_ms: 3_600_000 }, false);
}

/// A store that was large once does not stay so: what is deleted, scanned before or not, goes
/// back to the allocator, not only out of the account.
#[test]
fn the_memory_of_deleted_keys_goes_back_to_the_allocator() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    for scanned in [false, true] {
        let mode = DurabilityMode::Batched { interval_ms: 1_000_000, batch_size: 1_000_000_000 };
        let dir = tempfile::tempdir().unwrap();
        let db =
            Database::builder().durability(mode).background_threads(0).open(dir.path()).unwrap();
        db.begin_run(run(1), NO_TAGS).unwrap();
        db.put(run(1), "stays", vec![0; 100]).unwrap();
        let key = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
        let fill = || {
            for n in 0..50_000 {
                db.put(run(1), key(n), vec![1; 20]).unwrap();
            }
            if scanned {
                assert_eq!(db.list(run(1), "").unwrap().len(), 50_001);
            }
            let full = allocated();
            for n in 0..50_000 {
                db.remove(run(1), key(n)).unwrap();
            }
            while db.maintain().unwrap().freed > 0 {}
            assert_eq!(db.storage().key_count(), 1);
            full
        };
        let before = allocated();
        let full = fill();
        let left = allocated() - before;
        let held = full - before;
        assert!(left < held / 10, "scanned {scanned}: {left} of {held} bytes are left");
        fill();
        let left = allocated() - before;
        assert!(left < held / 10, "scanned {scanned}, again: {left} of {held} bytes are left");
    }
}

/// The accounted bytes are between 0.8 and 1.6 times what the allocator gave for them.
fn accounted_bytes_are_real(key_bytes: usize, value_bytes: usize) {
    let dir = tempfile::tempdir().unwrap();
    let mode = DurabilityMode::Batched { interval_ms: 1_000_000, batch_size: 1_000_000_000 };
    let db = Database::builder().durability(mode).background_threads(0).open(dir.path()).unwrap();
    db.begin_run(run(1), NO_TAGS).unwrap();
    // The log's buffers have their size after the first writes.
    db.put(run(1), "warm", vec![0; value_bytes]).unwrap();
    let (before, accounted_before) = (allocated(), db.storage().memory_bytes());
    for n in 0u64..20_000 {
        // Scattered, as keys are.
        let mut key = n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes().to_vec();
        key.resize(key_bytes, 1);
        db.put(run(1), key, vec![1; value_bytes]).unwrap();
    }
    let real = (allocated() - before) as f64;
    let accounted = (db.storage().memory_bytes() - accounted_before) as f64;
    let ratio = accounted / real;
    assert!((0.8..1.6).contains(&ratio), "keys {key_bytes}, values {value_bytes}: {ratio:.2}");
    drop(db);
    assert!(allocated() < before + MIB, "a dropped database gives its memory back");
}

/// A log of about 60 MiB, as a killed process leaves it: the peak while it is opened is at
/// most what is resident afterwards, and 64 MiB.
fn recovery_is_frugal(segment_bytes: u64, mode: DurabilityMode, overwrite: bool) {
    let dir = tempfile::tempdir().unwrap();
    let (live, copy) = (dir.path().join("live"), dir.path().join("copy"));
    let options = runstone::Options {
        durability: mode,
        segment_bytes,
        background_threads: 0,
        preallocate_bytes: 0,
        ..Default::default()
    };
    let db = Database::builder().options(options.clone()).open(&live).unwrap();
    db.begin_run(run(1), NO_TAGS).unwrap();
    for n in 0..16_000u64 {
        let key = if overwrite { n % 100 } else { n };
        db.put(run(1), key.to_be_bytes(), vec![1; 4_000]).unwrap();
    }
    std::fs::create_dir(&copy).unwrap();
    let mut log_bytes = 0;
    for entry in std::fs::read_dir(&live).unwrap() {
        let entry = entry.unwrap();
        log_bytes += std::fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
    }
    assert!(log_bytes > 55 << 20, "{log_bytes}");
    drop(db);
    std::fs::remove_dir_all(&live).unwrap();

    let before = allocated();
    ALLOCATOR.reset_peak_usage();
    let db = Database::builder().options(options).open(&copy).unwrap();
    let peak = ALLOCATOR.peak_usage() - before;
    let resident = allocated() - before;
    assert!(db.recovery_report().replayed_commits > 14_000, "{:?}", db.recovery_report());
    assert!(
        peak <= resident + 64 * MIB,
        "a peak of {} MiB, with {} MiB resident",
        peak / MIB,
        resident / MIB
    );
}
