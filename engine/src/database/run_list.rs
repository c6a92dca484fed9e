//! Listing runs: by an index in storage, and the records that it leads to.
//!
//! Invariants: a listing sees one moment for life, as a scan does; it holds one chunk of an index
//! and one record at a time, however many runs there are.

use crate::codec::Malformed;
use crate::error::{Error, Result};
use crate::place::Place;
use crate::runs::{RunFilter, RunTracker, keys, saved};
use crate::store::pins::ReadPoint;
use crate::store::{Pin, RangeIter, UnifiedStore};
use crate::sync::Arc;
use crate::types::{PhysicalKey, RunId, RunMetadataEntry};

/// The record of a run, as it was at a point.
///
/// Errors: those of a read from tables.
pub(super) fn record_at(
    runs: &RunTracker,
    store: &UnifiedStore,
    run: RunId,
    point: ReadPoint,
) -> Result<Option<RunMetadataEntry>> {
    let at = Some(point).filter(|_| !planted!(ListingReadsPresent));
    let Some(found) = saved::read(store, run, at)? else { return Ok(None) };
    let mut entry = found.entry;
    if entry.status.is_active() {
        // What its begin has written knows nothing of what it did since.
        let newest = match runs.active(&run) {
            Some(active) => Some(active),
            None => saved::read(store, run, None)?,
        };
        let last_version = newest.map_or(point.version, |newest| newest.entry.last_version);
        sometimes!(
            "database/run-listed-as-of-before-its-last-change",
            last_version > point.version
        );
        entry.last_version = last_version.min(point.version);
    }
    Ok(Some(entry))
}

/// A lazy listing of runs, from both ends, in the order of their begins; see
/// [`Database::runs`](crate::Database::runs).
///
/// It owns what it needs and sees the moment of its creation; after the first error it stops for
/// good. A run that is passed over by the filter costs a read of its record.
#[derive(Debug)]
pub struct RunIter {
    index: RangeIter,
    filter: RunFilter,
    runs: RunTracker,
    place: Arc<Place>,
    is_over: bool,
}

impl RunIter {
    pub(super) fn new(pin: Pin, filter: RunFilter, runs: RunTracker, place: Arc<Place>) -> Self {
        let (from, to) = filter.bounds();
        RunIter { index: RangeIter::new(pin, from, to), filter, runs, place, is_over: false }
    }

    fn step(&mut self, backward: bool) -> Option<Result<RunMetadataEntry>> {
        if self.is_over {
            return None;
        }
        let item = self.place.check_process().and_then(|()| self.find(backward)).transpose();
        self.is_over = matches!(item, Some(Err(_)));
        item
    }

    /// The next run that passes.
    fn find(&mut self, backward: bool) -> Result<Option<RunMetadataEntry>> {
        loop {
            let run = self.index.run();
            let Some(next) = self.index.step(backward).transpose()? else { return Ok(None) };
            let key = next.key(run);
            let entry = self.entry(&key)?;
            sometimes!("database/run-passed-over-in-a-listing", !self.filter.passes(&entry));
            if self.filter.passes(&entry) || planted!(FilterNotAsked) {
                return Ok(Some(entry));
            }
        }
    }

    /// The record that a key of an index leads to.
    fn entry(&self, key: &PhysicalKey) -> Result<RunMetadataEntry> {
        let pin = self.index.pin();
        let wrong =
            |m: Malformed| Error::corruption(format!("index key {key:?}"), 0, m.expected, m.found);
        let run = keys::run_of(key)
            .ok_or_else(|| wrong(Malformed::new("a key with a run id", "a shorter one")))?;
        let found = record_at(&self.runs, pin.store(), run, pin.point())?;
        found.ok_or_else(|| wrong(Malformed::new("the record of a run", format!("none of {run}"))))
    }
}

impl Iterator for RunIter {
    type Item = Result<RunMetadataEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step(false)
    }
}

impl DoubleEndedIterator for RunIter {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.step(true)
    }
}
