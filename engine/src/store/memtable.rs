//! The memtable: the newest versions of every key, ordered, in memory.
//!
//! Invariants:
//! 1. A chain's versions fall from the newest on; a reader at version `s` sees the first that
//!    is at most `s`, and nothing if that one is a tombstone or has expired. An expired
//!    version still hides the older ones.
//! 2. A superseded version is kept only while some pin sees it; its key then stands in the
//!    garbage queue, so that it is freed soon after the pin is gone.
//! 3. `bytes` is the memory that keys, values and their places in the maps take.
//! 4. There is no storage below as yet, so a tombstone that no pin needs is not kept.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;

use super::pins::{Pins, ReadPoint};
use crate::codec::change::NEVER;
use crate::codec::value::Stored;
use crate::types::PhysicalKey;

/// One version of a key; a tombstone if it has no value.
#[derive(Clone, Debug)]
pub(crate) struct Version {
    pub(crate) version: u64,
    pub(crate) time_ms: u64,
    pub(crate) expiry_ms: u64,
    pub(crate) value: Option<Stored>,
}

impl Version {
    fn is_visible(&self, now_ms: u64) -> bool {
        self.value.is_some() && now_ms < self.expiry_ms
    }
}

#[derive(Debug)]
struct Chain {
    newest: Version,
    /// Superseded versions that a pin sees, newest first.
    #[allow(clippy::box_collection)] // most chains have none: 8 bytes, not 24
    older: Option<Box<Vec<Version>>>,
}

impl Chain {
    fn at(&self, version: u64) -> Option<&Version> {
        if self.newest.version <= version {
            return Some(&self.newest);
        }
        self.older.as_deref()?.iter().find(|older| older.version <= version)
    }
}

/// What an allocation costs beside its bytes.
const ALLOCATION_BYTES: u64 = 16;
/// What a key costs in the map: its place in nodes that are three quarters full.
const ENTRY_BYTES: u64 = (size_of::<PhysicalKey>() + size_of::<Chain>()) as u64 * 4 / 3 + 16;
/// What an expiry costs in its index.
const EXPIRY_BYTES: u64 = (size_of::<(u64, PhysicalKey)>()) as u64 * 4 / 3;
/// What a superseded version costs beside its value.
const OLDER_BYTES: u64 = size_of::<Version>() as u64 * 2 + size_of::<PhysicalKey>() as u64;

fn heap(bytes: usize) -> u64 {
    if bytes == 0 { 0 } else { bytes as u64 + ALLOCATION_BYTES }
}

fn key_bytes(key: &PhysicalKey) -> u64 {
    ENTRY_BYTES + heap(key.heap_bytes())
}

fn value_bytes(version: &Version, key: &PhysicalKey) -> u64 {
    let value = version.value.as_ref().map_or(0, |value| heap(value.bytes().len()));
    let expiry = if version.expiry_ms == NEVER { 0 } else { EXPIRY_BYTES + heap(key.heap_bytes()) };
    value + expiry
}

/// The most bytes that a put can add.
pub(crate) fn put_bytes_max(key: &PhysicalKey, value: &Stored, expires: bool) -> u64 {
    let expiry = if expires { EXPIRY_BYTES + heap(key.heap_bytes()) } else { 0 };
    key_bytes(key) + heap(value.bytes().len()) + expiry + OLDER_BYTES
}

/// The most bytes that a delete can add: a tombstone over a version that a pin sees.
pub(crate) const DELETE_BYTES_MAX: u64 = ENTRY_BYTES + OLDER_BYTES;

/// The newest versions, ordered by key.
#[derive(Debug, Default)]
pub(crate) struct Memtable {
    map: BTreeMap<PhysicalKey, Chain>,
    /// The expiries of newest versions, soonest first.
    expiries: BTreeSet<(u64, PhysicalKey)>,
    /// Keys whose chains hold superseded versions or a tombstone.
    garbage: VecDeque<PhysicalKey>,
    bytes: u64,
}

impl Memtable {
    /// The memory in use, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The number of keys, tombstones among them.
    pub(crate) fn len(&self) -> usize {
        self.map.len()
    }

    /// How many keys wait for superseded versions to be freed.
    pub(crate) fn garbage_len(&self) -> usize {
        self.garbage.len()
    }

    /// When the next version expires.
    pub(crate) fn next_expiry_ms(&self) -> Option<u64> {
        self.expiries.first().map(|(expiry, _)| *expiry)
    }

    /// Sets or deletes a key. `new.version` is above every version in the table.
    pub(crate) fn apply(&mut self, key: PhysicalKey, new: Version, pins: &Pins) {
        let expiry_ms = new.expiry_ms;
        let indexed = (expiry_ms != NEVER).then(|| key.clone());
        self.bytes += value_bytes(&new, &key);
        match self.map.entry(key) {
            Entry::Vacant(place) => {
                if new.value.is_none() {
                    return;
                }
                self.bytes += key_bytes(place.key());
                place.insert(Chain { newest: new, older: None });
            }
            Entry::Occupied(mut place) => {
                let key = place.key().clone();
                let chain = place.get_mut();
                debug_assert!(chain.newest.version <= new.version);
                self.bytes -= value_bytes(&chain.newest, &key);
                if chain.newest.expiry_ms != NEVER {
                    self.expiries.remove(&(chain.newest.expiry_ms, key.clone()));
                }
                let deletes = new.value.is_none();
                let old = std::mem::replace(&mut chain.newest, new);
                if pins.see(old.version, chain.newest.version) {
                    self.bytes += older_bytes(&old);
                    let older = chain.older.get_or_insert_default();
                    if older.is_empty() {
                        self.garbage.push_back(key.clone());
                    }
                    older.insert(0, old);
                } else if deletes && chain.older.is_none() {
                    self.bytes -= key_bytes(&key);
                    place.remove();
                }
            }
        }
        if let Some(key) = indexed {
            self.expiries.insert((expiry_ms, key));
        }
    }

    /// The version of a key that a reader at `point` sees.
    pub(crate) fn get(&self, key: &PhysicalKey, point: ReadPoint) -> Option<&Version> {
        self.newest_at(key, point.version).filter(|version| version.is_visible(point.now_ms))
    }

    /// The version of a key that is the newest at `version`, be it a tombstone or expired.
    pub(crate) fn newest_at(&self, key: &PhysicalKey, version: u64) -> Option<&Version> {
        self.map.get(key)?.at(version)
    }

    /// The entries between two bounds that a reader at `point` sees, in order, with every
    /// key that was passed on the way counted by `visit`, which may end the walk.
    pub(crate) fn walk<'a>(
        &'a self,
        bounds: (Bound<&'a PhysicalKey>, Bound<&'a PhysicalKey>),
        point: ReadPoint,
        backward: bool,
        mut visit: impl FnMut(&'a PhysicalKey, Option<&'a Version>) -> bool,
    ) {
        if is_empty_range(bounds) {
            return;
        }
        let range = self.map.range::<PhysicalKey, _>(bounds);
        let mut step = |(key, chain): (&'a PhysicalKey, &'a Chain)| {
            let seen = chain.at(point.version).filter(|v| v.is_visible(point.now_ms));
            visit(key, seen)
        };
        if backward {
            for entry in range.rev() {
                if !step(entry) {
                    return;
                }
            }
        } else {
            for entry in range {
                if !step(entry) {
                    return;
                }
            }
        }
    }

    /// Frees superseded versions that no pin sees any more, visiting at most `limit` keys.
    /// Returns how many keys are free of them now.
    pub(crate) fn collect_garbage(&mut self, limit: usize, pins: &Pins) -> usize {
        let mut freed = 0;
        for _ in 0..limit.min(self.garbage.len()) {
            let Some(key) = self.garbage.pop_front() else { break };
            let Entry::Occupied(mut place) = self.map.entry(key) else { continue };
            let chain = place.get_mut();
            let Some(mut older) = chain.older.take() else { continue };
            let mut newer = chain.newest.version;
            let mut released = 0;
            older.retain(|version| {
                let needed = pins.see(version.version, newer);
                if needed {
                    newer = version.version;
                } else {
                    released += older_bytes(version);
                }
                needed
            });
            self.bytes -= released;
            if !older.is_empty() {
                chain.older = Some(older);
                self.garbage.push_back(place.key().clone());
                continue;
            }
            freed += 1;
            if chain.newest.value.is_none() {
                self.bytes -= key_bytes(place.key());
                place.remove();
            }
        }
        freed
    }

    /// Frees the newest versions that expired at or before `floor_ms` and that no pin sees,
    /// visiting at most `limit`. Returns how many were freed.
    pub(crate) fn expire(&mut self, floor_ms: u64, limit: usize, pins: &Pins) -> usize {
        let due: Vec<_> = self
            .expiries
            .iter()
            .take_while(|(expiry, _)| *expiry <= floor_ms)
            .filter(|(expiry, key)| {
                let newest = self.map.get(key).map(|chain| chain.newest.version);
                newest.is_some_and(|version| !pins.see_before(version, *expiry))
            })
            .take(limit)
            .cloned()
            .collect();
        let freed = due.len();
        for (expiry, key) in due {
            self.expiries.remove(&(expiry, key.clone()));
            let Entry::Occupied(mut place) = self.map.entry(key) else { continue };
            self.bytes -= value_bytes(&place.get().newest, place.key());
            if place.get().older.is_none() {
                self.bytes -= key_bytes(place.key());
                place.remove();
            } else {
                // Older versions that a pin sees stay hidden behind it.
                let newest = &mut place.get_mut().newest;
                newest.value = None;
                newest.expiry_ms = NEVER;
            }
        }
        freed
    }

    /// How many versions have expired at `now_ms` and are still held.
    pub(crate) fn expired_len(&self, now_ms: u64) -> usize {
        self.expiries.iter().take_while(|(expiry, _)| *expiry <= now_ms).count()
    }
}

fn older_bytes(version: &Version) -> u64 {
    OLDER_BYTES + version.value.as_ref().map_or(0, |value| heap(value.bytes().len()))
}

fn is_empty_range(bounds: (Bound<&PhysicalKey>, Bound<&PhysicalKey>)) -> bool {
    match bounds {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
        (Bound::Included(from), Bound::Included(to)) => from > to,
        (
            Bound::Included(from) | Bound::Excluded(from),
            Bound::Excluded(to) | Bound::Included(to),
        ) => from >= to,
    }
}
