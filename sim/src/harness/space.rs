//! What the store takes on the disk, when nothing is left to be done.
//!
//! The model says what the tables of what counts need at most (`model/space.rs`); what the rules of
//! compaction leave beyond that is looked up in the files: of the lowest level a tenth of the
//! entries, which may be of any size, and a twelfth of the bytes that removals hide; above it a
//! tenth of its bytes, and of its entries. 12/11 times 11/10 is [`LEFT`].
//!
//! Invariant: the files are read by their documented layout, and the engine is not asked.

use super::case::{CaseOptions, ChangeSpec, LevelSpec, Op};
use super::manifest::number;
use super::model::{Refusal, Shape};
use super::runner::Runner;
use super::verdict::Checked;
use crate::rng::Streams;

/// What may be left, to what is needed.
const LEFT: (u64, u64) = (6, 5);
/// What is above the lowest level, and what of its entries is of no use, is less than such a share.
const SHARE: u64 = 10;
/// So often it is tried again when a failing disk has something to report still.
const TRIES: usize = 8;

/// A table, by its file.
#[derive(Clone, Copy, Debug, Default)]
struct Table {
    bytes: u64,
    entries: u64,
    /// Superseded versions, and tombstones.
    useless: u64,
}

impl Table {
    /// Reads the footer, and the properties to which it leads.
    fn read(file: &[u8]) -> Option<Self> {
        let footer = file.len().checked_sub(64)?;
        let at = usize::try_from(number::<8>(file, footer + 24)?).ok()?;
        let field = |nth: usize| number::<8>(file, at + 8 * nth);
        let (entries, keys, tombstones) = (field(0)?, field(1)?, field(2)?);
        let useless = entries.saturating_sub(keys) + tombstones;
        Some(Table { bytes: file.len() as u64, entries, useless })
    }
}

/// Tables, summed up.
fn sum(tables: &[Table]) -> Table {
    tables.iter().fold(Table::default(), |sum, table| Table {
        bytes: sum.bytes + table.bytes,
        entries: sum.entries + table.entries,
        useless: sum.useless + table.useless,
    })
}

impl Runner<'_> {
    /// The tables as any session may have written them.
    fn shape(&self) -> Shape {
        let all = || self.case.later.iter().chain([&self.case.options]);
        let least = |of: fn(&CaseOptions) -> u64| all().map(of).min().unwrap_or(0);
        Shape {
            block_bytes: least(|options| options.block_bytes.0 as u64),
            extent_bytes_min: least(|options| options.block_bytes.1 as u64),
            table_bytes_max: least(|options| options.table_bytes_max)
                .min(self.case.disk.file_bytes_max),
        }
    }

    /// Behind maintenance that has nothing left, without readers: tables and log take no more than
    /// what counts needs, and what the rules leave.
    pub(super) fn space_is_bounded(&self) -> Checked {
        let (version, floor_ms) = self.files().flushed();
        self.tables_are_few(version, Some(floor_ms))?;
        self.log_is_needed()
    }

    /// They hold what counted at a version and a time; or, without a time, the records of runs.
    fn tables_are_few(&self, version: u64, floor_ms: Option<u64>) -> Checked {
        let levels = self.files().tables(Table::read);
        let Some((lowest, above)) = levels.split_last() else { return Ok(()) };
        let above = sum(&above.concat());
        let (all, count) = (sum(lowest), lowest.len() as u64);
        if above.bytes * SHARE > all.bytes || above.entries * SHARE > all.entries {
            let message = format!("{above:?} above {all:?}, and nothing is left to do");
            return self.fail("space", message);
        }
        let is_stale = |table: &&Table| table.useless > 0 && table.useless * SHARE >= table.entries;
        if let Some(table) = lowest.iter().find(is_stale) {
            return self.fail("space", format!("{table:?}, and nothing is left to do"));
        }
        let useless = usize::try_from(all.useless + above.entries).unwrap_or(usize::MAX);
        let needed = self.model.tables_at(version, floor_ms, useless, self.shape());
        let bytes = above.bytes + all.bytes;
        if bytes * LEFT.1 > needed.bytes * LEFT.0 || needed.tables == 1 && count > 1 {
            let (levels, tables) = (levels.len(), levels.concat().len());
            let message = format!("{tables} tables, {levels} levels, {bytes} bytes; {needed:?}");
            return self.fail("space", message);
        }
        Ok(())
    }

    /// No commit stands in the log that is in the tables, and behind the last records no more than
    /// what was written ahead.
    fn log_is_needed(&self) -> Checked {
        let files = self.files();
        let (behind, twice) = files.log();
        if let Some(version) = twice {
            let message = format!("commit {version} is in the tables, and still in the log");
            return self.fail("space", message);
        }
        // A segment that a crash has ended keeps what was ahead, until its memtable is flushed.
        let segments = files.ended().0 as u64 + 1;
        let all = self.case.later.iter().chain([&self.case.options]);
        let ahead = all.map(|options| options.preallocate_bytes).max().unwrap_or(0);
        // What an opening has written again behind it is there still, be it longer than a segment.
        let options = self.options();
        let records =
            self.case.ops.iter().map(|op| self.model.record_bytes_max(op, options.limits));
        let longest = records.max().unwrap_or(0);
        if behind > segments * (ahead + self.segment_bytes_max.max(longest)) {
            let message = format!("{behind} bytes of the log are behind its records");
            return self.fail("space", message);
        }
        Ok(())
    }

    /// In a quarter of the seeds that have tables: all runs end and are dropped, and when nothing
    /// is left to do, the tables hold the records of the runs.
    pub(super) fn all_runs_are_dropped(&mut self) -> Checked {
        let is_chosen = Streams::new(self.case.seed).named("space").chance(1, 4);
        let has_tables = self.case.options.flushes();
        if !is_chosen || !has_tables || !self.is_strict() || self.options().may_be_full() {
            return Ok(());
        }
        for _ in 0..TRIES {
            self.allow_calls();
            self.drop_all()?;
            if !self.poisoned {
                break;
            }
            self.leave_poisoned()?;
            self.disk.heal();
        }
        self.perform(&Op::Flush)?;
        let is_left = self.model.runs().any(|run| !self.is_dropped(run));
        if self.poisoned || is_left || !self.options().flushes() {
            return Ok(());
        }
        self.allow_calls();
        self.drain()?;
        self.space_is_bounded()?;
        // Hidden from everybody, and of too little to be written again.
        self.tables_are_few(self.model.version(), None)
    }

    fn is_dropped(&self, run: u8) -> bool {
        self.model.check(&[ChangeSpec::Drop { run }]) == Err(Refusal::RunDropped)
    }

    fn drop_all(&mut self) -> Checked {
        for run in self.model.active_runs() {
            if !self.poisoned {
                self.write(ChangeSpec::End { run, status: 0 }, LevelSpec::Default)?;
            }
        }
        for run in self.model.runs().collect::<Vec<_>>() {
            if !self.poisoned && !self.is_dropped(run) {
                self.write(ChangeSpec::Drop { run }, LevelSpec::Default)?;
            }
        }
        Ok(())
    }
}
