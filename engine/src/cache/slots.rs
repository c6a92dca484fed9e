//! What of one table is kept: its filter, its index, and the blocks that the index leads to.
//!
//! The slots for blocks come with the index and go with it: without it no block is found, and what
//! was not hit by way of the index since the hand came by was not hit at all.
//!
//! Invariant: nothing is put into a root that was given up.

use super::{Cache, PART_BYTES, Pinned, Turn, Under};
use crate::error::Result;
use crate::sync::{Arc, AtomicBool, AtomicI64, Ordering, RwLock};

/// A filter or a block, if it is in memory.
#[derive(Debug, Default)]
struct Slot {
    bytes: RwLock<Option<Arc<[u8]>>>,
    was_hit: AtomicBool,
}

fn part_bytes(length: usize) -> u64 {
    length as u64 + PART_BYTES
}

/// Most are marked already: no write then.
fn mark(was_hit: &AtomicBool) {
    if !was_hit.load(Ordering::Relaxed) {
        was_hit.store(true, Ordering::Release);
    }
}

impl Slot {
    fn charged(&self) -> u64 {
        self.bytes.read().as_ref().map_or(0, |bytes| part_bytes(bytes.len()))
    }

    /// Empties it. Returns how many bytes that frees.
    fn take(&self) -> u64 {
        self.bytes.write().take().map_or(0, |bytes| part_bytes(bytes.len()))
    }

    fn turn(&self) -> Turn {
        if self.was_hit.swap(false, Ordering::AcqRel) {
            return Turn::Stays;
        }
        match self.take() {
            0 => Turn::Stale,
            freed => Turn::GivenUp(freed),
        }
    }

    /// Reads it where it stands, if it is there. Whoever empties it waits for `read`.
    #[inline]
    fn with<T>(&self, read: impl FnOnce(&Arc<[u8]>) -> T) -> Option<T> {
        let slot = self.bytes.read();
        let bytes = slot.as_ref()?;
        sometimes!("cache/hit");
        mark(&self.was_hit);
        Some(read(bytes))
    }

    /// Whether it was empty.
    fn put(&self, bytes: &Arc<[u8]>) -> bool {
        let mut slot = self.bytes.write();
        let was_empty = slot.is_none();
        if was_empty {
            *slot = Some(Arc::clone(bytes));
        }
        was_empty
    }
}

/// An index in memory, with the slots of its blocks.
#[derive(Debug)]
pub(crate) struct Root {
    cache: Arc<Cache>,
    bytes: Box<[u8]>,
    blocks: Box<[Slot]>,
    charged: u64,
    /// It was given up, or never kept: nothing of it is charged, and nothing is put into it.
    is_gone: AtomicBool,
    /// What holds it, if it was never kept.
    pinned: Option<Pinned>,
}

impl Root {
    fn bytes_for(length: usize, blocks: usize) -> u64 {
        let around = size_of::<Root>() + blocks.saturating_mul(size_of::<Slot>());
        part_bytes(length.saturating_add(around))
    }

    /// The index.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many bytes it has that are not counted as pinned.
    pub(crate) fn unpinned(&self) -> u64 {
        if self.pinned.is_some() { 0 } else { self.bytes.len() as u64 }
    }

    /// A block, if it is in memory.
    pub(crate) fn get(&self, nth: usize) -> Option<Arc<[u8]>> {
        self.with(nth, Arc::clone)
    }

    /// Reads a block where it stands, if it is in memory: `read` reads nothing else that is kept.
    #[inline]
    pub(crate) fn with<T>(&self, nth: usize, read: impl FnOnce(&Arc<[u8]>) -> T) -> Option<T> {
        self.blocks.get(nth)?.with(read)
    }

    /// Reads a block of so many bytes, and keeps it if there is room.
    ///
    /// Errors: those of `read`.
    pub(crate) fn read(
        self: &Arc<Self>,
        nth: usize,
        length: usize,
        read: impl FnOnce() -> Result<Vec<u8>>,
    ) -> Result<Arc<[u8]>> {
        let nth = nth.saturating_sub(usize::from(planted!(BlockInAnothersSlot)));
        let slot = self.blocks.get(nth).zip(u32::try_from(nth).ok());
        let slot = slot.filter(|_| !self.is_gone.load(Ordering::Acquire));
        let room = slot.and_then(|_| self.cache.room(part_bytes(length)));
        let bytes: Arc<[u8]> = read()?.into();
        if let Some(((slot, number), room)) = slot.zip(room) {
            let under = Under::Block(Arc::downgrade(self), number);
            self.cache.fill(room, under, || {
                let is_gone = self.is_gone.load(Ordering::Acquire);
                (!is_gone || planted!(PutIntoAGoneIndex)) && slot.put(&bytes)
            });
        }
        Ok(bytes)
    }

    pub(super) fn turn(&self, nth: u32) -> Turn {
        self.blocks.get(nth as usize).map_or(Turn::Stale, Slot::turn)
    }

    pub(super) fn charged_block(&self, nth: u32) -> u64 {
        self.blocks.get(nth as usize).map_or(0, Slot::charged)
    }

    /// Gives up the blocks. Returns how many bytes that frees, with the index, and how many places
    /// of the ring lead to nothing now.
    fn empty(&self) -> (u64, i64) {
        let (mut freed, mut count) = (self.charged, 0);
        if self.is_gone.swap(true, Ordering::AcqRel) {
            return (0, 0);
        }
        for slot in &self.blocks {
            let bytes = slot.take();
            freed += if planted!(BlocksOfAnIndexStayCharged) { 0 } else { bytes };
            count += i64::from(bytes > 0);
        }
        (freed, count)
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let (freed, count) = self.empty();
        if freed > 0 && !planted!(IndexStaysCharged) {
            // Its own place in the ring, too.
            self.cache.stale.fetch_add(count + 1, Ordering::AcqRel);
            self.cache.release(freed);
        }
    }
}

/// What is kept of one table.
#[derive(Debug)]
pub(crate) struct Slots {
    cache: Arc<Cache>,
    filter: Slot,
    index: RwLock<Option<Arc<Root>>>,
    index_hit: AtomicBool,
}

impl Slots {
    /// Of a table, of which nothing is in memory as yet.
    pub(crate) fn new(cache: &Arc<Cache>) -> Arc<Self> {
        Arc::new(Slots {
            cache: Arc::clone(cache),
            filter: Slot::default(),
            index: RwLock::default(),
            index_hit: AtomicBool::default(),
        })
    }

    /// What the table is counted with.
    pub(crate) fn cache(&self) -> &Arc<Cache> {
        &self.cache
    }

    /// Asks the filter, if it is in memory.
    pub(crate) fn ask_filter<T>(&self, ask: impl FnOnce(&[u8]) -> T) -> Option<T> {
        let filter = self.filter.bytes.read();
        let filter = filter.as_deref()?;
        mark(&self.filter.was_hit);
        Some(ask(filter))
    }

    /// Reads the filter, of so many bytes, and keeps it if there is room.
    ///
    /// Errors: those of `read`.
    pub(crate) fn read_filter(
        self: &Arc<Self>,
        length: usize,
        read: impl FnOnce() -> Result<Vec<u8>>,
    ) -> Result<Arc<[u8]>> {
        let room = self.cache.room(part_bytes(length));
        let bytes: Arc<[u8]> = read()?.into();
        planted!(FilterOfAnotherTable => return Ok(self.swap_filter(bytes)));
        if let Some(room) = room {
            let under = Under::Filter(Arc::downgrade(self));
            self.cache.fill(room, under, || self.filter.put(&bytes));
        }
        Ok(bytes)
    }

    /// The index, if it is in memory. `marks`: it counts as hit.
    pub(crate) fn index(&self, marks: bool) -> Option<Arc<Root>> {
        let root = self.index.read().clone()?;
        if marks {
            mark(&self.index_hit);
        }
        Some(root)
    }

    /// Reads the index, of so many bytes, which leads to so many blocks at most, and keeps it if
    /// there is room. `read` tells how many there are.
    ///
    /// Errors: those of `read`.
    pub(crate) fn read_index(
        self: &Arc<Self>,
        (length, blocks_max): (usize, usize),
        keeps: bool,
        read: impl FnOnce() -> Result<(Vec<u8>, usize)>,
    ) -> Result<Arc<Root>> {
        let most = Root::bytes_for(length, blocks_max);
        let room = if keeps { self.cache.room(most) } else { None };
        let (bytes, blocks) = read()?;
        let Some(mut room) = room else { return Ok(self.aside(bytes)) };
        let charged = Root::bytes_for(bytes.len(), blocks);
        // No index of so many bytes leads to more.
        self.cache.release(room.bytes.saturating_sub(charged));
        room.bytes = charged;
        let root = Arc::new(Root {
            cache: Arc::clone(&self.cache),
            bytes: bytes.into(),
            blocks: (0..blocks).map(|_| Slot::default()).collect(),
            charged,
            is_gone: AtomicBool::new(false),
            pinned: None,
        });
        let mut first = None;
        self.cache.fill(room, Under::Index(Arc::downgrade(self)), || {
            let mut slot = self.index.write();
            if let Some(before) = &*slot {
                first = Some(Arc::clone(before));
                return false;
            }
            *slot = Some(Arc::clone(&root));
            true
        });
        let Some(first) = first else { return Ok(root) };
        // Of one that came late nothing is charged.
        root.is_gone.store(true, Ordering::Release);
        Ok(first)
    }

    /// An index that is not kept.
    fn aside(&self, bytes: Vec<u8>) -> Arc<Root> {
        sometimes!("cache/index-aside");
        let mut pinned = Pinned::new(&self.cache);
        pinned.set(part_bytes(bytes.len()));
        Arc::new(Root {
            cache: Arc::clone(&self.cache),
            bytes: bytes.into(),
            blocks: Box::default(),
            charged: 0,
            is_gone: AtomicBool::new(true),
            pinned: Some(pinned),
        })
    }

    pub(super) fn turn_filter(&self) -> Turn {
        self.filter.turn()
    }

    pub(super) fn turn_index(&self, stale: &AtomicI64) -> Turn {
        if self.index_hit.swap(false, Ordering::AcqRel) {
            return Turn::Stays;
        }
        let Some(root) = self.index.write().take() else { return Turn::Stale };
        sometimes!("cache/index-given-up");
        let (freed, count) = root.empty();
        stale.fetch_add(count, Ordering::AcqRel);
        if planted!(IndexStaysCharged) { Turn::Stale } else { Turn::GivenUp(freed) }
    }

    pub(super) fn charged_filter(&self) -> u64 {
        self.filter.charged()
    }

    pub(super) fn charged_index(&self) -> u64 {
        self.index.read().as_ref().map_or(0, |root| root.charged)
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        let freed = self.filter.take();
        if freed > 0 && !planted!(FilterStaysCharged) {
            self.cache.stale.fetch_add(1, Ordering::AcqRel);
            self.cache.release(freed);
        }
    }
}
