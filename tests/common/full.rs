//! A simulated disk that is full, and what is told of it.

use runstone::{Database, Error};
use runstone_sim::disk::{CrashKind, CrashModel, DiskConfig, SimVfs};

use super::{NO_TAGS, World, run};

pub fn disk() -> SimVfs {
    SimVfs::with_config(5, DiskConfig::default().only(CrashModel::DropAll))
}

pub fn fill_up(disk: &SimVfs, room: u64) {
    disk.set_capacity(Some(disk.used_bytes() + room));
}

pub fn is_full(outcome: runstone::Result<u64>) {
    let error = outcome.unwrap_err();
    assert!(matches!(error, Error::DiskFull { .. }), "{error}");
    assert!(error.is_retryable() && error.to_string().contains("free space"));
}

/// A store whose next value of 300 bytes needs a new segment.
pub fn before_a_rotation() -> (SimVfs, World, Database) {
    let disk = disk();
    let world = World::new(disk.clone()).with(|options| options.segment_bytes = 600);
    let db = world.open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    db.put(run(1), "k", vec![1; 300]).unwrap();
    (disk, world, db)
}

/// After the power was cut: what is there now.
pub fn after_power_cut(world: &World, disk: &SimVfs, db: Database) -> Database {
    disk.crash_now(CrashKind::Power);
    drop(db);
    disk.restart();
    world.open()
}
