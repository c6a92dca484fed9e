//! Snapshots: one version and one time, for reading.

use std::ops::{Bound, RangeBounds};

use super::EntryRef;
use super::run_list::{self, RunIter};
use super::scan::{Scan, bounds, prefix_bounds, user_key};
#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;
use crate::home::Home;
use crate::place::Place;
use crate::runs::{self, RunFilter, RunTracker, saved};
use crate::store::Pin;
use crate::store::RangeIter;
use crate::store::pins::ReadPoint;
use crate::sync::Arc;
use crate::types::{PhysicalKey, RunId, RunMetadataEntry, Timestamp, Value, VersionedValue};

/// What was published at one moment. It owns what it needs, has no lifetime, and stays
/// readable when the database is closed; clones are the same moment.
///
/// ```
/// use runstone::{Database, RunId, Value};
/// let db = Database::in_memory()?;
/// let run = RunId::new();
/// db.begin_run(run, runstone::NO_TAGS)?;
/// db.put(run, "k", 1)?;
/// let before = db.snapshot()?;
/// db.put(run, "k", 2)?;
/// assert_eq!(before.get(run, "k")?, Some(Value::Int(1)));
/// assert_eq!(db.get(run, "k")?, Some(Value::Int(2)));
/// # Ok::<(), runstone::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Snapshot {
    pin: Arc<Pin>,
    runs: RunTracker,
    place: Arc<Place>,
}

impl Snapshot {
    pub(super) fn new(pin: Pin, runs: RunTracker, place: Arc<Place>) -> Self {
        Snapshot { pin: Arc::new(pin), runs, place }
    }

    fn point(&self) -> ReadPoint {
        self.pin.point()
    }

    /// The version of the newest commit that it sees; 0 if there was none.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.point().version
    }

    /// Its time: what had expired by then is not seen, what expires later is.
    #[must_use]
    pub fn time(&self) -> Timestamp {
        Timestamp::from_millis(self.point().now_ms)
    }

    /// As [`Database::get`](crate::Database::get), at this moment.
    ///
    /// Errors: [`Error::RunNotFound`] if the run had not begun, [`Error::InvalidArgument`];
    /// [`Error::Io`] and [`Error::Corruption`] for a table that cannot be read.
    pub fn get(&self, run: RunId, key: impl AsRef<[u8]>) -> Result<Option<Value>> {
        let key = self.readable(run, key.as_ref())?;
        self.pin.store().read_value(&key, Some(self.point()))
    }

    /// As [`Database::get_with`](crate::Database::get_with), at this moment.
    ///
    /// Errors: those of [`Snapshot::get`].
    pub fn get_with<T>(
        &self,
        run: RunId,
        key: impl AsRef<[u8]>,
        read: impl FnOnce(EntryRef<'_>) -> T,
    ) -> Result<Option<T>> {
        let user = key.as_ref();
        let held = self.pin.store().hold(&self.readable(run, user)?, Some(self.point()))?;
        Ok(EntryRef::show(held, user, read))
    }

    /// As [`Database::get_versioned`](crate::Database::get_versioned), at this moment.
    ///
    /// Errors: those of [`Snapshot::get`].
    pub fn get_versioned(
        &self,
        run: RunId,
        key: impl AsRef<[u8]>,
    ) -> Result<Option<VersionedValue>> {
        let key = self.readable(run, key.as_ref())?;
        self.pin.store().read(&key, Some(self.point()))
    }

    /// As [`Database::exists`](crate::Database::exists), at this moment.
    ///
    /// Errors: those of [`Snapshot::get`].
    pub fn exists(&self, run: RunId, key: impl AsRef<[u8]>) -> Result<bool> {
        let key = self.readable(run, key.as_ref())?;
        self.pin.store().contains(&key, Some(self.point()))
    }

    /// As [`Database::list`](crate::Database::list), at this moment.
    ///
    /// Errors: those of [`Snapshot::scan_prefix`].
    pub fn list(&self, run: RunId, prefix: impl AsRef<[u8]>) -> Result<Vec<(Vec<u8>, Value)>> {
        let scan = self.scan_prefix(run, prefix)?;
        scan.map(|item| item.map(|(key, value)| (key, value.value))).collect()
    }

    /// As [`Database::scan`](crate::Database::scan), at this moment. The iterator outlives the
    /// snapshot.
    ///
    /// Errors: [`Error::RunNotFound`], [`Error::LimitExceeded`] for too many iterators.
    pub fn scan<K: AsRef<[u8]>, R: RangeBounds<K>>(&self, run: RunId, range: R) -> Result<Scan> {
        let (from, to) = bounds(run, &range);
        self.range(run, from, to)
    }

    /// As [`Database::scan_prefix`](crate::Database::scan_prefix), at this moment.
    ///
    /// Errors: those of [`Snapshot::scan`].
    pub fn scan_prefix(&self, run: RunId, prefix: impl AsRef<[u8]>) -> Result<Scan> {
        let (from, to) = prefix_bounds(run, prefix.as_ref());
        self.range(run, from, to)
    }

    /// As [`Database::count`](crate::Database::count), at this moment: kept if the run has ended
    /// before it, counted else.
    ///
    /// Errors: those of [`Snapshot::get`].
    pub fn count(&self, run: RunId) -> Result<u64> {
        self.require(run)?;
        let (store, point) = (self.pin.store(), self.point());
        let saved = saved::read(store, run, Some(point))?;
        if let Some(keys) =
            saved.filter(|saved| saved.entry.status.is_end()).and_then(|s| s.tally.keys)
        {
            sometimes!("database/count-of-an-ended-run-kept");
            return Ok(keys);
        }
        let (from, to) = bounds::<&[u8], _>(run, &..);
        store.count(from, &to, point)
    }

    /// The record of a run, as it was at this moment; `None` if it had not begun.
    ///
    /// Of a run that was active then, [`RunMetadataEntry::last_version`] is that of its last change
    /// if it has had none since; else it is this snapshot's version, which no change of it is
    /// behind.
    ///
    /// Errors: [`Error::Io`] and [`Error::Corruption`] for a table that cannot be read.
    pub fn get_run(&self, run: RunId) -> Result<Option<RunMetadataEntry>> {
        self.place.check_process()?;
        run_list::record_at(&self.runs, self.pin.store(), run, self.point())
    }

    /// The runs of this moment that pass a filter, lazily, from both ends, in the order of their
    /// begins: by time, then by id. The iterator outlives the snapshot.
    ///
    /// It reads one index, and the records of what that shows: see [`RunFilter`]. Of the entries
    /// holds what [`Snapshot::get_run`] says.
    ///
    /// ```
    /// use runstone::{Database, RunFilter, RunId, RunStatus};
    /// let db = Database::in_memory()?;
    /// let run = RunId::new();
    /// db.begin_run(run, runstone::NO_TAGS)?;
    /// let before = db.snapshot()?;
    /// db.end_run(run)?;
    /// let running = RunFilter { status: Some(RunStatus::Running), ..RunFilter::default() };
    /// assert_eq!(before.runs(running.clone())?.count(), 1);
    /// assert_eq!(db.runs(running)?.count(), 0);
    /// # Ok::<(), runstone::Error>(())
    /// ```
    ///
    /// Errors: [`Error::LimitExceeded`] for too many iterators.
    pub fn runs(&self, filter: RunFilter) -> Result<RunIter> {
        self.place.check_process()?;
        let pin = self.pin.store().pin_at(self.point())?;
        Ok(RunIter::new(pin, filter, self.runs.clone(), Arc::clone(&self.place)))
    }

    /// The same, with this snapshot's own pin.
    pub(super) fn into_runs(self, filter: RunFilter) -> Result<RunIter> {
        let pin = match Arc::try_unwrap(self.pin) {
            Ok(pin) => pin,
            Err(shared) => shared.store().pin_at(shared.point())?,
        };
        Ok(RunIter::new(pin, filter, self.runs, self.place))
    }

    /// As [`Snapshot::scan`], with this snapshot's own pin.
    pub(super) fn into_scan<K: AsRef<[u8]>, R: RangeBounds<K>>(
        self,
        run: RunId,
        range: R,
    ) -> Result<Scan> {
        let (from, to) = bounds(run, &range);
        self.into_range(run, from, to)
    }

    /// As [`Snapshot::scan_prefix`], with this snapshot's own pin.
    pub(super) fn into_scan_prefix(self, run: RunId, prefix: &[u8]) -> Result<Scan> {
        let (from, to) = prefix_bounds(run, prefix);
        self.into_range(run, from, to)
    }

    fn into_range(
        self,
        run: RunId,
        from: Bound<PhysicalKey>,
        to: Bound<PhysicalKey>,
    ) -> Result<Scan> {
        self.require(run)?;
        let pin = match Arc::try_unwrap(self.pin) {
            Ok(pin) => pin,
            Err(shared) => shared.store().pin_at(shared.point())?,
        };
        Ok(Scan::new(RangeIter::new(pin, from, to), self.place))
    }

    fn range(&self, run: RunId, from: Bound<PhysicalKey>, to: Bound<PhysicalKey>) -> Result<Scan> {
        self.require(run)?;
        let pin = self.pin.store().pin_at(self.point())?;
        Ok(Scan::new(RangeIter::new(pin, from, to), Arc::clone(&self.place)))
    }

    fn readable(&self, run: RunId, key: &[u8]) -> Result<PhysicalKey> {
        self.require(run)?;
        user_key(run, key)
    }

    fn require(&self, run: RunId) -> Result<()> {
        self.place.check_process()?;
        runs::require(&self.runs, self.pin.store(), run, Some(self.point()))
    }
}

impl Home for Place {
    fn is_inherited(&self) -> bool {
        self.check_process().is_err()
    }
}
