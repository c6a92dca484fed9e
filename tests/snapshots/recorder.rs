//! A file system that writes down every call: one line with name, offset, length and result.
//!
//! A pure decorator: it changes nothing, fails nothing, and holds no state but the lines.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use runstone_vfs::{
    Access, DirEntry, FileId, FileSystem, HoldsFile, LockKind, Stat, Vfs, VfsFile, VfsLock,
};

use crate::fixture::OWN_PREFIX;

/// The lines so far; clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    pub(crate) fn push(&self, line: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    /// All lines, and forgets them.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn call<T>(&self, name: &str, what: &str, result: &io::Result<T>, ok: impl Fn(&T) -> String) {
        let outcome = match result {
            Ok(value) => ok(value),
            Err(error) => format!("{:?}", error.kind()),
        };
        self.push(format!("  {name:<10} {what:<34} {outcome}"));
    }
}

fn ok<T>(_value: &T) -> String {
    "ok".to_owned()
}

/// The decorator.
#[derive(Debug)]
pub(crate) struct Recorder {
    inner: Arc<dyn Vfs>,
    /// What names are relative to.
    base: PathBuf,
    dir: PathBuf,
    lines: Lines,
}

impl Recorder {
    /// Records the calls to `inner`, with names relative to `dir`.
    pub(crate) fn new(inner: Arc<dyn Vfs>, dir: &Path, lines: Lines) -> Self {
        Recorder { inner, base: PathBuf::new(), dir: dir.to_owned(), lines }
    }

    /// A path as traces show it: a bare name in the directory, `.` for the directory itself.
    fn name(&self, path: &Path) -> String {
        let path = match path.to_str() {
            Some(".") => self.base.clone(),
            _ => self.base.join(path),
        };
        match path.strip_prefix(&self.dir) {
            Ok(rest) if rest.as_os_str().is_empty() => ".".to_owned(),
            Ok(rest) => rest.display().to_string().replace(OWN_PREFIX, "runstone-ID-"),
            Err(_) => path.display().to_string(),
        }
    }

    fn file(&self, path: &Path, file: Arc<dyn VfsFile>) -> Arc<dyn VfsFile> {
        Arc::new(RecordedFile { inner: file, name: self.name(path), lines: self.lines.clone() })
    }
}

impl Vfs for Recorder {
    fn open_dir(&self, path: &Path) -> io::Result<Arc<dyn Vfs>> {
        let result = self.inner.open_dir(path);
        self.lines.call("open_dir", &self.name(path), &result, ok);
        let (base, dir, lines) = (self.base.join(path), self.dir.clone(), self.lines.clone());
        Ok(Arc::new(Recorder { inner: result?, base, dir, lines }))
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        let result = self.inner.stat(path);
        self.lines.call("stat", &self.name(path), &result, |found| format!("{:?}", found.kind));
        result
    }

    fn is_inherited(&self) -> bool {
        self.inner.is_inherited()
    }

    fn file_system(&self) -> FileSystem {
        self.inner.file_system()
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn VfsFile>> {
        let result = self.inner.open(path, access);
        let what = match access {
            Access::Read => self.name(path),
            Access::ReadWrite => format!("{} for writing", self.name(path)),
        };
        self.lines.call("open", &what, &result, ok);
        Ok(self.file(path, result?))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        let result = self.inner.create(path);
        self.lines.call("create", &self.name(path), &result, ok);
        Ok(self.file(path, result?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let result = self.inner.rename(from, to);
        let what = format!("{} -> {}", self.name(from), self.name(to));
        self.lines.call("rename", &what, &result, ok);
        result
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let result = self.inner.link(from, to);
        let what = format!("{} -> {}", self.name(from), self.name(to));
        self.lines.call("link", &what, &result, ok);
        result
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let result = self.inner.remove(path);
        self.lines.call("remove", &self.name(path), &result, ok);
        result
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let result = self.inner.remove_dir(path);
        self.lines.call("remove_dir", &self.name(path), &result, ok);
        result
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let result = self.inner.list(path);
        self.lines.call("list", &self.name(path), &result, |entries| {
            format!("{} entries", entries.len())
        });
        result
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let result = self.inner.create_dir(path);
        self.lines.call("create_dir", &self.name(path), &result, ok);
        result
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let result = self.inner.sync_dir(path);
        self.lines.call("SYNC_DIR", &self.name(path), &result, ok);
        result
    }

    fn lock(&self, path: &Path, kind: LockKind) -> io::Result<Box<dyn VfsLock>> {
        let result = self.inner.lock(path, kind);
        self.lines.call("lock", &format!("{} {kind:?}", self.name(path)), &result, ok);
        Ok(Box::new(RecordedLock(RecordedFile {
            inner: result?,
            name: self.name(path),
            lines: self.lines.clone(),
        })))
    }
}

#[derive(Debug)]
struct RecordedLock(RecordedFile<Box<dyn VfsLock>>);

impl VfsLock for RecordedLock {
    fn file(&self) -> &dyn VfsFile {
        &self.0
    }
}

#[derive(Debug)]
struct RecordedFile<F> {
    inner: F,
    name: String,
    lines: Lines,
}

impl<F> RecordedFile<F> {
    fn range(&self, pos: u64, len: u64) -> String {
        format!("{} at {pos}, {len} bytes", self.name)
    }
}

impl<F: HoldsFile> VfsFile for RecordedFile<F> {
    fn read_at(&self, buf: &mut [u8], pos: u64) -> io::Result<usize> {
        let result = self.inner.file().read_at(buf, pos);
        let what = self.range(pos, buf.len() as u64);
        self.lines.call("read", &what, &result, |n| format!("{n} read"));
        result
    }

    fn write_at(&self, buf: &[u8], pos: u64) -> io::Result<usize> {
        let result = self.inner.file().write_at(buf, pos);
        let zeros = !buf.is_empty() && buf.iter().all(|byte| *byte == 0);
        let name = if zeros { "write 0s" } else { "write" };
        self.lines.call(name, &self.range(pos, buf.len() as u64), &result, |n| {
            if *n == buf.len() { "ok".to_owned() } else { format!("{n} written") }
        });
        result
    }

    fn write_vectored_at(&self, bufs: &[IoSlice<'_>], pos: u64) -> io::Result<usize> {
        let result = self.inner.file().write_vectored_at(bufs, pos);
        let len: usize = bufs.iter().map(|buf| buf.len()).sum();
        self.lines.call("writev", &self.range(pos, len as u64), &result, |n| {
            if *n == len { "ok".to_owned() } else { format!("{n} written") }
        });
        result
    }

    fn sync(&self) -> io::Result<()> {
        let result = self.inner.file().sync();
        self.lines.call("SYNC", &self.name, &result, ok);
        result
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let result = self.inner.file().set_len(len);
        self.lines.call("set_len", &format!("{} to {len} bytes", self.name), &result, ok);
        result
    }

    fn allocate(&self, pos: u64, len: u64) -> io::Result<()> {
        let result = self.inner.file().allocate(pos, len);
        self.lines.call("allocate", &self.range(pos, len), &result, ok);
        result
    }

    fn len(&self) -> io::Result<u64> {
        let result = self.inner.file().len();
        self.lines.call("len", &self.name, &result, |n| format!("{n} bytes"));
        result
    }

    fn id(&self) -> io::Result<FileId> {
        self.inner.file().id()
    }
}
