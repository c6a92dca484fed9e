//! The real file system: the only place of the library crates that names `std::fs`.
//!
//! Invariants:
//! - Nothing is cached between calls: each method is the system call of its name, and at most
//!   a question that makes the kind of its error the same on every platform.
//! - No error is repaired or hidden. In particular, no sync is repeated after a failure.
//! - Errors bear no path; the caller knows it and adds it.
//!
//! Platforms:
//!
//! | | Linux, Android | Apple | other Unix | Windows |
//! |---|---|---|---|---|
//! | `sync` | `fdatasync` (data and size) | `F_FULLFSYNC` | `fdatasync` or `fsync` | `FlushFileBuffers` |
//! | `sync_dir` | `fsync` | `F_FULLFSYNC` | `fsync` | nothing |
//! | `write_vectored_at` | `pwritev` | `pwritev` | first slice (FreeBSD: `pwritev`) | first slice |
//! | `allocate` | `fallocate` | `Unsupported` | `Unsupported` | `Unsupported` |
//! | `lock` | `flock` | `flock` | `flock` | `LockFileEx` |
//!
//! The standard library's `sync_data` and `sync_all` both ask for `F_FULLFSYNC` on Apple (read
//! in its source: `sys/fs/unix.rs`, `os_datasync` and `os_fsync`), so the drive's own cache is
//! flushed as well. It repeats a sync that a signal interrupted, and no other.
//!
//! Deliberately absent:
//! - Apple's preallocation: there, the only safe wrapper sets the file's length afterwards, and
//!   would cut a file that another handle had just made longer.
//! - Durable names on Windows: directories cannot be synced there, and the standard library's
//!   rename does not ask to write through. What [`Vfs::sync_dir`] promises, NTFS's journal
//!   gives on its own schedule. A lock there also keeps others from reading and writing.
//!
//! The contract suite was run on Linux only (ext4 and tmpfs). What stands here about Apple and
//! Windows comes from documentation and the sources of the standard library.
#![allow(clippy::disallowed_types, reason = "this file is the one home of the real files")]

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::{Access, DirEntry, FileKind, LockKind, Vfs, VfsFile, VfsLock, check_range};

/// The real file system, as the operating system presents it.
///
/// It holds no state: every value is the same file system. Symbolic links are followed by
/// [`Vfs::open`] and [`Vfs::lock`], and listed as [`FileKind::Other`].
///
/// [`VfsFile::sync`] through a handle that was opened with [`Access::Read`] works on Unix, and
/// is `PermissionDenied` on Windows.
///
/// ```
/// use runstone_vfs::{Access, OsVfs, Vfs, VfsFile, read_full_at, write_all_at};
///
/// # fn main() -> std::io::Result<()> {
/// let dir = tempfile::tempdir()?;
/// let vfs = OsVfs::new();
/// let path = dir.path().join("000001.log");
///
/// let file = vfs.create(&path)?;
/// write_all_at(&*file, b"first commit", 0)?;
/// file.sync()?; // the content, then
/// vfs.sync_dir(dir.path())?; // the name
///
/// let mut found = [0; 32];
/// let n = read_full_at(&*vfs.open(&path, Access::Read)?, &mut found, 6)?;
/// assert_eq!(&found[..n], b"commit");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct OsVfs;

impl OsVfs {
    /// The real file system.
    pub const fn new() -> Self {
        OsVfs
    }
}

impl Vfs for OsVfs {
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn VfsFile>> {
        Ok(Arc::new(OsFile { file: open_file(path, access)?, access }))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        Ok(Arc::new(OsFile { file, access: Access::ReadWrite }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        refuse_directory(from)?;
        fs::rename(from, to).map_err(|error| name_the_directory(error, to))
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        refuse_directory(from)?;
        fs::hard_link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path).map_err(|error| name_the_directory(error, path))
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let kind = match entry.file_type() {
                Ok(kind) if kind.is_file() => FileKind::File,
                Ok(kind) if kind.is_dir() => FileKind::Dir,
                Ok(_) => FileKind::Other,
                // It was removed since the directory was read.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            entries.push(DirEntry { name: entry.file_name(), kind });
        }
        Ok(entries)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        if !fs::metadata(path)?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        #[cfg(unix)]
        File::open(path)?.sync_all()?;
        Ok(())
    }

    fn lock(&self, path: &Path, kind: LockKind) -> io::Result<Box<dyn VfsLock>> {
        let file = match kind {
            LockKind::Shared => open_file(path, Access::Read)?,
            // NFS makes an exclusive flock of a byte-range lock, which wants a writable
            // handle; every other file system takes either.
            LockKind::Exclusive => match open_file(path, Access::ReadWrite) {
                Err(error) if is_read_only(&error) => open_file(path, Access::Read)?,
                opened => opened?,
            },
        };
        match kind {
            LockKind::Shared => file.try_lock_shared()?,
            LockKind::Exclusive => file.try_lock()?,
        }
        Ok(Box::new(OsLock { file }))
    }
}

/// A file of the operating system, and what its handle may do.
#[derive(Debug)]
struct OsFile {
    file: File,
    access: Access,
}

impl OsFile {
    /// The operating systems disagree about the error of a write through a read-only handle
    /// (`EBADF`, `EINVAL`, access denied), so it never gets that far.
    fn check_write(&self, pos: u64, len: u64) -> io::Result<()> {
        self.access.check_write()?;
        check_range(pos, len)
    }
}

impl VfsFile for OsFile {
    fn read_at(&self, buf: &mut [u8], pos: u64) -> io::Result<usize> {
        check_range(pos, buf.len() as u64)?;
        #[cfg(unix)]
        return std::os::unix::fs::FileExt::read_at(&self.file, buf, pos);
        #[cfg(windows)]
        return std::os::windows::fs::FileExt::seek_read(&self.file, buf, pos);
    }

    fn write_at(&self, buf: &[u8], pos: u64) -> io::Result<usize> {
        self.check_write(pos, buf.len() as u64)?;
        #[cfg(unix)]
        return std::os::unix::fs::FileExt::write_at(&self.file, buf, pos);
        #[cfg(windows)]
        return std::os::windows::fs::FileExt::seek_write(&self.file, buf, pos);
    }

    #[cfg(any(
        target_os = "linux",
        target_os = "android",
        target_os = "freebsd",
        target_vendor = "apple"
    ))]
    fn write_vectored_at(&self, bufs: &[io::IoSlice<'_>], pos: u64) -> io::Result<usize> {
        self.check_write(pos, bufs.iter().map(|buf| buf.len() as u64).sum())?;
        // One call takes about a thousand slices: if empty ones filled it, it would answer 0
        // although bytes remain.
        let first = bufs.iter().position(|buf| !buf.is_empty()).unwrap_or(bufs.len());
        match bufs.get(first..) {
            Some(bufs) if !bufs.is_empty() => Ok(rustix::io::pwritev(&self.file, bufs, pos)?),
            _ => Ok(0),
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check_write(0, len)?;
        self.file.set_len(len)
    }

    fn allocate(&self, pos: u64, len: u64) -> io::Result<()> {
        self.check_write(pos, len)?;
        if len == 0 {
            return Ok(());
        }
        allocate(&self.file, pos, len)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }
}

/// A held lock, given up in so many words when it is dropped. Closing the file would not do: the
/// lock belongs to the open file description, of which a process that another thread is starting
/// just now holds a second descriptor until its `exec` closes it.
#[derive(Debug)]
struct OsLock {
    file: File,
}

impl VfsLock for OsLock {}

impl Drop for OsLock {
    fn drop(&mut self) {
        // If it fails, the lock goes when the last descriptor of the file is closed.
        self.file.unlock().ok();
    }
}

/// Opens an existing file, and never a directory.
fn open_file(path: &Path, access: Access) -> io::Result<File> {
    let write = access == Access::ReadWrite;
    let file = OpenOptions::new()
        .read(true)
        .write(write)
        .open(path)
        .map_err(|error| name_the_directory(error, path))?;
    // Unix opens a directory for reading.
    if file.metadata()?.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    Ok(file)
}

/// Fails if `path` is a directory, or does not exist.
fn refuse_directory(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    Ok(())
}

/// Turns a refusal that stems from `path` being a directory into `IsADirectory`: removing one
/// is `EPERM` on Apple, on Windows most calls on one are "access denied", and on Linux renaming
/// a file onto a directory above it is "directory not empty".
fn name_the_directory(error: io::Error, path: &Path) -> io::Error {
    let refused =
        matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::DirectoryNotEmpty);
    if refused && fs::symlink_metadata(path).is_ok_and(|found| found.is_dir()) {
        return io::ErrorKind::IsADirectory.into();
    }
    error
}

/// Whether opening for writing failed where opening for reading may succeed.
fn is_read_only(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

/// Reserves disk space and extends the file, but never shortens it.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn allocate(file: &File, pos: u64, len: u64) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    use rustix::io::{Errno, retry_on_intr};

    retry_on_intr(|| fallocate(file, FallocateFlags::empty(), pos, len)).map_err(
        |errno| match errno {
            Errno::OPNOTSUPP | Errno::NOSYS => io::ErrorKind::Unsupported.into(),
            errno => errno.into(),
        },
    )
}

/// See the head of the file.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn allocate(_: &File, _: u64, _: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // a test that fails says so

    use super::*;

    #[test]
    fn a_lock_that_was_dropped_is_free_although_another_descriptor_of_its_file_lives() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("LOCK");
        File::create(&path).unwrap();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        // What a child has between its fork and its exec.
        let inherited = file.try_clone().unwrap();
        file.try_lock().unwrap();
        let held = OsLock { file };
        assert!(OsVfs::new().lock(&path, LockKind::Exclusive).is_err());
        drop(held);
        OsVfs::new().lock(&path, LockKind::Exclusive).unwrap();
        drop(inherited);
    }
}
