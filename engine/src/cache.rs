//! The cache of blocks: slots that belong to their tables, and one clock hand over all of them.
//!
//! A table has a slot for each of its blocks, so that a hit costs no search, no block of another
//! file can be taken for one of its own, and a table that goes takes its blocks along. Blocks are
//! given up by CLOCK (Corbató, "A paging experiment with the Multics system", 1968): the hand
//! passes over a slot that was hit since it came by last.
//!
//! Invariants: slots and blocks together never have more bytes than the limit, room is made before
//! a block is put in; which block goes depends on nothing but the calls.

use std::sync::Weak;

use crate::sync::{Arc, AtomicBool, AtomicU64, Mutex, Ordering, RwLock};

/// What a block that is held takes beside its bytes.
const RING_BYTES: u64 = (size_of::<(Weak<Slots>, u32)>() + 2 * size_of::<usize>()) as u64;

/// The blocks of all tables of a store.
#[derive(Debug)]
pub(crate) struct BlockCache {
    bytes_max: u64,
    used: AtomicU64,
    clock: Mutex<Clock>,
}

/// The slots that hold blocks, in a ring.
#[derive(Debug, Default)]
struct Clock {
    ring: Vec<(Weak<Slots>, u32)>,
    /// The slot under the hand.
    hand: usize,
}

/// The slots of one table.
#[derive(Debug)]
pub(crate) struct Slots {
    cache: Arc<BlockCache>,
    slots: Box<[Slot]>,
}

#[derive(Debug, Default)]
struct Slot {
    block: RwLock<Option<Arc<[u8]>>>,
    was_hit: AtomicBool,
}

impl BlockCache {
    /// Of at most so many bytes; 0 switches it off.
    pub(crate) fn new(bytes_max: u64) -> Self {
        BlockCache { bytes_max, used: AtomicU64::new(0), clock: Mutex::default() }
    }

    /// Makes room for so many bytes, if it can, and takes it.
    fn take_room(&self, clock: &mut Clock, bytes: u64) -> bool {
        // Behind the first turn of the hand no slot counts as hit, but for hits meanwhile.
        let mut steps_left = 2 * clock.ring.len() + 1;
        while self.used.load(Ordering::Acquire).saturating_add(bytes) > self.bytes_max {
            if clock.ring.is_empty() || steps_left == 0 {
                return false;
            }
            steps_left -= 1;
            clock.hand = if clock.hand < clock.ring.len() { clock.hand } else { 0 };
            let under = clock.ring.get(clock.hand).and_then(|(slots, nth)| {
                let slots = slots.upgrade()?;
                slots.slots.get(*nth as usize).map(Slot::give_up)
            });
            match under {
                Some(0) => clock.hand += 1,
                // It is empty now, or its table is gone.
                freed => {
                    sometimes!("cache/block-given-up", freed.is_some());
                    self.used.fetch_sub(freed.unwrap_or(0), Ordering::AcqRel);
                    clock.ring.swap_remove(clock.hand);
                }
            }
        }
        self.used.fetch_add(bytes, Ordering::AcqRel);
        true
    }
}

impl Slot {
    /// Empties it, unless it was hit since the last time. Returns how many bytes that frees; 0 if
    /// it was hit.
    fn give_up(&self) -> u64 {
        if self.was_hit.swap(false, Ordering::AcqRel) {
            return 0;
        }
        self.block.write().take().map_or(0, |block| block.len() as u64 + RING_BYTES)
    }
}

impl Slots {
    /// Of a table of so many blocks; `None` if there is no room for them, or no cache.
    pub(crate) fn new(cache: &Arc<BlockCache>, blocks: usize) -> Option<Arc<Self>> {
        let bytes = (blocks * size_of::<Slot>()) as u64;
        if cache.bytes_max == 0 || !cache.take_room(&mut cache.clock.lock(), bytes) {
            return None;
        }
        let slots = (0..blocks).map(|_| Slot::default()).collect();
        Some(Arc::new(Slots { cache: Arc::clone(cache), slots }))
    }

    /// A block, if it is in memory.
    pub(crate) fn get(&self, nth: usize) -> Option<Arc<[u8]>> {
        let slot = self.slots.get(nth)?;
        let block = slot.block.read().clone()?;
        sometimes!("cache/hit");
        // Most are marked already: no write then.
        if !slot.was_hit.load(Ordering::Relaxed) {
            slot.was_hit.store(true, Ordering::Release);
        }
        Some(block)
    }

    /// Keeps a block, if there is room for it.
    pub(crate) fn put(self: &Arc<Self>, nth: usize, block: &Arc<[u8]>) {
        let (Some(slot), Ok(number)) = (self.slots.get(nth), u32::try_from(nth)) else { return };
        let mut clock = self.cache.clock.lock();
        if slot.block.read().is_some() {
            // Another thread was first.
            return;
        }
        if !self.cache.take_room(&mut clock, block.len() as u64 + RING_BYTES) {
            sometimes!("cache/no-room");
            return;
        }
        *slot.block.write() = Some(Arc::clone(block));
        clock.ring.push((Arc::downgrade(self), number));
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        let held = self.slots.iter().filter_map(|slot| slot.block.write().take());
        let bytes = held.map(|block| block.len() as u64 + RING_BYTES).sum::<u64>();
        let slots = size_of_val(&*self.slots) as u64;
        self.cache.used.fetch_sub(bytes + slots, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOT: u64 = size_of::<Slot>() as u64;
    const BLOCK: u64 = 100 + RING_BYTES;

    fn block(byte: u8) -> Arc<[u8]> {
        Arc::from(vec![byte; 100])
    }

    fn held(slots: &Slots, blocks: usize) -> Vec<usize> {
        let is_held = |nth: &usize| slots.slots[*nth].block.read().is_some();
        (0..blocks).filter(is_held).collect()
    }

    #[test]
    fn the_limit_holds_and_what_was_hit_stays_longest() {
        let cache = Arc::new(BlockCache::new(6 * SLOT + 3 * BLOCK));
        let slots = Slots::new(&cache, 6).unwrap();
        for nth in 0..3 {
            slots.put(nth, &block(0));
        }
        assert_eq!(held(&slots, 6), [0, 1, 2]);
        assert_eq!(slots.get(1).unwrap(), block(0));
        for nth in 3..6 {
            slots.put(nth, &block(1));
            assert!(cache.used.load(Ordering::Relaxed) <= cache.bytes_max);
        }
        assert_eq!(held(&slots, 6), [1, 4, 5], "0, 2 and 3 went");
        slots.put(0, &block(2));
        assert_eq!(held(&slots, 6), [0, 1, 5], "the hand stood at 4");
    }

    #[test]
    fn a_table_that_goes_takes_its_blocks_along_and_one_that_stays_is_found() {
        let cache = Arc::new(BlockCache::new(4 * SLOT + 2 * BLOCK));
        let (gone, stays) = (Slots::new(&cache, 2).unwrap(), Slots::new(&cache, 2).unwrap());
        gone.put(0, &block(0));
        stays.put(1, &block(1));
        drop(gone);
        assert_eq!(cache.used.load(Ordering::Relaxed), 2 * SLOT + BLOCK);
        stays.put(0, &block(2));
        assert_eq!(held(&stays, 2), [0, 1]);
    }

    #[test]
    fn what_never_fits_is_not_kept_and_no_cache_has_no_slots() {
        assert!(Slots::new(&Arc::new(BlockCache::new(0)), 1).is_none());
        assert!(Slots::new(&Arc::new(BlockCache::new(SLOT)), 2).is_none());
        let cache = Arc::new(BlockCache::new(SLOT + BLOCK - 1));
        let slots = Slots::new(&cache, 1).unwrap();
        slots.put(0, &block(0));
        assert_eq!(slots.get(0), None);
        assert_eq!(cache.used.load(Ordering::Relaxed), SLOT);
    }
}
