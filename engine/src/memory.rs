//! Memory: the one number, how it is shared, and what is in use.
//!
//! Invariants: the shares together are never more than the number; pure arithmetic, which does not
//! wrap, whatever the number is.

/// How [`Options::memory_bytes_max`](crate::Options::memory_bytes_max) is shared, in bytes.
///
/// ```
/// use runstone::Options;
/// let shares = Options { memory_bytes_max: 64 << 20, ..Options::default() }.shares();
/// assert_eq!((shares.memtables, shares.flush), (24 << 20, 8 << 20));
/// assert_eq!((shares.reserve, shares.cache), (8 << 20, 32 << 20));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Shares {
    /// Three eighths: the memtable, the one that is being flushed, and the records of runs.
    pub memtables: u64,
    /// A memtable is flushed from this size on: a third of that, or less if the options say so;
    /// [`u64::MAX`] means never.
    pub flush: u64,
    /// An eighth: what flushes, merges, walks and iterators hold while they are
    /// at it.
    pub reserve: u64,
    /// The rest, at most a half, or less if the options say so: filters, indexes and blocks of
    /// tables.
    pub cache: u64,
}

/// No memtable's budget is larger: its slots are counted in 32 bits.
pub(crate) const MEMTABLE_BYTES_LIMIT: u64 = 1 << 38;

impl Shares {
    /// Of a number; what the options ask for beside it only makes a share smaller.
    pub(crate) fn new(memory_bytes_max: u64, flush_bytes: u64, cache_bytes_max: u64) -> Self {
        let eighth = memory_bytes_max / 8;
        let rest = (memory_bytes_max % 8) * 3 / 8;
        let memtables = (eighth * 3 + rest).min(MEMTABLE_BYTES_LIMIT);
        let flush = match flush_bytes {
            u64::MAX => u64::MAX,
            bytes => bytes.min(memtables / 3).max(1),
        };
        let cache = memory_bytes_max - eighth - eighth * 3 - rest;
        Shares { memtables, flush, reserve: eighth, cache: cache.min(cache_bytes_max) }
    }
}

/// What of a database is in memory, in bytes; see [`Database::memory`](crate::Database::memory).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Memory {
    /// The memtable: keys and values, with their places; and what was removed by ranges.
    pub memtable: u64,
    /// The memtable that is being flushed.
    pub frozen: u64,
    /// Active runs, and records of runs that are not being flushed yet.
    pub runs: u64,
    /// Filters, indexes and blocks of tables.
    pub cache: u64,
    /// What flushes, merges, walks and iterators hold, be it in the cache as well.
    pub pinned: u64,
}

impl Memory {
    /// All of it.
    #[must_use]
    pub fn total(&self) -> u64 {
        let Memory { memtable, frozen, runs, cache, pinned } = *self;
        [memtable, frozen, runs, cache, pinned].into_iter().fold(0, u64::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_of_any_number_are_no_more_than_the_number() {
        let numbers = (0..100).chain([u64::MAX, u64::MAX - 1, 1 << 63, 64 << 20]);
        for number in numbers {
            let all = Shares::new(number, u64::MAX - 1, u64::MAX);
            let sum = u128::from(all.memtables) + u128::from(all.reserve) + u128::from(all.cache);
            assert!(sum <= u128::from(number), "{number}: {all:?}");
            assert!(number < 3 || all.flush <= all.memtables.max(1), "{number}: {all:?}");
            let less = Shares::new(number, 1, 0);
            assert_eq!((less.flush, less.cache, less.memtables), (1, 0, all.memtables));
            assert_eq!(Shares::new(number, u64::MAX, 0).flush, u64::MAX);
        }
    }
}
