//! Names relative to a directory that is open: `openat` and its kin.
//!
//! Invariants: a path is resolved once for each call, from the descriptor of the directory; each
//! method is one system call, and at most a question that makes the kind of its error the same on
//! every platform; a call that a signal interrupted is repeated.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

use crate::{Access, DirEntry, FileId, FileKind, FileSystem, Stat, lack_of_inodes};

/// A directory that names are relative to.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    /// `None` is the working directory, whichever that is at the time of the call.
    dir: Option<Arc<OwnedFd>>,
}

/// To the medium itself: `F_FULLFSYNC` on Apple, `fsync` elsewhere.
fn sync_all(dir: &OwnedFd) -> rustix::io::Result<()> {
    #[cfg(target_vendor = "apple")]
    return rustix::fs::fcntl_fullfsync(dir);
    #[cfg(not(target_vendor = "apple"))]
    rustix::fs::fsync(dir)
}

impl Names {
    /// Relative to the working directory of the process.
    pub(super) const fn of_process() -> Self {
        Names { dir: None }
    }

    fn fd(&self) -> BorrowedFd<'_> {
        match &self.dir {
            Some(dir) => dir.as_fd(),
            None => CWD,
        }
    }

    fn open_at(&self, path: &Path, flags: OFlags, mode: Mode) -> rustix::io::Result<OwnedFd> {
        retry_on_intr(|| rustix::fs::openat(self.fd(), path, flags | OFlags::CLOEXEC, mode))
    }

    pub(super) fn open_dir(&self, path: &Path) -> io::Result<Self> {
        let dir = self.open_at(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
        Ok(Names { dir: Some(Arc::new(dir)) })
    }

    /// The mark of the file system, which is 32 bits wide in a field whose width and sign differ.
    /// An error of the question is an answer that is not known.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub(super) fn file_system(&self) -> FileSystem {
        let Some(dir) = &self.dir else { return FileSystem::Unknown };
        match retry_on_intr(|| rustix::fs::fstatfs(dir)) {
            Ok(found) => FileSystem::from_linux_magic(found.f_type as u32),
            Err(_) => FileSystem::Unknown,
        }
    }

    /// Elsewhere there is no such mark.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    pub(super) fn file_system(&self) -> FileSystem {
        FileSystem::Unknown
    }

    /// Opens an existing file, and never a directory.
    pub(super) fn open(&self, path: &Path, access: Access) -> io::Result<File> {
        let flags = match access {
            Access::Read => OFlags::RDONLY,
            Access::ReadWrite => OFlags::RDWR,
        };
        // A named pipe would keep the opening waiting for its other end.
        let opened = self.open_at(path, flags | OFlags::NONBLOCK | OFlags::NOCTTY, Mode::empty());
        let file = File::from(opened.map_err(|errno| self.name_the_directory(errno, path))?);
        // A directory can be opened for reading.
        if file.metadata()?.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        Ok(file)
    }

    pub(super) fn create(&self, path: &Path) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        let created = self.open_at(path, flags, Mode::from_raw_mode(0o666));
        Ok(created.map_err(|errno| self.name_the_lack(errno))?.into())
    }

    pub(super) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.refuse_directory(from)?;
        retry_on_intr(|| rustix::fs::renameat(self.fd(), from, self.fd(), to)).map_err(|errno| {
            match errno {
                Errno::NOSPC => self.name_the_lack(errno),
                _ => self.name_the_directory(errno, to),
            }
        })
    }

    pub(super) fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.refuse_directory(from)?;
        let link = || rustix::fs::linkat(self.fd(), from, self.fd(), to, AtFlags::empty());
        retry_on_intr(link).map_err(|errno| self.name_the_lack(errno))
    }

    pub(super) fn remove(&self, path: &Path) -> io::Result<()> {
        retry_on_intr(|| rustix::fs::unlinkat(self.fd(), path, AtFlags::empty()))
            .map_err(|errno| self.name_the_directory(errno, path))
    }

    pub(super) fn remove_dir(&self, path: &Path) -> io::Result<()> {
        Ok(retry_on_intr(|| rustix::fs::unlinkat(self.fd(), path, AtFlags::REMOVEDIR))?)
    }

    pub(super) fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mode = Mode::from_raw_mode(0o777);
        let made = retry_on_intr(|| rustix::fs::mkdirat(self.fd(), path, mode));
        made.map_err(|errno| self.name_the_lack(errno))
    }

    pub(super) fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let dir = self.open_at(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
        let (mut dir, mut entries) = (Dir::new(dir)?, Vec::new());
        while let Some(entry) = dir.read() {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            let kind = match entry.file_type() {
                // Some file systems do not tell.
                FileType::Unknown => {
                    match rustix::fs::statat(dir.fd()?, name, AtFlags::SYMLINK_NOFOLLOW) {
                        Ok(found) => kind(&found),
                        // It was removed since the directory was read.
                        Err(Errno::NOENT) => continue,
                        Err(errno) => return Err(errno.into()),
                    }
                }
                known => kind_of(known),
            };
            entries.push(DirEntry { name: name.to_owned(), kind });
        }
        Ok(entries)
    }

    pub(super) fn sync_dir(&self, path: &Path) -> io::Result<()> {
        // The directory itself is open already: that takes no descriptor and no permission more.
        if let (Some(dir), true) = (&self.dir, path == Path::new(".")) {
            return Ok(retry_on_intr(|| sync_all(dir))?);
        }
        let dir = self.open_at(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
        // `F_FULLFSYNC` on Apple, `fsync` elsewhere.
        File::from(dir).sync_all()
    }

    // The widths and signs of a `stat`'s fields differ by platform.
    #[allow(clippy::unnecessary_cast)]
    pub(super) fn stat(&self, path: &Path) -> io::Result<Stat> {
        let found =
            retry_on_intr(|| rustix::fs::statat(self.fd(), path, AtFlags::SYMLINK_NOFOLLOW))?;
        let id = FileId { device: found.st_dev as u64, inode: found.st_ino as u64 };
        Ok(Stat { id, kind: kind(&found) })
    }

    fn is_directory(&self, path: &Path) -> rustix::io::Result<bool> {
        let found = rustix::fs::statat(self.fd(), path, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(kind(&found) == FileKind::Dir)
    }

    /// Fails if `path` is a directory, or does not exist.
    fn refuse_directory(&self, path: &Path) -> io::Result<()> {
        match self.is_directory(path)? {
            true => Err(io::ErrorKind::IsADirectory.into()),
            false => Ok(()),
        }
    }

    /// Of a call that makes a name: whether the full disk lacks inodes. A file system that counts
    /// none (btrfs) has no limit of them, and the directory itself tells of which one it is.
    fn name_the_lack(&self, errno: Errno) -> io::Error {
        let has_none = |found: &rustix::fs::StatVfs| found.f_files > 0 && found.f_favail == 0;
        let is_full = errno == Errno::NOSPC;
        let counted = self.dir.as_ref().filter(|_| is_full).map(rustix::fs::fstatvfs);
        match counted {
            Some(Ok(found)) if has_none(&found) => lack_of_inodes(),
            _ => errno.into(),
        }
    }

    /// Turns a refusal that stems from `path` being a directory into `IsADirectory`: removing one
    /// is `EPERM` on Apple, and on Linux renaming a file onto a directory above it is "directory
    /// not empty".
    fn name_the_directory(&self, errno: Errno, path: &Path) -> io::Error {
        let refused = matches!(errno, Errno::ACCESS | Errno::PERM | Errno::NOTEMPTY | Errno::EXIST);
        if refused && self.is_directory(path) == Ok(true) {
            return io::ErrorKind::IsADirectory.into();
        }
        errno.into()
    }
}

fn kind(found: &rustix::fs::Stat) -> FileKind {
    kind_of(FileType::from_raw_mode(found.st_mode))
}

fn kind_of(found: FileType) -> FileKind {
    match found {
        FileType::RegularFile => FileKind::File,
        FileType::Directory => FileKind::Dir,
        _ => FileKind::Other,
    }
}

#[cfg(all(test, any(target_os = "linux", target_os = "android")))]
mod tests {
    #![allow(clippy::unwrap_used)] // a test that fails says so

    use super::*;

    fn told(path: &Path) -> FileSystem {
        Names::of_process().open_dir(path).unwrap().file_system()
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    fn mark(path: &Path) -> u32 {
        rustix::fs::statfs(path).unwrap().f_type as u32
    }

    #[test]
    fn a_directory_that_is_open_tells_the_file_system_that_statfs_tells() {
        let dir = tempfile::tempdir().unwrap();
        for path in [dir.path(), Path::new("/"), Path::new("/dev/shm"), Path::new("/proc")] {
            // Not every machine has all of them.
            if path.is_dir() {
                assert_eq!(told(path), FileSystem::from_linux_magic(mark(path)), "{path:?}");
            }
        }
        // What a Linux kernel serves itself is no place for a store.
        if mark(Path::new("/proc")) == 0x9fa0 {
            assert_eq!(told(Path::new("/proc")), FileSystem::Unknown);
        }
        if mark(Path::new("/dev/shm")) == 0x0102_1994 {
            assert_eq!(told(Path::new("/dev/shm")), FileSystem::Tmpfs);
        }
    }

    #[test]
    fn the_file_system_is_that_of_the_directory_and_not_of_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let (path, moved) = (dir.path().join("d"), dir.path().join("e"));
        std::fs::create_dir(&path).unwrap();
        let opened = Names::of_process().open_dir(&path).unwrap();
        let before = opened.file_system();
        std::fs::rename(&path, moved).unwrap();
        std::os::unix::fs::symlink("/proc", &path).unwrap();
        assert_eq!(opened.file_system(), before);
        assert_eq!(told(&path), FileSystem::from_linux_magic(mark(Path::new("/proc"))));
    }

    #[test]
    fn what_stands_for_no_directory_or_cannot_be_asked_tells_nothing_and_fails_nothing() {
        assert_eq!(Names::of_process().file_system(), FileSystem::Unknown);
        // A descriptor that only names a place cannot be read, and is asked all the same.
        let place = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
        let names = Names { dir: Some(Arc::new(place)) };
        assert_eq!(names.file_system(), FileSystem::from_linux_magic(mark(Path::new("/"))));
    }
}
