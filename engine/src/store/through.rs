//! Through all levels: from a memtable to the tables, and walks over both.
//!
//! Invariants: what is below the memtable is replaced as a whole, under the same lock as the
//! memtable, so that a reader sees a key in one of them, and in the order in which they hide each
//! other.

use std::ops::Bound;
use std::sync::Weak;

use super::UnifiedStore;
use super::layers::{Below, Chunk, Frozen, Layers, merge};
use super::level_walk::{Bounds, LevelWalk, Sight};
use super::memtable::Memtable;
use super::pins::ReadPoint;
use super::window::Seen;
use crate::error::Result;
use crate::levels::Levels;
use crate::memory::Memory;
use crate::removals::{Gaze, RemovalId, Removals};
use crate::sync::{Arc, Ordering};
use crate::types::{PhysicalKey, RunId};

/// What a reader at a point sees of the keys that it passes, all of one run.
struct Reader {
    run: RunId,
    point: ReadPoint,
    /// What is removed at that point stays so, whatever becomes of the layers.
    gaze: Option<Gaze>,
    /// The greatest expiry of what was passed over as expired; 0 if there was none.
    expired_ms: u64,
}

impl Reader {
    fn new(layers: &Layers, bounds: Bounds<'_>, point: ReadPoint) -> Self {
        let run = run_of(bounds);
        let cover = layers.removals.cover(run).cloned();
        let upto = if planted!(RemovalSeenTooEarly) { u64::MAX } else { point.version };
        let cover = cover.filter(|_| !planted!(RemovalForgottenByScan));
        Reader { run, point, gaze: cover.map(|cover| Gaze::new(cover, upto)), expired_ms: 0 }
    }

    /// Whether a reader is shown the newest version of a key at the point.
    fn sees(&mut self, seen: &Seen<'_>) -> bool {
        // Few runs have removals.
        if let Some(gaze) = &mut self.gaze
            && gaze.hiding(&seen.key(self.run), seen.stamp.version).is_some()
        {
            sometimes!("store/removed-in-a-scan");
            return false;
        }
        let is_visible = seen.is_visible(self.point.now_ms);
        if !is_visible {
            self.expired_ms = seen.expired_ms().max(self.expired_ms);
        }
        is_visible
    }
}

/// The run of whose keys a walk is.
pub(super) fn run_of(bounds: Bounds<'_>) -> RunId {
    match bounds.0 {
        Bound::Included(key) | Bound::Excluded(key) => key.run(),
        Bound::Unbounded => RunId::from_bytes([0; 16]),
    }
}

/// Whether a walk is one of the reserved space: none leaves the space in which it starts.
pub(super) fn starts_in_reserve(bounds: Bounds<'_>) -> bool {
    match bounds.0 {
        Bound::Included(key) | Bound::Excluded(key) => key.is_reserved(),
        Bound::Unbounded => false,
    }
}

impl UnifiedStore {
    /// Keeps the files open that snapshots and iterators read, if there are any: whoever removes
    /// files later does not know of them.
    pub(crate) fn hold_for_pins(&self) {
        phase!(Close);
        if self.inner.pins.oldest().is_some() && !planted!(NotHeldForPins) {
            sometimes!("store/files-held");
            self.below().levels.tables().for_each(|live| live.table.hold());
        }
    }

    /// Whether a tombstone hides something below.
    pub(crate) fn is_over_tables(&self) -> bool {
        self.inner.over_tables.load(Ordering::Acquire)
    }

    /// What is in memory, but for active runs; nothing in a forked child. What was just
    /// committed counts for the most that it can take.
    pub(crate) fn memory(&self) -> Memory {
        if self.inner.pins.is_inherited() {
            return Memory::default();
        }
        let cache = &self.inner.cache;
        let (cache, pinned) = (cache.used(), cache.pinned());
        let layers = self.inner.layers.read();
        let memtable = layers.memtable.bytes() + layers.removals.bytes();
        let (frozen, runs) = (layers.below.frozen_bytes(), layers.records.bytes());
        Memory { memtable, frozen, runs, cache, pinned }
    }

    /// What is kept of tables, in bytes, by the count that is kept and by another that is made now.
    ///
    /// For whoever compares them. Both are 0 in a forked child.
    #[doc(hidden)]
    #[must_use]
    pub fn cache_recounted(&self) -> (u64, u64) {
        let cache = &self.inner.cache;
        match self.inner.pins.is_inherited() {
            true => (0, 0),
            false => (cache.used(), cache.recounted()),
        }
    }

    /// How many bytes the memtable takes that is written.
    pub(crate) fn active_bytes(&self) -> u64 {
        let layers = self.inner.layers.read();
        layers.memtable.bytes() + layers.records.bytes()
    }

    /// What is removed.
    pub(crate) fn removals(&self) -> Arc<Removals> {
        Arc::clone(&self.inner.layers.read().removals)
    }

    /// Forgets removals that hide nothing any more: what they hid has left the levels before.
    pub(crate) fn forget_removals(&self, ids: &[RemovalId]) {
        let mut layers = self.inner.layers.write();
        let pins = &self.inner.pins;
        Arc::make_mut(&mut layers.removals).forget(ids, |old, new| pins.see(old, new));
        self.note_bytes(&layers);
    }

    /// No table tells of these removals any more.
    pub(crate) fn note_erased(&self, ids: &[RemovalId]) {
        if !ids.is_empty() {
            Arc::make_mut(&mut self.inner.layers.write().removals).note_erased(ids);
        }
    }

    /// What is below the memtable.
    pub(crate) fn below(&self) -> Arc<Below> {
        Arc::clone(&self.inner.layers.read().below)
    }

    /// Begins a new memtable; the old one is only read from now on. Nothing is published meanwhile:
    /// the caller holds the writer's lock.
    pub(crate) fn freeze(&self, next: Frozen) -> Arc<Frozen> {
        let mut layers = self.inner.layers.write();
        debug_assert!(layers.below.frozen.is_none(), "one at a time");
        let memtable = std::mem::replace(&mut layers.memtable, next.memtable.over_tables());
        let records = std::mem::replace(&mut layers.records, next.records.over_tables());
        let mut frozen = Frozen { memtable, records };
        for memtable in [&mut frozen.memtable, &mut frozen.records] {
            memtable.settle(&self.inner.pins);
            while memtable.unordered_len() > 0 {
                memtable.put_in_order();
            }
            memtable.forget_removals();
        }
        let frozen = Arc::new(frozen);
        let below =
            Below { frozen: Some(Arc::clone(&frozen)), levels: layers.below.levels.clone() };
        layers.below = Arc::new(below);
        self.inner.over_tables.store(true, Ordering::Release);
        self.note_bytes(&layers);
        frozen
    }

    /// What was frozen is in the highest of these levels now.
    pub(crate) fn flushed(&self, levels: Levels) {
        let mut layers = self.inner.layers.write();
        layers.below = Arc::new(Below { frozen: None, levels });
        self.note_bytes(&layers);
    }

    /// The same is in these levels, merged.
    pub(crate) fn merged(&self, levels: Levels) {
        let mut layers = self.inner.layers.write();
        let frozen = layers.below.frozen.clone();
        layers.below = Arc::new(Below { frozen, levels });
    }

    /// Walks the keys of one run between two bounds, as a reader at a point sees them: `visit`
    /// hears of each that was passed on the way, and whether the reader is shown it, and may end
    /// the walk. `ahead` is for walks in the same direction that go on where one has ended.
    ///
    /// Errors: those of a read from tables; the walk ends there.
    pub(super) fn walk(
        &self,
        bounds: Bounds<'_>,
        point: ReadPoint,
        (backward, ahead): (bool, &mut Ahead),
        visit: impl FnMut(&Seen<'_>, bool) -> bool,
    ) -> Result<()> {
        let (walked, expired_ms) = self.look(bounds, point, (backward, ahead), visit);
        if !planted!(ShownByScanForgotten) {
            self.note_shown(expired_ms);
        }
        walked
    }

    /// The same, but no reader is shown anything; beside the outcome the greatest expiry of what
    /// was passed over as expired.
    pub(super) fn look(
        &self,
        bounds: Bounds<'_>,
        point: ReadPoint,
        (backward, ahead): (bool, &mut Ahead),
        mut visit: impl FnMut(&Seen<'_>, bool) -> bool,
    ) -> (Result<()>, u64) {
        let is_reserved = starts_in_reserve(bounds);
        let layers = self.inner.layers.read();
        let mut reader = Reader::new(&layers, bounds, point);
        let walked = if layers.below.is_empty() {
            let memtable = layers.memtable_of(is_reserved);
            memtable.walk_versions(bounds, point.version, backward, |key, version| {
                let seen = version.map(|version| Seen::of(key, version));
                let is_shown = seen.is_some_and(|seen| reader.sees(&seen));
                visit(&seen.unwrap_or_else(|| Seen::nothing(key)), is_shown)
            });
            Ok(())
        } else {
            drop(layers);
            self.walk_levels(bounds, point, (backward, ahead), &mut reader, visit)
        };
        (walked, reader.expired_ms)
    }

    /// The same over several levels: some keys of memtables at a time, since nobody may wait long
    /// for the lock, and the tables as they are for as long as they are.
    fn walk_levels(
        &self,
        bounds: Bounds<'_>,
        point: ReadPoint,
        (backward, ahead): (bool, &mut Ahead),
        reader: &mut Reader,
        mut visit: impl FnMut(&Seen<'_>, bool) -> bool,
    ) -> Result<()> {
        phase!(Lookup);
        let is_reserved = starts_in_reserve(bounds);
        let (version, steps) = (point.version, self.inner.steps);
        let (mut from, mut to) = (bounds.0.cloned(), bounds.1.cloned());
        loop {
            let below = self.below();
            let bounds = (from.as_ref(), to.as_ref());
            let inside = below.levels.0.iter().filter(|level| level.overlaps(bounds.0, bounds.1));
            let walks = inside.map(|level| {
                let hidden = (reader.gaze.clone(), steps.scan_removed_max);
                LevelWalk::new(level, bounds, version, backward, hidden, ahead.sight)
            });
            let mut walks = walks.collect::<Result<Vec<_>>>()?;
            loop {
                let bounds = (from.as_ref(), to.as_ref());
                let of = |memtable: &Memtable| {
                    let (max, mut gaze) =
                        ((ahead.keys_max, steps.scan_bytes_max), reader.gaze.clone());
                    Chunk::of_memtable(memtable, bounds, version, backward, max, gaze.as_mut())
                };
                sometimes!("store/chunk-read-on", ahead.is_of(&below));
                if !ahead.is_of(&below) {
                    let memtable = {
                        let layers = self.inner.layers.read();
                        if !Arc::ptr_eq(&layers.below, &below) {
                            break;
                        }
                        of(layers.memtable_of(is_reserved))
                    };
                    let frozen = below.frozen_of(is_reserved).map(of);
                    let chunks = std::iter::once(memtable).chain(frozen).collect();
                    *ahead = Ahead { below: Arc::downgrade(&below), chunks, ..*ahead };
                }
                let next = merge(&mut ahead.chunks, &mut walks, backward, |seen| {
                    let is_shown = reader.sees(seen);
                    visit(seen, is_shown)
                })?;
                let Some(last) = next else { return Ok(()) };
                ahead.forget();
                if backward {
                    to = Bound::Excluded(last);
                } else {
                    from = Bound::Excluded(last);
                }
            }
        }
    }
}

/// What a walk has read of memtables and not visited: the next walk in the same direction goes on
/// with it, if the same is below the memtable.
#[derive(Debug)]
pub(super) struct Ahead {
    /// So many keys are read of each memtable at a time.
    keys_max: usize,
    sight: Sight,
    below: Weak<Below>,
    chunks: Vec<Chunk>,
}

impl Ahead {
    /// Nothing as yet, and so many keys of each memtable at a time.
    pub(super) fn of_keys(keys_max: usize) -> Self {
        Ahead { keys_max, sight: Sight::Whole, below: Weak::new(), chunks: Vec::new() }
    }

    /// Nobody asks for values: the large ones are not read, and shown as empty.
    pub(super) fn without_values(self) -> Self {
        Ahead { sight: Sight::Keys, ..self }
    }

    /// Nothing was read.
    fn forget(&mut self) {
        (self.below, self.chunks) = (Weak::new(), Vec::new());
    }

    /// From the next chunk on.
    pub(super) fn set_keys_max(&mut self, keys_max: usize) {
        self.keys_max = keys_max;
    }

    fn is_of(&self, below: &Arc<Below>) -> bool {
        std::ptr::eq(self.below.as_ptr(), Arc::as_ptr(below))
    }

    /// Passes what does not come behind a key, at which a walk has ended.
    pub(super) fn go_behind(&mut self, key: &PhysicalKey, backward: bool) {
        self.chunks.iter_mut().for_each(|chunk| chunk.go_behind(key, backward));
    }

    /// The memory that it takes, in bytes.
    pub(super) fn held_bytes(&self) -> u64 {
        self.chunks.iter().map(Chunk::held_bytes).sum()
    }
}
