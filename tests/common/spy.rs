//! A file system that passes every call on, counts it, and can hold the syncs of the log, or
//! of tables, back.

#![allow(clippy::disallowed_methods)] // a slow disk is simulated by sleeping

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use runstone::vfs::{Access, DirEntry, FileId, FileSystem, LockKind, Stat, Vfs, VfsFile, VfsLock};

/// What was seen, and whether syncs are held back.
#[derive(Debug, Default)]
pub struct Spy {
    log_syncs: AtomicU64,
    log_writes: AtomicU64,
    changes: AtomicU64,
    sync_us: AtomicU64,
    gate: Mutex<Gate>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Gate {
    closed: bool,
    /// For tables, not for the log.
    of_tables: bool,
    waiting: usize,
}

impl Spy {
    /// How many syncs of log segments have returned.
    pub fn log_syncs(&self) -> u64 {
        self.log_syncs.load(Ordering::SeqCst)
    }

    /// How many writes to log segments there were.
    pub fn log_writes(&self) -> u64 {
        self.log_writes.load(Ordering::SeqCst)
    }

    /// How many calls there were that change anything on disk.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }

    /// From now on syncs of log segments take at least this long, as on a disk that turns.
    pub fn slow_down(&self, sync: Duration) {
        let us = u64::try_from(sync.as_micros()).unwrap();
        self.sync_us.store(us, Ordering::SeqCst);
    }

    /// From now on syncs of log segments wait.
    pub fn hold(&self) {
        self.gate.lock().unwrap().closed = true;
    }

    /// From now on syncs of tables wait.
    pub fn hold_tables(&self) {
        let mut gate = self.gate.lock().unwrap();
        (gate.closed, gate.of_tables) = (true, true);
    }

    /// Lets them go on.
    pub fn release(&self) {
        self.gate.lock().unwrap().closed = false;
        self.changed.notify_all();
    }

    /// Waits until a sync waits.
    pub fn wait_until_held(&self) {
        let mut gate = self.gate.lock().unwrap();
        while gate.waiting == 0 {
            gate = self.changed.wait(gate).unwrap();
        }
    }

    fn change(&self) {
        self.changes.fetch_add(1, Ordering::SeqCst);
    }

    fn pass(&self, is_table: bool) {
        let mut gate = self.gate.lock().unwrap();
        if gate.of_tables != is_table {
            return;
        }
        gate.waiting += 1;
        self.changed.notify_all();
        while gate.closed {
            gate = self.changed.wait(gate).unwrap();
        }
        gate.waiting -= 1;
    }
}

/// The watched file system.
#[derive(Debug)]
pub struct SpyVfs {
    inner: Arc<dyn Vfs>,
    spy: Arc<Spy>,
}

impl SpyVfs {
    pub fn new(inner: impl Vfs + 'static) -> (Self, Arc<Spy>) {
        let spy = Arc::new(Spy::default());
        (SpyVfs { inner: Arc::new(inner), spy: Arc::clone(&spy) }, spy)
    }

    fn file(&self, path: &Path, inner: Arc<dyn VfsFile>) -> Arc<dyn VfsFile> {
        let is = |kind| path.extension().is_some_and(|found| found == kind);
        let (is_log, is_table) = (is("log"), is("table"));
        Arc::new(SpyFile { inner, spy: Arc::clone(&self.spy), is_log, is_table })
    }
}

impl Vfs for SpyVfs {
    fn open_dir(&self, path: &Path) -> io::Result<Arc<dyn Vfs>> {
        let inner = self.inner.open_dir(path)?;
        Ok(Arc::new(SpyVfs { inner, spy: Arc::clone(&self.spy) }))
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
        Ok(self.file(path, self.inner.open(path, access)?))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        let file = self.inner.create(path)?;
        self.spy.change();
        Ok(self.file(path, file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.spy.change();
        self.inner.rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.spy.change();
        self.inner.link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.spy.change();
        self.inner.remove(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.spy.change();
        self.inner.remove_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.inner.list(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.spy.change();
        self.inner.create_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.spy.change();
        self.inner.sync_dir(path)
    }

    fn lock(&self, path: &Path, kind: LockKind) -> io::Result<Box<dyn VfsLock>> {
        self.inner.lock(path, kind)
    }
}

#[derive(Debug)]
struct SpyFile {
    inner: Arc<dyn VfsFile>,
    spy: Arc<Spy>,
    is_log: bool,
    is_table: bool,
}

impl VfsFile for SpyFile {
    fn read_at(&self, buf: &mut [u8], pos: u64) -> io::Result<usize> {
        self.inner.read_at(buf, pos)
    }

    fn write_at(&self, buf: &[u8], pos: u64) -> io::Result<usize> {
        self.spy.change();
        if self.is_log {
            self.spy.log_writes.fetch_add(1, Ordering::SeqCst);
        }
        self.inner.write_at(buf, pos)
    }

    fn sync(&self) -> io::Result<()> {
        self.spy.change();
        if self.is_log || self.is_table {
            self.spy.pass(self.is_table);
        }
        if !self.is_log {
            return self.inner.sync();
        }
        std::thread::sleep(Duration::from_micros(self.spy.sync_us.load(Ordering::SeqCst)));
        let outcome = self.inner.sync();
        self.spy.log_syncs.fetch_add(1, Ordering::SeqCst);
        outcome
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.spy.change();
        self.inner.set_len(len)
    }

    fn allocate(&self, pos: u64, len: u64) -> io::Result<()> {
        self.spy.change();
        self.inner.allocate(pos, len)
    }

    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn id(&self) -> io::Result<FileId> {
        self.inner.id()
    }
}
