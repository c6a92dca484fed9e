//! A memtable between its last commit and its tables.
//!
//! Invariant: it holds just what stands in the segments before `trim.keep_from`, and is not in a
//! table.

use super::journal::Trim;
use crate::flush::Content;

/// A memtable that is being flushed.
#[derive(Debug)]
pub(crate) struct Frozen {
    pub(super) content: Content,
    pub(super) trim: Trim,
}
