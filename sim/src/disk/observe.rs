//! Looking at the disk from outside: its content, and the numbers of its files, for a recorder,
//! an oracle and the statement of the legal states. Changes nothing, and draws nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::SimVfs;
use super::call::CallKind;
use super::dir::{At, Place, ROOT};
use super::faults::{FailedSync, Injected};
use super::inode::FileNode;
use super::trace::SeenCall;

/// A name: its directory's number, its text, its own number, and the content of a file.
pub type NodeName = (u64, String, u64, Option<Vec<u8>>);

/// Looking at the disk by the numbers of its files.
impl SimVfs {
    /// The number of the file or directory that a path names now. Never given to another.
    pub fn ino(&self, path: &Path) -> Option<u64> {
        self.disk().tree.find(At::root(path)).ok()
    }

    /// What reads of a file would see, if nothing were evicted.
    pub fn content(&self, ino: u64) -> Option<Vec<u8>> {
        self.disk().tree.file(ino).ok().map(|file| file.live.clone())
    }

    /// The most files that were open at once by way of one [`Vfs::open_dir`], since this was asked
    /// the last time.
    ///
    /// [`Vfs::open_dir`]: runstone_vfs::Vfs::open_dir
    pub(crate) fn take_files_most(&self) -> u64 {
        std::mem::take(&mut self.disk().files_most)
    }

    /// How many files are open that have no name any more, and begin with these bytes.
    pub(crate) fn open_without_a_name(&self, magic: &[u8]) -> usize {
        let disk = self.disk();
        let left = disk.tree.nodes.values().filter(|node| node.links == 0 && node.opens > 0);
        left.filter_map(|node| node.file()).filter(|file| file.live.starts_with(magic)).count()
    }

    /// How many calls of this kind there were.
    pub(crate) fn calls_of(&self, kind: CallKind) -> u64 {
        self.disk().stats.calls.get(&kind).copied().unwrap_or(0)
    }

    /// Whether the call of this number failed directly behind the sync of a file.
    pub(crate) fn failed_behind_sync(&self, call: u64) -> bool {
        self.disk().failed_behind_sync.contains(&call)
    }

    /// Keeps every call from now on.
    pub(crate) fn keep_calls(&self) {
        self.disk().seen = Some(Vec::new());
    }

    /// The calls that were kept.
    pub(crate) fn take_calls(&self) -> Vec<SeenCall> {
        self.disk().seen.take().unwrap_or_default()
    }

    /// Every fault so far, in order: [`FaultMode::Listed`](super::FaultMode::Listed) repeats them.
    pub fn injected(&self) -> Vec<Injected> {
        self.disk().faults.injected.clone()
    }

    /// Every fault but the first `from` of [`SimVfs::injected`].
    pub fn injected_since(&self, from: usize) -> Vec<Injected> {
        self.disk().faults.injected.get(from..).unwrap_or_default().to_vec()
    }

    /// Every sync that has failed but the first `from`, in order.
    pub fn failed_syncs_since(&self, from: usize) -> Vec<FailedSync> {
        self.disk().failed_syncs.get(from..).unwrap_or_default().to_vec()
    }

    /// The names in a directory, as calls see them; none if there is no such directory.
    pub fn names_in(&self, dir: &Path) -> Vec<String> {
        let disk = self.disk();
        let found = disk.tree.find(At::root(dir)).ok().and_then(|id| disk.tree.dir(id).ok());
        let names = found.map(|dir| dir.live.keys().cloned());
        names.map(Iterator::collect).unwrap_or_default()
    }

    /// The number of the root, and every name below it as calls see them.
    pub fn nodes(&self) -> (u64, Vec<NodeName>) {
        let disk = self.disk();
        let mut names = Vec::new();
        let mut open = vec![ROOT];
        while let Some(id) = open.pop() {
            let Ok(dir) = disk.tree.dir(id) else { continue };
            for (name, &child) in &dir.live {
                let content = disk.tree.file(child).ok().map(|file| file.live.clone());
                if content.is_none() {
                    open.push(child);
                }
                names.push((id, name.clone(), child, content));
            }
        }
        (ROOT, names)
    }
}

/// Looking at the disk from outside.
impl SimVfs {
    /// Every file as reads see it, by absolute path.
    pub fn live_image(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        self.image(false)
    }

    /// Every file as it is if nothing more than what was promised survives.
    pub fn durable_image(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        self.image(true)
    }

    /// One file as reads see it, or as it is if nothing more than what was promised survives.
    pub(crate) fn read_whole(&self, path: &Path, durable: bool) -> Option<Vec<u8>> {
        self.with_file(path, durable, <[u8]>::to_vec)
    }

    /// The same, without a copy.
    pub(crate) fn with_file<T>(
        &self,
        path: &Path,
        durable: bool,
        look: impl FnOnce(&[u8]) -> T,
    ) -> Option<T> {
        let disk = self.disk();
        let id = disk.tree.lookup(path, durable)?;
        let file = disk.tree.file(id).ok()?;
        Some(look(if durable { &file.durable } else { &file.live }))
    }

    /// A digest of every name and every byte that reads see.
    pub(crate) fn state_digest(&self) -> u64 {
        let disk = self.disk();
        let mut digest = crate::digest::Digest::new();
        for (path, id) in disk.tree.paths(false) {
            digest.bytes(path.as_os_str().as_encoded_bytes());
            match disk.tree.file(id) {
                Ok(file) => digest.bytes(&file.live),
                Err(_) => digest.u8(1),
            }
        }
        digest.value()
    }

    fn image(&self, durable: bool) -> BTreeMap<PathBuf, Vec<u8>> {
        let disk = self.disk();
        let mut image = BTreeMap::new();
        for (path, id) in disk.tree.paths(durable) {
            if let Ok(file) = disk.tree.file(id) {
                let content = if durable { &file.durable } else { &file.live };
                image.insert(path, content.clone());
            }
        }
        image
    }

    /// Whether the file or directory of this path, its names up to the root, and for a file
    /// all of its content, survive any crash.
    pub fn is_durable(&self, path: &Path) -> bool {
        let disk = self.disk();
        let Ok(id) = disk.tree.find(At::root(path)) else { return false };
        let path = Path::new("/").join(path);
        let is_named = id == ROOT || disk.tree.paths(true).contains(&(path.clone(), id));
        let may_change = |part: &Path| match disk.tree.locate(At::root(part)) {
            Ok(Place::Entry { dir, name, .. }) => disk.tree.has_pending(dir, &name),
            _ => false,
        };
        let content = disk.tree.file(id);
        is_named && !path.ancestors().any(may_change) && content.map_or(true, FileNode::is_clean)
    }
}
