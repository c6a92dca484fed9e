//! A file system that counts the syncs of its files.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use runstone::vfs::{
    Access, DirEntry, FileId, FileSystem, LockKind, OsVfs, Stat, Vfs, VfsFile, VfsLock,
};

/// Passes every call on to the real file system.
#[derive(Clone, Debug)]
pub(crate) struct CountingVfs {
    inner: Arc<dyn Vfs>,
    counts: Arc<Counts>,
}

impl Default for CountingVfs {
    fn default() -> Self {
        CountingVfs { inner: Arc::new(OsVfs::new()), counts: Arc::default() }
    }
}

#[derive(Debug, Default)]
struct Counts {
    syncs: AtomicU64,
}

impl CountingVfs {
    /// Syncs of files so far; those of directories are not among them.
    pub(crate) fn syncs(&self) -> u64 {
        self.counts.syncs.load(Ordering::Relaxed)
    }

    fn count(&self, inner: Arc<dyn VfsFile>) -> Arc<dyn VfsFile> {
        Arc::new(CountingFile { inner, counts: Arc::clone(&self.counts) })
    }
}

impl Vfs for CountingVfs {
    fn open_dir(&self, path: &Path) -> io::Result<Arc<dyn Vfs>> {
        let inner = self.inner.open_dir(path)?;
        Ok(Arc::new(CountingVfs { inner, counts: Arc::clone(&self.counts) }))
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        self.inner.stat(path)
    }

    fn is_inherited(&self) -> bool {
        self.inner.is_inherited()
    }

    fn file_system(&self) -> FileSystem {
        self.inner.file_system()
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn VfsFile>> {
        Ok(self.count(self.inner.open(path, access)?))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        Ok(self.count(self.inner.create(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.inner.remove(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.inner.remove_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.inner.list(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.inner.create_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.inner.sync_dir(path)
    }

    fn lock(&self, path: &Path, kind: LockKind) -> io::Result<Box<dyn VfsLock>> {
        self.inner.lock(path, kind)
    }
}

#[derive(Debug)]
struct CountingFile {
    inner: Arc<dyn VfsFile>,
    counts: Arc<Counts>,
}

impl VfsFile for CountingFile {
    fn read_at(&self, buf: &mut [u8], pos: u64) -> io::Result<usize> {
        self.inner.read_at(buf, pos)
    }

    fn write_at(&self, buf: &[u8], pos: u64) -> io::Result<usize> {
        self.inner.write_at(buf, pos)
    }

    fn write_vectored_at(&self, bufs: &[IoSlice<'_>], pos: u64) -> io::Result<usize> {
        self.inner.write_vectored_at(bufs, pos)
    }

    fn sync(&self) -> io::Result<()> {
        self.counts.syncs.fetch_add(1, Ordering::Relaxed);
        self.inner.sync()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }

    fn allocate(&self, pos: u64, len: u64) -> io::Result<()> {
        self.inner.allocate(pos, len)
    }

    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn id(&self) -> io::Result<FileId> {
        self.inner.id()
    }
}
