//! Reads and writes of keys.

use std::ops::RangeBounds;
use std::time::Duration;

use super::scan::{Scan, user_key};
use super::{Database, EntryRef, Snapshot};
use crate::batch::{self, WriteBatch};
use crate::codec::change::Change;
use crate::codec::value::Stored;
use crate::commit::pipeline::Pipeline;
use crate::commit::queue::{Changes, Committed, Request, TicketState};
#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;
use crate::options::WriteOptions;
use crate::removals;
use crate::runs::{self, charge};
use crate::store::memtable::{DELETE_BYTES_MAX, put_bytes_max, tombstone_bytes_max};
use crate::sync::Arc;
use crate::types::{PhysicalKey, RunId, TypeTag, Value, VersionedValue};

impl Database {
    /// Sets a key, and clears an older TTL. Returns the commit's version.
    ///
    /// Durable as the database's mode says. One log record, one sync at most.
    ///
    /// Errors: [`Error::RunNotFound`], [`Error::RunEnded`]; [`Error::InvalidArgument`] for an
    /// empty key; [`Error::LimitExceeded`]; [`Error::MemtableFull`] and [`Error::DiskFull`]
    /// (retryable, nothing was committed); [`Error::OutcomeUnknown`] if a write or sync failed,
    /// [`Error::Poisoned`] ever after; [`Error::ReadOnly`]; [`Error::Closed`].
    pub fn put(&self, run: RunId, key: impl AsRef<[u8]>, value: impl Into<Value>) -> Result<u64> {
        self.put_with(run, key, value, None, WriteOptions::default())
    }

    /// As [`Database::put`], with a time to live, rounded up to a millisecond. The key is gone
    /// from the millisecond of its expiry on, for every read, and stays gone whatever the
    /// clock does. `None` means never.
    ///
    /// Errors: those of [`Database::put`]; [`Error::InvalidArgument`] for a TTL of zero.
    pub fn put_with_ttl(
        &self,
        run: RunId,
        key: impl AsRef<[u8]>,
        value: impl Into<Value>,
        ttl: Option<Duration>,
    ) -> Result<u64> {
        self.put_with(run, key, value, ttl, WriteOptions::default())
    }

    /// As [`Database::put_with_ttl`], with a durability of its own.
    ///
    /// Errors: those of [`Database::put_with_ttl`].
    pub fn put_with(
        &self,
        run: RunId,
        key: impl AsRef<[u8]>,
        value: impl Into<Value>,
        ttl: Option<Duration>,
        options: WriteOptions,
    ) -> Result<u64> {
        let key = PhysicalKey::new(run, TypeTag::KV, key.as_ref());
        let expiry_ms = batch::ttl_ms(ttl)?;
        let change = Change::Put { key, value: Stored::from(value.into()), expiry_ms };
        self.commit_one(change, false, options).map(|committed| committed.version)
    }

    /// Deletes a key; returns the value that was visible just before.
    ///
    /// Always logs and takes a version, whether or not there was a value.
    ///
    /// Errors: those of [`Database::put`]; those of [`Database::get`], and then nothing is deleted.
    pub fn delete(&self, run: RunId, key: impl AsRef<[u8]>) -> Result<Option<Value>> {
        let key = PhysicalKey::new(run, TypeTag::KV, key.as_ref());
        self.commit_one(Change::Delete { key }, true, WriteOptions::default())
            .map(|committed| committed.previous.map(|previous| previous.value))
    }

    /// Deletes a key without reading it. Returns the commit's version.
    ///
    /// Errors: those of [`Database::put`].
    pub fn remove(&self, run: RunId, key: impl AsRef<[u8]>) -> Result<u64> {
        let key = PhysicalKey::new(run, TypeTag::KV, key.as_ref());
        self.commit_one(Change::Delete { key }, false, WriteOptions::default())
            .map(|committed| committed.version)
    }

    /// Removes all keys of a run in a range of bytes, without reading them: one record in the log,
    /// whatever the range holds. Returns the commit's version.
    ///
    /// Snapshots and iterators from before go on seeing what they saw. Until compaction has
    /// rewritten the tables over the range, each read in this run looks for it, by a binary search
    /// among those of the run, and each further `remove_range` copies these.
    ///
    /// ```
    /// use runstone::{Database, RunId};
    /// let db = Database::in_memory()?;
    /// let run = RunId::new();
    /// db.begin_run(run, runstone::NO_TAGS)?;
    /// for n in 0..10u8 {
    ///     db.put(run, [n], "value")?;
    /// }
    /// db.remove_range(run, [2]..[9])?;
    /// assert_eq!(db.list(run, "")?.len(), 3);
    /// # Ok::<(), runstone::Error>(())
    /// ```
    ///
    /// Errors: those of [`Database::put`]; [`Error::InvalidArgument`] for a range that holds no
    /// key, as one whose end is below its beginning; [`Error::LimitExceeded`] for a bound that is
    /// longer than the longest key by more than a byte.
    pub fn remove_range<K: AsRef<[u8]>, R: RangeBounds<K>>(
        &self,
        run: RunId,
        range: R,
    ) -> Result<u64> {
        let change = batch::remove_range(run, &range)?;
        self.commit_one(change, false, WriteOptions::default()).map(|committed| committed.version)
    }

    /// Commits a batch. Returns its version.
    ///
    /// Errors: those of [`Database::put`] and [`Database::begin_run`]; none of the batch's
    /// changes takes effect then.
    pub fn write(&self, batch: WriteBatch) -> Result<u64> {
        self.write_with(batch, WriteOptions::default())
    }

    /// As [`Database::write`], with a durability of its own.
    ///
    /// Errors: those of [`Database::write`].
    pub fn write_with(&self, batch: WriteBatch, options: WriteOptions) -> Result<u64> {
        let pipeline = self.writing()?;
        let request = self.request_batch(batch, options)?;
        pipeline.commit(request).map(|committed| committed.version)
    }

    /// Puts a batch in the queue and returns at once; the ticket carries the outcome. Batches
    /// are committed in the order in which they were submitted.
    ///
    /// ```
    /// use runstone::{Database, RunId, WriteBatch, WriteOptions};
    /// let db = Database::in_memory()?;
    /// let run = RunId::new();
    /// db.begin_run(run, runstone::NO_TAGS)?;
    /// let tickets: Vec<_> = (0..8i64)
    ///     .map(|n| {
    ///         let mut batch = WriteBatch::new();
    ///         batch.put(run, format!("key {n}"), n);
    ///         db.submit(batch, WriteOptions::default())
    ///     })
    ///     .collect::<Result<_, _>>()?;
    /// for ticket in tickets {
    ///     ticket.wait()?;
    /// }
    /// # Ok::<(), runstone::Error>(())
    /// ```
    ///
    /// Errors: what can be told without the queue: [`Error::InvalidArgument`],
    /// [`Error::LimitExceeded`], [`Error::ReadOnly`], [`Error::Closed`]. The ticket tells the
    /// rest.
    pub fn submit(&self, batch: WriteBatch, options: WriteOptions) -> Result<Ticket> {
        let pipeline = self.writing()?;
        let request = self.request_batch(batch, options)?;
        let state = pipeline.enqueue(request)?;
        Ok(Ticket { state, pipeline: Arc::clone(pipeline) })
    }

    /// Commits one group of what was submitted, if no thread is at it; returns how many
    /// commits got their outcome. Waiting for a ticket does this by itself.
    ///
    /// Errors: [`Error::ReadOnly`], [`Error::Closed`]; the tickets tell the rest.
    pub fn step(&self) -> Result<usize> {
        Ok(self.writing()?.step())
    }

    /// The value of a key, if it is there and has not expired.
    ///
    /// Never waits for a sync. Memtables are asked first; of each table that may hold the key one
    /// block is read from the disk.
    ///
    /// Errors: [`Error::RunNotFound`], [`Error::InvalidArgument`] for an empty key,
    /// [`Error::Closed`]; [`Error::Io`] and [`Error::Corruption`] for a table that cannot be read.
    pub fn get(&self, run: RunId, key: impl AsRef<[u8]>) -> Result<Option<Value>> {
        let key = self.readable(run, key.as_ref())?;
        let found = self.core.store.read_value(&key, None);
        self.unless_dropped(run, found)
    }

    /// Reads the value of a key where it stands, with the version, time and expiry of its commit:
    /// returns what `read` makes of it, `None` if the key is not there or has expired.
    ///
    /// Of a value in a table nothing is copied: its block is held until `read` returns. One that is
    /// still in a memtable is copied once. No lock is held meanwhile: `read` may call the database.
    ///
    /// ```
    /// use runstone::{Database, RunId};
    /// let db = Database::in_memory()?;
    /// let run = RunId::new();
    /// db.begin_run(run, runstone::NO_TAGS)?;
    /// let version = db.put(run, "k", "a value")?;
    /// let length = db.get_with(run, "k", |entry| entry.value().as_str().map(str::len))?;
    /// assert_eq!(length, Some(Some(7)));
    /// assert_eq!(db.get_with(run, "k", |entry| entry.version())?, Some(version));
    /// # Ok::<(), runstone::Error>(())
    /// ```
    ///
    /// Errors: those of [`Database::get`].
    pub fn get_with<T>(
        &self,
        run: RunId,
        key: impl AsRef<[u8]>,
        read: impl FnOnce(EntryRef<'_>) -> T,
    ) -> Result<Option<T>> {
        let user = key.as_ref();
        let held = self.core.store.hold(&self.readable(run, user)?, None);
        let held = self.unless_dropped(run, held)?;
        Ok(EntryRef::show(held, user, read))
    }

    /// The value of a key with the version, time and expiry of its commit.
    ///
    /// Errors: those of [`Database::get`].
    pub fn get_versioned(
        &self,
        run: RunId,
        key: impl AsRef<[u8]>,
    ) -> Result<Option<VersionedValue>> {
        let key = self.readable(run, key.as_ref())?;
        let found = self.core.store.read(&key, None);
        self.unless_dropped(run, found)
    }

    /// Whether a key is there and has not expired.
    ///
    /// Errors: those of [`Database::get`].
    pub fn exists(&self, run: RunId, key: impl AsRef<[u8]>) -> Result<bool> {
        let key = self.readable(run, key.as_ref())?;
        let found = self.core.store.contains(&key, None)?;
        self.unless_dropped(run, Ok(found.then_some(()))).map(|found| found.is_some())
    }

    /// The keys that begin with `prefix`, with their values, in byte order; all of the run
    /// for an empty prefix. Holds the whole answer in memory: see [`Database::scan_prefix`].
    ///
    /// Errors: [`Error::RunNotFound`], [`Error::LimitExceeded`] for too many iterators,
    /// [`Error::Closed`]; those of the scan's items.
    pub fn list(&self, run: RunId, prefix: impl AsRef<[u8]>) -> Result<Vec<(Vec<u8>, Value)>> {
        let scan = self.scan_prefix(run, prefix)?;
        scan.map(|item| item.map(|(key, value)| (key, value.value))).collect()
    }

    /// The keys in a range of bytes, lazily, from either end; it sees the moment of its
    /// creation, whatever is written meanwhile.
    ///
    /// ```
    /// use runstone::{Database, RunId};
    /// let db = Database::in_memory()?;
    /// let run = RunId::new();
    /// db.begin_run(run, runstone::NO_TAGS)?;
    /// for key in ["a", "b", "c"] {
    ///     db.put(run, key, key)?;
    /// }
    /// let mut scan = db.scan(run, "b"..)?;
    /// assert_eq!(scan.next_back().expect("c")?.0, b"c");
    /// assert_eq!(scan.next().expect("b")?.0, b"b");
    /// assert!(scan.next().is_none());
    /// # Ok::<(), runstone::Error>(())
    /// ```
    ///
    /// The iterator yields [`Error::Io`] or [`Error::Corruption`] where a table cannot be read, and
    /// then ends.
    ///
    /// Errors: [`Error::RunNotFound`], [`Error::LimitExceeded`] for too many iterators,
    /// [`Error::Closed`].
    pub fn scan<K: AsRef<[u8]>, R: RangeBounds<K>>(&self, run: RunId, range: R) -> Result<Scan> {
        self.snapshot()?.into_scan(run, range)
    }

    /// The keys that begin with `prefix`, lazily, from either end.
    ///
    /// Errors: those of [`Database::scan`].
    pub fn scan_prefix(&self, run: RunId, prefix: impl AsRef<[u8]>) -> Result<Scan> {
        self.snapshot()?.into_scan_prefix(run, prefix.as_ref())
    }

    /// Fixes what is published now, for reading later: one version, one time.
    ///
    /// What it sees stays in memory while it lives.
    ///
    /// Errors: [`Error::LimitExceeded`] if `snapshots_max` are alive, [`Error::Closed`].
    pub fn snapshot(&self) -> Result<Snapshot> {
        self.check_open()?;
        let (pin, place) = (self.core.store.pin()?, Arc::clone(&self.core.place));
        Ok(Snapshot::new(pin, self.core.runs.clone(), place))
    }

    fn readable(&self, run: RunId, key: &[u8]) -> Result<PhysicalKey> {
        self.check_open()?;
        self.require(run)?;
        user_key(run, key)
    }

    fn require(&self, run: RunId) -> Result<()> {
        runs::require(&self.core.runs, &self.core.store, run, None)
    }

    /// What was found of a key, unless its run was dropped while it was looked for.
    fn unless_dropped<T>(&self, run: RunId, found: Result<Option<T>>) -> Result<Option<T>> {
        match found {
            Ok(None) if self.core.runs.drops() > 0 => {
                self.require(run)?;
                Ok(None)
            }
            found => found,
        }
    }

    /// Commits one change and waits for the outcome.
    pub(super) fn commit_one(
        &self,
        change: Change,
        want_previous: bool,
        options: WriteOptions,
    ) -> Result<Committed> {
        let pipeline = self.writing()?;
        let bytes = batch::check(&change, &self.core.options.limits)? as u64;
        pipeline.commit(self.request(Changes::One(change), bytes, want_previous, options))
    }

    /// Commits several changes as one and waits for the outcome.
    pub(super) fn commit_many(&self, changes: Vec<Change>) -> Result<Committed> {
        let pipeline = self.writing()?;
        let limits = &self.core.options.limits;
        let sizes = changes.iter().map(|change| batch::check(change, limits).map(|n| n as u64));
        let bytes = sizes.sum::<Result<u64>>()?;
        let changes = Changes::Many(changes);
        pipeline.commit(self.request(changes, bytes, false, WriteOptions::default()))
    }

    fn request_batch(&self, batch: WriteBatch, options: WriteOptions) -> Result<Request> {
        let (changes, bytes) = batch.into_changes(&self.core.options.limits)?;
        Ok(self.request(Changes::Many(changes), bytes, false, options))
    }

    fn request(
        &self,
        changes: Changes,
        payload_bytes_max: u64,
        want_previous: bool,
        options: WriteOptions,
    ) -> Request {
        let (memory_bytes_max, may_use_reserve) = memory_of(changes.as_slice());
        let deletes = changes.as_slice().iter().filter_map(|change| match change {
            Change::Delete { key } => Some(tombstone_bytes_max(key)),
            _ => None,
        });
        let tombstone_bytes_max = deletes.sum();
        let counts = |change: &Change| matches!(change, Change::KeyCount { .. });
        Request {
            counts_keys: changes.as_slice().len() > 1 && changes.as_slice().iter().any(counts),
            changes,
            level: options.durability.unwrap_or(self.core.options.durability.level()),
            want_previous,
            payload_bytes_max,
            memory_bytes_max,
            tombstone_bytes_max,
            may_use_reserve,
        }
    }
}

/// The most memory that changes can add, and whether they may use the reserve.
fn memory_of(changes: &[Change]) -> (u64, bool) {
    let mut bytes = 0;
    let mut may_use_reserve = true;
    for change in changes {
        bytes += match change {
            Change::Put { key, value, expiry_ms } => {
                may_use_reserve = false;
                put_bytes_max(key, value, *expiry_ms != crate::codec::change::NEVER)
            }
            Change::Delete { .. } => DELETE_BYTES_MAX,
            Change::BeginRun { begin, .. } => {
                may_use_reserve = false;
                charge::begin_bytes_max(begin)
            }
            // What ending a run takes is counted when it begins.
            Change::EndRun { .. } | Change::KeyCount { .. } => 0,
            Change::DropRun { run } => charge::drop_bytes_max(*run),
            Change::RemoveRange { from, to } => removals::bytes_of(from, to),
        };
    }
    (bytes, may_use_reserve)
}

/// The outcome of a submitted batch, once it has one.
///
/// Dropping it does not take the batch back. No async runtime is needed, and none is in the
/// way: [`Ticket::poll`] never blocks.
#[derive(Debug)]
#[must_use = "the ticket tells whether the batch was committed"]
pub struct Ticket {
    state: Arc<TicketState>,
    pipeline: Arc<Pipeline>,
}

impl Ticket {
    /// Waits for the outcome, committing itself what is in the queue if no thread is at it.
    ///
    /// Errors: those of [`Database::write`].
    pub fn wait(self) -> Result<Committed> {
        self.pipeline.place.check_process()?;
        self.pipeline.wait(&self.state)
    }

    /// The outcome, if there is one yet; it is given once.
    ///
    /// Errors: those of [`Database::write`].
    pub fn poll(&self) -> Option<Result<Committed>> {
        if let Err(error) = self.pipeline.place.check_process() {
            return Some(Err(error));
        }
        self.state.take()
    }
}
