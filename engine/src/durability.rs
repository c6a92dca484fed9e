//! When a commit is acknowledged.
//!
//! Invariant: the level is that of a commit, the intervals and sizes are those of the database.

/// When a commit is acknowledged, for the whole database.
///
/// Whatever the mode, commits are ordered and encoded in one log, and what is recovered after
/// a crash is a prefix of that order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DurabilityMode {
    /// Acknowledged means synced: it survives a power cut.
    #[default]
    Strict,
    /// Acknowledged means handed to the operating system: it survives the process. A power
    /// cut loses at most `2 * batch_size` commits, none acknowledged longer ago than
    /// `interval_ms` plus one sync.
    Batched {
        /// The longest wait for a sync, in milliseconds.
        interval_ms: u64,
        /// The number of unsynced commits that asks for a sync.
        batch_size: u64,
    },
    /// Acknowledged means ordered in memory. Written and synced at the latest after
    /// `interval_ms`.
    Async {
        /// The longest wait for a write and sync, in milliseconds.
        interval_ms: u64,
    },
}

impl DurabilityMode {
    /// The level that commits have unless they ask for another.
    #[must_use]
    pub const fn level(self) -> Level {
        match self {
            DurabilityMode::Strict => Level::Strict,
            DurabilityMode::Batched { .. } => Level::Batched,
            DurabilityMode::Async { .. } => Level::Async,
        }
    }
}

/// The durability of one commit; the intervals and sizes are the database's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As [`DurabilityMode::Async`].
    Async,
    /// As [`DurabilityMode::Batched`].
    Batched,
    /// As [`DurabilityMode::Strict`].
    Strict,
}

/// Options of one write.
///
/// ```
/// use runstone::{Level, WriteOptions};
/// let durable = WriteOptions { durability: Some(Level::Strict) };
/// assert_ne!(durable, WriteOptions::default());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// The durability of this write; `None` takes the database's.
    pub durability: Option<Level>,
}
