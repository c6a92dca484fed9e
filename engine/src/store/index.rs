//! A hash table from the hashes of keys to their slots.
//!
//! Open addressing with linear probing and backward-shift deletion (Knuth, *The Art of Computer
//! Programming* vol. 3, 6.4, algorithms L and R). A place is one number, half hash and half slot,
//! so that to find a key and to add it touch one and the same cache line in most cases; a table
//! with control bytes touches two. It is searched and never walked, so its order shows nowhere.
//!
//! Invariants: a table is at most 13/16 full, so every probe ends; there is no hole
//! between a place and the one where its hash would have it. The index is divided into tables
//! by the hash's top bits, so that to enlarge one takes a moment, however many keys there are.

use super::slab::Slot;

/// How many tables there are, as a power of two.
const TABLE_BITS: u32 = 6;
const TABLES: usize = 1 << TABLE_BITS;
const SMALLEST: usize = 4;

/// What a key costs: its place, at 7/16 to 13/16 load.
pub(super) const INDEX_BYTES: u64 = 13;

/// A hash in the upper half, a slot in the lower, inverted: zero is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place(u64);

const HOLE: Place = Place(0);

impl Place {
    fn new(hash: u32, slot: Slot) -> Self {
        debug_assert!(slot != Slot::MAX, "the last slot is never given");
        Place(u64::from(hash) << 32 | u64::from(!slot))
    }

    fn hash(self) -> u32 {
        let [.., a, b, c, d] = self.0.to_le_bytes();
        u32::from_le_bytes([a, b, c, d])
    }

    fn slot(self) -> Slot {
        let [a, b, c, d, ..] = self.0.to_le_bytes();
        !u32::from_le_bytes([a, b, c, d])
    }
}

#[derive(Debug, Default)]
struct Table {
    /// A power of two of them, or none.
    places: Vec<Place>,
    len: usize,
}

impl Table {
    fn mask(&self) -> usize {
        self.places.len().wrapping_sub(1)
    }

    fn at(&self, at: usize) -> Place {
        self.places.get(at).copied().unwrap_or(HOLE)
    }

    fn set(&mut self, at: usize, place: Place) {
        if let Some(found) = self.places.get_mut(at) {
            *found = place;
        }
    }

    /// Where the first hole is, or the first place with this hash whose slot `is_it`.
    fn probe(&self, hash: u32, mut is_it: impl FnMut(Slot) -> bool) -> Option<(usize, Slot)> {
        if self.places.is_empty() {
            return None;
        }
        let mut at = hash as usize & self.mask();
        loop {
            let place = self.at(at);
            if place == HOLE {
                return None;
            }
            if place.hash() == hash && is_it(place.slot()) {
                return Some((at, place.slot()));
            }
            at = (at + 1) & self.mask();
        }
    }

    fn add(&mut self, place: Place) {
        let mut at = place.hash() as usize & self.mask();
        while self.at(at) != HOLE {
            at = (at + 1) & self.mask();
        }
        self.set(at, place);
    }

    fn insert(&mut self, place: Place) {
        if (self.len + 1) * 16 > self.places.len() * 13 {
            self.resize((self.places.len() * 2).max(SMALLEST));
        }
        self.add(place);
        self.len += 1;
    }

    fn resize(&mut self, size: usize) {
        let old = std::mem::replace(&mut self.places, vec![HOLE; size]);
        old.into_iter().filter(|place| *place != HOLE).for_each(|place| self.add(place));
    }

    /// Takes a place out, and gives memory back when little of it is used.
    fn remove(&mut self, at: usize) {
        self.len -= 1;
        self.close_gap(at);
        if self.places.len() > SMALLEST && self.len * 16 < self.places.len() * 3 {
            self.resize(self.places.len() / 2);
        }
    }

    /// Empties a place, and moves up those that had to give way to it.
    fn close_gap(&mut self, mut hole: usize) {
        let mut at = hole;
        loop {
            self.set(hole, HOLE);
            loop {
                at = (at + 1) & self.mask();
                let place = self.at(at);
                if place == HOLE {
                    return;
                }
                // It may move to the hole unless that lies before its home.
                let home = place.hash() as usize & self.mask();
                let from_home = at.wrapping_sub(home) & self.mask();
                let from_hole = at.wrapping_sub(hole) & self.mask();
                if from_home >= from_hole {
                    self.set(hole, place);
                    hole = at;
                    break;
                }
            }
        }
    }
}

/// The index: which slot holds a key.
#[derive(Debug)]
pub(super) struct Index {
    tables: Vec<Table>,
}

impl Index {
    pub(super) fn new() -> Self {
        let mut tables = Vec::new();
        tables.resize_with(TABLES, Table::default);
        Index { tables }
    }

    /// The slot with this hash of which `is_it` is true.
    pub(super) fn find(&self, hash: u32, is_it: impl FnMut(Slot) -> bool) -> Option<Slot> {
        self.tables.get(table(hash))?.probe(hash, is_it).map(|(_, slot)| slot)
    }

    /// Whether something is where this hash would have its place.
    pub(super) fn is_home_held(&self, hash: u32) -> bool {
        let home = |table: &Table| table.at(hash as usize & table.mask()) != HOLE;
        self.tables.get(table(hash)).is_some_and(home)
    }

    /// Adds a slot that is not there.
    pub(super) fn insert(&mut self, hash: u32, slot: Slot) {
        if let Some(table) = self.tables.get_mut(table(hash)) {
            table.insert(Place::new(hash, slot));
        }
    }

    /// Takes a slot out.
    pub(super) fn remove(&mut self, hash: u32, slot: Slot) {
        if let Some(table) = self.tables.get_mut(table(hash))
            && let Some((at, _)) = table.probe(hash, |found| found == slot)
        {
            table.remove(at);
        }
    }
}

fn table(hash: u32) -> usize {
    (hash >> (u32::BITS - TABLE_BITS)) as usize
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Few hashes, so that nearly all collide or crowd.
        #[test]
        fn what_was_inserted_and_not_removed_is_found_and_nothing_else(
            steps in prop::collection::vec((any::<bool>(), 0u32..24, 0u32..3), 0..300),
        ) {
            let (mut index, mut model) = (Index::new(), BTreeMap::new());
            for (add, home, copy) in steps {
                let (hash, slot) = (home, home * 3 + copy);
                if add && !model.contains_key(&slot) {
                    index.insert(hash, slot);
                    model.insert(slot, hash);
                } else if !add && model.remove(&slot).is_some() {
                    index.remove(hash, slot);
                }
                for slot in 0..72 {
                    let found = index.find(slot / 3, |candidate| candidate == slot);
                    prop_assert_eq!(found.is_some(), model.contains_key(&slot), "slot {}", slot);
                }
            }
        }
    }

    #[test]
    fn many_keys_over_all_tables_are_found_also_after_half_of_them_are_removed() {
        let mut index = Index::new();
        let hash = |slot: Slot| slot.wrapping_mul(0x9e37_79b1);
        let all = 0..200_000;
        all.clone().for_each(|slot| index.insert(hash(slot), slot));
        all.clone().filter(|slot| slot % 2 == 0).for_each(|slot| index.remove(hash(slot), slot));
        for slot in all {
            let found = index.find(hash(slot), |candidate| candidate == slot);
            assert_eq!(found.is_some(), slot % 2 == 1, "{slot}");
        }
    }

    #[test]
    fn the_extremes_of_hash_and_slot_are_places_like_any_other() {
        let mut index = Index::new();
        for (hash, slot) in [(0, 0), (0, Slot::MAX - 1), (u32::MAX, 0), (u32::MAX, Slot::MAX - 1)] {
            index.insert(hash, slot);
            assert_eq!(index.find(hash, |found| found == slot), Some(slot));
        }
    }
}
