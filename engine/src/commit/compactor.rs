//! Compaction between two steps.

use crate::compaction::merge::Merge;
use crate::sync::Arc;
use crate::table::reader::Table;

/// Where compaction is.
#[derive(Debug, Default)]
pub(crate) struct Compactor {
    pub(super) merge: Option<Box<Merge>>,
    /// Tables that no level has any more, and somebody may read.
    pub(super) retired: Vec<Arc<Table>>,
}
