//! A recorder: a `Vfs` that passes every call on and notes what it did to the disk.
//!
//! It wraps any `Vfs`, tells a [`Sink`] which call starts and which [`Event`]s it has come to,
//! and asks a [`Witness`] for what no call returns: the numbers of files, and, after an error,
//! what has happened nevertheless. So the history that [`legal`](crate::legal) judges needs
//! nothing from the inside of the disk.
//!
//! # Invariants
//! - Calls, arguments and results are passed on unchanged, one for one.
//! - What a handle of before a crash is asked is passed on, and not noted.
//! - Calls are noted one by one: one thread at a time.

mod file;

use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use file::{RecordedFile, RecordedLock};
use runstone_vfs::{Access, DirEntry, FileSystem, LockKind, Stat, Vfs, VfsFile, VfsLock};

use crate::disk::{FaultKind, SimVfs, is_simulated_crash};
use crate::legal::{Event, Image, Ino, Name, Synced};

/// What the device did without telling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secret {
    /// A sync that returned Ok did nothing.
    Lied,
    /// A sync that returned Ok had failed.
    Late,
    /// Background writeback failed after a write.
    WritebackFailed,
}

/// What can be seen of a disk beside its calls.
pub trait Witness: Send + Sync + Debug {
    /// The number of a file or directory; `None` if the name leads nowhere.
    fn ino(&self, path: &Path) -> Option<Ino>;

    /// What a file holds now; `None` if that cannot be seen.
    fn content(&self, ino: Ino) -> Option<Vec<u8>>;

    /// What the device did without telling since this was asked before.
    fn secret(&self) -> Option<Secret>;
}

/// Who is told.
pub trait Sink: Send + Sync + Debug {
    /// A call starts that may have this effect. A file that it may make has number 0.
    fn starts(&self, call: &Event);

    /// It has returned, and had these effects.
    fn ended(&self, effects: Vec<Event>);

    /// It met the crash; this is what the device did in secret before.
    fn crashed(&self, _secret: Vec<Event>) {}

    /// How many crashes there were: handles of an earlier life are not noted.
    fn life(&self) -> u64 {
        0
    }
}

/// What has been noted, in memory.
#[derive(Debug, Default)]
pub struct Log {
    notes: Mutex<Notes>,
}

#[derive(Debug, Default)]
struct Notes {
    events: Vec<Event>,
    under_way: Option<Event>,
    is_over: bool,
    life: u64,
}

impl Log {
    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what happened since the crash before, and the call that the crash came into; the
    /// next life begins.
    pub fn take(&self) -> (Vec<Event>, Option<Event>) {
        let mut notes = self.notes();
        notes.is_over = false;
        notes.life += 1;
        (std::mem::take(&mut notes.events), notes.under_way.take())
    }
}

impl Sink for Log {
    fn starts(&self, call: &Event) {
        let mut notes = self.notes();
        if !notes.is_over {
            notes.under_way = Some(call.clone());
        }
    }

    fn ended(&self, effects: Vec<Event>) {
        let mut notes = self.notes();
        if !notes.is_over {
            notes.under_way = None;
            notes.events.extend(effects);
        }
    }

    fn crashed(&self, secret: Vec<Event>) {
        let mut notes = self.notes();
        if !notes.is_over {
            notes.events.extend(secret);
        }
        notes.is_over = true;
    }

    fn life(&self) -> u64 {
        self.notes().life
    }
}

/// The witness of a simulated disk.
#[derive(Debug)]
pub struct SimWitness {
    disk: SimVfs,
    seen: Mutex<usize>,
}

impl SimWitness {
    /// Looks at this disk, from now on.
    pub fn new(disk: &SimVfs) -> SimWitness {
        SimWitness { disk: disk.clone(), seen: Mutex::new(disk.injected().len()) }
    }
}

impl Witness for SimWitness {
    fn ino(&self, path: &Path) -> Option<Ino> {
        self.disk.ino(path)
    }

    fn content(&self, ino: Ino) -> Option<Vec<u8>> {
        self.disk.content(ino)
    }

    fn secret(&self) -> Option<Secret> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let new = self.disk.injected_since(*seen);
        *seen += new.len();
        new.into_iter().find_map(|hit| match hit.fault.kind {
            FaultKind::SyncLies => Some(Secret::Lied),
            FaultKind::SyncLate => Some(Secret::Late),
            FaultKind::BackgroundFails => Some(Secret::WritebackFailed),
            _ => None,
        })
    }
}

/// What a simulated disk holds, as reads see it.
pub fn image(disk: &SimVfs) -> Image {
    let (root, nodes) = disk.nodes();
    let mut image = Image::empty(root);
    for (dir, name, ino, content) in nodes {
        match content {
            Some(content) => drop(image.files.insert(ino, content)),
            None => drop(image.dirs.entry(ino).or_default()),
        }
        image.dirs.entry(dir).or_default().insert(name, ino);
    }
    image
}

/// A `Vfs` that notes what is done to it; clones share the sink.
#[derive(Clone, Debug)]
pub struct Recorder {
    inner: Arc<dyn Vfs>,
    /// The path of the directory that names are relative to.
    base: PathBuf,
    witness: Arc<dyn Witness>,
    sink: Arc<dyn Sink>,
}

impl Recorder {
    /// Records the calls to `inner`.
    pub fn new(inner: Arc<dyn Vfs>, witness: Arc<dyn Witness>, sink: Arc<dyn Sink>) -> Recorder {
        Recorder { inner, base: PathBuf::new(), witness, sink }
    }

    /// Records the calls to a simulated disk, in memory.
    pub fn of(disk: &SimVfs) -> (Recorder, Arc<Log>) {
        let log = Arc::new(Log::default());
        let witness = Arc::new(SimWitness::new(disk));
        (Recorder::new(Arc::new(disk.clone()), witness, Arc::<Log>::clone(&log)), log)
    }

    /// A path from where the witness starts.
    fn path(&self, path: &Path) -> PathBuf {
        match path.to_str() {
            Some(".") => self.base.clone(),
            _ => self.base.join(path),
        }
    }

    /// The number of what a path names.
    fn ino(&self, path: &Path) -> Option<Ino> {
        self.witness.ino(&self.path(path))
    }

    /// A path as a name in a directory. Its last part must be plain.
    fn name(&self, path: &Path) -> Option<Name> {
        let path = self.path(path);
        let name = path.file_name()?.to_str()?.to_owned();
        let dir = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        Some((self.witness.ino(dir.unwrap_or(Path::new("/")))?, name))
    }

    /// A name that is free, so that a call may take it.
    fn vacant(&self, path: &Path) -> Option<Name> {
        self.name(path).filter(|_| self.ino(path).is_none())
    }

    /// A name that can be removed.
    fn taken(&self, path: &Path) -> Option<Name> {
        self.name(path).filter(|_| self.ino(path).is_some())
    }

    /// Makes a call, and notes its effects unless it met the crash.
    fn call<T>(
        &self,
        intent: Option<Event>,
        call: impl FnOnce() -> io::Result<T>,
        effects: impl FnOnce(&io::Result<T>) -> Vec<Event>,
    ) -> io::Result<T> {
        let Some(intent) = intent else { return call() };
        self.sink.starts(&intent);
        let result = call();
        if result.as_ref().is_err_and(is_simulated_crash) {
            let failed = match (self.witness.secret(), &intent) {
                (Some(Secret::WritebackFailed), Event::Write { ino, .. }) => {
                    Some(Event::WritebackFailed { ino: *ino })
                }
                // The call has promised nothing, so that it has broken no promise.
                _ => None,
            };
            self.sink.crashed(failed.into_iter().collect());
        } else {
            self.sink.ended(effects(&result));
        }
        result
    }

    /// The effect of a change of one name: whether it took place is seen, not believed.
    fn if_changed<T>(
        &self,
        path: &Path,
        intent: Option<Event>,
        call: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        let before = self.ino(path);
        let event = intent.clone();
        self.call(intent, call, |_| {
            let after = self.ino(path);
            let event = event.filter(|_| before != after).map(|event| match (event, after) {
                (Event::Create { name, .. }, Some(ino)) => Event::Create { name, ino },
                (Event::Mkdir { name, .. }, Some(ino)) => Event::Mkdir { name, ino },
                (event, _) => event,
            });
            event.into_iter().collect()
        })
    }

    fn handle(
        &self,
        path: &Path,
        inner: io::Result<Arc<dyn VfsFile>>,
    ) -> io::Result<Arc<dyn VfsFile>> {
        let inner = inner?;
        match self.ino(path) {
            Some(ino) => {
                let life = self.sink.life();
                Ok(Arc::new(RecordedFile::new(self.clone(), inner, ino, life)))
            }
            None => Ok(inner),
        }
    }

    /// How a sync ended.
    fn outcome(&self, result: &io::Result<()>) -> Synced {
        match (result, self.witness.secret()) {
            (Err(error), _) if is_refusal(error) => Synced::Nothing,
            (Err(_), _) | (Ok(()), Some(Secret::Late)) => Synced::Failed,
            (Ok(()), Some(Secret::Lied)) => Synced::Nothing,
            (Ok(()), _) => Synced::Done,
        }
    }
}

/// Errors of a call that was refused: it has had no effect.
fn is_refusal(error: &io::Error) -> bool {
    use io::ErrorKind as K;
    matches!(
        error.kind(),
        K::NotFound
            | K::PermissionDenied
            | K::NotADirectory
            | K::IsADirectory
            | K::InvalidInput
            | K::Interrupted
            | K::Unsupported
    )
}

impl Vfs for Recorder {
    fn open_dir(&self, path: &Path) -> io::Result<Arc<dyn Vfs>> {
        let inner = self.inner.open_dir(path)?;
        Ok(Arc::new(Recorder { inner, base: self.path(path), ..self.clone() }))
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

    fn file_bytes_max(&self) -> u64 {
        self.inner.file_bytes_max()
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn VfsFile>> {
        self.handle(path, self.inner.open(path, access))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        let intent = self.vacant(path).map(|name| Event::Create { name, ino: 0 });
        self.handle(path, self.if_changed(path, intent, || self.inner.create(path)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let ino = self.ino(from).filter(|ino| self.ino(to) != Some(*ino));
        let names = self.name(from).zip(self.name(to)).zip(ino);
        let intent = names.map(|((from, to), ino)| Event::Rename { from, to, ino });
        self.if_changed(to, intent, || self.inner.rename(from, to))
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let intent = self.vacant(to).zip(self.ino(from));
        let intent = intent.map(|(name, ino)| Event::Link { name, ino });
        self.if_changed(to, intent, || self.inner.link(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let intent = self.taken(path).map(|name| Event::Remove { name });
        self.if_changed(path, intent, || self.inner.remove(path))
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let intent = self.taken(path).map(|name| Event::Remove { name });
        self.if_changed(path, intent, || self.inner.remove_dir(path))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.inner.list(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let intent = self.vacant(path).map(|name| Event::Mkdir { name, ino: 0 });
        self.if_changed(path, intent, || self.inner.create_dir(path))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let ino = self.ino(path);
        let event = |outcome| ino.map(|ino| Event::SyncDir { ino, outcome });
        self.call(
            event(Synced::Failed),
            || self.inner.sync_dir(path),
            |result| event(self.outcome(result)).into_iter().collect(),
        )
    }

    fn lock(&self, path: &Path, kind: LockKind) -> io::Result<Box<dyn VfsLock>> {
        let inner = self.inner.lock(path, kind)?;
        match self.ino(path) {
            Some(ino) => {
                let life = self.sink.life();
                Ok(Box::new(RecordedLock::new(self.clone(), inner, ino, life)))
            }
            None => Ok(inner),
        }
    }
}
