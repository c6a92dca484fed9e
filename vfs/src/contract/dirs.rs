//! The checks of [`Vfs::open_dir`] and of identities.

use std::io::ErrorKind::{AlreadyExists, NotADirectory, NotFound};
use std::path::Path;

use super::{content_at, fails, listing, ok, put};
use crate::{Access, FileKind, LockKind, Vfs};

pub(super) fn open_dir_takes_only_a_directory(vfs: &dyn Vfs, dir: &Path) {
    put(vfs, &dir.join("f"), b"bytes");
    fails("open_dir of what is missing", vfs.open_dir(&dir.join("d")).map(drop), NotFound);
    fails("open_dir of a file", vfs.open_dir(&dir.join("f")).map(drop), NotADirectory);
    fails("open_dir through a file", vfs.open_dir(&dir.join("f/d")).map(drop), NotADirectory);
    fails("open_dir of no path", vfs.open_dir(Path::new("")).map(drop), NotFound);
    assert_eq!(listing(vfs, dir).len(), 1, "nothing is made");
}

pub(super) fn names_in_an_open_directory_are_those_of_its_path(vfs: &dyn Vfs, dir: &Path) {
    let d = dir.join("d");
    ok("create_dir", vfs.create_dir(&d));
    let opened = ok("open_dir", vfs.open_dir(&d));
    let (a, b, sub) = (Path::new("a"), Path::new("b"), Path::new("sub"));
    put(&*opened, a, b"bytes");
    assert_eq!(content_at(vfs, &d.join("a")), b"bytes");
    ok("rename", opened.rename(a, b));
    ok("link", opened.link(b, a));
    ok("create_dir", opened.create_dir(sub));
    put(&*opened, &sub.join("c"), b"deep");
    let names = ["a", "b", "sub"].map(str::to_owned);
    assert_eq!(listing(vfs, &d).into_iter().map(|(name, _)| name).collect::<Vec<_>>(), names);
    assert_eq!(listing(&*opened, Path::new(".")), listing(vfs, &d));
    ok("sync_dir of itself", opened.sync_dir(Path::new(".")));
    let deeper = ok("open_dir of one in it", opened.open_dir(sub));
    assert_eq!(content_at(&*deeper, Path::new("c")), b"deep");
    fails("create over a file", opened.create(b), AlreadyExists);
    drop(ok("lock", opened.lock(b, LockKind::Exclusive)));
    ok("remove", opened.remove(a));
    ok("remove", opened.remove(b));
    ok("remove", deeper.remove(Path::new("c")));
    ok("remove_dir", opened.remove_dir(sub));
    assert_eq!(listing(vfs, &d), []);
    assert_eq!(listing(vfs, dir).len(), 1, "nothing was made beside it");
}

pub(super) fn the_directory_above_is_two_dots(vfs: &dyn Vfs, dir: &Path) {
    ok("create_dir", vfs.create_dir(&dir.join("d")));
    put(vfs, &dir.join("f"), b"beside it");
    let opened = ok("open_dir", vfs.open_dir(&dir.join("d")));
    let above = ok("open_dir", opened.open_dir(Path::new("..")));
    assert_eq!(content_at(&*above, Path::new("f")), b"beside it");
    let id = |vfs: &dyn Vfs| ok("stat", vfs.stat(Path::new("."))).id;
    assert_eq!(id(&*above), ok("stat", vfs.stat(dir)).id);
    assert_ne!(id(&*above), id(&*opened));
    assert_eq!(id(&*ok("open_dir of itself", opened.open_dir(Path::new(".")))), id(&*opened));
}

pub(super) fn a_directory_tells_one_file_system_whatever_becomes_of_it(vfs: &dyn Vfs, dir: &Path) {
    let d = dir.join("d");
    ok("create_dir", vfs.create_dir(&d));
    let opened = ok("open_dir", vfs.open_dir(&d));
    let told = opened.file_system();
    assert_eq!(ok("open_dir", vfs.open_dir(dir)).file_system(), told, "the directory above");
    ok("create_dir", opened.create_dir(Path::new("e")));
    let inner = ok("open_dir", opened.open_dir(Path::new("e")));
    assert_eq!(inner.file_system(), told, "a directory in it");
    ok("remove_dir", opened.remove_dir(Path::new("e")));
    ok("remove_dir", vfs.remove_dir(&d));
    assert_eq!(opened.file_system(), told, "a directory that was removed");
}

/// Where names are resolved by path (not on Unix), a directory that is made anew is taken for it.
pub(super) fn a_directory_that_was_removed_holds_no_names(vfs: &dyn Vfs, dir: &Path) {
    let (d, f) = (dir.join("d"), Path::new("f"));
    ok("create_dir", vfs.create_dir(&d));
    let opened = ok("open_dir", vfs.open_dir(&d));
    ok("remove_dir", vfs.remove_dir(&d));
    if cfg!(unix) {
        ok("create_dir under the same name", vfs.create_dir(&d));
        put(vfs, &d.join("f"), b"another's");
    }
    fails("open", opened.open(f, Access::Read), NotFound);
    fails("create", opened.create(f), NotFound);
    fails("create", opened.create(Path::new("g")), NotFound);
    fails("stat", opened.stat(f), NotFound);
    fails("remove", opened.remove(f), NotFound);
    fails("create_dir", opened.create_dir(Path::new("e")), NotFound);
    fails("lock", opened.lock(f, LockKind::Shared), NotFound);
    fails("rename", opened.rename(f, Path::new("g")), NotFound);
    if cfg!(unix) {
        assert_eq!(content_at(vfs, &d.join("f")), b"another's");
        assert_eq!(listing(vfs, &d).len(), 1);
    }
}

pub(super) fn stat_tells_kind_and_identity(vfs: &dyn Vfs, dir: &Path) {
    let (f, d) = (dir.join("f"), dir.join("d"));
    let file = put(vfs, &f, b"bytes");
    ok("create_dir", vfs.create_dir(&d));
    let found = ok("stat of a file", vfs.stat(&f));
    assert_eq!((found.kind, found.id), (FileKind::File, ok("id", file.id())));
    ok("set_len", file.set_len(9000));
    assert_eq!(ok("stat of a longer file", vfs.stat(&f)), found);
    let found = ok("stat of a directory", vfs.stat(&d));
    assert_eq!(found.kind, FileKind::Dir);
    assert_ne!(found.id, ok("id", file.id()));
    fails("stat of what is missing", vfs.stat(&dir.join("x")), NotFound);
    fails("stat in what is missing", vfs.stat(&dir.join("x/f")), NotFound);
    fails("stat through a file", vfs.stat(&f.join("x")), NotADirectory);
}

pub(super) fn an_identity_follows_the_file_and_not_its_name(vfs: &dyn Vfs, dir: &Path) {
    let (a, b) = (dir.join("a"), dir.join("b"));
    let first = put(vfs, &a, b"first");
    let id = ok("id", first.id());
    ok("rename", vfs.rename(&a, &b));
    let second = put(vfs, &a, b"second");
    assert_eq!(ok("stat", vfs.stat(&b)).id, id);
    assert_ne!(ok("id", second.id()), id, "two files that exist");
    ok("rename over the first", vfs.rename(&a, &b));
    assert_eq!(ok("stat", vfs.stat(&b)).id, ok("id", second.id()));
    assert_eq!(ok("id", first.id()), id, "a file without a name keeps it while it is open");
    let third = put(vfs, &a, b"third");
    assert_ne!(ok("id", third.id()), id, "and nobody else gets it");
    let again = ok("open", vfs.open(&a, Access::Read));
    assert_eq!(ok("id of another handle", again.id()), ok("id", third.id()));
}
