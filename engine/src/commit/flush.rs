//! Flushing: the memtable becomes tables, and the log before it goes.
//!
//! 1. Under the writer's lock the segment is ended, and a new memtable begun: what is frozen is
//!    just what stands in the segments before the new one.
//! 2. Without a lock, and in steps, the tables are written and synced, with their names. Commits
//!    and reads go on.
//! 3. Under the writer's lock one manifest names the tables, and no longer the segments before.
//!    Only then do readers turn to the tables, and only then are the segments removed.
//!
//! Invariants: one flush at a time; one that fails before the manifest is in force has changed
//! nothing, and what was frozen is tried again; a crash leaves a table that nothing names, or
//! segments that nothing names.

use std::collections::BTreeSet;

use super::frozen::InFlight;
use super::journal::Trim;
use super::pipeline::Pipeline;
use super::writer::Writer;
use crate::codec::Malformed;
use crate::compaction::removed::Removed;
use crate::error::{Error, Result};
use crate::failure::WriteFailure;
use crate::flush::{Content, Flushing};
use crate::levels::{Levels, LiveTable};
use crate::manifest::Flushed;
use crate::names::OwnName;
use crate::removals::Removals;
use crate::series::TablePlan;
use crate::store::layers::Frozen;
use crate::store::memtable::Memtable;
use crate::sync::{Arc, Ordering};
use crate::table::reader::Table;
use crate::table::writer::Shape;

/// No share of the memory is so small that tables are shorter.
const TABLE_BYTES_LEAST: u64 = 1 << 20;

impl Pipeline {
    /// Whether the memtable is to be flushed: it or its log is large, it has been frozen, or holds
    /// removals that free tables once they are in one.
    pub(crate) fn wants_flush(&self) -> bool {
        self.is_to_flush(true)
    }

    /// Whether the next step flushes, if nothing is written until then.
    pub(super) fn flushes_next(&self) -> bool {
        let is_idle = self.flush_seen_version.load(Ordering::Relaxed) == self.store.version();
        self.is_to_flush(is_idle)
    }

    /// For removals alone only where nothing is written.
    fn is_to_flush(&self, is_idle: bool) -> bool {
        let is_frozen = self.frozen.lock().is_some();
        // What cannot be read now may want it.
        is_frozen || self.is_full() || is_idle && self.removals_want_flush().unwrap_or(true)
    }

    /// Whether the memtable or its log is so large that it is flushed.
    fn is_full(&self) -> bool {
        let is_long = self.log_is_long();
        sometimes!("flush/for-the-log", is_long);
        is_long || self.store.active_bytes() >= self.shares.flush
    }

    /// Whether tables would become free by removals of which none is durable for good.
    ///
    /// Errors: those of a read of an index.
    fn removals_want_flush(&self) -> Result<bool> {
        phase!(Maintenance);
        let removals = self.store.removals();
        let never = self.options.flush_bytes == u64::MAX;
        if removals.is_empty() || never {
            return Ok(false);
        }
        let durable = self.writer.lock_for_upkeep().journal.flushed().version;
        let levels = &self.store.below().levels;
        if removals.since(durable).next().is_none() {
            return Ok(false);
        }
        let look = |removals: &Removals, upto| {
            let removed = Removed::look(levels, removals, upto, self.store.pins());
            removed.map(|removed| removed.asks(levels))
        };
        let settled = self.durable_removals(Arc::clone(&removals), durable);
        Ok(!look(&settled, durable)? && look(&removals, u64::MAX)?)
    }

    /// Flushes a step of the memtable, if that is wanted. For removals alone it is flushed when
    /// nothing is written.
    ///
    /// Errors: a full disk, or a file that cannot be made: everything is as before, and it is tried
    /// again; or that which poisoned.
    pub(crate) fn flush_memtable(&self) -> Result<()> {
        phase!(Maintenance);
        let version = self.store.version();
        let is_idle = self.flush_seen_version.swap(version, Ordering::Relaxed) == version;
        let mut slot = self.frozen.lock();
        let mut frozen = match slot.take() {
            Some(frozen) => frozen,
            None if self.is_full() => {
                self.freeze().inspect_err(|_| self.pace.note_flushed(false))?
            }
            None if is_idle && self.removals_want_flush()? => {
                sometimes!("flush/for-removals");
                self.freeze()?
            }
            None => return Ok(()),
        };
        self.pace.note_frozen(frozen.content.frozen.bytes());
        match self.write_frozen(&mut frozen) {
            Ok(true) => {
                self.pace.note_flushed(true);
                self.merge_bell.ring();
            }
            Ok(false) => *slot = Some(frozen),
            Err(error) => {
                self.pace.note_flushed(false);
                if !planted!(FrozenForgotten) {
                    sometimes!("flush/tried-again-later");
                    *slot = Some(frozen);
                }
                return Err(error);
            }
        }
        Ok(())
    }

    /// Begins a new memtable and a new segment.
    fn freeze(&self) -> Result<InFlight> {
        // In steps, so that the last one, under the lock, is short.
        self.store.put_in_order(false);
        self.store.put_in_order(true);
        let mut writer = self.writer.lock_for_upkeep();
        self.health.check()?;
        if writer.closed {
            return Err(Error::Closed);
        }
        self.prepare(&mut writer)?;
        // What is synced now, while commits go on, they need not wait for in the rotation.
        if self.gate.synced() < writer.journal.log().end() {
            sometimes!("flush/log-synced-first");
            writer = self.sync_in_background(writer, self.store.clock().monotonic())?;
            self.prepare(&mut writer)?;
        }
        self.rotate(&mut writer)?;
        let (store_id, since) = (writer.journal.store_id(), writer.journal.flushed().version);
        let new = || Memtable::new(&store_id, &self.options.steps);
        let frozen = self.store.freeze(Frozen { memtable: new(), records: new() });
        sometimes!("flush/memtable-frozen");
        let early = u64::from(planted!(FlushedTimeTooEarly));
        let time_ms = writer.last_time_ms.saturating_sub(early);
        let upto = Flushed { version: writer.last_version, time_ms };
        let content = Content {
            frozen,
            census: self.runs.census(),
            removals: self.store.removals(),
            since,
            upto,
        };
        let trim = Trim { flushed: upto, keep_from: writer.journal.log().number() };
        Ok(InFlight { content, trim, flushing: None })
    }

    /// What a table that is being written holds in memory grows with it, and has the reserve.
    pub(super) fn table_bytes_max(&self) -> u64 {
        let reserved = self.shares.reserve.max(TABLE_BYTES_LEAST);
        self.options.table_bytes_max.min(self.place.file_bytes_max).min(reserved)
    }

    /// How tables are written now.
    pub(super) fn table_plan(&self, writer: &Writer) -> TablePlan {
        TablePlan {
            store_id: writer.journal.store_id(),
            epoch: writer.journal.epoch(),
            shape: Shape::of(&self.options),
            table_bytes_max: self.table_bytes_max(),
        }
    }

    /// Writes some of the tables, or puts the manifest in force that names them. Returns whether
    /// they are in force.
    fn write_frozen(&self, frozen: &mut InFlight) -> Result<bool> {
        let goes_on = frozen.flushing.is_some();
        let (plan, owned) = {
            let writer = self.writer.lock_for_upkeep();
            self.health.check()?;
            if writer.closed {
                return Err(Error::Closed);
            }
            // What is written next is not to go into another's file.
            let owned = if goes_on { writer.journal.check() } else { Ok(()) };
            (self.table_plan(&writer), owned)
        };
        let InFlight { content, trim, flushing } = frozen;
        let flushing = flushing.get_or_insert_with(|| Flushing::new(plan, content));
        let numbers = || self.writer.lock_for_upkeep().journal.take_number();
        let (place, pins) = (&self.place, self.store.pins());
        let bytes = self.options.steps.merge_bytes;
        let is_own = owned.is_ok();
        let written = owned.and_then(|()| flushing.step(place, content, pins, &numbers, bytes));
        if let Ok(None) = written {
            return Ok(false);
        }
        let mut lock = self.writer.lock_for_upkeep();
        let writer = &mut *lock;
        let tables = match written {
            Ok(tables) => {
                // If they are not put in force, they are of no use.
                frozen.flushing = None;
                tables.unwrap_or_default()
            }
            Err(failure) => {
                sometimes!("flush/table-not-written");
                let left = frozen.start_over();
                self.health.check()?;
                if !is_own {
                    // What stands under those names now may be another's.
                    writer.journal.put_orphans(left);
                    return self.guard(Err(failure)).map(|()| false);
                }
                return self.discard(writer, failure, left).map(|()| false);
            }
        };
        planted!(SegmentsTrimmedFirst => writer.journal.trim_first(trim.keep_from));
        let trim = *trim;
        planted!(FlushedAsOfInstall | TrimmedAsOfInstall => return self.late(writer, trim, tables));
        self.install_flushed(writer, tables, trim)?;
        self.store.note_erased(&frozen.content.erased());
        Ok(true)
    }

    /// What a series has made is of no use. The writer is locked: its error is the caller's.
    pub(super) fn discard(
        &self,
        writer: &mut Writer,
        failure: WriteFailure,
        left: Vec<OwnName>,
    ) -> Result<()> {
        let at_once = !matches!(failure, WriteFailure::Failed(_));
        if !planted!(TablesOfFailedFlushKept) {
            writer.journal.discard(at_once, &left);
        }
        self.guard(Err(failure))
    }

    /// Puts the manifest in force that names the tables of a flush; then readers turn to them.
    pub(super) fn install_flushed(
        &self,
        writer: &mut Writer,
        tables: Vec<Arc<Table>>,
        trim: Trim,
    ) -> Result<()> {
        let tables = tables.into_iter().map(LiveTable::whole).collect();
        let levels = self.store.below().levels.with_flushed(tables);
        self.install(writer, levels, Some(trim), |levels| self.store.flushed(levels))?;
        sometimes!("flush/table-installed");
        Ok(())
    }

    /// Puts the manifest in force that names these levels; then readers turn to them.
    pub(super) fn install(
        &self,
        writer: &mut Writer,
        levels: Levels,
        trim: Option<Trim>,
        show: impl FnOnce(Levels),
    ) -> Result<()> {
        self.health.check()?;
        let before = &self.store.below().levels;
        let checked = before.check_successor(&levels);
        checked.map_err(|m| self.wrong_levels(&m))?;
        let known: BTreeSet<_> = before.tables().map(LiveTable::number).collect();
        let numbers = levels.tables().map(LiveTable::number);
        let made: Vec<_> = numbers.filter(|number| !known.contains(number)).collect();
        let installed = writer.journal.install(levels.entries(), &made, trim);
        self.pace.note_log(writer.journal.ended());
        self.guard(installed)?;
        show(levels);
        self.note_leftovers(writer);
        Ok(())
    }

    /// Levels that are not as they must be: a bug, behind which nothing more is written.
    pub(super) fn wrong_levels(&self, malformed: &Malformed) -> Error {
        let Malformed { expected, found } = malformed;
        let path = self.place.path(OwnName::Manifest);
        let error = Error::corruption(path, 0, expected, found);
        self.health.poison(&error);
        error
    }
}
