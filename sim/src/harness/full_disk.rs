//! What holds from now on when a disk was full, or refused a call: what waits in memory, and for
//! what.

use runstone::Error;

use super::runner::Runner;
use crate::disk::CallKind;

impl Runner<'_> {
    /// Something met a full disk.
    pub(super) fn disk_was_full(&mut self) {
        self.full_at = Some(self.clock.now().1);
        self.full_unseen = true;
        if self.looks() && self.last_in_files() < self.model.version() {
            self.stuck = Some(self.model.version());
        }
    }

    /// A commit met a full disk: if it has tried to make a file, its rotation waits to go on.
    pub(super) fn commit_met_full_disk(&mut self) {
        self.in_rotation |= self.disk.calls_of(CallKind::Create) > self.creates_before;
        self.disk_was_full();
    }

    /// The same of a step that is no commit.
    pub(super) fn upkeep_met_full_disk(&mut self, error: &Error) {
        let stuck = self.stuck;
        match self.case.options.flushes() {
            true => self.commit_met_full_disk(),
            false => self.disk_was_full(),
        }
        self.overtakes_tables(error, stuck);
    }

    /// The same of one that was refused.
    pub(super) fn upkeep_was_refused(&mut self, error: &Error) {
        let stuck = self.stuck;
        match self.case.options.flushes() {
            true => self.commit_was_refused(),
            false => self.was_refused(),
        }
        self.overtakes_tables(error, stuck);
    }

    /// A table that cannot be written, or not be named, keeps no commit from its file: what was
    /// stuck before still is.
    fn overtakes_tables(&mut self, error: &Error, stuck: Option<u64>) {
        if self.case.options.flushes() && !error.to_string().contains(".log") {
            self.stuck = stuck;
        }
    }

    /// The same of a commit that was refused.
    pub(super) fn commit_was_refused(&mut self) {
        self.in_rotation |= self.disk.calls_of(CallKind::Create) > self.creates_before;
        self.was_refused();
    }

    /// Something was refused, though the disk is not full. Nothing waits in memory for that, if all
    /// that failed was a look.
    pub(super) fn was_refused(&mut self) {
        let hits = self.disk.injected();
        let hits = hits.get(self.faults_before_op..).unwrap_or_default();
        let only_looked = !hits.is_empty() && hits.iter().all(|hit| !hit.kind.changes());
        let stuck = self.stuck;
        self.disk_was_full();
        if only_looked {
            self.stuck = stuck;
        }
    }
}
