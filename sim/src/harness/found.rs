//! What is known of a store from outside: of its files before an opening, and of what it holds.
//!
//! Invariant: none of it comes from the engine.

use std::collections::BTreeSet;

/// How many keys a store must hold, and may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    /// Those that are visible, with the bytes of keys and values.
    pub(crate) visible: usize,
    pub(crate) key_bytes: u64,
    pub(crate) value_bytes: u64,
    /// Those that were not deleted, and may have expired.
    pub(crate) newest: usize,
    /// Those that have ever been set.
    pub(crate) ever: usize,
    /// Those of which there was more than one version.
    pub(crate) revised: usize,
}

/// What an opening must say of what it found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) commits: u64,
    pub(super) bytes: u64,
    pub(super) segments: u64,
    pub(super) torn_bytes: u64,
    /// `None` where no store is there yet, whose files bear its id.
    pub(super) foreign_files: Option<u64>,
    pub(super) clock_jump_ms: Option<u64>,
    pub(super) own: BTreeSet<String>,
    pub(super) removals_failed: usize,
}
