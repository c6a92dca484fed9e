//! A stretch of keys of some levels becomes tables, step by step.
//!
//! Invariants: it holds one block of each level, one value, and what [`Series`] holds; all versions
//! of a key go into one table; what it reads is in order, or the merge fails and nothing is
//! installed. It ends at a border between two keys.

use std::path::Path;

use runstone_vfs::FILE_BYTES_MAX;

use super::choice::Job;
use super::sieve::{Sieve, Verdict};
use super::unit::is_worth_its_file;
use crate::codec::change::NEVER;
use crate::error::{Error, Result};
use crate::failure::WriteFailure;
use crate::levels::Levels;
use crate::levels::cursor::LevelCursor;
use crate::names::OwnName;
use crate::place::Place;
use crate::removals::Removals;
use crate::runs::keys;
use crate::series::{Numbers, Series, TablePlan};
use crate::store::pins::Pins;
use crate::sync::Arc;
use crate::table::block::{Content, Entry, Stamp};
use crate::table::reader::Table;
use crate::types::PhysicalKey;

/// So many tables are written before an edit.
const TABLES_PER_UNIT: usize = 2;

type Outcome<T> = std::result::Result<T, WriteFailure>;

/// A level that is read, and its next key.
#[derive(Debug)]
struct Source {
    cursor: LevelCursor,
    head: Option<PhysicalKey>,
    /// The table of that key, by its place in the level.
    table: usize,
}

impl Source {
    /// At the first key that is at least this one.
    fn new(mut cursor: LevelCursor, from: &PhysicalKey) -> Result<Self> {
        cursor.seek(from)?;
        let mut source = Source { cursor, head: None, table: 0 };
        source.advance()?;
        Ok(source)
    }

    /// Goes to the next entry.
    fn advance(&mut self) -> Result<()> {
        let is_there = self.cursor.advance()?;
        let next =
            if is_there { self.cursor.before()?.map(|(entry, _)| entry.key()) } else { None };
        let table = self.cursor.table().map_or(self.table, |(nth, _)| nth);
        let is_in_order = next.as_ref().zip(self.head.as_ref()).is_none_or(|(b, a)| a <= b);
        (self.head, self.table) = (next, table);
        if is_in_order { Ok(()) } else { Err(self.disorder("keys that ascend")) }
    }

    fn disorder(&self, expected: &'static str) -> Error {
        let path = self.cursor.table().map_or(Path::new(""), |(_, table)| table.path());
        Error::corruption(path, 0, expected, format_args!("{:?} behind another", self.head))
    }
}

/// A merge that goes on.
#[derive(Debug)]
pub(crate) struct Merge {
    pub(crate) job: Job,
    /// How many levels were below the job's target: those above may become more meanwhile.
    pub(crate) levels_below: usize,
    pub(crate) from: PhysicalKey,
    /// Where the next stretch begins, if there is one.
    upto: Option<PhysicalKey>,
    /// The highest first; the target last.
    sources: Vec<Source>,
    sieve: Sieve,
    /// What is removed, and up to which version for good.
    removals: Arc<Removals>,
    durable: u64,
    series: Series,
    /// Bytes of keys and values that were read in this step.
    read: u64,
    /// It ends where everything does.
    is_one: bool,
    room: Vec<u8>,
}

/// What stays as it is, whatever happens.
#[derive(Clone, Debug, Default)]
pub(crate) struct Floor {
    /// Everything up to this version is in tables.
    pub(crate) version: u64,
    /// What expired at or before this stays gone.
    pub(crate) time_ms: u64,
    /// What is removed; what is behind the version may come back.
    pub(crate) removals: Arc<Removals>,
}

/// What is around a step.
#[derive(Clone, Copy)]
pub(crate) struct Around<'a> {
    pub(crate) place: &'a Place,
    pub(crate) numbers: Numbers<'a>,
    pub(crate) pins: &'a Pins,
}

impl Merge {
    /// Errors: those of a read.
    pub(crate) fn new(
        levels: &Levels,
        job: Job,
        from: PhysicalKey,
        floor: Floor,
        plan: TablePlan,
    ) -> Result<Self> {
        phase!(Merge);
        let stretch = levels.0.get(job.highest..=job.target).unwrap_or_default();
        let bytes = stretch.iter().map(|level| level.bytes()).fold(0, u64::saturating_add);
        let source = |level: &Arc<_>| Source::new(LevelCursor::aside(level), &from);
        let sources = stretch.iter().map(source).collect::<Result<_>>()?;
        Ok(Merge {
            job,
            levels_below: levels.0.len() - 1 - job.target,
            from,
            upto: None,
            sources,
            sieve: Sieve::new(job.is_lowest(levels), floor.time_ms),
            removals: floor.removals,
            durable: floor.version,
            series: Series::new(plan, floor.version).of_bytes(bytes),
            read: 0,
            is_one: false,
            room: Vec::new(),
        })
    }

    /// It goes on to the end, where all fits into one table.
    pub(crate) fn into_one(self, is_one: bool) -> Self {
        let series = if is_one { self.series.in_one() } else { self.series };
        Merge { is_one, series, ..self }
    }

    /// Merges about so many bytes. Returns whether the stretch has ended.
    ///
    /// Errors: those of a read, as [`WriteFailure::Refused`], and those of [`Series::add`].
    pub(crate) fn step(&mut self, bytes: usize, around: Around<'_>) -> Outcome<bool> {
        phase!(Merge);
        self.read = 0;
        while self.read < bytes as u64 {
            let heads = self.sources.iter().filter_map(|source| source.head.as_ref());
            let Some(key) = heads.min().cloned() else { return Ok(true) };
            if self.ends_before(&key) {
                sometimes!("compaction/unit-ended-early");
                let upto = if planted!(MergeSkipsAtABorder) { key.successor() } else { key };
                self.upto = Some(upto);
                return Ok(true);
            }
            self.merge_key(&key, around)?;
        }
        Ok(false)
    }

    /// Whether the stretch ends before this key: enough is written, or what follows in the target
    /// is better left as it is.
    fn ends_before(&self, key: &PhysicalKey) -> bool {
        let is_enough = self.series.len() + 1 >= TABLES_PER_UNIT && self.series.is_full_for(key, 0);
        // Behind the reserved space tables may move again.
        is_enough || self.series.is_cut_before(key) || !self.is_one && self.is_free_behind(key)
    }

    /// Whether this key begins a table of the target that nothing else overlaps.
    fn is_free_behind(&self, key: &PhysicalKey) -> bool {
        let Some((target, joining)) = self.sources.split_last() else { return false };
        let live = target.cursor.level().tables.get(target.table);
        let Some(live) = live.filter(|_| target.head.as_ref() == Some(key)) else { return false };
        let overlaps = |source: &Source| source.head.as_ref().is_some_and(|key| key <= live.last());
        let is_large = is_worth_its_file(live, self.series.table_bytes_max());
        self.from < *key && live.first() == key && is_large && !joining.iter().any(overlaps)
    }

    /// Where no file may be longer than a limit, a key begins where all its versions fit.
    fn begin_key(&mut self, key: &PhysicalKey, place: &Place) -> Outcome<()> {
        if place.file_bytes_max >= FILE_BYTES_MAX {
            return Ok(());
        }
        let mut lens = Vec::new();
        for source in self.sources.iter().filter(|source| source.head.as_ref() == Some(key)) {
            lens.extend(source.cursor.value_lens(key).map_err(WriteFailure::Refused)?);
        }
        if lens.len() > 1 { self.series.begin_key(place, key, lens.into_iter()) } else { Ok(()) }
    }

    /// All versions of a key, the newest first.
    fn merge_key(&mut self, key: &PhysicalKey, around: Around<'_>) -> Outcome<()> {
        self.begin_key(key, around.place)?;
        let Merge { sources, sieve, series, read, room, removals, durable, .. } = self;
        let upto = *durable;
        let cover = removals.cover(key.run()).filter(|_| key.tag_byte() < 128);
        let removed = |version| {
            let behind = cover.and_then(|cover| cover.oldest_behind(key, version));
            behind.filter(|removal| *removal <= upto)
        };
        let mut last = None;
        let bury = |series: &mut Series, stamp: Stamp| {
            let stamp = Stamp { expiry_ms: NEVER, ..stamp };
            series.add(around.place, around.numbers, key, stamp, None)
        };
        for source in sources {
            while source.head.as_ref() == Some(key) {
                let Some((entry, _)) = source.cursor.before().map_err(WriteFailure::Refused)?
                else {
                    break;
                };
                let Entry { version, time_ms, expiry_ms, content, .. } = entry;
                if last.is_some_and(|last| last <= version) {
                    sometimes!("compaction/versions-out-of-order");
                    let expected = "versions of a key that descend";
                    return Err(WriteFailure::Refused(source.disorder(expected)));
                }
                last = Some(version);
                if keys::is_census(key) && (version < upto || planted!(LastCensusDropped)) {
                    sometimes!("compaction/old-census-dropped");
                    source.advance().map_err(WriteFailure::Refused)?;
                    continue;
                }
                let stamp = Stamp { version, time_ms, expiry_ms };
                let is_tombstone = content == Content::Tombstone;
                *read += (key.user_key().len() + size_of::<Stamp>()) as u64;
                let removal = removed(version);
                if sieve.judge(stamp, is_tombstone, removal, around.pins) == Verdict::Keep {
                    sieve.needed().try_for_each(|stamp| bury(series, stamp))?;
                    let table = source.cursor.table().map(|(_, table)| table.value(&entry, room));
                    let value = table.transpose().map_err(WriteFailure::Refused)?.flatten();
                    *read += value.map_or(0, |(_, bytes)| bytes.len()) as u64;
                    series.add(around.place, around.numbers, key, stamp, value)?;
                    removal.into_iter().for_each(|removal| series.note_kept(removal));
                }
                source.advance().map_err(WriteFailure::Refused)?;
            }
        }
        sieve.end_key().try_for_each(|stamp| bury(series, stamp))
    }

    /// Ends the tables. Returns them, and where the next stretch begins, if there is one.
    ///
    /// Errors: those of [`Series::finish`].
    pub(crate) fn finish(
        &mut self,
        place: &Place,
    ) -> Outcome<(Vec<Arc<Table>>, Option<PhysicalKey>)> {
        phase!(Merge);
        Ok((self.series.finish(place)?, self.upto.take()))
    }

    /// The files that were made, if they are of no use.
    pub(crate) fn take_left(&mut self) -> Vec<OwnName> {
        self.series.take_left()
    }
}
