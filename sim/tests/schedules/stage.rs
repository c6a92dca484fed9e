//! What a schedule is played on: a disk whose calls are steps of the schedule, and a clock.
//!
//! Invariants: another thread may run before each call to the disk, never within one; no lock
//! of the simulated disk is held while another thread runs; time passes only when the program
//! says so, and (on a clock that slips) a little at each look.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use runstone::vfs::{Access, DirEntry, FileId, FileSystem, LockKind, Stat, Vfs, VfsFile, VfsLock};
use runstone::{Clock, Entropy};
use runstone_sim::disk::{CallKind, Fault, SimVfs};
use runstone_sim::rng::Rng;

/// Lets another thread run.
fn step() {
    shuttle::thread::sleep(Duration::ZERO);
}

/// What happens inside a call.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Spark {
    /// The caller panics.
    Panic,
    /// The call fails, if it is of this kind; else the next one that is.
    Fail(CallKind, Fault),
}

/// The call that it will happen in.
#[derive(Debug, Default)]
pub(crate) struct Fuse(Mutex<Option<(u64, Spark)>>);

impl Fuse {
    /// After so many writes and syncs, something happens, or nothing any more.
    pub(crate) fn light(&self, spark: Option<(u64, Spark)>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = spark;
    }

    fn burn(&self, disk: &SimVfs, kind: CallKind) {
        let mut fuse = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match fuse.as_mut() {
            None => return,
            Some((left @ 1.., _)) => {
                *left -= 1;
                return;
            }
            Some((0, Spark::Fail(only, _))) if *only != kind => return,
            Some((0, _)) => {}
        }
        let spark = fuse.take();
        drop(fuse);
        match spark {
            // Without the hook: nothing is printed, whoever catches it.
            Some((_, Spark::Panic)) => std::panic::resume_unwind(Box::new("a planned panic")),
            Some((_, Spark::Fail(kind, fault))) => disk.fail_nth(kind, 0, fault),
            None => {}
        }
    }
}

/// The simulated disk as the engine sees it.
#[derive(Clone, Debug)]
pub(crate) struct StageVfs {
    pub(crate) disk: SimVfs,
    /// What names are relative to.
    dir: Arc<dyn Vfs>,
    pub(crate) fuse: Arc<Fuse>,
}

#[derive(Debug)]
struct StageFile {
    file: Arc<dyn VfsFile>,
    stage: StageVfs,
}

impl StageFile {
    /// A step that something may happen in.
    fn step(&self, kind: CallKind) {
        step();
        self.stage.fuse.burn(&self.stage.disk, kind);
    }
}

impl StageVfs {
    pub(crate) fn new(disk: SimVfs, fuse: Arc<Fuse>) -> Self {
        StageVfs { dir: Arc::new(disk.clone()), disk, fuse }
    }

    fn file(&self, file: Arc<dyn VfsFile>) -> Arc<dyn VfsFile> {
        Arc::new(StageFile { file, stage: self.clone() })
    }
}

impl Vfs for StageVfs {
    fn open_dir(&self, path: &Path) -> io::Result<Arc<dyn Vfs>> {
        Ok(Arc::new(StageVfs { dir: self.dir.open_dir(path)?, ..self.clone() }))
    }
    fn stat(&self, path: &Path) -> io::Result<Stat> {
        self.dir.stat(path)
    }
    fn is_inherited(&self) -> bool {
        self.dir.is_inherited()
    }

    fn file_system(&self) -> FileSystem {
        self.dir.file_system()
    }
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn VfsFile>> {
        self.dir.open(path, access).map(|file| self.file(file))
    }
    fn create(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        step();
        self.dir.create(path).map(|file| self.file(file))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        step();
        self.dir.rename(from, to)
    }
    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        step();
        self.dir.link(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        step();
        self.dir.remove(path)
    }
    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        step();
        self.dir.remove_dir(path)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.dir.list(path)
    }
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.dir.create_dir(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        step();
        self.dir.sync_dir(path)
    }
    fn lock(&self, path: &Path, kind: LockKind) -> io::Result<Box<dyn VfsLock>> {
        self.dir.lock(path, kind)
    }
}

impl VfsFile for StageFile {
    fn read_at(&self, buf: &mut [u8], pos: u64) -> io::Result<usize> {
        self.file.read_at(buf, pos)
    }
    fn write_at(&self, buf: &[u8], pos: u64) -> io::Result<usize> {
        self.step(CallKind::Write);
        self.file.write_at(buf, pos)
    }
    fn write_vectored_at(&self, bufs: &[IoSlice<'_>], pos: u64) -> io::Result<usize> {
        self.step(CallKind::Write);
        self.file.write_vectored_at(bufs, pos)
    }
    fn sync(&self) -> io::Result<()> {
        self.step(CallKind::Sync);
        self.file.sync()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        step();
        self.file.set_len(len)
    }
    fn allocate(&self, pos: u64, len: u64) -> io::Result<()> {
        step();
        self.file.allocate(pos, len)
    }
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn id(&self) -> io::Result<FileId> {
        self.file.id()
    }
}

/// The clock of a schedule.
#[derive(Debug)]
pub(crate) struct StageClock {
    ms: AtomicU64,
    /// How much passes at each look.
    slip_ms: u64,
}

impl StageClock {
    pub(crate) fn new(ms: u64, slip_ms: u64) -> Self {
        StageClock { ms: AtomicU64::new(ms), slip_ms }
    }

    pub(crate) fn pass(&self, ms: u64) {
        self.ms.fetch_add(ms, Ordering::Relaxed);
    }

    pub(crate) fn ms(&self) -> u64 {
        self.ms.load(Ordering::Relaxed)
    }
}

impl Clock for StageClock {
    fn wall_ms(&self) -> u64 {
        1_000_000 + self.ms()
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.ms.fetch_add(self.slip_ms, Ordering::Relaxed))
    }
}

/// Store ids and salts.
#[derive(Debug)]
pub(crate) struct StageEntropy(pub(crate) Mutex<Rng>);

impl Entropy for StageEntropy {
    fn bytes16(&self) -> io::Result<[u8; 16]> {
        let mut bytes = [0; 16];
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fill(&mut bytes);
        Ok(bytes)
    }
}
