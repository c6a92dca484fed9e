//! What maintenance asks of the memtables, and what readies them for walks.
//!
//! Invariant: each call holds the lock for a bounded number of keys.

use std::ops::Bound;

use super::UnifiedStore;
use super::memtable::Memtable;
use super::pins::ReadPoint;
use super::through::{Ahead, run_of};
use crate::error::Result;
use crate::options::Steps;
use crate::types::PhysicalKey;

impl UnifiedStore {
    /// Frees what superseded versions it can, visiting at most `limit` keys; returns how many
    /// keys are free of them now, and how many are left to look at.
    pub(crate) fn collect_garbage(&self, limit: usize) -> (usize, usize) {
        self.change(|memtable, pins| {
            (memtable.collect_garbage(limit, pins), memtable.garbage_len())
        })
    }

    /// The same in the reserved space; returns how many keys are left to look at.
    pub(crate) fn collect_records(&self, limit: usize) -> usize {
        self.change_of(true, |records, pins| {
            records.collect_garbage(limit, pins);
            records.garbage_len()
        })
    }

    /// Frees what removals hide in the memtable, visiting at most `limit` keys; returns how many
    /// keys were freed, and how many removals are left to be applied.
    pub(crate) fn purge_removed(&self, limit: usize) -> (usize, usize) {
        self.change(|memtable, pins| (memtable.purge_removed(limit, pins), memtable.removals_len()))
    }

    /// Frees what expired at or before `floor_ms`; returns how many, and how many expired
    /// ones are left.
    pub(crate) fn expire(&self, floor_ms: u64, limit: usize) -> (usize, usize) {
        self.change(|memtable, pins| {
            (memtable.expire(floor_ms, limit, pins), memtable.expired_len(floor_ms))
        })
    }

    /// Whether there is, or will be, something to free.
    pub(crate) fn wants_maintenance(&self) -> bool {
        let layers = self.inner.layers.read();
        layers.memtable.wants_maintenance() || layers.records.wants_maintenance()
    }

    /// Readies walks over what is published so far, step by step, so that commits go on.
    pub(crate) fn put_in_order(&self, is_reserved: bool) {
        let mut left = self.settled_of(is_reserved, Memtable::unordered_len);
        while left > 0 {
            let sorted = self.change_of(is_reserved, |memtable, pins| {
                memtable.settle(pins);
                let before = memtable.unordered_len();
                memtable.put_in_order();
                before - memtable.unordered_len()
            });
            let ends = sorted == 0 || planted!(OneSortStep);
            left = if ends { 0 } else { left.saturating_sub(sorted) };
        }
    }

    /// The first keys of the reserved space between two that are there now, at most so many.
    ///
    /// Errors: those of a read from tables.
    pub(crate) fn first_records(
        &self,
        from: &PhysicalKey,
        to: &PhysicalKey,
        max: usize,
    ) -> Result<Vec<PhysicalKey>> {
        self.put_in_order(true);
        let mut keys = Vec::new();
        let point = ReadPoint { version: u64::MAX, now_ms: 0 };
        let bounds = (Bound::Included(from), Bound::Excluded(to));
        let run = from.run();
        self.walk(bounds, point, (false, &mut Ahead::of_keys(max)), |seen, is_shown| {
            keys.extend(is_shown.then(|| seen.key(run)));
            keys.len() < max
        })?;
        Ok(keys)
    }

    /// How many keys a reader at a point sees between two of one run; large values are not read.
    ///
    /// Errors: those of a read from tables.
    pub(crate) fn count(
        &self,
        from: Bound<PhysicalKey>,
        to: &Bound<PhysicalKey>,
        point: ReadPoint,
    ) -> Result<u64> {
        let Steps { scan_entries_max, scan_visits_max, .. } = self.inner.steps;
        self.put_in_order(false);
        let mut ahead = Ahead::of_keys(scan_entries_max).without_values();
        let (mut from, mut keys) = (from, 0);
        let run = run_of((from.as_ref(), to.as_ref()));
        loop {
            let (mut visits, mut last) = (0, None);
            let bounds = (from.as_ref(), to.as_ref());
            self.walk(bounds, point, (false, &mut ahead), |seen, is_shown| {
                visits += 1;
                keys += u64::from(is_shown);
                // Others want the lock.
                let is_enough = visits == scan_visits_max;
                last = is_enough.then(|| seen.key(run));
                !is_enough
            })?;
            let Some(last) = last else { return Ok(keys) };
            sometimes!("store/count-goes-on");
            ahead.go_behind(&last, false);
            from = Bound::Excluded(last);
        }
    }

    /// When the next version expires, in engine time.
    pub(crate) fn next_expiry_ms(&self) -> Option<u64> {
        self.settled(Memtable::next_expiry_ms)
    }
}
