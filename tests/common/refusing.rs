//! A file system that refuses a call by a rule, before anything happens.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use runstone::vfs::{
    Access, DirEntry, FileId, FileSystem, HoldsFile, LockKind, MemVfs, Stat, Vfs, VfsFile, VfsLock,
};

use super::World;

/// What is refused: a call on files whose name ends so, and with which error.
#[derive(Clone, Copy, Debug)]
struct Refusal {
    call: &'static str,
    name_end: &'static str,
    /// `None`: it panics.
    kind: Option<io::ErrorKind>,
    /// A code of the operating system, instead of a kind.
    code: Option<i32>,
}

/// What is refused now, if anything, and how often it was.
#[derive(Debug, Default)]
pub struct Rules {
    refusal: Mutex<Option<Refusal>>,
    refused: AtomicU64,
}

impl Rules {
    /// From now on this call on files whose name ends so is refused.
    pub fn refuse(
        &self,
        call: &'static str,
        name_end: &'static str,
        kind: impl Into<Option<io::ErrorKind>>,
    ) {
        let kind = kind.into();
        *self.refusal.lock().unwrap() = Some(Refusal { call, name_end, kind, code: None });
        self.refused.store(0, Ordering::SeqCst);
    }

    /// The same, with an error code of the operating system.
    pub fn refuse_code(&self, call: &'static str, name_end: &'static str, code: i32) {
        self.refuse(call, name_end, None);
        if let Some(refusal) = &mut *self.refusal.lock().unwrap() {
            refusal.code = Some(code);
        }
    }

    /// Nothing more is refused; how often something was.
    pub fn relent(&self) -> u64 {
        *self.refusal.lock().unwrap() = None;
        self.refused.load(Ordering::SeqCst)
    }

    fn check(&self, call: &str, path: &Path) -> io::Result<()> {
        let refusal = *self.refusal.lock().unwrap();
        match refusal {
            Some(Refusal { call: refused, name_end, kind, code })
                if refused == call && path.to_str().unwrap().ends_with(name_end) =>
            {
                self.refused.fetch_add(1, Ordering::SeqCst);
                match code {
                    Some(code) => Err(io::Error::from_raw_os_error(code)),
                    None => Err(kind.expect("a file system that panics").into()),
                }
            }
            _ => Ok(()),
        }
    }
}

/// A file system that refuses, by rules, before anything happens.
#[derive(Debug)]
struct Refusing {
    inner: Arc<dyn Vfs>,
    /// The path of the directory that names are relative to.
    base: PathBuf,
    rules: Arc<Rules>,
}

#[derive(Debug)]
struct RefusingFile<F> {
    inner: F,
    rules: Arc<Rules>,
    path: PathBuf,
}

/// A world on a file system that refuses what its rules say.
pub fn refusing(inner: MemVfs) -> (World, Arc<Rules>) {
    let rules = Arc::<Rules>::default();
    let base = PathBuf::new();
    let vfs = Refusing { inner: Arc::new(inner), base, rules: Arc::clone(&rules) };
    (World::new(vfs), rules)
}

impl Refusing {
    fn path(&self, path: &Path) -> PathBuf {
        match path.to_str() {
            Some(".") => self.base.clone(),
            Some("..") => self.base.parent().unwrap_or(&self.base).to_owned(),
            _ => self.base.join(path),
        }
    }

    fn check(&self, call: &str, path: &Path) -> io::Result<()> {
        self.rules.check(call, &self.path(path))
    }

    fn file(&self, path: &Path, inner: Arc<dyn VfsFile>) -> Arc<dyn VfsFile> {
        Arc::new(RefusingFile { inner, rules: Arc::clone(&self.rules), path: self.path(path) })
    }
}

impl Vfs for Refusing {
    fn open_dir(&self, path: &Path) -> io::Result<Arc<dyn Vfs>> {
        self.check("open_dir", path)?;
        let (inner, base) = (self.inner.open_dir(path)?, self.path(path));
        Ok(Arc::new(Refusing { inner, base, rules: Arc::clone(&self.rules) }))
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        self.check("stat", path)?;
        self.inner.stat(path)
    }

    fn is_inherited(&self) -> bool {
        self.inner.is_inherited()
    }

    fn file_system(&self) -> FileSystem {
        self.inner.file_system()
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn VfsFile>> {
        self.check("open", path)?;
        Ok(self.file(path, self.inner.open(path, access)?))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        self.check("create", path)?;
        Ok(self.file(path, self.inner.create(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.check("rename", from)?;
        self.inner.rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.check("link", to)?;
        self.inner.link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.check("remove", path)?;
        self.inner.remove(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.inner.remove_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.check("list", path)?;
        self.inner.list(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.check("create_dir", path)?;
        self.inner.create_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.check("sync_dir", path)?;
        self.inner.sync_dir(path)
    }

    fn lock(&self, path: &Path, kind: LockKind) -> io::Result<Box<dyn VfsLock>> {
        self.check("lock", path)?;
        let held = self.inner.lock(path, kind)?;
        let file =
            RefusingFile { inner: held, rules: Arc::clone(&self.rules), path: self.path(path) };
        Ok(Box::new(RefusingLock(file)))
    }
}

#[derive(Debug)]
struct RefusingLock(RefusingFile<Box<dyn VfsLock>>);

impl VfsLock for RefusingLock {
    fn file(&self) -> &dyn VfsFile {
        &self.0
    }
}

impl<F: HoldsFile> VfsFile for RefusingFile<F> {
    fn read_at(&self, buf: &mut [u8], pos: u64) -> io::Result<usize> {
        self.rules.check("read", &self.path)?;
        self.inner.file().read_at(buf, pos)
    }

    fn write_at(&self, buf: &[u8], pos: u64) -> io::Result<usize> {
        self.rules.check("write", &self.path)?;
        self.inner.file().write_at(buf, pos)
    }

    fn sync(&self) -> io::Result<()> {
        self.rules.check("sync", &self.path)?;
        self.inner.file().sync()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.rules.check("set_len", &self.path)?;
        self.inner.file().set_len(len)
    }

    fn allocate(&self, pos: u64, len: u64) -> io::Result<()> {
        self.rules.check("allocate", &self.path)?;
        self.inner.file().allocate(pos, len)
    }

    fn len(&self) -> io::Result<u64> {
        self.rules.check("len", &self.path)?;
        self.inner.file().len()
    }

    fn id(&self) -> io::Result<FileId> {
        self.inner.file().id()
    }
}
