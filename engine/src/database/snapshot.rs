//! Snapshots: one version and one time, for reading.

use std::ops::{Bound, RangeBounds};

use super::scan::{Scan, bounds, prefix_bounds, user_key};
#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;
use crate::home::Home;
use crate::place::Place;
use crate::runs::RunTracker;
use crate::store::Pin;
use crate::store::RangeIter;
use crate::store::pins::ReadPoint;
use crate::sync::Arc;
use crate::types::{PhysicalKey, RunId, Timestamp, Value, VersionedValue};

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
        self.runs.require(run, self.point().version)
    }
}

impl Home for Place {
    fn is_inherited(&self) -> bool {
        self.check_process().is_err()
    }
}
