//! Beginning, ending and looking up runs.

use super::run_list::RunIter;
use super::{Core, Database};
use crate::batch::{RunOptions, check_end};
use crate::codec::change::Change;
#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;
use crate::options::WriteOptions;
use crate::runs::RunFilter;
use crate::runs::saved::{self, SavedRun};
use crate::types::{RunId, RunMetadataEntry, RunStatistics, RunStatus, Timestamp};

impl Database {
    /// Begins a run in its default namespace, with these tags. Returns the commit's version.
    ///
    /// Its record survives a crash as a put does, in the same order.
    ///
    /// Errors: [`Error::RunExists`] if the id was ever used, whatever the run's status;
    /// otherwise those of [`Database::put`].
    pub fn begin_run<N: Into<String>, V: Into<String>>(
        &self,
        run: RunId,
        tags: impl IntoIterator<Item = (N, V)>,
    ) -> Result<u64> {
        self.begin_run_with(run, RunOptions::default().tags(tags))
    }

    /// Begins a run with a namespace, a parent, or tags. Returns the commit's version.
    ///
    /// Errors: those of [`Database::begin_run`]; [`Error::RunNotFound`] if the parent does not
    /// exist; [`Error::InvalidArgument`] if the namespace is another run's.
    pub fn begin_run_with(&self, run: RunId, options: RunOptions) -> Result<u64> {
        match options.into_changes(run)? {
            (begin, None) => self.commit_one(begin, false, WriteOptions::default()),
            (begin, Some(count)) => self.commit_many(vec![begin, count]),
        }
        .map(|committed| committed.version)
    }

    /// Ends a run as completed. It can be read for ever, and never be written again. Returns
    /// the commit's version.
    ///
    /// Errors: [`Error::RunNotFound`]; [`Error::RunEnded`] if it has ended before; otherwise
    /// those of [`Database::put`].
    pub fn end_run(&self, run: RunId) -> Result<u64> {
        self.end_run_with(run, RunStatus::Completed)
    }

    /// Ends a run with a status. Returns the commit's version.
    ///
    /// Errors: those of [`Database::end_run`]; [`Error::InvalidArgument`] for
    /// [`RunStatus::Running`] and [`RunStatus::Dropped`].
    pub fn end_run_with(&self, run: RunId, status: RunStatus) -> Result<u64> {
        check_end(status)?;
        let change = Change::EndRun { run, status };
        self.commit_one(change, false, WriteOptions::default()).map(|committed| committed.version)
    }

    /// Drops a run that has ended: all its keys are gone, at once and for every later read, by one
    /// record in the log. Returns the commit's version.
    ///
    /// Its record stays, with the status [`RunStatus::Dropped`]; its children keep their parent;
    /// its id is never used again. Snapshots and iterators from before go on reading it. The room
    /// comes back bit by bit, by maintenance: tables that hold nothing else are removed as they
    /// are, others are written again once a tenth of what they hold is of no use.
    ///
    /// It survives a crash as a put does, in the same order. It may use the reserve of memory, as
    /// deletes do.
    ///
    /// ```
    /// use runstone::{Database, Error, RunId, RunStatus};
    /// let db = Database::in_memory()?;
    /// let run = RunId::new();
    /// db.begin_run(run, runstone::NO_TAGS)?;
    /// db.put(run, "key", "value")?;
    /// db.end_run(run)?;
    /// let before = db.snapshot()?;
    /// db.drop_run(run)?;
    /// assert!(matches!(db.get(run, "key"), Err(Error::RunDropped { .. })));
    /// assert_eq!(db.get_run(run)?.expect("kept").status, RunStatus::Dropped);
    /// assert!(before.get(run, "key")?.is_some());
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// Errors: [`Error::RunNotFound`]; [`Error::RunActive`] if it has not ended;
    /// [`Error::RunDropped`] if it was dropped before; otherwise those of [`Database::put`].
    pub fn drop_run(&self, run: RunId) -> Result<u64> {
        let change = Change::DropRun { run };
        self.commit_one(change, false, WriteOptions::default()).map(|committed| committed.version)
    }

    /// The record of a run, whatever its status; `None` if it was never begun.
    ///
    /// An active run is in memory; the record of one that has ended is read as a key is.
    ///
    /// Errors: [`Error::Closed`]; [`Error::Io`] and [`Error::Corruption`] for a table that cannot
    /// be read.
    pub fn get_run(&self, run: RunId) -> Result<Option<RunMetadataEntry>> {
        self.check_open()?;
        Ok(self.saved_run(run)?.map(|saved| saved.entry))
    }

    fn saved_run(&self, run: RunId) -> Result<Option<SavedRun>> {
        let Core { runs, store, .. } = &*self.core;
        match runs.active(&run) {
            Some(active) => Ok(Some(active)),
            None => saved::read(store, run, None),
        }
    }

    /// What a run has done, whatever its status; `None` if it was never begun. Kept, not counted:
    /// the cost is that of [`Database::get_run`].
    ///
    /// How many keys it holds now is among that if its begin has asked for it:
    /// [`RunOptions::count_keys`]. See [`Database::count`].
    ///
    /// ```
    /// use runstone::{Database, RunId};
    /// let db = Database::in_memory()?;
    /// let run = RunId::new();
    /// db.begin_run(run, runstone::NO_TAGS)?;
    /// db.put(run, "key", "four")?;
    /// db.delete(run, "key")?;
    /// let statistics = db.run_statistics(run)?.expect("begun");
    /// assert_eq!((statistics.changes, statistics.puts, statistics.deletes), (3, 1, 1));
    /// assert_eq!(statistics.bytes_put, 7);
    /// # Ok::<(), runstone::Error>(())
    /// ```
    ///
    /// Errors: those of [`Database::get_run`].
    pub fn run_statistics(&self, run: RunId) -> Result<Option<RunStatistics>> {
        self.check_open()?;
        let Some(SavedRun { entry, tally }) = self.saved_run(run)? else { return Ok(None) };
        Ok(Some(RunStatistics {
            keys: tally.keys,
            changes: tally.changes,
            puts: tally.puts,
            deletes: tally.deletes,
            bytes_put: tally.bytes,
            last_version: entry.last_version,
            last_change: Timestamp::from_millis(tally.last_ms),
        }))
    }

    /// How many keys a run holds: as many as [`Database::scan`] of everything shows.
    ///
    /// Kept, not counted, where the run's begin has asked for it: see [`RunOptions::count_keys`].
    /// Else it walks over the keys, without their large values.
    ///
    /// ```
    /// use runstone::{Database, RunId};
    /// let db = Database::in_memory()?;
    /// let run = RunId::new();
    /// db.begin_run(run, runstone::NO_TAGS)?;
    /// db.put(run, "a", 1)?;
    /// db.put(run, "b", 2)?;
    /// db.put(run, "b", 3)?;
    /// assert_eq!(db.count(run)?, 2);
    /// # Ok::<(), runstone::Error>(())
    /// ```
    ///
    /// Errors: those of [`Database::get`]; of a walk, [`Error::LimitExceeded`] if `snapshots_max`
    /// are alive.
    pub fn count(&self, run: RunId) -> Result<u64> {
        self.check_open()?;
        let Core { runs, store, .. } = &*self.core;
        if let Some(keys) = store.between_groups(|| runs.keys_of(&run)) {
            sometimes!("database/count-kept");
            return Ok(keys);
        }
        self.snapshot()?.count(run)
    }

    /// The active runs, in the order of their ids.
    ///
    /// Error: [`Error::Closed`].
    pub fn list_active_runs(&self) -> Result<Vec<RunId>> {
        self.check_open()?;
        Ok(self.core.runs.list_active())
    }

    /// Whether a run is active; `false` also if it was never begun.
    ///
    /// Error: [`Error::Closed`].
    pub fn is_run_active(&self, run: RunId) -> Result<bool> {
        self.check_open()?;
        Ok(self.core.runs.is_active(&run))
    }

    /// How many runs are active.
    ///
    /// Error: [`Error::Closed`].
    pub fn active_run_count(&self) -> Result<usize> {
        self.check_open()?;
        Ok(self.core.runs.active_count())
    }

    /// All runs that pass a filter, lazily, from both ends, in the order of their begins: by time,
    /// then by id. Those of this moment, as [`Snapshot::runs`](crate::Snapshot::runs) lists them.
    ///
    /// ```
    /// use runstone::{Database, RunCursor, RunFilter, RunId, RunStatus};
    /// let db = Database::in_memory()?;
    /// let run = RunId::new();
    /// db.begin_run(run, [("kind", "nightly")])?;
    /// db.end_run_with(run, RunStatus::Failed)?;
    /// let filter = RunFilter { status: Some(RunStatus::Failed), ..RunFilter::default() };
    /// let failed = db.runs(filter)?.collect::<Result<Vec<_>, _>>()?;
    /// assert_eq!(failed[0].run_id, run);
    /// // A page, the newest first, and the page behind it.
    /// let page = db.runs(RunFilter::default())?.rev().take(20).collect::<Result<Vec<_>, _>>()?;
    /// let before = page.last().map(RunCursor::from);
    /// assert!(db.runs(RunFilter { before, ..RunFilter::default() })?.next().is_none());
    /// # Ok::<(), runstone::Error>(())
    /// ```
    ///
    /// Errors: [`Error::LimitExceeded`] if `snapshots_max` are alive, [`Error::Closed`].
    pub fn runs(&self, filter: RunFilter) -> Result<RunIter> {
        self.snapshot()?.into_runs(filter)
    }
}
