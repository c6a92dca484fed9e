//! Beginning, ending and looking up runs.

use super::Database;
use crate::batch::{RunOptions, check_end};
use crate::codec::change::Change;
#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;
use crate::options::WriteOptions;
use crate::runs::{RunFilter, RunIter};
use crate::types::{RunId, RunMetadataEntry, RunStatus};

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
        let begin = Box::new(options.into_begin(run)?);
        let change = Change::BeginRun { run, begin };
        self.commit_one(change, false, WriteOptions::default()).map(|committed| committed.version)
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
    /// It survives a crash as a put does, in the same order. What it takes in memory was counted
    /// when the run began, so that it is never refused for want of memory.
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
    /// Error: [`Error::Closed`].
    pub fn get_run(&self, run: RunId) -> Result<Option<RunMetadataEntry>> {
        self.check_open()?;
        Ok(self.core.runs.get(&run))
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

    /// All runs that pass a filter, lazily, in the order of their ids.
    ///
    /// ```
    /// use runstone::{Database, RunFilter, RunId, RunStatus};
    /// let db = Database::in_memory()?;
    /// let run = RunId::new();
    /// db.begin_run(run, [("kind", "nightly")])?;
    /// db.end_run_with(run, RunStatus::Failed)?;
    /// let filter = RunFilter { status: Some(RunStatus::Failed), ..RunFilter::default() };
    /// assert_eq!(db.runs(filter)?.map(|entry| entry.run_id).collect::<Vec<_>>(), [run]);
    /// # Ok::<(), runstone::Error>(())
    /// ```
    ///
    /// Error: [`Error::Closed`].
    pub fn runs(&self, filter: RunFilter) -> Result<RunIter> {
        self.check_open()?;
        Ok(self.core.runs.iter(filter, self.core.options.steps.list_runs_max))
    }
}
