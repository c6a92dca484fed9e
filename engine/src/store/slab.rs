//! Slots that never move, in blocks that are given back.
//!
//! To grow moves nothing and copies nothing; a block whose slots are all free again is given back
//! to the allocator, so that memory follows what is held and not the most that ever was.
//!
//! Invariants: a slot holds something or is in its block's free list, or lies behind the end of
//! the block that is being filled; a block is in `open` if and only if its free list is not empty,
//! and in `vacant` if and only if it has no memory.

/// Where something is. There are fewer than 2^32: the options bound the memtable's memory.
pub(super) type Slot = u32;

/// A block has this many slots; few in tests, so that blocks come and go.
const BLOCK_SLOTS: usize = if cfg!(test) { 8 } else { 1024 };

#[derive(Debug)]
struct Block<T> {
    slots: Vec<Option<T>>,
    free: Vec<u16>,
}

impl<T> Default for Block<T> {
    fn default() -> Self {
        Block { slots: Vec::new(), free: Vec::new() }
    }
}

/// The slots.
#[derive(Debug)]
pub(super) struct Slab<T> {
    blocks: Vec<Block<T>>,
    /// The block that is being filled; none if it is full.
    filling: Option<usize>,
    open: Vec<usize>,
    vacant: Vec<usize>,
}

impl<T> Slab<T> {
    pub(super) fn new() -> Self {
        Slab { blocks: Vec::new(), filling: None, open: Vec::new(), vacant: Vec::new() }
    }

    pub(super) fn get(&self, slot: Slot) -> Option<&T> {
        let slot = slot as usize;
        self.blocks.get(slot / BLOCK_SLOTS)?.slots.get(slot % BLOCK_SLOTS)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut T> {
        let slot = slot as usize;
        self.blocks.get_mut(slot / BLOCK_SLOTS)?.slots.get_mut(slot % BLOCK_SLOTS)?.as_mut()
    }

    /// Puts something into a free slot.
    pub(super) fn insert(&mut self, item: T) -> Slot {
        let (number, within) = match self.open.last() {
            Some(open) => (*open, self.take_free(*open)),
            None => (self.block_to_fill(), None),
        };
        let Some(block) = self.blocks.get_mut(number) else { return Slot::MAX };
        let within = match within {
            Some(within) => {
                if let Some(slot) = block.slots.get_mut(within) {
                    *slot = Some(item);
                }
                within
            }
            None => {
                block.slots.push(Some(item));
                if block.slots.len() == BLOCK_SLOTS {
                    self.filling = None;
                }
                block.slots.len() - 1
            }
        };
        debug_assert!(number * BLOCK_SLOTS + within < Slot::MAX as usize, "memory is bounded");
        Slot::try_from(number * BLOCK_SLOTS + within).unwrap_or(Slot::MAX)
    }

    fn take_free(&mut self, number: usize) -> Option<usize> {
        let block = self.blocks.get_mut(number)?;
        let within = block.free.pop();
        if block.free.is_empty() {
            self.open.pop();
        }
        within.map(usize::from)
    }

    /// The block that is being filled, or a new one.
    fn block_to_fill(&mut self) -> usize {
        if let Some(filling) = self.filling {
            return filling;
        }
        let number = self.vacant.pop().unwrap_or(self.blocks.len());
        if number == self.blocks.len() {
            self.blocks.push(Block::default());
        }
        // The first block grows with a small store; all others are as large as they get.
        if let Some(block) = self.blocks.get_mut(number).filter(|_| number > 0) {
            block.slots.reserve_exact(BLOCK_SLOTS);
        }
        self.filling = Some(number);
        number
    }

    /// Takes out what a slot holds, and frees it.
    pub(super) fn remove(&mut self, slot: Slot) -> Option<T> {
        let (number, within) = (slot as usize / BLOCK_SLOTS, slot as usize % BLOCK_SLOTS);
        let block = self.blocks.get_mut(number)?;
        let item = block.slots.get_mut(within)?.take()?;
        block.free.push(u16::try_from(within).unwrap_or(0));
        let first = block.free.len() == 1;
        if block.free.len() == block.slots.len() {
            *block = Block::default();
            self.filling = self.filling.filter(|filling| *filling != number);
            self.open.retain(|open| *open != number);
            self.vacant.push(number);
        } else if first {
            self.open.push(number);
        }
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    impl<T> Slab<T> {
        fn blocks_with_memory(&self) -> usize {
            self.blocks.iter().filter(|block| block.slots.capacity() > 0).count()
        }
    }

    proptest! {
        #[test]
        fn a_slot_holds_what_was_put_there_until_it_is_removed_and_empty_blocks_have_no_memory(
            steps in prop::collection::vec((0u8..3, any::<prop::sample::Index>()), 0..400),
        ) {
            let (mut slab, mut model) = (Slab::new(), BTreeMap::new());
            for (number, (step, index)) in steps.into_iter().enumerate() {
                // Phases of growing and of shrinking.
                if (step == 0) == (number / 60 % 2 == 0) || model.is_empty() {
                    let slot = slab.insert(number);
                    prop_assert_eq!(model.insert(slot, number), None, "the slot was free");
                } else {
                    let slot = *index.get(&model.keys().copied().collect::<Vec<_>>());
                    prop_assert_eq!(slab.remove(slot), model.remove(&slot));
                    prop_assert_eq!(slab.remove(slot), None, "it is free now");
                }
                for (slot, item) in &model {
                    prop_assert_eq!(slab.get(*slot), Some(item));
                }
                let blocks = model.keys().map(|slot| *slot as usize / BLOCK_SLOTS);
                let mut held: Vec<_> = blocks.collect();
                held.dedup();
                prop_assert_eq!(slab.blocks_with_memory(), held.len());
            }
        }
    }
}
