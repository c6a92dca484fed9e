//! Looking at the disk by the numbers of its files, as `stat` would: for a recorder and for the
//! statement of the legal states. Changes nothing, and draws nothing.

use std::path::Path;

use super::SimVfs;
use super::call::CallKind;
use super::dir::{At, ROOT};
use super::faults::{FailedSync, Injected};
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
