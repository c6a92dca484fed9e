//! Where a store lives: the directory that was opened, and the lock on it.
//!
//! Invariants:
//! - The path of a store is resolved once. From then on its files are names in the directory that
//!   was opened, wherever that is moved; the path stands in messages only.
//! - Whoever writes owns the lock, and the lock is the file of that name in the directory: so no
//!   second writer can have come before the last time that this was [seen](Place::check_owner).
//!   Another writer opens the directory only by locking the file of that name, and it reads
//!   nothing before; so what was written before the question was answered is in what it reads.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use runstone_vfs::{Access, FileId, FileKind, Stat, Vfs, VfsFile};

use crate::cache::Cache;
use crate::clock::Entropy;
use crate::error::{Error, Result};
use crate::failure::WriteFailure;
use crate::handles::Handles;
use crate::names::{OwnName, StoreId};
use crate::sync;

/// Where a store lives, and what it draws from the world.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// Names are relative to it.
    pub(crate) dir: Arc<dyn Vfs>,
    /// As it was given, for messages.
    path: Arc<Path>,
    /// The most bytes that this process may write of one file, as it was asked at the opening.
    pub(crate) file_bytes_max: u64,
    /// The lock file that is held.
    lock: FileId,
    /// The file of the manifest in force, once there is one. Held while another takes its name.
    manifest: sync::Arc<sync::Mutex<Option<FileId>>>,
    pub(crate) entropy: Arc<dyn Entropy>,
    /// The blocks of its tables.
    pub(crate) cache: sync::Arc<Cache>,
    /// Their open files.
    pub(crate) handles: sync::Arc<Handles>,
}

impl Place {
    pub(crate) fn new(
        dir: Arc<dyn Vfs>,
        path: &Path,
        lock: FileId,
        entropy: Arc<dyn Entropy>,
        cache: Cache,
        open_files_max: usize,
    ) -> Self {
        let file_bytes_max = dir.file_bytes_max();
        let (path, manifest) = (path.into(), sync::Arc::default());
        let cache = sync::Arc::new(cache);
        let handles = sync::Arc::new(Handles::new(Arc::clone(&dir), lock, open_files_max));
        Place { dir, path, file_bytes_max, lock, manifest, entropy, cache, handles }
    }

    /// The path of the directory, for messages.
    pub(crate) fn dir_path(&self) -> &Path {
        &self.path
    }

    /// The path of a file, for messages.
    pub(crate) fn path(&self, name: OwnName) -> PathBuf {
        self.path.join(name.file_name())
    }

    /// Whether a file may become so long. Beyond it a call may end the process, so it is not made.
    ///
    /// Error: `FileTooLarge`.
    pub(crate) fn check_length(&self, bytes: u64) -> io::Result<()> {
        match bytes <= self.file_bytes_max || planted!(FileSizeNotChecked) {
            true => Ok(()),
            false => Err(io::ErrorKind::FileTooLarge.into()),
        }
    }

    pub(crate) fn open(&self, name: OwnName, access: Access) -> io::Result<Arc<dyn VfsFile>> {
        self.dir.open(Path::new(&name.file_name()), access)
    }

    pub(crate) fn create(&self, name: OwnName) -> io::Result<Arc<dyn VfsFile>> {
        self.dir.create(Path::new(&name.file_name()))
    }

    pub(crate) fn stat(&self, name: OwnName) -> io::Result<Stat> {
        self.dir.stat(Path::new(&name.file_name()))
    }

    pub(crate) fn rename(&self, from: OwnName, to: OwnName) -> io::Result<()> {
        self.dir.rename(Path::new(&from.file_name()), Path::new(&to.file_name()))
    }

    pub(crate) fn link(&self, from: OwnName, to: OwnName) -> io::Result<()> {
        self.dir.link(Path::new(&from.file_name()), Path::new(&to.file_name()))
    }

    pub(crate) fn remove(&self, name: OwnName) -> io::Result<()> {
        self.dir.remove(Path::new(&name.file_name()))
    }

    /// Removes a file that a step may have left; whether there was one. What bears its name and is
    /// no file is not the store's, and stays.
    pub(crate) fn remove_left(&self, name: OwnName) -> io::Result<bool> {
        let gone_is_false = |e: io::Error| match e.kind() {
            io::ErrorKind::NotFound => Ok(false),
            _ => Err(e),
        };
        match self.stat(name) {
            Ok(found) if found.kind != FileKind::File => Ok(false),
            Ok(_) => self.remove(name).map(|()| true).or_else(gone_is_false),
            Err(_) if planted!(UnseenLeftoverForgotten) => Ok(false),
            Err(e) => gone_is_false(e),
        }
    }

    /// Makes the names in the directory durable.
    pub(crate) fn sync_names(&self) -> io::Result<()> {
        self.dir.sync_dir(Path::new("."))
    }

    /// Whether a name is still that of a file; otherwise what has become of it.
    ///
    /// Errors: [`Error::Displaced`], or [`Error::Io`] if it cannot be told.
    pub(crate) fn check_file(&self, name: OwnName, id: FileId) -> Result<()> {
        let what = match self.stat(name) {
            Ok(found) if found.id == id && found.kind == FileKind::File => return Ok(()),
            Ok(_) => "another file",
            Err(e) if is_gone(&e) => "gone",
            Err(e) => return Err(Error::io("looking for", self.path(name), e)),
        };
        sometimes!("place/displaced");
        Err(self.displaced(format!("its {} is {what}", name.file_name())))
    }

    /// Whether the lock is still the store's: it stands in the directory, under its name. A
    /// directory that was removed holds none.
    ///
    /// Errors: as [`Place::check_file`].
    pub(crate) fn check_owner(&self) -> Result<()> {
        planted!(OwnerNotChecked => return Ok(()));
        let any = planted!(LockOnlyLookedFor).then(|| self.stat(OwnName::Lock).ok()).flatten();
        self.check_file(OwnName::Lock, any.map_or(self.lock, |found| found.id))
    }

    /// Whether the directory is still the store's: its lock, and the file of the manifest in force.
    /// The content of the manifest is not looked at.
    ///
    /// Errors: as [`Place::check_file`].
    pub(crate) fn check(&self) -> Result<()> {
        self.check_owner()?;
        planted!(ManifestLookedAtOnlyWhenReplaced => return Ok(()));
        match *self.manifest.lock() {
            Some(id) => self.check_file(OwnName::Manifest, id),
            None => Ok(()),
        }
    }

    /// The manifest in force is this file.
    pub(crate) fn know_manifest(&self, id: FileId) {
        *self.manifest.lock() = Some(id);
    }

    /// Gives a new manifest the name, atomically. Of a rename that failed, unless it was refused
    /// before it changed anything, nobody knows which one has the name.
    pub(crate) fn rename_manifest(
        &self,
        from: OwnName,
        id: FileId,
        is_refused: impl FnOnce(&io::Error) -> bool,
    ) -> io::Result<()> {
        let mut in_force = self.manifest.lock();
        let renamed = self.rename(from, OwnName::Manifest);
        match &renamed {
            Ok(()) => *in_force = Some(id),
            Err(error) if is_refused(error) => {}
            Err(_) => *in_force = None,
        }
        renamed
    }

    /// A step that failed since a name is gone, or the directory that held it: if the store was
    /// removed in its middle, that is what is said, and not which call met it first.
    pub(crate) fn blamed(&self, failure: WriteFailure) -> WriteFailure {
        let (WriteFailure::Refused(Error::Io { source, .. })
        | WriteFailure::Failed(Error::Io { source, .. })) = &failure
        else {
            return failure;
        };
        if !is_gone(source) || planted!(RemovalBlamedOnTheCall) {
            return failure;
        }
        match self.check_owner() {
            Err(displaced @ Error::Displaced { .. }) => {
                sometimes!("place/removed-in-the-middle-of-a-step");
                WriteFailure::Failed(displaced)
            }
            Ok(()) | Err(_) => failure,
        }
    }

    pub(crate) fn displaced(&self, what: impl Into<String>) -> Error {
        Error::Displaced { dir: self.path.to_path_buf(), what: what.into() }
    }

    /// Error: [`Error::Forked`] in a child of the process that opened the directory.
    pub(crate) fn check_process(&self) -> Result<()> {
        if self.dir.is_inherited() && !planted!(ForkUnseen) {
            sometimes!("place/forked");
            return Err(Error::Forked);
        }
        Ok(())
    }

    /// Sixteen new bytes.
    pub(crate) fn draw(&self, what: &'static str) -> Result<StoreId> {
        self.entropy.bytes16().map_err(|e| Error::io(what, &*self.path, e))
    }
}

/// Whether an error says that a name, or the directory that held it, is not there any more.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::StaleNetworkFileHandle)
}
