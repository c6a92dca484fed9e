//! What is in memory: counted by the store, counted again here, and within its shares.

use super::runner::Runner;
use super::verdict::Checked;

/// What a step may hold of its tables where an eighth of the memory is less: some blocks, a value,
/// what comes together of a table.
const PINNED_LEAST: u64 = 1 << 20;

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

    /// Nothing is merged, flushed or read: nothing is held of a table but what is kept.
    pub(super) fn nothing_is_pinned(&self) -> Checked {
        let Some(db) = self.db.as_ref().filter(|_| self.pins() == 0) else { return Ok(()) };
        match db.memory().pinned {
            0 => Ok(()),
            pinned => self.fail("memory", format!("{pinned} bytes are pinned, and nobody reads")),
        }
    }
}
