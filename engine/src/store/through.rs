//! Through all levels: from a memtable to the tables, and walks over both.
//!
//! Invariants: what is below the memtable is replaced as a whole, under the same lock as the
//! memtable, so that a reader sees a key in one of them, and in the order in which they hide each
//! other.

use std::ops::Bound;

use super::UnifiedStore;
use super::levels::{Below, Bounds, Chunk, TableWalk, merge};
use super::memtable::Memtable;
use super::pins::ReadPoint;
use super::version::Version;
use crate::error::{Error, Result};
use crate::sync::{Arc, Ordering};
use crate::table::reader::Table;
use crate::types::PhysicalKey;

impl UnifiedStore {
    /// Walks every byte of the tables; `tell` hears of each violation.
    ///
    /// Errors: those of [`Table::verify`]; the walk ends there.
    pub(crate) fn verify(&self, mut tell: impl FnMut(Error)) -> Result<()> {
        phase!(Lookup);
        self.below().tables.iter().try_for_each(|table| table.verify(&mut tell))
    }

    /// Whether a tombstone hides something below.
    pub(crate) fn is_over_tables(&self) -> bool {
        self.inner.over_tables.load(Ordering::Acquire)
    }

    /// How many bytes the memtable takes that is written.
    pub(crate) fn active_bytes(&self) -> u64 {
        self.inner.levels.read().memtable.bytes()
    }

    /// What is below the memtable.
    pub(crate) fn below(&self) -> Arc<Below> {
        Arc::clone(&self.inner.levels.read().below)
    }

    /// Begins a new memtable; the old one is only read from now on. Nothing is published meanwhile:
    /// the caller holds the writer's lock.
    pub(crate) fn freeze(&self, next: Memtable) -> Arc<Memtable> {
        let mut levels = self.inner.levels.write();
        debug_assert!(levels.below.frozen.is_none(), "one at a time");
        let mut frozen = std::mem::replace(&mut levels.memtable, next.over_tables());
        frozen.settle(&self.inner.pins);
        while frozen.unordered_len() > 0 {
            frozen.put_in_order();
        }
        let frozen = Arc::new(frozen);
        let tables = levels.below.tables.clone();
        levels.below = Arc::new(Below { frozen: Some(Arc::clone(&frozen)), tables });
        self.inner.over_tables.store(true, Ordering::Release);
        self.note_bytes(&levels);
        frozen
    }

    /// What was frozen is in these tables now.
    pub(crate) fn flushed(&self, tables: Vec<Arc<Table>>) {
        let mut levels = self.inner.levels.write();
        let tables = tables.into_iter().chain(levels.below.tables.iter().cloned()).collect();
        levels.below = Arc::new(Below { frozen: None, tables });
        self.note_bytes(&levels);
    }

    /// Walks a range; see [`Memtable::walk`].
    ///
    /// Errors: those of a read from tables; the walk ends there.
    pub(super) fn walk(
        &self,
        bounds: Bounds<'_>,
        point: ReadPoint,
        backward: bool,
        visit: impl FnMut(&PhysicalKey, Option<&Version>) -> bool,
    ) -> Result<()> {
        let levels = self.inner.levels.read();
        let mut expired_ms = 0;
        let walked = if levels.below.is_empty() {
            expired_ms = levels.memtable.walk(bounds, point, backward, visit);
            Ok(())
        } else {
            drop(levels);
            self.walk_levels(bounds, point, backward, &mut expired_ms, visit)
        };
        if !planted!(ShownByScanForgotten) {
            self.note_shown(expired_ms);
        }
        walked
    }

    /// The same over several levels: some keys of memtables at a time, since nobody may wait long
    /// for the lock, and the tables as they are for as long as they are.
    fn walk_levels(
        &self,
        bounds: Bounds<'_>,
        point: ReadPoint,
        backward: bool,
        expired_ms: &mut u64,
        mut visit: impl FnMut(&PhysicalKey, Option<&Version>) -> bool,
    ) -> Result<()> {
        phase!(Lookup);
        let (version, keys_max) = (point.version, self.inner.steps.scan_entries_max);
        let (mut from, mut to) = (bounds.0.cloned(), bounds.1.cloned());
        loop {
            let below = self.below();
            let bounds = (from.as_ref(), to.as_ref());
            let inside = |table: &&Arc<Table>| table.overlaps(bounds.0, bounds.1);
            let walk = |table| TableWalk::new(table, bounds, version, backward);
            let tables = below.tables.iter().filter(inside).map(|table| walk(table));
            let mut tables = tables.collect::<Result<Vec<_>>>()?;
            loop {
                let bounds = (from.as_ref(), to.as_ref());
                let of = |memtable: &Memtable| {
                    Chunk::of_memtable(memtable, bounds, version, backward, keys_max)
                };
                let memtable = {
                    let levels = self.inner.levels.read();
                    if !Arc::ptr_eq(&levels.below, &below) {
                        break;
                    }
                    of(&levels.memtable)
                };
                let mut chunks: Vec<Chunk> =
                    std::iter::once(memtable).chain(below.frozen.as_deref().map(of)).collect();
                let next = merge(&mut chunks, &mut tables, backward, |key, version| {
                    let is_visible = version.is_visible(point.now_ms);
                    if !is_visible {
                        *expired_ms = version.expired_ms().max(*expired_ms);
                    }
                    visit(key, is_visible.then_some(version))
                })?;
                match next {
                    None => return Ok(()),
                    Some(last) if backward => to = Bound::Excluded(last),
                    Some(last) => from = Bound::Excluded(last),
                }
            }
        }
    }
}
