//! Files in memory.
//!
//! For an in-memory database, for tests, and as the plain twin that other implementations are
//! compared with. Invariants:
//! - everything is ordered (a `BTreeMap` throughout), so the same calls give the same answers;
//! - clones share one file system; it is gone with the last clone, handle and lock;
//! - with a limit, memory is bounded: each page of a file and each name is paid for first.
//!
//! Deliberately absent: crashes. `sync` and `sync_dir` have nothing to do; a disk that loses
//! what was not synced is the simulator's.
//!
//! `mem/tree.rs` holds the names, `mem/file.rs` the content, `mem/space.rs` the budget.

mod file;
mod space;
mod tree;

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::fork::Birth;
use crate::{
    Access, DirEntry, FileId, FileKind, FileSystem, LockKind, Stat, Vfs, VfsFile, VfsLock,
};
use file::{Inode, MemFile, MemLock};
use space::Space;
use tree::{At, ROOT, Tree};

/// A file system in memory; clones share it.
///
/// The root directory `/` exists, and relative paths start there, or at the directory that
/// [`Vfs::open_dir`] has opened. `sync` always succeeds and means nothing: nothing outlives the
/// process.
///
/// ```
/// use std::path::Path;
/// use runstone_vfs::{Access, MemVfs, Vfs, VfsFile, write_all_at};
///
/// # fn main() -> std::io::Result<()> {
/// let vfs = MemVfs::new();
/// vfs.create_dir(Path::new("/db"))?;
/// let file = vfs.create(Path::new("/db/000001.log"))?;
/// write_all_at(&*file, b"first commit", 0)?;
///
/// let same = vfs.clone();
/// assert_eq!(same.open(Path::new("db/000001.log"), Access::Read)?.len()?, 12);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct MemVfs {
    space: Arc<Space>,
    tree: Arc<Mutex<Tree>>,
    /// The number of the file or directory that is made next.
    next: Arc<AtomicU64>,
    /// Where relative paths start.
    dir: u64,
    birth: Birth,
}

impl MemVfs {
    /// An empty file system without a limit.
    pub fn new() -> Self {
        MemVfs::with_space(Space::new(None))
    }

    /// An empty file system that holds at most `bytes`: 4096 for each page of a file that was
    /// written or allocated, and 512 for each name. A call that needs more fails with
    /// `StorageFull` and changes nothing, but a write may first be short.
    ///
    /// ```
    /// use std::{io, path::Path};
    /// use runstone_vfs::{MemVfs, Vfs, VfsFile, is_disk_full};
    ///
    /// # fn main() -> io::Result<()> {
    /// let vfs = MemVfs::with_capacity_max(512 + 4096);
    /// let file = vfs.create(Path::new("a"))?;
    /// assert_eq!(file.write_at(&[7; 5000], 0)?, 4096);
    /// assert!(is_disk_full(&file.write_at(&[7; 904], 4096).unwrap_err()));
    ///
    /// drop(file);
    /// vfs.remove(Path::new("a"))?;
    /// assert_eq!(vfs.bytes_used(), 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_capacity_max(bytes: u64) -> Self {
        MemVfs::with_space(Space::new(Some(bytes)))
    }

    /// The bytes in use, counted as for [`MemVfs::with_capacity_max`]. Files that were removed
    /// but are still open count.
    pub fn bytes_used(&self) -> u64 {
        self.space.used()
    }

    fn with_space(space: Space) -> Self {
        let next = Arc::new(AtomicU64::new(ROOT + 1));
        let birth = Birth::now();
        MemVfs { space: Arc::new(space), tree: Arc::default(), next, dir: ROOT, birth }
    }

    fn at<'p>(&self, path: &'p Path) -> At<'p> {
        At(self.dir, path)
    }

    fn take_number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// The names. A panic while they were locked left them whole: each change is one insertion
    /// or removal, made after everything that can fail.
    fn tree(&self) -> MutexGuard<'_, Tree> {
        self.tree.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemVfs {
    fn default() -> Self {
        MemVfs::new()
    }
}

impl Vfs for MemVfs {
    fn open_dir(&self, path: &Path) -> io::Result<Arc<dyn Vfs>> {
        let dir = self.tree().find_dir(self.at(path))?;
        Ok(Arc::new(MemVfs { dir, birth: Birth::now(), ..self.clone() }))
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        let tree = self.tree();
        let (inode, kind) = match tree.find(self.at(path))? {
            Ok(number) => (number, FileKind::Dir),
            Err(inode) => (inode.number(), FileKind::File),
        };
        Ok(Stat { id: FileId { device: 0, inode }, kind })
    }

    fn is_inherited(&self) -> bool {
        self.birth.is_inherited()
    }

    fn file_system(&self) -> FileSystem {
        FileSystem::Memory
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn VfsFile>> {
        let inode = Arc::clone(self.tree().file(self.at(path))?);
        Ok(Arc::new(MemFile { inode, access }))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        let inode = Arc::new(Inode::new(Arc::clone(&self.space), self.take_number()));
        self.tree().add_file(&self.space, self.at(path), Arc::clone(&inode))?;
        Ok(Arc::new(MemFile { inode, access: Access::ReadWrite }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.tree().rename(&self.space, self.at(from), self.at(to))
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut tree = self.tree();
        let inode = Arc::clone(tree.file(self.at(from))?);
        tree.add_file(&self.space, self.at(to), inode)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.tree().remove_file(&self.space, self.at(path))
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.tree().remove_dir(&self.space, self.at(path))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.tree().list(self.at(path))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.tree().add_dir(&self.space, self.at(path), self.take_number())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.tree().find_dir(self.at(path)).map(drop)
    }

    fn lock(&self, path: &Path, kind: LockKind) -> io::Result<Box<dyn VfsLock>> {
        let inode = Arc::clone(self.tree().file(self.at(path))?);
        Ok(Box::new(MemLock::take(inode, kind)?))
    }
}
