//! What was removed without naming each key: ranges of keys, each as of a version.
//!
//! A removal of version `v` hides every version of its keys that is below `v`, from every reader
//! at `v` or later. What has the same version stands: it was written behind the removal, in one
//! batch. A dropped run is a removal of all its keys.
//!
//! Reads ask the [`Cover`] of a run: its removals cut into pieces that do not overlap (as Pebble
//! and RocksDB cut their range tombstones), each with the versions at which it was removed. To find
//! a piece is a binary search; a run without removals has no cover.
//!
//! Invariants: a piece is not empty, and its versions ascend; the cover of a run is that of all its
//! removals, but for versions that a newer one of the same piece hides from every pin; a removal is
//! forgotten only when no table holds anything that it hides (`commit/forget.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use crate::sync::Arc;
use crate::types::{PhysicalKey, RunId};

/// What a removal costs in memory beside its keys: itself, its places in the maps, two pieces.
const REMOVAL_BYTES: u64 = 512;

/// Which removal it is: its version, and which one of its commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RemovalId {
    pub(crate) version: u64,
    pub(crate) nth: u32,
}

/// A range of keys of one run that was removed: from one key to another, which is not among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Removal {
    pub(crate) id: RemovalId,
    pub(crate) time_ms: u64,
    pub(crate) from: PhysicalKey,
    pub(crate) to: PhysicalKey,
}

impl Removal {
    fn bytes(&self) -> u64 {
        bytes_of(&self.from, &self.to)
    }
}

/// The memory that a removal takes, in bytes.
pub(crate) fn bytes_of(from: &PhysicalKey, to: &PhysicalKey) -> u64 {
    // Each key stands in the removal, and in at most two pieces.
    REMOVAL_BYTES + 3 * (from.heap_bytes() + to.heap_bytes()) as u64
}

/// Keys that were removed at the same versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) from: PhysicalKey,
    pub(crate) to: PhysicalKey,
    versions: Vec<u64>,
}

impl Piece {
    /// The newest removal at or below a version; 0 if there is none.
    pub(crate) fn newest(&self, upto: u64) -> u64 {
        let count = self.versions.partition_point(|version| *version <= upto);
        count.checked_sub(1).and_then(|nth| self.versions.get(nth)).copied().unwrap_or(0)
    }

    /// The oldest removal behind a version.
    fn oldest_behind(&self, version: u64) -> Option<u64> {
        self.versions.get(self.versions.partition_point(|own| *own <= version)).copied()
    }
}

/// The removals of one run, as reads ask for them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cover {
    /// One behind the other.
    pieces: Vec<Piece>,
}

impl Cover {
    fn piece(&self, key: &PhysicalKey) -> Option<&Piece> {
        self.pieces.get(self.ending_before(key)).filter(|piece| piece.from <= *key)
    }

    /// The newest removal of a key at or below a version; 0 if there is none. What is older than
    /// that is hidden.
    pub(crate) fn newest(&self, key: &PhysicalKey, upto: u64) -> u64 {
        self.piece(key).map_or(0, |piece| piece.newest(upto))
    }

    /// The oldest removal that hides this version of a key from somebody.
    pub(crate) fn oldest_behind(&self, key: &PhysicalKey, version: u64) -> Option<u64> {
        self.piece(key)?.oldest_behind(version)
    }

    /// How many pieces end before a key, or with it.
    fn ending_before(&self, key: &PhysicalKey) -> usize {
        self.pieces.partition_point(|piece| piece.to <= *key)
    }

    /// The pieces that overlap what lies between two keys, both of them included.
    pub(crate) fn within(
        &self,
        first: &PhysicalKey,
        last: &PhysicalKey,
    ) -> impl Iterator<Item = &Piece> {
        let nth = self.pieces.partition_point(|piece| piece.to <= *first);
        let rest = self.pieces.get(nth..).unwrap_or_default();
        rest.iter().take_while(move |piece| piece.from <= *last)
    }

    /// Adds a removal that is no older than any. `sees(old, new)`: whether a pin sees what was
    /// removed at `new`, and not what was at `old`.
    fn insert(&mut self, removal: &Removal, sees: &impl Fn(u64, u64) -> bool) {
        let Removal { from, to, id: RemovalId { version, .. }, .. } = removal;
        let fresh = |from: &PhysicalKey, to: &PhysicalKey| Piece {
            from: from.clone(),
            to: to.clone(),
            versions: vec![*version],
        };
        // Those that overlap it, with one on either side.
        let begin = self.pieces.partition_point(|piece| piece.to <= *from).saturating_sub(1);
        let end = self.pieces.partition_point(|piece| piece.from < *to) + 1;
        let end = end.min(self.pieces.len()).max(begin);
        let mut next = Vec::with_capacity(end - begin + 3);
        // What of the removal is not in a piece yet begins here.
        let mut at = from.clone();
        for piece in self.pieces.drain(begin..end) {
            if piece.to <= *from || piece.from >= *to {
                if piece.from >= *to && at < *to {
                    next.push(fresh(&at, to));
                    at = to.clone();
                }
                next.push(piece);
                continue;
            }
            let Piece { from: first, to: last, versions } = piece;
            if first < *from {
                let before = (first.clone(), from.clone(), versions.clone());
                next.push(Piece { from: before.0, to: before.1, versions: before.2 });
            }
            if at < first {
                next.push(fresh(&at, &first));
                at = first;
            }
            let end = (&last).min(to).clone();
            let mut both = versions.clone();
            while both.last().is_some_and(|old| old == version || !sees(*old, *version)) {
                both.pop();
            }
            both.push(*version);
            next.push(Piece { from: at, to: end.clone(), versions: both });
            at = end;
            if last > *to {
                next.push(Piece { from: to.clone(), to: last, versions });
            }
        }
        if at < *to {
            next.push(fresh(&at, to));
        }
        // Pieces that have become alike are one.
        next.dedup_by(|piece, before| {
            let joins = before.to == piece.from && before.versions == piece.versions;
            if joins {
                before.to = piece.to.clone();
            }
            joins
        });
        self.pieces.splice(begin..begin, next);
    }
}

/// What a reader that goes from key to key does not see: most often the next key is where the last
/// one was, in a piece or between two.
#[derive(Clone, Debug)]
pub(crate) struct Gaze {
    cover: Arc<Cover>,
    /// The reader's version.
    upto: u64,
    /// How many pieces end before the last key.
    nth: usize,
}

impl Gaze {
    /// Of a reader at a version.
    pub(crate) fn new(cover: Arc<Cover>, upto: u64) -> Self {
        Gaze { cover, upto, nth: 0 }
    }

    /// The piece that hides a version of a key, and its newest removal.
    pub(crate) fn hiding(&mut self, key: &PhysicalKey, version: u64) -> Option<(&Piece, u64)> {
        let pieces = &self.cover.pieces;
        let is_behind = self.nth.checked_sub(1).and_then(|nth| pieces.get(nth));
        let is_there = is_behind.is_none_or(|piece| piece.to <= *key)
            && pieces.get(self.nth).is_none_or(|piece| piece.to > *key);
        if !is_there {
            self.nth = self.cover.ending_before(key);
        }
        let piece = pieces.get(self.nth).filter(|piece| piece.from <= *key)?;
        let newest = piece.newest(self.upto);
        (newest > version).then_some((piece, newest))
    }
}

/// All removals that still hide something.
#[derive(Clone, Debug, Default)]
pub(crate) struct Removals {
    all: BTreeMap<RemovalId, Removal>,
    covers: BTreeMap<RunId, Arc<Cover>>,
    /// Those that were forgotten, and that a table may still tell of.
    forgotten: BTreeSet<RemovalId>,
    /// How often some were forgotten.
    forgets: u64,
    bytes: u64,
}

impl Removals {
    /// The memory that they take, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// In the order of their versions.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Removal> {
        self.all.values()
    }

    /// One that still hides something.
    pub(crate) fn get(&self, id: RemovalId) -> Option<&Removal> {
        self.all.get(&id)
    }

    /// Whether one was forgotten of which a table may still tell.
    pub(crate) fn is_forgotten(&self, id: RemovalId) -> bool {
        self.forgotten.contains(&id)
    }

    /// Those behind a version, likewise.
    pub(crate) fn since(&self, version: u64) -> impl Iterator<Item = &Removal> {
        self.all.range(RemovalId { version: version.saturating_add(1), nth: 0 }..).map(|(_, r)| r)
    }

    /// How often some were forgotten.
    pub(crate) fn forgets(&self) -> u64 {
        self.forgets
    }

    /// Those up to a version, as if no newer one had been made. A cover of all of them does not
    /// tell: where two overlap it keeps the newer one alone, unless a pin sees between them.
    pub(crate) fn upto(
        self: &Arc<Self>,
        version: u64,
        sees: impl Fn(u64, u64) -> bool,
    ) -> Arc<Self> {
        if self.all.last_key_value().is_none_or(|(last, _)| last.version <= version) {
            return Arc::clone(self);
        }
        let mut kept = Removals { forgets: self.forgets, ..Removals::default() };
        for removal in self.all.values().take_while(|removal| removal.id.version <= version) {
            kept.insert(removal.clone(), &sees);
        }
        Arc::new(kept)
    }

    /// Those that a table may still tell of, though they hide nothing.
    pub(crate) fn forgotten(&self) -> impl Iterator<Item = RemovalId> {
        self.forgotten.iter().copied()
    }

    /// What was removed of a run.
    pub(crate) fn cover(&self, run: RunId) -> Option<&Arc<Cover>> {
        // Most stores have none.
        if self.covers.is_empty() { None } else { self.covers.get(&run) }
    }

    /// What was removed of some runs.
    pub(crate) fn covers(
        &self,
        runs: RangeInclusive<RunId>,
    ) -> impl Iterator<Item = (&RunId, &Arc<Cover>)> {
        self.covers.range(runs)
    }

    /// The newest removal of a key at or below a version; 0 if there is none.
    pub(crate) fn newest(&self, key: &PhysicalKey, upto: u64) -> u64 {
        match self.covers.is_empty() {
            true => 0,
            false => self.cover(key.run()).map_or(0, |cover| cover.newest(key, upto)),
        }
    }

    /// Adds a removal that is no older than any. `sees(old, new)`: whether a pin sees what was
    /// removed at `new`, and not what was at `old`.
    pub(crate) fn insert(&mut self, removal: Removal, sees: impl Fn(u64, u64) -> bool) {
        if removal.from >= removal.to {
            return;
        }
        sometimes!("removals/over-another", self.cover(removal.from.run()).is_some());
        self.bytes += removal.bytes();
        let cover = self.covers.entry(removal.from.run()).or_default();
        Arc::make_mut(cover).insert(&removal, &sees);
        self.all.insert(removal.id, removal);
    }

    /// Forgets removals that hide nothing any more.
    pub(crate) fn forget(&mut self, ids: &[RemovalId], sees: impl Fn(u64, u64) -> bool) {
        let mut runs = BTreeSet::new();
        self.forgets += 1;
        for id in ids {
            if let Some(removal) = self.all.remove(id) {
                self.bytes -= removal.bytes();
                self.forgotten.insert(*id);
                runs.insert(removal.from.run());
            }
        }
        for run in &runs {
            self.covers.remove(run);
        }
        for removal in self.all.values().filter(|removal| runs.contains(&removal.from.run())) {
            let cover = self.covers.entry(removal.from.run()).or_default();
            Arc::make_mut(cover).insert(removal, &sees);
        }
    }

    /// No table tells of these any more.
    pub(crate) fn note_erased(&mut self, ids: &[RemovalId]) {
        for id in ids {
            self.forgotten.remove(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::types::TypeTag;

    fn key(n: u8) -> PhysicalKey {
        PhysicalKey::new(RunId::from_bytes([1; 16]), TypeTag::KV, &[n])
    }

    fn removal(version: u64, from: u8, to: u8) -> Removal {
        let id = RemovalId { version, nth: 0 };
        Removal { id, time_ms: 0, from: key(from), to: key(to) }
    }

    proptest! {
        #[test]
        fn a_cover_hides_what_any_of_its_removals_hides_at_every_pin_and_now(
            ranges in prop::collection::vec((0..20u8, 0..20u8), 1..20),
            pins in prop::collection::vec(0..20u64, 0..4),
            forgotten in prop::collection::vec(any::<bool>(), 20),
        ) {
            let last = ranges.len() as u64;
            let sees = |old: u64, new: u64| pins.iter().any(|pin| (old..new).contains(pin));
            let mut removals = Removals::default();
            let mut kept: Vec<Removal> = Vec::new();
            for (version, (from, to)) in (1..).zip(&ranges) {
                kept.push(removal(version, *from, *to));
                removals.insert(removal(version, *from, *to), sees);
            }
            let check = |removals: &Removals, kept: &[Removal]| {
                let points = || pins.iter().chain([&last]);
                for (n, upto) in (0..21).flat_map(|n| points().map(move |point| (n, *point))) {
                    let key = key(n);
                    let holds = |r: &&Removal| {
                        r.from <= key && key < r.to && r.id.version <= upto
                    };
                    let newest = kept.iter().filter(holds).map(|r| r.id.version).max();
                    let found = removals.newest(&key, upto);
                    assert_eq!(found, newest.unwrap_or(0), "key {n} at {upto}");
                }
                let Some(cover) = removals.cover(RunId::from_bytes([1; 16])) else { return };
                for upto in points() {
                    let mut gaze = Gaze::new(Arc::clone(cover), *upto);
                    for n in (0..21).chain((0..21).rev()).chain([3, 17, 5, 20, 0]) {
                        let newest = cover.newest(&key(n), *upto);
                        let told = |found: Option<(&Piece, u64)>| found.map(|(_, newest)| newest);
                        let at = |version| (newest > version).then_some(newest);
                        assert_eq!(told(gaze.hiding(&key(n), 0)), at(0));
                        assert_eq!(told(gaze.hiding(&key(n), newest)), None);
                    }
                }
            };
            check(&removals, &kept);
            let ids: Vec<_> = kept.iter().map(|r| r.id).filter(|id| {
                forgotten.get(usize::try_from(id.version - 1).unwrap()) == Some(&true)
            }).collect();
            removals.forget(&ids, sees);
            kept.retain(|r| !ids.contains(&r.id));
            check(&removals, &kept);
            for r in &kept {
                let pieces: Vec<_> = removals.cover(r.from.run()).iter()
                    .flat_map(|cover| cover.within(&r.from, &r.to)).cloned().collect();
                prop_assert!(pieces.windows(2).all(|pair| pair[0].to <= pair[1].from));
            }
            let rest: Vec<_> = removals.iter().map(|r| r.id).collect();
            removals.forget(&rest, sees);
            prop_assert_eq!(removals.bytes(), 0);
            prop_assert!(removals.is_empty() && removals.covers.is_empty());
        }
    }
}
