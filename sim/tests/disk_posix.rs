//! Without faults the simulated disk is a file system like any other.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::ErrorKind::{self, *};
use std::io::{self, IoSlice};
use std::path::Path;

use runstone_sim::disk::SimVfs;
use runstone_vfs::{Access, FileKind, LockKind, Vfs};

fn path(text: &str) -> &Path {
    Path::new(text)
}

fn kind<T>(result: io::Result<T>) -> ErrorKind {
    result.map(drop).unwrap_err().kind()
}

/// A disk with a file `/f`, an empty directory `/e` and a directory `/d` with a file in it.
fn disk() -> SimVfs {
    let disk = SimVfs::new(1);
    drop(disk.create(path("/f")).unwrap());
    disk.create_dir(path("/e")).unwrap();
    disk.create_dir(path("/d")).unwrap();
    drop(disk.create(path("/d/g")).unwrap());
    disk
}

#[test]
fn errors_have_the_kinds_that_the_trait_promises() {
    let disk = disk();
    assert_eq!(kind(disk.open(path("/x"), Access::Read)), NotFound);
    assert_eq!(kind(disk.open(path("/x/y"), Access::Read)), NotFound);
    assert_eq!(kind(disk.open(path("/f/y"), Access::Read)), NotADirectory);
    assert_eq!(kind(disk.open(path("/d"), Access::ReadWrite)), IsADirectory);
    assert_eq!(kind(disk.open(path(""), Access::Read)), NotFound);
    assert_eq!(kind(disk.create(path("/f"))), AlreadyExists);
    assert_eq!(kind(disk.create(path("/d"))), AlreadyExists);
    assert_eq!(kind(disk.create(path("/"))), AlreadyExists);
    assert_eq!(kind(disk.create(path("/x/y"))), NotFound);
    assert_eq!(kind(disk.create(path("/f/y"))), NotADirectory);
    assert_eq!(kind(disk.create_dir(path("/f"))), AlreadyExists);
    assert_eq!(kind(disk.create_dir(path("/x/y"))), NotFound);
    assert_eq!(kind(disk.rename(path("/x"), path("/y"))), NotFound);
    assert_eq!(kind(disk.rename(path("/f"), path("/x/y"))), NotFound);
    assert_eq!(kind(disk.rename(path("/f"), path("/e"))), IsADirectory);
    assert_eq!(kind(disk.rename(path("/e"), path("/new"))), IsADirectory);
    assert_eq!(kind(disk.link(path("/x"), path("/y"))), NotFound);
    assert_eq!(kind(disk.link(path("/f"), path("/d"))), AlreadyExists);
    assert_eq!(kind(disk.link(path("/d"), path("/y"))), IsADirectory);
    assert_eq!(kind(disk.remove(path("/x"))), NotFound);
    assert_eq!(kind(disk.remove(path("/e"))), IsADirectory);
    assert_eq!(kind(disk.remove_dir(path("/x"))), NotFound);
    assert_eq!(kind(disk.remove_dir(path("/f"))), NotADirectory);
    assert_eq!(kind(disk.remove_dir(path("/d"))), DirectoryNotEmpty);
    assert_eq!(kind(disk.list(path("/x"))), NotFound);
    assert_eq!(kind(disk.list(path("/f"))), NotADirectory);
    assert_eq!(kind(disk.sync_dir(path("/x"))), NotFound);
    assert_eq!(kind(disk.lock(path("/x"), LockKind::Shared)), NotFound);
    let file = disk.open(path("/f"), Access::Read).unwrap();
    assert_eq!(kind(file.write_at(b"x", 0)), PermissionDenied);
    assert_eq!(kind(file.set_len(1)), PermissionDenied);
    assert_eq!(kind(file.allocate(0, 1)), PermissionDenied);
    file.sync().unwrap();
}

#[test]
fn names_move_as_posix_says() {
    let disk = disk();
    let file = disk.open(path("/f"), Access::ReadWrite).unwrap();
    file.write_at(b"f", 0).unwrap();
    disk.rename(path("/f"), path("/f")).unwrap();
    disk.link(path("/f"), path("/h")).unwrap();
    disk.rename(path("/f"), path("/h")).unwrap();
    assert!(disk.live_image().contains_key(path("/f")), "two names of one file: nothing happens");
    disk.rename(path("f"), path("./d/../d/g")).unwrap();
    assert_eq!(disk.live_image()[path("/d/g")], b"f");
    disk.rename(path("/d/g"), path("/e/g")).unwrap();
    assert_eq!(disk.live_image()[path("/e/g")], b"f");
    disk.remove(path("/e/g")).unwrap();
    disk.remove_dir(path("/e")).unwrap();
    disk.remove_dir(path("/d")).unwrap();
    let list = disk.list(path("/")).unwrap();
    assert_eq!(list.len(), 1);
    assert_eq!((list[0].name.to_str(), list[0].kind), (Some("h"), FileKind::File));
    disk.remove(path("/h")).unwrap();
    file.write_at(b"still open", 0).unwrap();
    let mut buf = [0; 20];
    assert_eq!(file.read_at(&mut buf, 0).unwrap(), 10);
    file.sync().unwrap();
}

#[test]
fn bytes_read_as_they_were_written() {
    let disk = disk();
    let file = disk.open(path("/f"), Access::ReadWrite).unwrap();
    assert!(file.is_empty().unwrap());
    assert_eq!(file.write_at(b"abc", 5).unwrap(), 3);
    assert_eq!(file.write_at(b"", 100).unwrap(), 0);
    assert_eq!(file.len().unwrap(), 8);
    let mut buf = [9; 10];
    assert_eq!(file.read_at(&mut buf, 0).unwrap(), 8);
    assert_eq!(&buf, b"\0\0\0\0\0abc\x09\x09");
    assert_eq!(file.read_at(&mut buf, 8).unwrap(), 0);
    assert_eq!(file.read_at(&mut buf, 1 << 40).unwrap(), 0);
    assert_eq!(file.read_at(&mut [], 0).unwrap(), 0);
    file.set_len(6).unwrap();
    file.set_len(8).unwrap();
    assert_eq!(file.read_at(&mut buf, 5).unwrap(), 3);
    assert_eq!(&buf[..3], b"a\0\0", "what was cut off does not come back");
    file.allocate(2, 10).unwrap();
    assert_eq!(file.len().unwrap(), 12);
    file.allocate(0, 3).unwrap();
    assert_eq!(file.len().unwrap(), 12, "an allocation never cuts");
    let bufs = [IoSlice::new(b"12"), IoSlice::new(b""), IoSlice::new(b"34")];
    assert_eq!(file.write_vectored_at(&bufs, 0).unwrap(), 4);
    assert_eq!(file.read_at(&mut buf[..4], 0).unwrap(), 4);
    assert_eq!(&buf[..4], b"1234");
    assert_eq!(kind(file.write_at(b"x", u64::MAX)), InvalidInput);
    assert_eq!(kind(file.write_at(b"x", 1 << 50)), FileTooLarge);
    assert_eq!(kind(file.set_len(u64::MAX)), InvalidInput);
    assert_eq!(kind(file.allocate(u64::MAX, 0)), InvalidInput);
    file.allocate(100, 0).unwrap();
    assert_eq!(file.len().unwrap(), 12, "an allocation of nothing changes nothing");
}

#[test]
fn locks_exclude_as_flock_does() {
    let disk = disk();
    let shared = disk.lock(path("/f"), LockKind::Shared).unwrap();
    let second = disk.lock(path("/f"), LockKind::Shared).unwrap();
    assert_eq!(kind(disk.lock(path("/f"), LockKind::Exclusive)), WouldBlock);
    drop((shared, second));
    let alone = disk.lock(path("/f"), LockKind::Exclusive).unwrap();
    assert_eq!(kind(disk.lock(path("/f"), LockKind::Shared)), WouldBlock);
    drop(disk.lock(path("/d/g"), LockKind::Exclusive).unwrap());
    disk.rename(path("/f"), path("/moved")).unwrap();
    assert_eq!(kind(disk.lock(path("/moved"), LockKind::Shared)), WouldBlock, "by file");
    drop(alone);
    drop(disk.lock(path("/moved"), LockKind::Exclusive).unwrap());
}
