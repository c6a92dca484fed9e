//! A walk through one level of tables, key by key, in either direction, past what removals hide.
//!
//! A removed range may hold any number of keys that no merge has freed yet. A table all of which is
//! older than the removal holds nothing in the range that shows: when some keys in a row were
//! hidden, the walk goes to the end of the range, by the index, and over tables that lie within
//! unread. A table that is in part newer is walked key by key, without its values.
//!
//! Invariant: what is left out is hidden from the reader by a removal, and so is what the same key
//! has in the levels below, which is older.

use std::ops::Bound;

use super::version::Version;
use crate::error::Result;
use crate::levels::Level;
use crate::levels::cursor::LevelCursor;
use crate::removals::Gaze;
use crate::sync::Arc;
use crate::table::reader::{Row, Table};
use crate::types::PhysicalKey;

/// Two bounds of keys.
pub(super) type Bounds<'a> = (Bound<&'a PhysicalKey>, Bound<&'a PhysicalKey>);

/// What was passed because removals hide it.
enum Passed {
    No,
    /// One entry, or more.
    This,
    /// Everything that is left.
    All,
}

/// The keys of a range in one level of tables, one after the other in the direction of a walk.
#[derive(Debug)]
pub(super) struct LevelWalk {
    cursor: LevelCursor,
    /// Where the walk ends.
    end: Bound<PhysicalKey>,
    version: u64,
    backward: bool,
    /// The key that is next, with its newest version that is seen, be it a tombstone or expired.
    pub(super) head: Option<(PhysicalKey, Version)>,
    /// Backwards: of the key behind that, the oldest version that is seen.
    behind: Option<(PhysicalKey, Version)>,
    /// What removals hide from the reader.
    gaze: Option<Gaze>,
    /// So many entries in a row were hidden.
    hidden: usize,
    hidden_max: usize,
}

impl LevelWalk {
    /// Before the first key of the range.
    ///
    /// Errors: those of [`LevelCursor::seek`].
    pub(super) fn new(
        level: &Arc<Level>,
        bounds: Bounds<'_>,
        version: u64,
        backward: bool,
        (gaze, hidden_max): (Option<Gaze>, usize),
    ) -> Result<Self> {
        let mut cursor = LevelCursor::new(level);
        match (if backward { bounds.1 } else { bounds.0 }, backward) {
            (Bound::Included(key), false) | (Bound::Excluded(key), true) => cursor.seek(key)?,
            (Bound::Excluded(key), false) | (Bound::Included(key), true) => {
                cursor.seek(&key.successor())?;
            }
            (Bound::Unbounded, false) => {}
            (Bound::Unbounded, true) => cursor.seek_end()?,
        }
        let end = (if backward { bounds.0 } else { bounds.1 }).cloned();
        let (head, behind, hidden) = (None, None, 0);
        let mut walk =
            LevelWalk { cursor, end, version, backward, head, behind, gaze, hidden, hidden_max };
        walk.go_on(None)?;
        Ok(walk)
    }

    fn is_inside(&self, key: &PhysicalKey) -> bool {
        match (&self.end, self.backward) {
            (Bound::Unbounded, _) => true,
            (Bound::Included(end), false) => key <= end,
            (Bound::Excluded(end), false) => key < end,
            (Bound::Included(end), true) => key >= end,
            (Bound::Excluded(end), true) => key > end,
        }
    }

    /// Takes the key that is next.
    ///
    /// Errors: those of [`LevelCursor::advance`].
    pub(super) fn take(&mut self) -> Result<Option<(PhysicalKey, Version)>> {
        let taken = self.head.take();
        self.go_on(taken.as_ref().map(|(key, _)| key))?;
        Ok(taken)
    }

    /// The same, if the key is as wanted.
    pub(super) fn take_if(
        &mut self,
        is_wanted: impl FnOnce(&PhysicalKey) -> bool,
    ) -> Result<Option<(PhysicalKey, Version)>> {
        match &self.head {
            Some((key, _)) if is_wanted(key) => self.take(),
            _ => Ok(None),
        }
    }

    fn go_on(&mut self, passed: Option<&PhysicalKey>) -> Result<()> {
        if self.backward { self.retreat() } else { self.advance(passed) }
    }

    /// The entry that was passed last, with its value.
    fn row(&self) -> Result<Option<Row>> {
        let entry = if self.backward { self.cursor.behind()? } else { self.cursor.before()? };
        entry.map_or(Ok(None), |entry| self.cursor.row(&entry))
    }

    fn sees(&self, version: u64) -> bool {
        version <= self.version || planted!(TableIgnoresPin)
    }

    /// Forwards: the newest version of a key comes first; what is left of the one that was passed
    /// is passed over.
    fn advance(&mut self, passed: Option<&PhysicalKey>) -> Result<()> {
        while self.cursor.advance()? {
            let Some(entry) = self.cursor.before()? else { return Ok(()) };
            let (key, version) = (entry.key(), entry.version);
            if !self.sees(version) {
                continue;
            }
            if passed == Some(&key) {
                continue;
            }
            if self.is_inside(&key) {
                match self.pass_hidden(&key, version)? {
                    Passed::No => {}
                    Passed::This => continue,
                    Passed::All => return Ok(()),
                }
                self.head = self.row()?.map(|row| (key, row.into()));
            }
            return Ok(());
        }
        Ok(())
    }

    /// Whether removals hide the entry that was passed; if they have hidden some in a row, what
    /// they hide beside it is passed, too.
    fn pass_hidden(&mut self, key: &PhysicalKey, version: u64) -> Result<Passed> {
        let Some(gaze) = &mut self.gaze else { return Ok(Passed::No) };
        let Some((piece, newest)) = gaze.hiding(key, version) else {
            self.hidden = 0;
            return Ok(Passed::No);
        };
        self.hidden = self.hidden.saturating_add(1);
        // What is written behind the removal stands.
        let upto = if planted!(SkipsWhatIsNewer) { u64::MAX } else { newest };
        let hides = |table: &Table| table.properties().versions.1 < upto;
        if self.hidden < self.hidden_max || !self.cursor.table().is_some_and(|(_, t)| hides(t)) {
            return Ok(Passed::This);
        }
        sometimes!("store/removed-skipped-in-a-walk");
        let goes_on = match self.backward {
            false => self.cursor.skip_to(&piece.to, hides)?,
            true => self.cursor.skip_back(&piece.from, hides)?,
        };
        Ok(if goes_on { Passed::This } else { Passed::All })
    }

    /// Backwards: the newest version of a key comes last.
    fn retreat(&mut self) -> Result<()> {
        self.head = self.behind.take();
        while self.cursor.retreat()? {
            let Some(entry) = self.cursor.behind()? else { return Ok(()) };
            let (key, version) = (entry.key(), entry.version);
            if !self.sees(version) {
                continue;
            }
            if !self.is_inside(&key) {
                return Ok(());
            }
            match self.pass_hidden(&key, version)? {
                Passed::No => {}
                Passed::This => continue,
                Passed::All => return Ok(()),
            }
            let Some(row) = self.row()? else { return Ok(()) };
            let found = (key, row.into());
            if self.head.as_ref().is_some_and(|(head, _)| *head != found.0) {
                self.behind = Some(found);
                return Ok(());
            }
            self.head = Some(found);
        }
        Ok(())
    }
}
