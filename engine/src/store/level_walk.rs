//! A walk through one level of tables, key by key, in either direction, past what removals hide.
//!
//! A removed range may hold any number of keys that no merge has freed yet. A table all of which is
//! older than the removal holds nothing in the range that shows: when some keys in a row were
//! hidden, the walk goes to the end of the range, by the index, and over tables that lie within
//! unread. A table that is in part newer is walked key by key, without its values.
//!
//! Invariant: what is left out is hidden from the reader by a removal, and so is what the same key
//! has in the levels below, which is older.

use std::cmp::Ordering;
use std::ops::Bound;

use super::window::{Held, Rank, Seen};
use crate::error::Result;
use crate::levels::Level;
use crate::levels::cursor::LevelCursor;
use crate::removals::Gaze;
use crate::sync::Arc;
use crate::table::block::{Content, Entry};
use crate::table::cursor::Pass;
use crate::table::reader::Table;
use crate::types::{PhysicalKey, ValueKind};

/// Two bounds of keys.
pub(super) type Bounds<'a> = (Bound<&'a PhysicalKey>, Bound<&'a PhysicalKey>);

/// What removals say of an entry.
enum Judged {
    Shown,
    Hidden,
    /// It is one of several in a row that were hidden by the removals of a range up to its end, in
    /// the direction of the walk, of which this is the newest.
    Skipped(PhysicalKey, u64),
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
    head: Held,
    has_head: bool,
    /// Backwards: of the key behind that, the oldest version that is seen.
    behind: Held,
    has_behind: bool,
    hiding: Hiding,
    /// Of a value that lies in an extent.
    room: Vec<u8>,
    sight: Sight,
}

/// What removals hide from the reader.
#[derive(Debug)]
struct Hiding {
    gaze: Option<Gaze>,
    /// So many entries in a row were hidden.
    count: usize,
    max: usize,
}

impl Hiding {
    /// Judges an entry of a table. Few runs have removals: then it costs nothing.
    fn judge(&mut self, entry: &Entry<'_>, table: &Table, backward: bool) -> Judged {
        let Some(gaze) = &mut self.gaze else { return Judged::Shown };
        let Some((piece, newest)) = gaze.hiding(&entry.key(), entry.version) else {
            self.count = 0;
            return Judged::Shown;
        };
        self.count = self.count.saturating_add(1);
        if self.count < self.max || !hides(table, newest) {
            return Judged::Hidden;
        }
        Judged::Skipped(if backward { piece.from.clone() } else { piece.to.clone() }, newest)
    }
}

/// Whether a removal hides all that a table holds in its range: what is written behind it stands.
fn hides(table: &Table, newest: u64) -> bool {
    let upto = if planted!(SkipsWhatIsNewer) { u64::MAX } else { newest };
    table.properties().versions.1 < upto
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
        sight: Sight,
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
        let (head, behind) = (Held::default(), Held::default());
        let hiding = Hiding { gaze, count: 0, max: hidden_max };
        let mut walk = LevelWalk {
            cursor,
            end,
            version,
            backward,
            head,
            has_head: false,
            behind,
            has_behind: false,
            hiding,
            room: Vec::new(),
            sight,
        };
        walk.go_on(true)?;
        Ok(walk)
    }

    /// The key that is next, with its newest version that is seen.
    pub(super) fn head(&self) -> Option<Seen<'_>> {
        self.has_head.then(|| self.head.seen())
    }

    /// That key.
    pub(super) fn rank(&self) -> Option<Rank<'_>> {
        self.has_head.then(|| self.head.rank())
    }

    /// Passes the key that is next.
    ///
    /// Errors: those of [`LevelCursor::advance`].
    pub(super) fn pass(&mut self) -> Result<()> {
        // Most often the next stands in the block that is read.
        let ran = self.run_in_block(Some(Rank::before_all(self.backward)), &mut |_| true);
        if ran == Ran::ToTheLimit { Ok(()) } else { self.go_on(false) }
    }

    /// Visits the next key and those that follow it before `limit`, or before the walk ends, as
    /// long as `visit` says so, and returns what it said last. Most stand in the block that is
    /// read, and are visited there.
    ///
    /// Errors: those of [`LevelCursor::advance`].
    pub(super) fn run(
        &mut self,
        limit: Option<Rank<'_>>,
        mut visit: impl FnMut(&Seen<'_>) -> bool,
    ) -> Result<bool> {
        while self.has_head {
            if !visit(&self.head.seen()) {
                return Ok(false);
            }
            let in_block = limit.filter(|_| !planted!(LimitForgottenInABlock));
            match self.run_in_block(in_block, &mut visit) {
                Ran::Ended => return Ok(false),
                Ran::ToTheLimit => break,
                Ran::ToTheBorder => self.go_on(false)?,
            }
            let next = self.rank().zip(limit);
            if next.is_some_and(|(head, limit)| !precedes(self.backward, head, limit)) {
                break;
            }
        }
        Ok(true)
    }

    fn run_in_block(
        &mut self,
        limit: Option<Rank<'_>>,
        visit: &mut impl FnMut(&Seen<'_>) -> bool,
    ) -> Ran {
        match (&self.hiding.gaze, self.backward) {
            // What removals hide is judged entry by entry.
            (Some(_), _) => Ran::ToTheBorder,
            (None, false) => self.run_ahead(limit, visit),
            (None, true) => self.run_back(limit, visit),
        }
    }

    /// Forwards, in one block.
    #[inline(always)]
    fn run_ahead(
        &mut self,
        limit: Option<Rank<'_>>,
        visit: &mut impl FnMut(&Seen<'_>) -> bool,
    ) -> Ran {
        let LevelWalk { cursor, head, has_head, end, version, sight, .. } = self;
        let mut last: Option<Entry<'_>> = None;
        let mut ran = Ran::ToTheBorder;
        cursor.pass_while(false, |entry| {
            if !sees(*version, &entry) {
                return Pass::On;
            }
            let is_older = match &last {
                Some(last) => last.has_key_of(&entry),
                None => head.is_of(entry.name()),
            };
            if is_older && !planted!(OlderShownInABlock) {
                sometimes!("store/older-passed-in-a-block");
                return Pass::On;
            }
            let is_next = is_inside(end, false, &entry);
            let Some(seen) = sight.seen(&entry).filter(|_| is_next) else { return Pass::Stay };
            last = Some(entry);
            if limit.is_some_and(|limit| entry.cmp_rank(limit.tag, limit.user) != Ordering::Less) {
                ran = Ran::ToTheLimit;
            } else if !visit(&seen) {
                ran = Ran::Ended;
            } else {
                return Pass::On;
            }
            Pass::Last
        });
        *has_head = ran == Ran::ToTheLimit;
        if let Some(last) = last {
            let value = sight.seen(&last).and_then(|seen| seen.value);
            head.set(last.name(), last.stamp(), value.filter(|_| *has_head));
        }
        ran
    }

    /// Backwards, in one block: each key waits for its newest version.
    #[inline(always)]
    fn run_back(
        &mut self,
        limit: Option<Rank<'_>>,
        visit: &mut impl FnMut(&Seen<'_>) -> bool,
    ) -> Ran {
        let LevelWalk { cursor, head, has_head, behind, has_behind, end, version, sight, .. } =
            self;
        // What waits: in the block, or else behind the head.
        let mut last: Option<Entry<'_>> = None;
        let mut next: Option<Entry<'_>> = None;
        let mut ran = Ran::ToTheBorder;
        if !*has_behind {
            return ran;
        }
        cursor.pass_while(true, |entry| {
            if !sees(*version, &entry) {
                return Pass::On;
            }
            if !is_inside(end, true, &entry) || sight.seen(&entry).is_none() {
                return Pass::Stay;
            }
            let is_newer = match &last {
                Some(last) => last.has_key_of(&entry),
                None => behind.is_of(entry.name()),
            };
            sometimes!("store/newer-found-in-a-block", is_newer);
            planted!(OldestShownBackward => if is_newer { return Pass::On });
            if !is_newer {
                let waited = match &last {
                    Some(last) => sight.seen(last),
                    None => Some(behind.seen()),
                };
                let is_at_limit = waited
                    .zip(limit)
                    .is_some_and(|(waited, limit)| waited.cmp_rank(limit) != Ordering::Greater);
                if is_at_limit {
                    (next, ran) = (Some(entry), Ran::ToTheLimit);
                    return Pass::Last;
                }
                if waited.is_some_and(|waited| !visit(&waited)) {
                    ran = Ran::Ended;
                    return Pass::Last;
                }
            }
            last = Some(entry);
            Pass::On
        });
        let hold = |held: &mut Held, entry: &Entry<'_>| {
            let value = sight.seen(entry).and_then(|seen| seen.value);
            held.set(entry.name(), entry.stamp(), value);
        };
        if let Some(last) = &last {
            hold(behind, last);
        }
        if let Some(next) = &next {
            std::mem::swap(head, behind);
            hold(behind, next);
            *has_head = true;
        }
        ran
    }

    fn go_on(&mut self, is_first: bool) -> Result<()> {
        if self.backward { self.retreat() } else { self.advance(is_first) }
    }

    /// Forwards: the newest version of a key comes first; what is left of the one that was passed
    /// is passed over.
    fn advance(&mut self, is_first: bool) -> Result<()> {
        self.has_head = false;
        while self.cursor.advance()? {
            let Some((entry, table)) = self.cursor.before()? else { return Ok(()) };
            if !sees(self.version, &entry) || !is_first && self.head.is_of(entry.name()) {
                continue;
            }
            if !is_inside(&self.end, false, &entry) {
                return Ok(());
            }
            match self.hiding.judge(&entry, table, false) {
                Judged::Shown => {
                    let value = match self.sight.seen(&entry) {
                        Some(seen) => seen.value,
                        None => table.kind_and_value(&entry, &mut self.room)?,
                    };
                    self.head.set(entry.name(), entry.stamp(), value);
                    self.has_head = true;
                    return Ok(());
                }
                Judged::Hidden => {}
                Judged::Skipped(to, newest) => {
                    sometimes!("store/removed-skipped-in-a-walk");
                    if !self.cursor.skip_to(&to, |table| hides(table, newest))? {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    /// Backwards: the newest version of a key comes last.
    fn retreat(&mut self) -> Result<()> {
        std::mem::swap(&mut self.head, &mut self.behind);
        self.has_head = std::mem::take(&mut self.has_behind);
        while self.cursor.retreat()? {
            let Some((entry, table)) = self.cursor.behind()? else { return Ok(()) };
            if !sees(self.version, &entry) {
                continue;
            }
            if !is_inside(&self.end, true, &entry) {
                return Ok(());
            }
            match self.hiding.judge(&entry, table, true) {
                Judged::Shown => {
                    let value = match self.sight.seen(&entry) {
                        Some(seen) => seen.value,
                        None => table.kind_and_value(&entry, &mut self.room)?,
                    };
                    let is_next = self.has_head && !self.head.is_of(entry.name());
                    let held = if is_next { &mut self.behind } else { &mut self.head };
                    held.set(entry.name(), entry.stamp(), value);
                    if is_next {
                        self.has_behind = true;
                        return Ok(());
                    }
                    self.has_head = true;
                }
                Judged::Hidden => {}
                Judged::Skipped(from, newest) => {
                    sometimes!("store/removed-skipped-backward");
                    if !self.cursor.skip_back(&from, |table| hides(table, newest))? {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }
}

/// How far a walk came in a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ran {
    /// The visitor ended it.
    Ended,
    /// The next key, which is the head now, is not before the limit.
    ToTheLimit,
    /// As far as it can be told in the block; what stands behind is read entry by entry.
    ToTheBorder,
}

/// Whether a key comes before another in the direction of a walk.
pub(super) fn precedes(backward: bool, a: Rank<'_>, b: Rank<'_>) -> bool {
    if backward { a > b } else { a < b }
}

/// How much of an entry a walk asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sight {
    Whole,
    /// What lies in an extent is not read, and shown as empty.
    Keys,
}

impl Sight {
    /// An entry as it is shown, if its value stands beside it, or nobody asks for it, and is of a
    /// kind that is known.
    fn seen<'a>(self, entry: &Entry<'a>) -> Option<Seen<'a>> {
        let value = match entry.content {
            Content::Tombstone => None,
            Content::Value { kind, bytes } => Some((ValueKind::from_byte(kind)?, bytes)),
            Content::Extent { kind, .. } if self == Sight::Keys => {
                Some((ValueKind::from_byte(kind)?, &[][..]))
            }
            Content::Extent { .. } => return None,
        };
        let (prefix, user) = entry.user;
        Some(Seen { tag: entry.tag, prefix, user, stamp: entry.stamp(), value })
    }
}

/// Whether a reader at a version sees an entry.
fn sees(version: u64, entry: &Entry<'_>) -> bool {
    entry.version <= version || planted!(TableIgnoresPin)
}

/// Whether an entry lies before where a walk ends.
fn is_inside(end: &Bound<PhysicalKey>, backward: bool, entry: &Entry<'_>) -> bool {
    let (end, is_included) = match end {
        Bound::Unbounded => return true,
        Bound::Included(end) => (end, true),
        Bound::Excluded(end) => (end, false),
    };
    match entry.cmp_key(end) {
        Ordering::Less => !backward,
        Ordering::Equal => is_included,
        Ordering::Greater => backward,
    }
}
