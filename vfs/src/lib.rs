//! The file system as Runstone sees it.
//!
//! Everything that the engine does to a disk goes through two object-safe traits, [`Vfs`]
//! (names) and [`VfsFile`] (bytes). That one seam lets a simulator inject crashes, torn
//! writes and lost syncs, lets an embedded database live in memory, and leaves a single
//! place that touches the real disk.
//!
//! # Implementations
//! - [`OsVfs`]: the real file system; the only place of the library crates that names
//!   `std::fs`.
//! - [`MemVfs`]: files in memory, shared by clones; nothing survives the process.
//! - `SimVfs` (crate `runstone-sim`): a disk with a live and a durable image.
//!
//! # What a caller may rely on
//! 1. A write is visible to every later read at once. It is **durable** only after a
//!    [`VfsFile::sync`] that *started after* the write returned, and that returned `Ok`.
//! 2. A name (create, link, rename, remove, a new directory) is durable only after a
//!    [`Vfs::sync_dir`] of the directory that holds it, and only if the file behind it had
//!    been synced before.
//! 3. After a failed sync the truth is unknown: what it would have covered may be on disk
//!    or not, and **later successful syncs do not cover it**. Never retry; write again
//!    elsewhere.
//! 4. Nothing else: neither order between writes, nor between files, nor atomic writes.
//!
//! Paths are interpreted by the implementation, relative to the directory that the value stands
//! for. A path through a file is `NotADirectory` for every method.
//!
//! # A directory is a value
//! [`Vfs::open_dir`] gives a directory that was opened, as a [`Vfs`] of its own: its relative
//! paths start there, whatever becomes of its name. The engine resolves the path of a store once,
//! and from then on knows plain names in that directory only. So a changed working directory, a
//! renamed parent, a link that leads elsewhere or a volume that is mounted later cannot lead its
//! writes into another directory. [`Vfs::stat`] and [`VfsFile::id`] tell whether a name is still
//! that of a file that is open.
//!
//! The observable part of this contract is executable: `contract` (feature `contract`) runs any
//! implementation through it.
//!
//! # Example: replacing a file
//! The steps stand in the order the disk sees them. After a crash between any two of them the
//! manifest is the old or the new one, whole. (The temporary file of an earlier crash must be
//! removed first: [`Vfs::create`] never opens what exists.)
//! ```
//! use std::{io, path::Path};
//! use runstone_vfs::{Access, MemVfs, Vfs, VfsFile, read_full_at, write_all_at};
//!
//! fn replace(vfs: &dyn Vfs, dir: &Path, bytes: &[u8]) -> io::Result<()> {
//!     let temporary = dir.join("MANIFEST.tmp");
//!     let file = vfs.create(&temporary)?;
//!     write_all_at(&*file, bytes, 0)?;
//!     file.sync()?; // the content is durable, then
//!     vfs.rename(&temporary, &dir.join("MANIFEST"))?;
//!     vfs.sync_dir(dir) // the name
//! }
//!
//! # fn main() -> io::Result<()> {
//! let (vfs, dir) = (MemVfs::new(), Path::new("/"));
//! replace(&vfs, dir, b"one")?;
//! replace(&vfs, dir, b"two")?;
//!
//! let mut found = [0; 3];
//! read_full_at(&*vfs.open(Path::new("/MANIFEST"), Access::Read)?, &mut found, 0)?;
//! assert_eq!(&found, b"two");
//! assert_eq!(vfs.list(dir)?.len(), 1);
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

#[cfg(feature = "contract")]
pub mod contract;
mod errors;
mod file_system;
mod fork;
mod mem;
mod os;
mod whole;

use std::ffi::OsString;
use std::fmt::Debug;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

pub use errors::{
    DiskFull, disk_full_cause, is_disk_full, is_link_circle, is_out_of_files, lack_of_inodes,
    may_pass,
};
pub use file_system::FileSystem;
pub use mem::MemVfs;
pub use os::OsVfs;
pub use whole::{read_full_at, write_all_at, write_all_vectored_at};

/// How [`Vfs::open`] opens an existing file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reads, and syncs (which cover the writes of other handles). [`VfsFile::write_at`],
    /// `write_vectored_at`, `set_len` and `allocate` fail with `PermissionDenied`, whatever
    /// their arguments.
    Read,
    /// Reads and writes.
    ReadWrite,
}

impl Access {
    /// For implementations: fails with `PermissionDenied` unless writing is allowed.
    ///
    /// ```
    /// use runstone_vfs::Access;
    ///
    /// assert!(Access::ReadWrite.check_write().is_ok());
    /// let refused = Access::Read.check_write().unwrap_err();
    /// assert_eq!(refused.kind(), std::io::ErrorKind::PermissionDenied);
    /// ```
    pub fn check_write(self) -> io::Result<()> {
        match self {
            Access::Read => Err(io::ErrorKind::PermissionDenied.into()),
            Access::ReadWrite => Ok(()),
        }
    }
}

/// The greatest size of a file in bytes. Every method of [`VfsFile`] refuses a range that ends
/// beyond it with `InvalidInput`.
pub const FILE_BYTES_MAX: u64 = i64::MAX as u64;

/// For implementations: fails with `InvalidInput` if `len` bytes from `pos` end beyond
/// [`FILE_BYTES_MAX`].
///
/// ```
/// use runstone_vfs::{FILE_BYTES_MAX, check_range};
///
/// assert!(check_range(FILE_BYTES_MAX, 0).is_ok());
/// assert!(check_range(FILE_BYTES_MAX, 1).is_err());
/// assert!(check_range(u64::MAX, 0).is_err());
/// ```
pub fn check_range(pos: u64, len: u64) -> io::Result<()> {
    match pos.checked_add(len) {
        Some(end) if end <= FILE_BYTES_MAX => Ok(()),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// Which lock [`Vfs::lock`] takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockKind {
    /// Many holders at once, but no exclusive one.
    Shared,
    /// One holder.
    Exclusive,
}

/// What a directory entry names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// Anything else (a symbolic link, a socket, …). The engine leaves these alone.
    Other,
}

/// One entry of [`Vfs::list`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirEntry {
    /// The name, without its directory.
    pub name: OsString,
    /// What it names.
    pub kind: FileKind,
}

/// Which file or directory it is, whatever its names are. No two that exist at the same time on
/// one file system are equal; a file that has no name and no handle left may hand its identity on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId {
    /// The file system.
    pub device: u64,
    /// The file within it.
    pub inode: u64,
}

/// What a name leads to; see [`Vfs::stat`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Which file or directory.
    pub id: FileId,
    /// What it is.
    pub kind: FileKind,
}

/// A held lock. A crash of the holder releases it.
///
/// Dropping it gives the lock up as soon as no other descriptor of that opening is left: a child
/// that was forked meanwhile has one, and so has, for moments, a process that is being started.
pub trait VfsLock: Send + Sync + Debug {
    /// The file that is locked, through the handle that holds the lock. It can be written if the
    /// lock is exclusive and the medium allows it.
    fn file(&self) -> &dyn VfsFile;
}

/// What holds a file open: its handle, or a lock. A [`Vfs`] that wraps another one gives both a
/// file of its own around it, and needs only one type for that.
///
/// ```
/// use std::path::Path;
/// use runstone_vfs::{HoldsFile, MemVfs, Vfs};
///
/// let handle = MemVfs::new().create(Path::new("/a"))?;
/// assert_eq!(HoldsFile::file(&handle).len()?, 0);
/// # Ok::<(), std::io::Error>(())
/// ```
pub trait HoldsFile: Send + Sync + Debug {
    /// The file that is held open.
    fn file(&self) -> &dyn VfsFile;
}

impl HoldsFile for Arc<dyn VfsFile> {
    fn file(&self) -> &dyn VfsFile {
        &**self
    }
}

impl HoldsFile for Box<dyn VfsLock> {
    fn file(&self) -> &dyn VfsFile {
        (**self).file()
    }
}

/// Names: files and directories.
///
/// Error kinds that every implementation shares, and the contract suite checks:
/// `NotFound` for a missing name or parent, `AlreadyExists` where a new name is taken (by a
/// file or a directory), `NotADirectory` for a file where a directory is needed (the path
/// itself, or on the way), `IsADirectory` for a directory where a file is needed,
/// `DirectoryNotEmpty`, `WouldBlock` for a lock that is held. A full disk is `StorageFull` or
/// `QuotaExceeded`. Where a call takes two paths, what is wrong with the first is reported
/// first.
pub trait Vfs: Send + Sync + Debug {
    /// Opens an existing directory, as a value whose relative paths start there; `.` is the
    /// directory itself, and `..` the one that holds it. Symbolic links on the way are followed.
    ///
    /// The value follows the directory, not its name. Once the directory is removed, every call
    /// on a name in it fails with `NotFound`.
    ///
    /// Errors: `NotFound` (also for an empty path), `NotADirectory`, or the device's. Changes
    /// nothing on disk.
    fn open_dir(&self, path: &Path) -> io::Result<Arc<dyn Vfs>>;

    /// What a name leads to. A symbolic link is not followed: it is [`FileKind::Other`].
    ///
    /// Errors: `NotFound`, or the device's.
    fn stat(&self, path: &Path) -> io::Result<Stat>;

    /// Whether another process has made this value, and the caller is a child that was forked
    /// from it: such a child has a copy of everything in memory, and no right to what it stands
    /// for. Costs no system call.
    fn is_inherited(&self) -> bool;

    /// Which file system the directory lies on that this value stands for; of one that stands for
    /// no directory in particular, and where the system does not tell, [`FileSystem::Unknown`].
    ///
    /// For advice only: whatever the answer, every method keeps its promise.
    fn file_system(&self) -> FileSystem;

    /// The most bytes that a file may have which the caller writes, by a limit of its process
    /// (`ulimit -f`); [`FILE_BYTES_MAX`] where there is none, or the system does not tell.
    ///
    /// Beyond such a limit a call does not only fail: a process that does not ignore `SIGXFSZ` is
    /// ended by it. So whoever writes asks before. The limit of a file system is not among it:
    /// that is told by [`io::ErrorKind::FileTooLarge`] alone.
    fn file_bytes_max(&self) -> u64 {
        FILE_BYTES_MAX
    }

    /// Opens an existing file.
    ///
    /// Errors: `NotFound`, `IsADirectory`, or the device's. Changes nothing on disk.
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn VfsFile>>;

    /// Creates a new, empty file for reading and writing; never opens an existing one.
    ///
    /// After a crash the name may be missing until [`VfsFile::sync`] of the file and then
    /// [`Vfs::sync_dir`] of its directory have returned `Ok`, in this order.
    ///
    /// Errors: `AlreadyExists`, `NotFound` (the directory), a full disk, or the device's.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>>;

    /// Renames a file, replacing the target file if there is one.
    ///
    /// Atomic: at any moment, also after a crash, the target is the old or the new file,
    /// never absent. It orders nothing else: unless the file had been synced before, its
    /// content may be lost while its new name survives. Durable after [`Vfs::sync_dir`] of
    /// both directories. A failed rename may have happened, unless the error is one of those
    /// named below.
    ///
    /// Open handles follow the file, not the name: those of the replaced file still reach it.
    /// If both names are the same file already (one name twice, or two links), nothing changes
    /// and both stay.
    ///
    /// Errors: `NotFound` (the source, or a directory on the way), `IsADirectory` (the source
    /// or the target: directories are never renamed or replaced), or the device's.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives an existing file a second name; never replaces one.
    ///
    /// Both names are equal: the file lives until the last of them is removed. Durable like a
    /// creation.
    ///
    /// Errors: `NotFound` (the source, or a directory on the way), `IsADirectory` (the source),
    /// `AlreadyExists`, a full disk, or the device's.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes the name of a file; open handles stay usable, and the name is free at once.
    ///
    /// Until [`Vfs::sync_dir`] returned `Ok`, a crash may bring the name back, with any of
    /// the file's older contents.
    ///
    /// Errors: `NotFound`, `IsADirectory`, or the device's.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty directory. Durable like [`Vfs::remove`].
    ///
    /// Errors: `NotFound`, `NotADirectory`, `DirectoryNotEmpty`, or the device's.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;

    /// Lists a directory in arbitrary order, without `.` and `..`. Symbolic links are not
    /// followed: they are [`FileKind::Other`].
    ///
    /// Errors: `NotFound`, `NotADirectory`, or the device's.
    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>>;

    /// Creates one directory; its parent must exist.
    ///
    /// After a crash it may be missing until [`Vfs::sync_dir`] of the *parent* returned
    /// `Ok`.
    ///
    /// Errors: `AlreadyExists`, `NotFound`, a full disk, or the device's.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Makes every change of names in this directory durable that happened before the
    /// call, for files whose content had been synced. Says nothing about other
    /// directories, nor about the content of files.
    ///
    /// Errors: `NotFound`, `NotADirectory`, or the device's; a failure of the device is a
    /// failed sync (rule 3 of the crate's head).
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// Takes a lock on an *existing* file without waiting; never creates one, never reads
    /// or writes it. Locks exclude each other also within one process. They belong to the file,
    /// not to the name: a file created anew under the name of a locked one is free. A lock
    /// needs no write permission, so a shared one works on a read-only medium.
    ///
    /// Errors: `WouldBlock` if a conflicting lock is held; `NotFound`; `IsADirectory`; or the
    /// device's.
    fn lock(&self, path: &Path, kind: LockKind) -> io::Result<Box<dyn VfsLock>>;

    /// The process that holds an exclusive lock on a file, where the system tells; for messages.
    fn lock_owner(&self, _path: &Path) -> Option<u32> {
        None
    }
}

/// An open file: positioned reads and writes, no cursor.
///
/// A handle may be used by several threads at once. Dropping it closes the file and syncs
/// nothing. All handles of a file see the same bytes and the same size.
///
/// Error kinds that every implementation shares: `PermissionDenied` for a change through a
/// handle opened with [`Access::Read`], then `InvalidInput` for a range that ends beyond
/// [`FILE_BYTES_MAX`], also if it is empty. A file system may hold less: `FileTooLarge`.
pub trait VfsFile: Send + Sync + Debug {
    /// Reads at `pos` into `buf`; returns the number of bytes read. May be short; 0 only
    /// for an empty `buf` or at or beyond the end.
    ///
    /// Errors: `Interrupted` (call again), or the device's, which never means "the end".
    fn read_at(&self, buf: &mut [u8], pos: u64) -> io::Result<usize>;

    /// Writes `buf` at `pos`; returns the number of bytes written, which may be fewer. A
    /// gap behind the old end reads as zeros. An empty `buf` changes nothing, not even the
    /// size.
    ///
    /// Until a later [`VfsFile::sync`] returned `Ok`, a crash may keep any 512-byte sectors
    /// of it and lose others, in any order, and the size on its own.
    ///
    /// Errors: `Interrupted` (nothing was written, call again), a full disk (some bytes may
    /// have been written), or the device's (likewise).
    fn write_at(&self, buf: &[u8], pos: u64) -> io::Result<usize>;

    /// As [`VfsFile::write_at`] for the concatenation of `bufs`; may write only the first that
    /// is not empty, or a part of it. Returns 0 only if all are empty, or if the file takes no
    /// more bytes.
    fn write_vectored_at(&self, bufs: &[IoSlice<'_>], pos: u64) -> io::Result<usize> {
        match bufs.iter().find(|buf| !buf.is_empty()) {
            Some(buf) => self.write_at(buf, pos),
            None => self.write_at(&[], pos),
        }
    }

    /// Makes the content and the size of this file durable, as of the call's start, through
    /// whichever handle they were written. Says nothing about its name.
    ///
    /// Errors: any error is a failed sync; see rule 3 of the crate's head.
    fn sync(&self) -> io::Result<()>;

    /// Cuts the file to `len` bytes, or extends it with zeros.
    ///
    /// Durable after [`VfsFile::sync`]; before that a crash keeps the old or the new size,
    /// and old bytes beyond a cut may come back.
    ///
    /// Errors: a full disk, or the device's; the size may or may not have changed.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Reserves disk space for `len` bytes from `pos`, and extends the file to at least
    /// `pos + len`; never makes it shorter. Bytes that were never written usually read as
    /// zeros; after a crash they may read as anything. Existing bytes stay. A `len` of 0
    /// changes nothing.
    ///
    /// The size is durable like that of [`VfsFile::set_len`].
    ///
    /// Errors: a full disk (the size may have changed), `Unsupported` if the file system
    /// cannot (nothing has changed), or the device's.
    fn allocate(&self, pos: u64, len: u64) -> io::Result<()>;

    /// The size in bytes.
    ///
    /// Errors: the device's.
    fn len(&self) -> io::Result<u64>;

    /// Which file it is. Nothing else takes its identity while the handle is open.
    ///
    /// Errors: the device's.
    fn id(&self) -> io::Result<FileId>;

    /// Whether the file has no bytes. Errors as [`VfsFile::len`].
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}
