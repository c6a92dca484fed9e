//! What a reader names, as the store orders it, and the walk over a range.

use std::ops::{Bound, RangeBounds};

use super::entry_ref::EntryRef;
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

    /// The next entry in byte order, borrowed: it costs no allocation, and its key and value can be
    /// read until the next one is taken. `None` at the end.
    ///
    /// ```
    /// use runstone::{Database, NO_TAGS, RunId};
    ///
    /// # fn main() -> runstone::Result<()> {
    /// let db = Database::in_memory()?;
    /// let run = RunId::from_bytes([1; 16]);
    /// db.begin_run(run, NO_TAGS)?;
    /// db.put(run, "a", "one")?;
    /// db.put(run, "b", "three")?;
    /// let (mut scan, mut letters) = (db.scan_prefix(run, "")?, 0);
    /// while let Some(entry) = scan.next_ref() {
    ///     letters += entry?.value().as_str().map_or(0, str::len);
    /// }
    /// assert_eq!(letters, 8);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Errors: as the items of the iterator.
    pub fn next_ref(&mut self) -> Option<Result<EntryRef<'_>>> {
        self.step(false)
    }

    /// The same from the other end.
    ///
    /// Errors: as the items of the iterator.
    pub fn next_back_ref(&mut self) -> Option<Result<EntryRef<'_>>> {
        self.step(true)
    }

    /// The next entry, unless this is a forked child.
    fn step(&mut self, backward: bool) -> Option<Result<EntryRef<'_>>> {
        if let Err(error) = self.place.check_process() {
            return (!std::mem::replace(&mut self.is_over, true)).then_some(Err(error));
        }
        match self.inner.step(backward)? {
            Ok(seen) => EntryRef::of(seen).map(Ok),
            Err(error) => Some(Err(error)),
        }
    }
}

impl Iterator for Scan {
    type Item = Result<(Vec<u8>, VersionedValue)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_ref().map(|entry| entry?.to_owned())
    }
}

impl DoubleEndedIterator for Scan {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.next_back_ref().map(|entry| entry?.to_owned())
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
