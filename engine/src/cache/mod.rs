//! The cache: filters, indexes and blocks of tables, in no more than so many bytes.
//!
//! What is kept belongs to its table ([`Slots`]), so that a hit costs no search, nothing of another
//! file can be taken for the table's own, and a table that goes takes all along. It is given up by
//! CLOCK (Corbató, "A paging experiment with the Multics system", 1968): one hand goes round over
//! everything, and passes over what was hit since it came by last.
//!
//! What is read and not kept, because there is no room or it would be of no use to others, is
//! *pinned* while somebody holds it, and counted apart.
//!
//! Invariants: what is kept never has more bytes than the limit; room is made before anything is
//! read into it; each byte is charged once, and released once, by whoever takes it out; what goes
//! depends on nothing but the calls; who holds what is given up goes on with it.

#[cfg(feature = "planted")]
mod planted;
mod slots;

use std::sync::Weak;

pub(crate) use slots::{Root, Slots};

use crate::sync::{Arc, AtomicI64, AtomicU64, Mutex, Ordering};

/// What anything that is kept takes beside its bytes: its place in the ring, which may be twice as
/// long as it is full, and the counts in front of it.
const PART_BYTES: u64 = (2 * size_of::<Under>() + 2 * size_of::<usize>()) as u64;
/// So many places of the ring may be of no use before somebody looks for them.
const STALE_MAX: i64 = 64;

/// The cache of a store, and what of its tables is in memory beside it.
#[derive(Debug)]
pub(crate) struct Cache {
    bytes_max: u64,
    /// How many bytes may be pinned: who can do with less does, beyond it.
    reserve: u64,
    used: AtomicU64,
    pinned: AtomicU64,
    /// How many places of the ring lead to nothing.
    stale: AtomicI64,
    clock: Mutex<Clock>,
}

/// Everything that is kept, in a ring.
#[derive(Debug, Default)]
struct Clock {
    ring: Vec<Under>,
    /// The place under the hand.
    hand: usize,
}

/// What may be under the hand.
#[derive(Debug)]
enum Under {
    Filter(Weak<Slots>),
    Index(Weak<Slots>),
    Block(Weak<Root>, u32),
}

/// What the hand makes of it.
#[derive(Debug, PartialEq, Eq)]
enum Turn {
    /// It was hit, and stays.
    Stays,
    /// It is gone now, and so many bytes with it.
    GivenUp(u64),
    /// There was nothing.
    Stale,
}

impl Under {
    fn turn(&self, stale: &AtomicI64) -> Turn {
        match self {
            Under::Filter(slots) => slots.upgrade().map_or(Turn::Stale, |s| s.turn_filter()),
            Under::Index(slots) => slots.upgrade().map_or(Turn::Stale, |s| s.turn_index(stale)),
            Under::Block(root, nth) => root.upgrade().map_or(Turn::Stale, |r| r.turn(*nth)),
        }
    }

    /// How many bytes are charged for it.
    fn charged(&self) -> u64 {
        match self {
            Under::Filter(slots) => slots.upgrade().map_or(0, |slots| slots.charged_filter()),
            Under::Index(slots) => slots.upgrade().map_or(0, |slots| slots.charged_index()),
            Under::Block(root, nth) => root.upgrade().map_or(0, |root| root.charged_block(*nth)),
        }
    }
}

/// Room that was made for what is about to be read; given back unless it is filled.
#[derive(Debug)]
pub(crate) struct Room<'a> {
    cache: &'a Cache,
    bytes: u64,
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.cache.release(self.bytes);
    }
}

impl Cache {
    /// Keeps at most so many bytes; 0 switches it off. `reserve`: how many may be pinned.
    pub(crate) fn new(bytes_max: u64, reserve: u64) -> Self {
        Cache {
            bytes_max,
            reserve,
            used: AtomicU64::new(0),
            pinned: AtomicU64::new(0),
            stale: AtomicI64::new(0),
            clock: Mutex::default(),
        }
    }

    /// How many bytes are kept.
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Acquire)
    }

    /// How many bytes are held and not kept.
    pub(crate) fn pinned(&self) -> u64 {
        self.pinned.load(Ordering::Acquire)
    }

    /// How many more may be pinned.
    pub(crate) fn reserve_left(&self) -> u64 {
        self.reserve.saturating_sub(self.pinned())
    }

    /// How many bytes what is kept takes, counted anew. It takes as long as there is much of it.
    pub(crate) fn recounted(&self) -> u64 {
        self.clock.lock().ring.iter().map(Under::charged).sum()
    }

    /// Makes room, if it can, and takes it: for what is about to be read.
    fn room(&self, bytes: u64) -> Option<Room<'_>> {
        let has_room = self.take_room(&mut self.clock.lock(), bytes);
        sometimes!("cache/no-room", !has_room);
        has_room.then(|| Room { cache: self, bytes })
    }

    fn take_room(&self, clock: &mut Clock, bytes: u64) -> bool {
        if bytes > self.bytes_max {
            return false;
        }
        // Behind the first turn of the hand nothing counts as hit, but for hits meanwhile.
        let mut steps_left = 2 * clock.ring.len() + 1;
        while self.used().saturating_add(bytes) > self.bytes_max && !planted!(ReadBeforeRoom) {
            clock.hand = if clock.hand < clock.ring.len() { clock.hand } else { 0 };
            let Some(under) = clock.ring.get(clock.hand).filter(|_| steps_left > 0) else {
                return false;
            };
            steps_left -= 1;
            match under.turn(&self.stale) {
                Turn::Stays => clock.hand += 1,
                Turn::GivenUp(freed) => {
                    sometimes!("cache/given-up");
                    self.release(freed);
                    planted!(ReleasedTwice => self.release(freed));
                    clock.ring.swap_remove(clock.hand);
                }
                Turn::Stale => {
                    self.stale.fetch_sub(1, Ordering::AcqRel);
                    clock.ring.swap_remove(clock.hand);
                }
            }
        }
        self.used.fetch_add(bytes, Ordering::AcqRel);
        true
    }

    fn release(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::AcqRel);
    }

    /// Fills room: `put` keeps what was read, or says that there is no place for it any more.
    fn fill(&self, room: Room<'_>, under: Under, put: impl FnOnce() -> bool) {
        let mut clock = self.clock.lock();
        if !put() {
            return;
        }
        std::mem::forget(room);
        let stale = self.stale.load(Ordering::Acquire);
        if stale > STALE_MAX && usize::try_from(stale).is_ok_and(|n| n > clock.ring.len() / 2) {
            let before = clock.ring.len();
            clock.ring.retain(|under| under.charged() > 0);
            let found = i64::try_from(before - clock.ring.len()).unwrap_or(i64::MAX);
            self.stale.fetch_sub(found, Ordering::AcqRel);
        }
        clock.ring.push(under);
    }
}

/// Bytes that are held and not kept, counted until this is dropped.
#[derive(Debug)]
pub(crate) struct Pinned {
    cache: Arc<Cache>,
    bytes: u64,
}

impl Pinned {
    /// Of nothing as yet.
    pub(crate) fn new(cache: &Arc<Cache>) -> Self {
        Pinned { cache: Arc::clone(cache), bytes: 0 }
    }

    /// So many bytes are held now. It costs something only if they have become others.
    pub(crate) fn set(&mut self, bytes: u64) {
        if bytes == self.bytes {
            return;
        }
        self.cache.pinned.fetch_add(bytes, Ordering::AcqRel);
        self.cache.pinned.fetch_sub(self.bytes, Ordering::AcqRel);
        self.bytes = bytes;
    }

    /// How many more there may be.
    pub(crate) fn reserve_left(&self) -> u64 {
        self.cache.reserve_left()
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        planted!(StaysPinned => return);
        self.cache.pinned.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests;
