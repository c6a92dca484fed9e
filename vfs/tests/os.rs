//! What is particular to the real disk. The contract itself is checked in `contract.rs`.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test may panic, also in its helpers")]

use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use runstone_vfs::{Access, DirEntry, FileKind, LockKind, OsVfs, Vfs, read_full_at, write_all_at};

/// The engine deletes files of its own naming: what is no file must not look like one.
#[test]
fn what_is_neither_file_nor_directory_is_listed_as_other() {
    let dir = tempfile::tempdir().unwrap();
    let vfs = OsVfs::new();
    vfs.create(&dir.path().join("file")).unwrap();
    vfs.create_dir(&dir.path().join("dir")).unwrap();
    for target in ["file", "dir", "nothing"] {
        symlink(dir.path().join(target), dir.path().join(format!("to_{target}"))).unwrap();
    }
    let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();

    let mut found = vfs.list(dir.path()).unwrap();
    found.sort();
    let entry = |name: &str, kind| DirEntry { name: name.into(), kind };
    let expected = [
        entry("dir", FileKind::Dir),
        entry("file", FileKind::File),
        entry("socket", FileKind::Other),
        entry("to_dir", FileKind::Other),
        entry("to_file", FileKind::Other),
        entry("to_nothing", FileKind::Other),
    ];
    assert_eq!(found, expected);
}

/// Removing and renaming act on a symbolic link, not on what it leads to.
#[test]
fn a_symbolic_link_to_a_directory_is_removed_like_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let vfs = OsVfs::new();
    let (target, link) = (dir.path().join("dir"), dir.path().join("link"));
    vfs.create_dir(&target).unwrap();
    symlink(&target, &link).unwrap();
    vfs.rename(&link, &dir.path().join("renamed")).unwrap();
    vfs.remove(&dir.path().join("renamed")).unwrap();
    assert_eq!(vfs.list(dir.path()).unwrap().len(), 1);
    assert!(vfs.list(&target).unwrap().is_empty());
}

#[test]
fn a_file_without_write_permission_can_be_locked() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("LOCK");
    let vfs = OsVfs::new();
    vfs.create(&path).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o444)).unwrap();
    for kind in [LockKind::Shared, LockKind::Exclusive] {
        drop(vfs.lock(&path, kind).unwrap());
    }
}

/// The same lock between processes: `flock(1)` of util-linux uses the same system call.
#[cfg(target_os = "linux")]
#[test]
fn a_lock_excludes_other_processes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("LOCK");
    let vfs = OsVfs::new();
    vfs.create(&path).unwrap();
    let other = |mode: &str| {
        let mut command = Command::new("flock");
        command.args([mode, "--nonblock"]).arg(&path).arg("true");
        command.stderr(Stdio::null()).status().map(|status| status.success())
    };
    if other("--exclusive").is_err() {
        eprintln!("skipped: there is no flock(1) here");
        return;
    }
    let held = vfs.lock(&path, LockKind::Exclusive).unwrap();
    assert!(!other("--shared").unwrap());
    drop(held);
    let held = vfs.lock(&path, LockKind::Shared).unwrap();
    assert!(other("--shared").unwrap());
    assert!(!other("--exclusive").unwrap());
    drop(held);
    assert!(other("--exclusive").unwrap());
}

/// Reserving must reserve: a file that was only made longer would run into a full disk later.
#[cfg(target_os = "linux")]
#[test]
fn allocate_takes_space_from_the_disk() {
    use std::os::unix::fs::MetadataExt;

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("000001.log");
    let file = OsVfs::new().create(&path).unwrap();
    match file.allocate(0, 1 << 20) {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => {}
        done => {
            done.unwrap();
            assert!(std::fs::metadata(&path).unwrap().blocks() * 512 >= 1 << 20);
        }
    }
}

/// `/dev/full` refuses every write as a full disk does.
#[cfg(target_os = "linux")]
#[test]
fn a_full_device_is_a_full_disk() {
    let file = OsVfs::new().open(Path::new("/dev/full"), Access::ReadWrite).unwrap();
    let error = write_all_at(&*file, b"bytes", 0).unwrap_err();
    assert!(runstone_vfs::is_disk_full(&error), "{error}");
}

#[test]
fn positions_beyond_four_gib_are_exact() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sparse");
    let file = OsVfs::new().create(&path).unwrap();
    let pos = 5 << 30;
    write_all_at(&*file, b"far away", pos).unwrap();
    assert_eq!(file.len().unwrap(), pos + 8);
    let mut found = [1; 16];
    assert_eq!(read_full_at(&*file, &mut found, pos - 8).unwrap(), 16);
    assert_eq!(&found, b"\0\0\0\0\0\0\0\0far away");
}

/// A store's directory may be renamed, replaced or reached by another link while it is open.
#[test]
fn an_open_directory_is_followed_whatever_becomes_of_its_name_and_of_links_to_it() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    std::fs::create_dir(at("one")).unwrap();
    std::fs::create_dir(at("two")).unwrap();
    symlink(at("one"), at("link")).unwrap();
    let opened = OsVfs::new().open_dir(&at("link")).unwrap();
    std::fs::remove_file(at("link")).unwrap();
    symlink(at("two"), at("link")).unwrap();
    opened.create(Path::new("a")).unwrap();
    std::fs::rename(at("one"), at("moved")).unwrap();
    std::fs::create_dir(at("one")).unwrap();
    opened.rename(Path::new("a"), Path::new("b")).unwrap();
    opened.sync_dir(Path::new(".")).unwrap();
    assert!(at("moved/b").exists());
    assert_eq!(std::fs::read_dir(at("one")).unwrap().count(), 0);
    assert_eq!(std::fs::read_dir(at("two")).unwrap().count(), 0);
}

/// Opening a named pipe for reading would wait for a writer for ever.
#[test]
fn a_named_pipe_keeps_nobody_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pipe");
    if !Command::new("mkfifo").arg(&path).status().is_ok_and(|status| status.success()) {
        eprintln!("skipped: there is no mkfifo(1) here");
        return;
    }
    assert_eq!(OsVfs::new().stat(&path).unwrap().kind, FileKind::Other);
    OsVfs::new().open(&path, Access::Read).unwrap();
}
