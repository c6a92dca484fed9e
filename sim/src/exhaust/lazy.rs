//! The file system that a recovery sees while its crash is still being decided.
//!
//! [`LazyVfs`] stands between the engine and a disk with open choices. Before a call looks at
//! bytes, or changes a file, it decides what the call touches, by the digits of an odometer;
//! and before a call that changes the disk it keeps a copy, from which the next crash starts.
//!
//! # Invariants
//! - Decisions depend on the calls and the digits alone, so the same digits repeat a run.
//! - A copy is kept once for each prefix of digits: a run that differs in a later digit only
//!   has made the same calls before.
//! - After [`LazyVfs::kill`] every call fails and changes nothing.

use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use runstone_vfs::{
    Access, DirEntry, FileId, FileSystem, HoldsFile, LockKind, Stat, Vfs, VfsFile, VfsLock,
};

use crate::digest::Digest;
use crate::disk::{Odometer, SimVfs};

/// More calls than this in one opening, with all that is checked after it, are a hang.
const CALLS_MAX: u64 = 20_000;

/// A copy of the disk, as it is at a crash point.
#[derive(Clone, Debug)]
pub(super) struct Copy {
    pub(super) disk: SimVfs,
    /// How many digits had been asked for.
    pub(super) digits: usize,
    /// Before which call.
    pub(super) before: String,
    /// The version that was shown, once the opening had returned.
    pub(super) shown: Option<u64>,
}

/// What a store at rest is judged by: its writes and syncs, in order.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// A write, and the version of the last commit that it can hold.
    Write { path: PathBuf, pos: usize, len: usize, version: u64 },
    /// A sync that returned Ok: it covered all writes before it.
    Synced { path: PathBuf },
}

/// What runs share.
#[derive(Debug, Default)]
pub(super) struct Watch {
    pub(super) odometer: Odometer,
    /// The copies of this run that no run before has made.
    pub(super) copies: Vec<Copy>,
    /// Whether copies are kept.
    pub(super) keeps: bool,
    /// Whether decisions are told.
    pub(super) explains: bool,
    pub(super) decisions: Vec<String>,
    /// Whether writes and syncs are recorded.
    pub(super) records: bool,
    pub(super) events: Vec<Event>,
    /// What this run has seen: every call, argument and result.
    pub(super) seen: Digest,
    pub(super) calls: u64,
    /// Whether a call has changed the disk, or could have.
    pub(super) changed: bool,
    /// The disk before the first change, with what was decided until then.
    pub(super) state: u64,
    pub(super) is_dead: bool,
}

impl Watch {
    /// Makes ready for the next run with the same odometer.
    pub(super) fn restart(&mut self) {
        let odometer = std::mem::take(&mut self.odometer);
        let (keeps, explains) = (self.keeps, self.explains);
        *self = Watch { odometer, keeps, explains, ..Watch::default() };
    }

    /// A commit has returned with this version: the last write to a log, but for the header
    /// of a segment, is its record. What was written before holds older commits only.
    pub(super) fn records_commit(&mut self, committed: u64) {
        let mut holds = committed;
        for event in self.events.iter_mut().rev() {
            let Event::Write { path, pos, version, .. } = event else { continue };
            if *version != u64::MAX {
                break;
            }
            let is_record = path.extension().is_some_and(|kind| kind == "log") && *pos > 0;
            *version = if is_record { holds } else { committed - 1 };
            if is_record {
                holds = committed - 1;
            }
        }
    }

    /// What was written since the last commit holds none: a close, a flush.
    pub(super) fn records_upkeep(&mut self, last: u64) {
        for event in &mut self.events {
            match event {
                Event::Write { version, .. } if *version == u64::MAX => *version = last,
                Event::Write { .. } | Event::Synced { .. } => {}
            }
        }
    }
}

/// A disk whose open choices are made when somebody looks.
#[derive(Clone, Debug)]
pub(super) struct LazyVfs {
    disk: SimVfs,
    /// What names are relative to, and its path.
    dir: Arc<dyn Vfs>,
    base: PathBuf,
    watch: Arc<Mutex<Watch>>,
}

impl LazyVfs {
    pub(super) fn new(disk: SimVfs, watch: &Arc<Mutex<Watch>>) -> LazyVfs {
        let dir = Arc::new(disk.clone());
        LazyVfs { disk, dir, base: PathBuf::new(), watch: Arc::clone(watch) }
    }

    /// A path from the root of the disk.
    fn path(&self, path: &Path) -> PathBuf {
        match path.to_str() {
            Some(".") => self.base.clone(),
            _ => self.base.join(path),
        }
    }

    fn watch(&self) -> MutexGuard<'_, Watch> {
        lock(&self.watch)
    }

    /// From now on every call fails.
    pub(super) fn kill(&self) {
        self.watch().is_dead = true;
    }

    /// The disk as it is, with what is still open.
    pub(super) fn state(&self) -> u64 {
        self.disk.fingerprint()
    }

    /// Keeps a copy as of now, if copies are kept.
    pub(super) fn keep(&self, before: &str, shown: Option<u64>) {
        let mut watch = self.watch();
        self.copy(&mut watch, || before.to_owned(), shown);
    }

    fn copy(&self, watch: &mut Watch, before: impl FnOnce() -> String, shown: Option<u64>) {
        if watch.keeps && watch.odometer.is_fresh() {
            let digits = watch.odometer.position();
            watch.copies.push(Copy { disk: self.disk.fork(0), digits, before: before(), shown });
        }
    }

    /// What every call does first.
    fn enter(&self, name: &str, path: &Path, changes: bool) -> io::Result<()> {
        let path = &self.path(path);
        let mut watch = self.watch();
        watch.calls += 1;
        if watch.is_dead || watch.calls > CALLS_MAX {
            return Err(io::Error::other("the process is dead"));
        }
        watch.seen.bytes(name.as_bytes());
        watch.seen.bytes(path.as_os_str().as_encoded_bytes());
        if changes {
            if watch.changed {
                self.copy(&mut watch, || format!("{name} {}", path.display()), None);
            } else {
                watch.state = self.disk.fingerprint();
            }
            watch.changed = true;
        }
        Ok(())
    }

    /// What every call does last.
    fn leave<T>(&self, result: io::Result<T>, number: impl Fn(&T) -> u64) -> io::Result<T> {
        let mut watch = self.watch();
        match &result {
            Ok(value) => watch.seen.u64(number(value)),
            Err(error) => watch.seen.bytes(format!("{:?}", error.kind()).as_bytes()),
        }
        result
    }

    fn decide(&self, node: Option<u64>, path: &Path, range: (u64, u64)) {
        let mut watch = self.watch();
        let Watch { odometer, decisions, explains, .. } = &mut *watch;
        if let Some(node) = node {
            self.disk.decide_node(node, range, odometer, &mut |text| {
                if *explains {
                    decisions.push(format!("{}: {text}", path.display()));
                }
            });
        }
    }

    fn handle(
        &self,
        path: &Path,
        file: io::Result<Arc<dyn VfsFile>>,
    ) -> io::Result<Arc<dyn VfsFile>> {
        let file = self.leave(file, |_| 0)?;
        Ok(Arc::new(self.file(path, file)))
    }

    fn file<F>(&self, path: &Path, file: F) -> LazyFile<F> {
        let path = self.path(path);
        LazyFile { vfs: self.clone(), node: self.disk.node_of(&path), file, path }
    }
}

/// Whether the limit of calls was passed.
pub(super) fn is_hang(watch: &Mutex<Watch>) -> bool {
    lock(watch).calls > CALLS_MAX
}

/// The watch; a panic of a test with the lock held leaves it usable.
pub(super) fn lock(watch: &Mutex<Watch>) -> MutexGuard<'_, Watch> {
    watch.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Vfs for LazyVfs {
    fn open_dir(&self, path: &Path) -> io::Result<Arc<dyn Vfs>> {
        self.enter("open_dir", path, false)?;
        let dir = self.leave(self.dir.open_dir(path), |_| 0)?;
        Ok(Arc::new(LazyVfs { dir, base: self.path(path), ..self.clone() }))
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        self.enter("stat", path, false)?;
        // The number of a node depends on what was made before; the engine only compares it.
        self.leave(self.dir.stat(path), |_| 0)
    }

    fn is_inherited(&self) -> bool {
        self.dir.is_inherited()
    }

    fn file_system(&self) -> FileSystem {
        self.dir.file_system()
    }

    fn file_bytes_max(&self) -> u64 {
        self.dir.file_bytes_max()
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn VfsFile>> {
        self.enter("open", path, false)?;
        self.handle(path, self.dir.open(path, access))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        self.enter("create", path, true)?;
        self.handle(path, self.dir.create(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.enter("rename", from, true)?;
        self.leave(self.dir.rename(from, to), |()| 0)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.enter("link", from, true)?;
        self.leave(self.dir.link(from, to), |()| 0)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.enter("remove", path, true)?;
        self.leave(self.dir.remove(path), |()| 0)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.enter("remove_dir", path, true)?;
        self.leave(self.dir.remove_dir(path), |()| 0)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.enter("list", path, false)?;
        let result = self.dir.list(path);
        if let Ok(entries) = &result {
            let mut watch = self.watch();
            entries.iter().for_each(|entry| watch.seen.bytes(entry.name.as_encoded_bytes()));
        }
        self.leave(result, |entries| entries.len() as u64)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.enter("create_dir", path, true)?;
        self.leave(self.dir.create_dir(path), |()| 0)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.enter("sync_dir", path, true)?;
        self.leave(self.dir.sync_dir(path), |()| 0)
    }

    fn lock(&self, path: &Path, kind: LockKind) -> io::Result<Box<dyn VfsLock>> {
        self.enter("lock", path, false)?;
        let held = self.leave(self.dir.lock(path, kind), |_| 0)?;
        Ok(Box::new(LazyLock { file: self.file(path, held) }))
    }
}

/// A held lock.
#[derive(Debug)]
struct LazyLock {
    file: LazyFile<Box<dyn VfsLock>>,
}

impl VfsLock for LazyLock {
    fn file(&self) -> &dyn VfsFile {
        &self.file
    }
}

/// An open file.
#[derive(Debug)]
struct LazyFile<F> {
    vfs: LazyVfs,
    node: Option<u64>,
    file: F,
    path: PathBuf,
}

impl<F> LazyFile<F> {
    /// Before the first change of a file all of it is decided.
    fn change(&self, name: &str) -> io::Result<()> {
        self.vfs.enter(name, &self.path, true)?;
        self.vfs.decide(self.node, &self.path, (0, u64::MAX));
        Ok(())
    }

    fn record(&self, event: impl FnOnce(PathBuf) -> Event) {
        let mut watch = self.vfs.watch();
        if watch.records {
            watch.events.push(event(self.path.clone()));
        }
    }
}

impl<F: HoldsFile> VfsFile for LazyFile<F> {
    fn read_at(&self, buf: &mut [u8], pos: u64) -> io::Result<usize> {
        self.vfs.enter("read", &self.path, false)?;
        self.vfs.decide(self.node, &self.path, (pos, buf.len() as u64));
        let n = self.vfs.leave(self.file.file().read_at(buf, pos), |n| *n as u64)?;
        self.vfs.watch().seen.bytes(buf.get(..n).unwrap_or_default());
        Ok(n)
    }

    fn write_at(&self, buf: &[u8], pos: u64) -> io::Result<usize> {
        self.change("write")?;
        let written = self.file.file().write_at(buf, pos);
        self.record(|path| Event::Write {
            path,
            pos: usize::try_from(pos).unwrap_or(usize::MAX),
            len: buf.len(),
            version: u64::MAX,
        });
        self.vfs.leave(written, |n| *n as u64)
    }

    fn sync(&self) -> io::Result<()> {
        // What is open was on disk before; a sync looks at nothing.
        self.vfs.enter("sync", &self.path, true)?;
        let synced = self.file.file().sync();
        if synced.is_ok() && self.vfs.watch().records {
            self.record(|path| Event::Synced { path });
        }
        self.vfs.leave(synced, |()| 0)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change("set_len")?;
        self.vfs.leave(self.file.file().set_len(len), |()| 0)
    }

    fn allocate(&self, pos: u64, len: u64) -> io::Result<()> {
        self.change("allocate")?;
        self.vfs.leave(self.file.file().allocate(pos, len), |()| 0)
    }

    fn len(&self) -> io::Result<u64> {
        self.vfs.enter("len", &self.path, false)?;
        self.vfs.decide(self.node, &self.path, (0, 0));
        self.vfs.leave(self.file.file().len(), |len| *len)
    }

    fn id(&self) -> io::Result<FileId> {
        self.file.file().id()
    }
}
