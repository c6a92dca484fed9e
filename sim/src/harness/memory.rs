//! What is in memory: counted by the store, counted again here, and within its shares; and how many
//! files are open.

use runstone::{Database, Error};

use super::runner::Runner;
use super::verdict::Checked;

/// What a step may hold of its tables where an eighth of the memory is less: some blocks, a value,
/// what comes together of a table.
const PINNED_LEAST: u64 = 1 << 20;
/// What a database may have open beside its tables: see `Options::open_files_max`.
const OTHER_FILES: u64 = 8;
/// What a table begins with.
const TABLE: &[u8] = b"RUNSTTAB";

impl Runner<'_> {
    /// Behind an operation: the cache has what it says, and no more than its share; and without
    /// readers all of it keeps to the one number, but for what an opening has found.
    pub(super) fn memory_is_counted(&self) -> Checked {
        let Some(db) = &self.db else { return Ok(()) };
        let (used, recounted) = db.storage().cache_recounted();
        if used != recounted {
            let message = format!("{used} bytes of tables are charged, {recounted} are kept");
            return self.fail("memory", message);
        }
        let (options, memory) = (self.options().engine(), db.memory());
        let shares = options.shares();
        if memory.cache > shares.cache {
            let message = format!("{memory:?}, and {} for the cache", shares.cache);
            return self.fail("memory", message);
        }
        let found = self.memory_with_reserve().saturating_sub(shares.memtables);
        let beyond = found + PINNED_LEAST.saturating_sub(shares.reserve);
        let limit = options.memory_bytes_max.saturating_add(beyond);
        if self.pins() == 0 && memory.total() > limit {
            return self.fail("memory", format!("{memory:?}, more than {limit} in all"));
        }
        Ok(())
    }

    /// Memory is within its budget after a put, or no more than what a recovery needed, which
    /// knows less of what has expired; after deletes and ends with their reserve beyond that.
    pub(super) fn is_within_its_memory(&mut self) -> Checked {
        let (put, freed) = std::mem::take(&mut self.acknowledged_in_op);
        let limit = match put && !freed {
            true => self.options().memtable_bytes_max.max(self.memory_at_first),
            false => self.memory_with_reserve(),
        };
        if !self.options().may_be_full() {
            return Ok(());
        }
        match self.memory_bytes() {
            used if used <= limit => Ok(()),
            used => self.fail("memory", format!("{used} bytes are in use, not {limit}")),
        }
    }

    /// A commit that was refused for what it names, alone, leaves nothing behind in memory.
    pub(super) fn a_refusal_takes_no_memory(
        &self,
        (is_alone, before): (bool, u64),
        error: &Error,
    ) -> Checked {
        let is_refusal = matches!(
            error,
            Error::RunNotFound { .. }
                | Error::RunExists { .. }
                | Error::RunEnded { .. }
                | Error::RunActive { .. }
                | Error::RunDropped { .. }
        );
        let after = self.memory_bytes();
        if !is_alone || !is_refusal || after <= before {
            return Ok(());
        }
        self.fail("memory", format!("{after} bytes are in use behind a refusal, {before} before"))
    }

    /// What the store says that memtables and the records of runs take, in bytes.
    pub(super) fn memory_bytes(&self) -> u64 {
        let memory = self.db.as_ref().map(Database::memory).unwrap_or_default();
        memory.memtable + memory.frozen + memory.runs
    }

    /// Behind an operation: no more files of tables were open at once than the options say, and
    /// a few others. What reads on behind a close may have more.
    pub(super) fn files_are_few(&mut self) -> Checked {
        let most = self.disk.take_files_most();
        let reads_on = !self.scans.is_empty() || !self.snapshots.is_empty();
        let had_readers = std::mem::replace(&mut self.had_readers, reads_on);
        // The operation may have been an opening with other options.
        let options = self.case.later.iter().chain([&self.case.options]);
        let limit = options.map(|options| options.open_files_max).max().unwrap_or(0) as u64;
        if most > limit + OTHER_FILES && !had_readers && !reads_on {
            let message = format!("{most} files were open at once, and {limit} tables may be");
            return self.fail("files", message);
        }
        Ok(())
    }

    /// Nothing is left to remove, and nobody reads: no file is open that was removed.
    pub(super) fn no_removed_file_is_open(&self) -> Checked {
        let reads_on = !self.scans.is_empty() || !self.snapshots.is_empty();
        match self.disk.open_without_a_name(TABLE) {
            open if open > 0 && !reads_on => {
                self.fail("files", format!("{open} tables are open that were removed"))
            }
            _ => Ok(()),
        }
    }

    /// Nothing is merged, flushed or read: nothing is held of a table but what is kept.
    pub(super) fn nothing_is_pinned(&self) -> Checked {
        let Some(db) = self.db.as_ref().filter(|_| self.pins() == 0) else { return Ok(()) };
        match db.memory().pinned {
            0 => Ok(()),
            pinned => self.fail("memory", format!("{pinned} bytes are pinned, and nobody reads")),
        }
    }
}
