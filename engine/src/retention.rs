//! How long, and how many, ended runs are kept.

/// Which runs are kept that have ended: by their age, by their number, or both. Others are dropped
/// by maintenance, the first that ended first, as [`Database::drop_run`](crate::Database::drop_run)
/// does: their records stay, with the status "dropped". The default keeps all of them.
///
/// A run goes some time after it may: with the next step of maintenance, of which each drops at
/// most [`Steps::maintain_keys_max`](crate::Steps::maintain_keys_max) by one commit. Like an
/// asynchronous one it is synced a little later, and after a crash it is made again.
///
/// ```
/// use runstone::{Database, Options, RetentionPolicy, RunId, RunStatus};
/// let retention = RetentionPolicy { ended_runs_max: 1, ..RetentionPolicy::default() };
/// let options = Options { retention, background_threads: 0, ..Options::default() };
/// let dir = tempfile::tempdir()?;
/// let db = Database::builder().options(options).open(dir.path())?;
/// let (first, second) = (RunId::new(), RunId::new());
/// for run in [first, second] {
///     db.begin_run(run, runstone::NO_TAGS)?;
///     db.end_run(run)?;
/// }
/// assert_eq!(db.maintain()?.runs_dropped, 1);
/// assert_eq!(db.get_run(first)?.expect("kept").status, RunStatus::Dropped);
/// assert_eq!(db.get_run(second)?.expect("kept").status, RunStatus::Completed);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetentionPolicy {
    /// The longest time for which a run is kept after its end, in milliseconds; [`u64::MAX`] means
    /// for ever.
    pub ended_ms_max: u64,
    /// The most runs that are kept after their end; [`u64::MAX`] means all.
    pub ended_runs_max: u64,
}

impl Default for RetentionPolicy {
    fn default() -> Self {
        RetentionPolicy { ended_ms_max: u64::MAX, ended_runs_max: u64::MAX }
    }
}
