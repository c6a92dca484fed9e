//! What the memtable frees, step by step: what is superseded, has expired, or was removed.
//!
//! Invariants: nothing goes that a pin sees, and nothing that hides what is older. Each call visits
//! a bounded number of keys.

use std::ops::Bound;

use super::entries::Entry;
use super::memtable::{Memtable, older_bytes, value_bytes};
use super::pins::Pins;
use super::purge::Purge;
use super::slab::Slot;
use crate::codec::change::NEVER;
use crate::removals::Removal;

impl Memtable {
    /// Frees superseded versions that no pin sees any more, visiting at most `limit` keys, and
    /// keys that are gone. Returns how many keys are free of them now.
    pub(crate) fn collect_garbage(&mut self, limit: usize, pins: &Pins) -> usize {
        self.settle(pins);
        let mut freed = 0;
        for _ in 0..limit.min(self.garbage.len()) {
            let Some(slot) = self.garbage.pop_front() else { break };
            let Some(Entry { chain, .. }) = self.entries.get_mut(slot) else { continue };
            let Some(mut older) = chain.older.take() else { continue };
            planted!(TombstoneDroppedEarly => chain.drop_tombstone(&older));
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
                sometimes!("freeing/garbage-still-pinned");
                if !planted!(PinnedForgotten) {
                    self.garbage.push_back(slot);
                }
                continue;
            }
            freed += 1;
            if chain.is_gone() && !self.over_tables {
                self.set_gone(slot);
            }
        }
        if self.entries.gone_len() > 0 {
            self.purge();
        }
        freed
    }

    /// What this removal hides is to be freed, step by step.
    pub(crate) fn note_removal(&mut self, removal: &Removal) {
        if self.fresh.is_empty() && self.entries.len() == 0 {
            return;
        }
        let Removal { from, to, id, .. } = removal;
        let (from, to, version) = (from.clone(), to.clone(), id.version);
        self.removals.push_back(Purge { from, to, version });
    }

    /// How many removals are left to be applied.
    pub(crate) fn removals_len(&self) -> usize {
        self.removals.len()
    }

    /// Nothing more is freed: what is removed is left out when the entries are written.
    pub(super) fn forget_removals(&mut self) {
        self.removals.clear();
    }

    /// Frees what removals hide, visiting at most `limit` keys; a removal waits for pins that are
    /// older. Returns how many keys were freed, and how many of superseded versions.
    pub(crate) fn purge_removed(&mut self, limit: usize, pins: &Pins) -> usize {
        if self.removals.is_empty() {
            return 0;
        }
        self.settle(pins);
        let oldest = pins.oldest().map_or(u64::MAX, |pin| pin.version);
        let (mut left, mut freed) = (limit, 0);
        for _ in 0..self.removals.len() {
            if left == 0 {
                break;
            }
            let Some(mut purge) = self.removals.pop_front() else { break };
            if oldest < purge.version && !planted!(RemovalIgnoresPins) {
                sometimes!("freeing/removal-waits-for-a-pin");
                self.removals.push_back(purge);
                continue;
            }
            if self.unordered_len() > 0 {
                sometimes!("freeing/put-in-order-for-a-removal");
                self.put_in_order();
                self.removals.push_front(purge);
                break;
            }
            let (mut slots, mut next) = (Vec::new(), None);
            let bounds = (Bound::Included(&purge.from), Bound::Excluded(&purge.to));
            self.order.walk(&self.entries, bounds, false, |slot| {
                if slots.len() < left {
                    slots.push(slot);
                    return true;
                }
                next = self.entries.get(slot).map(|entry| entry.key.clone());
                false
            });
            left -= slots.len();
            freed += slots.into_iter().map(|slot| self.bury(slot, purge.version)).sum::<usize>();
            // Of those, what was superseded has gone with the rest.
            let entries = &self.entries;
            self.garbage
                .retain(|slot| entries.get(*slot).is_some_and(|entry| entry.chain.older.is_some()));
            if let Some(from) = next {
                sometimes!("freeing/removal-goes-on");
                purge.from = from;
                self.removals.push_front(purge);
            }
        }
        if self.entries.gone_len() > 0 {
            self.purge();
        }
        freed
    }

    /// Nobody sees what a key had below a version. Returns 1 if its superseded versions are gone by
    /// that, and 1 more if its newest value is.
    fn bury(&mut self, slot: Slot, version: u64) -> usize {
        if self.entries.is_gone(slot) {
            return 0;
        }
        let Some(Entry { chain, .. }) = self.entries.get_mut(slot) else { return 0 };
        let mut freed = 0;
        if let Some(mut older) = chain.older.take() {
            older.retain(|old| {
                let stays = old.version >= version;
                self.bytes -= if stays { 0 } else { older_bytes(old) };
                stays
            });
            chain.older = Some(older).filter(|older| !older.is_empty());
            freed += usize::from(chain.older.is_none());
            sometimes!("freeing/removed-under-a-later-put", chain.newest.version >= version);
        }
        if chain.newest.version >= version && !planted!(RemovalHidesLaterPuts) {
            // A later tombstone has nothing left to hide here.
            if chain.is_gone() && !self.over_tables {
                self.set_gone(slot);
            }
            return freed;
        }
        let newest = &mut chain.newest;
        self.bytes -= value_bytes(newest);
        if newest.expiry_ms != NEVER {
            self.expiries.remove(&(newest.expiry_ms, slot));
        }
        (newest.value, newest.expiry_ms) = (None, NEVER);
        // What is below is hidden by the removal, over tables too.
        if chain.is_gone() {
            sometimes!("freeing/removed-key-freed");
            self.set_gone(slot);
        }
        freed + 1
    }

    /// Frees at most `limit` of the newest versions that expired at or before `floor_ms`; those
    /// that a pin sees are passed over, and do not count. Returns how many were freed.
    pub(crate) fn expire(&mut self, floor_ms: u64, limit: usize, pins: &Pins) -> usize {
        self.settle(pins);
        let due: Vec<_> = self
            .expiries
            .iter()
            .take_while(|(expiry, _)| *expiry <= floor_ms)
            .filter(|(expiry, slot)| {
                let newest = self.entries.get(*slot).map(|entry| entry.chain.newest.version);
                newest.is_some_and(|version| !pins.see_before(version, *expiry))
            })
            .take(limit)
            .copied()
            .collect();
        let freed = due.len();
        sometimes!("freeing/expired-freed", freed > 0);
        for (expiry, slot) in due {
            self.expiries.remove(&(expiry, slot));
            let Some(Entry { chain, .. }) = self.entries.get_mut(slot) else { continue };
            self.bytes -= value_bytes(&chain.newest);
            // Older versions that a pin sees stay hidden behind it.
            chain.newest.value = None;
            chain.newest.expiry_ms = NEVER;
            if chain.is_gone() && (!self.over_tables || planted!(ExpiredUncovers)) {
                self.set_gone(slot);
            }
        }
        freed
    }

    /// How many versions have expired at `now_ms` and are still held.
    pub(crate) fn expired_len(&self, now_ms: u64) -> usize {
        self.expiries.iter().take_while(|(expiry, _)| *expiry <= now_ms).count()
    }
}
