//! A memtable between its last commit and its tables.
//!
//! Invariant: it holds just what stands in the segments before `trim.keep_from`, and is not in a
//! table.

use super::journal::Trim;
use crate::flush::{Content, Flushing};
use crate::names::OwnName;

/// A memtable that is being flushed.
#[derive(Debug)]
pub(crate) struct InFlight {
    pub(super) content: Content,
    pub(super) trim: Trim,
    /// What is written of it, in files that nothing names yet.
    pub(super) flushing: Option<Flushing>,
}

impl InFlight {
    /// Nothing of it is written: it is begun anew. Returns the files that are of no use.
    pub(super) fn start_over(&mut self) -> Vec<OwnName> {
        planted!(FlushGoesOnAfterAFailure => return Vec::new());
        self.flushing.take().map_or(Vec::new(), |mut flushing| flushing.take_left())
    }
}
