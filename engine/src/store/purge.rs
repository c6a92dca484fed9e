//! What a removal has left to be freed in the memtable.

use crate::types::PhysicalKey;

/// Keys from one to another, which is not among them, that were removed at a version.
#[derive(Debug)]
pub(super) struct Purge {
    pub(super) from: PhysicalKey,
    pub(super) to: PhysicalKey,
    pub(super) version: u64,
}
