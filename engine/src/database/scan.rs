//! What a reader names, as the store orders it, and the walk over a range.

use std::ops::{Bound, RangeBounds};

use crate::batch::key_range;
use crate::error::{Error, Result};
use crate::place::Place;
use crate::store::RangeIter;
use crate::sync::Arc;
use crate::types::{PhysicalKey, RunId, TypeTag, VersionedValue};

/// A lazy walk over a range of keys, from both ends, in byte order.
///
/// It owns what it needs and sees the moment of its creation; after the first error it stops
/// for good.
#[derive(Debug)]
pub struct Scan {
    inner: RangeIter,
    place: Arc<Place>,
    /// Somebody asked in a forked child, and was told.
    is_over: bool,
}

impl Scan {
    pub(super) fn new(inner: RangeIter, place: Arc<Place>) -> Self {
        Scan { inner, place, is_over: false }
    }

    /// The next item, unless this is a forked child.
    fn step(
        &mut self,
        next: impl FnOnce(&mut RangeIter) -> Option<Result<(PhysicalKey, VersionedValue)>>,
    ) -> Option<Result<(Vec<u8>, VersionedValue)>> {
        match self.place.check_process() {
            Ok(()) => next(&mut self.inner).map(present),
            Err(error) => (!std::mem::replace(&mut self.is_over, true)).then_some(Err(error)),
        }
    }
}

fn present(item: Result<(PhysicalKey, VersionedValue)>) -> Result<(Vec<u8>, VersionedValue)> {
    item.map(|(key, value)| (key.user_key().to_vec(), value))
}

impl Iterator for Scan {
    type Item = Result<(Vec<u8>, VersionedValue)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step(RangeIter::next)
    }
}

impl DoubleEndedIterator for Scan {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.step(RangeIter::next_back)
    }
}

/// The bounds of a range of user keys, as the store orders them.
pub(super) fn bounds<K: AsRef<[u8]>, R: RangeBounds<K>>(
    run: RunId,
    range: &R,
) -> (Bound<PhysicalKey>, Bound<PhysicalKey>) {
    let (from, to) = key_range(run, range);
    (Bound::Included(from), Bound::Excluded(to))
}

/// The bounds of all user keys with a prefix.
pub(super) fn prefix_bounds(run: RunId, prefix: &[u8]) -> (Bound<PhysicalKey>, Bound<PhysicalKey>) {
    let from = PhysicalKey::new(run, TypeTag::KV, prefix);
    let end = if planted!(PrefixRunsOn) { &[][..] } else { prefix };
    let to = PhysicalKey::end_of_prefix(run, TypeTag::KV, end);
    (Bound::Included(from), Bound::Excluded(to))
}

/// A key to be read. Error: [`Error::InvalidArgument`] for an empty one.
pub(super) fn user_key(run: RunId, key: &[u8]) -> Result<PhysicalKey> {
    if key.is_empty() {
        return Err(Error::invalid("an empty key; keys have at least one byte"));
    }
    Ok(PhysicalKey::new(run, TypeTag::KV, key))
}
