//! What a walk over everything asks of the store.
//!
//! Invariant: it shows nobody anything: what has expired is passed over, and nothing is noted of
//! that, so that the walk leaves no trace.

use std::ops::Bound;

use super::memtable::Memtable;
use super::pins::ReadPoint;
use super::through::Ahead;
use super::{Pin, Seen, UnifiedStore};
use crate::error::Result;
use crate::types::{PhysicalKey, RunId};

impl UnifiedStore {
    /// Pins the present, however many pins are alive, and readies walks at that point.
    ///
    /// Errors: none in practice.
    pub(crate) fn pin_anyway(&self) -> Result<Pin> {
        let point = {
            let _layers = self.inner.layers.read();
            ReadPoint { version: self.version(), now_ms: self.inner.clock.now_ms() }
        };
        self.pin_within(point, usize::MAX / 2)
    }

    /// Pins the point of a pin once more.
    ///
    /// Errors: none in practice.
    pub(crate) fn pin_again(&self, pin: &Pin) -> Result<Pin> {
        self.pin_within(pin.point(), usize::MAX / 2)
    }

    /// Visits what a reader at a pinned point is shown of a run, key by key, after
    /// [`UnifiedStore::put_in_order`].
    ///
    /// Errors: those of a read from tables.
    pub(crate) fn survey(
        &self,
        run: RunId,
        point: ReadPoint,
        mut visit: impl FnMut(&Seen<'_>),
    ) -> Result<()> {
        let (from, to) = PhysicalKey::bounds_of(run);
        let mut from = Bound::Included(from);
        let steps = self.inner.steps;
        let mut ahead = Ahead::of_keys(steps.scan_entries_max);
        loop {
            let (mut visits, mut last) = (0, None);
            let bounds = (from.as_ref(), Bound::Excluded(&to));
            let (walked, _) = self.look(bounds, point, (false, &mut ahead), |seen, is_shown| {
                if is_shown {
                    visit(seen);
                }
                visits += 1;
                let more = visits < steps.scan_visits_max;
                if !more {
                    last = Some(seen.key(run));
                }
                more
            });
            walked?;
            let Some(last) = last else { return Ok(()) };
            ahead.go_behind(&last, false);
            from = Bound::Excluded(last);
        }
    }

    /// The first run behind another of which a memtable holds a key.
    pub(crate) fn next_run_in_memory(&self, behind: Option<RunId>) -> Option<RunId> {
        let from = match behind {
            Some(run) => Bound::Included(PhysicalKey::bounds_of(run).1),
            None => Bound::Unbounded,
        };
        let first = |memtable: &Memtable| {
            let mut found = None;
            let bounds = (from.as_ref(), Bound::Unbounded);
            memtable.walk_versions(bounds, u64::MAX, false, |key, _| {
                found = Some(key.run());
                false
            });
            found
        };
        let layers = self.inner.layers.read();
        let active = first(&layers.memtable);
        let frozen = layers.below.frozen_of(false).and_then(first);
        active.into_iter().chain(frozen).min()
    }
}
