//! Walks every byte of a table, and says what is not as a writer makes it.
//!
//! A lookup believes what stands under a checksum. Here nothing is: header, footer and properties
//! are read again, and judged are the order of entries and
//! blocks, marks, index and filter against the keys, properties against the entries, and that parts
//! stand back to back, so that no byte belongs to nothing. What is wrong is told piece by piece,
//! and the walk goes on behind it where it can.
//!
//! Invariant: changes nothing, and holds index, filter, one block and one extent in memory, which
//! it reads from the file.

use std::fmt;

use super::block::{Block, Content, Entry, Stamp};
use super::filter;
use super::index::{BlockPlace, Index};
use super::properties::{HEADER_BYTES, Properties};
use super::reader::Table;
use crate::cache::Pinned;
use crate::error::{Error, Result};
use crate::types::PhysicalKey;

/// What is counted on the way.
#[derive(Debug)]
struct Walk<'a, F> {
    table: &'a Table,
    filter: Vec<u8>,
    tell: F,
    /// Where the part ends that was seen last: the next begins here.
    end: u64,
    last: Option<(PhysicalKey, u64)>,
    seen: Option<Properties>,
}

impl Table {
    /// Walks everything; `tell` hears of each violation.
    ///
    /// Errors: [`Error::Io`]; the walk ends there.
    pub(crate) fn verify(&self, tell: impl FnMut(Error)) -> Result<()> {
        let end = HEADER_BYTES as u64;
        let (filter, mut pinned) = (Vec::new(), Pinned::new(self.cache()));
        let mut walk = Walk { table: self, filter, tell, end, last: None, seen: None };
        match self.ends_differ() {
            Ok(None) => {}
            Ok(Some(at)) => walk.wrong(at, "the properties that were read before", "others"),
            Err(error) => walk.told(error)?,
        }
        match self.filter_bytes() {
            Ok(filter) => walk.filter = filter,
            // Without it nothing is asked of it.
            Err(error) => walk.told(error)?,
        }
        let bytes = match self.index_bytes() {
            Ok(bytes) => bytes,
            Err(error) => return walk.told(error),
        };
        pinned.set((bytes.len() + walk.filter.len()) as u64);
        let index = match self.index(&bytes) {
            Ok(index) => index,
            Err(error) => return walk.told(error),
        };
        if let Err(m) = index.check() {
            walk.wrong(self.data_end(), m.expected, m.found);
        }
        for nth in 0..index.len() {
            match self.block(&index, nth) {
                Ok((place, bytes)) => walk.block(&index, nth, place, &bytes)?,
                Err(error) => {
                    walk.told(error)?;
                    // What stands behind is judged from there on.
                    let end = index.place(nth).map(|place| place.end());
                    walk.end = end.unwrap_or(walk.end);
                }
            }
        }
        if walk.end != self.data_end() {
            let found = format!("one that ends at {}", walk.end);
            walk.wrong(walk.end, "a last block that ends where the index begins", found);
        }
        // What is told of removals, no entry shows.
        if let Some(seen) = &mut walk.seen {
            seen.applied = self.properties().applied;
        }
        match &walk.seen {
            Some(seen) if seen != self.properties() => {
                let found = format!("{:?}, not {seen:?}", self.properties());
                walk.wrong(self.data_end(), "properties that are those of the entries", found);
            }
            _ => {}
        }
        Ok(())
    }
}

impl<F: FnMut(Error)> Walk<'_, F> {
    fn wrong(&mut self, offset: u64, expected: impl fmt::Display, found: impl fmt::Display) {
        (self.tell)(Error::corruption(self.table.path(), offset, expected, found));
    }

    /// Tells of damage; an error of the operating system ends the walk.
    fn told(&mut self, error: Error) -> Result<()> {
        match error {
            Error::Corruption { .. } => {
                (self.tell)(error);
                Ok(())
            }
            other => Err(other),
        }
    }

    fn block(
        &mut self,
        index: &Index<'_>,
        nth: usize,
        place: BlockPlace,
        bytes: &[u8],
    ) -> Result<()> {
        let offset = place.offset;
        let block = match Block::new(bytes) {
            Ok(block) => block,
            Err(m) => {
                self.wrong(offset, m.expected, m.found);
                self.end = place.end();
                return Ok(());
            }
        };
        if let Err(m) = block.check(self.table.hasher()) {
            self.wrong(offset, m.expected, m.found);
        }
        for at in 0..block.len() {
            match block.entry(at) {
                Ok(entry) => {
                    if at == 0 && index.first_key(nth).as_ref() != Ok(&entry.key()) {
                        let found = format!("another, not {:?}", entry.key());
                        self.wrong(offset, "the first key of the block in the index", found);
                    }
                    self.entry(&entry, offset)?;
                }
                Err(m) => self.wrong(offset, m.expected, m.found),
            }
        }
        // Its extents stand before it.
        if self.end != offset {
            let found = format!("it begins at {offset}");
            self.wrong(self.end, "a block behind the part before it", found);
        }
        self.end = place.end();
        Ok(())
    }

    fn entry(&mut self, entry: &Entry<'_>, offset: u64) -> Result<()> {
        let (key, version) = (entry.key(), entry.version);
        let is_new = self.last.as_ref().is_none_or(|(last, _)| *last != key);
        let is_in_order = self
            .last
            .as_ref()
            .is_none_or(|(last, before)| *last < key || *last == key && version < *before);
        if !is_in_order {
            self.wrong(offset, "entries in order", format!("{key:?} of version {version}"));
        }
        if is_new && !filter::may_hold(&self.filter, self.table.hasher().hash(&key)) {
            self.wrong(offset, "a filter that knows each key", format!("not {key:?}"));
        }
        let length = match self.table.row(entry, offset) {
            Ok(row) => row.value.map_or(0, |value| value.bytes().len()) as u64,
            Err(error) => {
                self.told(error)?;
                0
            }
        };
        if let Content::Extent { offset, length, .. } = entry.content {
            if offset != self.end {
                let found = format!("an extent at {offset}");
                self.wrong(self.end, "an extent behind the part before it", found);
            }
            self.end =
                BlockPlace { offset, length: usize::try_from(length).unwrap_or(0), raw: 0 }.end();
        }
        self.count(entry, key, is_new, length);
        Ok(())
    }

    fn count(&mut self, entry: &Entry<'_>, key: PhysicalKey, is_new: bool, value_bytes: u64) {
        let Entry { version, time_ms, expiry_ms, content, .. } = *entry;
        let stamp = Stamp { version, time_ms, expiry_ms };
        let length = (content != Content::Tombstone).then_some(value_bytes);
        let in_extent = matches!(content, Content::Extent { .. });
        let seen = self.seen.get_or_insert_with(|| Properties::none(&key));
        seen.count(&key, is_new, stamp, length, in_extent);
        self.last = Some((key, version));
    }
}
