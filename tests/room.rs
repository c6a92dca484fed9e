//! Room on a full disk: what a program keeps back for it, and drops.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that fails says so

mod common;

use common::full::{fill_up, is_full};
use common::{NO_TAGS, World, run};
use runstone::{Database, Error};
use runstone_sim::disk::{DiskConfig, SimVfs};

const FLUSH_BYTES: u64 = 64 << 10;
const SEGMENT_BYTES: u64 = 64 << 10;
const TABLE_BYTES: u64 = 32 << 10;
/// What `docs/durability.md` tells a program to keep back.
const BALLAST: u64 = FLUSH_BYTES + SEGMENT_BYTES;
/// Of each run.
const KEYS: u64 = 600;

/// Maintains until nothing is left, or it meets a full disk.
fn drain(db: &Database) -> Result<(), Error> {
    for _ in 0..10_000 {
        if db.maintain()?.left == 0 {
            return Ok(());
        }
    }
    panic!("maintenance drains");
}

fn put_all(db: &Database, owner: u8) {
    for n in 0..KEYS {
        db.put(run(owner), n.to_be_bytes(), vec![owner; 100]).unwrap();
    }
}

#[test]
fn a_ballast_as_large_as_the_docs_say_is_the_way_out_of_a_full_disk() {
    // However much is in memory, which is flushed with the removals.
    for in_memory in [0, 100, 300, 500] {
        let disk = SimVfs::with_config(5, DiskConfig::plain());
        let world = World::new(disk.clone()).with(|options| {
            options.flush_bytes = FLUSH_BYTES;
            options.segment_bytes = SEGMENT_BYTES;
            options.table_bytes_max = TABLE_BYTES;
        });
        let db = world.open();
        for owner in 1..=8 {
            db.begin_run(run(owner), NO_TAGS).unwrap();
            put_all(&db, owner);
            db.end_run(run(owner)).unwrap();
            drain(&db).unwrap();
        }
        db.begin_run(run(9), NO_TAGS).unwrap();
        for n in 0..in_memory {
            db.put(run(9), format!("{n}"), vec![9; 100]).unwrap();
        }
        let full = disk.used_bytes();
        fill_up(&disk, 0);
        is_full(db.put(run(9), "one more", vec![9; 5000]));
        is_full(db.drop_run(run(1)));
        // The program removes its ballast, and drops what it can do without.
        fill_up(&disk, BALLAST);
        for owner in 1..=6 {
            db.drop_run(run(owner)).unwrap();
        }
        drain(&db).unwrap();
        let freed = full.saturating_sub(disk.used_bytes());
        assert!(freed > 6 * KEYS * 100, "{freed} bytes are free, with {in_memory} keys in memory");
        db.put(run(9), "one more", vec![9; 5000]).unwrap();
        assert_eq!(db.count(run(8)).unwrap(), KEYS);
        assert_eq!(db.count(run(9)).unwrap(), in_memory + 1);
    }
}
