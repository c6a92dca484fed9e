//! The two traits on the simulated disk: each method is one call through the gate.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, IoSlice};
use std::path::{MAIN_SEPARATOR, Path};
use std::sync::Arc;

use runstone_vfs::{Access, DirEntry, LockKind, Vfs, VfsFile, VfsLock};

use super::SimVfs;
use super::call::CallKind;
use super::trace::Call;

/// The text of a path in traces and digests: the same on every platform for names that are.
fn text(path: &Path) -> Cow<'_, str> {
    let text = path.to_string_lossy();
    if MAIN_SEPARATOR == '/' { text } else { Cow::Owned(text.replace(MAIN_SEPARATOR, "/")) }
}

impl SimVfs {
    fn handle(&self, path: &Path, access: Access, kind: CallKind) -> io::Result<Arc<dyn VfsFile>> {
        let text = text(path);
        let mut disk = self.disk();
        let more = if access == Access::Read { "read" } else { "" };
        let call = Call { more, ..Call::named(kind, &text) };
        let node = disk.serve(None, call, |disk, _| match kind {
            CallKind::Create => disk.create(path),
            _ => disk.open(path, access),
        })?;
        if let Some(node) = disk.tree.nodes.get_mut(&node) {
            node.opens += 1;
        }
        Ok(Arc::new(SimFile {
            vfs: self.clone(),
            node,
            generation: disk.generation,
            opened: disk.seq,
            access,
            path: text.into_owned(),
        }))
    }

    fn name_call(
        &self,
        kind: CallKind,
        path: &Path,
        more: Option<&Path>,
        run: impl FnOnce(&mut super::state::Disk) -> super::state::Outcome<()>,
    ) -> io::Result<()> {
        let more = more.map(text).unwrap_or_default();
        let text = text(path);
        let call = Call { more: &more, ..Call::named(kind, &text) };
        self.disk().serve(None, call, |disk, _| run(disk))
    }

    /// A handle or a lock on a node is gone.
    fn let_go(&self, node: u64, generation: u64, token: Option<u64>) {
        let mut disk = self.disk();
        if disk.is_alive(generation) {
            if let Some(token) = token {
                disk.locks.release(node, token);
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
}

impl Vfs for SimVfs {
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn VfsFile>> {
        self.handle(path, access, CallKind::Open)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        self.handle(path, Access::ReadWrite, CallKind::Create)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.name_call(CallKind::Rename, from, Some(to), |disk| disk.rename(from, to))
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.name_call(CallKind::Link, from, Some(to), |disk| disk.link(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.name_call(CallKind::Remove, path, None, |disk| disk.remove(path))
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.name_call(CallKind::RemoveDir, path, None, |disk| disk.remove_dir(path))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let text = text(path);
        let call = Call::named(CallKind::List, &text);
        self.disk().serve(None, call, |disk, _| disk.list(path))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.name_call(CallKind::CreateDir, path, None, |disk| disk.create_dir(path))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let text = text(path);
        let call = Call::named(CallKind::SyncDir, &text);
        self.disk().serve(None, call, |disk, fault| disk.sync_dir(path, fault))
    }

    fn lock(&self, path: &Path, kind: LockKind) -> io::Result<Box<dyn VfsLock>> {
        let more = if kind == LockKind::Shared { "shared" } else { "exclusive" };
        let text = text(path);
        let call = Call { more, ..Call::named(CallKind::Lock, &text) };
        let mut disk = self.disk();
        let (node, token) = disk.serve(None, call, |disk, _| disk.lock(path, kind))?;
        if let Some(node) = disk.tree.nodes.get_mut(&node) {
            node.opens += 1;
        }
        Ok(Box::new(SimLock { vfs: self.clone(), node, token, generation: disk.generation }))
    }
}

/// An open file of a [`SimVfs`].
struct SimFile {
    vfs: SimVfs,
    node: u64,
    generation: u64,
    /// The latest change when it was opened.
    opened: u64,
    access: Access,
    path: String,
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
}

impl Drop for SimFile {
    fn drop(&mut self) {
        self.vfs.let_go(self.node, self.generation, None);
    }
}

/// A held lock of a [`SimVfs`].
struct SimLock {
    vfs: SimVfs,
    node: u64,
    token: u64,
    generation: u64,
}

impl fmt::Debug for SimLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimLock").field("node", &self.node).finish_non_exhaustive()
    }
}

impl VfsLock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.vfs.let_go(self.node, self.generation, Some(self.token));
    }
}
