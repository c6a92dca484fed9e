//! The traits on the simulated disk: each method is one call through the gate.
//!
//! Invariants: a directory that was opened ([`SimDir`]) and the disk itself take the same way to
//! the same names, from another start; traces call a file in it by the path under which the
//! directory was opened.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, IoSlice};
use std::path::{MAIN_SEPARATOR, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use runstone_vfs::{Access, DirEntry, FileId, FileSystem, LockKind, Stat, Vfs, VfsFile, VfsLock};

use super::SimVfs;
use super::call::CallKind;
use super::dir::{At, ROOT};
use super::state::{Disk, Outcome, simulated_crash};
use super::trace::Call;

/// The text of a path in traces and digests: the same on every platform for names that are.
fn text(path: &Path) -> Cow<'_, str> {
    let text = path.to_string_lossy();
    if MAIN_SEPARATOR == '/' { text } else { Cow::Owned(text.replace(MAIN_SEPARATOR, "/")) }
}

/// A directory of a [`SimVfs`] that is open.
struct SimDir {
    vfs: SimVfs,
    node: u64,
    generation: u64,
    process: u64,
    /// The path under which it was opened.
    path: PathBuf,
    /// How many files of it are open.
    files: Arc<AtomicU64>,
}

impl fmt::Debug for SimDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimDir").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Drop for SimDir {
    fn drop(&mut self) {
        self.vfs.let_go(self.node, self.generation, None);
    }
}

/// Where names start: at the root, or at a directory that is open.
#[derive(Clone, Copy)]
struct Names<'a> {
    vfs: &'a SimVfs,
    dir: Option<&'a SimDir>,
}

impl<'a> Names<'a> {
    fn at<'p>(&self, path: &'p Path) -> At<'p> {
        At(self.dir.map_or(ROOT, |dir| dir.node), path)
    }

    fn generation(&self) -> Option<u64> {
        self.dir.map(|dir| dir.generation)
    }

    /// The path as traces write it.
    fn text<'p>(&self, path: &'p Path) -> Cow<'p, str> {
        match self.dir {
            None => text(path),
            Some(dir) if path == Path::new(".") => Cow::Owned(text(&dir.path).into_owned()),
            Some(dir) => Cow::Owned(match path.to_str() {
                // One allocation, of the right size.
                Some(name) if MAIN_SEPARATOR == '/' && !name.starts_with('/') => {
                    let dir = dir.path.to_string_lossy();
                    let slash = if dir.ends_with('/') { "" } else { "/" };
                    [&dir, slash, name].concat()
                }
                _ => text(&dir.path.join(path)).into_owned(),
            }),
        }
    }

    fn call<T>(
        &self,
        kind: CallKind,
        path: &Path,
        more: &str,
        run: impl FnOnce(&mut Disk, Option<super::faults::Fault>) -> Outcome<T>,
    ) -> io::Result<T> {
        let text = self.text(path);
        let call = Call { more, ..Call::named(kind, &text) };
        self.vfs.disk().serve(self.generation(), call, run)
    }

    fn file(
        &self,
        kind: CallKind,
        path: &Path,
        access: Access,
        more: &str,
        run: impl FnOnce(&mut Disk) -> Outcome<u64>,
    ) -> io::Result<SimFile> {
        let text = self.text(path);
        let call = Call { more, ..Call::named(kind, &text) };
        let mut disk = self.vfs.disk();
        let node = disk.serve(self.generation(), call, |disk, _| run(disk))?;
        disk.hold(node);
        let (generation, opened) = (disk.generation, disk.seq);
        let (vfs, path) = (self.vfs.clone(), text.into_owned());
        let of_dir = self.dir.map(|dir| Arc::clone(&dir.files));
        if let Some(files) = &of_dir {
            let open = files.fetch_add(1, Ordering::Relaxed) + 1;
            disk.files_most = disk.files_most.max(open);
        }
        Ok(SimFile { vfs, node, generation, opened, access, path, of_dir })
    }

    fn open_dir(&self, path: &Path) -> io::Result<Arc<dyn Vfs>> {
        let text = self.text(path);
        let call = Call::named(CallKind::OpenDir, &text);
        let mut disk = self.vfs.disk();
        let node = disk.serve(self.generation(), call, |disk, _| disk.open_dir(self.at(path)))?;
        disk.hold(node);
        let (generation, process) = (disk.generation, disk.process);
        let (vfs, path) = (self.vfs.clone(), PathBuf::from(text.as_ref()));
        let files = Arc::default();
        Ok(Arc::new(SimDir { vfs, node, generation, process, path, files }))
    }

    fn lock(&self, path: &Path, kind: LockKind) -> io::Result<Box<dyn VfsLock>> {
        let (more, access) = match kind {
            LockKind::Shared => ("shared", Access::Read),
            LockKind::Exclusive => ("exclusive", Access::ReadWrite),
        };
        let mut token = 0;
        let file = self.file(CallKind::Lock, path, access, more, |disk| {
            let (held, node) = disk.lock(self.at(path), kind)?;
            token = held.1;
            Ok((held.0, node))
        })?;
        Ok(Box::new(SimLock { file, token }))
    }
}

impl SimVfs {
    fn names(&self) -> Names<'_> {
        Names { vfs: self, dir: None }
    }

    /// A handle or a lock on a node is gone.
    fn let_go(&self, node: u64, generation: u64, token: Option<u64>) {
        let mut disk = self.disk();
        if !disk.is_alive(generation) {
            return;
        }
        if let Some(token) = token {
            disk.locks.release(node, token);
            return;
        }
        let is_unused = disk.tree.nodes.get_mut(&node).is_some_and(|node| {
            node.opens = node.opens.saturating_sub(1);
            node.opens == 0 && node.links == 0
        });
        // Nothing else has become unused.
        if is_unused {
            disk.tree.sweep();
        }
    }
}

impl SimDir {
    fn names(&self) -> Names<'_> {
        Names { vfs: &self.vfs, dir: Some(self) }
    }
}

/// The trait, by way of `names`.
macro_rules! names_are_calls {
    ($type:ty, $is_inherited:expr) => {
        impl Vfs for $type {
            fn open_dir(&self, path: &Path) -> io::Result<Arc<dyn Vfs>> {
                self.names().open_dir(path)
            }

            fn stat(&self, path: &Path) -> io::Result<Stat> {
                let names = self.names();
                names.call(CallKind::Stat, path, "", |disk, _| disk.stat(names.at(path)))
            }

            fn is_inherited(&self) -> bool {
                $is_inherited(self)
            }

            /// No call: whoever has opened the directory knows it.
            fn file_system(&self) -> FileSystem {
                self.names().vfs.disk().config.file_system
            }

            /// No call: whoever writes knows it.
            fn file_bytes_max(&self) -> u64 {
                self.names().vfs.disk().config.file_bytes_max
            }

            fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn VfsFile>> {
                let (names, more) =
                    (self.names(), if access == Access::Read { "read" } else { "" });
                let open = |disk: &mut Disk| disk.open(names.at(path), access);
                Ok(Arc::new(names.file(CallKind::Open, path, access, more, open)?))
            }

            fn create(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
                let names = self.names();
                let create = |disk: &mut Disk| disk.create(names.at(path));
                Ok(Arc::new(names.file(CallKind::Create, path, Access::ReadWrite, "", create)?))
            }

            fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
                let names = self.names();
                names.call(CallKind::Rename, from, &names.text(to), |disk, _| {
                    disk.rename(names.at(from), names.at(to))
                })
            }

            fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
                let names = self.names();
                names.call(CallKind::Link, from, &names.text(to), |disk, _| {
                    disk.link(names.at(from), names.at(to))
                })
            }

            fn remove(&self, path: &Path) -> io::Result<()> {
                let names = self.names();
                names.call(CallKind::Remove, path, "", |disk, _| disk.remove(names.at(path)))
            }

            fn remove_dir(&self, path: &Path) -> io::Result<()> {
                let names = self.names();
                names.call(CallKind::RemoveDir, path, "", |disk, _| disk.remove_dir(names.at(path)))
            }

            fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
                let names = self.names();
                names.call(CallKind::List, path, "", |disk, _| disk.list(names.at(path)))
            }

            fn create_dir(&self, path: &Path) -> io::Result<()> {
                let names = self.names();
                names.call(CallKind::CreateDir, path, "", |disk, _| disk.create_dir(names.at(path)))
            }

            fn sync_dir(&self, path: &Path) -> io::Result<()> {
                let names = self.names();
                names.call(CallKind::SyncDir, path, "", |disk, fault| {
                    disk.sync_dir(names.at(path), fault)
                })
            }

            fn lock(&self, path: &Path, kind: LockKind) -> io::Result<Box<dyn VfsLock>> {
                self.names().lock(path, kind)
            }
        }
    };
}

names_are_calls!(SimVfs, |_: &SimVfs| false);
names_are_calls!(SimDir, |dir: &SimDir| dir.vfs.disk().process != dir.process);

/// An open file of a [`SimVfs`].
struct SimFile {
    vfs: SimVfs,
    node: u64,
    generation: u64,
    /// The latest change when it was opened.
    opened: u64,
    access: Access,
    path: String,
    /// How many files of its directory are open.
    of_dir: Option<Arc<AtomicU64>>,
}

impl fmt::Debug for SimFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimFile").field("path", &self.path).finish_non_exhaustive()
    }
}

impl SimFile {
    fn call(&self, kind: CallKind, pos: u64, len: u64) -> Call<'_> {
        Call { kind, path: &self.path, more: "", pos, len }
    }

    fn write(&self, bytes: Vec<u8>, pos: u64) -> io::Result<usize> {
        let call = self.call(CallKind::Write, pos, bytes.len() as u64);
        self.vfs.disk().serve(Some(self.generation), call, |disk, fault| {
            self.access.check_write()?;
            disk.write(self.node, bytes, pos, fault)
        })
    }
}

impl VfsFile for SimFile {
    fn read_at(&self, buf: &mut [u8], pos: u64) -> io::Result<usize> {
        let call = self.call(CallKind::Read, pos, buf.len() as u64);
        self.vfs
            .disk()
            .serve(Some(self.generation), call, |disk, fault| disk.read(self.node, buf, pos, fault))
    }

    fn write_at(&self, buf: &[u8], pos: u64) -> io::Result<usize> {
        self.write(buf.to_vec(), pos)
    }

    fn write_vectored_at(&self, bufs: &[IoSlice<'_>], pos: u64) -> io::Result<usize> {
        let mut bytes = Vec::with_capacity(bufs.iter().map(|buf| buf.len()).sum());
        for buf in bufs {
            bytes.extend_from_slice(buf);
        }
        self.write(bytes, pos)
    }

    fn sync(&self) -> io::Result<()> {
        let call = self.call(CallKind::Sync, 0, 0);
        self.vfs.disk().serve(Some(self.generation), call, |disk, fault| {
            disk.sync(self.node, self.opened, fault)
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let call = self.call(CallKind::SetLen, 0, len);
        self.vfs.disk().serve(Some(self.generation), call, |disk, _| {
            self.access.check_write()?;
            disk.set_len(self.node, len)
        })
    }

    fn allocate(&self, pos: u64, len: u64) -> io::Result<()> {
        let call = self.call(CallKind::Allocate, pos, len);
        self.vfs.disk().serve(Some(self.generation), call, |disk, _| {
            self.access.check_write()?;
            disk.allocate(self.node, pos, len)
        })
    }

    fn len(&self) -> io::Result<u64> {
        let call = self.call(CallKind::Len, 0, 0);
        self.vfs.disk().serve(Some(self.generation), call, |disk, _| disk.len(self.node))
    }

    /// No call: an open handle knows it.
    fn id(&self) -> io::Result<FileId> {
        match self.vfs.disk().is_alive(self.generation) {
            true => Ok(FileId { device: 0, inode: self.node }),
            false => Err(simulated_crash()),
        }
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        if let Some(files) = &self.of_dir {
            files.fetch_sub(1, Ordering::Relaxed);
        }
        self.vfs.let_go(self.node, self.generation, None);
    }
}

/// A held lock of a [`SimVfs`].
struct SimLock {
    file: SimFile,
    token: u64,
}

impl fmt::Debug for SimLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimLock").field("path", &self.file.path).finish_non_exhaustive()
    }
}

impl VfsLock for SimLock {
    fn file(&self) -> &dyn VfsFile {
        &self.file
    }
}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.file.vfs.let_go(self.file.node, self.file.generation, Some(self.token));
    }
}
