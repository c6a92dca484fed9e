//! How often each cell of the failed-sync matrix was reached: whose sync failed, what the file
//! system made of it, and what followed.
//!
//! `docs/failed-sync.md` has the contract of each cell.

use std::collections::BTreeMap;

use super::verdict::Stopped;
use crate::disk::{FailedSync, SimVfs, SyncFlavour};

/// A failed sync whose end is not known yet.
#[derive(Debug)]
struct Waiting {
    cell: String,
    went_on: bool,
}

/// Counts cells.
#[derive(Debug, Default)]
pub(super) struct FailedSyncs {
    seen: usize,
    waiting: Vec<Waiting>,
    pub(super) counts: BTreeMap<String, u64>,
}

/// Whose sync it was, by the names of the store's files.
fn file_kind(failed: &FailedSync) -> &'static str {
    let is = |ending: &str| failed.path.ends_with(ending);
    match () {
        () if failed.is_dir => "directory",
        () if is(".log") => "log",
        () if is(".tmp") || is("runstone.manifest") => "manifest",
        () => "lock",
    }
}

/// What the file system made of it.
fn behaviour(failed: &FailedSync) -> &'static str {
    match failed.flavour {
        _ if failed.late => "late",
        SyncFlavour::Doomed => "new bytes in the cache",
        SyncFlavour::Reverted => "reverted",
        SyncFlavour::SizeKept => "size kept",
        SyncFlavour::Harmless => "harmless",
    }
}

impl FailedSyncs {
    /// After each operation: those that waited before it have gone on.
    pub(super) fn after_op(&mut self, disk: &SimVfs) {
        for waiting in self.waiting.iter_mut().filter(|waiting| !waiting.went_on) {
            waiting.went_on = true;
            *self.counts.entry(format!("{}, went on", waiting.cell)).or_default() += 1;
        }
        self.look(disk);
    }

    /// The store is about to be opened, after this.
    pub(super) fn opens(&mut self, disk: &SimVfs, stopped: Stopped) {
        self.look(disk);
        let followed = if stopped == Stopped::Power { "power loss" } else { "opened again" };
        for waiting in std::mem::take(&mut self.waiting) {
            *self.counts.entry(format!("{}, {followed}", waiting.cell)).or_default() += 1;
        }
    }

    fn look(&mut self, disk: &SimVfs) {
        for failed in disk.failed_syncs_since(self.seen) {
            self.seen += 1;
            let cell = format!("{}, {}", file_kind(&failed), behaviour(&failed));
            self.waiting.push(Waiting { cell, went_on: false });
        }
    }
}
