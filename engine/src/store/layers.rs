//! What a read goes through: the memtable, one that is being flushed, and the levels of tables.
//!
//! Invariants: of a key, what stands further up is newer; what is below never changes, so it is
//! read without a lock; whoever looks at the memtable under its lock and takes what is below under
//! the same lock sees one moment.

use std::collections::VecDeque;

use super::level_walk::{Bounds, LevelWalk};
use super::memtable::Memtable;
use super::version::Version;
use crate::error::Result;
use crate::levels::Levels;
#[cfg(doc)]
use crate::levels::cursor::LevelCursor;
use crate::removals::{Gaze, Removals};
use crate::sync::Arc;
use crate::types::PhysicalKey;

/// Everything that is published, from the newest down.
#[derive(Debug)]
pub(super) struct Layers {
    pub(super) memtable: Memtable,
    /// That of the reserved space, where the records of runs are.
    pub(super) records: Memtable,
    pub(super) below: Arc<Below>,
    /// What hides entries of any of them.
    pub(super) removals: Arc<Removals>,
}

impl Layers {
    /// The memtable that a key belongs to.
    pub(super) fn memtable_of(&self, is_reserved: bool) -> &Memtable {
        if is_reserved { &self.records } else { &self.memtable }
    }

    /// The memory that all of them take, but for tables.
    pub(super) fn bytes(&self) -> u64 {
        let Layers { memtable, records, below, removals } = self;
        memtable.bytes() + records.bytes() + below.frozen_bytes() + removals.bytes()
    }
}

/// A memtable that is being flushed, and that of the reserved space: settled, and in order.
#[derive(Debug, Default)]
pub(crate) struct Frozen {
    pub(crate) memtable: Memtable,
    pub(crate) records: Memtable,
}

impl Frozen {
    /// The memory that both take.
    pub(crate) fn bytes(&self) -> u64 {
        self.memtable.bytes() + self.records.bytes()
    }

    fn memtable_of(&self, is_reserved: bool) -> &Memtable {
        if is_reserved { &self.records } else { &self.memtable }
    }
}

/// What is below the memtable.
#[derive(Clone, Debug, Default)]
pub(crate) struct Below {
    pub(crate) frozen: Option<Arc<Frozen>>,
    pub(crate) levels: Levels,
}

impl Below {
    pub(crate) fn is_empty(&self) -> bool {
        self.frozen.is_none() && self.levels.is_empty()
    }

    /// The memtable that is being flushed and that a key belongs to.
    pub(super) fn frozen_of(&self, is_reserved: bool) -> Option<&Memtable> {
        self.frozen.as_ref().map(|frozen| frozen.memtable_of(is_reserved))
    }

    /// The memory of what is being flushed.
    pub(super) fn frozen_bytes(&self) -> u64 {
        self.frozen.as_ref().map_or(0, |frozen| frozen.bytes())
    }

    /// Whether something may expire behind one time, and not behind another.
    pub(super) fn may_expire_within(&self, behind_ms: u64, by_ms: u64) -> bool {
        let frozen = self.frozen_of(false);
        let frozen = frozen.is_some_and(|frozen| frozen.expires_within(behind_ms, by_ms));
        frozen
            || self.levels.tables().any(|live| {
                let (earliest, latest) = live.table.properties().expiries_ms;
                earliest <= by_ms && latest > behind_ms
            })
    }

    /// The newest version of a key that is at most this one, be it a tombstone or expired; nothing
    /// if it is older than `removed`.
    ///
    /// Errors: those of [`Levels::get`].
    pub(super) fn newest_at(
        &self,
        key: &PhysicalKey,
        version: u64,
        removed: u64,
    ) -> Result<Option<Version>> {
        let frozen = self.frozen_of(key.is_reserved()).filter(|_| !planted!(FrozenNotRead));
        if let Some(found) = frozen.and_then(|frozen| frozen.newest_at(key, version)) {
            sometimes!("store/read-of-a-frozen-memtable");
            return Ok(Some(found.clone()).filter(|found| found.version >= removed));
        }
        phase!(Lookup);
        let found = self.levels.get(key, version, removed)?;
        sometimes!("store/read-of-a-table", found.is_some());
        let found = found.map(Version::from);
        sometimes!("store/removed-in-a-table", found.as_ref().is_some_and(|f| f.version < removed));
        Ok(found.filter(|found| found.version >= removed || planted!(RemovalForgottenByTables)))
    }
}

/// The first keys of a range in one level, in the direction of a walk.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    /// Each with its newest version that is seen, be it a tombstone or expired.
    pub(super) entries: VecDeque<(PhysicalKey, Version)>,
    /// The last key that was passed, if there may be more behind it.
    pub(super) cut: Option<PhysicalKey>,
}

impl Chunk {
    /// Of a memtable that is in order.
    pub(super) fn of_memtable(
        memtable: &Memtable,
        bounds: Bounds<'_>,
        version: u64,
        backward: bool,
        keys_max: usize,
        gaze: Option<&mut Gaze>,
    ) -> Self {
        let (mut chunk, mut passed, mut gaze) = (Chunk::default(), 0, gaze);
        memtable.walk_versions(bounds, version, backward, |key, found| {
            let gaze = gaze.as_deref_mut();
            let is_hidden = |found: &Version| {
                gaze.is_some_and(|gaze| gaze.hiding(key, found.version).is_some())
            };
            let found = found.filter(|found| !is_hidden(found));
            chunk.entries.extend(found.map(|found| (key.clone(), found.clone())));
            passed += 1;
            if passed >= keys_max {
                chunk.cut = Some(key.clone());
            }
            passed < keys_max
        });
        chunk
    }
}

/// The level that has the first key of all, if no other has it, and the first key that another has,
/// or the walk is to end with.
fn alone<'a>(
    chunks: &[Chunk],
    levels: &'a mut [LevelWalk],
    end: Option<&PhysicalKey>,
    precedes: impl Fn(&PhysicalKey, &PhysicalKey) -> bool,
) -> Option<(&'a mut LevelWalk, Option<PhysicalKey>)> {
    let sooner = |a: &PhysicalKey, b: Option<&PhysicalKey>| b.is_none_or(|b| precedes(a, b));
    let mut first: Option<(usize, &PhysicalKey)> = None;
    let heads = chunks.iter().filter_map(|chunk| chunk.entries.front()).map(|(key, _)| key);
    let mut second = end.into_iter().chain(heads).reduce(|a, b| if precedes(b, a) { b } else { a });
    for (nth, level) in levels.iter().enumerate() {
        let Some((key, _)) = &level.head else { continue };
        let before = first.map(|(_, key)| key);
        if sooner(key, before) {
            let passed = before.filter(|passed| sooner(passed, second));
            (first, second) = (Some((nth, key)), passed.or(second));
        } else if sooner(key, second) {
            second = Some(key);
        }
    }
    let (nth, _) = first.filter(|(_, key)| sooner(key, second))?;
    let second = second.cloned();
    levels.get_mut(nth).map(|level| (level, second))
}

/// Merges chunks and levels, the newest first: visits each key that all of them have reached,
/// with its newest version, until `visit` says `false`. Returns the key behind which the next
/// chunks begin; `None` if there are none, or nothing more was asked for.
///
/// Errors: those of [`LevelCursor::advance`].
pub(super) fn merge(
    chunks: &mut [Chunk],
    levels: &mut [LevelWalk],
    backward: bool,
    mut visit: impl FnMut(PhysicalKey, Version) -> bool,
) -> Result<Option<PhysicalKey>> {
    let precedes = |a: &PhysicalKey, b: &PhysicalKey| if backward { a > b } else { a < b };
    let cuts = chunks.iter().filter_map(|chunk| chunk.cut.clone());
    let end = cuts.reduce(|a, b| if precedes(&b, &a) { b } else { a });
    loop {
        let of_chunks = chunks.iter().filter_map(|chunk| chunk.entries.front());
        let of_levels = levels.iter().filter_map(|level| level.head.as_ref());
        let first = of_chunks.chain(of_levels).map(|(key, _)| key);
        let first = first.reduce(|a, b| if precedes(b, a) { b } else { a }).cloned();
        let Some(first) = first else { return Ok(end) };
        if end.as_ref().is_some_and(|end| precedes(end, &first)) && !planted!(WalkBeyondCut) {
            return Ok(end);
        }
        // Most often one level has many keys before any other has one.
        if let Some((level, until)) = alone(chunks, levels, end.as_ref(), precedes) {
            let is_before = |key: &PhysicalKey| until.as_ref().is_none_or(|u| precedes(key, u));
            while let Some((key, version)) = level.take_if(is_before)? {
                if !visit(key, version) {
                    return Ok(None);
                }
            }
            continue;
        }
        let mut newest = None;
        for chunk in &mut *chunks {
            if chunk.entries.front().is_some_and(|(key, _)| *key == first) {
                let entry = chunk.entries.pop_front();
                newest = newest.or(entry);
            }
        }
        for level in &mut *levels {
            if level.head.as_ref().is_some_and(|(key, _)| *key == first) {
                let entry = level.take()?;
                newest = newest.or(entry);
            }
        }
        if newest.is_some_and(|(key, version)| !visit(key, version)) {
            return Ok(None);
        }
    }
}
