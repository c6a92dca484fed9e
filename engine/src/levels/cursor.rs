//! A place between two entries of a level, from where it is read in both directions.
//!
//! Invariants: it holds one block of one table; what a table no longer counts for is passed over,
//! in both directions.

use std::path::Path;

use super::{Level, LiveTable};
use crate::error::Result;
use crate::sync::Arc;
use crate::table::block::Entry;
use crate::table::cursor::{Cursor, Pass};
use crate::table::reader::{Row, Table};
use crate::types::PhysicalKey;

/// A place between two entries.
#[derive(Debug)]
pub(crate) struct LevelCursor {
    level: Arc<Level>,
    /// The table that is read, by its place in the level.
    at: Option<(usize, Cursor)>,
    /// Blocks are kept in memory.
    keeps: bool,
}

impl LevelCursor {
    /// Before all entries. What it reads is kept in memory for others.
    pub(crate) fn new(level: &Arc<Level>) -> Self {
        LevelCursor { level: Arc::clone(level), at: None, keeps: true }
    }

    /// The same, but what it reads is not kept.
    pub(crate) fn aside(level: &Arc<Level>) -> Self {
        LevelCursor { keeps: false, ..LevelCursor::new(level) }
    }

    /// Goes before the first entry whose key is at least this one; to the end if there is none.
    ///
    /// Errors: those of [`Cursor::seek`].
    pub(crate) fn seek(&mut self, key: &PhysicalKey) -> Result<()> {
        let nth = self.level.ending_before(key);
        match self.level.tables.get(nth) {
            Some(live) => {
                let mut cursor = Cursor::new(&live.table, self.keeps);
                cursor.seek(key.max(live.first()))?;
                self.at = Some((nth, cursor));
                Ok(())
            }
            None => self.seek_end(),
        }
    }

    /// Goes behind all entries.
    ///
    /// Errors: those of [`Cursor::seek_end`].
    pub(crate) fn seek_end(&mut self) -> Result<()> {
        self.at = match self.level.tables.len().checked_sub(1) {
            Some(last) => self.at_end_of(last)?,
            None => None,
        };
        Ok(())
    }

    fn at_end_of(&self, nth: usize) -> Result<Option<(usize, Cursor)>> {
        let Some(live) = self.level.tables.get(nth) else { return Ok(None) };
        let mut cursor = Cursor::new(&live.table, self.keeps);
        cursor.seek_end()?;
        Ok(Some((nth, cursor)))
    }

    fn at_start_of(&self, nth: usize) -> Result<Option<(usize, Cursor)>> {
        let Some(LiveTable { table, from }) = self.level.tables.get(nth) else { return Ok(None) };
        let mut cursor = Cursor::new(table, self.keeps);
        if let Some(from) = from.as_ref().filter(|_| !planted!(BoundForgottenByScan)) {
            cursor.seek(from)?;
        }
        Ok(Some((nth, cursor)))
    }

    /// Passes the entry behind the place; `false` if there is none.
    ///
    /// Errors: those of [`Cursor::seek`].
    pub(crate) fn advance(&mut self) -> Result<bool> {
        if self.at.is_none() {
            self.at = self.at_start_of(0)?;
        }
        loop {
            let Some((nth, cursor)) = &mut self.at else { return Ok(false) };
            if cursor.advance()? {
                return Ok(true);
            }
            let next = *nth + 1;
            match self.at_start_of(next)? {
                None => return Ok(false),
                next => self.at = next,
            }
        }
    }

    /// Passes the entry before the place; `false` if there is none.
    ///
    /// Errors: those of [`Cursor::seek`].
    pub(crate) fn retreat(&mut self) -> Result<bool> {
        loop {
            let Some((nth, cursor)) = &mut self.at else { return Ok(false) };
            let from = self.level.tables.get(*nth).and_then(|live| live.from.as_ref());
            if cursor.retreat()? {
                let counts = match from.filter(|_| !planted!(BoundForgottenBackward)) {
                    Some(from) => cursor.behind()?.is_some_and(|entry| entry.key() >= *from),
                    None => true,
                };
                if counts {
                    return Ok(true);
                }
            }
            let Some(before) = nth.checked_sub(1) else {
                // It stays before what counts.
                let first = *nth;
                self.at = self.at_start_of(first)?;
                return Ok(false);
            };
            self.at = self.at_end_of(before)?;
        }
    }

    /// Goes on before the first entry at or behind a key, or to one before it that is in another
    /// table that does not pass: those that do are not read. `false` if nothing is left.
    ///
    /// Errors: those of [`Cursor::seek`].
    pub(crate) fn skip_to(
        &mut self,
        key: &PhysicalKey,
        passes: impl Fn(&Table) -> bool,
    ) -> Result<bool> {
        let Some((begun, _)) = self.at else { return Ok(false) };
        for (nth, live) in self.level.tables.iter().enumerate().skip(begun) {
            let passes = nth == begun || passes(&live.table);
            if passes && live.last() < key {
                sometimes!("levels/table-skipped", nth > begun);
                continue;
            }
            if passes && *live.first() < *key {
                let mut cursor = Cursor::new(&live.table, self.keeps);
                cursor.seek(key)?;
                planted!(SkippedTooFar => cursor.seek(&key.successor())?);
                self.at = Some((nth, cursor));
            } else {
                self.at = self.at_start_of(nth)?;
            }
            return Ok(true);
        }
        Ok(false)
    }

    /// Goes back behind the last entry before a key, or to one behind it that is in another table
    /// that does not pass: those that do are not read. `false` if nothing is left.
    ///
    /// Errors: those of [`Cursor::seek`].
    pub(crate) fn skip_back(
        &mut self,
        key: &PhysicalKey,
        passes: impl Fn(&Table) -> bool,
    ) -> Result<bool> {
        let Some((begun, _)) = self.at else { return Ok(false) };
        for (nth, live) in self.level.tables.iter().enumerate().take(begun + 1).rev() {
            let passes = nth == begun || passes(&live.table);
            if passes && (*live.first() >= *key || planted!(SkipsBackTooFar) && nth < begun) {
                sometimes!("levels/table-skipped-back", nth < begun);
                continue;
            }
            if passes && *live.last() >= *key {
                let mut cursor = Cursor::new(&live.table, self.keeps);
                cursor.seek(key)?;
                self.at = Some((nth, cursor));
            } else {
                self.at = self.at_end_of(nth)?;
            }
            return Ok(true);
        }
        Ok(false)
    }

    /// Passes entries of the block that it reads: see [`Cursor::pass_while`]. Not where a table
    /// counts in part only.
    #[inline(always)]
    pub(crate) fn pass_while<'b>(
        &'b mut self,
        backward: bool,
        pass: impl FnMut(Entry<'b>) -> Pass,
    ) {
        let Some((nth, cursor)) = &mut self.at else { return };
        let is_whole = self.level.tables.get(*nth).is_some_and(|live| live.from.is_none());
        if is_whole || !backward {
            cursor.pass_while(backward, pass);
        }
    }

    /// The entry that [`LevelCursor::advance`] has passed, and the table that it stands in.
    ///
    /// Errors: those of [`Cursor::seek`].
    #[inline(always)]
    pub(crate) fn before(&self) -> Result<Option<(Entry<'_>, &Table)>> {
        let Some((_, cursor)) = &self.at else { return Ok(None) };
        Ok(cursor.before()?.map(|entry| (entry, cursor.table())))
    }

    /// The entry that [`LevelCursor::retreat`] has passed, likewise.
    ///
    /// Errors: those of [`Cursor::seek`].
    #[inline(always)]
    pub(crate) fn behind(&self) -> Result<Option<(Entry<'_>, &Table)>> {
        let Some((_, cursor)) = &self.at else { return Ok(None) };
        Ok(cursor.behind()?.map(|entry| (entry, cursor.table())))
    }

    /// How long the values of a key are, of which [`LevelCursor::advance`] has passed the newest.
    ///
    /// Errors: those of [`Cursor::seek`].
    pub(crate) fn value_lens(&self, key: &PhysicalKey) -> Result<Vec<usize>> {
        let is_one = self.at.as_ref().is_some_and(|(_, cursor)| cursor.is_before_another(key));
        if let Some((entry, _)) = self.before()?.filter(|_| is_one) {
            return Ok(vec![entry.content.value_len()]);
        }
        let mut lens = Vec::new();
        let mut scout = LevelCursor::aside(&self.level);
        scout.seek(key)?;
        while scout.advance()? {
            let Some((entry, _)) = scout.before()?.filter(|(entry, _)| entry.key() == *key) else {
                break;
            };
            lens.push(entry.content.value_len());
        }
        Ok(lens)
    }

    /// An entry of where it stands, with its value.
    ///
    /// Errors: those of [`Table::row`].
    pub(crate) fn row(&self, entry: &Entry<'_>) -> Result<Option<Row>> {
        self.at.as_ref().map(|(_, cursor)| cursor.row(entry)).transpose()
    }

    /// The table that it reads, by its place in the level.
    pub(crate) fn table(&self) -> Option<(usize, &Table)> {
        self.at.as_ref().map(|(nth, cursor)| (*nth, cursor.table()))
    }

    /// Where it reads: the file, and the block of it.
    pub(crate) fn spot(&self) -> Option<(&Path, u64)> {
        self.at.as_ref().map(|(_, cursor)| (cursor.table().path(), cursor.offset()))
    }

    /// What it reads.
    pub(crate) fn level(&self) -> &Level {
        &self.level
    }
}
