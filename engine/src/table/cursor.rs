//! A place between two entries of a table, from where it is read in both directions.
//!
//! Invariant: it holds the index and one block, and reads another block when it passes a border;
//! what it holds is counted as pinned, but for an index that is kept for others.

use std::sync::Arc;

use super::block::{Block, Entry, Layout, Section};
use super::reader::{Row, Table, malformed};
use crate::cache::{Pinned, Root};
use crate::error::Result;
use crate::types::PhysicalKey;

/// What is to become of an entry that was come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pass {
    /// It is passed, and the next is come to.
    On,
    /// It is passed, and nothing more.
    Last,
    /// It is not passed.
    Stay,
}

/// A place between two entries.
#[derive(Debug)]
pub(crate) struct Cursor {
    table: Arc<Table>,
    /// The index; `None` before the first move.
    root: Option<Arc<Root>>,
    /// The block that is read; `None` before the first move.
    block: Option<Loaded>,
    /// How many entries of it are before the place.
    at: usize,
    /// Blocks are kept in memory.
    keeps: bool,
    pinned: Pinned,
}

#[derive(Debug)]
struct Loaded {
    nth: usize,
    offset: u64,
    bytes: Arc<[u8]>,
    layout: Layout,
    /// Of the entry that was passed last: most often that of the next, too.
    section: Option<Section>,
}

impl Loaded {
    fn read(&self) -> Block<'_> {
        Block::again(&self.bytes, self.layout)
    }
}

impl Cursor {
    /// Before all entries. What it reads is kept in memory for others, or not.
    pub(crate) fn new(table: &Arc<Table>, keeps: bool) -> Self {
        let pinned = Pinned::new(table.cache());
        Cursor { table: Arc::clone(table), root: None, block: None, at: 0, keeps, pinned }
    }

    /// The index, read before the first move.
    fn root(&mut self) -> Result<Arc<Root>> {
        let root = match &self.root {
            Some(root) => Arc::clone(root),
            None => self.table.root(self.keeps)?,
        };
        self.root.get_or_insert_with(|| Arc::clone(&root));
        Ok(root)
    }

    /// Goes before the first entry whose key is at least this one; to the end if there is none.
    ///
    /// Errors: [`Error::Corruption`](crate::Error::Corruption), [`Error::Io`](crate::Error::Io).
    pub(crate) fn seek(&mut self, key: &PhysicalKey) -> Result<()> {
        let root = self.root()?;
        let below = self.table.index(root.bytes())?.below(key);
        self.load(below.saturating_sub(1))?;
        if let Some(loaded) = &self.block {
            let block = loaded.read();
            self.at = block.lower_bound(key).map_err(self.malformed(loaded))?;
        }
        Ok(())
    }

    /// Goes behind all entries.
    ///
    /// Errors: as [`Cursor::seek`].
    pub(crate) fn seek_end(&mut self) -> Result<()> {
        let root = self.root()?;
        self.load(self.table.index(root.bytes())?.len().saturating_sub(1))?;
        self.at = self.len();
        Ok(())
    }

    fn load(&mut self, nth: usize) -> Result<()> {
        let root = self.root()?;
        let index = self.table.index(root.bytes())?;
        let (offset, bytes) = match self.keeps {
            true => self.table.kept_block(&root, &index, nth)?,
            false => {
                let (place, bytes) = self.table.block(&index, nth)?;
                (place.offset, bytes.into())
            }
        };
        let block = Block::new(&bytes).map_err(malformed(self.table.path(), offset))?;
        let layout = block.layout();
        let of_index = if self.keeps { 0 } else { root.unpinned() };
        self.pinned.set(of_index + bytes.len() as u64);
        self.block = Some(Loaded { nth, offset, bytes, layout, section: None });
        self.at = 0;
        Ok(())
    }

    fn malformed(&self, loaded: &Loaded) -> impl FnOnce(crate::codec::Malformed) -> crate::Error {
        malformed(self.table.path(), loaded.offset)
    }

    /// Where the block stands that is read; the beginning of the file before the first move.
    pub(crate) fn offset(&self) -> u64 {
        self.block.as_ref().map_or(0, |loaded| loaded.offset)
    }

    /// How many entries the block has.
    fn len(&self) -> usize {
        self.block.as_ref().map_or(0, |loaded| loaded.layout.len())
    }

    /// The place is beside the entry of this number.
    fn come_to(&mut self, at: usize) {
        if let Some(loaded) = &mut self.block
            && !loaded.section.is_some_and(|section| section.has(at))
        {
            loaded.section = loaded.read().section_of(at).ok();
        }
    }

    #[inline(always)]
    fn entry(&self, at: usize) -> Result<Option<Entry<'_>>> {
        let Some(loaded) = &self.block else { return Ok(None) };
        let block = loaded.read();
        let entry = match loaded.section.filter(|section| section.has(at)) {
            Some(section) => block.entry_in(&section, at),
            None => block.entry(at),
        };
        entry.map(Some).map_err(self.malformed(loaded))
    }

    /// Passes the entry behind the place; `false` if there is none.
    ///
    /// Errors: as [`Cursor::seek`].
    #[inline(always)]
    pub(crate) fn advance(&mut self) -> Result<bool> {
        if self.block.is_none() {
            self.load(0)?;
        }
        if self.at >= self.len() {
            let next = self.block.as_ref().map_or(0, |loaded| loaded.nth + 1);
            let root = self.root()?;
            if next >= self.table.index(root.bytes())?.len() {
                return Ok(false);
            }
            self.load(next)?;
        }
        self.come_to(self.at);
        self.at += 1;
        Ok(true)
    }

    /// Passes the entry before the place; `false` if there is none.
    ///
    /// Errors: as [`Cursor::seek`].
    #[inline(always)]
    pub(crate) fn retreat(&mut self) -> Result<bool> {
        if self.at == 0 {
            planted!(BackwardStopsAtABlock => return Ok(false));
            let Some(nth) = self.block.as_ref().and_then(|loaded| loaded.nth.checked_sub(1)) else {
                return Ok(false);
            };
            self.load(nth)?;
            self.at = self.len();
        }
        self.at = self.at.saturating_sub(1);
        self.come_to(self.at);
        Ok(true)
    }

    /// Passes entries of the block that is read, behind the place or before it, as `pass` says of
    /// each: at the end of the block, and at an entry that has to be read by itself, the caller
    /// goes on by [`Cursor::advance`] or [`Cursor::retreat`].
    #[inline(always)]
    pub(crate) fn pass_while<'b>(
        &'b mut self,
        backward: bool,
        mut pass: impl FnMut(Entry<'b>) -> Pass,
    ) {
        let Cursor { block: Some(loaded), at: place, .. } = self else { return };
        let block = loaded.read();
        let mut section = loaded.section;
        loop {
            let at = if backward { place.wrapping_sub(1) } else { *place };
            if at >= loaded.layout.len() {
                return;
            }
            let here = match section.filter(|section| section.has(at)) {
                Some(section) => section,
                None => {
                    section = block.section_of(at).ok();
                    let Some(section) = section else { return };
                    section
                }
            };
            let Some(entry) = block.quick_entry(&here, at) else { return };
            let passed = pass(entry);
            if passed == Pass::Stay {
                return;
            }
            *place = if backward { at } else { at + 1 };
            if passed == Pass::Last {
                return;
            }
        }
    }

    /// The entry before the place: the one that [`Cursor::advance`] has passed.
    ///
    /// Errors: as [`Cursor::seek`].
    #[inline(always)]
    pub(crate) fn before(&self) -> Result<Option<Entry<'_>>> {
        self.at.checked_sub(1).map_or(Ok(None), |at| self.entry(at))
    }

    /// The entry behind the place: the one that [`Cursor::retreat`] has passed.
    ///
    /// Errors: as [`Cursor::seek`].
    #[inline(always)]
    pub(crate) fn behind(&self) -> Result<Option<Entry<'_>>> {
        self.entry(self.at)
    }

    /// Whether the entry behind the place is of another key, as far as its block tells.
    pub(crate) fn is_before_another(&self, key: &PhysicalKey) -> bool {
        let is_in_block = self.at < self.len();
        is_in_block && self.behind().is_ok_and(|next| next.is_some_and(|next| next.key() != *key))
    }

    /// The entry behind the place, which is passed.
    ///
    /// Errors: as [`Cursor::seek`].
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn next(&mut self) -> Result<Option<Entry<'_>>> {
        if self.advance()? { self.before() } else { Ok(None) }
    }

    /// The entry before the place, which is passed.
    ///
    /// Errors: as [`Cursor::seek`].
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn prev(&mut self) -> Result<Option<Entry<'_>>> {
        if self.retreat()? { self.behind() } else { Ok(None) }
    }

    /// An entry of the block that is read, with its value.
    ///
    /// Errors: as [`Cursor::seek`].
    pub(crate) fn row(&self, entry: &Entry<'_>) -> Result<Row> {
        self.table.row(entry, self.block.as_ref().map_or(0, |loaded| loaded.offset))
    }

    /// What it reads.
    pub(crate) fn table(&self) -> &Table {
        &self.table
    }
}
