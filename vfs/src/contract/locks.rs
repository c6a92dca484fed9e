//! The checks of [`Vfs::lock`].

use std::io::ErrorKind::{IsADirectory, NotFound, WouldBlock};
use std::path::Path;

use super::{content, content_at, fails, listing, ok, put};
use crate::LockKind::{Exclusive, Shared};
use crate::{Access, Vfs, write_all_at};

pub(super) fn an_exclusive_lock_excludes_every_other(vfs: &dyn Vfs, dir: &Path) {
    let path = dir.join("LOCK");
    put(vfs, &path, b"");
    for _ in 0..3 {
        let held = ok("lock", vfs.lock(&path, Exclusive));
        fails("a second exclusive lock", vfs.lock(&path, Exclusive), WouldBlock);
        fails("a shared lock beside it", vfs.lock(&path, Shared), WouldBlock);
        drop(held);
    }
    drop(ok("a shared lock afterwards", vfs.lock(&path, Shared)));
}

pub(super) fn shared_locks_share_and_exclude_the_exclusive_one(vfs: &dyn Vfs, dir: &Path) {
    let path = dir.join("LOCK");
    put(vfs, &path, b"");
    let first = ok("a shared lock", vfs.lock(&path, Shared));
    let second = ok("a second shared lock", vfs.lock(&path, Shared));
    fails("an exclusive lock beside two", vfs.lock(&path, Exclusive), WouldBlock);
    drop(first);
    fails("an exclusive lock beside one", vfs.lock(&path, Exclusive), WouldBlock);
    drop(second);
    drop(ok("an exclusive lock afterwards", vfs.lock(&path, Exclusive)));
}

pub(super) fn a_lock_needs_an_existing_file(vfs: &dyn Vfs, dir: &Path) {
    ok("create_dir", vfs.create_dir(&dir.join("d")));
    for kind in [Shared, Exclusive] {
        fails("lock a missing file", vfs.lock(&dir.join("LOCK"), kind), NotFound);
        fails("lock a directory", vfs.lock(&dir.join("d"), kind), IsADirectory);
    }
    assert_eq!(listing(vfs, dir).len(), 1, "a lock creates nothing");
}

/// Locks bind only those who ask for them. (Windows binds everybody; the engine neither reads
/// nor writes its lock file, so there only the names are checked.)
pub(super) fn a_lock_leaves_the_file_alone(vfs: &dyn Vfs, dir: &Path) {
    let path = dir.join("LOCK");
    put(vfs, &path, b"bytes");
    for kind in [Shared, Exclusive] {
        let held = ok("lock", vfs.lock(&path, kind));
        let file = ok("open a locked file", vfs.open(&path, Access::ReadWrite));
        if !cfg!(windows) {
            ok("write to a locked file", write_all_at(&*file, b"B", 0));
            ok("sync a locked file", file.sync());
        }
        drop(file);
        fails("closing a handle releases no lock", vfs.lock(&path, Exclusive), WouldBlock);
        drop(held);
    }
    assert_eq!(content_at(vfs, &path).len(), 5);
    drop(ok("lock", vfs.lock(&path, Exclusive)));
}

pub(super) fn a_lock_belongs_to_the_file_and_not_to_its_name(vfs: &dyn Vfs, dir: &Path) {
    let (a, b, c) = (dir.join("a"), dir.join("b"), dir.join("c"));
    put(vfs, &a, b"");
    let held = ok("lock", vfs.lock(&a, Exclusive));
    ok("link", vfs.link(&a, &b));
    fails("lock through another link", vfs.lock(&b, Exclusive), WouldBlock);
    ok("rename", vfs.rename(&a, &c));
    fails("lock through the new name", vfs.lock(&c, Shared), WouldBlock);
    put(vfs, &a, b"");
    drop(ok("lock a new file of the old name", vfs.lock(&a, Exclusive)));
    ok("remove", vfs.remove(&c));
    fails("lock through the last name", vfs.lock(&b, Shared), WouldBlock);
    drop(held);
    drop(ok("lock once it is released", vfs.lock(&b, Exclusive)));
}

pub(super) fn a_lock_lends_the_file_that_it_locks(vfs: &dyn Vfs, dir: &Path) {
    let path = dir.join("LOCK");
    let id = ok("id", put(vfs, &path, b"bytes").id());
    let held = ok("an exclusive lock", vfs.lock(&path, Exclusive));
    assert_eq!(ok("id", held.file().id()), id);
    ok("write through the lock", write_all_at(held.file(), b"B", 0));
    ok("sync through the lock", held.file().sync());
    drop(held);
    let held = ok("a shared lock", vfs.lock(&path, Shared));
    assert_eq!(content(held.file()), b"Bytes");
    ok("remove", vfs.remove(&path));
    put(vfs, &path, b"");
    assert_eq!(ok("id", held.file().id()), id, "the lock keeps its file");
    assert_ne!(ok("stat", vfs.stat(&path)).id, id, "which has lost its name");
}
