//! That a file that is not the store's ([`super::foreign`]) is left alone (C12).

use std::path::Path;

use super::ledger::WATCH;
use super::runner::Runner;
use super::verdict::Checked;
use super::world::DIR;

/// A name of LevelDB, and of many a program.
const FOREIGN: &str = "/data/store/000001.log";

impl Runner<'_> {
    /// C12: puts a file into the directory that the store must never touch. If a crash comes
    /// between, it may be lost, and nothing is claimed.
    pub(super) fn leave_foreign_file(&mut self) {
        if self.foreign.is_empty() {
            return;
        }
        self.disk.enable_faults(false);
        self.disk.unwatch();
        let vfs = self.vfs();
        let made = vfs.create(Path::new(FOREIGN)).and_then(|file| {
            file.write_at(&self.foreign, 0)?;
            file.sync()?;
            vfs.sync_dir(Path::new(DIR))
        });
        self.disk.enable_faults(true);
        self.disk.watch(WATCH);
        self.has_foreign = made.is_ok();
    }

    /// C12: the file is there, as it was written.
    pub(super) fn foreign_file_is_left(&self) -> Checked {
        if !self.has_foreign {
            return Ok(());
        }
        match self.disk.live_image().get(Path::new(FOREIGN)) {
            None => self.fail("C12", "a file that is not the store's was removed"),
            Some(found) if *found != self.foreign => {
                self.fail("C12", "a file that is not the store's was changed")
            }
            Some(_) => Ok(()),
        }
    }
}
