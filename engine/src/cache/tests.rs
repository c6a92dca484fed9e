//! The cache: its limit, what goes, what is charged, and what is left.

use super::slots::{Root, Slots};
use super::*;
use crate::error::{Error, Result};

const INDEX: usize = 50;

/// One that reads bytes, and is charged for them.
fn filled(cache: &Arc<Cache>, work: impl FnOnce()) -> u64 {
    let before = cache.used();
    work();
    cache.used() - before
}

fn root(slots: &Arc<Slots>, blocks: usize) -> Arc<Root> {
    let read = || Ok((vec![9; INDEX], blocks));
    slots.index(true).map_or_else(|| slots.read_index((INDEX, blocks), true, read), Ok).unwrap()
}

fn block(root: &Arc<Root>, nth: usize) -> Arc<[u8]> {
    root.get(nth).map_or_else(|| root.read(nth, 100, || Ok(vec![1; 100])), Ok).unwrap()
}

fn filter(slots: &Arc<Slots>) {
    slots.read_filter(64, || Ok(vec![3; 64])).unwrap();
}

fn held(root: &Root, blocks: usize) -> Vec<u32> {
    (0..u32::try_from(blocks).unwrap()).filter(|nth| root.charged_block(*nth) > 0).collect()
}

fn holds(cache: &Cache) {
    assert!(cache.used() <= cache.bytes_max, "{} of {}", cache.used(), cache.bytes_max);
    assert_eq!(cache.used(), cache.recounted());
}

/// What an index of so many blocks is charged with, a block, and a filter.
fn charges(blocks: usize) -> [u64; 3] {
    let cache = Arc::new(Cache::new(1 << 20, 0));
    let slots = Slots::new(&cache);
    let of_root = filled(&cache, || drop(root(&slots, blocks)));
    let of_block = filled(&cache, || drop(block(&root(&slots, blocks), 0)));
    let of_filter = filled(&cache, || filter(&slots));
    holds(&cache);
    drop(slots);
    assert_eq!((cache.used(), cache.recounted()), (0, 0), "a table that goes takes all along");
    [of_root, of_block, of_filter]
}

#[test]
fn the_limit_holds_and_what_was_hit_stays_longest() {
    let [of_root, of_block, _] = charges(6);
    let cache = Arc::new(Cache::new(of_root + 3 * of_block, 0));
    let slots = Slots::new(&cache);
    let root = root(&slots, 6);
    for nth in 0..3 {
        block(&root, nth);
    }
    assert_eq!(held(&root, 6), [0, 1, 2]);
    for nth in 3..6 {
        slots.index(true).unwrap();
        block(&root, 1);
        block(&root, nth);
        holds(&cache);
        assert!(held(&root, 6).contains(&1), "hit each time: {:?}", held(&root, 6));
    }
}

#[test]
fn an_index_that_is_given_up_takes_its_blocks_along_and_who_holds_it_goes_on() {
    let [of_root, of_block, _] = charges(4);
    let cache = Arc::new(Cache::new(of_root + 4 * of_block, 0));
    let (one, other) = (Slots::new(&cache), Slots::new(&cache));
    let held_on = root(&one, 4);
    for nth in 0..4 {
        block(&held_on, nth);
    }
    let second = root(&other, 4);
    assert!(one.index(false).is_none() && held(&held_on, 4).is_empty());
    assert_eq!(cache.used(), of_root);
    assert_eq!(&*block(&held_on, 2), [1; 100], "it is read, and not kept");
    assert!(held(&held_on, 4).is_empty());
    block(&second, 0);
    holds(&cache);
    drop((one, held_on));
    assert_eq!(cache.used(), of_root + of_block);
}

#[test]
fn what_never_fits_is_read_each_time_and_gives_nothing_up() {
    let [of_root, of_block, of_filter] = charges(1);
    for limit in [0, 1, of_root - 1] {
        let cache = Arc::new(Cache::new(limit, 0));
        let slots = Slots::new(&cache);
        let held = root(&slots, 1);
        assert_eq!((held.bytes(), cache.used()), (&[9; INDEX][..], 0));
        assert!(slots.index(true).is_none() && cache.pinned() > 0);
        drop(held);
        assert_eq!(cache.pinned(), 0);
    }
    let cache = Arc::new(Cache::new(of_root + of_block + of_filter, 0));
    let slots = Slots::new(&cache);
    filter(&slots);
    let root = root(&slots, 1);
    block(&root, 0);
    let full = cache.used();
    let long = usize::try_from(2 * full).unwrap();
    slots.read_index((long, 1), true, || Ok((vec![9; long], 1))).unwrap();
    assert_eq!(cache.used(), full, "there was no use in making room");
}

#[test]
fn what_cannot_be_read_gives_its_room_back() {
    let [of_root, ..] = charges(1);
    let cache = Arc::new(Cache::new(2 * of_root, 0));
    let slots = Slots::new(&cache);
    let fails = || Err::<Vec<u8>, _>(Error::Closed);
    assert!(slots.read_filter(64, fails).is_err());
    let fails = || -> Result<(Vec<u8>, usize)> { Err(Error::Closed) };
    assert!(slots.read_index((INDEX, 1), true, fails).is_err());
    assert_eq!(cache.used(), 0);
    let root = root(&slots, 1);
    assert!(root.read(0, 100, || Err(Error::Closed)).is_err());
    assert_eq!(cache.used(), of_root);
}

/// Tables come and go in a cache that is never full.
#[test]
fn the_ring_does_not_grow_with_what_is_gone() {
    let cache = Arc::new(Cache::new(1 << 30, 0));
    for _ in 0..1000 {
        let slots = Slots::new(&cache);
        filter(&slots);
        let root = root(&slots, 10);
        (0..10).for_each(|nth| drop(block(&root, nth)));
        holds(&cache);
    }
    assert_eq!(cache.used(), 0);
    let places = cache.clock.lock().ring.capacity();
    assert!(places < 1000, "{places} places of a ring for nothing");
}
