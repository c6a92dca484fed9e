//! The contract of the `Vfs` trait, on the real disk and in memory: each check is a test.
#![allow(clippy::unwrap_used, reason = "a test may panic, also in its helpers")]

use std::path::Path;

use runstone_vfs::contract::Check;
use runstone_vfs::{MemVfs, OsVfs};

fn on_the_real_disk(check: Check) {
    let dir = tempfile::tempdir().unwrap();
    check.run(&OsVfs::new(), dir.path());
}

fn in_memory(check: Check) {
    check.run(&MemVfs::new(), Path::new("/"));
}

/// The budget counts; it must not change a single answer while it lasts.
fn in_bounded_memory(check: Check) {
    check.run(&MemVfs::with_capacity_max(1 << 20), Path::new("/"));
}

mod os {
    runstone_vfs::contract_tests!(super::on_the_real_disk);
}

mod mem {
    runstone_vfs::contract_tests!(super::in_memory);
}

mod bounded_mem {
    runstone_vfs::contract_tests!(super::in_bounded_memory);
}
