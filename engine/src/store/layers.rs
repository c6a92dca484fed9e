//! What a read goes through: the memtable, one that is being flushed, and the levels of tables.
//!
//! Invariants: of a key, what stands further up is newer; what is below never changes, so it is
//! read without a lock; whoever looks at the memtable under its lock and takes what is below under
//! the same lock sees one moment.

use super::level_walk::{Bounds, LevelWalk, precedes};
use super::memtable::Memtable;
use super::version::Version;
use super::window::{Rank, Seen, Window};
use crate::codec::Malformed;
use crate::error::{Error, Result};
use crate::levels::Levels;
#[cfg(doc)]
use crate::levels::cursor::LevelCursor;
use crate::removals::{Gaze, Removals};
use crate::sync::Arc;
use crate::table::lookup::{Lent, Wanted};
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
        self.flushable_bytes() + self.removals.bytes()
    }

    /// The memory that memtables take, which flushes free.
    pub(super) fn flushable_bytes(&self) -> u64 {
        self.memtable.bytes() + self.records.bytes() + self.below.frozen_bytes()
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

    /// Looks at the newest version of a key that is at most the one that is wanted, be it a
    /// tombstone or expired; at nothing if it is older than `removed`.
    ///
    /// Errors: those of [`Levels::look`]; [`Error::Corruption`](crate::Error::Corruption) for what
    /// `look` cannot read.
    pub(super) fn look<T>(
        &self,
        wanted: Wanted<'_>,
        removed: u64,
        look: &impl Fn(Option<Lent<'_>>) -> std::result::Result<T, Malformed>,
    ) -> Result<T> {
        let key = wanted.key;
        let frozen = self.frozen_of(key.is_reserved()).filter(|_| !planted!(FrozenNotRead));
        if let Some(found) = frozen.and_then(|frozen| frozen.newest_at(key, wanted.version)) {
            sometimes!("store/read-of-a-frozen-memtable");
            let found = Some(found).filter(|found| found.version >= removed);
            return look(found.map(Version::lend)).map_err(unreadable(key));
        }
        phase!(Lookup);
        let looked = self.levels.look(wanted, removed, &|lent| {
            let is_removed = lent.stamp.version < removed;
            sometimes!("store/removed-in-a-table", is_removed);
            let is_shown = !is_removed || planted!(RemovalForgottenByTables);
            look(Some(lent).filter(|_| is_shown))
        })?;
        sometimes!("store/read-of-a-table", looked.is_some());
        looked.map_or_else(|| look(None).map_err(unreadable(key)), Ok)
    }
}

/// What is said of a version in memory that cannot be read.
pub(super) fn unreadable(key: &PhysicalKey) -> impl FnOnce(Malformed) -> Error {
    move |m| Error::corruption(format!("memtable key {key:?}"), 0, m.expected, m.found)
}

/// The first keys of a range in a memtable, in the direction of a walk.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    /// Each with its newest version that is seen, be it a tombstone or expired.
    entries: Window,
    /// The last key that was passed, if there may be more behind it.
    cut: Option<PhysicalKey>,
}

impl Chunk {
    /// Of a memtable that is in order: at most so many keys, and values of about so many bytes.
    pub(super) fn of_memtable(
        memtable: &Memtable,
        bounds: Bounds<'_>,
        version: u64,
        backward: bool,
        (keys_max, bytes_max): (usize, usize),
        gaze: Option<&mut Gaze>,
    ) -> Self {
        let (mut chunk, mut passed, mut bytes, mut gaze) = (Chunk::default(), 0, 0, gaze);
        memtable.walk_versions(bounds, version, backward, |key, found| {
            let gaze = gaze.as_deref_mut();
            let is_hidden = |found: &Version| {
                gaze.is_some_and(|gaze| gaze.hiding(key, found.version).is_some())
            };
            if let Some(found) = found.filter(|found| !is_hidden(found)) {
                chunk.entries.push(&Seen::of(key, found));
                bytes += found.value.as_ref().map_or(0, |value| value.bytes().len());
            }
            passed += 1;
            let more = passed < keys_max && bytes < bytes_max;
            if !more {
                chunk.cut = Some(key.clone());
            }
            more
        });
        chunk
    }

    /// The memory that it takes, in bytes.
    pub(super) fn held_bytes(&self) -> u64 {
        self.entries.held_bytes()
    }

    /// Passes what does not come behind a key.
    pub(super) fn go_behind(&mut self, key: &PhysicalKey, backward: bool) {
        let key = Rank::new(key.tag_byte(), key.user_key());
        while self.entries.rank().is_some_and(|rank| !precedes(backward, key, rank)) {
            self.entries.pop_first();
        }
    }
}

/// What a merge reads.
struct Sources<'a> {
    chunks: &'a mut [Chunk],
    levels: &'a mut [LevelWalk],
    backward: bool,
}

impl Sources<'_> {
    /// The next key of a source.
    fn rank(&self, nth: usize) -> Option<Rank<'_>> {
        match nth.checked_sub(self.chunks.len()) {
            None => self.chunks.get(nth)?.entries.rank(),
            Some(nth) => self.levels.get(nth)?.rank(),
        }
    }

    /// The next entry of a source.
    fn head(&self, nth: usize) -> Option<Seen<'_>> {
        match nth.checked_sub(self.chunks.len()) {
            None => self.chunks.get(nth)?.entries.first(),
            Some(nth) => self.levels.get(nth)?.head(),
        }
    }

    fn pass(&mut self, nth: usize) -> Result<()> {
        match nth.checked_sub(self.chunks.len()) {
            None => {
                self.chunks.get_mut(nth).map(|chunk| chunk.entries.pop_first());
            }
            Some(nth) => self.levels.get_mut(nth).map_or(Ok(()), LevelWalk::pass)?,
        }
        Ok(())
    }

    fn len(&self) -> usize {
        self.chunks.len() + self.levels.len()
    }

    /// The newest source that has the first key of all, that key, and the first one that any other
    /// has, which may be the same.
    fn first(&self) -> Option<(usize, Rank<'_>, Option<Rank<'_>>)> {
        let mut found: Option<(usize, Rank<'_>)> = None;
        let mut second: Option<Rank<'_>> = None;
        for nth in 0..self.len() {
            let Some(rank) = self.rank(nth) else { continue };
            if found.is_none_or(|(_, first)| precedes(self.backward, rank, first)) {
                second = found.replace((nth, rank)).map(|(_, passed)| passed);
            } else if second.is_none_or(|second| precedes(self.backward, rank, second)) {
                second = Some(rank);
            }
        }
        found.map(|(nth, first)| (nth, first, second))
    }

    /// Visits the next key of a source, and those behind it before another, as long as `visit` says
    /// so; returns what it said last.
    fn visit_alone(
        &mut self,
        nth: usize,
        limit: Option<Rank<'_>>,
        visit: &mut impl FnMut(&Seen<'_>) -> bool,
    ) -> Result<bool> {
        let level = nth.checked_sub(self.chunks.len()).and_then(|nth| self.levels.get_mut(nth));
        if let Some(level) = level {
            return level.run(limit, visit);
        }
        let Some(Chunk { entries, .. }) = self.chunks.get_mut(nth) else { return Ok(true) };
        loop {
            if entries.pop_first().is_some_and(|seen| !visit(&seen)) {
                return Ok(false);
            }
            let Some(next) = entries.rank() else { return Ok(true) };
            if limit.is_some_and(|limit| !precedes(self.backward, next, limit)) {
                return Ok(true);
            }
        }
    }
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
    mut visit: impl FnMut(&Seen<'_>) -> bool,
) -> Result<Option<PhysicalKey>> {
    let cuts = chunks.iter().filter_map(|chunk| chunk.cut.clone());
    let end = if backward { cuts.max() } else { cuts.min() };
    let end_rank = end.as_ref().map(|end| Rank::new(end.tag_byte(), end.user_key()));
    let mut sources = Sources { chunks, levels, backward };
    // A key that is compared with while the source of it moves on.
    let mut kept = Vec::new();
    loop {
        let Some((nth, first, second)) = sources.first() else { return Ok(end) };
        let is_behind = end_rank.is_some_and(|end| precedes(backward, end, first));
        if is_behind && !planted!(WalkBeyondCut) {
            return Ok(end);
        }
        kept.clear();
        if second == Some(first) {
            kept.extend_from_slice(first.user);
            let first = Rank { user: &kept, ..first };
            if sources.head(nth).is_some_and(|head| !visit(&head)) {
                return Ok(None);
            }
            for nth in nth..sources.len() {
                if sources.rank(nth) == Some(first) {
                    sources.pass(nth)?;
                }
            }
            continue;
        }
        // Most often one source has many keys before any other has one.
        let ends_first =
            |second: &Rank<'_>| end_rank.is_some_and(|end| precedes(backward, end, *second));
        let limit = match second.filter(|second| !ends_first(second)) {
            Some(second) => {
                kept.extend_from_slice(second.user);
                Some(Rank { user: &kept, ..second })
            }
            None => end_rank,
        };
        if !sources.visit_alone(nth, limit, &mut visit)? {
            return Ok(None);
        }
    }
}
