//! What changes from one manifest to the next.
//!
//! ```text
//! offset  bytes  field
//!      0      8  next file number
//!      8      8  version of the last commit that is in the tables; 0 if none is
//!     16      8  engine time, in milliseconds, that the log had reached by then
//!     24      8  attested length of the segment that was the last
//!     32      4  its link
//!     36      4  1 if it is still open, else 0
//!     40      4  number of segments that are named no longer, the first ones
//!     44      4  number of segments that are new, behind the others
//!     48      4  1 if levels follow, 0 if they stay as they are
//!     52         then the number of each segment that is named no longer (8 bytes)
//!                then each new segment, as in a snapshot (40 bytes)
//!                then, if the levels change:
//!                  4  number of tables that are named no longer
//!                  4  number of levels
//!                  8  the number of each of those tables
//!                 then for each level, the highest first:
//!                  4  tier
//!                  4  1 if it is being merged into the level below, else 0
//!                  4  number of its parts
//!                  4  zeros
//!                 then for each part, in the order of keys, of 16 bytes:
//!                  4  kind: 1 tables that stay, 2 one whose bound is raised, 3 a new one
//!                  4  which level of before; 0 for a new one
//!                  4  which table in it is the first; 0 for a new one
//!                  4  how many tables that stay; 1 in the other kinds
//!                 then behind a raised one the length of its bound, and the bound; behind a
//!                 new one the table: as in a snapshot
//! ```
//! Integers are little-endian.
//!
//! Invariants: pure functions. [`Edit::apply`] refuses whatever does not fit the manifest before
//! it: what an edit changes is there, what it adds is new, what it no longer names is told by
//! number; a number, a version, an attested length and a bound never fall. No edit says that a
//! store was closed, and none follows a manifest that does. (That tables of a level do not overlap
//! is told with the tables, by `Levels::check`.) The same is asserted before an edit is written and
//! when it is read.

use std::collections::BTreeMap;

use super::levels::{self, to_u32};
use super::{Flushed, LevelEntry, Manifest, SegmentEntry, TableEntry, flag, zeros};
use crate::codec::{Malformed, Reader};
use crate::log::record::End;
use crate::types::PhysicalKey;

const PART_BYTES: usize = 16;
const LEVEL_BYTES: usize = 16;
const KEPT: u32 = 1;
const RAISED: u32 = 2;
const ADDED: u32 = 3;

/// What changes from one manifest to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Edit {
    next_file: u64,
    flushed: Flushed,
    /// Of the segment that was the last: how far it is attested, and whether it is still open.
    last: (End, bool),
    segments_gone: Vec<u64>,
    segments_new: Vec<SegmentEntry>,
    levels: Option<LevelsEdit>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct LevelsEdit {
    gone: Vec<u64>,
    levels: Vec<LevelEdit>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct LevelEdit {
    tier: u32,
    joins: bool,
    parts: Vec<Part>,
}

/// Where a table stood: the level, and which of its tables.
type Spot = (u32, u32);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// So many tables that stay as they are.
    Kept(Spot, u32),
    /// A table of which less counts.
    Raised(Spot, Option<PhysicalKey>),
    Added(TableEntry),
}

fn bad<T>(expected: &'static str, found: impl ToString) -> Result<T, Malformed> {
    Err(Malformed::new(expected, found))
}

impl Edit {
    /// What makes `new` of `old`, if any edit does: [`Edit::apply`] tells.
    pub(crate) fn between(old: &Manifest, new: &Manifest) -> Self {
        let stays =
            |segment: &&SegmentEntry| new.segments.iter().any(|s| s.number == segment.number);
        let gone = old.segments.iter().filter(|segment| !stays(segment)).map(|s| s.number);
        let was = |segment: &&SegmentEntry| {
            old.segments.iter().any(|known| known.number == segment.number)
        };
        let last_number = old.segments.last().map(|last| last.number);
        let last = new.segments.iter().find(|segment| Some(segment.number) == last_number);
        Edit {
            next_file: new.next_file,
            flushed: new.flushed,
            last: last.map_or((End::default(), false), |last| (last.attested, last.open)),
            segments_gone: gone.collect(),
            segments_new: new.segments.iter().filter(|s| !was(s)).copied().collect(),
            levels: (old.levels != new.levels)
                .then(|| LevelsEdit::between(&old.levels, &new.levels)),
        }
    }

    /// The manifest behind the edit.
    ///
    /// Error: the first relation between the two that does not hold.
    pub(crate) fn apply(&self, old: &Manifest) -> Result<Manifest, Malformed> {
        if old.clean {
            return bad("no edit behind a clean close", "one");
        }
        let falls = self.next_file < old.next_file
            || self.flushed.version < old.flushed.version
            || self.flushed.time_ms < old.flushed.time_ms;
        if falls {
            return bad("numbers, versions and times that only rise", "a lower one");
        }
        let mut segments = old.segments.clone();
        match segments.last_mut() {
            Some(last) => {
                let (end, open) = self.last;
                let is_same = end == last.attested;
                if (end.at <= last.attested.at && !is_same) || (open && !last.open) {
                    return bad("a log file of which more is attested than before", "less");
                }
                (last.attested, last.open) = self.last;
            }
            None => return bad("a log file to go on behind", "none"),
        }
        let gone = segments.iter().map(|segment| segment.number).take(self.segments_gone.len());
        if !gone.eq(self.segments_gone.iter().copied()) {
            return bad("the first log files to be named no longer", "others");
        }
        segments.drain(..self.segments_gone.len());
        segments.extend_from_slice(&self.segments_new);
        let levels = match &self.levels {
            Some(edit) => edit.apply(&old.levels)?,
            None => old.levels.clone(),
        };
        let Edit { next_file, flushed, .. } = *self;
        let Manifest { store_id, epoch, clean, .. } = *old;
        let new = Manifest { store_id, epoch, next_file, clean, segments, flushed, levels };
        new.check()?;
        Ok(new)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(&self.next_file.to_le_bytes());
        out.extend_from_slice(&self.flushed.version.to_le_bytes());
        out.extend_from_slice(&self.flushed.time_ms.to_le_bytes());
        let (end, open) = self.last;
        out.extend_from_slice(&end.at.to_le_bytes());
        let counts = [to_u32(self.segments_gone.len()), to_u32(self.segments_new.len())];
        let [gone, new] = counts;
        let levels = u32::from(self.levels.is_some());
        for field in [end.link, open.into(), gone, new, levels] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        for number in &self.segments_gone {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for segment in &self.segments_new {
            segment.encode(&mut out);
        }
        if let Some(levels) = &self.levels {
            levels.encode(&mut out);
        }
        out
    }

    /// Error: what no edit has.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let next_file = reader.u64("a file number")?;
        let version = reader.u64("a flushed version")?;
        let time_ms = reader.u64("a flushed time")?;
        let at = reader.u64("an attested length")?;
        let link = reader.u32("a link")?;
        let open = flag(reader.u32("an open flag")?)?;
        let gone = reader.u32("a number of segments")? as usize;
        let new = reader.u32("a number of segments")? as usize;
        let has_levels = flag(reader.u32("whether levels follow")?)?;
        let edit = Edit {
            next_file,
            flushed: Flushed { version, time_ms },
            last: (End { at, link }, open),
            segments_gone: numbers(&mut reader, gone)?,
            segments_new: SegmentEntry::decode_all(&mut reader, new)?,
            levels: has_levels.then(|| LevelsEdit::decode(&mut reader)).transpose()?,
        };
        reader.finish("the end of the edit")?;
        Ok(edit)
    }
}

impl LevelsEdit {
    fn between(old: &[LevelEntry], new: &[LevelEntry]) -> Self {
        let mut known = BTreeMap::new();
        for (level, entry) in old.iter().enumerate() {
            for (nth, table) in entry.tables.iter().enumerate() {
                known.insert(table.number, ((to_u32(level), to_u32(nth)), table));
            }
        }
        let mut levels = Vec::with_capacity(new.len());
        for LevelEntry { tier, joins, tables } in new {
            let mut parts: Vec<Part> = Vec::new();
            for table in tables {
                let part = match known.remove(&table.number) {
                    None => Part::Added(table.clone()),
                    Some((spot, was)) if was == table => Part::Kept(spot, 1),
                    Some((spot, was)) => {
                        let is_same = TableEntry { from: table.from.clone(), ..was.clone() };
                        match is_same == *table {
                            true => Part::Raised(spot, table.from.clone()),
                            false => Part::Added(table.clone()),
                        }
                    }
                };
                match (parts.last_mut(), &part) {
                    (Some(Part::Kept((level, first), count)), Part::Kept(next, _))
                        if (*level, *first + *count) == *next =>
                    {
                        *count += 1;
                    }
                    _ => parts.push(part),
                }
            }
            levels.push(LevelEdit { tier: *tier, joins: *joins, parts });
        }
        LevelsEdit { gone: known.into_keys().collect(), levels }
    }

    fn apply(&self, old: &[LevelEntry]) -> Result<Vec<LevelEntry>, Malformed> {
        // Each table of before is taken once.
        let mut rest: Vec<Vec<Option<&TableEntry>>> =
            old.iter().map(|level| level.tables.iter().map(Some).collect()).collect();
        let mut take = |level: u32, nth: u32| {
            let spot = rest.get_mut(level as usize).and_then(|tables| tables.get_mut(nth as usize));
            spot.and_then(Option::take)
                .ok_or_else(|| Malformed::new("tables that are there, each once", "another"))
        };
        let mut levels = Vec::new();
        for LevelEdit { tier, joins, parts } in &self.levels {
            let mut tables = Vec::new();
            for part in parts {
                match part {
                    Part::Kept((level, first), count) => {
                        for nth in *first..first.saturating_add(*count) {
                            tables.push(take(*level, nth)?.clone());
                        }
                    }
                    Part::Raised((level, nth), from) => {
                        let was = take(*level, *nth)?;
                        if *from <= was.from {
                            return bad("bounds that only rise", "a lower one");
                        }
                        tables.push(TableEntry { from: from.clone(), ..was.clone() });
                    }
                    Part::Added(table) => tables.push(table.clone()),
                }
            }
            levels.push(LevelEntry { tier: *tier, joins: *joins, tables });
        }
        let mut gone: Vec<_> = rest.iter().flatten().flatten().map(|table| table.number).collect();
        gone.sort_unstable();
        // One that is named no longer could otherwise be added again.
        let comes_back = |table: &TableEntry| gone.binary_search(&table.number).is_ok();
        if gone != self.gone || levels.iter().flat_map(|level| &level.tables).any(comes_back) {
            return bad("every table to stay or to be named no longer, by its number", "another");
        }
        Ok(levels)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        for count in [self.gone.len(), self.levels.len()] {
            out.extend_from_slice(&to_u32(count).to_le_bytes());
        }
        for number in &self.gone {
            out.extend_from_slice(&number.to_le_bytes());
        }
        let put = |out: &mut Vec<u8>, fields: [u32; 4]| {
            fields.iter().for_each(|field| out.extend_from_slice(&field.to_le_bytes()));
        };
        for LevelEdit { tier, joins, parts } in &self.levels {
            put(out, [*tier, (*joins).into(), to_u32(parts.len()), 0]);
            for part in parts {
                match part {
                    Part::Kept((level, first), count) => put(out, [KEPT, *level, *first, *count]),
                    Part::Raised((level, nth), from) => {
                        put(out, [RAISED, *level, *nth, 1]);
                        levels::encode_bound(from.as_ref(), out);
                    }
                    Part::Added(table) => {
                        put(out, [ADDED, 0, 0, 1]);
                        levels::encode_table(table, out);
                    }
                }
            }
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let gone = reader.u32("a number of tables")? as usize;
        let count = reader.u32("a number of levels")? as usize;
        let gone = numbers(reader, gone)?;
        if count > reader.left() / LEVEL_BYTES {
            return bad("as many levels as there is room for", count);
        }
        let mut levels = Vec::with_capacity(count);
        for _ in 0..count {
            let tier = reader.u32("a tier")?;
            let joins = flag(reader.u32("whether a level joins another")?)?;
            let parts = reader.u32("a number of parts")? as usize;
            zeros(reader.u32("zeros")?)?;
            if parts > reader.left() / PART_BYTES {
                return bad("as many parts of a level as there is room for", parts);
            }
            let parts = (0..parts).map(|_| Part::decode(reader)).collect::<Result<_, _>>()?;
            levels.push(LevelEdit { tier, joins, parts });
        }
        Ok(LevelsEdit { gone, levels })
    }
}

impl Part {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let kind = reader.u32("a kind of a part")?;
        let spot = (reader.u32("a level")?, reader.u32("a table")?);
        let count = reader.u32("a number of tables")?;
        match (kind, spot, count) {
            (KEPT, _, 1..) => Ok(Part::Kept(spot, count)),
            (RAISED, _, 1) => {
                let from = levels::decode_bound(reader)?;
                planted!(BoundLostInEdit => return Ok(Part::Kept(spot, 1)));
                Ok(Part::Raised(spot, from))
            }
            (ADDED, (0, 0), 1) => levels::decode_table(reader).map(Part::Added),
            _ => bad("a part of a level", format!("kind {kind} of {count} tables")),
        }
    }
}

fn numbers(reader: &mut Reader<'_>, count: usize) -> Result<Vec<u64>, Malformed> {
    if count > reader.left() / 8 {
        return bad("as many numbers of files as there is room for", count);
    }
    (0..count).map(|_| reader.u64("a file number")).collect()
}
