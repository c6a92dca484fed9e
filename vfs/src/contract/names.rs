//! The checks of [`Vfs`]: names of files and directories.

use std::io::ErrorKind::{AlreadyExists, DirectoryNotEmpty, IsADirectory, NotADirectory, NotFound};
use std::path::Path;

use super::{content, content_at, fails, listing, ok, put};
use crate::{Access, FileKind, LockKind, Vfs, write_all_at};

pub(super) fn create_makes_an_empty_file_to_read_and_write(vfs: &dyn Vfs, dir: &Path) {
    let file = ok("create", vfs.create(&dir.join("f")));
    assert_eq!(ok("len", file.len()), 0, "a new file is empty");
    ok("write to a new file", write_all_at(&*file, b"new", 0));
    assert_eq!(content(&*file), b"new");
    assert_eq!(listing(vfs, dir), [("f".to_owned(), FileKind::File)]);
}

pub(super) fn create_never_opens_what_exists(vfs: &dyn Vfs, dir: &Path) {
    put(vfs, &dir.join("f"), b"old");
    ok("create_dir", vfs.create_dir(&dir.join("d")));
    fails("create over a file", vfs.create(&dir.join("f")), AlreadyExists);
    fails("create over a directory", vfs.create(&dir.join("d")), AlreadyExists);
    assert_eq!(content_at(vfs, &dir.join("f")), b"old");
}

pub(super) fn create_needs_its_directory(vfs: &dyn Vfs, dir: &Path) {
    fails("create in a missing directory", vfs.create(&dir.join("d/f")), NotFound);
    assert_eq!(listing(vfs, dir), []);
    ok("create_dir", vfs.create_dir(&dir.join("d")));
    ok("create_dir", vfs.create_dir(&dir.join("d/e")));
    put(vfs, &dir.join("d/e/f"), b"deep");
    assert_eq!(content_at(vfs, &dir.join("d/e/f")), b"deep");
}

pub(super) fn open_finds_the_file_and_changes_nothing(vfs: &dyn Vfs, dir: &Path) {
    put(vfs, &dir.join("f"), b"bytes");
    for access in [Access::Read, Access::ReadWrite] {
        let file = ok("open", vfs.open(&dir.join("f"), access));
        assert_eq!(content(&*file), b"bytes", "opened with {access:?}");
    }
    let file = ok("open", vfs.open(&dir.join("f"), Access::ReadWrite));
    ok("write", write_all_at(&*file, b"B", 0));
    assert_eq!(content_at(vfs, &dir.join("f")), b"Bytes");
}

pub(super) fn open_refuses_what_is_missing_or_a_directory(vfs: &dyn Vfs, dir: &Path) {
    ok("create_dir", vfs.create_dir(&dir.join("d")));
    for access in [Access::Read, Access::ReadWrite] {
        fails("open a missing file", vfs.open(&dir.join("f"), access), NotFound);
        fails("open in a missing directory", vfs.open(&dir.join("x/f"), access), NotFound);
        fails("open a directory", vfs.open(&dir.join("d"), access), IsADirectory);
    }
    assert_eq!(listing(vfs, dir), [("d".to_owned(), FileKind::Dir)]);
}

pub(super) fn rename_moves_a_file(vfs: &dyn Vfs, dir: &Path) {
    let (from, to) = (dir.join("from"), dir.join("d/to"));
    ok("create_dir", vfs.create_dir(&dir.join("d")));
    let file = put(vfs, &from, b"bytes");
    ok("rename to another directory", vfs.rename(&from, &to));
    fails("open the old name", vfs.open(&from, Access::Read), NotFound);
    ok("write through the handle", write_all_at(&*file, b"B", 0));
    assert_eq!(content_at(vfs, &to), b"Bytes", "a handle follows the file");

    ok("rename in one directory", vfs.rename(&to, &dir.join("d/again")));
    assert_eq!(listing(vfs, &dir.join("d")), [("again".to_owned(), FileKind::File)]);
    put(vfs, &to, b"another");
    assert_eq!(content_at(vfs, &dir.join("d/again")), b"Bytes", "the old name is free");
}

pub(super) fn rename_replaces_the_target_and_spares_its_handles(vfs: &dyn Vfs, dir: &Path) {
    let (from, to) = (dir.join("MANIFEST.tmp"), dir.join("MANIFEST"));
    let old = put(vfs, &to, b"the old manifest");
    let new = put(vfs, &from, b"new");
    ok("rename over a file", vfs.rename(&from, &to));
    assert_eq!(content_at(vfs, &to), b"new");
    assert_eq!(content(&*old), b"the old manifest", "a handle of the replaced file");
    ok("write to the replaced file", write_all_at(&*old, b"THE", 0));
    assert_eq!(content(&*old), b"THE old manifest");
    assert_eq!(content(&*new), b"new");
    assert_eq!(listing(vfs, dir), [("MANIFEST".to_owned(), FileKind::File)]);
}

pub(super) fn rename_onto_the_same_file_changes_nothing(vfs: &dyn Vfs, dir: &Path) {
    let (a, b) = (dir.join("a"), dir.join("b"));
    put(vfs, &a, b"bytes");
    ok("rename onto itself", vfs.rename(&a, &a));
    assert_eq!(content_at(vfs, &a), b"bytes");
    ok("link", vfs.link(&a, &b));
    ok("rename onto another link", vfs.rename(&a, &b));
    assert_eq!(content_at(vfs, &a), b"bytes", "both names stay");
    assert_eq!(content_at(vfs, &b), b"bytes", "both names stay");
}

pub(super) fn rename_refuses_directories_and_changes_nothing(vfs: &dyn Vfs, dir: &Path) {
    let (f, d, full) = (dir.join("f"), dir.join("d"), dir.join("full"));
    put(vfs, &f, b"bytes");
    ok("create_dir", vfs.create_dir(&d));
    ok("create_dir", vfs.create_dir(&full));
    put(vfs, &full.join("g"), b"inner");
    let before = listing(vfs, dir);
    fails("rename onto a directory", vfs.rename(&f, &d), IsADirectory);
    fails("rename onto a full directory", vfs.rename(&f, &full), IsADirectory);
    fails("rename a directory", vfs.rename(&d, &dir.join("new")), IsADirectory);
    fails("rename a directory onto a file", vfs.rename(&d, &f), IsADirectory);
    fails("rename a directory onto another", vfs.rename(&full, &d), IsADirectory);
    fails("rename a directory into itself", vfs.rename(&d, &d.join("x")), IsADirectory);
    fails("rename a file onto its directory", vfs.rename(&full.join("g"), &full), IsADirectory);
    assert_eq!(listing(vfs, dir), before);
    assert_eq!(content_at(vfs, &f), b"bytes");
    assert_eq!(content_at(vfs, &full.join("g")), b"inner");
}

pub(super) fn rename_reports_the_source_before_the_target(vfs: &dyn Vfs, dir: &Path) {
    let (f, d, missing) = (dir.join("f"), dir.join("d"), dir.join("missing"));
    put(vfs, &f, b"bytes");
    ok("create_dir", vfs.create_dir(&d));
    fails("rename what is missing", vfs.rename(&missing, &dir.join("g")), NotFound);
    fails("rename what is missing over a file", vfs.rename(&missing, &f), NotFound);
    fails("rename what is missing onto a directory", vfs.rename(&missing, &d), NotFound);
    fails("... through a file", vfs.rename(&missing, &f.join("x")), NotFound);
    fails("rename a directory through a file", vfs.rename(&d, &f.join("x")), IsADirectory);
    fails("rename into what is missing", vfs.rename(&f, &missing.join("g")), NotFound);
    assert_eq!(content_at(vfs, &f), b"bytes");
}

pub(super) fn link_gives_one_file_two_equal_names(vfs: &dyn Vfs, dir: &Path) {
    let (a, b) = (dir.join("a"), dir.join("b"));
    let first = put(vfs, &a, b"bytes");
    ok("link", vfs.link(&a, &b));
    ok("write through the first name", write_all_at(&*first, b"B", 0));
    assert_eq!(content_at(vfs, &b), b"Bytes");
    ok("remove the first name", vfs.remove(&a));
    drop(first);
    assert_eq!(content_at(vfs, &b), b"Bytes", "it outlives its first name");
    put(vfs, &a, b"another");
    assert_eq!(content_at(vfs, &b), b"Bytes");
}

pub(super) fn link_never_replaces_and_refuses_directories(vfs: &dyn Vfs, dir: &Path) {
    let (f, g, d) = (dir.join("f"), dir.join("g"), dir.join("d"));
    let missing = dir.join("missing");
    put(vfs, &f, b"f");
    put(vfs, &g, b"g");
    ok("create_dir", vfs.create_dir(&d));
    fails("link over a file", vfs.link(&f, &g), AlreadyExists);
    fails("link over itself", vfs.link(&f, &f), AlreadyExists);
    fails("link over a directory", vfs.link(&f, &d), AlreadyExists);
    fails("link what is missing", vfs.link(&missing, &dir.join("h")), NotFound);
    fails("link what is missing over a file", vfs.link(&missing, &g), NotFound);
    fails("link into what is missing", vfs.link(&f, &missing.join("h")), NotFound);
    fails("link a directory", vfs.link(&d, &dir.join("h")), IsADirectory);
    fails("link a directory over a file", vfs.link(&d, &g), IsADirectory);
    assert_eq!(content_at(vfs, &g), b"g");
    assert_eq!(listing(vfs, dir).len(), 3);
}

pub(super) fn remove_frees_the_name_and_spares_handles(vfs: &dyn Vfs, dir: &Path) {
    let f = dir.join("f");
    let writer = put(vfs, &f, b"bytes");
    let reader = ok("open", vfs.open(&f, Access::Read));
    ok("remove an open file", vfs.remove(&f));
    fails("open what was removed", vfs.open(&f, Access::Read), NotFound);
    fails("remove it again", vfs.remove(&f), NotFound);
    ok("write to what was removed", write_all_at(&*writer, b"!", 5));
    ok("sync what was removed", writer.sync());
    assert_eq!(content(&*reader), b"bytes!");
    put(vfs, &f, b"another");
    assert_eq!(content(&*reader), b"bytes!");
    assert_eq!(content_at(vfs, &f), b"another");
}

pub(super) fn remove_refuses_what_is_missing_or_a_directory(vfs: &dyn Vfs, dir: &Path) {
    ok("create_dir", vfs.create_dir(&dir.join("d")));
    fails("remove a missing file", vfs.remove(&dir.join("f")), NotFound);
    fails("remove in a missing directory", vfs.remove(&dir.join("x/f")), NotFound);
    fails("remove a directory", vfs.remove(&dir.join("d")), IsADirectory);
    assert_eq!(listing(vfs, dir), [("d".to_owned(), FileKind::Dir)]);
}

pub(super) fn remove_dir_takes_only_an_empty_directory(vfs: &dyn Vfs, dir: &Path) {
    let (d, f) = (dir.join("d"), dir.join("d/f"));
    ok("create_dir", vfs.create_dir(&d));
    put(vfs, &f, b"bytes");
    fails("remove_dir of a full one", vfs.remove_dir(&d), DirectoryNotEmpty);
    fails("remove_dir of a file", vfs.remove_dir(&f), NotADirectory);
    assert_eq!(content_at(vfs, &f), b"bytes");
    ok("remove", vfs.remove(&f));
    ok("remove_dir", vfs.remove_dir(&d));
    fails("remove_dir again", vfs.remove_dir(&d), NotFound);
    fails("remove_dir in a missing directory", vfs.remove_dir(&dir.join("x/d")), NotFound);
    assert_eq!(listing(vfs, dir), []);
    ok("create_dir under the same name", vfs.create_dir(&d));
    assert_eq!(listing(vfs, &d), [], "a new directory is empty");
}

pub(super) fn list_tells_each_name_once_with_its_kind(vfs: &dyn Vfs, dir: &Path) {
    assert_eq!(listing(vfs, dir), [], "no dot entries");
    for name in ["b", "a", "c.tmp"] {
        put(vfs, &dir.join(name), name.as_bytes());
    }
    ok("create_dir", vfs.create_dir(&dir.join("d")));
    put(vfs, &dir.join("d/inner"), b"not seen from above");
    let file = |name: &str| (name.to_owned(), FileKind::File);
    let expected = [file("a"), file("b"), file("c.tmp"), ("d".to_owned(), FileKind::Dir)];
    assert_eq!(listing(vfs, dir), expected);
    ok("remove", vfs.remove(&dir.join("b")));
    ok("rename", vfs.rename(&dir.join("a"), &dir.join("z")));
    let expected = [file("c.tmp"), ("d".to_owned(), FileKind::Dir), file("z")];
    assert_eq!(listing(vfs, dir), expected);
}

pub(super) fn list_refuses_what_is_no_directory(vfs: &dyn Vfs, dir: &Path) {
    put(vfs, &dir.join("f"), b"bytes");
    fails("list a missing directory", vfs.list(&dir.join("d")), NotFound);
    fails("list a file", vfs.list(&dir.join("f")), NotADirectory);
}

pub(super) fn create_dir_makes_one_level_and_never_replaces(vfs: &dyn Vfs, dir: &Path) {
    let (d, f) = (dir.join("d"), dir.join("f"));
    fails("create_dir without its parent", vfs.create_dir(&d.join("e")), NotFound);
    ok("create_dir", vfs.create_dir(&d));
    put(vfs, &d.join("g"), b"inner");
    put(vfs, &f, b"bytes");
    fails("create_dir over a directory", vfs.create_dir(&d), AlreadyExists);
    fails("create_dir over a file", vfs.create_dir(&f), AlreadyExists);
    assert_eq!(content_at(vfs, &d.join("g")), b"inner");
    assert_eq!(content_at(vfs, &f), b"bytes");
}

pub(super) fn sync_dir_takes_only_a_directory(vfs: &dyn Vfs, dir: &Path) {
    let file = put(vfs, &dir.join("f"), b"bytes");
    ok("sync", file.sync());
    ok("sync_dir", vfs.sync_dir(dir));
    fails("sync_dir of a missing directory", vfs.sync_dir(&dir.join("d")), NotFound);
    fails("sync_dir of a file", vfs.sync_dir(&dir.join("f")), NotADirectory);
    assert_eq!(listing(vfs, dir), [("f".to_owned(), FileKind::File)]);
}

pub(super) fn a_path_through_a_file_is_not_a_directory(vfs: &dyn Vfs, dir: &Path) {
    let (f, x, g) = (dir.join("f"), dir.join("f/x"), dir.join("g"));
    put(vfs, &f, b"bytes");
    fails("open", vfs.open(&x, Access::Read), NotADirectory);
    fails("open", vfs.open(&x, Access::ReadWrite), NotADirectory);
    fails("create", vfs.create(&x), NotADirectory);
    fails("rename from", vfs.rename(&x, &g), NotADirectory);
    fails("rename to", vfs.rename(&f, &x), NotADirectory);
    fails("link from", vfs.link(&x, &g), NotADirectory);
    fails("link to", vfs.link(&f, &x), NotADirectory);
    fails("remove", vfs.remove(&x), NotADirectory);
    fails("remove_dir", vfs.remove_dir(&x), NotADirectory);
    fails("list", vfs.list(&x), NotADirectory);
    fails("create_dir", vfs.create_dir(&x), NotADirectory);
    fails("sync_dir", vfs.sync_dir(&x), NotADirectory);
    fails("lock", vfs.lock(&x, LockKind::Shared), NotADirectory);
    fails("lock", vfs.lock(&x, LockKind::Exclusive), NotADirectory);
    assert_eq!(listing(vfs, dir), [("f".to_owned(), FileKind::File)]);
}
