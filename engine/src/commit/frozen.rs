//! A memtable between its last commit and its tables.
//!
//! Invariant: it holds just what stands in the segments before `trim.keep_from`, and is not in a
//! table.

use super::journal::Trim;
use crate::runs::SavedRun;
use crate::store::memtable::Memtable;
use crate::sync::Arc;

/// A memtable that is being flushed.
#[derive(Debug)]
pub(crate) struct Frozen {
    pub(super) memtable: Arc<Memtable>,
    pub(super) runs: Vec<SavedRun>,
    pub(super) trim: Trim,
}
