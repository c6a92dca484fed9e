//! Planted bugs of the commit path; compiled with the feature `planted` only.

use std::collections::BTreeMap;

use super::admission::Overlay;
use super::compactor::Compactor;
use super::journal::{Journal, Trim};
use super::pipeline::Pipeline;
use super::queue::Changes;
use super::writer::Writer;
use crate::compaction::choice::Job;
use crate::error::Result;
use crate::failure::WriteFailure;
use crate::levels::Levels;
use crate::manifest::Manifest;
use crate::names::OwnName;
use crate::sync::Arc;
use crate::table::reader::Table;
use crate::types::{RunId, RunStatus};

impl Pipeline {
    /// A commit whose write or sync failed is shown.
    pub(super) fn show(
        &self,
        writer: &mut Writer,
        changes: Changes,
        version: u64,
        failure: &WriteFailure,
    ) {
        if matches!(failure, WriteFailure::Failed(_)) {
            let Writer { hot, last_time_ms, .. } = writer;
            self.store.publish(version, |memory| {
                self.apply(memory, changes, version, *last_time_ms, hot);
            });
        }
    }

    /// A merge that failed ends all writing, whatever the reason.
    pub(super) fn end_for(&self, failure: WriteFailure) -> Result<bool> {
        self.guard(Err(WriteFailure::Failed(failure.into()))).map(|()| false)
    }

    /// A merge counts for all levels, also for those that were flushed meanwhile.
    pub(super) fn forget(
        &self,
        writer: &mut Writer,
        compactor: &mut Compactor,
        next: Levels,
        [begun, now]: [Job; 2],
    ) -> Result<bool> {
        let flushed = now.highest.saturating_sub(begun.highest);
        let kept = Levels(next.0.into_iter().skip(flushed).collect());
        let before = self.store.below();
        self.put_in_force(writer, compactor, &before, kept).map(|()| true)
    }

    /// Files go before the manifest that no longer names them.
    pub(super) fn remove_tables(&self, gone: &[Arc<Table>]) {
        for table in gone {
            let header = table.header();
            let _removed = self.place.remove(OwnName::Table(header.store_id, header.number));
        }
    }

    /// What must come before files are removed fails, and they are forgotten.
    pub(super) fn forget_orphans(&self, writer: &mut Writer) -> Result<()> {
        let orphans = writer.journal.take_orphans();
        self.prepare(writer)?;
        writer.journal.put_orphans(orphans);
        Ok(())
    }
}

impl Pipeline {
    /// A flush counts as one of all that is there when its manifest is written.
    pub(super) fn late(
        &self,
        writer: &mut Writer,
        mut trim: Trim,
        tables: Vec<Arc<Table>>,
    ) -> Result<bool> {
        if planted!(FlushedAsOfInstall) {
            trim.flushed.version = writer.last_version;
        } else {
            trim.keep_from = writer.journal.log().number();
        }
        self.install_flushed(writer, tables, trim).map(|()| true)
    }
}

impl Overlay {
    /// What a batch changes counts for the group before the batch is accepted.
    pub(super) fn keep_refused(&mut self, own: &BTreeMap<RunId, RunStatus>) {
        if !own.is_empty() {
            self.runs.get_or_insert_default().extend(own.clone());
        }
    }
}

impl Journal {
    /// A session begins in memory only.
    pub(super) fn begin_in_memory(
        &mut self,
        next: Manifest,
    ) -> std::result::Result<(), WriteFailure> {
        self.manifest = next;
        self.session_begun = true;
        Ok(())
    }

    /// Removes the lock file.
    pub(super) fn remove_fence(&self) {
        let place = self.place();
        let _removed = place.remove(OwnName::Lock);
    }

    /// Removes the segments before this one.
    pub(super) fn trim_first(&self, keep_from: u64) {
        let gone = self.manifest.segments.iter().filter(|segment| segment.number < keep_from);
        for segment in gone {
            let _removed =
                self.place().remove(OwnName::Segment(self.manifest.store_id, segment.number));
        }
    }
}
