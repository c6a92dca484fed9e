//! The keys of the memtable with their versions, each in a slot, found by a hash.
//!
//! To find a key takes two cache misses, however many there are; nothing is moved when one is
//! added. The hash has a seed of the store's own, so that nobody can choose keys that collide.
//!
//! Invariants: a slot is free, or holds one key, to which exactly one place of the index leads;
//! a key keeps its slot until it is released. A key is *gone* if all that is left of it is a
//! tombstone that nobody needs; it waits to be released until the order forgets it
//! ([`super::order`]), and comes back to life in its slot if it is put again.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::FixedState;

use super::index::Index;
use super::slab::{Slab, Slot};
use super::version::Chain;
use crate::memory::MEMTABLE_BYTES_LIMIT;
use crate::types::PhysicalKey;

/// A key and its versions.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: PhysicalKey,
    pub(super) chain: Chain,
}

const _: () = assert!(MEMTABLE_BYTES_LIMIT / size_of::<Entry>() as u64 <= Slot::MAX as u64);

/// The entries, by slot and by key.
#[derive(Debug)]
pub(super) struct Entries {
    slab: Slab<Entry>,
    /// One bit for each slot: the key is gone.
    gone: Vec<u64>,
    gone_len: usize,
    index: Index,
    hasher: FixedState,
    /// How many slots hold a key.
    len: usize,
}

impl Entries {
    /// No entries; `seed` varies the hash.
    pub(super) fn new(seed: u64) -> Self {
        Entries {
            slab: Slab::new(),
            gone: Vec::new(),
            gone_len: 0,
            index: Index::new(),
            hasher: FixedState::with_seed(seed),
            len: 0,
        }
    }

    /// How many keys there are, without those that are gone.
    pub(super) fn len(&self) -> usize {
        self.len - self.gone_len
    }

    /// How many keys are gone and not released.
    pub(super) fn gone_len(&self) -> usize {
        self.gone_len
    }

    pub(super) fn hash(&self, key: &PhysicalKey) -> u32 {
        let mut hasher = self.hasher.build_hasher();
        let (run, head) = key.numbers();
        hasher.write_u128(run);
        hasher.write_u64(head);
        hasher.write(key.user_key());
        let hash = hasher.finish();
        let [a, b, c, d, ..] = (hash ^ (hash >> 32)).to_le_bytes();
        u32::from_le_bytes([a, b, c, d])
    }

    pub(super) fn find(&self, key: &PhysicalKey, hash: u32) -> Option<Slot> {
        self.index.find(hash, |slot| self.get(slot).is_some_and(|entry| entry.key == *key))
    }

    /// Looks at the places of several keys at once, so that the processor fetches them side by
    /// side: what follows finds them in its caches.
    pub(super) fn fetch(&self, hashes: &[u32]) {
        let held = hashes.iter().filter(|hash| self.index.is_home_held(**hash)).count();
        std::hint::black_box(held);
    }

    pub(super) fn get(&self, slot: Slot) -> Option<&Entry> {
        self.slab.get(slot)
    }

    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut Entry> {
        self.slab.get_mut(slot)
    }

    /// Adds a key that is not there.
    pub(super) fn insert(&mut self, entry: Entry, hash: u32) -> Slot {
        debug_assert!(self.find(&entry.key, hash).is_none(), "a key has one slot");
        self.len += 1;
        let slot = self.slab.insert(entry);
        self.index.insert(hash, slot);
        let words = slot as usize / 64 + 1;
        if self.gone.len() < words {
            self.gone.resize(words, 0);
        }
        slot
    }

    fn bit(&mut self, slot: Slot) -> Option<(&mut u64, u64)> {
        self.gone.get_mut(slot as usize / 64).map(|word| (word, 1 << (slot % 64)))
    }

    pub(super) fn is_gone(&self, slot: Slot) -> bool {
        self.gone.get(slot as usize / 64).is_some_and(|word| word & (1 << (slot % 64)) != 0)
    }

    /// The key is gone.
    pub(super) fn set_gone(&mut self, slot: Slot) {
        debug_assert!(self.get(slot).is_some_and(|entry| entry.chain.is_gone()));
        if let Some((word, bit)) = self.bit(slot) {
            debug_assert!(*word & bit == 0);
            *word |= bit;
            self.gone_len += 1;
        }
    }

    /// The key has come back to life.
    pub(super) fn set_back(&mut self, slot: Slot) {
        if let Some((word, bit)) = self.bit(slot) {
            debug_assert!(*word & bit != 0);
            *word &= !bit;
            self.gone_len -= 1;
        }
    }

    /// Frees the slot of a key that is gone and that nothing refers to any more. Returns the
    /// key.
    pub(super) fn release(&mut self, slot: Slot) -> Option<PhysicalKey> {
        debug_assert!(self.is_gone(slot));
        self.set_back(slot);
        let Entry { key, .. } = self.slab.remove(slot)?;
        let hash = self.hash(&key);
        self.index.remove(hash, slot);
        self.len -= 1;
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::super::version::Version;
    use super::*;
    use crate::codec::change::NEVER;
    use crate::types::{RunId, TypeTag};

    fn key(n: u32) -> PhysicalKey {
        PhysicalKey::new(RunId::from_bytes([3; 16]), TypeTag::KV, &n.to_be_bytes())
    }

    fn entry(n: u32) -> Entry {
        let newest = Version { version: 1, time_ms: 1, expiry_ms: NEVER, value: None };
        Entry { key: key(n), chain: Chain { newest, older: None } }
    }

    #[test]
    fn a_released_slot_serves_the_next_key_and_its_old_key_is_not_found() {
        let mut entries = Entries::new(0);
        for n in 0..100 {
            let hash = entries.hash(&key(n));
            entries.insert(entry(n), hash);
        }
        entries.set_gone(40);
        assert_eq!((entries.len(), entries.gone_len()), (99, 1));
        assert_eq!(entries.find(&key(40), entries.hash(&key(40))), Some(40), "gone, not released");
        entries.set_back(40);
        entries.set_gone(40);
        assert_eq!(entries.release(40), Some(key(40)));
        assert_eq!(entries.find(&key(40), entries.hash(&key(40))), None);
        let hash = entries.hash(&key(500));
        assert_eq!(entries.insert(entry(500), hash), 40);
        assert!(!entries.is_gone(40));
        assert_eq!((entries.len(), entries.gone_len()), (100, 0));
    }

    #[test]
    fn another_seed_gives_other_hashes() {
        let (one, other) = (Entries::new(1), Entries::new(2));
        assert!((0..100).any(|n| one.hash(&key(n)) != other.hash(&key(n))));
    }
}
