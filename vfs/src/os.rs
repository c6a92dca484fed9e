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
//! | `file_system` | `fstatfs` | `Unknown` | `Unknown` | `Unknown` |
//! | `file_bytes_max` | `getrlimit` | `getrlimit` | `getrlimit` | no limit |
//!
//! The standard library's `sync_data` and `sync_all` both ask for `F_FULLFSYNC` on Apple (read
//! in its source: `sys/fs/unix.rs`, `os_datasync` and `os_fsync`), so the drive's own cache is
//! flushed as well. It repeats a sync that a signal interrupted, and no other.
//!
//! Names are taken from a directory that was opened (`os/at.rs`, by `openat` and its kin), or,
//! where a platform has no such calls, from its absolute path (`os/by_path.rs`): there nothing
//! holds a directory that is renamed, but Windows refuses to rename one in which a file is open.
//!
//! Deliberately absent:
//! - Apple's preallocation: there, the only safe wrapper sets the file's length afterwards, and
//!   would cut a file that another handle had just made longer.
//! - Durable names on Windows: directories cannot be synced there, and the standard library's
//!   rename does not ask to write through. What [`Vfs::sync_dir`] promises, NTFS's journal
//!   gives on its own schedule. A lock there also keeps others from reading and writing.
//! - Names of file systems on Apple and the BSDs, whose `statfs` has them: what would follow from
//!   them was never measured.
//!
//! The contract suite was run on Linux only (ext4 and tmpfs). What stands here about Apple and
//! Windows comes from documentation and the sources of the standard library.
#![allow(clippy::disallowed_types, reason = "this file is the one home of the real files")]

#[cfg(unix)]
mod at;
#[cfg(any(not(unix), test))]
mod by_path;

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

#[cfg(unix)]
use at::Names;
#[cfg(not(unix))]
use by_path::Names;

use crate::fork::Birth;
use crate::{
    Access, DirEntry, FILE_BYTES_MAX, FileId, FileSystem, LockKind, Stat, Vfs, VfsFile, VfsLock,
    check_range,
};

/// How often, and after which pause, a lock is tried again that seems to be held: a process that
/// another thread starts just now has a copy of every descriptor until its `exec` closes it.
const LOCK_TRIES: u32 = 10;
const LOCK_PAUSE: Duration = Duration::from_millis(1);

/// The real file system, as the operating system presents it; or, from [`Vfs::open_dir`], a
/// directory of it that is open.
///
/// [`OsVfs::new`] holds no state: relative paths start at the working directory. Symbolic links
/// are followed by [`Vfs::open`], [`Vfs::open_dir`] and [`Vfs::lock`], and are
/// [`FileKind::Other`](crate::FileKind::Other) where they are listed.
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
#[derive(Clone, Debug, Default)]
pub struct OsVfs {
    names: Names,
    birth: Option<Birth>,
}

impl OsVfs {
    /// The real file system.
    pub const fn new() -> Self {
        OsVfs { names: Names::of_process(), birth: None }
    }

    /// Opens a file and locks it, once.
    fn try_lock(&self, path: &Path, kind: LockKind) -> io::Result<OsLock> {
        let (file, access) = match kind {
            LockKind::Shared => (self.names.open(path, Access::Read)?, Access::Read),
            // NFS makes an exclusive flock of a byte-range lock, which wants a writable
            // handle; every other file system takes either.
            LockKind::Exclusive => match self.names.open(path, Access::ReadWrite) {
                Err(error) if is_read_only(&error) => {
                    (self.names.open(path, Access::Read)?, Access::Read)
                }
                opened => (opened?, Access::ReadWrite),
            },
        };
        match kind {
            LockKind::Shared => file.try_lock_shared()?,
            LockKind::Exclusive => file.try_lock()?,
        }
        Ok(OsLock { file: OsFile { file, access } })
    }
}

impl Vfs for OsVfs {
    fn open_dir(&self, path: &Path) -> io::Result<Arc<dyn Vfs>> {
        let names = self.names.open_dir(path)?;
        Ok(Arc::new(OsVfs { names, birth: Some(Birth::now()) }))
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        self.names.stat(path)
    }

    fn is_inherited(&self) -> bool {
        self.birth.as_ref().is_some_and(Birth::is_inherited)
    }

    fn file_system(&self) -> FileSystem {
        self.names.file_system()
    }

    fn file_bytes_max(&self) -> u64 {
        #[cfg(unix)]
        let limit = rustix::process::getrlimit(rustix::process::Resource::Fsize).current;
        #[cfg(not(unix))]
        let limit = None;
        limit.map_or(FILE_BYTES_MAX, |limit: u64| limit.min(FILE_BYTES_MAX))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn VfsFile>> {
        Ok(Arc::new(OsFile { file: self.names.open(path, access)?, access }))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        Ok(Arc::new(OsFile { file: self.names.create(path)?, access: Access::ReadWrite }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.names.rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.names.link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.names.remove(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.names.remove_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.names.list(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.names.create_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.names.sync_dir(path)
    }

    #[cfg(target_os = "linux")]
    fn lock_owner(&self, path: &Path) -> Option<u32> {
        let locks = std::fs::read_to_string("/proc/locks").ok()?;
        owner_in(&locks, self.stat(path).ok()?.id)
    }

    #[expect(clippy::disallowed_methods, reason = "the pause is the operating system's, no step")]
    fn lock(&self, path: &Path, kind: LockKind) -> io::Result<Box<dyn VfsLock>> {
        let mut tries = 1;
        loop {
            match self.try_lock(path, kind) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && tries < LOCK_TRIES => {
                    tries += 1;
                    std::thread::sleep(LOCK_PAUSE);
                }
                locked => return Ok(Box::new(locked?)),
            }
        }
    }
}

/// The process that holds an exclusive `flock` on a file, by the kernel's list of all locks. It
/// names a process of another namespace 0.
#[cfg(target_os = "linux")]
fn owner_in(locks: &str, id: FileId) -> Option<u32> {
    let (major, minor) = (rustix::fs::major(id.device), rustix::fs::minor(id.device));
    let file = format!("{major:02x}:{minor:02x}:{}", id.inode);
    let pid = locks.lines().find_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let is_held = fields.next() == Some("FLOCK") && fields.nth(1) == Some("WRITE");
        let pid = fields.next()?;
        (is_held && fields.next() == Some(file.as_str())).then_some(pid)
    });
    pid?.parse().ok().filter(|pid| *pid != 0)
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

    fn id(&self) -> io::Result<FileId> {
        Ok(id_of(&self.file.metadata()?))
    }
}

/// Which file it is. Windows tells it to nobody but the owner of a handle, so there it is the
/// moment of its creation, in units of 100 ns: an open file keeps its name there.
fn id_of(metadata: &std::fs::Metadata) -> FileId {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        FileId { device: metadata.dev(), inode: metadata.ino() }
    }
    #[cfg(windows)]
    {
        use std::os::windows::fs::MetadataExt;
        FileId { device: 0, inode: metadata.creation_time() }
    }
}

/// A held lock. It is given up by closing its file, never in so many words: the lock belongs to
/// the open file description, and a forked child that unlocked its copy would unlock its parent's.
#[derive(Debug)]
struct OsLock {
    file: OsFile,
}

impl VfsLock for OsLock {
    fn file(&self) -> &dyn VfsFile {
        &self.file
    }
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

    #[cfg(target_os = "linux")]
    #[test]
    fn the_owner_of_an_exclusive_lock_is_found_by_device_and_file() {
        let locks = "1: POSIX  ADVISORY  WRITE 11 fd:00:77 0 EOF\n\
                     2: FLOCK  ADVISORY  READ  12 fd:00:77 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 13 fd:00:77 0 EOF\n\
                     3: FLOCK  ADVISORY  WRITE 14 fd:01:77 0 EOF\n\
                     4: FLOCK  ADVISORY  WRITE 15 fd:00:77 0 EOF\n\
                     5: FLOCK  ADVISORY  WRITE 0 fd:00:78 0 EOF\n";
        let id = |inode| FileId { device: rustix::fs::makedev(0xfd, 0), inode };
        assert_eq!(owner_in(locks, id(77)), Some(15));
        assert_eq!(owner_in(locks, id(78)), None, "a process of another namespace");
        assert_eq!(owner_in(locks, id(79)), None);

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("LOCK");
        File::create(&path).unwrap();
        let held = OsVfs::new().lock(&path, LockKind::Exclusive).unwrap();
        // Where the kernel's list cannot be read, nothing is told.
        if let Some(owner) = OsVfs::new().lock_owner(&path) {
            assert_eq!(owner, std::process::id());
        }
        drop(held);
        assert_eq!(OsVfs::new().lock_owner(&path), None);
    }

    #[test]
    fn a_lock_lives_as_long_as_any_descriptor_of_its_opening_and_no_longer() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("LOCK");
        File::create(&path).unwrap();
        let held = OsVfs::new().try_lock(&path, LockKind::Exclusive).unwrap();
        // What a forked child has.
        let inherited = held.file.file.try_clone().unwrap();
        drop(held);
        let refused = OsVfs::new().lock(&path, LockKind::Exclusive).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
        drop(inherited);
        OsVfs::new().lock(&path, LockKind::Exclusive).unwrap();
    }
}
