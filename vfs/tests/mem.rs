//! What is particular to the disk in memory. The contract itself is checked in `contract.rs`.
#![allow(clippy::unwrap_used, reason = "a test may panic, also in its helpers")]

use std::io;
use std::path::Path;

use runstone_vfs::{Access, LockKind, MemVfs, Vfs, read_full_at, write_all_at};

/// What one name and one page cost, as the documentation of `with_capacity_max` says.
const NAME: u64 = 512;
const PAGE: u64 = 4096;

fn kind<T: std::fmt::Debug>(result: io::Result<T>) -> io::ErrorKind {
    result.unwrap_err().kind()
}

#[test]
fn paths_are_resolved_as_the_operating_system_does_it() {
    let vfs = MemVfs::new();
    let open = |path: &str| vfs.open(Path::new(path), Access::Read).map(drop);
    vfs.create_dir(Path::new("/db")).unwrap();
    vfs.create(Path::new("/db/f")).unwrap();
    for path in ["db/f", "//db///f", "./db/./f", "/db/../db/f", "../../db/f", "/db/x/../f"] {
        match path {
            "/db/x/../f" => assert_eq!(kind(open(path)), io::ErrorKind::NotFound),
            _ => open(path).unwrap(),
        }
    }
    assert_eq!(kind(open("/db/f/../f")), io::ErrorKind::NotADirectory);
    assert_eq!(kind(open("/")), io::ErrorKind::IsADirectory);
    assert_eq!(kind(vfs.create(Path::new("/"))), io::ErrorKind::AlreadyExists);
    assert_eq!(kind(vfs.create_dir(Path::new("db/.."))), io::ErrorKind::AlreadyExists);
    assert_eq!(kind(vfs.remove(Path::new("/"))), io::ErrorKind::IsADirectory);
    assert_eq!(kind(vfs.remove_dir(Path::new("/"))), io::ErrorKind::ResourceBusy);
    assert_eq!(kind(vfs.create(Path::new(&"n".repeat(256)))), io::ErrorKind::InvalidFilename);
    vfs.create(Path::new(&"n".repeat(255))).unwrap();
}

#[test]
fn a_full_disk_refuses_names_writes_and_allocations_and_spares_what_is_there() {
    let vfs = MemVfs::with_capacity_max(2 * NAME + PAGE);
    let file = vfs.create(Path::new("a")).unwrap();
    write_all_at(&*file, b"bytes", 0).unwrap();
    vfs.create_dir(Path::new("d")).unwrap();

    assert_eq!(kind(vfs.create(Path::new("b"))), io::ErrorKind::StorageFull);
    assert_eq!(kind(vfs.create_dir(Path::new("e"))), io::ErrorKind::StorageFull);
    assert_eq!(kind(vfs.link(Path::new("a"), Path::new("b"))), io::ErrorKind::StorageFull);
    assert_eq!(kind(file.write_at(b"x", PAGE)), io::ErrorKind::StorageFull);
    assert_eq!(kind(file.allocate(0, PAGE + 1)), io::ErrorKind::StorageFull);
    assert_eq!(file.len().unwrap(), 5, "a refused call changes nothing");

    // What is paid for can be used, and what needs no space works.
    file.allocate(0, PAGE).unwrap();
    write_all_at(&*file, b"x", PAGE - 1).unwrap();
    file.set_len(1 << 40).unwrap();
    vfs.rename(Path::new("a"), Path::new("b")).unwrap();
    assert_eq!(vfs.bytes_used(), 2 * NAME + PAGE);
}

#[test]
fn a_write_into_the_last_space_is_short_and_the_next_one_fails() {
    let vfs = MemVfs::with_capacity_max(NAME + 2 * PAGE);
    let file = vfs.create(Path::new("a")).unwrap();
    assert_eq!(file.write_at(&[7; 10_000], 100).unwrap() as u64, 2 * PAGE - 100);
    assert_eq!(file.len().unwrap(), 2 * PAGE);
    assert_eq!(kind(file.write_at(&[7; 1], 2 * PAGE)), io::ErrorKind::StorageFull);
    assert_eq!(kind(write_all_at(&*file, &[7; 2], 2 * PAGE - 1)), io::ErrorKind::StorageFull);
}

/// Else a bounded disk would fill up by use alone.
#[test]
fn everything_that_goes_gives_its_space_back() {
    let vfs = MemVfs::with_capacity_max(64 * PAGE);
    for _ in 0..1000 {
        let file = vfs.create(Path::new("a")).unwrap();
        write_all_at(&*file, &[7; 20_480], 10).unwrap();
        file.set_len(PAGE + 1).unwrap();
        assert_eq!(vfs.bytes_used(), NAME + 2 * PAGE);
        file.set_len(PAGE).unwrap();
        assert_eq!(vfs.bytes_used(), NAME + PAGE, "a cut between two pages");
        vfs.link(Path::new("a"), Path::new("b")).unwrap();
        vfs.remove(Path::new("a")).unwrap();
        let other = vfs.create(Path::new("c")).unwrap();
        other.allocate(0, 3 * PAGE).unwrap();
        vfs.rename(Path::new("c"), Path::new("b")).unwrap();
        drop(file);
        assert_eq!(vfs.bytes_used(), NAME + 3 * PAGE, "the replaced file is gone");
        vfs.remove(Path::new("b")).unwrap();
        assert_eq!(vfs.bytes_used(), 3 * PAGE, "a removed file lives while it is open");
        drop(other);
        vfs.create_dir(Path::new("d")).unwrap();
        vfs.remove_dir(Path::new("d")).unwrap();
        assert_eq!(vfs.bytes_used(), 0);
    }
}

#[test]
fn a_sparse_file_costs_what_was_written() {
    let vfs = MemVfs::with_capacity_max(NAME + 2 * PAGE);
    let file = vfs.create(Path::new("sparse")).unwrap();
    let pos = 5 << 30;
    write_all_at(&*file, b"far away", pos).unwrap();
    let mut found = [1; 16];
    assert_eq!(read_full_at(&*file, &mut found, pos - 8).unwrap(), 16);
    assert_eq!(&found, b"\0\0\0\0\0\0\0\0far away");
    file.set_len(i64::MAX as u64).unwrap();
    assert_eq!(read_full_at(&*file, &mut found, 1 << 62).unwrap(), 16);
    assert_eq!(found, [0; 16]);
    assert_eq!(vfs.bytes_used(), NAME + PAGE);
}

#[test]
fn without_a_limit_an_allocation_costs_nothing() {
    let vfs = MemVfs::new();
    let file = vfs.create(Path::new("a")).unwrap();
    file.allocate(1 << 40, 1 << 50).unwrap();
    assert_eq!(file.len().unwrap(), (1 << 40) + (1 << 50));
    assert_eq!(vfs.bytes_used(), NAME);
}

#[test]
fn clones_share_files_and_locks_and_new_ones_do_not() {
    let vfs = MemVfs::new();
    vfs.create(Path::new("LOCK")).unwrap();
    let held = vfs.clone().lock(Path::new("LOCK"), LockKind::Exclusive).unwrap();
    let again = vfs.lock(Path::new("LOCK"), LockKind::Shared);
    assert_eq!(kind(again), io::ErrorKind::WouldBlock);
    assert!(MemVfs::default().list(Path::new("/")).unwrap().is_empty());
    drop(vfs);
    drop(held);
}

#[test]
fn listings_are_in_byte_order() {
    let vfs = MemVfs::new();
    for name in ["b", "a", "c", "B", "10", "9"] {
        vfs.create(Path::new(name)).unwrap();
    }
    let names: Vec<_> = vfs.list(Path::new("/")).unwrap().into_iter().map(|e| e.name).collect();
    assert_eq!(names, ["10", "9", "B", "a", "b", "c"]);
}
