//! Flushing: the memtable becomes tables, and the log before it goes.
//!
//! 1. Under the writer's lock the segment is ended, and a new memtable begun: what is frozen is
//!    just what stands in the segments before the new one.
//! 2. Without a lock the tables are written and synced, with their names. Commits and reads go on.
//! 3. Under the writer's lock one manifest names the tables, and no longer the segments before.
//!    Only then do readers turn to the tables, and only then are the segments removed.
//!
//! Invariants: one flush at a time; one that fails before the manifest is in force has changed
//! nothing, and what was frozen is tried again; a crash leaves a table that nothing names, or
//! segments that nothing names.

use super::frozen::Frozen;
use super::pipeline::Pipeline;
use super::writer::Writer;
use crate::error::{Error, Result};
use crate::failure::WriteFailure;
use crate::flush::{FlushPlan, write_tables};
use crate::manifest::{Flushed, TableEntry};
use crate::store::memtable::Memtable;
use crate::sync::Arc;
use crate::table::reader::Table;
use crate::table::writer::Shape;

impl Pipeline {
    /// Whether the memtable is so large that it is to be flushed, or has been frozen.
    pub(crate) fn wants_flush(&self) -> bool {
        self.store.active_bytes() >= self.options.flush_bytes || self.frozen.lock().is_some()
    }

    /// Flushes the memtable, if it is large enough or a flush of it has failed.
    ///
    /// Errors: a full disk, or a file that cannot be made: everything is as before, and it is tried
    /// again; or that which poisoned.
    pub(crate) fn flush_memtable(&self) -> Result<()> {
        phase!(Maintenance);
        let mut slot = self.frozen.lock();
        let frozen = match slot.take() {
            Some(frozen) => frozen,
            None if self.store.active_bytes() < self.options.flush_bytes => return Ok(()),
            None => self.freeze()?,
        };
        let outcome = self.write_frozen(&frozen);
        if outcome.is_err() && !planted!(FrozenForgotten) {
            sometimes!("flush/tried-again-later");
            *slot = Some(frozen);
        }
        outcome
    }

    /// Begins a new memtable and a new segment.
    fn freeze(&self) -> Result<Frozen> {
        // In steps, so that the last one, under the lock, is short.
        self.store.put_in_order();
        let mut writer = self.writer.lock_for_upkeep();
        self.health.check()?;
        if writer.closed {
            return Err(Error::Closed);
        }
        self.prepare(&mut writer)?;
        self.rotate(&mut writer)?;
        let (store_id, since) = (writer.journal.store_id(), writer.journal.flushed().version);
        let memtable = self.store.freeze(Memtable::new(&store_id, &self.options.steps));
        sometimes!("flush/memtable-frozen");
        Ok(Frozen {
            memtable,
            runs: self.runs.save(if planted!(RunsNotFlushed) { u64::MAX } else { since }),
            flushed: Flushed { version: writer.last_version, time_ms: writer.last_time_ms },
            keep_from: writer.journal.log().number(),
        })
    }

    /// Writes the table, and puts the manifest in force that names it.
    fn write_frozen(&self, frozen: &Frozen) -> Result<()> {
        let plan = {
            let writer = self.writer.lock_for_upkeep();
            self.health.check()?;
            FlushPlan {
                store_id: writer.journal.store_id(),
                epoch: writer.journal.epoch(),
                shape: Shape::of(&self.options),
                table_bytes_max: self.options.table_bytes_max.min(self.place.file_bytes_max),
            }
        };
        let mut left = Vec::new();
        let number = || self.writer.lock_for_upkeep().journal.take_number();
        let Frozen { memtable, runs, flushed, keep_from } = frozen;
        let written = write_tables(&self.place, &plan, memtable, runs, number, &mut left);
        let mut lock = self.writer.lock_for_upkeep();
        let writer = &mut *lock;
        self.health.check()?;
        let at_once = !matches!(written, Err(WriteFailure::Failed(_)));
        if !planted!(TablesOfFailedFlushKept) {
            writer.journal.discard(at_once, &left);
        }
        let written = match written {
            Ok(written) => written,
            Err(failure) => {
                sometimes!("flush/table-not-written");
                return self.guard(Err(failure));
            }
        };
        let (entries, tables): (Vec<_>, Vec<_>) = written.into_iter().rev().unzip();
        planted!(SegmentsTrimmedFirst => writer.journal.trim_first(*keep_from));
        let made = (entries.as_slice(), tables);
        planted!(FlushedAsOfInstall | TrimmedAsOfInstall => return self.late(writer, frozen, made));
        self.install(writer, made, *flushed, *keep_from)
    }

    /// Puts the manifest in force that names the tables; then readers turn to them.
    pub(super) fn install(
        &self,
        writer: &mut Writer,
        (entries, tables): (&[TableEntry], Vec<Arc<Table>>),
        flushed: Flushed,
        keep_from: u64,
    ) -> Result<()> {
        let installed = writer.journal.install(entries, flushed, keep_from);
        self.guard(installed)?;
        sometimes!("flush/table-installed");
        self.store.flushed(tables);
        self.note_leftovers(writer);
        Ok(())
    }
}
