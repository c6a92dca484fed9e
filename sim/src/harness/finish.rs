//! After the last operation: the store is usable, drains, and leaves nothing behind.

use std::path::Path;

use super::case::{ChangeSpec, LevelSpec, Op};
use super::ledger::WATCH;
use super::oracle;
use super::runner::{Checked, DIR, Runner};

/// A name that looks like the store's own, and is not: numbers have six digits.
const FOREIGN: &str = "/data/store/00001.log";
/// In one case of so many there is such a file.
const FOREIGN_ONE_IN: u64 = 4;

impl Runner<'_> {
    /// C12: puts a file into the directory that the store must never touch. If a crash comes
    /// between, it may be lost, and nothing is claimed.
    pub(super) fn leave_foreign_file(&mut self) {
        if !self.case.seed.is_multiple_of(FOREIGN_ONE_IN) {
            return;
        }
        self.disk.enable_faults(false);
        self.disk.unwatch();
        let vfs = self.vfs();
        let made = vfs.create(Path::new(FOREIGN)).and_then(|file| {
            file.write_at(b"not the store's", 0)?;
            file.sync()?;
            vfs.sync_dir(Path::new(DIR))
        });
        self.disk.enable_faults(true);
        self.disk.watch(WATCH);
        self.has_foreign = made.is_ok();
    }

    /// C10: maintenance drains in a bounded number of steps.
    pub(super) fn drain(&mut self) -> Checked {
        for _ in 0..64 {
            match self.db()?.maintain() {
                Ok(report) if report.left == 0 => return Ok(()),
                Ok(_) => {}
                outcome => {
                    // An error that was kept back is reported now.
                    self.upkeep("maintain", outcome.map(|_| ()))?;
                    self.leave_poisoned()?;
                    self.disk.heal();
                }
            }
        }
        self.fail("C10", "maintenance does not drain")
    }

    /// C9, C10, C12: after the last operation the store is usable and leaves nothing behind.
    pub(super) fn finish(&mut self) -> Checked {
        self.disk.disarm_crash();
        self.nested.clear();
        self.healed = true;
        self.disk.heal();
        if self.poisoned {
            self.leave_poisoned()?;
        }
        self.disk.heal();
        while !self.pending.is_empty() {
            let before = self.pending.len();
            self.perform(&Op::Step)?;
            if self.poisoned {
                break;
            }
            if self.pending.len() >= before {
                return self.fail("C10", "the queue does not drain");
            }
        }
        if self.poisoned {
            // An error of before the healing was reported only now.
            self.leave_poisoned()?;
            self.disk.heal();
        }
        let outcome = oracle::compare(self.db()?, &self.model, self.now_ms()).and_then(|()| {
            oracle::compare_all_gets(self.db.as_ref().ok_or("")?, &self.model, self.now_ms())
        });
        self.require("read", outcome)?;
        // Errors that were kept back may be reported by up to one more sync for each file.
        for _ in 0..4 {
            self.perform(&Op::Reopen)?;
            self.disk.heal();
            if !self.poisoned {
                break;
            }
        }
        self.open_twice()?;
        self.drain()?;
        if self.is_strict() {
            let image = self.disk.live_image();
            self.require("C12", oracle::leaks(&image, Path::new(DIR)))?;
            if self.has_foreign && !image.contains_key(Path::new(FOREIGN)) {
                return self.fail("C12", "a file that is not the store's was removed");
            }
        }
        let run = (0..oracle::RUNS).find(|run| !self.model.knows_run(*run));
        let probe = match (run, self.model.active_runs().first()) {
            (_, Some(run)) => ChangeSpec::Delete { run: *run, key: 0 },
            (Some(run), None) => ChangeSpec::Begin { run, parent: None, tags: 0 },
            (None, None) => return Ok(()),
        };
        // An error that a failing disk kept back may still be reported, once for each file.
        for _ in 0..6 {
            self.write(probe, LevelSpec::Strict)?;
            if !self.poisoned {
                break;
            }
            self.leave_poisoned()?;
            self.disk.heal();
            if self.model.check(&[probe]).is_err() {
                return Ok(());
            }
        }
        let accepted = self.durable == self.model.version() || self.case.options.mode != 0;
        if self.poisoned || !accepted && !self.case.options.may_be_full() {
            return self.fail("C10", "a write was refused after the faults had stopped");
        }
        Ok(())
    }
}
