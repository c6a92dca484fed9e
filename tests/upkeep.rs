//! What the background thread does by itself, on the system's clock.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that fails says so
#![allow(clippy::disallowed_methods)] // tests wait for what another thread does

mod common;

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use common::{DIR, NO_TAGS, run};
use runstone::vfs::MemVfs;
use runstone::{Builder, Database, DurabilityMode, Options, WriteBatch, WriteOptions};
use runstone_sim::disk::SimVfs;

fn builder(mode: DurabilityMode) -> Builder {
    Database::builder().options(Options {
        durability: mode,
        maintenance_interval_ms: 5,
        preallocate_bytes: 0,
        ..Options::default()
    })
}

/// Waits for what must come by itself, and far longer than it may take.
fn until(what: &str, done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(30), "{what} never came");
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn what_was_submitted_is_committed_though_nobody_waits_for_it() {
    let db = builder(DurabilityMode::Strict).vfs(Arc::new(MemVfs::new())).open(DIR).unwrap();
    db.begin_run(run(1), NO_TAGS).unwrap();
    for n in 0..20i64 {
        let mut batch = WriteBatch::new();
        batch.put(run(1), "k", n);
        let ticket = db.submit(batch, WriteOptions::default()).unwrap();
        until("the outcome", || ticket.poll().is_some_and(|outcome| outcome.is_ok()));
    }
}

#[test]
fn what_expired_is_freed_though_nobody_reads_it() {
    let db = builder(DurabilityMode::Strict).vfs(Arc::new(MemVfs::new())).open(DIR).unwrap();
    db.begin_run(run(1), NO_TAGS).unwrap();
    let empty = db.storage().memory_bytes();
    for n in 0..3_000i64 {
        let ttl = Some(Duration::from_millis(1));
        let mut batch = WriteBatch::new();
        batch.put_with_ttl(run(1), format!("{n}"), n, ttl);
        drop(db.submit(batch, WriteOptions::default()).unwrap());
    }
    until("the last commit", || db.storage().version() == 3_001);
    until("the freeing", || db.storage().key_count() == 0);
    // Keys that are gone are released by a later step.
    until("the release", || db.storage().memory_bytes() == empty);
}

#[test]
fn an_asynchronous_commit_that_met_a_full_disk_is_written_once_there_is_room() {
    let disk = SimVfs::new(1);
    let mode = DurabilityMode::Async { interval_ms: 1 };
    let db = builder(mode).vfs(Arc::new(disk.clone())).open(DIR).unwrap();
    db.begin_run(run(1), NO_TAGS).unwrap();
    db.flush().unwrap();
    disk.set_capacity(Some(disk.used_bytes()));
    db.put(run(1), "k", vec![7; 1_000]).unwrap();
    until("the full disk", || db.put(run(1), "l", 1).is_err());
    disk.set_capacity(None);
    let is_durable = || {
        let image = disk.durable_image();
        image.values().any(|bytes| bytes.windows(1_000).any(|window| window == [7; 1_000]))
    };
    until("the write", is_durable);
    until("the way on", || db.put(run(1), "l", 1).is_ok());
}
