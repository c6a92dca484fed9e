//! The memtable: the newest versions of every key, in memory.
//!
//! Keys are found by a hash ([`super::entries`]) and put in order only when somebody reads a range
//! ([`super::order`]): see `docs/decisions/0010`. The last few changes are *fresh*: not yet under
//! their keys. To find a key's place is a cache miss; for a few keys at once, the misses overlap.
//!
//! Invariants:
//! 1. A chain's versions fall from the newest on; a reader at version `s` sees the first that
//!    is at most `s`, and nothing if that one is a tombstone or has expired. An expired
//!    version still hides the older ones.
//! 2. A superseded version is kept only while some pin sees it; its key then stands in the
//!    garbage queue, so that it is freed soon after the pin is gone.
//! 3. `bytes` is the memory that keys, values and their places take.
//! 4. A fresh change is newer than every version under its key; it counts for the most memory
//!    that it can take. What looks at more than one key settles them first.
//! 5. With nothing below, a tombstone that no pin needs is not kept: its key is gone, and is
//!    released when a quarter of the keys are, or by maintenance. Over tables each is kept, since
//!    it hides what they hold.

use std::collections::{BTreeSet, VecDeque};
use std::ops::Bound;

use super::entries::{Entries, Entry};
use super::index::INDEX_BYTES;
use super::order::{ORDER_BYTES, Order};
use super::pins::Pins;
use super::purge::Purge;
use super::slab::Slot;
use super::version::{Chain, Version};
use crate::codec::change::NEVER;
use crate::codec::value::Stored;
use crate::options::Steps;
use crate::types::PhysicalKey;

/// What an allocation costs beside its bytes.
const ALLOCATION_BYTES: u64 = 16;
/// What a key costs: its entry and its places in the hash table and in the order.
const ENTRY_BYTES: u64 = size_of::<Entry>() as u64 + INDEX_BYTES + ORDER_BYTES;
/// What an expiry costs in its index, whose nodes are three quarters full.
const EXPIRY_BYTES: u64 = (size_of::<(u64, Slot)>()) as u64 * 4 / 3;
/// What a superseded version costs beside its value.
const OLDER_BYTES: u64 = size_of::<Version>() as u64 * 2 + size_of::<Slot>() as u64;

/// As many keys may be gone before any is released.
const GONE_MIN: usize = 64;

/// Of so many keys a walk fetches entries and values at once.
const FETCHED_MAX: usize = 16;

/// The most changes that are fresh.
const FRESH_MAX: usize = 32;

/// A change that is not yet under its key.
#[derive(Debug)]
pub(super) struct Fresh {
    pub(super) key: PhysicalKey,
    pub(super) version: Version,
}

fn heap(bytes: usize) -> u64 {
    if bytes == 0 { 0 } else { bytes as u64 + ALLOCATION_BYTES }
}

fn key_bytes(key: &PhysicalKey) -> u64 {
    ENTRY_BYTES + heap(key.heap_bytes())
}

pub(super) fn value_bytes(version: &Version) -> u64 {
    let value = version.value.as_ref().map_or(0, |value| heap(value.bytes().len()));
    value + if version.expiry_ms == NEVER { 0 } else { EXPIRY_BYTES }
}

/// The most bytes that a put can add.
pub(crate) fn put_bytes_max(key: &PhysicalKey, value: &Stored, expires: bool) -> u64 {
    let expiry = if expires { EXPIRY_BYTES } else { 0 };
    key_bytes(key) + heap(value.bytes().len()) + expiry + OLDER_BYTES
}

/// The most bytes that an entry of the reserved space can add, with a user key and a value of so
/// many.
pub(crate) fn record_bytes_max(key_len: usize, value_len: usize) -> u64 {
    let of_key = ENTRY_BYTES + heap(PhysicalKey::heap_bytes_of(key_len));
    of_key + heap(value_len) + OLDER_BYTES
}

/// The most bytes that a delete can add: a tombstone over a version that a pin sees.
pub(crate) const DELETE_BYTES_MAX: u64 = OLDER_BYTES;

/// The same, beside that: over tables it may stand under a key of its own.
pub(crate) fn tombstone_bytes_max(key: &PhysicalKey) -> u64 {
    key_bytes(key)
}

impl Default for Memtable {
    fn default() -> Self {
        Memtable::new(&[0; 16], &Steps::default())
    }
}

/// The newest versions of all keys.
#[derive(Debug)]
pub(crate) struct Memtable {
    /// In the order of their versions; and the hashes of their keys.
    pub(super) fresh: Vec<Fresh>,
    fresh_hashes: Vec<u32>,
    pub(super) entries: Entries,
    pub(super) order: Order,
    /// The expiries of newest versions, soonest first.
    pub(super) expiries: BTreeSet<(u64, Slot)>,
    /// Keys whose chains hold superseded versions.
    pub(super) garbage: VecDeque<Slot>,
    pub(super) bytes: u64,
    /// There is, or will be, something below: tombstones are kept.
    pub(super) over_tables: bool,
    /// Ranges of keys whose versions below one were removed, to be freed.
    pub(super) removals: VecDeque<Purge>,
}

impl Memtable {
    /// An empty one for a store, whose id varies how keys are hashed.
    pub(crate) fn new(store_id: &[u8; 16], steps: &Steps) -> Self {
        let [a, b, c, d, e, f, g, h, ..] = *store_id;
        Memtable {
            fresh: Vec::new(),
            fresh_hashes: Vec::new(),
            entries: Entries::new(u64::from_le_bytes([a, b, c, d, e, f, g, h])),
            order: Order::new(steps),
            expiries: BTreeSet::new(),
            garbage: VecDeque::new(),
            bytes: 0,
            over_tables: false,
            removals: VecDeque::new(),
        }
    }

    /// The same, over tables.
    pub(crate) fn over_tables(self) -> Self {
        debug_assert!(self.entries.len() == 0 && self.is_settled());
        Memtable { over_tables: !planted!(TombstoneOverTablesDropped), ..self }
    }

    /// The hash of a key, which the store's id varies.
    #[cfg(test)]
    pub(crate) fn hash(&self, key: &PhysicalKey) -> u32 {
        self.entries.hash(key)
    }

    /// The memory in use, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether no change is fresh.
    pub(crate) fn is_settled(&self) -> bool {
        self.fresh.is_empty()
    }

    /// The number of keys, tombstones that a pin needs among them.
    pub(crate) fn len(&self) -> usize {
        debug_assert!(self.is_settled());
        self.entries.len() + if planted!(DeletedKeysCounted) { self.entries.gone_len() } else { 0 }
    }

    /// How many keys wait for superseded versions to be freed.
    pub(crate) fn garbage_len(&self) -> usize {
        self.garbage.len()
    }

    /// Whether there is, or will be, something to free.
    pub(crate) fn wants_maintenance(&self) -> bool {
        !self.is_settled()
            || !self.garbage.is_empty()
            || self.entries.gone_len() > 0
            || !self.expiries.is_empty()
            || !self.removals.is_empty()
    }

    /// When the next version expires.
    pub(crate) fn next_expiry_ms(&self) -> Option<u64> {
        debug_assert!(self.is_settled());
        self.expiries.first().map(|(expiry, _)| *expiry)
    }

    /// Whether something has expired at `now_ms`, beside what is fresh.
    pub(crate) fn holds_expired(&self, now_ms: u64) -> bool {
        self.expiries.first().is_some_and(|(expiry, _)| *expiry <= now_ms)
    }

    /// Whether a newest version expires behind one time, and not behind another.
    pub(crate) fn expires_within(&self, behind_ms: u64, by_ms: u64) -> bool {
        debug_assert!(self.is_settled());
        let first = self.expiries.range((behind_ms.saturating_add(1), 0)..).next();
        first.is_some_and(|(expiry, _)| *expiry <= by_ms)
    }

    /// Sets or deletes a key. `new.version` is above every version in the table.
    pub(crate) fn apply(&mut self, key: PhysicalKey, new: Version, pins: &Pins) {
        self.bytes += self.fresh_bytes(&key, &new);
        self.fresh_hashes.push(self.entries.hash(&key));
        self.fresh.push(Fresh { key, version: new });
        if self.fresh.len() >= FRESH_MAX {
            sometimes!("memtable/fresh-changes-settled");
            self.settle(pins);
        }
    }

    /// What a fresh change counts for: the most that it can add.
    fn fresh_bytes(&self, key: &PhysicalKey, version: &Version) -> u64 {
        match &version.value {
            Some(value) => put_bytes_max(key, value, version.expiry_ms != NEVER),
            None if self.over_tables => DELETE_BYTES_MAX + tombstone_bytes_max(key),
            None => DELETE_BYTES_MAX,
        }
    }

    /// Puts the fresh changes under their keys.
    pub(crate) fn settle(&mut self, pins: &Pins) {
        self.entries.fetch(&self.fresh_hashes);
        let (mut fresh, mut hashes) =
            (std::mem::take(&mut self.fresh), std::mem::take(&mut self.fresh_hashes));
        for (Fresh { key, version }, hash) in fresh.drain(..).zip(hashes.drain(..)) {
            self.bytes -= self.fresh_bytes(&key, &version);
            match self.entries.find(&key, hash) {
                Some(slot) => self.supersede(slot, version, pins),
                None if version.value.is_none() && !self.over_tables => {
                    sometimes!("memtable/delete-of-nothing");
                }
                None => self.add(key, hash, version),
            }
        }
        // Their room is used again.
        (self.fresh, self.fresh_hashes) = (fresh, hashes);
    }

    /// Adds a key that is not there.
    fn add(&mut self, key: PhysicalKey, hash: u32, new: Version) {
        self.bytes += key_bytes(&key) + value_bytes(&new);
        let expiry_ms = new.expiry_ms;
        let slot =
            self.entries.insert(Entry { key, chain: Chain { newest: new, older: None } }, hash);
        self.order.add(slot);
        if expiry_ms != NEVER {
            self.expiries.insert((expiry_ms, slot));
        }
    }

    /// Gives a key that is there a newer version.
    fn supersede(&mut self, slot: Slot, new: Version, pins: &Pins) {
        let keeps = self.over_tables;
        // Over tables only what a removal hides is gone, and a tombstone is not.
        let is_gone = keeps && self.entries.is_gone(slot);
        let Some(Entry { chain, .. }) = self.entries.get_mut(slot) else { return };
        debug_assert!(chain.newest.version <= new.version);
        let was_gone = if keeps { is_gone } else { chain.is_gone() };
        let (expiry_ms, version) = (new.expiry_ms, new.version);
        self.bytes += value_bytes(&new);
        let old = std::mem::replace(&mut chain.newest, new);
        self.bytes -= value_bytes(&old);
        if old.expiry_ms != NEVER {
            self.expiries.remove(&(old.expiry_ms, slot));
        }
        if expiry_ms != NEVER {
            self.expiries.insert((expiry_ms, slot));
        }
        // A tombstone that nobody needs hides nothing.
        if !was_gone && pins.see(old.version, version) {
            sometimes!("memtable/old-version-kept-for-a-pin");
            self.bytes += older_bytes(&old);
            let older = chain.older.get_or_insert_default();
            if older.is_empty() {
                self.garbage.push_back(slot);
            }
            older.insert(0, old);
        }
        match (was_gone, chain.is_gone() && !keeps) {
            (false, true) => self.set_gone(slot),
            (true, false) => {
                sometimes!("memtable/key-comes-back");
                self.entries.set_back(slot);
            }
            _ => {}
        }
    }

    /// Nobody can see anything of a key any more.
    pub(super) fn set_gone(&mut self, slot: Slot) {
        self.entries.set_gone(slot);
        let gone = self.entries.gone_len();
        if gone > GONE_MIN && gone > self.entries.len() / 3 {
            sometimes!("memtable/many-keys-gone");
            self.purge();
        }
    }

    /// Releases keys that are gone; of a large table, some of them.
    pub(super) fn purge(&mut self) {
        let bytes = &mut self.bytes;
        self.order.purge(&mut self.entries, |key| *bytes -= key_bytes(key));
    }

    /// The version of a key that is the newest at `version`, be it a tombstone or expired.
    pub(crate) fn newest_at(&self, key: &PhysicalKey, version: u64) -> Option<&Version> {
        planted!(FreshReadInWrongOrder | FreshHidesPinned => return self.misread(key, version));
        let hash = self.entries.hash(key);
        let fresh = self.fresh_hashes.iter().zip(&self.fresh).rev();
        for (fresh_hash, fresh) in fresh {
            if *fresh_hash == hash && fresh.key == *key && fresh.version.version <= version {
                sometimes!("memtable/read-of-a-fresh-change");
                return Some(&fresh.version);
            }
        }
        let slot = self.entries.find(key, hash)?;
        self.entries.get(slot)?.chain.at(version)
    }

    /// How many keys a walk would miss.
    pub(crate) fn unordered_len(&self) -> usize {
        debug_assert!(self.is_settled());
        self.order.tail_len()
    }

    /// Puts some of them in order, in the order in which they came.
    pub(crate) fn put_in_order(&mut self) {
        let bytes = &mut self.bytes;
        self.order.settle(&mut self.entries, |key| *bytes -= key_bytes(key));
    }

    /// Every key between two bounds, in order, with its versions, until `visit` says `false`.
    /// What is not in order yet is left out.
    pub(crate) fn chains(
        &self,
        bounds: (Bound<&PhysicalKey>, Bound<&PhysicalKey>),
        mut visit: impl FnMut(&PhysicalKey, &Chain) -> bool,
    ) {
        debug_assert!(self.is_settled() && self.unordered_len() == 0);
        self.order.walk(&self.entries, bounds, false, |slot| {
            self.entries.get(slot).is_none_or(|Entry { key, chain }| visit(key, chain))
        });
    }

    /// The version of each key between two bounds that is the newest at `version`, be it a
    /// tombstone or expired; with every key that was passed on the way counted by `visit`.
    pub(crate) fn walk_versions<'a>(
        &'a self,
        bounds: (Bound<&PhysicalKey>, Bound<&PhysicalKey>),
        version: u64,
        backward: bool,
        mut visit: impl FnMut(&'a PhysicalKey, Option<&'a Version>) -> bool,
    ) {
        // Keys in order lie anywhere in memory: of some at once the processor fetches the entries,
        // and then the values, side by side.
        let mut slots = [0; FETCHED_MAX];
        let mut count = 0;
        let mut goes_on = true;
        let mut look = |slots: &[Slot]| {
            let found = slots.iter().filter_map(|slot| self.entries.get(*slot));
            let values = found.filter_map(|entry| entry.chain.newest.value.as_ref());
            let first_bytes = values.map(|value| value.bytes().first().copied().unwrap_or(0));
            std::hint::black_box(first_bytes.fold(0, |a, b| a ^ b));
            slots.iter().all(|slot| {
                let Some(Entry { key, chain }) = self.entries.get(*slot) else { return true };
                visit(key, chain.at(version))
            })
        };
        self.order.walk(&self.entries, bounds, backward, |slot| {
            if let Some(next) = slots.get_mut(count) {
                *next = slot;
                count += 1;
            }
            if count == FETCHED_MAX {
                goes_on = look(&slots);
                count = 0;
            }
            goes_on
        });
        if goes_on {
            look(slots.get(..count).unwrap_or_default());
        }
    }
}

pub(super) fn older_bytes(version: &Version) -> u64 {
    OLDER_BYTES + version.value.as_ref().map_or(0, |value| heap(value.bytes().len()))
}
