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

use crate::{Access, DirEntry, FileId, FileKind, Stat};

/// A directory that names are relative to.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    /// `None` is the working directory, whichever that is at the time of the call.
    dir: Option<Arc<OwnedFd>>,
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
        Ok(self.open_at(path, flags, Mode::from_raw_mode(0o666))?.into())
    }

    pub(super) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.refuse_directory(from)?;
        retry_on_intr(|| rustix::fs::renameat(self.fd(), from, self.fd(), to))
            .map_err(|errno| self.name_the_directory(errno, to))
    }

    pub(super) fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.refuse_directory(from)?;
        let link = || rustix::fs::linkat(self.fd(), from, self.fd(), to, AtFlags::empty());
        Ok(retry_on_intr(link)?)
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
        Ok(retry_on_intr(|| rustix::fs::mkdirat(self.fd(), path, mode))?)
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
