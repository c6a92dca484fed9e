//! What is counted of a run: what its changes did, and how many keys it holds.

use super::{Model, Touch};

impl Model {
    /// One without a commit, in which the keys of each so-manieth run are counted.
    pub(crate) fn counting(counts: u8) -> Self {
        Model { counts, ..Model::default() }
    }

    /// Whether the keys of a run are counted from its begin on.
    pub(crate) fn counts_keys(&self, run: u8) -> bool {
        self.counts > 0 && run.is_multiple_of(self.counts)
    }

    /// How many keys a run holds, if that is kept.
    pub(crate) fn kept_keys(&self, run: u8) -> Option<u64> {
        let found = self.runs.get(&run).filter(|_| self.counts_keys(run))?;
        // None of them has a time to live.
        let keys = || self.list(run, b"", self.version(), u64::MAX - 1).len() as u64;
        let dropped_at = found.dropped.map(|(_, at)| at);
        match (found.uncounted, dropped_at) {
            (Some(_), _) => None,
            (None, None) => Some(keys()),
            // What it held stands in its record.
            (None, Some(at)) => Some(self.list(run, b"", at - 1, u64::MAX - 1).len() as u64),
        }
    }

    /// It can no longer be told how many keys a run holds.
    pub(super) fn note_uncounted(&mut self, run: u8, version: u64) {
        if let Some(found) = self.runs.get_mut(&run) {
            found.uncounted.get_or_insert(version);
        }
    }

    /// What a run has done: changes, puts, deletes, bytes, the last version and its time.
    pub(crate) fn statistics(&self, run: u8) -> Option<[u64; 6]> {
        let touched = &self.runs.get(&run)?.touched;
        let last = touched.last()?;
        let mut counted = [touched.len() as u64, 0, 0, 0, last.version, last.time_ms];
        for touched in touched {
            match touched.what {
                Touch::Put(bytes) => {
                    counted[1] += 1;
                    counted[3] += bytes;
                }
                Touch::Delete => counted[2] += 1,
                Touch::Other => {}
            }
        }
        Some(counted)
    }
}
