//! A scan that stays open while the store goes on.
//!
//! Invariant: it shows what was there when it was opened.

use std::collections::VecDeque;

use runstone::Scan;

use super::model::Revision;
use super::oracle;

/// A scan that stays open, and what it has left to show.
pub(super) struct OpenScan {
    pub(super) scan: Scan,
    pub(super) what: String,
    /// The number of openings when it began.
    pub(super) session: u64,
    pub(super) left: VecDeque<(Vec<u8>, Revision)>,
    /// The greatest expiry of what it passes over as expired.
    pub(super) expired_ms: u64,
}

impl OpenScan {
    /// One step; whether there may be another.
    pub(super) fn step(&mut self, forward: bool) -> Result<bool, String> {
        let (found, expected) = match forward {
            true => (self.scan.next(), self.left.pop_front()),
            false => (self.scan.next_back(), self.left.pop_back()),
        };
        let found = found.transpose().map_err(|e| format!("{}: {e}", self.what))?;
        let expected: Vec<_> =
            expected.iter().map(|(key, found)| (key.as_slice(), found)).collect();
        let found: Vec<_> = found.into_iter().collect();
        oracle::compare_lists(&self.what, &expected, &found)?;
        Ok(!found.is_empty())
    }
}
